//! What the admin port writes into the decision log: refused calls, operators' calls, who read or exported records, changes of its tokens.
//! Not here: which calls are refused (`access`), the log (`journal`).
//! Source: PCI DSS 10.2.1.2 (administrators' actions), 10.2.1.3 (access to logs), 10.2.1.4 (invalid access attempts), 10.2.1.5 (changes to credentials).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use super::access::{Access, Refused};
use super::route::Guarded;
use crate::config::Token;
use crate::decision_log::{Detail, Kind, Record, Value};
use crate::redact::clean_name;
use crate::runtime::clock;
use crate::runtime::shared::Shared;

/// Records of refused calls within a second: wrong tokens by the thousand must not fill the disk. What comes beyond is counted.
const MAX_REFUSALS_A_SECOND: u64 = 10;

/// Names of tokens that a record of a change lists.
const MAX_NAMES: usize = 32;

/// Upper bound in bytes of a token's name in a record; the configuration allows as many.
const MAX_NAME: usize = 128;

/// How often the same token's reading of the log's lines is on record: who fetches all of them makes thousands of calls.
const READ_AGAIN: Duration = Duration::from_secs(60);

/// Holds the records of refused calls to their rate.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    begun: Option<Instant>,
    written: u64,
    left_out: u64,
}

impl Window {
    /// Begins a new second if the last one is over; gives whether it did.
    fn turn(&mut self, now: Instant) -> bool {
        let over = self.begun.is_none_or(|begun| now.saturating_duration_since(begun) >= Duration::from_secs(1));
        if over {
            (self.begun, self.written) = (Some(now), 0);
        }
        over
    }
}

impl Refusals {
    /// Whether one more may be written now, and how many were left out before it.
    fn admit(&self, now: Instant) -> Option<u64> {
        let mut window = self.window();
        window.turn(now);
        if window.written >= MAX_REFUSALS_A_SECOND {
            window.left_out = window.left_out.saturating_add(1);
            return None;
        }
        window.written = window.written.saturating_add(1);
        Some(std::mem::take(&mut window.left_out))
    }

    /// How many were left out in a second that is over, with none behind them that could tell.
    fn owed(&self, now: Instant) -> Option<u64> {
        let mut window = self.window();
        if window.left_out == 0 || !window.turn(now) {
            return None;
        }
        window.written = 1;
        Some(std::mem::take(&mut window.left_out))
    }

