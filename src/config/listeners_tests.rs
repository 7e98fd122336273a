//! Listeners: what goes together, and what is said of what does not.

use super::super::tests::{read, valid};
use super::*;

/// The only listener of a configuration, with `line` for its keys.
fn listener(line: &str) -> Listener {
    valid(&format!("policy: p\nlisteners: [{{name: a, {line}}}]\n")).listeners.remove(0)
}

#[test]
fn every_way_in() {
    let plain = listener("address: '0.0.0.0:3128'");
    assert_eq!((plain.mode, &plain.tls, plain.proxy_protocol.len()), (Mode::Connect, &None, 0));
    assert_eq!((plain.place.line, plain.place.column, plain.credentials), (2, 13, None));
    for (line, want) in [
        ("mode: transparent", Mode::Transparent(Capture::Redirect)),
        ("mode: transparent, capture: redirect", Mode::Transparent(Capture::Redirect)),
        ("mode: transparent, capture: tproxy", Mode::Transparent(Capture::Tproxy)),
        ("mode: connect, capture: none", Mode::Connect),
    ] {
        assert_eq!(listener(&format!("address: '0.0.0.0:3128', {line}")).mode, want, "{line}");
    }
    let balanced = listener("address: '0.0.0.0:3128', proxy_protocol: {from: [10.0.0.0/28, '2001:db8::/64']}");
    assert_eq!(
        balanced.proxy_protocol.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["10.0.0.0/28", "2001:db8::/64"]
    );
}

#[test]
fn certificates_of_listeners_and_clients() {
    let tls = |rest: &str| {
        listener(&format!("address: '0.0.0.0:1', tls: {{certificate: a.pem, key: a.key{rest}}}")).tls.unwrap()
    };
    let named = |files: [&crate::yaml::Located<String>; 2]| files.map(|file| file.value.clone());
    let least = tls("");
    assert_eq!(
        (named([&least.certificate, &least.key]), least.client_auth),
        (["a.pem", "a.key"].map(str::to_owned), None)
    );
    assert_eq!(tls(", client_auth: none, client_ca: none, crl: none, stale_crl: none").client_auth, None);
    for (rest, crl, stale) in [
        ("", None, StaleCrl::Refuse),
        (", crl: c.crl", Some("c.crl"), StaleCrl::Refuse),
        (", crl: c.crl, stale_crl: refuse", Some("c.crl"), StaleCrl::Refuse),
        (", crl: c.crl, stale_crl: warn", Some("c.crl"), StaleCrl::Warn),
    ] {
        let client = tls(&format!(", client_auth: required, client_ca: c.pem{rest}")).client_auth.unwrap();
        assert_eq!(
            (client.ca.value.as_str(), client.crl.as_ref().map(|crl| crl.value.as_str())),
            ("c.pem", crl),
            "{rest}"
        );
        assert_eq!(client.stale_crl, stale, "{rest}");
    }
    let with = listener("address: '0.0.0.0:1', tls: {certificate: a.pem, key: a.key}, credentials: users.yaml");
    assert_eq!(with.credentials.unwrap().value, "users.yaml");
}

#[test]
fn unix_sockets_are_for_the_owner_and_its_group() {
    for (rest, want) in [
        ("", 0o660),
        (", permissions: '0666'", 0o666),
        (", permissions: '600'", 0o600),
        (", permissions: '0777'", 0o777),
    ] {
        let ListenAddress::Unix(unix) = listener(&format!("address: unix:run/a.sock{rest}")).address else {
            panic!("{rest}")
        };
        assert_eq!((unix.path.value.as_str(), unix.permissions), ("run/a.sock", want), "{rest}");
    }
    assert_eq!(listener("address: unix:/a").tcp(), None);
}

