//! Looks after the pools' addresses: one that can't be bound is told once and is out, one that can be bound again is back.
//! Not here: what a request does that meets one (`dial`). To bind it is the one question whether the host has it: a list of interfaces
//! knows nothing of routed prefixes. Source: PCI DSS 10.7.2 (failures of a control).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::{LOST, OUT, Pools, UP, bound};
use crate::decision_log::{Detail, Kind};
use crate::runtime::events;
use crate::runtime::shared::Shared;

/// How often every address is bound. So one that is gone is out, and one that has come back is used, within twice that, whoever asks for it.
const LOOK: Duration = Duration::from_secs(1);

impl Pools {
    /// Binds every address once; gives those that are back, with their pools.
    pub(super) fn look(&self) -> Vec<(&Arc<str>, IpAddr)> {
        let mut back = Vec::new();
        for (pool, address) in self.each() {
            // Without a socket nobody knows.
            let Ok(bound) = bound(address.ip) else { continue };
            if bound.is_none() {
                address.lose();
            } else if address.changes(OUT, UP) {
                back.push((pool, address.ip));
            }
        }
        back
    }

    /// The addresses that are lost and not told yet, with their pools. From now on they are told.
    pub(super) fn lost(&self) -> impl Iterator<Item = (&Arc<str>, IpAddr)> {
        let lost = self.each().filter(|(_, address)| address.changes(LOST, OUT));
        lost.map(|(pool, address)| (pool, address.ip))
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
            () = shared.pools().losses.notified() => {}
        }
        tell(&shared);
    }
}

/// Puts on record what was lost and not told yet.
pub fn tell(shared: &Shared) {
    for (pool, address) in shared.pools().lost() {
        tracing::error!(pool = &**pool, %address, "an egress address can't be bound; it is out until it can");
        let detail = Detail::new().with("what", "egress_address").with("pool", Arc::clone(pool));
        events::note(shared, Kind::ControlFailure, detail.with("address", Arc::<str>::from(address.to_string())));
    }
}
