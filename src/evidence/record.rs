//! A record's line read back: whole, or only what every record is sorted by.
//! Not here: what writes it (`decision_log::Record`), which of them are wanted (`decision_log::query`).
//! Source: the contract's section on records.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::de::{Deserialize, Deserializer, Error};
use serde_json::Value;
use uuid::Uuid;

use super::manifest::TreeHead;
use crate::decision_log::Kind;
use crate::policy::Outcome;

/// The version of the records that this program reads.
const VERSION: u64 = 1;

/// All fields of a record, as the log has them; what is absent there is `None` or empty.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[expect(missing_docs, reason = "the fields are the format's; the manual describes each")]
pub struct Line {
    pub v: u64,
    pub seq: u64,
    #[serde(deserialize_with = "timestamp")]
    pub time: Timestamp,
    #[serde(deserialize_with = "kind")]
    pub kind: Kind,
    pub id: Uuid,
    pub parent_id: Option<Uuid>,
    pub instance: String,
    pub environment: Option<String>,
    pub listener: Option<String>,
    #[serde(default, deserialize_with = "outcome")]
    pub outcome: Option<Outcome>,
    pub reason: Option<String>,
    pub rule: Option<String>,
    pub customer: Option<String>,
    pub source: Option<String>,
    pub policy: Option<String>,
    pub client_ip: Option<IpAddr>,
    pub client_port: Option<u16>,
    pub peer_ip: Option<IpAddr>,
    pub client_identity: Option<String>,
    pub method: Option<String>,
    pub host: Option<String>,
    pub port: Option<u16>,
    pub path_template: Option<String>,
    pub original_ip: Option<IpAddr>,
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    pub upstream_ip: Option<IpAddr>,
    pub egress_ip: Option<IpAddr>,
    pub egress_pool: Option<String>,
    pub sni: Option<String>,
    pub tls_version: Option<String>,
    pub tls_cipher: Option<String>,
    #[serde(default)]
    pub alpn: Vec<String>,
    pub ech: Option<bool>,
    pub verify: Option<String>,
    pub bytes_out: Option<u64>,
    pub bytes_in: Option<u64>,
    pub duration_us: Option<u64>,
    pub dns_us: Option<u64>,
    pub dial_us: Option<u64>,
    pub hello_us: Option<u64>,
    pub actor: Option<String>,
    #[serde(default)]
    pub detail: Value,
    #[serde(default)]
    pub redacted: Vec<String>,
}

/// What a record is sorted by; the rest of its line is passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
pub struct Head {
    v: u64,
    /// Its number.
    pub seq: u64,
    /// When it was written.
    #[serde(deserialize_with = "timestamp")]
    pub time: Timestamp,
    /// What it is about.
    #[serde(deserialize_with = "kind")]
    pub kind: Kind,
    /// Its id; a close has that of its decision.
    pub id: Uuid,
    /// Of a decision and its close.
    #[serde(default, deserialize_with = "outcome")]
    pub outcome: Option<Outcome>,
}

/// A line can't be read back.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// Not the JSON of a record.
    #[error("not a record: {0}; `sallyport audit verify` says which file and line")]
    NotARecord(#[from] serde_json::Error),
    /// Written by a later version.
    #[error("record {seq} has version {version}, this program reads {VERSION}; use a newer one")]
    Version {
        /// The record's number.
        seq: u64,
        /// What it claims.
        version: u64,
    },
}

impl Line {
    /// Reads a whole line, with or without its newline.
    ///
    /// # Errors
    /// See [`LineError`].
    pub fn read(line: &[u8]) -> Result<Self, LineError> {
        let read: Self = serde_json::from_slice(line)?;
        versioned(read.v, read.seq)?;
        Ok(read)
    }

    /// The signed tree head in a heartbeat's `detail`, if it claims to cover records before this one alone.
    pub fn tree_head(&self) -> Option<TreeHead> {
        let note = self.detail.get("checkpoint")?.as_str()?;
        TreeHead::read(note).filter(|head| head.size <= self.seq)
    }
}

