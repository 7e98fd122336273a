//! Emergency blocks at every stage: what each hits, until when, and that nothing goes before them.
//! Not here: that one more never allows more (`laws`), how they are kept (`runtime::blocks`).

use uuid::Uuid;

use super::*;
use crate::redact::clean;

const UNTIL: &str = "2027-01-01T13:00:00Z";

const POLICY: &str = "
sources:
  - {name: a, subnets: [10.20.0.0/24]}
  - {name: r, subnets: [10.30.0.0/24], class: general, mode: report, report_until: 2027-01-20, egress: static-a}
never: {hosts: [never.example]}
rules:
  - {id: api, customer: acme, sources: [a], hosts: [api.acme.example], existing: keep}
  - {id: old, customer: acme, sources: [a], hosts: [old.acme.example], expires: 2020-01-01}
  - {id: net, customer: beta, sources: [a], networks: [8.8.8.0/24], tls: {sni: optional, sni_names: [gw.beta.example]}}
";

pub(super) fn block(kind: BlockKind, text: &str, until: &str) -> Arc<Block> {
    let what = Blocked::read(kind, text).unwrap();
    let reason = clean(b"a leak", 100).text;
    Arc::new(Block { id: Uuid::from_u128(7), what, reason, since: at("2027-01-01T11:00:00Z"), until: at(until) })
}

fn blocked(kind: BlockKind, text: &str) -> Arc<Policy> {
    with(&[block(kind, text, UNTIL)])
}

fn with(blocks: &[Arc<Block>]) -> Arc<Policy> {
    Arc::new(policy(POLICY).with_blocks(Arc::new(Blocks::new(blocks.iter().cloned()))))
}

/// All stages for a client, by way of one alias; a refusal by a block has ` by block` behind it.
fn asked(policy: &Arc<Policy>, client: &str, to: &str, sni: &str) -> String {
    let aliases = [name("edge.cdn.example")];
    let answer = Answer { addresses: &[ip("1.1.1.1"), ip("64:ff9b::808:404")], cnames: &aliases };
    let judged = policy.identify(&ip(client).into()).and_then(|identified| {
        let admitted = identified.request(&target(to), at(AT))?;
        let routed = admitted.addresses(&answer, &OwnAddresses::default())?;
        routed.hello(&client_hello(Some(sni))).map(|allowed| allowed.decided().outcome.to_string())
    });
    let by_block = |denial: Denial| match denial.block() {
        Some(block) => format!("{} by {}", denial.reason(), block.what),
        None => denial.reason().to_string(),
    };
    judged.unwrap_or_else(by_block)
}

#[test]
fn each_kind_hits_where_it_stands() {
    use BlockKind::{Customer, Host, Network, Source};
    let (api, gw) = (("api.acme.example:443", "api.acme.example"), ("8.8.8.8:443", "gw.beta.example"));
    for (row, kind, text, (to, sni), hits) in [
        ("the target", Host, "api.acme.example", api, true),
        ("a pattern of the target", Host, "**.example", api, true),
        ("another name", Host, "*.api.acme.example", api, false),
        ("an alias", Host, "*.cdn.example", api, true),
        ("the name in the hello", Host, "gw.beta.example", gw, true),
        ("an address of the answer", Network, "1.1.1.0/24", api, true),
        ("an address within one of the answer", Network, "8.8.4.4", api, true),
        ("the literal", Network, "8.8.8.8", gw, true),
        ("another address", Network, "8.8.8.9", gw, false),
        ("the source", Source, "a", api, true),
        ("another source", Source, "b", api, false),
        ("the customer", Customer, "acme", api, true),
        ("another customer", Customer, "acme", gw, false),
    ] {
        let want = if hits { format!("destination_denied by {} `", kind.as_str()) } else { "allow".to_owned() };
        let found = asked(&blocked(kind, text), CLIENT, to, sni);
        assert!(found.starts_with(&want), "{row}: {found}");
    }
    for (row, kind, text, to) in [
        ("before the rule's end", Customer, "acme", "old.acme.example:443"),
        ("before there is a rule", Host, "no.example", "no.example:443"),
        ("before `never`, which names no block", Host, "never.example", "never.example:443"),
        ("a source that asks for anything", Source, "a", "no.example:443"),
    ] {
        let found = asked(&blocked(kind, text), CLIENT, to, "x.example");
        assert!(found.starts_with("destination_denied by "), "{row}: {found}");
    }
}

#[test]
fn report_mode_lets_nothing_through_that_is_blocked() {
    use BlockKind::{Customer, Host, Source};
    let reporting = "10.30.0.7";
    for (row, kind, text, to, want) in [
        ("not blocked", Host, "x.example", "new.example", "observe"),
        ("the name", Host, "new.example", "new.example", "destination_denied by host `new.example`"),
        ("the source", Source, "r", "new.example", "destination_denied by source `r`"),
        (
            "a customer's name, by no rule of the source",
            Customer,
            "acme",
            "api.acme.example",
            "destination_denied by customer `acme`",
        ),
        ("another customer", Customer, "beta", "api.acme.example", "observe"),
    ] {
        assert_eq!(asked(&blocked(kind, text), reporting, &format!("{to}:443"), to), want, "{row}");
    }
}