    /// How many were left out and not told, at the end.
    fn rest(&self) -> Option<u64> {
        Some(std::mem::take(&mut self.window().left_out)).filter(|left| *left > 0)
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which tokens have read lines of the log, and when that was last on record.
#[derive(Debug, Default)]
pub struct Readers(Mutex<HashMap<Arc<str>, Instant>>);

impl Readers {
    /// Whether a call with this token is to be on record.
    fn is_due(&self, token: &Arc<str>, now: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.retain(|_, last| now.saturating_duration_since(*last) < READ_AGAIN);
        let due = !last.contains_key(token);
        if due {
            last.insert(Arc::clone(token), now);
        }
        due
    }
}

/// A call was refused: a record, unless there were too many just now.
pub fn refused(shared: &Shared, refusals: &Refusals, (call, why): (Guarded, &Refused), client: SocketAddr) {
    let actor = match why {
        Refused::RoleTooSmall(name) => Some(&**name),
        Refused::Closed | Refused::NoToken | Refused::WrongToken => None,
    };
    refusal(shared, refusals, answered(call, why.status(), why.as_str()), (actor, Some(client)));
}

/// An operator's call was not carried out: a record as of a refused call.
pub fn not_operated(
    shared: &Shared,
    refusals: &Refusals,
    (call, status, result): (Guarded, StatusCode, &'static str),
    (token, client): (&str, SocketAddr),
) {
    refusal(shared, refusals, answered(call, status, result), (Some(token), Some(client)));
}

fn refusal(shared: &Shared, refusals: &Refusals, detail: Detail, who: (Option<&str>, Option<SocketAddr>)) {
    let Some(left_out) = refusals.admit(Instant::now()) else { return };
    let detail = if left_out > 0 { detail.with(UNRECORDED, left_out) } else { detail };
    shared.journal().note(record(shared, Kind::Admin, who, detail).line());
}

/// An operator's call was carried out: what it was, and what came of it.
pub fn operated(
    shared: &Shared,
    (call, status, result): (Guarded, StatusCode, &'static str),
    (token, client): (&str, SocketAddr),
) {
    let detail = answered(call, status, result);
    shared.journal().note(record(shared, Kind::Admin, (Some(token), Some(client)), detail).line());
}

/// An emergency block is in force: what it is, and what it did at once.
pub fn blocked(
    shared: &Shared,
    (status, result): (StatusCode, &'static str),
    (block, tunnels_cut): (Detail, u64),
    (token, client): (&str, SocketAddr),
) {
    let detail = answered(Guarded::Block, status, result).with("block", block).with("tunnels_cut", tunnels_cut);
    shared.journal().note(record(shared, Kind::Admin, (Some(token), Some(client)), detail).line());
}

fn answered(call: Guarded, status: StatusCode, result: &'static str) -> Detail {
    Detail::new().with("call", call.as_str()).with("result", result).with("status", u64::from(status.as_u16()))
}

/// How many refused calls have no record of their own.
const UNRECORDED: &str = "unrecorded";

/// Refused calls that were left out of a second that is over: once a second. At the end of the process: of all.
pub fn refused_unrecorded(shared: &Shared, refusals: &Refusals, at_end: bool) {
    let owed = if at_end { refusals.rest() } else { refusals.owed(Instant::now()) };
    let Some(left_out) = owed else { return };
    let detail = Detail::new().with("call", "several").with("result", "refused").with(UNRECORDED, left_out);
    shared.journal().note(record(shared, Kind::Admin, (None, None), detail).line());
}

/// Somebody reads lines of the log tile by tile.
pub fn reads(shared: &Shared, readers: &Readers, call: Guarded, (token, client): (&Arc<str>, SocketAddr)) {
    if readers.is_due(token, Instant::now()) {
        let detail = Detail::new().with("call", call.as_str());
        shared.journal().note(record(shared, Kind::Export, (Some(token), Some(client)), detail).line());
    }
}

/// Records leave the host: who has them, and which. To be durable before they do.
pub fn export(shared: &Shared, call: Guarded, (token, client): (&str, SocketAddr), detail: Detail) -> Record {
    let detail = Detail::new().with("call", call.as_str()).with("what", detail);
    record(shared, Kind::Export, (Some(token), Some(client)), detail)
}

/// Tokens and certificate are in force from now on. Without tokens, before and after, there is nothing to tell.
pub fn in_force(shared: &Shared, before: &Access, now: &Access) {
    let of = |access: &Access| access.tokens().map(|tokens| tokens.iter().cloned().collect::<Vec<Token>>());
    let (before, tokens) = (of(before), of(now));
    if before.is_none() && tokens.is_none() {
        return;
    }
    let (before, tokens) = (before.unwrap_or_default(), tokens.unwrap_or_default());
    let detail = Detail::new()
        .with("what", "admin_tokens")
        .with("result", "in_force")
        .with("tokens", tokens.len() as u64)
        .with("added", only_in(&tokens, &before))
        .with("removed", only_in(&before, &tokens));
    shared.journal().note(record(shared, Kind::Admin, (None, None), detail).line());
    tracing::info!(tokens = tokens.len(), "the admin port's tokens are in force");
}

/// The names of the tokens that `other` does not have as they are here, the first of them.
fn only_in(tokens: &[Token], other: &[Token]) -> Vec<Value> {
    let new = tokens.iter().filter(|token| !other.contains(token));
    new.take(MAX_NAMES).map(|token| Value::Text(clean_name(token.name.as_bytes(), MAX_NAME).text)).collect()
}

fn record(shared: &Shared, kind: Kind, (actor, client): (Option<&str>, Option<SocketAddr>), detail: Detail) -> Record {
    let mut record = Record::new(kind, clock::now(), clock::new_id(), Arc::clone(shared.instance()));
    record.environment = shared.environment().cloned();
    record.policy = Some(Arc::clone(shared.policy().hash()));
    record.client_ip = client.map(|client| client.ip());
    record.client_port = client.map(|client| client.port());
    if let Some(actor) = actor {
        let actor = clean_name(actor.as_bytes(), MAX_NAME);
        record.mark("actor", actor.found);
        record.actor = Some(actor.text);
    }
    record.detail = detail;
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_ten_records_and_the_next_one_tells_the_rest() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        let after = |ms| start + Duration::from_millis(ms);
        assert_eq!(refusals.owed(start), None);
        for number in 0..MAX_REFUSALS_A_SECOND {
            assert_eq!(refusals.admit(after(number)), Some(0), "record {number}");
        }
        assert_eq!((refusals.admit(after(500)), refusals.admit(after(999))), (None, None));
        assert_eq!(refusals.owed(after(999)), None, "the second is not over");
        assert_eq!(refusals.admit(after(1000)), Some(2));
        for _ in 0..MAX_REFUSALS_A_SECOND - 1 {
            assert_eq!(refusals.admit(after(1100)), Some(0));
        }
        assert_eq!(refusals.admit(after(1200)), None);
        assert_eq!(refusals.owed(after(2000)), Some(1));
        for _ in 0..MAX_REFUSALS_A_SECOND - 1 {
            assert_eq!(refusals.admit(after(2001)), Some(0), "the record of what was owed counts");
        }
        assert_eq!(refusals.admit(after(2002)), None);
        assert_eq!((refusals.rest(), refusals.rest()), (Some(1), None));
    }

    #[test]
    fn a_reader_is_on_record_once_a_minute() {
        let (readers, start) = (Readers::default(), Instant::now());
        let (one, other): (Arc<str>, Arc<str>) = ("one".into(), "other".into());
        for (token, seconds, want) in
            [(&one, 0, true), (&one, 59, false), (&other, 59, true), (&one, 60, true), (&other, 61, false)]
        {
            assert_eq!(readers.is_due(token, start + Duration::from_secs(seconds)), want, "{token} at {seconds}");
        }
    }

    #[test]
    fn changes_of_tokens_are_told_by_name() {
        use crate::config::Role;
        let token = |name: &str, role, random| Token::new(name, role, &[random; 32]).unwrap().0;
        let before = [token("a", Role::Auditor, 1), token("b", Role::Auditor, 2)];
        let now = [token("b", Role::Operator, 2), token("a", Role::Auditor, 1), token("c", Role::Auditor, 3)];
        let names = |values: Vec<Value>| serde_json::to_string(&values).unwrap();
        assert_eq!(names(only_in(&now, &before)), r#"["b","c"]"#, "a role that changed is a new token");
        assert_eq!(names(only_in(&before, &now)), r#"["b"]"#);
        let many: Vec<Token> = (0..=u8::MAX).map(|n| token(&format!("t{n}"), Role::Auditor, n)).collect();
        assert_eq!(only_in(&many, &before).len(), MAX_NAMES);
    }
}
