//! What a running proxy does beside serving: reads again what has changed and puts it in force, looks at the clock, drains.
//! Not here: starting and ending (`server`), serving (`worker`), what a reload came to (`reloads`, `events`).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{self, JoinError, JoinSet};
use tokio::time::{interval, sleep, timeout};

use super::{Server, own_addresses};
use crate::runtime::admin;
use crate::runtime::blocks::BlocksError;
use crate::runtime::change_guard::Weighed;
use crate::runtime::heartbeat::{self, HEARTBEAT_INTERVAL};
use crate::runtime::lifecycle::Stage;
use crate::runtime::load::{Again, Reread};
use crate::runtime::orders::{NotRead, Order};
use crate::runtime::quota::Spent;
use crate::runtime::reloads::{Asked, Cause, DiffTold, Outcome, Parts, Reload};
use crate::runtime::succession::Notice;
use crate::runtime::timed::Clockwork;
use crate::runtime::watch::Watch;
use crate::runtime::{blocks, budgets, clock, denials, egress, events, service_manager};

/// How often a drain looks whether all connections have gone.
const DRAIN_TICK: Duration = Duration::from_millis(20);

/// How often the host's addresses are read again: a virtual address that moves here is the proxy's own within this time.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What a reload read, and what of the policy it would change.
struct Read {
    reread: Reread,
    weighed: Option<Weighed>,
}

