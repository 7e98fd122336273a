//! The open tunnels of one worker: their counts, their deadlines, and how they are told to stop.
//! Not here: moving bytes (`relay`), whether a tunnel is still allowed (`policy`). No tunnel has a timer: one sweep serves all.

use std::cell::{Cell, Ref, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use jiff::Timestamp;
use prometheus::{IntCounter, IntGauge};
use tokio::task::yield_now;
use tokio::time::Instant;

use crate::policy::{Ending, Existing, Standing, Verdict};
use crate::runtime::front::Proof;
use crate::runtime::lifecycle::Judged;
use crate::runtime::quota::{Places, Quotas};

/// How often idle and overlong tunnels are looked for; so the deadlines of open tunnels are exact to a second.
pub const SWEEP: Duration = Duration::from_secs(1);

/// Open tunnels that are judged again at one go, about 2 µs each, before others have their turn.
const JUDGED_AT_ONCE: usize = 256;

/// How long a tunnel of which one direction has ended may be idle: what is left is an answer under way or a peer that is gone.
const HALF_CLOSED_IDLE: Duration = Duration::from_secs(60);

/// One open tunnel: the relay counts into it; the sweep, a reload and the drain stop it.
pub struct OpenTunnel {
    bytes_out: Cell<u64>,
    bytes_in: Cell<u64>,
    half_closed: Cell<bool>,
    stalled: Cell<bool>,
    look: Cell<bool>,
    opened: Instant,
    seen: Cell<Seen>,
    /// Whether the last verdict was that nothing allows it.
    gone: Cell<bool>,
    cut: Cell<Option<(Instant, Ending)>>,
    stop: Cell<Option<Ending>>,
    waker: RefCell<Option<Waker>>,
    standing: Standing,
    proof: Option<Proof>,
    meters: Meters,
    places: RefCell<Places>,
}

/// What the last sweep saw.
#[derive(Clone, Copy)]
struct Seen {
    bytes_out: u64,
    bytes_in: u64,
    moved: Instant,
}

/// Where a tunnel is counted: the metrics of its customer.
#[derive(Clone)]
pub struct Meters {
    /// Open tunnels.
    pub open: IntGauge,
    /// Client to server.
    pub bytes_out: IntCounter,
    /// Server to client.
    pub bytes_in: IntCounter,
}

/// The deadlines that a sweep holds tunnels to.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// No byte in either direction for so long.
    pub idle: Duration,
    /// From the tunnel's opening.
    pub lifetime: Duration,
}

impl OpenTunnel {
    /// A tunnel that opens now, with what it was allowed for and its places among others with the same limits.
    pub fn new(standing: Standing, meters: Meters, places: Places) -> Self {
        meters.open.inc();
        let now = Instant::now();
        Self {
            bytes_out: Cell::new(0),
            bytes_in: Cell::new(0),
            half_closed: Cell::new(false),
            stalled: Cell::new(false),
            look: Cell::new(false),
            opened: now,
            seen: Cell::new(Seen { bytes_out: 0, bytes_in: 0, moved: now }),
            gone: Cell::new(false),
            cut: Cell::new(None),
            stop: Cell::new(None),
            waker: RefCell::new(None),
            standing,
            proof: None,
            meters,
            places: RefCell::new(places),
        }
    }

    /// The same, let in by what must not be taken back.
    pub fn proved_by(self, proof: Option<Proof>) -> Self {
        Self { proof, ..self }
    }

    /// Whether what let it in, a certificate or a credential, has not been taken back at `now`.
    pub fn is_proved(&self, now: Timestamp) -> bool {
        self.proof.as_ref().is_none_or(|proof| !proof.is_taken_back(now))
    }

    /// Bytes that the server's side took, client to server.
    pub fn bytes_out(&self) -> &Cell<u64> {
        &self.bytes_out
    }

    /// Bytes that the client's side took, server to client.
    pub fn bytes_in(&self) -> &Cell<u64> {
        &self.bytes_in
    }

    /// When it opened.
    pub fn opened(&self) -> Instant {
        self.opened
    }

    /// Notes that one direction has ended.
    pub fn half_close(&self) {
        self.half_closed.set(true);
    }

    /// What it was allowed for.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Notes whether a direction waits for a receiver that takes nothing: each sweep then lets the relay look at its sockets.
    pub fn stall(&self, stalled: bool) {
        self.stalled.set(stalled);
    }

    /// Whether a sweep has asked to look at the sockets; asks once.
    pub fn is_to_be_looked_at(&self) -> bool {
        self.look.take()
    }

