//! `/v1/block`: the emergency blocks in force, and one more of them: at once, deny-only, until it ends by itself.
//! Not here: keeping and ending them (`blocks`), what they hit (`policy`). No call lifts one.
//! Source: the contract: "Admin port"; RFC 9457 (problems).

use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::timeout;

use super::body::Body;
use super::faults::{Faults, parsed, text};
use super::problem::{json, problem};
use super::route::Guarded;
use super::{Connection, records};
use crate::policy::{Block, Blocked};
use crate::redact::{Redacted, Redactor};
use crate::runtime::blocks::{self, Added, MAX_BLOCKS, TooMany, page};
use crate::runtime::clock;
use crate::runtime::shared::Shared;
use crate::yaml::duration;

/// Bytes of the longest body: a name, a sentence and a time.
const MAX_BODY: usize = 16 * 1024;

/// Upper bound in bytes of what is said of a value, which may repeat it.
const MAX_SAID: usize = 500;

/// How long a call waits for the disk that keeps its block; one that hangs longer has not kept it.
const KEEP_DEADLINE: Duration = Duration::from_secs(5);

const JSON: &str = "application/json";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    host: Option<Value>,
    network: Option<Value>,
    source: Option<Value>,
    customer: Option<Value>,
    reason: Option<Value>,
    duration: Option<Value>,
    until: Option<Value>,
    force: Option<Value>,
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    what: Blocked,
    reason: Redacted,
    until: Timestamp,
    /// Whether the name of a source or customer need not be one that the policy knows.
    force: bool,
}

#[derive(Serialize)]
struct Blocks<'a> {
    blocks: Vec<&'a Arc<Block>>,
}

/// What came of a call: the block as it holds now.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    block: &'a Block,
    tunnels_cut: u64,
    /// Whether it is on disk, and so survives a restart.
    kept: bool,
    /// Whether the decision log takes the record of this call now; if not, it is written once it can.
    recorded: bool,
}

/// What is in force.
pub fn list(connection: &Connection) -> Response<Body> {
    let policy = connection.admin.shared.policy();
    json(StatusCode::OK, JSON, &Blocks { blocks: policy.blocks().iter().collect() })
}

/// Puts a block in force, cuts what it hits, keeps it, and answers then. A log or disk that fails does not hold it up: it refuses, and that
/// is always safe.
pub async fn block(connection: &Connection, body: Incoming, token: &str) -> Response<Body> {
    connection.deadline.extend();
    let shared = &connection.admin.shared;
    let body = Limited::new(body, MAX_BODY).collect().await;
    let asked = match body {
        Ok(body) => read(&body.to_bytes(), shared.redactor(), clock::now()),
        Err(_) => Err(Faults::of(format!("the body did not come, or has more than {MAX_BODY} bytes"), "#")),
    };
    let asked =
        match asked.map_err(|faults| (StatusCode::BAD_REQUEST, BAD, faults)).and_then(|asked| known(shared, asked)) {
            Ok(asked) => asked,
            Err((status, kind, faults)) => return refused(connection, token, (status, kind), &faults),
        };
    let Asked { what, reason, until, .. } = asked;
    match connection.admin.blocks.add(shared, what, reason, until) {
        Ok(added) => put_in_force(connection, token, &added).await,
        Err(TooMany) => {
            let faults = Faults::of(format!("{MAX_BLOCKS} blocks are in force; change the policy instead"), "#");
            refused(connection, token, (StatusCode::CONFLICT, FULL), &faults)
        }
    }
}

