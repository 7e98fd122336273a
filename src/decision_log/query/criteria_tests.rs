//! What may be asked for, and how hosts are compared.

use super::tests::{found, found_plain, list, query, sealed};
use super::*;
use crate::decision_log::sealed::testing::{Sort, lines, usual};

#[test]
fn what_can_fit_no_record_is_refused() {
    let time = |text: &str| Some(text.parse().unwrap());
    let (early, late) = (time("2026-11-21T10:00:00Z"), time("2026-11-21T11:00:00Z"));
    let every = Criteria { since: early, until: late, ..Criteria::default() };
    assert!(Query::new(every).is_ok());
    for (name, criteria, want) in [
        (
            "an outcome",
            Criteria { outcome: list(&["allow", "refuse"]), ..Criteria::default() },
            "unknown outcome `refuse`; use one of `allow` `deny` `observe` `error`",
        ),
        (
            "an outcome, nearly",
            Criteria { outcome: list(&["denny"]), ..Criteria::default() },
            "unknown outcome `denny`; did you mean `deny`?",
        ),
        (
            "a reason, nearly",
            Criteria { reason: list(&["port_not_alowed"]), ..Criteria::default() },
            "unknown reason `port_not_alowed`; did you mean `port_not_allowed`?",
        ),
        (
            "an ending, nearly",
            Criteria { reason: list(&["client_close"]), ..Criteria::default() },
            "unknown reason `client_close`; did you mean `client_closed`?",
        ),
        (
            "a kind",
            Criteria { kind: list(&["request"]), ..Criteria::default() },
            "unknown kind `request`; use one of `decision` `close` `summary` `policy` `admin` `start` `stop` `heartbeat` `export` `control_failure`",
        ),
        (
            "an id",
            Criteria { id: list(&["7\u{1b}"]), ..Criteria::default() },
            "bad id `7\\u{1b}`; write it as answers and records have it, such as `01a200a0-035a-7608-913d-104c55972faf`",
        ),
        (
            "a host",
            Criteria { host: list(&["api.acme.test:443"]), ..Criteria::default() },
            "bad host: bad label `test:443`; use 1 to 63 of a-z, 0-9, `_` and inner `-`",
        ),
        (
            "times",
            Criteria { since: late, until: early, ..Criteria::default() },
            "since 2026-11-21T11:00:00Z is not before until 2026-11-21T10:00:00Z; give an earlier since or a later until",
        ),
        (
            "no time",
            Criteria { since: early, until: early, ..Criteria::default() },
            "since 2026-11-21T10:00:00Z is not before until 2026-11-21T10:00:00Z; give an earlier since or a later until",
        ),
    ] {
        assert_eq!(Query::new(criteria).unwrap_err().to_string(), want, "{name}");
    }
    let reasons = Query::new(Criteria { reason: list(&["?"]), ..Criteria::default() }).unwrap_err().to_string();
    assert_eq!(reasons.matches("`byte_budget_spent`").count(), 1, "{reasons}");
    assert!(reasons.contains("`server_closed`") && reasons.contains("`source_unknown`"), "{reasons}");
    let long = Query::new(Criteria { kind: vec!["x".repeat(1 << 20)], ..Criteria::default() }).unwrap_err();
    assert!(long.to_string().len() < 300, "{long}");
}

#[test]
fn hosts_by_table() {
    for (wanted, host, want) in [
        ("api.acme.test", "api.acme.test", true),
        ("API.acme.test.", "api.acme.test", true),
        ("api.acme.test", "API.Acme.Test.", true),
        ("api.acme.test", "x.api.acme.test", false),
        ("*.acme.test", "api.acme.test", true),
        ("*.acme.test", "API.acme.test.", true),
        ("*.acme.test", "acme.test", false),
        ("*.acme.test", "a.api.acme.test", false),
        ("**.acme.test", "a.api.acme.test", true),
        ("**.acme.test", "-.acme.test", false),
        ("203.0.113.7", "203.0.113.7", true),
        ("203.0.113.7", "203.0.113.70", false),
        ("[2001:db8::1]", "2001:db8::1", true),
        ("2001:DB8:0::1", "2001:db8::1", true),
        ("::ffff:203.0.113.7", "203.0.113.7", true),
    ] {
        let sort = Sort { host: Some(host.to_owned()), ..usual(1).remove(0) };
        let plain = lines(7, &[sort]);
        let query = query(|criteria| criteria.host = list(&[wanted]));
        assert_eq!(found_plain(&query, 7, &plain).len(), usize::from(want), "`{wanted}` on `{host}`");
        assert_eq!(found(&query, &mut sealed(7, &plain)).len(), usize::from(want), "`{wanted}` on `{host}`, sealed");
    }
    let without = Sort { host: None, ..usual(1).remove(0) };
    let query = query(|criteria| criteria.host = list(&["**.test"]));
    assert_eq!(found_plain(&query, 0, &lines(0, &[without])), [0_u64; 0], "no host at all");
}
