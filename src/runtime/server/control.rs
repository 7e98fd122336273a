//! What a running proxy does beside serving: reads again what has changed and puts it in force, looks at the clock, drains.
//! Not here: starting and ending (`server`), serving (`worker`), what a reload came to (`reloads`, `events`).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{self, JoinError, JoinSet};
use tokio::time::{Instant, interval, timeout_at};

use super::{Server, own_addresses};
use crate::policy::Policy;
use crate::runtime::admin::{self, Access};
use crate::runtime::heartbeat::{self, HEARTBEAT_INTERVAL};
use crate::runtime::lifecycle::{Judged, Stage};
use crate::runtime::load::LoadError;
use crate::runtime::quota::Spent;
use crate::runtime::reloads::{NotRead, Order, Reload};
use crate::runtime::succession::Notice;
use crate::runtime::timed::Clockwork;
use crate::runtime::{blocks, budgets, clock, denials, egress, entrance, events, service_manager};

/// How often a drain looks whether all connections have gone.
const DRAIN_TICK: Duration = Duration::from_millis(20);

/// How often the host's addresses are read again: a virtual address that moves here is the proxy's own within this time.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What a reload reads again, each good or bad by itself.
struct Reread {
    policy: Result<Policy, LoadError>,
    access: Result<Access, LoadError>,
    entrances: Result<entrance::Reread, LoadError>,
}

/// A reload under way, and the order for it; SIGHUP is none.
type UnderWay = (task::JoinHandle<Reread>, Option<Order>);

/// What ends its control.
enum End {
    /// It is to stop.
    Drain,
    /// Another process has taken over, and knows that so many bytes have gone out.
    Leave(Spent),
    /// A worker has ended by itself.
    Broken,
}

impl Server {
    /// Serves the admin port and the probes on this runtime until `stop` ends; `reload` asks for a new policy each time it is ready.
    ///
    /// # Errors
    /// The sockets do not fit this runtime.
    pub async fn control<F: Future<Output = ()>>(&mut self, stop: F, mut reload: impl AsyncFnMut()) -> io::Result<()> {
        let mut serving = JoinSet::new();
        for (socket, door) in self.doors.drain(..) {
            serving.spawn(admin::serve(tokio::net::TcpListener::from_std(socket)?, Arc::clone(&self.admin), door));
        }
        serving.spawn(heartbeat::beat(Arc::clone(&self.shared), HEARTBEAT_INTERVAL));
        serving.spawn(denials::summarise(Arc::clone(&self.shared)));
        serving.spawn(blocks::keep_up(Arc::clone(&self.shared), Arc::clone(&self.blocks)));
        serving.spawn(budgets::keep_up(Arc::clone(&self.shared), Arc::clone(&self.budgets)));
        serving.spawn(egress::watch::watch(Arc::clone(&self.shared)));
        if let Some(canary) = &self.canary {
            serving.spawn(canary.clone().watch(Arc::clone(&self.shared)));
        }
        let mut stop = std::pin::pin!(stop);
        let mut ordered_stop = std::pin::pin!(self.ordered.stopped());
        let mut reading: Option<UnderWay> = None;
        let mut looks = interval(LOOK_AGAIN);
        let mut clockwork = Clockwork::new(&self.shared.policy(), clock::now());
        let end = loop {
            tokio::select! {
                _ = looks.tick() => {
                    self.look_at_addresses();
                    self.shared.free_replaced();
                    self.admin.tell_refused(false);
                    if clockwork.look(&self.shared, clock::now()) {
                        let _judged = self.shared.lifecycle().judge_again().await;
                    }
                }
                () = &mut stop => break End::Drain,
                () = &mut ordered_stop => break End::Drain,
                Some(Notice::Left(spent)) = self.notices.recv() => break End::Leave(spent),
                // Until the phase is `Stopping` no worker ends unless something is broken: then none may go on, and `finish` says so.
                _ = self.news.recv() => break End::Broken,
                () = reload(), if reading.is_none() => reading = Some((self.read_again(), None)),
                Some(order) = self.ordered.reload(), if reading.is_none() => reading = Some((self.read_again(), Some(order))),
                // A large policy takes seconds to read: probes and signals are served meanwhile.
                Some(read) = async { Some((&mut reading.as_mut()?.0).await) } => {
                    let came = Arc::new(self.put_in_force(read).await);
                    self.shared.set_reload(Arc::clone(&came));
                    if let Some((_, Some(order))) = reading.take() {
                        self.admin.close(order, Ok(came));
                    }
                }
            }
        };
        for order in reading.and_then(|(_, order)| order).into_iter().chain(self.ordered.close()) {
            self.admin.close(order, Err(NotRead::Draining));
        }
        match end {
            End::Drain => self.drain().await,
            End::Leave(spent) => {
                // The new process has the sockets, keeps the budgets, and beats.
                drop(serving);
                self.leave(spent, stop).await;
            }
            End::Broken => {}
        }
        Ok(())
    }

    /// An error leaves what was seen before: the next look comes soon.
    pub(super) fn look_at_addresses(&self) {
        if let Ok(own) = own_addresses(self.shared.pools(), self.sockets.iter().copied()) {
            self.shared.set_own_addresses(own);
        }
    }

    /// Reads policy, admin files and listeners' files on a thread of their own.
    fn read_again(&self) -> task::JoinHandle<Reread> {
        let (policy, access) = (self.source.clone(), self.access_source.clone());
        let entrances = Arc::clone(&self.entrances);
        let (shared, blocks) = (Arc::clone(&self.shared), Arc::clone(&self.blocks));
        task::spawn_blocking(move || {
            // What is wrong with their file it tells itself; they hold on then.
            let _ = blocks.keep(&shared);
            Reread { policy: policy.reload(), access: access.reload(), entrances: entrances.reload() }
        })
    }

    /// Takes what was read again. A fault keeps the last good one; open tunnels are judged by what is in force then.
    async fn put_in_force(&self, read: Result<Reread, JoinError>) -> Reload {
        self.look_at_addresses();
        let Ok(Reread { policy, access, entrances }) = read else {
            return events::reload_failed(&self.shared);
        };
        let access = (!self.access_source.is_empty()).then_some(access);
        let entrances = (!self.entrances.is_empty()).then_some(entrances);
        let came = Reload::new(clock::now(), (&policy, access.as_ref(), entrances.as_ref()), self.shared.redactor());
        let is_new = policy.is_ok() || entrances.as_ref().is_some_and(Result::is_ok);
        let policy = policy.map(|policy| events::put_in_force(&self.shared, policy));
        if let Some(entrances) = entrances {
            self.entrances.reloaded(&self.shared, entrances);
        }
        let judged = if is_new { self.shared.lifecycle().judge_again().await } else { Judged::default() };
        match policy {
            Ok(policy) => events::reloaded(&self.shared, &policy, judged),
            Err(error) => events::not_reloaded(&self.shared, &error.to_string()),
        }
        if let Some(access) = access {
            self.admin.reloaded(access);
        }
        came
    }

    /// Ready no more, then no new requests; tunnels may finish within `drain_timeout`.
    pub(super) async fn drain(&self) {
        self.shared.drain();
        self.shared.predecessors().drain();
        if !self.has_left {
            service_manager::stops();
        }
        self.shared.lifecycle().enter(Stage::Draining);
        tracing::info!(connections = self.shared.gate().connections(), "draining");
        let mut ticks = interval(DRAIN_TICK);
        // At the deadline what is left is cut.
        let _ = timeout_at(Instant::now() + self.drain_timeout, async {
            while self.shared.gate().served() > 0 {
                ticks.tick().await;
            }
        })
        .await;
    }
}
