//! What a reload came to, for whoever asked for it and for whoever asks how the proxy stands; and the way to ask for one.
//! Not here: reading the files (`load`), putting them in force (`server`, `events`).

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::redact;
use crate::runtime::load::LoadError;

/// Upper bound of faults that are told; of the others there is a count. Whoever corrects so many reads the rest from `check`.
const MAX_FAULTS: usize = 100;

/// Upper bound in bytes of one fault.
const MAX_FAULT: usize = 1000;

/// Upper bound of calls that wait for a reload while another one reads.
const MAX_WAITING: usize = 4;

/// What became of files that were read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// They are in force.
    InForce,
    /// They have faults; what was in force before stays.
    Refused,
    /// Reading them ended by a fault of the program; what was in force before stays.
    Failed,
}

/// What a reload came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reload {
    /// When it was over.
    #[serde(rename = "time", serialize_with = "time")]
    pub at: Timestamp,
    /// The policy.
    pub policy: Outcome,
    /// Certificate, key and tokens of the admin port; `None`: it has none of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_files: Option<Outcome>,
    /// What is wrong, as `FILE:LINE:COLUMN: what; what to write instead`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
    /// How many faults are not among them.
    #[serde(skip_serializing_if = "is_zero")]
    pub faults_left_out: usize,
}

/// The way to ask the server for something.
#[derive(Debug)]
pub struct Orders {
    reloads: mpsc::Sender<oneshot::Sender<Arc<Reload>>>,
    stop: Arc<Notify>,
}

/// Where the server hears of it.
#[derive(Debug)]
pub struct Ordered {
    reloads: mpsc::Receiver<oneshot::Sender<Arc<Reload>>>,
    stop: Arc<Notify>,
}

/// So many calls wait for a reload already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;

impl Reload {
    /// What came of policy and admin files at `at`. A fault that holds a card number, as files may, is told without it.
    pub fn new<P, A>(at: Timestamp, policy: &Result<P, LoadError>, admin_files: Option<&Result<A, LoadError>>) -> Self {
        let lines = |error: Option<&LoadError>| error.map(|error| error.lines().to_vec()).unwrap_or_default();
        let mut faults = lines(policy.as_ref().err());
        faults.extend(lines(admin_files.and_then(|files| files.as_ref().err())));
        let faults_left_out = faults.len().saturating_sub(MAX_FAULTS);
        faults.truncate(MAX_FAULTS);
        let clean = |fault: String| redact::clean(fault.as_bytes(), MAX_FAULT).text.as_str().to_owned();
        Self {
            at,
            policy: Outcome::of(policy),
            admin_files: admin_files.map(Outcome::of),
            faults: faults.into_iter().map(clean).collect(),
            faults_left_out,
        }
    }

    /// One that ended by a fault of the program.
    pub fn failed(at: Timestamp) -> Self {
        Self { at, policy: Outcome::Failed, admin_files: None, faults: Vec::new(), faults_left_out: 0 }
    }

    /// Whether all that was read is in force.
    pub fn is_whole(&self) -> bool {
        self.policy == Outcome::InForce && self.admin_files.is_none_or(|files| files == Outcome::InForce)
    }
}

impl Outcome {
    fn of<T>(read: &Result<T, LoadError>) -> Self {
        if read.is_ok() { Self::InForce } else { Self::Refused }
    }
}

/// Both ends of the way to the server.
pub fn orders() -> (Orders, Ordered) {
    let (asks, reloads) = mpsc::channel(MAX_WAITING);
    let stop = Arc::new(Notify::new());
    (Orders { reloads: asks, stop: Arc::clone(&stop) }, Ordered { reloads, stop })
}

impl Orders {
    /// Reads again what is on disk from now on, and says what that came to.
    ///
    /// # Errors
    /// Too many wait for it already, or the proxy ends.
    pub async fn reload(&self) -> Result<Arc<Reload>, Busy> {
        let (tells, told) = oneshot::channel();
        self.reloads.try_send(tells).map_err(|_| Busy)?;
        told.await.map_err(|_| Busy)
    }

