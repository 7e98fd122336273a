//! What a reload came to, for whoever asked for it and for whoever asks how the proxy stands; and the way to ask for one.
//! Not here: reading the files (`load`), putting them in force (`server`, `events`).

use std::net::SocketAddr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::redact::{Redacted, Redactor};
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
    /// Certificates, keys, lists of revoked certificates and credentials of the listeners; `None`: they have none of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener_files: Option<Outcome>,
    /// What is wrong, as `FILE:LINE:COLUMN: what; what to write instead`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Redacted>,
    /// How many faults are not among them.
    #[serde(skip_serializing_if = "is_zero")]
    pub faults_left_out: usize,
}

/// What was read again: the policy, the admin port's files, the listeners' files.
type Read<'a, P, A, L> = (&'a Result<P, LoadError>, Option<&'a Result<A, LoadError>>, Option<&'a Result<L, LoadError>>);

/// What an order to reload came to.
pub type Came = Result<Arc<Reload>, NotRead>;

/// Somebody's order to reload. Whoever carries it out, or refuses to, puts it on record: the caller may have gone by then.
#[derive(Debug)]
pub struct Order {
    /// The name of the caller's token.
    pub actor: Arc<str>,
    /// Where the call came from.
    pub client: SocketAddr,
    tells: oneshot::Sender<Came>,
}

/// The way to ask the server for something.
#[derive(Debug)]
pub struct Orders {
    reloads: mpsc::Sender<Order>,
    stop: Arc<Notify>,
}

/// Where the server hears of it.
#[derive(Debug)]
pub struct Ordered {
    reloads: mpsc::Receiver<Order>,
    stop: Arc<Notify>,
}

/// Why nothing was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotRead {
    /// So many calls wait for a reload already.
    Busy,
    /// The proxy ends.
    Draining,
}

impl Order {
    /// Lets the caller know, who may have gone.
    pub fn tell(self, came: Came) {
        let _ = self.tells.send(came);
    }
}

impl Reload {
    /// What came of policy, admin files and listeners' files at `at`. A fault that holds a card number, as files may, is told without it.
    pub fn new<P, A, L>(
        at: Timestamp,
        (policy, admin_files, listener_files): Read<'_, P, A, L>,
        redactor: &Redactor,
    ) -> Self {
        let lines = |error: Option<&LoadError>| error.map(|error| error.lines().to_vec()).unwrap_or_default();
        let mut faults = lines(policy.as_ref().err());
        faults.extend(lines(admin_files.and_then(|files| files.as_ref().err())));
        faults.extend(lines(listener_files.and_then(|files| files.as_ref().err())));
        let faults_left_out = faults.len().saturating_sub(MAX_FAULTS);
        faults.truncate(MAX_FAULTS);
        let clean = |fault: String| redactor.clean(fault.as_bytes(), MAX_FAULT).text;
        Self {
            at,
            policy: Outcome::of(policy),
            admin_files: admin_files.map(Outcome::of),
            listener_files: listener_files.map(Outcome::of),
            faults: faults.into_iter().map(clean).collect(),
            faults_left_out,
        }
    }

    /// One that ended by a fault of the program.
    pub fn failed(at: Timestamp) -> Self {
        Self {
            at,
            policy: Outcome::Failed,
            admin_files: None,
            listener_files: None,
            faults: Vec::new(),
            faults_left_out: 0,
        }
    }

    /// Whether all that was read is in force.
    pub fn is_whole(&self) -> bool {
        let files = [self.admin_files, self.listener_files];
        self.policy == Outcome::InForce && files.into_iter().flatten().all(|files| files == Outcome::InForce)
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
    /// Orders that what is on disk from now on is read again. What comes of it is told to whoever waits, and done without them too.
    ///
    /// # Errors
    /// See [`NotRead`]: nobody has the order then.
    pub fn reload(&self, actor: Arc<str>, client: SocketAddr) -> Result<oneshot::Receiver<Came>, NotRead> {
        let (tells, told) = oneshot::channel();
        self.reloads.try_send(Order { actor, client, tells }).map_err(|error| match error {
            TrySendError::Full(_) => NotRead::Busy,
            TrySendError::Closed(_) => NotRead::Draining,
        })?;
        Ok(told)
    }

    /// Ends the proxy as SIGTERM does.
    pub fn stop(&self) {
        self.stop.notify_one();
    }
}

impl Ordered {
    /// The next order to reload.
    pub async fn reload(&mut self) -> Option<Order> {
        self.reloads.recv().await
    }

    /// Takes no more orders, and gives those that nobody has carried out.
    pub fn close(&mut self) -> impl Iterator<Item = Order> {
        self.reloads.close();
        std::iter::from_fn(|| self.reloads.try_recv().ok())
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
        let reload = |policy, files: Option<Result<(), LoadError>>| {
            Reload::new(at(), (&policy, files.as_ref(), None::<&Result<(), _>>), &Redactor::default())
        };
        let all = |listener_files| {
            let good = Ok(());
            Reload::new(at(), (&good, Some(&good), Some(&listener_files)), &Redactor::default())
        };
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
            (
                "all three",
                all(Ok(())),
                true,
                r#""policy":"in_force","admin_files":"in_force","listener_files":"in_force"}"#,
            ),
            (
                "faults of the listeners' files alone",
                all(wrong(&["c.yaml:1:1: a"])),
                false,
                r#""policy":"in_force","admin_files":"in_force","listener_files":"refused","faults":["c.yaml:1:1: a"]}"#,
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
        let reload = Reload::new(
            at(),
            (&Err::<(), _>(LoadError::Unreadable(many)), None::<&Result<(), _>>, None::<&Result<(), _>>),
            &Redactor::default(),
        );
        assert_eq!((reload.faults.len(), reload.faults_left_out), (MAX_FAULTS, 150));
        assert!(reload.faults.iter().all(|fault| fault.as_str().len() <= MAX_FAULT));
    }

    #[test]
    fn whoever_asks_is_told_and_no_more_wait_than_may() {
        let (orders, mut ordered) = orders();
        let order = |actor: &str| orders.reload(actor.into(), "127.0.0.1:9".parse().unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let came = Ok(Arc::new(Reload::failed(at())));
        let mut told = order("ops").unwrap();
        let first = runtime.block_on(ordered.reload()).unwrap();
        assert_eq!((&*first.actor, first.client.port()), ("ops", 9));
        first.tell(came.clone());
        assert_eq!(told.try_recv(), Ok(came.clone()));
        let mut waiting: Vec<_> = (0..MAX_WAITING).map(|number| order(&number.to_string()).unwrap()).collect();
        assert_eq!(order("one more").unwrap_err(), NotRead::Busy);
        drop(waiting.remove(0));
        runtime.block_on(ordered.reload()).unwrap().tell(came);
        for order in ordered.close() {
            order.tell(Err(NotRead::Draining));
        }
        for mut told in waiting {
            assert_eq!(told.try_recv(), Ok(Err(NotRead::Draining)), "none is forgotten");
        }
        assert_eq!(order("too late").unwrap_err(), NotRead::Draining);
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
