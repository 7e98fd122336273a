//! Which records: the flags that `audit query` and `audit export` have in common.
//! Not here: what they mean (`decision_log::query`). Source: the contract's table of commands.

use std::collections::BTreeMap;

use clap::Args;
use jiff::Timestamp;

use super::Failure;
use crate::decision_log::Criteria;
use crate::runtime::clock::when;

/// Each but the times may be given several times: a record must have one of its values. All that are given must fit.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct FilterArgs {
    /// From this time on: `2026-03-01T08:00:00Z`, `2026-03-01` (its beginning, UTC), or an age such as `30d`
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before this time, written as above
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// The customer whose rule was chosen
    #[arg(long, value_name = "NAME")]
    customer: Vec<String>,
    /// The source that the client belongs to
    #[arg(long, value_name = "NAME")]
    source: Vec<String>,
    /// The host that was asked for; `*.x` is one label below x, `**.x` all below it
    #[arg(long, value_name = "HOST")]
    host: Vec<String>,
    /// allow, deny, observe or error
    #[arg(long, value_name = "WORD")]
    outcome: Vec<String>,
    /// The reason of a decision, or how a tunnel ended
    #[arg(long, value_name = "WORD")]
    reason: Vec<String>,
    /// The rule that was chosen
    #[arg(long, value_name = "ID")]
    rule: Vec<String>,
    /// The record's id; a decision and its close have the same
    #[arg(long, value_name = "ID")]
    id: Vec<String>,
    /// decision, close, start, …
    #[arg(long, value_name = "WORD")]
    kind: Vec<String>,
}

impl FilterArgs {
    /// As used: times are points in time.
    pub(super) fn criteria(&self, now: Timestamp) -> Result<Criteria, Failure> {
        let time = |flag: &str, text: &Option<String>| {
            let time = text.as_deref().map(|text| when(text, now)).transpose();
            time.map_err(|error| Failure::Usage(anyhow::anyhow!("`--{flag}`: {error}")))
        };
        Ok(Criteria {
            since: time("since", &self.since)?,
            until: time("until", &self.until)?,
            kind: self.kind.clone(),
            outcome: self.outcome.clone(),
            reason: self.reason.clone(),
            customer: self.customer.clone(),
            source: self.source.clone(),
            rule: self.rule.clone(),
            host: self.host.clone(),
            id: self.id.clone(),
        })
    }

    /// As typed.
    pub(super) fn typed(&self) -> Vec<String> {
        let times = [("since", &self.since), ("until", &self.until)];
        let times = times.into_iter().flat_map(|(flag, text)| text.iter().map(move |text| (flag, text)));
        let lists = [
            ("customer", &self.customer),
            ("source", &self.source),
            ("host", &self.host),
            ("outcome", &self.outcome),
            ("reason", &self.reason),
            ("rule", &self.rule),
            ("id", &self.id),
            ("kind", &self.kind),
        ];
        let lists = lists.into_iter().flat_map(|(flag, list)| list.iter().map(move |text| (flag, text)));
        times.chain(lists).map(|(flag, text)| format!("--{flag} {text}")).collect()
    }
}

/// Each filter that is used, with its values.
pub(super) fn used(criteria: &Criteria) -> BTreeMap<String, Vec<String>> {
    let time = |time: Option<Timestamp>| time.map(|time| format!("{time:.6}")).into_iter().collect();
    let Criteria { since, until, kind, outcome, reason, customer, source, rule, host, id } = criteria.clone();
    let all = [
        ("since", time(since)),
        ("until", time(until)),
        ("kind", kind),
        ("outcome", outcome),
        ("reason", reason),
        ("customer", customer),
        ("source", source),
        ("rule", rule),
        ("host", host),
        ("id", id),
    ];
    all.into_iter().filter(|(_, values)| !values.is_empty()).map(|(name, values)| (name.to_owned(), values)).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        filters: FilterArgs,
    }

    fn typed(line: &str) -> FilterArgs {
        Typed::parse_from(std::iter::once("x").chain(line.split_whitespace())).filters
    }

    #[test]
    fn every_flag_comes_to_its_filter() {
        let now = "2026-03-31T12:00:00Z".parse().unwrap();
        let line = "--since 30d --until 2026-03-31 --customer acme --customer other --source ivr --host *.x.example \
                    --outcome deny --reason sni_mismatch --rule acme/a --id 7 --kind decision";
        let filters = typed(line);
        assert_eq!(filters.typed().join(" "), line.split_whitespace().collect::<Vec<_>>().join(" "));
        let criteria = filters.criteria(now).unwrap();
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let want = Criteria {
            since: "2026-03-01T12:00:00Z".parse().ok(),
            until: "2026-03-31T00:00:00Z".parse().ok(),
            kind: words(&["decision"]),
            outcome: words(&["deny"]),
            reason: words(&["sni_mismatch"]),
            customer: words(&["acme", "other"]),
            source: words(&["ivr"]),
            rule: words(&["acme/a"]),
            host: words(&["*.x.example"]),
            id: words(&["7"]),
        };
        assert_eq!(criteria, want);
        let used = used(&criteria);
        assert_eq!(used.len(), 10);
        assert_eq!(used["since"], words(&["2026-03-01T12:00:00.000000Z"]));
        assert_eq!(used["customer"], words(&["acme", "other"]));
    }

    #[test]
    fn without_flags_all_is_asked_for() {
        let filters = typed("");
        let criteria = filters.criteria(Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!((filters.typed().len(), used(&criteria).len(), criteria), (0, 0, Criteria::default()));
    }

    #[test]
    fn a_bad_time_names_its_flag() {
        for flag in ["since", "until"] {
            let failure = typed(&format!("--{flag} yesterday")).criteria(Timestamp::UNIX_EPOCH).unwrap_err();
            let Failure::Usage(error) = failure else { panic!("{failure:?}") };
            assert!(error.to_string().starts_with(&format!("`--{flag}`: ")), "{error}");
        }
    }
}
