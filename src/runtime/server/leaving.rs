//! What a proxy does once another process has taken over: serves what it has accepted, and its tunnels until they end by themselves.
//! Not here: how the other took over (`succession`). What the files allow holds for its tunnels all the same.

use std::sync::Arc;

use tokio::task;
use tokio::time::interval;

use super::Server;
use super::control::LOOK_AGAIN;
use crate::runtime::listeners::OwnPath;
use crate::runtime::load::Again;
use crate::runtime::quota::Spent;
use crate::runtime::succession::{Notice, Spending};
use crate::runtime::timed::Clockwork;
use crate::runtime::{clock, denials, events};

impl Server {
    /// Until its last tunnel has ended, `stop` says so, or the new process drains. `spent` is what the new one knows to have gone out.
    pub(super) async fn leave(&mut self, spent: Spent, mut stop: impl AsyncFnMut()) {
        self.part();
        self.shared.leave();
        tracing::info!(connections = self.shared.gate().connections(), "another process has taken over");
        if self.is_told_to_drain(spent, &mut stop).await {
            self.drain(stop).await;
        }
    }

    /// What is another process's now, this one leaves alone.
    pub(super) fn part(&mut self) {
        self.has_left = true;
        self.paths.iter_mut().for_each(OwnPath::give_away);
        self.back_door = None;
    }

    /// Serves what is left; whether there is still some, which is to end now.
    async fn is_told_to_drain(&mut self, spent: Spent, stop: &mut impl AsyncFnMut()) -> bool {
        let mut stop = std::pin::pin!(stop());
        let mut spending = Spending::after(spent);
        let mut looks = interval(LOOK_AGAIN);
        let mut clockwork = Clockwork::new(&self.shared.policy(), clock::now());
        loop {
            tokio::select! {
                () = &mut stop => return true,
                Some(notice) = self.notices.recv() => match notice {
                    Notice::Left(_) => {}
                    Notice::Judge(policy) => self.follow(&policy).await,
                    Notice::Gone(all) => spending.hear(&all, self.shared.quotas()),
                    Notice::Lost => self.shared.journal().seek(),
                    Notice::Drain => return true,
                },
                _ = self.news.recv() => return false,
                _ = looks.tick() => {
                    if self.shared.gate().connections() == 0 {
                        return false;
                    }
                    denials::tell(&self.shared);
                    spending.tell(self.shared.quotas(), &self.voice);
                    self.look(&mut clockwork).await;
                }
            }
        }
    }

    /// Judges its tunnels by what the files say now, as the new process does, which leaves the record of that. What this one can't read
    /// it judges by what it had: that may be of a later version.
    async fn follow(&mut self, policy: &str) {
        let (running, entrances) = (self.running.clone(), Arc::clone(&self.entrances));
        let (blocks, shared) = (Arc::clone(&self.blocks), Arc::clone(&self.shared));
        let read = move || (running.read(&entrances), blocks.read_again(&shared));
        let Ok((reread, blocks)) = task::spawn_blocking(read).await else { return };
        match reread.read {
            // The new one has refused what the files say, or will tell of it.
            Ok(again) if **again.policy.hash() != *policy => {}
            Ok(again) => {
                let Again { running, policy, entrances, connections, .. } = *again;
                self.running = running;
                self.shared.take(&self.running.config, connections);
                events::put_in_force(&self.shared, policy);
                self.entrances.follow(entrances);
            }
            Err(error) => events::not_followed(&self.shared, &error.to_string()),
        }
        if let Err(error) = blocks {
            events::not_followed(&self.shared, &error.to_string());
        }
        self.shared.lifecycle().judge_again().await;
    }
}
