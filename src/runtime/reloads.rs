//! What a reload came to, for whoever asked for it and for whoever asks how the proxy stands.
//! Not here: reading the files (`load`), putting them in force (`server`, `events`), the way to ask for one (`orders`).

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::policy::DiffCounts;
use crate::redact::{Redacted, Redactor};
use crate::runtime::load::Faulty;

/// Upper bound of faults that are told; of the others there is a count. Whoever corrects so many reads the rest from `check`.
const MAX_FAULTS: usize = 100;

/// Upper bound in bytes of one fault.
const MAX_FAULT: usize = 1000;

/// What became of files that were read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// They are in force.
    InForce,
    /// They are good, but others have faults; what was in force before stays.
    Kept,
    /// They have faults; what was in force before stays.
    Refused,
    /// They change more than the guard lets through unconfirmed; what was in force before stays.
    Guarded,
    /// Reading them ended by a fault of the program; what was in force before stays.
    Failed,
}

impl Outcome {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InForce => "in_force",
            Self::Kept => "kept",
            Self::Refused => "refused",
            Self::Guarded => "guarded",
            Self::Failed => "failed",
        }
    }
}

/// How a reload came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// SIGHUP.
    Signal,
    /// What files hold has changed.
    FileChange,
    /// A call of the admin port.
    Admin,
}

impl Cause {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::FileChange => "file_change",
            Self::Admin => "admin",
        }
    }
}

/// How a reload came about, and by whose call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Asked {
    /// How.
    pub by: Cause,
    /// The name of the caller's token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<Arc<str>>,
}

/// Which files the configuration in force names beside the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// The admin port has certificate or tokens.
    pub admin_files: bool,
    /// Listeners have certificates or credentials.
    pub listener_files: bool,
}

/// What a reload came to: all that was read is in force, or nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reload {
    /// When it was over.
    #[serde(rename = "time", serialize_with = "time")]
    pub at: Timestamp,
    /// How it came about.
    #[serde(flatten)]
    pub asked: Asked,
    /// `sallyport.yaml`.
    pub configuration: Outcome,
    /// The policy.
    pub policy: Outcome,
    /// Certificate, key and tokens of the admin port; `None`: it has none of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_files: Option<Outcome>,
    /// Certificates, keys, lists of revoked certificates and credentials of the listeners; `None`: they have none of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener_files: Option<Outcome>,
    /// The file of emergency blocks, if it has faults; what was blocked stays so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocks: Option<Outcome>,
    /// What the policy changes, if it could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diff: Option<DiffTold>,
    /// Whether the caller had confirmed a change that the guard stops.
    #[serde(skip_serializing_if = "is_false")]
    pub confirmed: bool,
    /// The keys of `sallyport.yaml` whose new values wait for a restart.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub needs_restart: Vec<String>,
    /// How they are put in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<&'static str>,
    /// What is wrong, as `FILE:LINE:COLUMN: what; what to write instead`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Redacted>,
    /// How many faults are not among them.
    #[serde(skip_serializing_if = "is_zero")]
    pub faults_left_out: usize,
}

/// A diff of two policies by its name and its counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DiffTold {
    /// SHA-256 of the diff's JSON: by this it is confirmed.
    pub sha256: String,
    /// How much differs.
    #[serde(flatten)]
    pub counts: DiffCounts,
}

/// How what waits for a restart is put in force.
pub const RESTART: &str = "restart, or `sallyport run --take-over`, which loses nothing";

impl Reload {
    /// One whose parts have this outcome all together, at `at`.
    pub fn new(at: Timestamp, asked: Asked, parts: Parts, outcome: Outcome) -> Self {
        Self {
            at,
            asked,
            configuration: outcome,
            policy: outcome,
            admin_files: parts.admin_files.then_some(outcome),
            listener_files: parts.listener_files.then_some(outcome),
            blocks: None,
            diff: None,
            confirmed: false,
            needs_restart: Vec::new(),
            restart: None,
            faults: Vec::new(),
            faults_left_out: 0,
        }
    }

    /// Where `faulty` says so the files have faults, and the others wait for those.
    #[must_use]
    pub fn refused(self, faulty: Faulty) -> Self {
        let outcome = |is_faulty| if is_faulty { Outcome::Refused } else { Outcome::Kept };
        Self {
            configuration: outcome(faulty.configuration),
            policy: outcome(faulty.policy),
            admin_files: self.admin_files.map(|_| outcome(faulty.admin_files)),
            listener_files: self.listener_files.map(|_| outcome(faulty.listener_files)),
            blocks: faulty.blocks.then_some(Outcome::Refused),
            ..self
        }
    }

    /// With what is wrong. A fault that holds a card number, as files may, is told without it.
    #[must_use]
    pub fn with_faults(self, lines: &[String], redactor: &Redactor) -> Self {
        let clean = |fault: &String| redactor.clean(fault.as_bytes(), MAX_FAULT).text;
        let faults = lines.iter().take(MAX_FAULTS).map(clean).collect();
        Self { faults, faults_left_out: lines.len().saturating_sub(MAX_FAULTS), ..self }
    }

