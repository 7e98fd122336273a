//! An allowed tunnel: the first flight of both sides under judgement, then bytes, until an end that has a name.
//! Not here: whether it is allowed (`policy`), its records (`session`).
//!
//! [`forward`] is the only way for a client's byte to leave, and it takes a [`Permit`], which only the decision log makes.

mod first_flight;
mod open;
mod relay;

use tokio::net::TcpStream;

use crate::decision_log::Permit;
use crate::policy::Ending;
use crate::runtime::hello::Heard;
use crate::runtime::lane::Lane;
use crate::runtime::stream::ClientStream;

pub use open::{Deadlines, Meters, OpenTunnel, OpenTunnels, Place, SWEEP};

/// The two ends of a tunnel.
pub struct Link {
    /// Towards the source.
    pub client: ClientStream,
    /// Towards the customer.
    pub upstream: TcpStream,
}

/// What the tunnel opens with: needed until the ServerHello is judged, then freed.
pub struct Opening {
    /// The judged ClientHello and what came with it.
    pub heard: Heard,
    /// How long the server may take to choose.
    pub patience: std::time::Duration,
}

/// Forwards until the tunnel ends, and tells how it did. The permit is spent: it stands for the record of exactly this decision.
pub async fn forward(permit: Permit, link: &Link, opening: Box<Opening>, tunnel: &OpenTunnel, lane: &Lane) -> Ending {
    tracing::trace!(decision = %permit.id(), "forwarding");
    drop(permit);
    // The hellos and the state of judging them are freed before bytes move freely.
    match Box::pin(first_flight::judge(link, opening, tunnel, lane)).await {
        Ok(()) => relay::relay(link, tunnel, lane).await,
        Err(ending) => ending,
    }
}
