//! Which numbers are found, by tables and by laws; what looks like one and is none.

use proptest::prelude::*;

use super::*;

fn marks(text: &str, strength: Strength) -> Vec<String> {
    let mut hits = Vec::new();
    find(text.as_bytes(), 0..text.len(), strength, &mut hits);
    let told = |hit: &Hit<'_>| {
        let Kind::Card { brand, digits } = hit.kind else { panic!("{}", hit.kind) };
        format!("{brand}:{digits}:{}", text.get(hit.start..hit.end).unwrap())
    };
    hits.iter().map(told).collect()
}

fn both(text: &str) -> [Vec<String>; 2] {
    [Strength::Strict, Strength::Text].map(|strength| marks(text, strength))
}

#[test]
fn finds_card_numbers_however_they_are_written() {
    for (text, want) in [
        ("4111111111111111", "visa:16:4111111111111111"),
        ("4111111111111111.example.com", "visa:16:4111111111111111"),
        ("4111-1111-1111-1111.evil.example", "visa:16:4111-1111-1111-1111"),
        ("4111.1111.1111.1111.example.com", "visa:16:4111.1111.1111.1111"),
        ("x.4111.1111.1111.1111.2222.example.com", "visa:16:4111.1111.1111.1111"),
        ("4111 1111 1111 1111", "visa:16:4111 1111 1111 1111"),
        ("4111  1111  1111  1111", "visa:16:4111  1111  1111  1111"),
        ("4111_1111_1111_1111", "visa:16:4111_1111_1111_1111"),
        ("4111\t1111\t1111\t1111", "visa:16:4111\t1111\t1111\t1111"),
        ("0004111111111111111", "visa:16:4111111111111111"),
        ("000378282246310005", "amex:15:378282246310005"),
        ("0000000000004111111111111111", "visa:16:4111111111111111"),
        ("0004111111111111111 123", "visa:16:4111111111111111"),
        ("4111+1111+1111+1111", "visa:16:4111+1111+1111+1111"),
        ("3782-822463-10005", "amex:15:3782-822463-10005"),
        ("3056-930902-5904", "diners:14:3056-930902-5904"),
        ("PAN4111111111111111", "visa:16:4111111111111111"),
        ("pan=4111111111111111&x", "visa:16:4111111111111111"),
        ("4111111111111111-deadbeef.example", "visa:16:4111111111111111"),
        ("card-5555555555554444-", "mastercard:16:5555555555554444"),
        ("4111111111111111=25121010000", "visa:16:4111111111111111"),
        ("12-4111-1111-1111-1111-3", "visa:16:4111-1111-1111-1111"),
    ] {
        assert_eq!(both(text), [[want]; 2], "`{text}`");
    }
}

#[test]
fn nothing_that_touches_a_number_hides_it_in_a_name() {
    for (text, in_name, in_text) in [
        ("4111111111111111caf.example", "visa:16:4111111111111111", true),
        ("4111111111111111cafe.example", "visa:16:4111111111111111", false),
        ("4111111111111111cafeb.example", "visa:16:4111111111111111", false),
        ("4222222222222cafe.example", "visa:13:4222222222222", true), // 17
        ("4222222222222caf.example", "visa:13:4222222222222", false), // 16, alone
        ("x4222222222222caf.example", "visa:13:4222222222222", true),
        ("card4111111111111111.example", "visa:16:4111111111111111", true), // no hexadecimal digits
        ("4111-1111-1111-1111a.example", "visa:16:4111-1111-1111-1111", true),
        ("4111-1111-1111-1111-cafe-cafe.example", "visa:16:4111-1111-1111-1111", true),
        ("cafe-cafe-4111-1111-1111-1111.example", "visa:16:4111-1111-1111-1111", true),
        ("4111111111111111\u{200b}cafe.example", "visa:16:4111111111111111", true), // parted
        ("dead4111111111111111beefdeadbeef.example", "visa:16:4111111111111111", false),
        ("deadbeefdeadbeef4111111111111111", "visa:16:4111111111111111", false),
        ("deadbeefdeadbeef-4111111111111111", "visa:16:4111111111111111", true), // no run, no UUID
        ("4111-1111-1111-1111deadbeefdeadbeefdeadbeef", "visa:16:4111-1111-1111-1111", true), // parted
        ("4111111111111111abcdef0123456789", "visa:16:4111111111111111", false),
    ] {
        let (want, none) = (vec![in_name.to_owned()], Vec::new());
        assert_eq!(both(text), [want.clone(), if in_text { want } else { none }], "`{text}`");
    }
}

#[test]
fn only_a_whole_identifier_is_one() {
    for (text, hidden) in [
        ("ab12cd34-ef56-4a78-6759-649826438453", true),
        ("AB12CD34-EF56-4A78-6759-649826438453", true),
        ("id=ab12cd34-ef56-4a78-6759-649826438453;", true),
        ("req-ab12cd34-ef56-4a78-6759-649826438453-1", true),
        ("00-0af7651916cd43dd8448eb211c67aa59-6759649826438453-01", true),
        ("00-0af7651916cd43dd8448eb2111c6aa59-6759649826438453-0", false),
        ("0ab12cd34-ef56-4a78-6759-649826438453", false),
        ("ab12cd34-ef56-4a78-6759-649826438453a", false),
        ("ab12cd3-ef56-4a78-6759-649826438453", false),
        ("ab12cd34-ef56-4a7-6759-649826438453", false),
        ("ab12cd34-ef56-6759-649826438453", false),
        ("gb12cd34-ef56-4a78-6759-649826438453", false),
    ] {
        let [strict, lenient] = both(text);
        let bare: String = strict.concat().chars().filter(|c| *c != '-').collect();
        assert_eq!((bare.as_str(), lenient.is_empty()), ("maestro:16:6759649826438453", hidden), "`{text}`");
    }
}