    /// With the keys that wait for a restart.
    #[must_use]
    pub fn with_needs_restart(self, needs_restart: Vec<String>) -> Self {
        let restart = (!needs_restart.is_empty()).then_some(RESTART);
        Self { needs_restart, restart, ..self }
    }

    /// What it came to as a whole.
    pub fn result(&self) -> Outcome {
        let parts = [Some(self.configuration), Some(self.policy), self.admin_files, self.listener_files, self.blocks];
        let has = |outcome| parts.contains(&Some(outcome));
        let worst = [Outcome::Failed, Outcome::Refused, Outcome::Guarded, Outcome::Kept];
        worst.into_iter().find(|outcome| has(*outcome)).unwrap_or(Outcome::InForce)
    }

    /// Whether all that was read is in force.
    pub fn is_whole(&self) -> bool {
        self.result() == Outcome::InForce
    }
}

/// As records write times.
pub fn time<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.6}"))
}

fn is_false(flag: &bool) -> bool {
    !flag
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reload(outcome: Outcome) -> Reload {
        let asked = Asked { by: Cause::Signal, actor: None };
        let parts = Parts { admin_files: true, listener_files: false };
        Reload::new("2027-01-01T00:00:00Z".parse().unwrap(), asked, parts, outcome)
    }

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn what_is_told_of_a_reload() {
        let faulty = Faulty { policy: true, ..Faulty::default() };
        let wrong = lines(&["p.yaml:1:2: wrong; write 4111111111111111"]);
        let by_call = Asked { by: Cause::Admin, actor: Some("ops".into()) };
        let none = Parts { admin_files: false, listener_files: false };
        let diff = DiffTold { sha256: "ab".to_owned(), counts: DiffCounts::default() };
        for (name, reload, result, want) in [
            (
                "all of it",
                reload(Outcome::InForce),
                Outcome::InForce,
                r#""by":"signal","configuration":"in_force","policy":"in_force","admin_files":"in_force"}"#,
            ),
            (
                "a fault of the policy",
                reload(Outcome::Kept).refused(faulty).with_faults(&wrong, &Redactor::default()),
                Outcome::Refused,
                r#""by":"signal","configuration":"kept","policy":"refused","admin_files":"kept","faults":["p.yaml:1:2: wrong; write [PAN:visa:16]"]}"#,
            ),
            (
                "a fault of the emergency blocks",
                reload(Outcome::Kept)
                    .refused(Faulty { blocks: true, ..Faulty::default() })
                    .with_faults(&lines(&["blocks.edge-1.json: wrong"]), &Redactor::default()),
                Outcome::Refused,
                r#""by":"signal","configuration":"kept","policy":"kept","admin_files":"kept","blocks":"refused","faults":["blocks.edge-1.json: wrong"]}"#,
            ),
            (
                "something waits for a restart, and somebody had confirmed",
                Reload { confirmed: true, ..Reload::new(reload(Outcome::Kept).at, by_call, none, Outcome::InForce) }
                    .with_needs_restart(lines(&["dns.servers"])),
                Outcome::InForce,
                r#""by":"admin","actor":"ops","configuration":"in_force","policy":"in_force","confirmed":true,"needs_restart":["dns.servers"],"restart":"restart, or `sallyport run --take-over`, which loses nothing"}"#,
            ),
            (
                "more than the guard lets through",
                Reload { policy: Outcome::Guarded, ..reload(Outcome::Kept) },
                Outcome::Guarded,
                r#""by":"signal","configuration":"kept","policy":"guarded","admin_files":"kept"}"#,
            ),
            (
                "a fault of the program",
                Reload { policy: Outcome::Failed, ..reload(Outcome::Kept) },
                Outcome::Failed,
                r#""by":"signal","configuration":"kept","policy":"failed","admin_files":"kept"}"#,
            ),
        ] {
            assert_eq!((reload.result(), reload.is_whole()), (result, result == Outcome::InForce), "{name}");
            let json = serde_json::to_string(&reload).unwrap();
            assert_eq!(json, format!(r#"{{"time":"2027-01-01T00:00:00.000000Z",{want}"#), "{name}");
        }
        let json = serde_json::to_value(Reload { diff: Some(diff), ..reload(Outcome::InForce) }).unwrap();
        assert_eq!((&json["diff"]["sha256"], &json["diff"]["reach_added"]), (&"ab".into(), &0.into()));
    }

    #[test]
    fn faults_are_bounded_and_the_rest_is_counted() {
        let many: Vec<String> = (0..250).map(|n| format!("p.yaml:{n}:1: {}", "x".repeat(2000))).collect();
        let reload = reload(Outcome::Refused).with_faults(&many, &Redactor::default());
        assert_eq!((reload.faults.len(), reload.faults_left_out), (MAX_FAULTS, 150));
        assert!(reload.faults.iter().all(|fault| fault.as_str().len() <= MAX_FAULT));
    }
}
