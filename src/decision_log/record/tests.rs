//! What a record looks like as a line, and how long it may be.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::decision_log::MAX_LINE;
use crate::redact::clean;

/// The contract's list, from `time` on.
const FIELDS: &str = "time kind id parent_id instance environment listener outcome reason rule customer source policy \
    client_ip client_port peer_ip client_identity method host port path_template original_ip addresses upstream_ip \
    egress_ip egress_pool sni tls_version tls_cipher alpn ech verify bytes_out bytes_in duration_us dns_us dial_us \
    hello_us actor detail redacted";

fn empty() -> Record {
    Record::new(Kind::Decision, Timestamp::UNIX_EPOCH, Uuid::from_u128(7), "edge-1".into())
}

/// Every field is there; every text is `text`, every list has `count` elements.
fn full(text: &str, count: usize) -> Record {
    let name = || Some(Arc::<str>::from(text));
    let peer = || Some(clean(text.as_bytes(), text.len()).text);
    let ip = Some(IpAddr::from([192, 0, 2, 1]));
    Record {
        time: Timestamp::UNIX_EPOCH,
        kind: Kind::Decision,
        id: Uuid::from_u128(7),
        parent_id: Some(Uuid::nil()),
        instance: text.into(),
        environment: name(),
        listener: name(),
        outcome: Some(Outcome::Allow),
        reason: Some("allowed"),
        rule: name(),
        customer: name(),
        source: name(),
        policy: name(),
        client_ip: ip,
        client_port: Some(u16::MAX),
        peer_ip: ip,
        client_identity: peer(),
        method: peer(),
        host: peer(),
        port: Some(443),
        path_template: name(),
        original_ip: ip,
        addresses: vec![IpAddr::from([u8::MAX; 16]); count],
        upstream_ip: ip,
        egress_ip: ip,
        egress_pool: name(),
        sni: peer(),
        tls_version: Some("1.3"),
        tls_cipher: name(),
        alpn: peer().into_iter().cycle().take(count).collect(),
        ech: Some(false),
        verify: Some("none"),
        bytes_out: Some(u64::MAX),
        bytes_in: Some(u64::MAX),
        duration_us: Some(u64::MAX),
        dns_us: Some(u64::MAX),
        dial_us: Some(u64::MAX),
        hello_us: Some(u64::MAX),
        actor: peer(),
        detail: Detail::new().with("text", peer().unwrap()),
        redacted: vec![Mark { field: "client_identity", detector: Detector::CardNumber }; count],
    }
}

fn line(record: &Record) -> String {
    let mut line = Vec::new();
    record.line().write_as(7, &mut line);
    String::from_utf8(line).unwrap()
}

/// The keys of a flat object in the order in which they stand.
fn keys(line: &str) -> Vec<String> {
    let mut at = serde_json::Deserializer::from_str(line);
    struct Keys;
    impl<'de> serde::de::Visitor<'de> for Keys {
        type Value = Vec<String>;
        fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            out.write_str("an object")
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Vec<String>, A::Error> {
            let mut keys = Vec::new();
            while let Some((key, _)) = map.next_entry::<String, serde::de::IgnoredAny>()? {
                keys.push(key);
            }
            Ok(keys)
        }
    }
    serde::Deserializer::deserialize_map(&mut at, Keys).unwrap()
}

#[test]
fn no_field_is_forgotten() {
    let record = full("x", 1);
    let shown = format!("{record:#?}");
    let fields = shown.lines().filter_map(|line| line.strip_prefix("    ").filter(|rest| !rest.starts_with(' ')));
    let fields: Vec<&str> = fields.filter_map(|line| line.split_once(": ").map(|(field, _)| field)).collect();
    let line = line(&record);
    let mut written: Vec<String> = keys(&line).into_iter().filter(|key| key != "v" && key != "seq").collect();
    let mut fields: Vec<String> = fields.into_iter().map(str::to_owned).collect();
    written.sort_unstable();
    fields.sort_unstable();
    assert_eq!(written, fields);
}

#[test]
fn writes_the_fields_in_the_order_of_the_contract() {
    let mut want = vec!["v", "seq"];
    want.extend(FIELDS.split(' ').filter(|word| !word.is_empty()));
    assert_eq!(keys(&line(&full("x", 1))), want);
}

#[test]
fn leaves_out_what_is_unknown() {
    assert_eq!(
        line(&empty()),
        concat!(
            r#"{"v":1,"seq":7,"time":"1970-01-01T00:00:00.000000Z","kind":"decision","#,
            r#""id":"00000000-0000-0000-0000-000000000007","instance":"edge-1"}"#,
            "\n"
        )
    );
}

#[test]
fn writes_time_with_six_decimals() {
    for (nanoseconds, want) in [
        (0, "1970-01-01T00:00:00.000000Z"),
        (1_795_300_000_123_456_789, "2026-11-21T22:26:40.123456Z"),
        (1_795_300_000_000_000_999, "2026-11-21T22:26:40.000000Z"),
        (-1_000, "1969-12-31T23:59:59.999999Z"),
    ] {
        let time = Timestamp::from_nanosecond(nanoseconds).unwrap();
        let record = Record { time, ..empty() };
        let object: Value = serde_json::from_str(&line(&record)).unwrap();
        assert_eq!(object["time"], want, "{nanoseconds}");
    }
}

#[test]
fn marks_what_was_redacted() {
    let mut record = empty();
    let host = clean(b"4111111111111111.example.com\n", 300);
    record.mark("host", host.found);
    record.host = Some(host.text);
    let object: Value = serde_json::from_str(&line(&record)).unwrap();
    assert_eq!(object["host"], "[PAN:visa:16].example.com\\u{a}");
    assert_eq!(object["redacted"], serde_json::json!(["host:pan", "host:control"]));
}

#[test]
fn a_permit_is_owed_for_what_lets_through_alone() {
    for (kind, outcome, want) in [
        (Kind::Decision, Some(Outcome::Allow), true),
        (Kind::Decision, Some(Outcome::Observe), true),
        (Kind::Decision, Some(Outcome::Deny), false),
        (Kind::Decision, Some(Outcome::Error), false),
        (Kind::Decision, None, false),
        (Kind::Close, Some(Outcome::Allow), false),
        (Kind::Admin, Some(Outcome::Allow), false),
    ] {
        let record = Record { kind, outcome, ..empty() };
        assert_eq!(record.line().is_owed(), want, "{kind:?} {outcome:?}");
    }
}

#[test]
fn says_what_it_cut() {
    let record = Record { host: Some(clean(&b"a".repeat(20_000), 20_000).text), ..empty() };
    let object: Value = serde_json::from_str(&line(&record)).unwrap();
    assert_eq!(object["host"].as_str().unwrap().len(), 384);
    assert_eq!(object["redacted"], serde_json::json!(["host:length"]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_line_is_longer_than_allowed_or_broken(
        unit in "[a\"\\\\\u{1}ü\u{202e}]{1,4}", times in prop_oneof![Just(0_usize), 1_usize..200, Just(2_000)], count in 0_usize..600,
    ) {
        let text = line(&full(&unit.repeat(times), count));
        prop_assert!(text.len() <= MAX_LINE, "{}", text.len());
        prop_assert!(serde_json::from_str::<Value>(&text).is_ok());
        prop_assert!(!text.trim_end_matches('\n').chars().any(char::is_control));
    }
}