/// A kind of refusal: its word in the record, its name and its title.
type Refusal = (&'static str, &'static str, &'static str);

const BAD: Refusal = ("bad_request", "urn:sallyport:problem:bad_block", "this cannot be blocked");

const UNKNOWN: Refusal = (
    "unknown_name",
    "urn:sallyport:problem:unknown_name",
    "the policy in force has no such name, so nothing is blocked",
);

const FULL: Refusal = ("too_many", "urn:sallyport:problem:too_many_blocks", "there are as many blocks as there may be");

fn refused(
    connection: &Connection,
    token: &str,
    (status, (word, kind, title)): (StatusCode, Refusal),
    faults: &Faults,
) -> Response<Body> {
    let (shared, refusals) = (&connection.admin.shared, &connection.admin.refusals);
    records::not_operated(shared, refusals, (Guarded::Block, status, word), (token, connection.client));
    problem(status, kind, title, faults)
}

/// It holds: now for open tunnels and for the disk.
async fn put_in_force(connection: &Connection, token: &str, added: &Added) -> Response<Body> {
    let shared = Arc::clone(&connection.admin.shared);
    let tunnels_cut = shared.lifecycle().judge_again().await.cut;
    let (book, keeps) = (Arc::clone(&connection.admin.blocks), Arc::clone(&shared));
    let keeping = tokio::task::spawn_blocking(move || book.keep(&keeps));
    let kept = matches!(timeout(KEEP_DEADLINE, keeping).await, Ok(Ok(Ok(()))));
    // Old processes read it from the file.
    connection.admin.shared.predecessors().judge_again();
    let Added { block, is_new } = added;
    let (status, result) = match (kept, is_new) {
        (true, true) => (StatusCode::CREATED, "ok"),
        (true, false) => (StatusCode::OK, "ok"),
        (false, _) => (StatusCode::INTERNAL_SERVER_ERROR, "not_kept"),
    };
    tracing::warn!(id = %block.id, what = %block.what, until = %block.until, tunnels_cut, "an emergency block is in force");
    records::blocked(&shared, (status, result), (blocks::detail(block), tunnels_cut), (token, connection.client));
    let answer = Answer { block, tunnels_cut, kept, recorded: shared.journal().healthy() };
    if kept {
        return json(status, JSON, &answer);
    }
    let title = "the block is in force, but the file that keeps it over a restart can't be written; that is tried again each second";
    problem(status, "urn:sallyport:problem:block_not_kept", title, &answer)
}

/// A typing error in an emergency must not go unnoticed: names are those of the policy, unless the caller insists.
fn known(shared: &Shared, asked: Asked) -> Result<Asked, (StatusCode, Refusal, Faults)> {
    let policy = shared.policy();
    let (is_known, kind) = match &asked.what {
        Blocked::Host(_) | Blocked::Network(_) => (true, ""),
        Blocked::Source(name) => (policy.sources().iter().any(|source| source.name == *name), "#/source"),
        Blocked::Customer(name) => (policy.rules().any(|rule| rule.customer == *name), "#/customer"),
    };
    if is_known || asked.force {
        return Ok(asked);
    }
    let detail = "write a name of the policy, as `GET /v1/policy` lists them, or `\"force\": true`";
    Err((StatusCode::UNPROCESSABLE_ENTITY, UNKNOWN, Faults::of(detail.to_owned(), kind)))
}

fn read(body: &[u8], redactor: &Redactor, now: Timestamp) -> Result<Asked, Faults> {
    let written: Written = serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let fields = "one of host, network, source and customer, reason, one of duration and until, and as you like force, each once";
        Faults::of(format!("not a block at line {line}, column {column}; write a JSON object with {fields}"), "#")
    })?;
    let mut faults = Faults::default();
    let given = [
        ("#/host", written.host),
        ("#/network", written.network),
        ("#/source", written.source),
        ("#/customer", written.customer),
    ];
    let given = given.map(|(pointer, value)| faults.given(pointer, value.map(text), "a text"));
    let what = if faults.is_empty() { page::one_of(given) } else { Err(String::new()) };
    if let Err(error) = &what
        && faults.is_empty()
    {
        faults.add("#", redactor.clean(error.as_bytes(), MAX_SAID).text.as_str());
    }
    let reason = written.reason.map(|value| page::reason(&text(value)?, redactor));
    let reason = faults.needed("#/reason", reason, page::REASON);
    let until = end((written.duration, written.until), now, &mut faults);
    let force = |value| if let Value::Bool(force) = value { Some(force) } else { None };
    let force = faults.given("#/force", written.force.map(force), "true or false").unwrap_or(false);
    match (what, reason, until) {
        (Ok(what), Some(reason), Some(until)) if faults.is_empty() => Ok(Asked { what, reason, until, force }),
        _ => Err(faults),
    }
}