    /// Ends the proxy as SIGTERM does.
    pub fn stop(&self) {
        self.stop.notify_one();
    }
}

impl Ordered {
    /// The next one who asks for a reload, and waits for what it comes to.
    pub async fn reload(&mut self) -> Option<oneshot::Sender<Arc<Reload>>> {
        self.reloads.recv().await
    }

    /// Ends when the proxy is to end.
    pub fn stopped(&self) -> impl Future<Output = ()> + use<> {
        let stop = Arc::clone(&self.stop);
        async move { stop.notified().await }
    }
}

/// As records write times.
pub fn time<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.6}"))
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> Timestamp {
        "2027-01-01T00:00:00Z".parse().unwrap()
    }

    fn json(reload: &Reload) -> String {
        serde_json::to_string(reload).unwrap()
    }

    #[test]
    fn what_is_told_of_a_reload() {
        let wrong = |lines: &[&str]| -> Result<(), LoadError> {
            Err(LoadError::Faults(lines.iter().map(|line| (*line).to_owned()).collect()))
        };
        let reload = |policy, files: Option<Result<(), LoadError>>| Reload::new(at(), &policy, files.as_ref());
        for (name, reload, whole, want) in [
            ("a policy", reload(Ok(()), None), true, r#""policy":"in_force"}"#),
            ("both", reload(Ok(()), Some(Ok(()))), true, r#""policy":"in_force","admin_files":"in_force"}"#),
            (
                "a fault",
                reload(wrong(&["p.yaml:1:2: wrong; write 4111111111111111"]), Some(Ok(()))),
                false,
                r#""policy":"refused","admin_files":"in_force","faults":["p.yaml:1:2: wrong; write [PAN:visa:16]"]}"#,
            ),
            (
                "faults of the admin port's files alone",
                reload(Ok(()), Some(wrong(&["t.yaml:1:1: a", "t.yaml:2:1: b"]))),
                false,
                r#""policy":"in_force","admin_files":"refused","faults":["t.yaml:1:1: a","t.yaml:2:1: b"]}"#,
            ),
            ("a fault of the program", Reload::failed(at()), false, r#""policy":"failed"}"#),
        ] {
            assert_eq!(reload.is_whole(), whole, "{name}");
            assert_eq!(json(&reload), format!(r#"{{"time":"2027-01-01T00:00:00.000000Z",{want}"#), "{name}");
        }
    }

    #[test]
    fn faults_are_bounded_and_the_rest_is_counted() {
        let many: Vec<String> = (0..250).map(|n| format!("p.yaml:{n}:1: {}", "x".repeat(2000))).collect();
        let reload = Reload::new(at(), &Err::<(), _>(LoadError::Unreadable(many)), None::<&Result<(), _>>);
        assert_eq!((reload.faults.len(), reload.faults_left_out), (MAX_FAULTS, 150));
        assert!(reload.faults.iter().all(|fault| fault.len() <= MAX_FAULT));
    }

    #[test]
    fn whoever_asks_is_told_and_no_more_wait_than_may() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (orders, mut ordered) = orders();
            let reload = Arc::new(Reload::failed(at()));
            let server = async { ordered.reload().await.unwrap().send(Arc::clone(&reload)) };
            let (answer, told) = tokio::join!(orders.reload(), server);
            assert_eq!((answer, told), (Ok(Arc::clone(&reload)), Ok(())));
            let orders = Arc::new(orders);
            let mut waiting = tokio::task::JoinSet::new();
            for _ in 0..MAX_WAITING {
                let orders = Arc::clone(&orders);
                waiting.spawn(async move { orders.reload().await });
            }
            // On one thread each has asked behind this.
            tokio::task::yield_now().await;
            assert_eq!(orders.reload().await, Err(Busy));
            drop(ordered);
            assert_eq!(waiting.join_all().await, [const { Err(Busy) }; MAX_WAITING], "the server has gone");
        });
    }

    #[test]
    fn an_end_that_was_ordered_before_anybody_listens_is_heard() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (orders, ordered) = orders();
            orders.stop();
            ordered.stopped().await;
        });
    }
}
