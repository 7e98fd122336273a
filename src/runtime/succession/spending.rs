//! What goes out through the tunnels of an old process counts in the new one too, and the other way round: a day has one budget.
//! Not here: counting (`quota`). Told once a second, so the two together may go over a budget by what they send in that.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::message::Message;
use super::wire::Wire;
use crate::runtime::quota::{Quotas, Spent};

/// Rules, and as many sources, that are told of at once; the others are told of a second later.
const MAX_TOLD: usize = 1_000;

/// How long saying so may take.
const SAY_DEADLINE: Duration = Duration::from_secs(1);

/// The way on which an old process speaks to whoever has the log; none before that is another.
#[derive(Clone, Default)]
pub struct Voice(Arc<Mutex<Option<Wire>>>);

impl Voice {
    /// Speaks on another way from now on.
    pub(super) fn turn_to(&self, wire: Wire) {
        *self.lock() = Some(wire);
    }

    /// Says something; nobody else does meanwhile.
    pub(super) fn say(&self, message: &Message, deadline: Instant) -> std::io::Result<()> {
        self.lock().as_ref().ok_or(std::io::ErrorKind::NotConnected)?.say(message, deadline)
    }

    /// Ends the way that there is.
    pub(super) fn close(&self) {
        self.lock().iter().for_each(Wire::close);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Wire>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an old process has told and was told.
#[derive(Default)]
pub struct Spending {
    /// What both know.
    told: Spent,
    /// What was told and not answered.
    asked: Option<Spent>,
}

impl Spending {
    /// Begins with what the new process was left.
    pub fn after(left: Spent) -> Self {
        Self { told: left, asked: None }
    }

    /// Tells what has gone out since. What finds nobody is told again.
    pub fn tell(&mut self, quotas: &Quotas, voice: &Voice) {
        let more = quotas.spent().beyond(&self.told, MAX_TOLD);
        if more.is_empty() {
            return;
        }
        if voice.say(&Message::Spent(more.clone()), Instant::now() + SAY_DEADLINE).is_ok() {
            self.told.add(&more);
            self.asked = Some(more);
        }
    }

    /// Counts what the others have sent, now that the new process tells what all have.
    pub fn hear(&mut self, all: &Spent, quotas: &Quotas) {
        if self.asked.take().is_some() {
            let others = all.beyond(&self.told.of(all), usize::MAX);
            quotas.add(&others);
            self.told.add(&others);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::policy::testing;

    /// The counts of a process that has a rule with a budget.
    fn quotas(gone: u64) -> Quotas {
        let quotas = Quotas::default();
        quotas.restore(&spent(gone));
        let policy = "version: 1\nsources: [{name: s, subnets: [10.0.0.0/24]}]\n\
                      rules: [{id: r, customer: c, sources: [s], hosts: [a.example], limits: {bytes_out: 1KiB/day}}]\n";
        quotas.serve(&testing::policy(policy));
        quotas
    }

    fn spent(bytes: u64) -> Spent {
        Spent { rules: [("r".to_owned(), bytes)].into(), ..Spent::default() }
    }

    #[test]
    fn two_processes_count_what_both_send() {
        let (one, other) = UnixStream::pair().unwrap();
        let (voice, hears) = (Voice::default(), Wire::new(other).unwrap());
        let (old, new) = (quotas(100), quotas(100));
        let mut spending = Spending::after(old.spent());
        old.add(&spent(10));
        new.add(&spent(5));
        spending.tell(&old, &voice);
        assert_eq!(new.spent(), spent(105), "nobody was there");
        voice.turn_to(Wire::new(one).unwrap());
        for (sent, theirs, both) in [(0, 0, 115), (7, 100, 222), (3, 0, 225)] {
            old.add(&spent(sent));
            new.add(&spent(theirs));
            spending.tell(&old, &voice);
            let Ok(Some((Message::Spent(more), _))) = hears.wait() else { panic!("nothing was told") };
            new.add(&more);
            spending.hear(&new.spent().of(&more), &old);
            assert_eq!((old.spent(), new.spent()), (spent(both), spent(both)));
        }
        spending.hear(&spent(9_999), &old);
        assert_eq!(old.spent(), spent(225), "an answer to nothing");
        spending.tell(&old, &voice);
        drop(voice);
        assert!(hears.wait().unwrap().is_none(), "nothing has gone out, so nothing is told");
    }
}
