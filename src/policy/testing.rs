//! A policy for the tests of all modules.
//! Not here: policies of several files, and what is said of faulty ones (`tests`, `file::tests`).

use super::{Policy, PolicyFile, Setting};
use crate::yaml::Faults;

/// The policy that one file says, for a proxy that has any pool.
pub(crate) fn policy(text: &str) -> Policy {
    let file = PolicyFile { path: "p".into(), shown: "p".into(), text: text.into() };
    let setting = Setting { any_pool: true, ..Setting::default() };
    let mut faults = Faults::new();
    Policy::load(&[file], &setting, &mut faults).unwrap_or_else(|| panic!("{faults:?}\n{text}"))
}
