//! Records of a process whose log another one has taken over: they are relayed there, and permits given once that one has them.
//! Not here: the way between the two (`runtime::succession`), numbering (`log`: whoever has the log does that).
//! Source: the promise that no client byte is forwarded without a record, over an upgrade too.

use std::io;

use super::entry::Entry;
use super::log::{CommitError, Step, StoreError, permits};
use super::permit::Permit;

/// Whoever writes the log now. Two implementations: another process (`runtime::succession`) and one for tests that fails on purpose.
pub trait Successor {
    /// Gives records over, and comes back once all of them are durable. `again`: of some of these it is not known whether they were
    /// given over before; whoever writes leaves out those that it has.
    ///
    /// # Errors
    /// It is not known which of them are durable.
    fn keep(&mut self, batch: &[Entry], again: bool) -> io::Result<()>;

    /// Looks for whoever writes the log now.
    ///
    /// # Errors
    /// There is nobody.
    fn find(&mut self) -> io::Result<()>;
}

/// This end of it.
#[derive(Debug, Default)]
pub struct Relay {
    is_ill: bool,
    /// Whether records that failed may be in the log all the same.
    is_unsure: bool,
}

impl Relay {
    /// Whether the last batch failed and [`Relay::recover`] did not succeed since.
    pub fn is_ill(&self) -> bool {
        self.is_ill
    }

    /// Makes a batch durable where the log is now. Returns a permit for each record that lets something through and has none yet, in
    /// order.
    ///
    /// # Errors
    /// The batch comes back. No permit is given; whether its records are in the log is not known, so they may be relayed again.
    pub fn commit(&mut self, batch: Vec<Entry>, successor: &mut dyn Successor) -> Result<Vec<Permit>, CommitError> {
        match successor.keep(&batch, self.is_unsure) {
            Ok(()) => {
                self.is_unsure = false;
                Ok(permits(&batch))
            }
            Err(source) => {
                (self.is_ill, self.is_unsure) = (true, true);
                Err(CommitError { batch, source: StoreError { step: Step::Relay, source } })
            }
        }
    }

    /// Looks for whoever writes the log now.
    ///
    /// # Errors
    /// There is nobody yet.
    pub fn recover(&mut self, successor: &mut dyn Successor) -> Result<(), StoreError> {
        successor.find().map_err(|source| StoreError { step: Step::Relay, source })?;
        self.is_ill = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision_log::Kind;
    use crate::decision_log::faulty::entry;
    use crate::policy::Outcome;

    /// Fails as often as told to, after it has kept what it got or before.
    #[derive(Default)]
    struct Shaky {
        fails: usize,
        kept: Vec<(u128, bool)>,
    }

    impl Successor for Shaky {
        fn keep(&mut self, batch: &[Entry], again: bool) -> io::Result<()> {
            self.kept.extend(batch.iter().map(|entry| (entry.id().as_u128(), again)));
            match self.fails.checked_sub(1) {
                Some(left) => {
                    self.fails = left;
                    Err(io::ErrorKind::BrokenPipe.into())
                }
                None => Ok(()),
            }
        }

        fn find(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn permits_come_once_the_records_are_kept_and_a_second_try_says_so() {
        let mut shaky = Shaky { fails: 1, ..Shaky::default() };
        let mut relay = Relay::default();
        let batch =
            || vec![entry(Kind::Decision, Some(Outcome::Allow), 1), entry(Kind::Close, Some(Outcome::Allow), 2)];
        let CommitError { batch: back, source } = relay.commit(batch(), &mut shaky).unwrap_err();
        assert_eq!((back, relay.is_ill()), (batch(), true));
        assert_eq!(source.to_string(), "decision log can't relay: broken pipe");
        relay.recover(&mut shaky).unwrap();
        assert!(!relay.is_ill());
        let permits = relay.commit(batch(), &mut shaky).unwrap();
        assert_eq!(permits.iter().map(|permit| permit.id().as_u128()).collect::<Vec<_>>(), [1]);
        let _more = relay.commit(batch(), &mut shaky).unwrap();
        assert_eq!(shaky.kept, [(1, false), (2, false), (1, true), (2, true), (1, false), (2, false)]);
    }
}
