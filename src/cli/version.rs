//! `sallyport version`.

use serde::Serialize;

use super::{Failure, Output};

#[derive(Serialize)]
struct Version {
    name: &'static str,
    version: &'static str,
}

pub(super) fn version(output: Output) -> Result<(), Failure> {
    let version = Version { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") };
    output.print(&version, |version| format!("{} {}", version.name, version.version))
}
