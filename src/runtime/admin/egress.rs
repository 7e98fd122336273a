//! `/v1/egress-addresses`: what customers must let in, as the command `egress-addresses` prints it.
//! Not here: the list (`evidence`). Source: the contract: "Admin port".

use std::io::{self, Write};
use std::sync::Arc;

use ipnet::IpNet;

use super::decisions::Form;
use crate::evidence::EgressList;
use crate::policy::Policy;

/// Writes the list of `pools`, each with the prefixes that customers see, and of the customers of `policy`.
///
/// # Errors
/// `out` takes no more.
pub fn write(pools: &[(Arc<str>, Vec<IpNet>)], policy: &Policy, form: Form, out: &mut dyn Write) -> io::Result<()> {
    let list = EgressList::new(pools.iter().cloned(), policy)?;
    match form {
        Form::Table => out.write_all(&list.csv()?),
        Form::Lines => {
            serde_json::to_writer(&mut *out, &list)?;
            out.write_all(b"\n")
        }
    }
}