impl Head {
    /// Reads of a line what it is sorted by.
    ///
    /// # Errors
    /// See [`LineError`].
    pub fn read(line: &[u8]) -> Result<Self, LineError> {
        let read: Self = serde_json::from_slice(line)?;
        versioned(read.v, read.seq)?;
        Ok(read)
    }

    /// Whether it lets something through, so that a close must follow.
    pub fn opens(&self) -> bool {
        match (self.kind, self.outcome) {
            (Kind::Decision, Some(Outcome::Allow | Outcome::Observe)) => true,
            (_, _) => false,
        }
    }
}

fn versioned(version: u64, seq: u64) -> Result<(), LineError> {
    if version == VERSION { Ok(()) } else { Err(LineError::Version { seq, version }) }
}

fn timestamp<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
    String::deserialize(from)?.parse().map_err(D::Error::custom)
}

fn kind<'de, D: Deserializer<'de>>(from: D) -> Result<Kind, D::Error> {
    let word = String::deserialize(from)?;
    let found = Kind::ALL.into_iter().find(|kind| kind.as_str() == word);
    found.ok_or_else(|| D::Error::custom(format_args!("unknown kind `{}`", word.escape_debug())))
}

fn outcome<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Outcome>, D::Error> {
    let word = Option::<String>::deserialize(from)?;
    word.map(|word| word.parse().map_err(D::Error::custom)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::testing;

    #[test]
    fn reads_back_every_field_that_is_written() {
        let record = testing::full(Kind::Close);
        let bytes = testing::line(&record, 17);
        let line = Line::read(&bytes).unwrap();
        assert_eq!((line.seq, line.time, line.kind, line.id), (17, record.time, Kind::Close, record.id));
        // Nothing that stands in the line was passed over: written again, it is the same object.
        let written: Value = serde_json::from_slice(&bytes).unwrap();
        let fields = written.as_object().unwrap();
        assert_eq!(fields.len(), 43, "{written}");
        let debug = format!("{line:?}");
        for (name, value) in
            fields.iter().filter(|(name, _)| !["v", "seq", "time", "kind", "outcome"].contains(&name.as_str()))
        {
            let shown = match value {
                Value::String(text) => text.clone(),
                Value::Array(list) => list[0].as_str().unwrap().to_owned(),
                Value::Object(_) => "what".to_owned(),
                Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
            };
            assert!(debug.contains(&format!("{name}: ")) && debug.contains(&shown), "`{name}` ({shown}) in {debug}");
        }
        let head = Head::read(&bytes).unwrap();
        assert_eq!((head.seq, head.time, head.kind, head.id), (17, record.time, Kind::Close, record.id));
    }

    #[test]
    fn what_lets_through_is_owed_a_close() {
        for kind in Kind::ALL {
            for outcome in Outcome::ALL {
                let mut record = testing::record(kind, 1);
                record.outcome = Some(*outcome);
                let opens = Head::read(&testing::line(&record, 0)).unwrap().opens();
                let want = kind == Kind::Decision && matches!(outcome, Outcome::Allow | Outcome::Observe);
                assert_eq!(opens, want, "{} {outcome}", kind.as_str());
            }
        }
    }

    #[test]
    fn what_is_no_record_is_refused() {
        let good = String::from_utf8(testing::line(&testing::record(Kind::Decision, 1), 3)).unwrap();
        assert!(Line::read(good.as_bytes()).is_ok() && Head::read(good.as_bytes()).is_ok());
        for (name, from, to, said) in [
            ("half a line", "}\n", "", "not a record"),
            ("a later version", "\"v\":1", "\"v\":2", "record 3 has version 2, this program reads 1"),
            ("no number", "\"seq\":3,", "", "missing field `seq`"),
            ("an unknown kind", "decision", "decided", "unknown kind `decided`"),
            ("an unknown outcome", "\"deny\"", "\"no\"", "unknown outcome"),
            ("no time", "1970-01-01T00:00:01.000000Z", "yesterday", "not a record"),
        ] {
            let line = good.replacen(from, to, 1);
            assert_ne!(line, good, "{name}");
            for error in [Line::read(line.as_bytes()).unwrap_err(), Head::read(line.as_bytes()).unwrap_err()] {
                assert!(error.to_string().contains(said), "{name}: {error}");
            }
        }
    }
}
