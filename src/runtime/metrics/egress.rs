//! What is told of the pools' addresses, read from the pools when it is asked for.
//! Not here: which address is next, and which is out (`runtime::egress`). Labels come from the configuration.

use prometheus::{IntCounterVec, IntGaugeVec, Registry};

use super::{counters, int_gauges};

/// `sallyport_egress_*`.
pub struct EgressMetrics {
    /// `sallyport_egress_connections{pool,address}`
    pub connections: IntGaugeVec,
    /// `sallyport_egress_address_up{pool,address}`
    pub up: IntGaugeVec,
    /// `sallyport_egress_exhausted_total{pool,address}`
    pub exhausted: IntCounterVec,
    /// `sallyport_egress_unroutable_total{pool,address}`
    pub unroutable: IntCounterVec,
}

impl EgressMetrics {
    pub(super) fn new(r: &Registry) -> prometheus::Result<Self> {
        let by = ["pool", "address"];
        Ok(Self {
            connections: int_gauges(r, "egress_connections", "Connections from a pool's address, open or begun.", &by)?,
            up: int_gauges(r, "egress_address_up", "Whether a pool's address can be bound; 0: it is out.", &by)?,
            exhausted: counters(
                r,
                "egress_exhausted_total",
                "Times a pool's address had no port left for a destination.",
                &by,
            )?,
            unroutable: counters(
                r,
                "egress_unroutable_total",
                "Times the host had no way from a pool's address to a destination.",
                &by,
            )?,
        })
    }
}
