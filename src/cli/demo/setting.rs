//! The demo's folder: configuration, policy, the origin's authority, and where the log goes.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use super::origin::Origin;
use crate::runtime::clock;

/// The demo's policy. The origin's port and the authority come in by `{…}`.
const POLICY: &str = include_str!("policy.yaml");

/// The files that the demo runs from. The folder is kept.
pub(super) struct Setting {
    /// The folder, readable by its owner alone.
    pub(super) folder: PathBuf,
    /// The configuration.
    pub(super) config: PathBuf,
    /// The decision log's directory.
    pub(super) log: PathBuf,
}

impl Setting {
    /// Writes a new folder. With `free_ports` the system chooses the ports.
    pub(super) fn write(origin: &Origin, free_ports: bool) -> std::io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("sallyport-demo-{}", clock::new_id().simple()));
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        let (proxy, admin) = if free_ports { (0, 0) } else { (3128, 9901) };
        let config = folder.join("sallyport.yaml");
        fs::write(&config, configuration(proxy, admin))?;
        fs::write(folder.join("policy.yaml"), POLICY.replace("{port}", &origin.port.to_string()))?;
        fs::write(folder.join("origin-ca.pem"), &origin.authority_pem)?;
        Ok(Self { log: folder.join("decisions"), config, folder })
    }
}

fn configuration(proxy: u16, admin: u16) -> String {
    format!(
        "instance: demo
environment: demo
state: state
listeners:
  - {{name: edge, address: \"127.0.0.1:{proxy}\", mode: connect}}
policy: policy.yaml
dns:
  hosts:
    api.acme.test: [127.0.0.1]
    eu.pay.acme.test: [127.0.0.1]
    metadata.acme.test: [169.254.169.254]
decision_log:
  directory: decisions
  key: log.key
admin: {{address: \"127.0.0.1:{admin}\"}}
"
    )
}
