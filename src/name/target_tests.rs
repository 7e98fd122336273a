//! Tests of `Target`: the parsing rows of `policy::attacks`, by their numbers, and the laws.
//! Not here: what the policy says of a target that parses.
//! Source: attacks A11 to A16 and B1 to B4 of `docs/attacks.md`.

use proptest::prelude::*;

use super::*;

#[test]
fn canonical_targets() {
    for (row, text, want) in [
        ("1", "api.partner.com:443", "api.partner.com:443"),
        ("2 case", "API.Partner.COM:443", "api.partner.com:443"),
        ("3 final dot", "api.partner.com.:443", "api.partner.com:443"),
        ("21 literal", "203.0.113.10:8443", "203.0.113.10:8443"),
        ("23 mapped", "[::ffff:203.0.113.10]:8443", "203.0.113.10:8443"),
        ("23 mapped in hex", "[::FFFF:cb00:710a]:8443", "203.0.113.10:8443"),
        ("24 NAT64", "[64:ff9b::cb00:710a]:8443", "[64:ff9b::cb00:710a]:8443"),
        ("24 6to4", "[2002:CB00:710a:0::]:8443", "[2002:cb00:710a::]:8443"),
        ("25 loopback", "[::1]:443", "[::1]:443"),
        ("25 unspecified", "[0:0:0:0:0:0:0:0]:443", "[::]:443"),
        ("26 localhost", "localhost:443", "localhost:443"),
        ("lowest port", "a.example:1", "a.example:1"),
        ("highest port", "a.example:65535", "a.example:65535"),
        ("17 good punycode", "xn--bcher-kva.example:443", "xn--bcher-kva.example:443"),
    ] {
        assert_eq!(text.parse::<Target>().map(|target| target.to_string()), Ok(want.to_owned()), "{row}");
    }
}

fn kind(error: &TargetError) -> &'static str {
    match error {
        TargetError::NoPort { .. } => "no port",
        TargetError::Port { .. } => "port",
        TargetError::Brackets { .. } => "brackets",
        TargetError::Colon { .. } => "colon",
        TargetError::Name(NameError::EmptyLabel { .. }) => "empty label",
        TargetError::Name(NameError::Label { .. }) => "label",
        TargetError::Name(NameError::Number { .. }) => "number",
        TargetError::Name(NameError::NotAscii { .. }) => "not ascii",
        TargetError::Name(NameError::Punycode { .. }) => "punycode",
        TargetError::Name(NameError::TooLong { .. }) => "too long",
        TargetError::Name(NameError::Empty) => "empty",
        TargetError::Name(NameError::Wildcard { .. }) => "wildcard",
    }
}

fn refuses(rows: &[(&str, &str, &str)]) {
    for (row, text, want) in rows {
        let error = text.parse::<Target>().map(|target| target.to_string()).expect_err(row);
        assert_eq!(kind(&error), *want, "{row}: `{}`: {error}", text.escape_debug());
    }
}

#[test]
fn refuses_hosts_that_are_none() {
    let (label64, name254) = (format!("{}.example:443", "a".repeat(64)), format!("{}:443", "ab.".repeat(84) + "cd"));
    refuses(&[
        ("4", "api.partner.com..:443", "empty label"),
        ("5", ".api.partner.com:443", "empty label"),
        ("6", "[api.partner.com]:443", "brackets"),
        ("10 userinfo", "user@api.partner.com:443", "label"),
        ("10 userinfo with password", "user:x@api.partner.com:443", "colon"),
        ("11 fragment", "api.partner.com#evil:443", "label"),
        ("11 query", "api.partner.com?x:443", "label"),
        ("11 path", "api.partner.com/x:443", "label"),
        ("11 backslash", "api.partner.com\\x:443", "label"),
        ("11 percent", "api%2epartner.com:443", "label"),
        ("11 tab", "api.partner.com\t:443", "label"),
        ("11 NUL", "api.partner.com\0.evil.com:443", "label"),
        ("16", "*.pay.example:443", "label"),
        ("17", "xn--api-.partner.com:443", "label"),
        ("17 punycode of a capital", "xn--bcher-2pa.partner.com:443", "punycode"),
        ("18", "аpi.partner.com:443", "not ascii"),
        ("19", "api。partner.com:443", "not ascii"),
        ("20 label", &label64, "label"),
        ("20 name", &name254, "too long"),
        ("scheme", "https://api.partner.com:443", "colon"),
        ("space in front", " api.partner.com:443", "label"),
        ("no host", ":443", "empty"),
        ("dot alone", ".:443", "empty"),
    ]);
}

