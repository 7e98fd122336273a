//! Differences between policies, held against the judgement of single requests, and the short way to them against the long one.
//! Not here: what is told of each difference (`diff`).

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Rules, `never`, and clients of a small world in which patterns overlap often.
#[derive(Clone, Debug)]
struct World {
    text: String,
    listed: Vec<String>,
}

fn world() -> impl Strategy<Value = World> {
    let pattern = "(\\*\\.|\\*\\*\\.)?([ab]\\.){0,2}x\\.test";
    let network = (0_u8..8, 29_u8..=32).prop_map(|(last, length)| {
        let address = std::net::Ipv4Addr::new(198, 51, 100, last);
        ipnet::Ipv4Net::new(address, length).unwrap().trunc().to_string()
    });
    let destination = prop_oneof![3 => pattern.prop_map(|text| text), 1 => network];
    let rule = (
        prop::sample::subsequence(vec!["east", "west"], 1..=2),
        prop::sample::subsequence(vec![443, 8443], 1..=2),
        prop::sample::select(vec!["", ", expires: 2020-01-01", ", egress: static-a"]),
    );
    let rules = prop::collection::btree_map(destination.clone(), rule, 0..8);
    (rules, prop::collection::btree_set(destination, 0..2)).prop_map(|(rules, never)| written(rules, never))
}

type RuleOf = (Vec<&'static str>, Vec<u16>, &'static str);

fn written(rules: BTreeMap<String, RuleOf>, never: std::collections::BTreeSet<String>) -> World {
    let is_network = |text: &&String| text.contains('/');
    let (networks, hosts): (Vec<&String>, Vec<&String>) = never.iter().partition(is_network);
    let mut text = format!(
        "sources: [{{name: east, subnets: [10.1.0.0/16]}}, {{name: west, subnets: [10.2.0.0/16]}}]\n\
         never: {{hosts: {hosts:?}, networks: {networks:?}}}\n"
    );
    for (index, (destination, (sources, ports, more))) in rules.iter().enumerate() {
        let reach = match is_network(&destination) {
            true => format!("networks: ['{destination}'], tls: {{sni: absent}}"),
            false => format!("hosts: ['{destination}']"),
        };
        let head = if index == 0 { "rules:\n" } else { "" };
        let id = destination.replace('*', "w").replace('/', "-");
        text += &format!(
            "{head}  - {{id: 'r-{id}', customer: c, sources: {sources:?}, {reach}, ports: {ports:?}{more}}}\n"
        );
    }
    World { text, listed: rules.into_keys().chain(never).collect() }
}

/// The most specific of all that either policy lists and that holds `host`: the class that a difference is told by.
fn class(host: &str, listed: &[String]) -> Option<String> {
    let rank = |text: &&String| match host.parse::<IpAddr>() {
        Ok(address) => {
            let network: ipnet::IpNet = text.parse().ok()?;
            network.contains(&address).then(|| (0, usize::from(network.prefix_len())))
        }
        Err(_) => {
            let pattern: crate::name::HostPattern = text.parse().ok()?;
            let kind = if text.starts_with("**.") { 0 } else { 1 + usize::from(!text.starts_with("*.")) };
            pattern.matches(&name(host)).then(|| (kind, pattern.base().as_str().len()))
        }
    };
    listed.iter().filter(|text| rank(text).is_some()).max_by_key(rank).cloned()
}

/// The rule that lets a request through, if the day that it is asked on is within its last.
fn rule_of(policy: &Arc<Policy>, client: &str, to: &str) -> Option<String> {
    let identified = policy.identify(&ip(client).into()).ok()?;
    let admitted = identified.request(&target(to), at("2019-01-01T12:00:00Z")).ok()?;
    Some(admitted.rule().id.to_string())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn a_policy_does_not_differ_from_itself(world in world()) {
        let policy = policy(&world.text);
        prop_assert_eq!(Diff::between(&policy, &policy), Diff::default());
    }

    /// What can't fare otherwise is left out of the work, and nothing else.
    #[test]
    fn the_short_way_finds_what_the_long_one_does(old in world(), new in world(), dropped in 0_usize..8) {
        let mut lines: Vec<&str> = old.text.lines().collect();
        let at = 3 + dropped;
        if at < lines.len() {
            lines.remove(at);
        }
        let few = lines.join("\n") + "\n";
        let few = few.strip_suffix("rules:\n").unwrap_or(&few).to_owned();
        let other = old.text.replace("10.1.0.0/16", "10.3.0.0/16").replace("- {id: 'r-a", "- {egress: static-a, id: 'r-a");
        for new in [&new.text, &few, &other.replace(", egress: static-a}", "}")] {
            let (old, new) = (policy(&old.text), policy(new));
            prop_assert_eq!(Diff::between(&old, &new), Diff::the_slow_way(&old, &new));
            prop_assert_eq!(Diff::between(&new, &old), Diff::the_slow_way(&new, &old));
        }
    }

    /// Each request of the world comes out as the row of its class says; where there is no row, as before.
    #[test]
    fn a_difference_is_what_single_requests_see(old in world(), new in world()) {
        let listed: Vec<String> = [&old.listed[..], &new.listed].concat();
        let (old, new) = (policy(&old.text), policy(&new.text));
        let diff = Diff::between(&old, &new);
        let rows: BTreeMap<(String, String, u16), &ReachEdit> =
            diff.reach.iter().map(|edit| ((edit.source.to_string(), edit.destination.clone(), edit.port), edit)).collect();
        prop_assert_eq!(rows.len(), diff.reach.len(), "each is told once");
        let names = ["x", "a.x", "b.x", "c.x", "a.a.x", "b.a.x", "c.a.x", "a.b.x", "c.b.x", "a.b.a.x", "c.c.c.x"];
        let hosts = names.map(|name| format!("{name}.test")).into_iter().chain((0..10).map(|last| format!("198.51.100.{last}")));
        for host in hosts {
            for ((source, client), port) in [("east", "10.1.0.1"), ("west", "10.2.0.1")].into_iter().flat_map(|one| [(one, 443), (one, 8443), (one, 80)]) {
                let to = format!("{host}:{port}");
                let (before, after) = (rule_of(&old, client, &to), rule_of(&new, client, &to));
                let row = class(&host, &listed).and_then(|class| rows.get(&(source.to_owned(), class, port)));
                let told = row.map(|row| row.mark);
                let want = match (&before, &after) {
                    (None, Some(_)) => Some(Mark::Added),
                    (Some(_), None) => Some(Mark::Removed),
                    (Some(one), Some(two)) if one != two => Some(Mark::Changed),
                    (None, None) => None,
                    // The same rule may have other terms.
                    (Some(_), Some(_)) => told.filter(|mark| *mark == Mark::Changed),
                };
                prop_assert_eq!(told, want, "{} {}: {:?} > {:?}", client, to, before, after);
                if let Some(row) = row {
                    prop_assert_eq!(Some(row.rule.to_string()), after.or(before), "{} {}", client, to);
                }
            }
        }
    }
}