#[test]
fn a_block_ends_to_the_moment() {
    let policy = blocked(BlockKind::Host, "api.acme.example");
    let judged =
        |when| word(&policy.identify(&ip(CLIENT).into()).unwrap().request(&target("api.acme.example:443"), at(when)));
    for (when, want) in [
        ("2027-01-01T10:00:00Z", "destination_denied"),
        ("2027-01-01T12:59:59.999Z", "destination_denied"),
        (UNTIL, "allowed"),
        ("2027-01-02T00:00:00Z", "allowed"),
    ] {
        assert_eq!(judged(when), want, "{when}");
    }
    let both = with(&[
        block(BlockKind::Network, "1.1.1.1", AT),
        block(BlockKind::Network, "1.1.1.1", UNTIL),
        block(BlockKind::Source, "a", AT),
    ]);
    let found = asked(&both, CLIENT, "api.acme.example:443", "api.acme.example");
    assert_eq!(found, "destination_denied by network `1.1.1.1/32`", "one that is over hides no other");
}

#[test]
fn captured_connections_meet_them_by_name_and_by_address() {
    use BlockKind::{Customer, Host, Network, Source};
    for (row, kind, text, original, sni, want) in [
        ("the name", Host, "api.acme.example", "9.9.9.9:443", "api.acme.example", "destination_denied"),
        ("the address that was called", Network, "9.9.9.9", "9.9.9.9:443", "api.acme.example", "destination_denied"),
        ("the source", Source, "a", "9.9.9.9:443", "api.acme.example", "destination_denied"),
        ("the customer of the name", Customer, "acme", "8.8.8.8:443", "api.acme.example", "destination_denied"),
        ("the customer of the address alone", Customer, "beta", "8.8.8.8:443", "api.acme.example", "allowed"),
        (
            "the customer of the address, no rule for the name",
            Customer,
            "beta",
            "8.8.8.8:443",
            "gw.beta.example",
            "destination_denied",
        ),
    ] {
        let identified = blocked(kind, text).identify(&ip(CLIENT).into()).unwrap();
        let hello = client_hello(Some(sni));
        let found = identified.captured(original.parse().unwrap(), &hello, &OwnAddresses::default(), at(AT));
        assert_eq!(word(&found), want, "{row}");
    }
    let rule = "{id: net, customer: beta, sources: [a], networks: [8.8.8.0/24], tls: {sni: optional, sni_names: [gw.beta.example]}}";
    let reporting = policy(&format!(
        "sources: [{{name: r, subnets: [10.30.0.0/24], class: general, mode: report, report_until: 2027-01-20, egress: static-a}}, \
         {{name: a, subnets: [10.20.0.0/24]}}]\nrules: [{}]\n",
        rule.replace("[a]", "[a, r]")
    ));
    let policy = Arc::new(reporting.with_blocks(Arc::new(Blocks::new([block(Customer, "beta", UNTIL)]))));
    let identified = policy.identify(&ip("10.30.0.7").into()).unwrap();
    let hello = client_hello(Some("new.example"));
    let found = identified.captured("8.8.8.8:443".parse().unwrap(), &hello, &OwnAddresses::default(), at(AT));
    assert_eq!(word(&found), "destination_denied", "report mode, for an address of a customer who is blocked");
}

#[test]
fn open_tunnels_are_cut_whatever_their_rule_says_and_also_without_one() {
    use BlockKind::{Customer, Host, Network, Source};
    let aliases = [name("edge.cdn.example")];
    let answer = Answer { addresses: &[ip("1.1.1.1")], cnames: &aliases };
    let admitted = admit(&policy(POLICY), "api.acme.example:443").unwrap();
    let routed = admitted.addresses(&answer, &OwnAddresses::default()).unwrap();
    let standing = Standing::new(routed.hello(&client_hello(Some("api.acme.example"))).unwrap(), ip("1.1.1.1"));
    let without = policy("sources: [{name: a, subnets: [10.20.0.0/24]}]\n");
    for (kind, text, hits) in [
        (Host, "api.acme.example", true),
        (Host, "*.cdn.example", true),
        (Network, "1.1.1.0/24", true),
        (Source, "a", true),
        (Customer, "acme", true),
        (Customer, "beta", false),
        (Host, "other.example", false),
    ] {
        let blocks = Arc::new(Blocks::new([block(kind, text, UNTIL)]));
        let own = OwnAddresses::default();
        let judged = |policy: &Arc<Policy>| {
            Arc::new(policy.with_blocks(Arc::clone(&blocks))).judge_again(&standing, &own, at(AT))
        };
        let kept = judged(&policy(POLICY));
        let gone = judged(&without);
        if hits {
            assert_eq!((kept, gone), (Verdict::Gone(Existing::Cut), Verdict::Gone(Existing::Cut)), "{kind:?} {text}");
        } else {
            assert!(matches!(kept, Verdict::Allowed(..)) && gone == Verdict::Gone(Existing::Keep), "{kind:?} {text}");
        }
    }
}

#[test]
fn a_block_is_told_with_its_end_and_its_reason() {
    let policy = blocked(BlockKind::Customer, "acme");
    let question = Question {
        client: &ip(CLIENT).into(),
        wanted: &Wanted::connect("api.acme.example:443"),
        offer: &Offer { version: ProtocolVersion::Tls13, name: OfferedName::Target, alpn: [].into() },
        at: at(AT),
        own: &OwnAddresses::default(),
    };
    let ruling = question.ask(&policy, &mut |_, _| Ok(None));
    let explained = Explanation::new(&question, &ruling, None, "");
    let json = serde_json::to_string(&explained).unwrap();
    let want = "\"block\":{\"id\":\"00000000-0000-0000-0000-000000000007\",\"until\":\"2027-01-01T13:00:00Z\",\"reason\":\"a leak\"}";
    assert!(json.contains(want) && json.contains("\"rule\":\"api\"") && !json.contains("nearest"), "{json}");
    let want = "block      customer `acme` is blocked until 2027-01-01T13:00:00Z: a leak (block 00000000-0000-0000-0000-000000000007)";
    assert!(explained.to_string().contains(want), "{explained}");
}
