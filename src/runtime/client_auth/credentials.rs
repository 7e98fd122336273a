//! Whether a client's credential is good: at once if it was good before, else on a thread of its own, and not too often for each name.
//! Not here: the field (`presented`), the file (`config::credentials`), which source that makes a client (`policy`).
//! Source: attack E11; PCI DSS 8.3.4; RFC 9106 (a check takes memory and time, so that guessing does too).

use std::collections::HashMap;
use std::path::Path;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use aws_lc_rs::hmac;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::presented::Presented;
use super::throttle::{Guess, Throttle};
use crate::config::{self, Credential};
use crate::policy::Reason;
use crate::runtime::load::Reading;
use crate::yaml::Located;

/// Checks that wait at a time; more are refused. Each takes some 25 ms at the least cost.
const MAX_WAITING_CHECKS: usize = 64;

/// How long a client waits for its check, the others before it included.
const CHECK_DEADLINE: Duration = Duration::from_secs(5);

/// A listener's credentials, as they are in force.
pub struct Credentials {
    known: Arc<Known>,
    checker: Arc<Checker>,
}

/// The credentials of one file, and which of them have been shown.
struct Known {
    entries: Vec<Arc<Entry>>,
    by_name: HashMap<Arc<str>, usize>,
    key: hmac::Key,
}

/// One credential. Files that are read one after the other share it for as long as it is the same in them.
struct Entry {
    credential: Credential,
    /// Its secret under this process's key, once it was shown.
    remembered: OnceLock<hmac::Tag>,
}

/// A credential that a client has shown, and that was right.
#[derive(Clone)]
pub struct ShownCredential(Arc<Entry>);

/// The one thread that checks, for all listeners, and who may still guess. It starts with the first check.
#[derive(Default)]
pub struct Checker {
    jobs: OnceLock<Option<SyncSender<Job>>>,
    throttle: Arc<Mutex<Throttle>>,
}

/// One check.
type Job = Box<dyn FnOnce() + Send>;

impl Credentials {
    /// Reads the file. What is the same in it as in `before` is known as well as before. `None`: `reading` says why.
    pub(in crate::runtime) fn read(
        file: &Located<String>,
        before: Option<&Self>,
        checker: &Arc<Checker>,
        reading: &mut Reading,
    ) -> Option<Self> {
        reading.named = Some(file.place);
        let (index, text) = reading.guarded(Path::new(&file.value), "credentials")?;
        let credentials = config::credentials(&text, index, &mut reading.faults)?;
        let known = match before {
            Some(before) => before.known.followed_by(credentials),
            None => {
                let key = hmac::Key::generate(hmac::HMAC_SHA256, &aws_lc_rs::rand::SystemRandom::new());
                let Ok(key) = key else {
                    reading.failed_outside("no randomness for the key by which credentials are remembered");
                    return None;
                };
                Known::new(credentials.into_iter().map(Entry::new), key)
            }
        };
        Some(Self { known: Arc::new(known), checker: Arc::clone(checker) })
    }

    /// All of them, as they are kept.
    pub fn iter(&self) -> impl Iterator<Item = &Credential> {
        self.known.entries.iter().map(|entry| &entry.credential)
    }

    /// Whether `credential` is still among them, with the same secret.
    pub fn have(&self, credential: &ShownCredential) -> bool {
        let ShownCredential(shown) = credential;
        self.known.entry(&shown.credential.name).is_some_and(|entry| entry.credential == shown.credential)
    }

