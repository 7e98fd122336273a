//! Looks after the pools' addresses: one that can't be bound is told once and is out, one that can be bound again is back.
//! Not here: what a request does that meets one (`dial`). To bind it is the one question whether the host has it: a list of interfaces
//! knows nothing of routed prefixes. Source: PCI DSS 10.7.2 (failures of a control).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::{LOST, OUT, Pools, UP, is_unusable};
use crate::decision_log::{Detail, Kind, Value};
use crate::runtime::events;
use crate::runtime::shared::Shared;

/// How often every address is bound. So one that is gone is out, and one that has come back is used, within twice that, whoever asks for it.
const LOOK: Duration = Duration::from_secs(1);

/// How long a loss waits for others of its pool before it is told. It is out at once.
const TOGETHER: Duration = Duration::from_millis(100);

/// Upper bound of prefixes in one record.
const MAX_TOLD: usize = 64;

impl Pools {
    /// Binds every address once; gives those that are back, with their pools.
    pub(super) fn look(&self) -> Vec<(&Arc<str>, IpAddr)> {
        let mut back = Vec::new();
        for (pool, address) in self.each() {
            // Without a socket nobody knows.
            let Ok(unusable) = is_unusable(address.ip) else { continue };
            if unusable {
                address.lose();
            } else if address.changes(OUT, UP) {
                back.push((pool, address.ip));
            }
        }
        back
    }

    /// The addresses that are lost and not told yet, by their pools, in as few prefixes as it takes. From now on they are told.
    pub(super) fn lost(&self) -> BTreeMap<&Arc<str>, Vec<IpNet>> {
        let mut lost = BTreeMap::<_, Vec<IpNet>>::new();
        for (pool, address) in self.each().filter(|(_, address)| address.changes(LOST, OUT)) {
            lost.entry(pool).or_default().push(address.ip.into());
        }
        lost.into_iter().map(|(pool, addresses)| (pool, IpNet::aggregate(&addresses))).collect()
    }
}

/// Looks after them until the task is dropped.
pub async fn watch(shared: Arc<Shared>) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = looks.tick() => {
                for (pool, address) in shared.pools().look() {
                    tracing::info!(pool = &**pool, %address, "an egress address can be bound again; it is used again");
                }
            }
            // What is lost at about the same time is told together.
            () = shared.pools().losses.notified() => sleep(TOGETHER).await,
        }
        tell(&shared);
    }
}

/// Puts on record what was lost and not told yet: one record a pool, however many of its addresses.
pub fn tell(shared: &Shared) {
    for (pool, lost) in shared.pools().lost() {
        let text = |prefix: &IpNet| match prefix.prefix_len() == prefix.max_prefix_len() {
            true => prefix.addr().to_string(),
            false => prefix.to_string(),
        };
        let told: Vec<String> = lost.iter().take(MAX_TOLD).map(text).collect();
        tracing::error!(
            pool = &**pool,
            addresses = told.join(" "),
            "egress addresses can't be used; they are out until they can"
        );
        let detail = Detail::new().with("what", "egress_address").with("pool", Arc::clone(pool));
        let mut told: Vec<Value> = told.into_iter().map(|address| Value::from(Arc::<str>::from(address))).collect();
        let detail = match told.pop() {
            Some(address) if told.is_empty() => detail.with("address", address),
            last => {
                told.extend(last);
                detail.with("addresses", told)
            }
        };
        events::note(shared, Kind::ControlFailure, detail);
    }
}
