//! What all threads of a proxy share, made for a test without any thread.
//! Not here: the proxy as a whole, which the tests outside start.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use crate::policy::OwnAddresses;
use crate::runtime::egress::Pools;
use crate::runtime::events;
use crate::runtime::journal::{Journal, Opening};
use crate::runtime::load::{self, Loaded};
use crate::runtime::metrics::Metrics;
use crate::runtime::shared::Shared;

const CONFIG: &str = "instance: edge-1
listeners: [{name: edge, address: \"127.0.0.1:0\"}]
policy: policy.yaml
state: state
egress: {pools: {static-a: {bind: [127.0.0.1/32]}}}
admin: {address: \"127.0.0.1:0\"}
";

/// A proxy with this policy and these pools, its log below `folder`.
pub fn shared(folder: &Path, policy: &str, pools: Pools) -> (Arc<Shared>, Opening) {
    fs::write(folder.join("sallyport.yaml"), CONFIG).unwrap();
    fs::write(folder.join("policy.yaml"), policy).unwrap();
    let Loaded { config, policy, .. } = load::load(&folder.join("sallyport.yaml"), &|_| None).unwrap();
    let metrics = Arc::new(Metrics::new().unwrap());
    let (journal, opening) = Journal::open(events::journal_setup(&config, &metrics)).unwrap();
    let own = OwnAddresses::new([], []);
    (Arc::new(Shared::new(&config, policy, (journal, metrics), (pools, own), 100)), opening)
}

/// All whole records below `folder`.
pub fn records(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("state/decisions/segments/000000000000.jsonl")).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}