    /// Whose credential `field` is: the value of a request's one `Proxy-Authorization`. The clients of `source` may guess so often together.
    ///
    /// # Errors
    /// `credentials_wrong`: it is nobody's; `rate_limited`: too many of this source's were; `overloaded`: too many others are checked.
    pub async fn check(&self, field: &[u8], source: &str) -> Result<ShownCredential, Reason> {
        let presented = Presented::read(field).ok_or(Reason::CredentialsWrong)?;
        if let Some(shown) = self.known.remembered(&presented) {
            return Ok(shown);
        }
        let guess = Guess::new(source, &presented.name);
        if !lock(&self.checker.throttle).take(&guess, Instant::now()) {
            return Err(Reason::RateLimited);
        }
        let (tells, told) = oneshot::channel();
        let (known, throttle, guessed) = (Arc::clone(&self.known), Arc::clone(&self.checker.throttle), guess.clone());
        let job = Box::new(move || {
            // Of whoever has gone, or has waited too long, nothing is looked at: that was no guess.
            let proved = if tells.is_closed() { None } else { Some(known.prove(&presented)) };
            if !matches!(proved, Some(None)) {
                lock(&throttle).give_back(&guessed);
            }
            let _ = tells.send(proved.flatten());
        });
        if let Err(reason) = self.checker.order(job) {
            lock(&self.checker.throttle).give_back(&guess);
            return Err(reason);
        }
        match timeout(CHECK_DEADLINE, told).await {
            Ok(Ok(Some(shown))) => Ok(shown),
            Ok(Ok(None)) => Err(Reason::CredentialsWrong),
            Ok(Err(_)) => Err(Reason::Internal),
            Err(_) => Err(Reason::Overloaded),
        }
    }
}

impl ShownCredential {
    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.0.credential.name
    }
}

impl Entry {
    fn new(credential: Credential) -> Arc<Self> {
        Arc::new(Self { credential, remembered: OnceLock::new() })
    }
}

impl Known {
    fn new(entries: impl Iterator<Item = Arc<Entry>>, key: hmac::Key) -> Self {
        let entries: Vec<_> = entries.collect();
        let by_name = (0..).zip(&entries).map(|(index, entry)| (Arc::clone(&entry.credential.name), index)).collect();
        Self { entries, by_name, key }
    }

    /// What is known when the file is read again.
    fn followed_by(&self, credentials: Vec<Credential>) -> Self {
        let same = |new: &Credential| self.entry(&new.name).filter(|entry| entry.credential == *new).map(Arc::clone);
        let entries = credentials.into_iter().map(|new| same(&new).unwrap_or_else(|| Entry::new(new)));
        Self::new(entries, self.key.clone())
    }

    fn entry(&self, name: &str) -> Option<&Arc<Entry>> {
        self.entries.get(*self.by_name.get(name)?)
    }

    /// Whose it is, if the same was good before. The secret itself is not kept: without this process's key, what is kept tells nothing of it.
    fn remembered(&self, presented: &Presented) -> Option<ShownCredential> {
        let entry = self.entry(&presented.name)?;
        hmac::verify(&self.key, &presented.secret, entry.remembered.get()?.as_ref()).ok()?;
        Some(ShownCredential(Arc::clone(entry)))
    }

    /// Whose it is. A name that nobody has takes the time of one of those that there are, each time of the same.
    fn prove(&self, presented: &Presented) -> Option<ShownCredential> {
        let index = self.by_name.get(&*presented.name).copied();
        let entry = self.entries.get(index.unwrap_or_else(|| self.stand_in(&presented.name)))?;
        let is_right = entry.credential.proves(&presented.secret);
        index.filter(|_| is_right)?;
        // Somebody else may have been quicker, with the same.
        let _ = entry.remembered.set(hmac::sign(&self.key, &presented.secret));
        Some(ShownCredential(Arc::clone(entry)))
    }

    fn stand_in(&self, name: &str) -> usize {
        let tag = hmac::sign(&self.key, name.as_bytes());
        let number = tag.as_ref().iter().take(4).fold(0_usize, |number, byte| (number << 8) | usize::from(*byte));
        number.checked_rem(self.entries.len()).unwrap_or_default()
    }
}

impl Checker {
    /// Lets the thread do this next but those that wait.
    fn order(&self, job: Job) -> Result<(), Reason> {
        let jobs = self.jobs.get_or_init(|| {
            let (jobs, waiting) = sync_channel::<Job>(MAX_WAITING_CHECKS);
            let thread = std::thread::Builder::new().name("credentials".to_owned());
            thread.spawn(move || waiting.iter().for_each(|job| job())).ok().map(|_| jobs)
        });
        let jobs = jobs.as_ref().ok_or(Reason::Internal)?;
        jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => Reason::Overloaded,
            TrySendError::Disconnected(_) => Reason::Internal,
        })
    }
}

fn lock(throttle: &Mutex<Throttle>) -> MutexGuard<'_, Throttle> {
    throttle.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "credentials_tests.rs"]
mod tests;
