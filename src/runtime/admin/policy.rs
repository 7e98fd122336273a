//! `/v1/policy`: the policy in force, and all that it allows, written row by row; and which sources a report mode lets do more.
//! Not here: which rows there are (`policy::Matrix`), their fields (`evidence`). Source: the contract: "Admin port"; PCI DSS 1.2.5.

use std::io::{self, Write};
use std::sync::Arc;

use super::decisions::Form;
use super::status::reporting;
use crate::evidence::MatrixRow;
use crate::policy::Matrix;
use crate::runtime::tally::InForce;

/// Writes what `in_force` allows: as `policy matrix --format csv` does, or as an object with the same rows as `policy matrix -o json`.
///
/// # Errors
/// `out` takes no more.
pub fn write(in_force: &Arc<InForce>, form: Form, out: &mut dyn Write) -> io::Result<()> {
    let matrix = Matrix::new(&in_force.policy);
    match form {
        Form::Table => MatrixRow::write_csv(matrix.rows(), out),
        Form::Lines => {
            let (hash, since) = (in_force.policy.hash(), in_force.since);
            write!(out, "{{\"sha256\":\"{hash}\",\"loaded\":\"{since:.6}\",\"reporting\":")?;
            serde_json::to_writer(&mut *out, &reporting(&in_force.policy))?;
            out.write_all(b",\"matrix\":")?;
            MatrixRow::write_json(matrix.rows(), out)?;
            out.write_all(b"}\n")
        }
    }
}
