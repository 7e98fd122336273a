//! Which keys may have signed: the one that is trusted, and those that follow or precede it by records in the log.
//! Not here: the statement of a change (`key_change`), how a signature is checked (`note`).
//! A `start` record names the key of its run; nothing it signed counts before a change leads from there to the trusted key.

use super::bad::{Bad, Wrong};
use super::lines::Said;
use crate::decision_log::{Checkpoint, NoteError, VerifierKey, key_change};

/// Keys that one log may have had. A new one each month would last 20 years.
pub(super) const MAX_KEYS: usize = 256;

/// The keys of a log.
#[derive(Debug)]
pub(super) struct Keys {
    /// The first is trusted.
    known: Vec<Known>,
    changes: Vec<Change>,
}

#[derive(Debug)]
struct Known {
    key: VerifierKey,
    /// The largest checkpoint that it signed, and what is wrong if it must not have.
    used: Option<(u64, Bad)>,
}

/// A record that says that one key follows another, by their places in the list.
#[derive(Debug)]
struct Change {
    seq: u64,
    from: usize,
    to: usize,
    /// If neither is trusted.
    bad: Bad,
}

impl Keys {
    /// Trusts one key.
    pub(super) fn new(trusted: VerifierKey) -> Self {
        Self { known: vec![Known { key: trusted, used: None }], changes: Vec::new() }
    }

    /// Takes notice of a key that is not trusted for that. Those of other logs are passed over.
    pub(super) fn notice(&mut self, key: VerifierKey) {
        if key.name() == self.origin() {
            let _ = self.place(key);
        }
    }

    /// The log's name.
    pub(super) fn origin(&self) -> String {
        self.known.first().map(|known| known.key.name().to_owned()).unwrap_or_default()
    }

    /// Opens a checkpoint that any of the keys signed. `bad` is what is wrong if that key proves not to be trusted.
    ///
    /// # Errors
    /// None of them did, or not this.
    pub(super) fn open(&mut self, note: &str, bad: Bad) -> Result<Checkpoint, NoteError> {
        let mut tried = Vec::new();
        for known in &mut self.known {
            match Checkpoint::open(note, std::slice::from_ref(&known.key)) {
                Ok(checkpoint) => {
                    if known.used.as_ref().is_none_or(|(size, _)| *size < checkpoint.size) {
                        known.used = Some((checkpoint.size, bad));
                    }
                    return Ok(checkpoint);
                }
                Err(NoteError::Unsigned { wanted }) => tried.push(wanted),
                Err(error) => return Err(error),
            }
        }
        Err(NoteError::Unsigned { wanted: tried.join("` or `") })
    }

    /// Takes a change of the key by record `seq`.
    ///
    /// # Errors
    /// The statement is not that of the key that it says it is, or there are too many.
    pub(super) fn change(&mut self, seq: u64, change: &Said, place: impl Fn(Wrong) -> Bad) -> Result<(), Bad> {
        let Said::KeyChange { from, to, statement } = change else { return Ok(()) };
        let wrong = |error| place(Wrong::KeyChange { seq, error });
        let from: VerifierKey = from.parse().map_err(|_| wrong(NoteError::KeyChange))?;
        let new = key_change::check(statement, &from).map_err(wrong)?;
        if new.to_string() != *to || from.name() != self.origin() {
            return Err(wrong(NoteError::KeyChange));
        }
        let places = self.place(from).zip(self.place(new)).filter(|_| self.changes.len() < MAX_KEYS);
        let (from, to) = places.ok_or_else(|| place(Wrong::TooManyKeys))?;
        self.changes.push(Change { seq, from, to, bad: place(Wrong::UntrustedChange { seq }) });
        Ok(())
    }

    /// The changes, by the numbers of their records, with the key that followed.
    pub(super) fn changes(&self) -> Vec<(u64, VerifierKey)> {
        let key = |change: &Change| Some((change.seq, self.known.get(change.to)?.key.clone()));
        self.changes.iter().filter_map(key).collect()
    }

    /// Whether each key that signed was one that is trusted for that, and `now` is the log's key in the end.
    ///
    /// # Errors
    /// What is wrong first, by the keys' order; `not_now` if `now` isn't.
    pub(super) fn judge(&self, now: &VerifierKey, not_now: Bad) -> Result<(), Bad> {
        let until = self.trusted();
        let until = |place: usize| until.get(place).copied().flatten();
        let untrusted = self.changes.iter().find(|change| until(change.from).is_none() || until(change.to).is_none());
        if let Some(change) = untrusted {
            return Err(change.bad.clone());
        }
        for (place, known) in self.known.iter().enumerate() {
            match &known.used {
                Some((size, bad)) if until(place).is_none_or(|until| *size > until) => return Err(bad.clone()),
                Some(_) | None => {}
            }
        }
        let now = self.known.iter().position(|known| known.key == *now);
        if now.and_then(until) == Some(u64::MAX) { Ok(()) } else { Err(not_now) }
    }

    /// By the keys' order: up to which size a key may sign.
    fn trusted(&self) -> Vec<Option<u64>> {
        let mut until = vec![None; self.known.len()];
        until.first_mut().into_iter().for_each(|first| *first = Some(u64::MAX));
        let get = |until: &[Option<u64>], place: usize| until.get(place).copied().flatten();
        let put = |until: &mut Vec<Option<u64>>, place: usize, size| {
            until.get_mut(place).into_iter().for_each(|until| *until = Some(size));
        };
        // Whoever trusts an old key follows to the new one, and trusts the old one no longer. A change that a crash has
        // stopped begins anew, so the last one from a key counts.
        for change in &self.changes {
            if get(&until, change.from).is_some() {
                put(&mut until, change.from, change.seq.saturating_add(1));
                put(&mut until, change.to, u64::MAX);
            }
        }
        // Whoever trusts a new key trusts the old one for what it signed until then.
        for change in self.changes.iter().rev() {
            if get(&until, change.to).is_some() && get(&until, change.from).is_none() {
                put(&mut until, change.from, change.seq.saturating_add(1));
            }
        }
        until
    }

    /// The place of a key in the list.
    fn place(&mut self, key: VerifierKey) -> Option<usize> {
        let known = self.known.iter().position(|known| known.key == key);
        if known.is_none() && self.known.len() < MAX_KEYS {
            self.known.push(Known { key, used: None });
            return self.known.len().checked_sub(1);
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision_log::verify::sample::key;

    #[test]
    fn no_log_has_had_more_keys_than_that() {
        let mut keys = Keys::new(key(0).1);
        let place = |wrong: Wrong| Bad::new("segment", Some(1), &wrong);
        let ((secret, from), (_, to)) = (key(0), key(1));
        let statement = key_change::make(&secret, &from, &to);
        let change = Said::KeyChange { from: from.to_string(), to: to.to_string(), statement };
        for seq in 0..MAX_KEYS {
            keys.change(seq as u64, &change, place).unwrap();
        }
        let bad = keys.change(1000, &change, place).unwrap_err().to_string();
        assert_eq!(bad, "segment:1: the log has had more keys than any has");
        (0..=u8::MAX).for_each(|number| keys.notice(key(number).1));
        assert_eq!(keys.known.len(), MAX_KEYS);
    }
}
