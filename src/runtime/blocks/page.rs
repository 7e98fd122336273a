//! What the file of emergency blocks says, and how a block is written by hand: as text → checked, and back.
//! Not here: the file itself, when it is read (`blocks`). Source: the contract's `POST /v1/block`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::policy::{Block, BlockKind, Blocked};
use crate::redact::{Redacted, Redactor};
use crate::runtime::clock;

use super::MAX_BLOCKS;

/// Longest time that a block may be asked for: whoever needs longer changes the policy.
pub const MAX_BLOCK_TIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// Upper bound in characters of a block's reason: a sentence or two, which a record can hold.
const MAX_REASON: usize = 200;

/// The longest reason in bytes.
const MAX_REASON_BYTES: usize = MAX_REASON * 4;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    blocks: Vec<Written>,
}

/// A block as it is written. One that a hand has added need not have an id and a beginning.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    id: Option<Uuid>,
    host: Option<String>,
    network: Option<String>,
    source: Option<String>,
    customer: Option<String>,
    reason: String,
    since: Option<Timestamp>,
    until: Timestamp,
}

/// What is wrong with the file.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// It is no JSON, or not that of blocks.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// One of the blocks is none.
    #[error("block {number}: {why}")]
    Block {
        /// Which one, from 1 on.
        number: usize,
        /// What is wrong with it.
        why: String,
    },
    /// There are more than there may be.
    #[error("{0} blocks, and there may be {MAX_BLOCKS}; take some out, and change the policy for what is to stay")]
    TooMany(usize),
}

/// Reads what the file holds.
///
/// # Errors
/// It is not what was written, nor what a hand may have written.
pub fn read(text: &str, redactor: &Redactor, now: Timestamp) -> Result<Vec<Arc<Block>>, PageError> {
    let Page { blocks } = serde_json::from_str(text)?;
    if blocks.len() > MAX_BLOCKS {
        return Err(PageError::TooMany(blocks.len()));
    }
    let mut ids = HashMap::new();
    for (number, id) in (1..).zip(&blocks).filter_map(|(number, written)| Some((number, written.id?))) {
        if let Some(first) = ids.insert(id, number) {
            let why = format!("`id`: block {first} has the same; take it out here, and this one gets an id of its own");
            return Err(PageError::Block { number, why });
        }
    }
    let read = |(number, written): (usize, Written)| {
        let block = written.read(redactor, now).map_err(|why| PageError::Block { number, why })?;
        Ok(Arc::new(block))
    };
    (1..).zip(blocks).map(read).collect()
}

/// What the file is to hold.
pub fn written(blocks: &[Arc<Block>]) -> String {
    #[derive(Serialize)]
    struct Page<'a> {
        blocks: &'a [Arc<Block>],
    }
    // Plain structs of texts; they can all be written.
    serde_json::to_string_pretty(&Page { blocks }).unwrap_or_default() + "\n"
}

impl Written {
    fn read(self, redactor: &Redactor, now: Timestamp) -> Result<Block, String> {
        let given = [self.host, self.network, self.source, self.customer];
        Ok(Block {
            id: self.id.unwrap_or_else(clock::new_id),
            what: one_of(given)?,
            reason: reason(&self.reason, redactor).ok_or_else(|| format!("`reason`: write {REASON}"))?,
            since: self.since.unwrap_or(now),
            until: self.until,
        })
    }
}

/// What a block hits, of the four that can be written: exactly one of them.
///
/// # Errors
/// What to write instead.
pub fn one_of(given: [Option<String>; 4]) -> Result<Blocked, String> {
    let mut given = BlockKind::ALL.into_iter().zip(given).filter_map(|(kind, text)| Some((kind, text?)));
    match (given.next(), given.next()) {
        (Some((kind, text)), None) => {
            Blocked::read(kind, &text).map_err(|error| format!("`{}`: {error}", kind.as_str()))
        }
        (None | Some(_), None | Some(_)) => {
            Err("write exactly one of `host`, `network`, `source` and `customer`".to_owned())
        }
    }
}

/// What a reason must be.
pub const REASON: &str = "why, in one line of 1 to 200 characters";

/// A reason as it may be recorded.
pub fn reason(text: &str, redactor: &Redactor) -> Option<Redacted> {
    let is_one = !text.trim().is_empty() && !text.chars().any(char::is_control) && text.chars().count() <= MAX_REASON;
    is_one.then(|| redactor.clean(text.trim().as_bytes(), MAX_REASON_BYTES).text)
}