#[test]
fn leaves_other_numbers_alone() {
    for text in [
        "",
        "4111111111111112",                // check digit
        "41111111111111110",               // longer
        "4111-1111 1111-1111",             // two kinds of separator
        "4-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1", // groups of one
        "41-11-11-11-11-11-11-11",         // groups of two
        "10.20.3.77",
        "192.168.100.200",
        "255.255.255.255",
        "2001:db8:4111:1111:1111:1111::1",
        "1763763412",
        "1763763412345",
        "1763763412345678",
        "1763763412345678901",
        "2026-11-21T22:30:45.123456Z",
        "20261121223045",
        "d41d8cd98f00b204e9800998ecf8427e",
        "a1b2c3d4e5f60718293a4b5c6d7e8f90.example",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "01987654-3210-7abc-8def-0123456789ab.example",
        "f47ac10b-58cc-4372-a567-0e02b2c3d479",
        "+1 800 555 1234",
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
        "ec2-52-14-201-100.us-east-2.compute.amazonaws.com",
        "ip-10-20-113-240.ec2.internal",
        "100.201.14.52.bc.googleusercontent.com",
        "vpce-0a1b2c3d4e5f67890-abcdefgh.s3.us-east-1.vpce.amazonaws.com",
        "7sa5k3e2x1.execute-api.eu-central-1.amazonaws.com",
        "prod-eastus2-20260712.blob.core.windows.net",
        "build-20260712-223045-1763763412.example",
    ] {
        assert_eq!(both(text), [const { Vec::<String>::new() }; 2], "`{text}`");
    }
}

#[test]
fn telephones_and_fractions_are_no_numbers_in_text() {
    for (text, hit) in [
        ("+4222222222222", false),
        ("tel: +4222222222222", false),
        ("tel=+4222222222222", true), // a blank, in a form
        ("my+4222222222222", true),
        ("+4111111111111111", true), // longer than any telephone number
        ("+378282246310005", true),
        ("0.4111111111111111", false),
        ("-12.4111111111111111,", false),
        ("v1.4111111111111111", true),
        ("1.2.4111111111111111", true),
        ("0.4111111111111111.example", true),
        ("1234.4111111111111111", true),
        ("0.4111 1111 1111 1111", true),
    ] {
        let [strict, lenient] = both(text);
        assert_eq!((strict.len(), lenient.len()), (1, usize::from(hit)), "`{text}`");
    }
}

#[test]
fn finds_every_one_of_several() {
    assert_eq!(
        both("4111111111111111,378282246310005 5555555555554444"),
        [["visa:16:4111111111111111", "amex:15:378282246310005", "mastercard:16:5555555555554444"]; 2]
    );
}

#[test]
fn stays_linear_on_long_runs() {
    for unit in ["4", "4-", "411-", "4111111111111112 ", "a4111111111111111", "4111111111111111-a", "％2"] {
        let [strict, lenient] = both(&unit.repeat(100_000 / unit.len()));
        assert!(strict.len().max(lenient.len()) < 100_000, "`{unit}`");
    }
}

proptest! {
    #[test]
    fn points_in_time_are_no_numbers(seconds in 1_000_000_000_u64..2_000_000_000, rest in 0_u64..1_000_000_000) {
        for text in [
            format!("{seconds}{:03}", rest / 1_000_000),
            format!("{seconds}{:06}", rest / 1000),
            format!("{seconds}{rest:09}"),
            format!("t{seconds}{:03}.example", rest / 1_000_000),
        ] {
            prop_assert!(marks(&text, Strength::Strict).is_empty(), "{}", text);
        }
    }

    #[test]
    fn addresses_are_no_numbers(v4 in any::<std::net::Ipv4Addr>(), v6 in any::<std::net::Ipv6Addr>()) {
        let dashed = v4.to_string().replace('.', "-");
        for text in [v4.to_string(), v6.to_string(), format!("ec2-{dashed}.us-east-2.compute.amazonaws.com")] {
            prop_assert!(marks(&text, Strength::Strict).is_empty(), "{}", text);
        }
    }

    #[test]
    fn identifiers_in_text_are_no_numbers(
        uuid in "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{11}[a-f]", hex in "[0-9a-f]{23,64}[a-f]",
        before in "|[g-z]{1,5}[-=:/ ]", after in "|[-=:/ ][g-z]{1,5}",
    ) {
        for text in [format!("{before}{uuid}{after}"), format!("{before}{hex}{after}")] {
            prop_assert!(marks(&text, Strength::Text).is_empty(), "{}", text);
        }
    }

    #[test]
    fn what_is_found_in_text_is_found_in_a_name(text in "[0-9a-f .%_-]{0,120}") {
        prop_assert!(marks(&text, Strength::Text).is_empty() || !marks(&text, Strength::Strict).is_empty(), "{}", text);
    }
}
