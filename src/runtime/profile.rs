//! What `profile: pci` asks of files on this host. Not here: what it forbids in what they say (`config`, `policy`).
//! Source: the contract: the key of the decision log is never made by `run` there.

use std::path::{Path, PathBuf};

use crate::config::{Config, Profile};

/// The log's key is not there, and nobody makes it in passing.
#[derive(Debug, thiserror::Error)]
#[error(
    "{}: no key is there, and under `profile: pci` `run` makes none (PCI DSS 10.3.4: the log's integrity rests on a key that somebody answers for); \
     make it with `sallyport keys new log`", .0.display()
)]
pub struct NoKey(PathBuf);

/// Whether the key of the decision log is there, if the profile wants somebody to have made it.
///
/// # Errors
/// It is not.
pub fn check(config: &Config) -> Result<(), NoKey> {
    let key = Path::new(&config.decision_log.key);
    match config.profile {
        Profile::Pci if !key.exists() => Err(NoKey(key.to_owned())),
        Profile::Pci | Profile::Standard => Ok(()),
    }
}