/// When a block that is asked for now ends.
///
/// # Errors
/// It is over already, or too far away.
pub fn end(until: Timestamp, now: Timestamp) -> Result<Timestamp, &'static str> {
    let last = SignedDuration::try_from(MAX_BLOCK_TIME).ok().and_then(|most| now.checked_add(most).ok());
    match last {
        _ if until <= now => Err("is over already; write a moment to come"),
        Some(last) if until <= last => Ok(until),
        Some(_) | None => Err("is more than 30d away; write a sooner one, and change the policy for what is to stay"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2027-01-01T12:00:00Z".parse().unwrap()
    }

    fn read(text: &str) -> Result<Vec<Arc<Block>>, String> {
        super::read(text, &Redactor::default(), now()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_written_is_read_again() {
        let by_hand = r#"{"blocks": [
            {"host": "*.acme.example", "reason": "said 4111111111111111", "until": "2027-01-01T14:00:00+01:00"},
            {"network": "203.0.113.7", "reason": "x", "until": "2099-01-01T00:00:00Z"},
            {"id": "0190b5f0-0000-7000-8000-000000000001", "source": "ivr", "reason": "x", "since": "2026-12-31T00:00:00Z", "until": "2027-01-02T00:00:00Z"},
            {"customer": "acme", "reason": "x", "until": "2027-01-01T00:00:00Z"}]}"#;
        let blocks = read(by_hand).unwrap();
        assert_eq!(read(&written(&blocks)).as_ref(), Ok(&blocks));
        let text = written(&blocks);
        assert!(text.contains("[PAN:visa:16]") && !text.contains("4111"), "{text}");
        assert!(text.contains("\"until\": \"2027-01-01T13:00:00Z\"") && text.contains("\"203.0.113.7/32\""), "{text}");
        assert_eq!(read(&written(&[])), Ok(Vec::new()));
    }

    #[test]
    fn what_is_none_is_told_by_its_number() {
        let block = |fields: &str| format!("{{\"blocks\": [{{{fields}, \"until\": \"2027-01-02T00:00:00Z\"}}]}}");
        let long = format!("\"host\": \"a.example\", \"reason\": \"{}\"", "é".repeat(MAX_REASON + 1));
        for (text, want) in [
            (String::new(), "EOF while parsing"),
            ("{}".to_owned(), "missing field `blocks`"),
            ("{\"blocks\": [], \"x\": 1}".to_owned(), "unknown field `x`"),
            (block("\"host\": \"a.example\""), "missing field `reason`"),
            (block("\"reason\": \"x\""), "block 1: write exactly one of"),
            (block("\"reason\": \"x\", \"host\": \"a.example\", \"source\": \"b\""), "block 1: write exactly one of"),
            (block("\"reason\": \"x\", \"host\": \"a b\""), "block 1: `host`: "),
            (block("\"reason\": \" \", \"host\": \"a.example\""), "block 1: `reason`: write why"),
            (block("\"reason\": \"a\\nb\", \"host\": \"a.example\""), "block 1: `reason`: write why"),
            (block(&long), "block 1: `reason`: write why"),
            (block("\"reason\": \"x\", \"host\": \"a.example\", \"id\": \"7\""), "UUID parsing failed"),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.contains(want), "{text}: {error}");
        }
        assert!(read(&block(&long.replacen('é', "", 1))).is_ok());
        let number = |number| format!("0190b5f0-0000-7000-8000-00000000000{number}");
        for (ids, want) in
            [(vec![1, 2, 3], None), (vec![1, 2, 1], Some("block 3: `id`: block 1 has the same; take it out here"))]
        {
            let one = |id: &u8| {
                format!(
                    r#"{{"id": "{}", "host": "h{id}.test", "reason": "x", "until": "2027-01-02T00:00:00Z"}}"#,
                    number(*id)
                )
            };
            let text = format!("{{\"blocks\": [{}]}}", ids.iter().map(one).collect::<Vec<_>>().join(","));
            let error = read(&text).err();
            assert_eq!(error.as_ref().and_then(|error| error.split(", and").next()), want, "{ids:?}");
        }
        let many = |count: usize| {
            let one = "{\"host\": \"a.example\", \"reason\": \"x\", \"until\": \"2027-01-02T00:00:00Z\"}";
            read(&format!("{{\"blocks\": [{}]}}", vec![one; count].join(","))).map(|blocks| blocks.len())
        };
        assert_eq!(many(MAX_BLOCKS), Ok(MAX_BLOCKS));
        let error = many(MAX_BLOCKS + 1).unwrap_err();
        assert!(error.starts_with("1001 blocks, and there may be 1000; take some out"), "{error}");
    }

    #[test]
    fn a_block_ends_within_a_month() {
        for (until, ok) in [
            ("2027-01-01T12:00:00Z", false),
            ("2027-01-01T12:00:00.001Z", true),
            ("2027-01-31T12:00:00Z", true),
            ("2027-01-31T12:00:00.001Z", false),
            ("9999-12-30T00:00:00Z", false),
        ] {
            assert_eq!(end(until.parse().unwrap(), now()).is_ok(), ok, "{until}");
        }
    }
}
