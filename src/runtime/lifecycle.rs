//! What workers are told: to judge their open tunnels again, to drain, to stop; and what they tell of it.
//! Not here: the judgement (`worker`, `policy`), who has it done and what is recorded of it (`server`, `events`).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout_at};

use crate::policy::Existing;
use crate::runtime::succession::Predecessors;

/// How long anybody waits until all workers have judged their open tunnels: about 2 µs each, beside what else they do. A count that is
/// not there by then is left out; the tunnels are judged all the same.
const JUDGED_DEADLINE: Duration = Duration::from_secs(2);

/// What workers are told.
#[derive(Debug, Clone, Default)]
pub struct Phase {
    /// How far the proxy's life has come.
    pub stage: Stage,
    /// Goes up whenever open tunnels are to be judged again: with every new policy, and by the clock.
    generation: u64,
    /// Who is told what came of that.
    tells: Option<UnboundedSender<Judged>>,
}

/// How far the proxy's life has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stage {
    /// It serves.
    #[default]
    Serving,
    /// Another process accepts in its place; what it has accepted is served, and tunnels go on.
    Leaving,
    /// It refuses new requests; tunnels go on.
    Draining,
    /// It cuts what is left.
    Stopping,
}

/// What became of open tunnels that were judged again. Each is counted once as no longer allowed, however often it is judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Judged {
    /// No longer allowed, and kept as its rule said.
    pub kept: u64,
    /// No longer allowed, with some time to end.
    pub drained: u64,
    /// No longer allowed, and cut at once.
    pub cut: u64,
}

impl Judged {
    /// One more that is no longer allowed.
    pub fn count(&mut self, existing: Existing) {
        let count = match existing {
            Existing::Keep => &mut self.kept,
            Existing::Drain(_) => &mut self.drained,
            Existing::Cut => &mut self.cut,
        };
        *count = count.saturating_add(1);
    }

    /// The two together.
    pub fn and(self, other: Self) -> Self {
        Self {
            kept: self.kept.saturating_add(other.kept),
            drained: self.drained.saturating_add(other.drained),
            cut: self.cut.saturating_add(other.cut),
        }
    }

    /// How many are no longer allowed.
    pub fn gone(self) -> u64 {
        self.kept.saturating_add(self.drained).saturating_add(self.cut)
    }
}

impl Phase {
    /// Tells whoever asked what came of judging again; not everybody who asks waits.
    pub fn tell(&self, judged: Judged) {
        if let Some(tells) = &self.tells {
            let _ = tells.send(judged);
        }
    }
}

/// The one who tells workers.
#[derive(Default)]
pub struct Lifecycle {
    phase: watch::Sender<Phase>,
    /// Held while workers judge, so that what they tell is of this time.
    turn: Mutex<()>,
    predecessors: Arc<Predecessors>,
}

impl Lifecycle {
    /// What a worker listens to.
    pub fn subscribe(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Comes to another stage.
    pub fn enter(&self, stage: Stage) {
        self.phase.send_modify(|phase| phase.stage = stage);
    }

    /// Old processes, whose tunnels are judged when this one's are.
    pub fn predecessors(&self) -> &Arc<Predecessors> {
        &self.predecessors
    }

    /// Lets workers judge their open tunnels by what is in force, and waits until they have, at most two seconds. To be called
    /// after what they are judged by is in force.
    pub async fn judge_again(&self) -> Judged {
        let _turn = self.turn.lock().await;
        self.predecessors.judge_again();
        let (tells, mut told) = mpsc::unbounded_channel();
        self.phase.send_modify(|phase| {
            phase.generation = phase.generation.wrapping_add(1);
            phase.tells = Some(tells);
        });
        let deadline = Instant::now() + JUDGED_DEADLINE;
        let mut all = Judged::default();
        for _ in 0..self.phase.receiver_count() {
            match timeout_at(deadline, told.recv()).await {
                Ok(Some(judged)) => all = all.and(judged),
                Ok(None) | Err(_) => break,
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
    }

    #[test]
    fn all_workers_are_asked_and_counted_together() {
        runtime().block_on(async {
            let lifecycle = Lifecycle::default();
            let judge = |mut phase: watch::Receiver<Phase>, judged| async move {
                phase.changed().await.unwrap();
                phase.borrow_and_update().tell(judged);
            };
            let one = Judged { kept: 1, drained: 2, cut: 3 };
            let asked = (lifecycle.subscribe(), lifecycle.subscribe());
            let (all, (), ()) = tokio::join!(lifecycle.judge_again(), judge(asked.0, one), judge(asked.1, one));
            assert_eq!((all, all.gone()), (Judged { kept: 2, drained: 4, cut: 6 }, 12));
        });
    }

    #[test]
    fn a_worker_that_tells_nothing_is_not_waited_for_for_ever() {
        runtime().block_on(async {
            let lifecycle = Lifecycle::default();
            let (silent, mut told) = (lifecycle.subscribe(), lifecycle.subscribe());
            let one = Judged { cut: 1, ..Judged::default() };
            let tells = async {
                told.changed().await.unwrap();
                told.borrow_and_update().tell(one);
            };
            let (all, ()) = tokio::join!(lifecycle.judge_again(), tells);
            assert_eq!(all, one);
            drop(silent);
        });
    }

    #[test]
    fn each_verdict_counts_where_it_belongs() {
        let mut judged = Judged::default();
        for existing in [Existing::Keep, Existing::Drain(Duration::ZERO), Existing::Cut, Existing::Cut] {
            judged.count(existing);
        }
        assert_eq!(judged, Judged { kept: 1, drained: 1, cut: 2 });
    }
}
