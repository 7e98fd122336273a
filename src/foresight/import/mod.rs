//! Policies from configurations of peers: what these allow and this product can say, and never more than that.
//! Not here: reading files and printing (`cli`). Source: the contract's `policy import`.

mod draft;
mod region;
mod smokescreen;
mod squid;
mod squid_lists;
mod squid_rules;

pub use draft::{Draft, Given};
pub use smokescreen::smokescreen;
pub use squid::squid;