/// A reload under way, how it came about, and the order for it if there was one.
struct UnderWay {
    reading: task::JoinHandle<Read>,
    by: Cause,
    order: Option<Order>,
}

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
    /// Serves the admin port and the probes on this runtime until `stop` is ready, and drains until it is once more or all has ended; `reload`
    /// asks for a reload each time it is ready.
    ///
    /// # Errors
    /// The sockets do not fit this runtime.
    pub async fn control(&mut self, mut stop: impl AsyncFnMut(), reload: impl AsyncFnMut()) -> io::Result<()> {
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
        let (mut watch, lookout) =
            Watch::begin(Arc::clone(&self.shared), std::mem::take(&mut self.inventory), self.running.config.reload);
        serving.spawn(lookout.look_out());
        match self.go_on(&mut watch, &mut stop, reload).await {
            End::Drain => self.drain(stop).await,
            End::Leave(spent) => {
                // The new process has the sockets, keeps the budgets, beats, and reads what changes.
                drop(serving);
                self.leave(spent, stop).await;
            }
            End::Broken => {}
        }
        Ok(())
    }

    /// Looks after what runs until that ends.
    async fn go_on(&mut self, watch: &mut Watch, stop: &mut impl AsyncFnMut(), mut reload: impl AsyncFnMut()) -> End {
        let mut stop = std::pin::pin!(stop());
        let mut ordered_stop = std::pin::pin!(self.ordered.stopped());
        let mut reading: Option<UnderWay> = None;
        let mut looks = interval(LOOK_AGAIN);
        let mut clockwork = Clockwork::new(&self.shared.policy(), clock::now());
        let end = loop {
            tokio::select! {
                _ = looks.tick() => {
                    self.admin.tell_refused(false);
                    self.look(&mut clockwork).await;
                }
                () = &mut stop => break End::Drain,
                () = &mut ordered_stop => break End::Drain,
                Some(Notice::Left(spent)) = self.notices.recv() => break End::Leave(spent),
                // Until the phase is `Stopping` no worker ends unless something is broken: then none may go on, and `finish` says so.
                _ = self.news.recv() => break End::Broken,
                () = reload(), if reading.is_none() => reading = Some(self.read_again(Cause::Signal, None)),
                () = watch.changed(), if reading.is_none() => reading = Some(self.read_again(Cause::FileChange, None)),
                Some(order) = self.ordered.reload(), if reading.is_none() => {
                    reading = Some(self.read_again(Cause::Admin, Some(order)));
                }
                // A large policy takes seconds to read: probes and signals are served meanwhile.
                Some(read) = async { Some((&mut reading.as_mut()?.reading).await) } => {
                    let Some(UnderWay { by, order, .. }) = reading.take() else { continue };
                    let came = Arc::new(self.reloaded(read, watch, (by, order.as_ref())).await);
                    self.shared.set_reload(Arc::clone(&came));
                    if let Some(order) = order {
                        self.admin.close(order, Ok(came));
                    }
                }
            }
        };
        for order in reading.and_then(|under_way| under_way.order).into_iter().chain(self.ordered.close()) {
            self.admin.close(order, Err(NotRead::Draining));
        }
        end
    }

    /// What is done once a second as long as there are tunnels.
    pub(super) async fn look(&self, clockwork: &mut Clockwork) {
        self.look_at_addresses();
        self.shared.free_replaced();
        if clockwork.look(&self.shared, clock::now()) {
            let _judged = self.shared.lifecycle().judge_again().await;
        }
    }

    /// An error leaves what was seen before: the next look comes soon.
    fn look_at_addresses(&self) {
        if let Ok(own) = own_addresses(self.shared.pools(), self.sockets.iter().copied()) {
            self.shared.set_own_addresses(own);
        }
    }

    /// Reads everything on a thread of its own, and compares the policy with the one in force.
    fn read_again(&self, by: Cause, order: Option<Order>) -> UnderWay {
        let (running, entrances, before) = (self.running.clone(), Arc::clone(&self.entrances), self.shared.policy());
        let (shared, blocks) = (Arc::clone(&self.shared), Arc::clone(&self.blocks));
        let reading = task::spawn_blocking(move || {
            // What is wrong with their file lifts none of them. A disk that takes nothing holds no reload up; that is told already.
            let wrong = blocks.keep(&shared).err().filter(BlocksError::is_of_file);
            let reread = running.read(&entrances);
            let reread = match wrong {
                Some(wrong) => reread.with_faulty_blocks(wrong.to_string()),
                None => reread,
            };
            let guard = &running.config.policy_guard;
            let weighed = reread.read.as_ref().ok().map(|again| Weighed::between(guard, &before, &again.policy));
            Read { reread, weighed }
        });
        UnderWay { reading, by, order }
    }

    /// Takes what was read again: all of it, or with one fault nothing.
    async fn reloaded(
        &mut self,
        read: Result<Read, JoinError>,
        watch: &Watch,
        (by, order): (Cause, Option<&Order>),
    ) -> Reload {
        self.look_at_addresses();
        let asked = Asked { by, actor: order.map(|order| Arc::clone(&order.actor)) };
        let confirm = order.and_then(|order| order.confirm.as_deref());
        let Ok(Read { reread: Reread { read, faulty, inventory }, weighed }) = read else {
            let kept = Reload::new(clock::now(), asked, self.parts(), Outcome::Kept);
            let came = Reload { policy: Outcome::Failed, ..kept };
            events::not_reloaded(&self.shared, &came);
            return came;
        };
        let settings = read.as_ref().map_or(self.running.config.reload, |again| again.running.config.reload);
        let files = watch.read(inventory, settings);
        let kept = Reload::new(clock::now(), asked.clone(), self.parts(), Outcome::Kept);
        let came = match (read, weighed) {
            (Ok(again), Some(weighed)) => match weighed.let_through(confirm) {
                Ok((diff, confirmed)) => return self.put_in_force(*again, (asked, diff, confirmed), files).await,
                Err(stopped) => {
                    let (diff, faults) = *stopped;
                    let came = Reload { policy: Outcome::Guarded, diff: Some(diff), ..kept };
                    came.with_faults(&faults, self.shared.redactor())
                }
            },
            (Err(error), _) => kept.refused(faulty).with_faults(error.lines(), self.shared.redactor()),
            // What was read was compared, too.
            (Ok(_), None) => Reload { policy: Outcome::Failed, ..kept },
        };
        events::not_reloaded(&self.shared, &came);
        came
    }

    /// Puts in force what was read again. Open tunnels are judged by it.
    async fn put_in_force(
        &mut self,
        again: Again,
        (asked, diff, confirmed): (Asked, DiffTold, bool),
        files: usize,
    ) -> Reload {
        let Again { running, policy, access, entrances, connections, needs_restart } = again;
        let before = Arc::clone(self.shared.policy().hash());
        self.running = running;
        self.shared.take(&self.running.config, connections);
        events::put_in_force(&self.shared, policy);
        self.entrances.reloaded(&self.shared, entrances);
        let judged = self.shared.lifecycle().judge_again().await;
        let came = Reload::new(clock::now(), asked, self.parts(), Outcome::InForce).with_needs_restart(needs_restart);
        let came = Reload { diff: Some(diff), confirmed, ..came };
        events::reloaded(&self.shared, &came, (&before, judged, files));
        self.admin.reloaded(access);
        came
    }

    /// What the configuration in force names beside the policy.
    fn parts(&self) -> Parts {
        let config = &self.running.config;
        Parts {
            admin_files: config.admin.tls.is_some() || config.admin.tokens.is_some(),
            listener_files: config.listeners.iter().any(|one| one.tls.is_some() || one.credentials.is_some()),
        }
    }

    /// Ready no more; after `drain_delay` no new requests; tunnels may finish within `drain_timeout`, unless `stop` is ready once more.
    pub(super) async fn drain(&self, mut stop: impl AsyncFnMut()) {
        self.shared.withdraw();
        // Of one whose place another process has taken nobody asks whether it is ready.
        let delay = if self.has_left { Duration::ZERO } else { self.shared.limits().drain_delay };
        if !self.has_left {
            service_manager::stops();
        }
        let limits = Arc::clone(&self.shared.limits());
        tracing::info!(connections = self.shared.gate().connections(), "ready no more");
        let mut stop = std::pin::pin!(stop());
        tokio::select! {
            () = sleep(delay) => {}
            () = &mut stop => return self.begin_to_drain(),
        }
        self.begin_to_drain();
        let mut ticks = interval(DRAIN_TICK);
        let all_gone = async {
            let mut is_leaving = false;
            while self.shared.gate().served() > 0 {
                // A take-over that was under way: the other accepts now.
                if !std::mem::replace(&mut is_leaving, self.shared.journal().is_anothers()) && is_leaving {
                    self.shared.leave();
                }
                ticks.tick().await;
            }
        };
        tokio::select! {
            // At the deadline what is left is cut.
            _ = timeout(limits.drain_timeout, all_gone) => {}
            () = &mut stop => tracing::warn!("told to stop once more; what is left is cut"),
        }
    }

    fn begin_to_drain(&self) {
        self.shared.drain();
        self.shared.predecessors().drain();
        self.shared.lifecycle().enter(Stage::Draining);
        tracing::info!(connections = self.shared.gate().connections(), "draining");
    }
}