    /// Ends the tunnel; the first reason stays.
    pub fn stop(&self, ending: Ending) {
        if self.stop.get().is_none() {
            self.stop.set(Some(ending));
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
    }

    /// Ends once the tunnel is told to stop, with the reason.
    pub async fn stopped(&self) -> Ending {
        poll_fn(|cx| self.poll_stopped(cx)).await
    }

    /// Ready once the tunnel is told to stop; else the task is woken when it is.
    pub fn poll_stopped(&self, cx: &mut Context<'_>) -> Poll<Ending> {
        if let Some(ending) = self.stop.get() {
            return Poll::Ready(ending);
        }
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Its places in the quotas that bound it. Not to be held over a wait: a reload replaces them.
    pub fn places(&self) -> Ref<'_, Places> {
        self.places.borrow()
    }

    /// Does what a verdict says, and tells what becomes of the tunnel if it is no longer allowed and was before. A rule that came back keeps
    /// its tunnels; one that stays away does not drain anew, but
    /// what was kept or drains may be cut yet. What is allowed counts where it belongs now.
    pub fn obey(&self, now: Instant, verdict: Verdict, quotas: &Quotas) -> Option<Existing> {
        let existing = match verdict {
            Verdict::Allowed(rule, source) => {
                self.gone.set(false);
                self.cut.set(None);
                self.places.replace(quotas.places(&rule, &source));
                return None;
            }
            Verdict::Gone(existing) => existing,
        };
        let is_first = !self.gone.replace(true);
        let is_cut = existing == Existing::Cut && self.stop.get().is_none();
        match existing {
            Existing::Keep => self.cut.set(None),
            Existing::Drain(time) => self.cut_at(now + time, Ending::Revoked),
            Existing::Cut => self.stop(Ending::Revoked),
        }
        (is_first || is_cut).then_some(existing)
    }

    /// Ends the tunnel at `at`, unless that is settled for an earlier moment.
    fn cut_at(&self, at: Instant, ending: Ending) {
        if self.cut.get().is_none_or(|(settled, _)| at < settled) {
            self.cut.set(Some((at, ending)));
        }
    }

    /// Counts what has moved since the last sweep and stops the tunnel if a deadline has passed.
    fn sweep(&self, now: Instant, instance: Deadlines) {
        self.count(now);
        let deadlines = self.places.borrow().deadlines(instance);
        if self.stalled.get() {
            self.look.set(true);
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
        let idle = if self.half_closed.get() { deadlines.idle.min(HALF_CLOSED_IDLE) } else { deadlines.idle };
        if let Some((_, ending)) = self.cut.get().filter(|(at, _)| *at <= now) {
            self.stop(ending);
        } else if now.saturating_duration_since(self.opened) >= deadlines.lifetime {
            self.stop(Ending::LifetimeExceeded);
        } else if now.saturating_duration_since(self.seen.get().moved) >= idle {
            self.stop(Ending::IdleTimeout);
        }
    }

    fn count(&self, now: Instant) {
        let before = self.seen.get();
        let (bytes_out, bytes_in) = (self.bytes_out.get(), self.bytes_in.get());
        let (out, back) = (bytes_out.saturating_sub(before.bytes_out), bytes_in.saturating_sub(before.bytes_in));
        if out > 0 || back > 0 {
            self.meters.bytes_out.inc_by(out);
            self.meters.bytes_in.inc_by(back);
            self.seen.set(Seen { bytes_out, bytes_in, moved: now });
        }
    }
}

/// All open tunnels of one worker.
#[derive(Default)]
pub struct OpenTunnels {
    tunnels: RefCell<HashMap<u64, Rc<OpenTunnel>>>,
    next: Cell<u64>,
}

/// A tunnel's place among the open ones: dropping it takes the tunnel out and counts its last bytes.
pub struct Place<'a> {
    among: &'a OpenTunnels,
    number: u64,
    tunnel: Rc<OpenTunnel>,
}

impl OpenTunnels {
    /// Puts a tunnel among the open ones for as long as the place is held.
    pub fn enter(&self, tunnel: OpenTunnel) -> Place<'_> {
        let number = self.next.get();
        self.next.set(number.wrapping_add(1));
        let tunnel = Rc::new(tunnel);
        self.tunnels.borrow_mut().insert(number, Rc::clone(&tunnel));
        Place { among: self, number, tunnel }
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.tunnels.borrow().len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.tunnels.borrow().is_empty()
    }

    /// Counts bytes, and stops what is idle, too old or due to be cut.
    pub fn sweep(&self, now: Instant, deadlines: Deadlines) {
        for tunnel in self.tunnels.borrow().values() {
            tunnel.sweep(now, deadlines);
        }
    }

    /// Stops all that is open: the end of a drain.
    pub fn stop_all(&self, ending: Ending) {
        for tunnel in self.tunnels.borrow().values() {
            tunnel.stop(ending);
        }
    }

    /// Judges every open tunnel again with `judge` and gives what becomes of those that were allowed until now. Others have their turn in
    /// between; what opens meanwhile is judged when it enters.
    pub async fn judge_again(&self, quotas: &Quotas, judge: impl Fn(&OpenTunnel) -> Verdict) -> Judged {
        let tunnels: Vec<Rc<OpenTunnel>> = self.tunnels.borrow().values().map(Rc::clone).collect();
        let mut judged = Judged::default();
        for some in tunnels.chunks(JUDGED_AT_ONCE) {
            let now = Instant::now();
            some.iter()
                .filter_map(|tunnel| tunnel.obey(now, judge(tunnel), quotas))
                .for_each(|gone| judged.count(gone));
            yield_now().await;
        }
        judged
    }
}

impl Place<'_> {
    /// The tunnel that stands here.
    pub fn tunnel(&self) -> &OpenTunnel {
        &self.tunnel
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.tunnel.count(Instant::now());
        self.tunnel.meters.open.dec();
        self.among.tunnels.borrow_mut().remove(&self.number);
    }
}
