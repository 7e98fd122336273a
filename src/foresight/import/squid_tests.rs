//! Squid's access rules against its own order of decisions, written down a second time, slowly.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use proptest::prelude::*;

use super::*;
use crate::policy::{Answer, OwnAddresses, Policy, testing::policy};

fn imported(text: &str) -> Draft {
    let given = Given { customer: Some("c".to_owned()), ..Given::default() };
    let mut faults = Faults::new();
    squid(text, &given, &mut faults).unwrap_or_else(|| panic!("{faults:?}"))
}

const USUAL: &str = "# like the one that comes with it
acl localnet src 10.0.0.0/8 192.168.1.0/255.255.255.0   # the office
acl batch src 10.7.0.1-10.7.0.2
acl SSL_ports port 443
acl SSL_ports port 8443
acl Safe_ports port 80 443 8443
acl Safe_ports port 1025-65535
acl CONNECT method CONNECT
acl partners dstdomain .acme.test api.bank.test
acl nets dst 203.0.114.0/24
acl bad dstdomain evil.acme.test
acl night time 22:00-23:59
acl listed dstdomain \"/etc/squid/listed\"
http_access deny !Safe_ports
http_access deny CONNECT !SSL_ports
http_access allow localhost manager
http_access deny manager
http_access deny to_localhost
http_access deny bad
include /etc/squid/conf.d/*.conf
http_access allow localnet \\
  partners
http_access allow batch nets
http_access allow batch night partners
http_access allow batch listed
http_access allow localnet
http_access deny all
cache_dir ufs /var/spool/squid 100 16 256
";

#[test]
fn the_usual_one() {
    let want = r##"# From a configuration of Squid: 1 sources, 1 rules, 1 hosts and 4 networks never reached; 8 lines have no equal, 0 fields are to be filled in.
# Only CONNECT is asked for here. What Squid allows without naming the destination has no equal: report mode and `policy suggest` find
# the names. Nothing is looked up: a name that resolves to what Squid denies by address is refused by `never`.
# line 12, `acl night time 22:00-23:59`: not all of it is known here; what it allows is left out, and what it may deny is denied
# line 13, `acl listed dstdomain "/etc/squid/listed"`: not all of it is known here; what it allows is left out, and what it may deny is denied
# line 20, `include /etc/squid/conf.d/*.conf`: not followed; what it has may refuse more, so import the whole configuration
# line 28, `cache_dir`: no equal; left out (its arguments are not repeated)
# line 24, `http_access allow batch night partners`: a list of it has no equal; left out
# line 25, `http_access allow batch listed`: lines before it deny all of it, or may; left out
# line 23, `http_access allow batch nets`: a line before it denies by name without `-n`, so an address may have a name that is denied; left out
# line 26, `http_access allow localnet`: allows every destination, or all but some: no equal; left out
version: 1
"##;
    let written = imported(USUAL).to_string();
    assert!(written.starts_with(want), "{written}");
    let rules = written.split_once("version: 1\n").unwrap().1;
    let want = r##"sources:
  - name: "localnet"
    subnets: ["10.0.0.0/8", "192.168.1.0/24"]
    wide: true
never:
  hosts: ["evil.acme.test"]
  networks: ["0.0.0.0/32", "127.0.0.0/8", "::/128", "::1/128"]
rules:
  - id: "squid/line-21"
    customer: "c"
    sources: ["localnet"]
    hosts: ["acme.test", "api.bank.test", "**.acme.test"]
    ports: [443, 8443]
"##;
    assert_eq!(rules, want);
    assert_eq!(policy(&written).rules().count(), 1);
}

#[test]
fn rows() {
    let head = "acl a src 10.1.0.0/16\nacl b src 10.1.2.0/24\nacl x dstdomain .x.test\nacl y dstdomain y.test\nacl n dst 203.0.114.0/24\nacl p port 443\n";
    for (name, access, want) in [
        (
            "a wider and a narrower",
            "http_access allow p a x\nhttp_access allow p b y\nhttp_access deny all\n",
            "a-b: [10.1.0.0/16] y.test; x.test **.x.test | b",
        ),
        ("addresses of names", "http_access allow p a x n\n", "addresses"),
        (
            "only these are not denied",
            "http_access deny !x\nhttp_access allow p a\nhttp_access deny all\n",
            "**.x.test",
        ),
        ("all others denied before", "http_access deny a\nhttp_access allow p a x\n", "lines before it deny all of it"),
        ("no CONNECT", "http_access allow !CONNECT a x\n", "0 rules"),
        ("not defined", "http_access allow a nothing\n", "a list of it is not defined"),
        ("the opposite of the last", "http_access deny b\n", "Squid allows what no line matches"),
        ("many ports", "http_access allow a x\n", "allows 65535 ports; 443 alone is kept"),
        ("by miss_access too", "miss_access deny x\nhttp_access allow p a x\n", "lines before it deny all of it"),
        ("cut in two", "http_access deny b x\nhttp_access allow p a x\n", "10.1.3.0/24"),
    ] {
        let written = imported(&format!("{head}{access}")).to_string();
        let words: Vec<&str> = if name == "a wider and a narrower" {
            vec!["name: \"a\"", "name: \"a-2\"", "squid/line-8"]
        } else {
            vec![want]
        };
        assert!(words.iter().all(|word| written.contains(word)), "{name}:\n{written}");
        let _ = policy(&written);
    }
}

/// Which of these are let through, from 10.1.9.9 to port 443, when nothing else allows anything.
#[test]
fn hosts_that_are_let_through() {
    const HEAD: &str = "acl net src 10.1.0.0/16\nacl p port 443\nacl good dstdomain .x.test y.test\n";
    const ALL: &str = "x.test a.x.test b.x.test c.a.x.test y.test";
    const TAIL: &str = "http_access allow net p good\nhttp_access deny all\n";
    let mut wrong = Vec::new();
    for (name, before, want) in [
        ("nothing denied", "", ALL),
        (
            "several of a wildcard, for all",
            "acl bad dstdomain a.x.test b.x.test .c.a.x.test\nhttp_access deny bad\n",
            "x.test y.test",
        ),
        (
            "a comment and an empty line in a line",
            "acl bad dstdomain a.x.test \\\n# more\n\n  b.x.test\nhttp_access deny bad\n",
            "x.test c.a.x.test y.test",
        ),
        (
            "a comment that goes on",
            "acl more dstdomain z.test # not \\\n203.0.114.9 y.test\nhttp_access allow net p more\nhttp_access deny good\n",
            "z.test",
        ),
        ("a word in two lines", "acl bad dstdomain .x.t\\\n   est\nhttp_access deny bad\n", "y.test"),
        ("a blank behind a backslash", "acl bad dstdomain y.test \\ \nhttp_access deny bad\n", ""),
        ("a method in lower case", "acl tun method connect\nhttp_access deny tun\n", ""),
        ("a method in lower case allows", "acl tun method connect\nhttp_access deny !tun\n", ALL),
        ("other methods", "acl get method GET PROPFIND\nhttp_access deny get\n", ALL),
        ("methods in a file", "acl m method \"/etc/squid/methods\"\nhttp_access deny m\n", ""),
        ("methods in a file too", "acl m method GET \"/etc/squid/methods\"\nhttp_access deny m\n", ""),
        (
            "lists in any case",
            "acl Bad dstdomain a.x.test\nacl bad dstdomain b.x.test\nhttp_access deny BAD\n",
            "x.test c.a.x.test y.test",
        ),
        ("a list before it in another case", "acl CoNNect method GET\nhttp_access deny !connect\n", ALL),
        (
            "ended by name",
            "ssl_bump peek all\nssl_bump terminate bad\nacl bad dstdomain a.x.test y.test\n",
            "x.test b.x.test c.a.x.test",
        ),
        ("ended by what is not known", "acl sni ssl::server_name .x.test\nssl_bump terminate sni\n", ""),
        ("ended without a list", "ssl_bump terminate\n", ""),
        ("not ended", "ssl_bump splice good\n", ALL),
        (
            "addresses without lookup",
            "acl d dst -n 93.184.0.0/16\nacl z dstdomain z.test\nhttp_access allow net p z d\n",
            ALL,
        ),
        ("a file's name with blanks", "acl z dstdomain \"/etc/my z.test list\"\nhttp_access allow net p z\n", ALL),
    ] {
        let draft = imported(&format!("{HEAD}{before}{TAIL}")).to_string();
        let policy = Arc::new(policy(&draft));
        let asked = |host| Asked { client: CLIENTS[0], host, answer: ANSWERS[0], port: 443, unknown: 0 };
        let through: Vec<&str> = HOSTS.into_iter().filter(|host| lets_through(&policy, &asked(host))).collect();
        if through.join(" ") != want {
            wrong.push(format!("{name}: {through:?}\n{draft}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn lines_are_joined_as_squid_does() {
    let text = "a \\\n# no \\\n\n  b\\\n\tc # d \\\n e\nf \\ \n# g\r\n\th\ri\n\\\nj \\";
    let found: Vec<(u32, String)> = lines(text).into_iter().map(|line| (line.number, line.text)).collect();
    let want = [(1, "a bc"), (7, "f \\"), (9, "h"), (10, "j \\")].map(|(number, text)| (number, text.to_owned()));
    assert_eq!(found, want);
}

#[test]
fn what_may_be_secret_is_not_repeated() {
    for (line, want) in [
        ("cachemgr_passwd hunter2secret all", "`cachemgr_passwd`: no equal"),
        ("cache_peer p.example parent 3128 0 login=bob:hunter2secret", "`cache_peer`: no equal"),
        ("auth_param basic program /bin/ldap -D cn=x \\\n  -w hunter2secret", "`auth_param`: no equal"),
        ("url_rewrite_program /bin/rewrite --key hunter2secret", "`url_rewrite_program`: no equal"),
        ("adaptation_meta X-Key hunter2secret all", "`adaptation_meta`: no equal"),
        ("whatever_comes hunter2secret", "`whatever_comes`: no equal"),
        ("login=bob:hunter2secret", "`no directive`: no equal"),
        ("acl h req_header X-Key ^hunter2secret$", "`acl h req_header`: not all of it"),
        ("acl u proxy_auth hunter2secret", "`acl u proxy_auth`: not all of it"),
        ("acl t time MTW # hunter2secret", "`acl t time MTW`: not all of it"),
        ("ssl_bump peek all # hunter2secret", "`ssl_bump peek all`: no equal"),
        ("http_access allow all nobody # hunter2secret", "`http_access allow all nobody`: a list of it is not defined"),
    ] {
        let written = imported(&format!("{line}\n")).to_string();
        assert!(!written.contains("hunter2") && written.contains(want), "{line}:\n{written}");
        assert_eq!(written.contains("(its arguments are not repeated)"), !line.contains("# hunter2secret"), "{line}");
    }
}

#[test]
fn conditions_are_refused_with_their_place() {
    let mut faults = Faults::new();
    assert!(squid("acl a src 10.0.0.0/8\nif true\nendif\n", &Given::default(), &mut faults).is_none());
    assert_eq!(faults.iter().next().unwrap().place.unwrap().line, 2);
}

const LISTS: &[(&str, &str)] = &[
    ("all", ""),
    ("CONNECT", "method CONNECT"),
    ("wide", "src 10.1.0.0/16"),
    ("narrow", "src 10.1.2.0/24 10.2.0.7"),
    ("other", "src 10.2.0.0/255.255.0.0"),
    ("site", "dstdomain .x.test"),
    ("one", "dstdomain a.x.test"),
    ("exact", "dstdomain -n y.test b.x.test"),
    ("near", "dst 93.184.0.0/16"),
    ("inner", "dst 203.0.114.0/28 10.9.0.0/16"),
    ("https", "port 443"),
    ("two", "port 443 8440-8443"),
    ("auth", "proxy_auth REQUIRED"),
    ("partly", "dstdomain z.test \"/etc/squid/more\""),
    ("several", "dstdomain a.x.test b.x.test c.a.x.test"),
];

const CLIENTS: [&str; 5] = ["10.1.9.9", "10.1.2.3", "10.2.0.7", "10.2.0.8", "192.0.2.1"];
const HOSTS: [&str; 8] =
    ["x.test", "a.x.test", "b.x.test", "c.a.x.test", "y.test", "z.test", "203.0.114.9", "203.0.114.99"];
const ANSWERS: [&[&str]; 3] = [&["93.184.216.34"], &["203.0.114.9"], &["93.184.216.34", "198.41.0.4"]];
const PORTS: [u16; 3] = [443, 8443, 22];

struct Asked<'a> {
    client: &'a str,
    host: &'a str,
    answer: &'a [&'a str],
    port: u16,
    /// What nobody here knows: by bit, whether each such list matches.
    unknown: u32,
}

impl Asked<'_> {
    /// Whether a list matches; and what of it is not known, as many bits as there are lists.
    fn matches(&self, place: usize) -> bool {
        let guess = self.unknown & (1 << (place % 8)) != 0;
        let (kind, values) = LISTS[place].1.split_once(' ').unwrap_or(("all", ""));
        let values: Vec<&str> = values.split(' ').collect();
        let literal: Option<IpAddr> = self.host.parse().ok();
        let holds = |net: &&str, address: &str| {
            let net: IpNet = match *net {
                "10.2.0.0/255.255.0.0" => "10.2.0.0/16".parse().unwrap(),
                net if net.contains('/') => net.parse().unwrap(),
                net => IpNet::from(net.parse::<IpAddr>().unwrap()),
            };
            net.contains(&address.parse::<IpAddr>().unwrap())
        };
        match kind {
            "all" => true,
            "method" => true,
            "src" => values.iter().any(|net| holds(net, self.client)),
            "dst" => {
                let addresses = if literal.is_some() { vec![self.host] } else { self.answer.to_vec() };
                values.iter().any(|net| addresses.iter().any(|address| holds(net, address)))
            }
            "dstdomain" if literal.is_some() => !values.contains(&"-n") && guess,
            "dstdomain" => {
                let known = values.iter().any(|value| match value.strip_prefix('.') {
                    Some(base) => self.host == base || self.host.ends_with(value),
                    None => self.host == *value,
                });
                known || (values.iter().any(|value| value.starts_with('"')) && guess)
            }
            "port" => values.iter().any(|value| {
                let (first, last) = value.split_once('-').unwrap_or((value, value));
                (first.parse().unwrap()..=last.parse::<u16>().unwrap()).contains(&self.port)
            }),
            _ => guess,
        }
    }

    /// Squid's answer: the first line whose lists all match; else the opposite of the last.
    fn is_allowed(&self, access: &[(bool, Vec<(usize, bool)>)]) -> bool {
        let matching = |(_, lists): &&(bool, Vec<(usize, bool)>)| {
            lists.iter().all(|(place, is_not)| self.matches(*place) != *is_not)
        };
        match access.iter().find(matching) {
            Some((allows, _)) => *allows,
            None => access.last().is_some_and(|(allows, _)| !allows),
        }
    }
}

fn lets_through(policy: &Arc<Policy>, asked: &Asked<'_>) -> bool {
    let client = asked.client.parse::<IpAddr>().unwrap();
    let Ok(identified) = policy.identify(&client.into()) else { return false };
    let target = format!("{}:{}", asked.host, asked.port).parse().unwrap();
    let Ok(admitted) = identified.request(&target, "1970-01-05T00:00:00Z".parse().unwrap()) else { return false };
    let addresses: Vec<IpAddr> = asked.answer.iter().map(|text| text.parse().unwrap()).collect();
    admitted.addresses(&Answer { addresses: &addresses, cnames: &[] }, &OwnAddresses::default()).is_ok()
}

fn written(access: &[(bool, Vec<(usize, bool)>)]) -> String {
    let lists = LISTS.iter().filter(|(_, test)| !test.is_empty()).map(|(name, test)| format!("acl {name} {test}\n"));
    let lines = access.iter().map(|(allows, lists)| {
        let words =
            lists.iter().map(|(place, is_not)| format!("{}{}", if *is_not { "!" } else { "" }, LISTS[*place].0));
        format!("http_access {} {}\n", if *allows { "allow" } else { "deny" }, words.collect::<Vec<_>>().join(" "))
    });
    lists.chain(lines).collect()
}

fn access() -> impl Strategy<Value = Vec<(bool, Vec<(usize, bool)>)>> {
    let list = (0..LISTS.len(), prop::bool::weighted(0.25));
    // Lines that allow are made so that more of them can be said.
    let said = (2_usize..5, 5_usize..10, prop::collection::vec(list.clone(), 0..2))
        .prop_map(|(client, to, more)| (true, [vec![(client, false), (to, false), (10, false)], more].concat()));
    let any = (any::<bool>(), prop::collection::vec(list, 1..4));
    // Names denied for all are what `never` has.
    let named = prop::sample::select(vec![5_usize, 6, 7, 14]).prop_map(|names| (false, vec![(names, false)]));
    prop::collection::vec(prop_oneof![2 => said, 2 => any, 1 => named], 1..7)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever is true of what is not known here.
    #[test]
    fn never_more_than_squid_allows(access in access()) {
        let text = written(&access);
        let draft = imported(&text).to_string();
        let policy = Arc::new(policy(&draft));
        for (client, host) in CLIENTS.iter().flat_map(|client| HOSTS.iter().map(move |host| (client, host))) {
            for (answer, port) in ANSWERS.iter().flat_map(|answer| PORTS.iter().map(move |port| (answer, *port))) {
                let asked = |unknown| Asked { client, host, answer, port, unknown };
                if lets_through(&policy, &asked(0)) {
                    let refused = (0..256).find(|unknown| !asked(*unknown).is_allowed(&access));
                    prop_assert!(refused.is_none(), "{} → {}:{} {:?} ({:?})\n{}\n{}", client, host, port, answer, refused, text, draft);
                }
            }
        }
    }
}

/// The law above would hold of a policy that refuses everything.
#[test]
fn what_can_be_said_is_said() {
    let line = |allows, lists: &[(usize, bool)]| (allows, lists.to_vec());
    let access = vec![
        line(false, &[(1, false), (11, true)]),
        line(false, &[(3, false), (6, false)]),
        line(true, &[(2, false), (5, false)]),
        line(true, &[(4, false), (7, false), (10, false)]),
        line(true, &[(4, false), (9, false), (10, false)]),
        line(false, &[(0, false)]),
    ];
    let policy = Arc::new(policy(&imported(&written(&access)).to_string()));
    let mut missing = BTreeSet::new();
    for (client, host) in CLIENTS.iter().flat_map(|client| HOSTS.iter().map(move |host| (*client, *host))) {
        let asked = Asked { client, host, answer: ANSWERS[0], port: 443, unknown: 0 };
        if asked.is_allowed(&access) && !lets_through(&policy, &asked) {
            missing.insert(format!("{client} {host}"));
        }
    }
    // Of `**.x.test` without `a.x.test`, for these clients alone, there is no pattern; an address may have a name that is denied.
    let want = ["10.1.2.3 b.x.test", "10.1.2.3 c.a.x.test", "10.2.0.7 203.0.114.9"];
    assert_eq!(missing.iter().map(String::as_str).collect::<Vec<_>>(), want);
}