#[test]
fn files_that_are_refused_are_not_looked_for() {
    let files = "tls: {certificate: c, key: k}, credentials: f";
    for line in [format!("{{name: a, address: 'unix:/a', {files}}}"), format!("{{{TCP}, mode: transparent, {files}}}")]
    {
        let (config, faults) = read(&format!("policy: p\nlisteners: [{line}]\n"));
        let listener = config.unwrap().listeners.remove(0);
        assert_eq!((listener.tls, listener.credentials, faults.len()), (None, None, 2), "{line}");
    }
}

/// The only fault of a list of listeners, its place marked by `§`.
fn assert_fault(listeners: &str, want: &str) {
    let marked = format!("listeners: [{listeners}]");
    let column = marked.chars().position(|one| one == '§').unwrap() + 1;
    let (_, faults) = read(&format!("policy: p\n{}\n", marked.replace('§', "")));
    assert_eq!(faults.len(), 1, "`{listeners}`: {faults:#?}");
    let want = format!("f:2:{column}: {want}");
    assert!(faults[0].starts_with(&want), "`{listeners}`:\n  {}\n  {want}", faults[0]);
}

const TCP: &str = "name: a, address: '127.0.0.1:1'";

#[test]
fn faults_of_listeners() {
    let unix = "name: a, address: 'unix:/a'";
    let (tls, from) = ("tls: {certificate: c, key: k}", "from: [10.0.0.0/28]");
    for (line, want) in [
        ("§{address: '127.0.0.1:1'}".to_owned(), "a listener lacks `name`; add it"),
        ("§{name: a}".into(), "a listener lacks `address`; add it"),
        ("{name: a, address: §3128}".into(), "`address` is a number, `3128`; write it in quotes"),
        ("{name: a, address: §'localhost:3128'}".into(), "`localhost:3128` is no address; write `IP:PORT`"),
        ("{name: a, address: §'unix:'}".into(), "`unix:` needs a path; write one such as"),
        (r#"{name: a, address: §"unix:/a\0b"}"#.into(), "`unix:` needs a path; write one such as"),
        (format!("{{{unix}, permissions: §0660}}"), "`permissions` is a number, `0660`; write it in quotes"),
        (format!("{{{unix}, permissions: §'1777'}}"), "`permissions` is `1777`; write octal digits up to `\"0777\"`"),
        (format!("{{{unix}, permissions: §'0680'}}"), "`permissions` is `0680`; write octal digits"),
        (format!("{{{unix}, permissions: §'0000'}}"), "`permissions` is `0000`, and nobody may connect; write some"),
        (format!("{{{unix}, permissions: §'0555'}}"), "`permissions` is `0555`, and nobody may connect; write some"),
        (format!("{{{unix}, permissions: §'rw'}}"), "`permissions` is `rw`; write octal digits"),
        (format!("{{{unix}, permissions: §'+66'}}"), "`permissions` is `+66`; write octal digits"),
        (format!("{{{TCP}, §permissions: '0660'}}"), "`permissions` goes with a Unix socket alone; remove it"),
        (format!("{{{unix}, mode: §transparent}}"), "`mode: transparent` does not go with a Unix socket; write"),
        (format!("{{{unix}, §{tls}}}"), "`tls` does not go with a Unix socket; remove it"),
        (format!("{{{unix}, §proxy_protocol: {{{from}}}}}"), "`proxy_protocol` does not go with a Unix"),
        (format!("{{{unix}, §credentials: f}}"), "`credentials` does not go with a Unix socket; remove it"),
        (format!("{{{TCP}, mode: §conect}}"), "`mode` is `conect`; write one of `connect`, `transparent`"),
        (format!("{{{TCP}, mode: transparent, §{tls}}}"), "`tls` does not go with `mode: transparent`; remove it"),
        (
            format!("{{{TCP}, mode: transparent, §proxy_protocol: {{{from}}}}}"),
            "`proxy_protocol` does not go with `mode: transparent`",
        ),
        (
            format!("{{{TCP}, mode: transparent, §credentials: f}}"),
            "`credentials` does not go with `mode: transparent`",
        ),
        (
            format!("{{{TCP}, mode: transparent, capture: §nat}}"),
            "`capture` is `nat`; write one of `redirect`, `tproxy`",
        ),
        (format!("{{{TCP}, §capture: tproxy}}"), "`capture` goes with `mode: transparent` alone; remove it"),
    ] {
        assert_fault(&line, want);
    }
    let (_, none) = read("policy: p\nlisteners: []\n");
    assert_eq!(none, ["f:2:12: `listeners` is empty; write at least one `{name: …, address: …}`"]);
}

#[test]
fn faults_of_what_a_listener_asks_for() {
    let auth = |rest: &str| format!("{{{TCP}, tls: {{certificate: c, key: k, {rest}}}}}");
    for (line, want) in [
        (format!("{{{TCP}, credentials: §f}}"), "`credentials` would cross the network in the clear; write `tls:"),
        (format!("{{{TCP}, tls: §{{certificate: c}}}}"), "`tls` lacks `key`; add it"),
        (auth("§client_ca: f"), "`client_ca` goes with `client_auth: required` alone; write that"),
        (auth("client_auth: none, §client_ca: f"), "`client_ca` goes with `client_auth: required` alone"),
        (auth("client_auth: §required"), "`client_auth: required` needs `client_ca`, the"),
        (auth("client_auth: §optional"), "`client_auth` is `optional`; write one of `none`, `required`"),
        (auth("§crl: f"), "`crl` goes with `client_ca` alone; write that beside it, or remove this"),
        (
            auth("client_auth: required, client_ca: f, §stale_crl: warn"),
            "`stale_crl` goes with `crl` alone; write that",
        ),
        (
            auth("client_auth: required, client_ca: f, crl: f, stale_crl: §keep"),
            "`stale_crl` is `keep`; write one of `refuse`, `warn`",
        ),
        (format!("{{{TCP}, proxy_protocol: §{{}}}}"), "`proxy_protocol` lacks `from`; add it"),
        (format!("{{{TCP}, proxy_protocol: {{from: §[]}}}}"), "`from` is empty; write at least one prefix"),
        (format!("{{{TCP}, proxy_protocol: {{from: [§10.0.0.1/28]}}}}"), "host bits in `10.0.0.1/28`; write"),
        (format!("{{{TCP}, proxy_protocol: {{from: [§'::ffff:10.0.0.0/124']}}}}"), "IPv4-mapped prefix"),
        (
            format!("{{{TCP}, proxy_protocol: {{from: [§10.0.0.0/8]}}}}"),
            "`10.0.0.0/8` is shorter than /16 (/32 for IPv6), and",
        ),
        ("{name: §none, address: '127.0.0.1:1'}".into(), "`name` is `none`, but a listener needs one; write it"),
        (format!("{{{TCP}}}, {{name: §a, address: '127.0.0.1:2'}}"), "a second listener `a`; write another name"),
        (
            "{name: a, address: '[::ffff:127.0.0.1]:1'}, {name: b, address: §'0.0.0.0:1'}".into(),
            "`0.0.0.0:1` is taken by `127.0.0.1:1`",
        ),
        ("§edge".into(), "a listener is `edge`; write a mapping, as `key: value`"),
    ] {
        assert_fault(&line, want);
    }
}

#[test]
fn the_canary_needs_a_listener_that_takes_plain_connect() {
    for (keys, good) in [
        ("address: '127.0.0.1:1'", true),
        ("address: '127.0.0.1:1', tls: {certificate: a, key: b}", false),
        ("address: '127.0.0.1:1', proxy_protocol: {from: [10.0.0.0/28]}", false),
        ("address: '127.0.0.1:1', mode: transparent", false),
        ("address: 'unix:a.sock'", false),
    ] {
        let text = format!("policy: p\nlisteners: [{{name: a, {keys}}}]\nredaction: {{canary: 1d}}\n");
        let (_, faults) = read(&text);
        let found = faults.iter().any(|fault| fault.contains("`canary` asks a listener"));
        assert_eq!((faults.is_empty(), found), (good, !good), "{keys}: {faults:?}");
    }
}