#[test]
fn refuses_other_spellings_of_addresses() {
    refuses(&[
        ("22 leading zero", "203.0.113.010:8443", "number"),
        ("22 hexadecimal", "0xcb.0x00.0x71.0x0a:8443", "number"),
        ("22 one number", "3405803786:8443", "number"),
        ("22 three numbers", "203.0.28938:8443", "number"),
        ("22 one hexadecimal number", "0x7f000001:443", "number"),
        ("22 short", "127.1:443", "number"),
        ("22 too large", "203.0.113.256:443", "number"),
        ("22 final dot", "203.0.113.10.:443", "number"),
        ("22 leading zero in a mapped address", "[::ffff:203.0.113.010]:443", "brackets"),
        ("25 zone", "[fe80::1%25eth0]:443", "brackets"),
        ("25 plain zone", "[fe80::1%eth0]:443", "brackets"),
        ("IPv4 in brackets", "[203.0.113.10]:443", "brackets"),
        ("no brackets", "::1:443", "colon"),
        ("no closing bracket", "[::1:443", "brackets"),
        ("empty brackets", "[]:443", "brackets"),
        ("space in brackets", "[ ::1]:443", "brackets"),
        ("future literal", "[v1.x]:443", "brackets"),
        ("two brackets", "[[::1]]:443", "brackets"),
    ]);
}

#[test]
fn refuses_ports_that_are_none() {
    refuses(&[
        ("7", "api.partner.com", "no port"),
        ("7 empty", "", "no port"),
        ("7 literal", "[::1]", "no port"),
        ("7 literal without colon", "[::1]443", "no port"),
        ("8 leading zero", "api.partner.com:0443", "port"),
        ("8 sign", "api.partner.com:+443", "port"),
        ("8 space", "api.partner.com:443 ", "port"),
        ("8 zero", "api.partner.com:0", "port"),
        ("8 too large", "api.partner.com:65979", "port"),
        ("8 wraps 16 bits", "api.partner.com:65536", "port"),
        ("8 wraps 64 bits", "api.partner.com:18446744073709552059", "port"),
        ("8 minus", "api.partner.com:-1", "port"),
        ("8 empty", "api.partner.com:", "port"),
        ("8 hexadecimal", "api.partner.com:0x1bb", "port"),
        ("8 Arabic digits", "api.partner.com:٤٤٣", "port"),
        ("8 literal", "[::1]:0443", "port"),
        ("8 second port of a literal", "[::1]:443:443", "port"),
        ("10 host behind the port", "api.partner.com:443@evil", "port"),
        ("11 path behind the port", "api.partner.com:443/x", "port"),
    ]);
}

#[test]
fn errors_say_what_to_write() {
    for (text, want) in [
        ("a.example", "no port in `a.example`; write `host:port`, such as `api.acme.example:443`"),
        ("a.example:0443", "bad port `0443`; write 1 to 65535 in decimal digits without sign or leading zero"),
        (
            "[fe80::1%1]:443",
            "no IPv6 address in `[fe80::1%1]`; write brackets only around an IPv6 address without zone",
        ),
        ("::1:443", "colon in host `::1`; write an IPv6 address in brackets, such as `[2001:db8::1]:443`"),
        ("a b:443", "bad label `a b`; use 1 to 63 of a-z, 0-9, `_` and inner `-`"),
    ] {
        assert_eq!(text.parse::<Target>().expect_err(text).to_string(), want);
    }
}

#[test]
fn parts_of_a_target() {
    let name: Target = "API.acme.example:443".parse().unwrap();
    assert_eq!((name.host().to_string().as_str(), name.port()), ("api.acme.example", 443));
    let literal: Target = "[2001:DB8::1]:8443".parse().unwrap();
    assert_eq!(literal.host(), &Host::Address("2001:db8::1".parse().unwrap()));
    assert_eq!(literal.host().to_string(), "2001:db8::1");
}

proptest! {
    #[test]
    fn parse_of_display_is_identity_for_names(host in r"[a-zA-Z0-9_]{1,9}(\.[a-zA-Z]{1,9}){0,3}\.?", port: u16) {
        if let Ok(once) = format!("{host}:{port}").parse::<Target>() {
            prop_assert_eq!(&once.to_string().parse::<Target>().unwrap(), &once);
        }
    }

    #[test]
    fn parse_of_display_is_identity_for_addresses(address: IpAddr, port in 1u16..) {
        let once: Target = SocketAddr::new(address, port).to_string().parse().unwrap();
        prop_assert_eq!(once.host(), &Host::Address(address.to_canonical()));
        prop_assert_eq!(&once.to_string().parse::<Target>().unwrap(), &once);
    }

    #[test]
    fn no_input_panics(text in r"(\PC|[\x00-\x7f]){0,80}") {
        let _ = text.parse::<Target>().map_err(|error| error.to_string());
    }

    #[test]
    fn nothing_near_the_grammar_panics(text in r"[\[\]:.@%/0-9a-fx+ *-]{0,40}") {
        if let Ok(once) = text.parse::<Target>() {
            prop_assert_eq!(&once.to_string().parse::<Target>().unwrap(), &once);
        }
    }
}