/// When it ends, by one of the two ways to say so.
fn end((lasts, until): (Option<Value>, Option<Value>), now: Timestamp, faults: &mut Faults) -> Option<Timestamp> {
    let (pointer, end) = match (lasts, until) {
        (Some(lasts), None) => {
            let lasts = || SignedDuration::try_from(duration(&text(lasts)?).ok()?).ok();
            let lasts = faults.given("#/duration", Some(lasts()), "a duration of at most 30d, such as \"2h\"")?;
            ("#/duration", now.checked_add(lasts).unwrap_or(Timestamp::MAX))
        }
        (None, Some(until)) => {
            let until = parsed(until);
            ("#/until", faults.given("#/until", Some(until), "a point in time, such as \"2027-05-03T23:00:00Z\"")?)
        }
        (None, None) | (Some(_), Some(_)) => {
            faults.add("#", "write one of `duration`, such as \"2h\", and `until`");
            return None;
        }
    };
    page::end(end, now).map_err(|why| faults.add(pointer, why)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(body: &str) -> Result<Asked, Vec<String>> {
        let now = "2027-01-01T12:00:00Z".parse().unwrap();
        read(body.as_bytes(), &Redactor::default(), now).map_err(|faults| faults.lines())
    }

    #[test]
    fn what_is_written_is_asked_for() {
        let whole = r#"{"host":"*.acme.example","reason":" leak \u0028see 4111111111111111\u0029 ","duration":"2h"}"#;
        let Asked { what, reason, until, force } = asked(whole).unwrap();
        assert_eq!((what.to_string().as_str(), force), ("host `*.acme.example`", false));
        assert_eq!(reason.as_str(), "leak (see [PAN:visa:16])");
        assert_eq!(until.to_string(), "2027-01-01T14:00:00Z");
        let other = asked(r#"{"source":"ivr","reason":"x","until":"2027-01-02T00:00:00+01:00","force":true}"#).unwrap();
        assert_eq!((other.until.to_string().as_str(), other.force), ("2027-01-01T23:00:00Z", true));
        assert!(asked(r#"{"customer":"acme","host":null,"reason":"x","duration":"30d"}"#).is_ok());
    }

    #[test]
    fn each_fault_names_its_field() {
        let with = |rest: &str| format!(r#"{{"host":"a.example","reason":"x",{rest}}}"#);
        let of = |what: &str| format!(r#"{{{what},"reason":"x","duration":"2h"}}"#);
        for (body, want) in [
            (String::new(), &["# not a block at line 1, column 0; write a JSON object"][..]),
            ("[]".into(), &["# not a block"]),
            (with(r#""duration":"2h","lift":true"#), &["# not a block"]),
            (with(r#""duration":"2h","duration":"3h""#), &["# not a block"]),
            ("{}".into(), &["# write exactly one of", "#/reason not there", "# write one of `duration`"]),
            (with(r#""duration":"2h","source":"ivr""#), &["# write exactly one of"]),
            (with(r#""duration":"2h","until":"2027-01-02T00:00:00Z""#), &["# write one of `duration`"]),
            (with(r#""duration":"2""#), &["#/duration write a duration"]),
            (with(r#""duration":2"#), &["#/duration write a duration"]),
            (with(r#""duration":"0s""#), &["#/duration is over already"]),
            (with(r#""duration":"31d""#), &["#/duration is more than 30d away"]),
            (with(r#""duration":"99999999d""#), &["#/duration is more than 30d away"]),
            (with(r#""until":"2027-01-01""#), &["#/until write a point in time"]),
            (with(r#""until":"2027-01-01T12:00:00Z""#), &["#/until is over already"]),
            (with(r#""until":"2027-02-01T12:00:00Z""#), &["#/until is more than 30d away"]),
            (with(r#""duration":"2h","force":"yes""#), &["#/force write true or false"]),
            (of(r#""host":7"#), &["#/host write a text"]),
            (of(r#""host":"a b""#), &["# `host`: "]),
            (of(r#""host":"203.0.113.7""#), &["# `host`: an address is no host; block it as `network`"]),
            (of(r#""host":"4111111111111111.example""#), &["# `host`: the host holds what looks like a card number"]),
            (of(r#""network":"203.0.113.7/24""#), &["# `network`: host bits"]),
            (of(r#""customer":"a b""#), &["# `customer`: bad name"]),
            (r#"{"host":"a.example","reason":"","duration":"2h"}"#.into(), &["#/reason write why"]),
            (r#"{"host":"a.example","reason":["x"],"duration":"2h"}"#.into(), &["#/reason write why"]),
        ] {
            let faults = asked(&body).unwrap_err();
            let fits = faults.iter().zip(want).all(|(fault, want)| fault.starts_with(want));
            assert!(fits && faults.len() == want.len(), "{body}: {faults:?}");
            assert!(!faults.concat().contains("4111"), "{body}: {faults:?}");
        }
    }
}
