//! What holds for every policy: more prohibitions or fewer rules never allow more, and order decides nothing.

use proptest::prelude::*;

use super::*;

/// A rule that can be written on one line. Patterns differ between rules, so none tie.
#[derive(Clone, Debug)]
struct Written {
    pattern: String,
    sources: Vec<&'static str>,
    ports: Vec<u16>,
}

fn rules() -> impl Strategy<Value = Vec<Written>> {
    let pattern = "(\\*\\.|\\*\\*\\.)?([ab]\\.){0,2}x\\.test";
    let sources = prop::sample::subsequence(vec!["east", "west"], 1..=2);
    let ports = prop::sample::subsequence(vec![443, 8443], 1..=2);
    prop::collection::btree_map(pattern, (sources, ports), 0..8).prop_map(|rules| {
        let written = rules.into_iter().map(|(pattern, (sources, ports))| Written { pattern, sources, ports });
        written.collect()
    })
}

fn never() -> impl Strategy<Value = String> {
    "(\\*\\.|\\*\\*\\.)?([ab]\\.){0,2}x\\.test"
}

/// One that may hit something, until some time around the moment of the tests.
fn block() -> impl Strategy<Value = Arc<Block>> {
    let host = never().prop_map(|text| (BlockKind::Host, text));
    let source =
        prop::sample::select(vec!["east", "west", "none"]).prop_map(|name| (BlockKind::Source, name.to_owned()));
    let customer = prop::sample::select(vec!["c", "d"]).prop_map(|name| (BlockKind::Customer, name.to_owned()));
    let until = prop::sample::select(vec!["2027-01-01T11:00:00Z", "2027-01-01T13:00:00Z"]);
    (prop_oneof![host, source, customer], until)
        .prop_map(|((kind, text), until)| super::blocks::block(kind, &text, until))
}

const SOURCES: &str =
    "version: 1\nsources: [{name: east, subnets: [10.1.0.0/16]}, {name: west, subnets: [10.2.0.0/16]}]\n";

fn text(rules: &[Written]) -> String {
    let line = |rule: &Written| {
        let Written { pattern, sources, ports } = rule;
        format!(
            "  - {{id: 'r-{}', customer: c, sources: {sources:?}, hosts: ['{pattern}'], ports: {ports:?}}}\n",
            pattern.replace('*', "w")
        )
    };
    format!("version: 1\nrules:\n{}", rules.iter().map(line).collect::<String>())
}

fn compiled(rules: &[Written], never: &[String]) -> Arc<Policy> {
    let rules = if rules.is_empty() { "version: 1\n".to_owned() } else { text(rules) };
    let never = format!("version: 1\nnever: {{hosts: {never:?}}}\n");
    load(&[file("a.yaml", SOURCES), file("b.yaml", &rules), file("c.yaml", &never)]).unwrap()
}

/// Every request of a small world with the rule that lets it through, or the reason.
fn decisions(policy: &Arc<Policy>) -> Vec<(String, Result<String, Reason>)> {
    let names = ["x", "a.x", "b.x", "a.a.x", "b.a.x", "a.b.x", "a.b.a.x"].map(|name| format!("{name}.test"));
    let mut decisions = Vec::new();
    for client in ["10.1.0.1", "10.2.0.1"] {
        let identified = policy.identify(&ip(client).into()).unwrap();
        for (name, port) in names.iter().flat_map(|name| [(name, 443), (name, 8443), (name, 80)]) {
            let to = format!("{name}:{port}");
            let found = identified.request(&target(&to), at(AT));
            let found = found.map(|admitted| admitted.rule().id.to_string()).map_err(|denial| denial.reason());
            decisions.push((format!("{client} {to}"), found));
        }
    }
    decisions
}

