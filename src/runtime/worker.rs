//! What the sessions of one thread share, without a lock: lookups, open tunnels, buffer and pipes.
//! Not here: what a connection goes through (`session`), the thread itself (`thread`).

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, interval, timeout};

use crate::address;
use crate::policy::{Admitted, Client, Denial, Ending, Existing, OwnAddresses, Policy, Reason, Verdict};
use crate::runtime::clock;
use crate::runtime::dns::{Names, ResolverError};
use crate::runtime::entrance::Entrance;
use crate::runtime::facts::{Came, Peer};
use crate::runtime::gate::{Connection, Place};
use crate::runtime::lane::Lane;
use crate::runtime::lifecycle::Judged;
use crate::runtime::metrics::Metrics;
use crate::runtime::quota::Places;
use crate::runtime::shared::Shared;
use crate::runtime::tunnel::{self, Deadlines, OpenTunnel, OpenTunnels};

/// How long the sessions of a stopping worker may take to write their last records and alerts.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What the sessions of one thread share.
pub struct Worker {
    shared: Arc<Shared>,
    /// The lookups of this worker.
    pub names: Names,
    /// Its open tunnels.
    tunnels: OpenTunnels,
    /// Its buffer and pipes.
    pub lane: Lane,
    /// Requests whose last record is not written yet.
    open: Rc<Cell<usize>>,
    /// Told to end what is being set up.
    stop: watch::Sender<bool>,
}

/// A request whose last record is still to come; a stopping worker waits for it.
pub struct Unfinished(Rc<Cell<usize>>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

impl Worker {
    /// A worker without connections. Must be made inside its runtime.
    ///
    /// # Errors
    /// The system's name servers are asked for and cannot be read.
    pub fn new(shared: Arc<Shared>) -> Result<Self, ResolverError> {
        let names = Names::new(shared.dns(), shared.lookups())?;
        let (stop, _) = watch::channel(false);
        Ok(Self { shared, names, tunnels: OpenTunnels::default(), lane: Lane::default(), open: Rc::default(), stop })
    }

    /// What all workers share.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The metrics.
    pub fn metrics(&self) -> &Metrics {
        self.shared.metrics()
    }

    /// A place for a connection of `peer`, among those of its source if that is known already. `None`: close it unread.
    pub fn admit(&self, entrance: &Entrance, peer: Peer) -> Option<Connection> {
        let gate = self.shared.gate();
        if self.shared.is_draining() {
            return gate.enter_refused();
        }
        if let Peer::Address(peer) = peer
            && entrance.senders.contains(address::canonical(peer.ip()))
        {
            return gate.enter_pending();
        }
        let policy = self.shared.policy();
        let mut candidates = policy.candidates(Came::new(peer).origin());
        match (candidates.next(), candidates.next()) {
            (None, _) => gate.enter(None),
            (Some(source), None) => gate.enter(Some(&source.name)),
            (Some(_), Some(_)) => gate.enter_pending(),
        }
    }

    /// A place for one more request of `client` on a connection that has its own. `None`: refuse it unread.
    pub fn admit_more(&self, entrance: &Entrance, client: &Client) -> Option<Connection> {
        let gate = self.shared.gate();
        if self.shared.is_draining() {
            return gate.enter_refused();
        }
        let policy = self.shared.policy();
        // Its credential, which is in the head, tells more.
        if entrance.credentials().is_some() && policy.asks_credential(client.origin) {
            return gate.enter_pending();
        }
        let identified = policy.identify(client);
        gate.enter(identified.as_ref().ok().map(|identified| &*identified.source().name))
    }

    /// Whether a request on this connection is served at all.
    ///
    /// # Errors
    /// `draining`, `overloaded`.
    pub fn open_for(&self, place: &Place) -> Result<(), Denial> {
        if self.shared.is_draining() {
            Err(draining())
        } else if !place.is_within_limit() {
            Err(Denial::new(Reason::Overloaded))
        } else {
            Ok(())
        }
    }

    /// Whether the source had a place for this connection.
    ///
    /// # Errors
    /// `connection_limit`.
    pub fn within_source_limit(&self, place: &Place, admitted: &Admitted) -> Result<(), Denial> {
        if place.is_within_source_limit() { Ok(()) } else { Err(admitted.deny(Reason::ConnectionLimit)) }
    }

    /// Places for a request, in the quotas of its rule and source.
    ///
    /// # Errors
    /// `tunnel_limit`, `rate_limited`, `byte_budget_spent`.
    pub fn within_quotas(&self, admitted: &Admitted) -> Result<Places, Denial> {
        let places = self.shared.quotas().enter(admitted.rule(), admitted.source());
        places.map_err(|reason| admitted.deny(reason))
    }

    /// Puts a tunnel among the open ones. One that was set up while another policy, a block or other lists came into force is judged by those
    /// at once.
    pub fn enter(&self, tunnel: OpenTunnel, judged_by: &Arc<Policy>) -> tunnel::Place<'_> {
        let place = self.tunnels.enter(tunnel);
        let policy = self.shared.policy();
        let now = clock::now();
        if !Arc::ptr_eq(&policy, judged_by) || !place.tunnel().is_proved(now) {
            let verdict = judge(&policy, place.tunnel(), (&self.shared.own_addresses(), now));
            place.tunnel().obey(Instant::now(), verdict, self.shared.quotas());
        }
        place
    }

    /// Holds the open tunnels to their deadlines.
    pub fn sweep(&self) {
        let limits = self.shared.limits();
        self.tunnels.sweep(Instant::now(), Deadlines { idle: limits.idle_timeout, lifetime: limits.lifetime });
    }

    /// Cuts what is open, refuses what is being set up, and waits a moment for their last records.
    pub async fn wind_up(&self) {
        self.stop.send_replace(true);
        self.tunnels.stop_all(Ending::Shutdown);
        // A client that reads neither its alert nor its answer is not waited for longer.
        let _ = timeout(LAST_WORDS, self.idle()).await;
    }

    /// Judges every open tunnel by the policy in force.
    pub async fn judge_again(&self) -> Judged {
        let (policy, own, now) = (self.shared.policy(), self.shared.own_addresses(), clock::now());
        self.tunnels.judge_again(self.shared.quotas(), |tunnel| judge(&policy, tunnel, (&own, now))).await
    }

    /// Counts a request until its last record is written.
    pub fn begin(&self) -> Unfinished {
        self.open.set(self.open.get().saturating_add(1));
        Unfinished(Rc::clone(&self.open))
    }

    /// Once this worker is told to stop: the refusal of what it still sets up.
    pub async fn cut_off(&self) -> Denial {
        self.stopped().await;
        draining()
    }

    /// Ends once this worker is told to stop.
    pub async fn stopped(&self) {
        // The sender lives as long as the worker, so this cannot fail.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }

    /// Ends once every request has its last record. A tunnel that opened after the stop is stopped here.
    async fn idle(&self) {
        let mut ticks = interval(std::time::Duration::from_millis(5));
        while self.open.get() > 0 {
            self.tunnels.stop_all(Ending::Shutdown);
            ticks.tick().await;
        }
    }
}

/// What becomes of an open tunnel under `policy`. One whose certificate or credential was taken back is cut, whatever its rule says.
fn judge(policy: &Arc<Policy>, tunnel: &OpenTunnel, (own, now): (&OwnAddresses, Timestamp)) -> Verdict {
    if tunnel.is_proved(now) { policy.judge_again(tunnel.standing(), own, now) } else { Verdict::Gone(Existing::Cut) }
}

fn draining() -> Denial {
    Denial::new(Reason::Draining)
}