/// Nothing that `before` refuses may be allowed in `after`.
fn no_more(before: &Arc<Policy>, after: &Arc<Policy>) -> Result<(), TestCaseError> {
    for ((request, before), (_, after)) in decisions(before).into_iter().zip(decisions(after)) {
        prop_assert!(before.is_ok() || after.is_err(), "{}: {:?}, then {:?}", request, before, after);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_prohibition_more_never_allows_more(rules in rules(), first in never(), second in never()) {
        no_more(&compiled(&rules, &[]), &compiled(&rules, std::slice::from_ref(&first)))?;
        no_more(&compiled(&rules, std::slice::from_ref(&first)), &compiled(&rules, &[first, second]))?;
    }

    #[test]
    fn a_block_more_never_allows_more(rules in rules(), first in block(), second in block()) {
        let blocked = |blocks: &[Arc<Block>]| Arc::new(compiled(&rules, &[]).with_blocks(Arc::new(Blocks::new(blocks.iter().cloned()))));
        no_more(&blocked(&[]), &blocked(std::slice::from_ref(&first)))?;
        no_more(&blocked(std::slice::from_ref(&first)), &blocked(&[first.clone(), second]))?;
        for ((request, with), (_, without)) in decisions(&blocked(&[first])).into_iter().zip(decisions(&blocked(&[]))) {
            prop_assert!(with == without || with == Err(Reason::DestinationDenied), "{}: {:?}, {:?}", request, with, without);
        }
    }

    #[test]
    fn a_rule_less_never_allows_more(rules in rules(), index in any::<prop::sample::Index>()) {
        prop_assume!(!rules.is_empty());
        let mut fewer = rules.clone();
        fewer.remove(index.index(rules.len()));
        no_more(&compiled(&rules, &[]), &compiled(&fewer, &[]))?;
    }

    #[test]
    fn order_decides_nothing(rules in rules(), turn in 0_usize..8, split in 0_usize..8) {
        let mut turned = rules.clone();
        turned.rotate_left(turn % rules.len().max(1));
        turned.reverse();
        let (left, right) = turned.split_at(split.min(turned.len()));
        let files: Vec<PolicyFile> = [left, right].iter().zip(["y.yaml", "x.yaml"])
            .filter(|(rules, _)| !rules.is_empty())
            .map(|(rules, path)| file(path, &text(rules)))
            .chain([file("z.yaml", SOURCES)])
            .collect();
        prop_assert_eq!(decisions(&load(&files).unwrap()), decisions(&compiled(&rules, &[])));
    }

    #[test]
    fn the_most_specific_rule_that_has_the_port_wins(rules in rules()) {
        for (request, found) in decisions(&compiled(&rules, &[])) {
            let (client, to) = request.split_once(' ').unwrap();
            let (name, port) = (to.rsplit_once(':').unwrap().0, target(to).port());
            let source = if client == "10.1.0.1" { "east" } else { "west" };
            let matching = |rule: &&Written| rule.sources.contains(&source) && wildcard(&rule.pattern, name).is_some();
            let best = rules.iter().filter(matching).filter(|rule| rule.ports.contains(&port))
                .max_by_key(|rule| wildcard(&rule.pattern, name));
            let want = match best {
                Some(rule) => Ok(format!("r-{}", rule.pattern.replace('*', "w"))),
                None if rules.iter().any(|rule| matching(&rule)) => Err(Reason::PortNotAllowed),
                None => Err(Reason::DestinationNotListed),
            };
            prop_assert_eq!(found, want, "{}", request);
        }
    }
}

/// How specific a pattern is that matches `name`, written down a second time: kind, then length.
fn wildcard(pattern: &str, name: &str) -> Option<(u8, usize)> {
    let below = |base: &str| name.strip_suffix(base).and_then(|front| front.strip_suffix('.')).map(str::to_owned);
    match (pattern.strip_prefix("**."), pattern.strip_prefix("*.")) {
        (Some(base), _) => below(base).map(|_| (0, base.len())),
        (None, Some(base)) => below(base).filter(|front| !front.contains('.')).map(|_| (1, base.len())),
        (None, None) => (pattern == name).then_some((2, pattern.len())),
    }
}
