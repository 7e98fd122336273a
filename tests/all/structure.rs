//! The layout's promises, held over the sources: who uses whom, what stays in one folder, what is made in one place.
//! Not here: files beside the sources (`repository`). These tests read tokens: no types, no macros expanded.
//! Source: the tables and invariants in `src/lib.rs`.

use std::collections::{BTreeMap, BTreeSet};

use crate::sources::{self, Kind, Source, UsedPath};

/// Reasons that no code of this version makes. The policy and the listeners that would make them come later.
const NOT_REACHABLE: &[&str] = &[
    "CertificateUntrusted",
    "HttpHostMismatch",
    "HttpMethodNotAllowed",
    "HttpPathNotAllowed",
    "SensitiveDataNotAllowed",
    "TestCardInProduction",
];

/// Handshakes with clients refuse what the policy refuses of hellos inside the tunnel.
const HANDSHAKE: &str = "src/runtime/client_auth/handshake.rs";

/// Reasons that are made in more than one file, and why that is no second place to look for the rule.
const IN_SEVERAL: &[(&str, &[&str], &str)] = &[
    (
        "ClientGone",
        &[
            "src/runtime/client_auth/handshake.rs",
            "src/runtime/head.rs",
            "src/runtime/hello.rs",
            "src/runtime/session.rs",
        ],
        "each wait for the client",
    ),
    ("AlpnNotAllowed", &["src/policy/hello.rs", HANDSHAKE], "inside the tunnel, to the proxy"),
    ("HeadTimeout", &[HANDSHAKE, "src/runtime/head.rs"], "the handshake before the head, the head"),
    ("HelloMalformed", &["src/policy/hello.rs", HANDSHAKE], "inside the tunnel, to the proxy"),
    ("IdentityRequired", &["src/policy/clients.rs", HANDSHAKE], "the source wants one, the listener does"),
    ("NotTls", &["src/policy/hello.rs", HANDSHAKE], "inside the tunnel, to the proxy"),
    (
        "Overloaded",
        &["src/runtime/client_auth/credentials.rs", HANDSHAKE, "src/runtime/worker.rs"],
        "checks of credentials, handshakes, connections",
    ),
    (
        "RateLimited",
        &["src/runtime/client_auth/credentials.rs", "src/runtime/quota.rs"],
        "guesses of a source, requests of a rule",
    ),
    ("TlsVersionTooLow", &["src/policy/hello.rs", HANDSHAKE], "inside the tunnel, to the proxy"),
    (
        "DecisionLogUnavailable",
        &["src/runtime/facts.rs", "src/runtime/session.rs", "src/runtime/shared.rs"],
        "ill before DNS, and ill at the commit: the answer and the record of it",
    ),
    (
        "DestinationDenied",
        &["src/policy/addresses.rs", "src/policy/blocks.rs", "src/policy/hello.rs", "src/policy/request.rs"],
        "`never` holds for target, addresses and SNI; an emergency block wherever it hits",
    ),
    (
        "DestinationNotListed",
        &["src/policy/captured.rs", "src/policy/request.rs"],
        "no rule, or one that would lead elsewhere",
    ),
    ("DnsFailure", &["src/policy/addresses.rs", "src/runtime/dns/mod.rs"], "no answer, an empty one"),
    (
        "HelloTimeout",
        &["src/runtime/hello.rs", "src/runtime/tunnel/first_flight.rs"],
        "one hello, the exchange of both",
    ),
    (
        "Internal",
        &["src/policy/decision.rs", "src/runtime/client_auth/credentials.rs", "src/runtime/session.rs"],
        "what cannot happen, each where it would",
    ),
    ("MalformedTarget", &["src/policy/captured.rs", "src/policy/head.rs"], "of a head, of a connection without one"),
    ("MalformedRequest", &["src/policy/head.rs", "src/runtime/head.rs"], "not HTTP, not a request for a tunnel"),
];

/// Crates that touch the world, and folders of `std` that do.
const CRATES: [&str; 14] = [
    "tokio",
    "tokio_rustls",
    "hyper",
    "hyper_util",
    "hickory_resolver",
    "socket2",
    "rustix",
    "libc",
    "if_addrs",
    "tracing",
    "tracing_subscriber",
    "prometheus",
    "rand",
    "getrandom",
];
const STD: [&str; 6] = ["fs", "path", "env", "thread", "process", "os"];

/// What touches the world under whichever path it is named: sockets, clocks, randomness.
const NAMES: [&str; 9] = [
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "UnixDatagram",
    "SystemTime",
    "now_v7",
    "rand",
];
const CALLS: [(&str, &str); 4] = [("Instant", "now"), ("Timestamp", "now"), ("Zoned", "now"), ("Uuid", "new_v4")];
const MACROS: [&str; 5] = ["print", "println", "eprint", "eprintln", "dbg"];

#[test]
fn modules_use_only_what_the_table_allows() {
    let sources = sources::rust("src/");
    let table = table(sources.iter().find(|source| source.path == "src/lib.rs").unwrap());
    let mut faults = Vec::new();
    for source in &sources {
        let module = source.module();
        let Some(own) = module.first().filter(|_| source.path != "src/main.rs") else { continue };
        let Some(allowed) = table.get(*own) else {
            faults.push(format!("{}: module `{own}` is not in the table of src/lib.rs", source.path));
            continue;
        };
        for path in source.paths() {
            let Some(used) = root_module(source, &path).filter(|used| table.contains_key(*used)) else { continue };
            if used != *own && !allowed.contains(used) {
                faults.push(format!("{}: `{own}` must not use `{used}`", source.at(path.tokens.start)));
            }
        }
    }
    assert_eq!(faults, Vec::<String>::new());
}

/// The rows of lib.rs: module → what it may use.
fn table(library: &Source) -> BTreeMap<String, BTreeSet<String>> {
    let quoted = |cell: &str| -> BTreeSet<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let rows: Vec<(String, &str)> = library
        .text
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.strip_prefix("//! | [`")?.split('|').collect();
            Some((cells[0].split('`').next()?.to_owned(), *cells.get(2)?))
        })
        .collect();
    assert!(rows.len() >= 10, "src/lib.rs has lost its table");
    let all: BTreeSet<String> = rows.iter().map(|(module, _)| module.clone()).collect();
    let may_use = |cell: &str| match cell.trim() {
        "–" => BTreeSet::new(),
        "all" => all.clone(),
        rest if rest.starts_with("all but ") => all.difference(&quoted(rest)).cloned().collect(),
        rest => quoted(rest),
    };
    rows.iter().map(|(module, cell)| (module.clone(), may_use(cell))).collect()
}

/// The module of ours that a path begins in: of `crate::…`, and of a `super::…` that climbs to the root.
fn root_module<'a>(source: &Source, path: &'a UsedPath) -> Option<&'a str> {
    let first = &source.tokens[path.tokens.start];
    match path.segments[0].as_str() {
        "crate" => path.segments.get(1).map(String::as_str),
        "super" => {
            let supers = path.segments.iter().take_while(|segment| *segment == "super").count();
            let depth = source.module().len() + first.nested;
            (supers == depth).then(|| path.segments.get(supers)).flatten().map(String::as_str)
        }
        _ => None,
    }
}

#[test]
fn only_runtime_and_cli_touch_the_world() {
    let mut faults = Vec::new();
    for source in &sources::rust("src/") {
        if matches!(source.module().first(), None | Some(&"runtime" | &"cli")) {
            continue;
        }
        for path in source.paths().iter().filter(|path| !source.tokens[path.tokens.start].is_test) {
            if touches_the_world(source, path) {
                faults.push(format!("{}: `{}`", source.at(path.tokens.start), path.segments.join("::")));
            }
        }
    }
    assert_eq!(faults, Vec::<String>::new(), "only `runtime` and `cli` have sockets, files, clocks and the like");
}

/// It sees names, not types: a socket that came in as an argument of another name would pass; the table above keeps those out.
fn touches_the_world(source: &Source, path: &UsedPath) -> bool {
    let segments: Vec<&str> = path.segments.iter().map(String::as_str).collect();
    let start = path.tokens.start;
    let is_macro = MACROS.contains(&segments[0]) && source.is(path.tokens.end, "!");
    let reads_clock = segments == ["elapsed"] && start > 0 && source.is(start - 1, ".");
    let in_std = segments[0] == "std" && segments.get(1).is_some_and(|second| STD.contains(second));
    let in_crate = segments.len() > 1 && CRATES.contains(&segments[0]);
    let is_call = segments.windows(2).any(|two| CALLS.contains(&(two[0], two[1])));
    is_macro || reads_clock || in_std || in_crate || is_call || segments.iter().any(|segment| NAMES.contains(segment))
}

#[test]
fn unsafe_stands_in_one_file() {
    for source in sources::rust("") {
        let found = source.tokens.iter().position(|token| token.is("unsafe"));
        if let Some(index) = found.filter(|_| source.path != "src/runtime/sys.rs") {
            panic!("{}: `unsafe` belongs into src/runtime/sys.rs alone", source.at(index));
        }
    }
}

/// What it sees: every `Reason::Name` outside tests that is neither a pattern, nor compared, nor in a `const` list.
/// What it does not see: a reason that is handed on (`refused.reason()`), one that is parsed from a word, `Self::Name`.
#[test]
fn each_reason_is_made_in_one_file() {
    let sources = sources::rust("src/");
    let mut made: BTreeMap<String, BTreeSet<&str>> =
        all_reasons(&sources).into_iter().map(|r| (r, BTreeSet::new())).collect();
    for source in sources.iter().filter(|source| source.path != "src/policy/reason.rs") {
        for path in source.paths() {
            let [.., owner, name] = path.segments.as_slice() else { continue };
            let counts = owner == "Reason" && makes(source, &path);
            if let Some(files) = made.get_mut(name).filter(|_| counts) {
                files.insert(&source.path);
            }
        }
    }
    let mut faults = Vec::new();
    for (reason, files) in &made {
        let files: Vec<&str> = files.iter().copied().collect();
        let several = IN_SEVERAL.iter().find(|(name, _, _)| name == reason).map(|(_, files, _)| files.to_vec());
        let expected = match several {
            Some(several) => files == several,
            None => files.len() == usize::from(!NOT_REACHABLE.contains(&reason.as_str())),
        };
        if !expected {
            faults.push(format!("`{reason}` is made in {files:?}"));
        }
    }
    assert_eq!(faults, Vec::<String>::new(), "each reason is made in one file, or stands in a list of this test");
}

/// The rows of the table of reasons: a name, then its word.
fn all_reasons(sources: &[Source]) -> Vec<String> {
    let table = sources.iter().find(|source| source.path == "src/policy/reason.rs").unwrap();
    let words = ["Allow", "Deny", "Observe", "Error"];
    let rows = table.tokens.windows(3).filter(|three| {
        three[0].kind == Kind::Word && three[1].kind == Kind::Literal && words.contains(&three[2].text.as_str())
    });
    let names: Vec<String> = rows.map(|three| three[0].text.clone()).collect();
    assert!(names.len() > 50, "the table of reasons is not read: {names:?}");
    names
}

/// Whether the path is an expression that makes a value outside tests.
fn makes(source: &Source, path: &UsedPath) -> bool {
    let (start, end) = (path.tokens.start, path.tokens.end);
    let compared = ["==", "!="].iter().any(|mark| source.is(end, mark) || (start > 0 && source.is(start - 1, mark)));
    !(source.tokens[start].is_test || compared || is_pattern(source, start, end) || is_listed(source, start))
}

/// Whether it stands before `=>`, `|`, `if` or `=`, alone or in brackets, or within `matches!`.
fn is_pattern(source: &Source, start: usize, end: usize) -> bool {
    let before_arm = |index: usize| ["=>", "|", "if", "="].iter().any(|mark| source.is(index, mark));
    if before_arm(end) || (start > 0 && source.is(start - 1, "|")) {
        return true;
    }
    for open in enclosing(source, start) {
        let close = source.close_of(open);
        if source.is(open, "{") {
            return false;
        }
        if before_arm(close + 1) || (open > 1 && source.is(open - 1, "!") && source.is(open - 2, "matches")) {
            return true;
        }
    }
    false
}

/// Whether it stands in a `const` or `static` item.
fn is_listed(source: &Source, start: usize) -> bool {
    let outermost = enclosing(source, start).into_iter().take_while(|open| !source.is(*open, "{")).last();
    let from = outermost.unwrap_or(start);
    let item =
        source.tokens[..from].iter().rev().take_while(|token| ![";", "{", "}"].iter().any(|mark| token.is(mark)));
    let words: Vec<&str> = item.map(|token| token.text.as_str()).collect();
    words.contains(&"const") || words.contains(&"static")
}

/// The brackets that are open at `start`, the innermost first.
fn enclosing(source: &Source, start: usize) -> Vec<usize> {
    let mut open = Vec::new();
    for (index, token) in source.tokens.iter().enumerate().take(start) {
        if ["(", "[", "{"].iter().any(|mark| token.is(mark)) {
            open.push(index);
        } else if [")", "]", "}"].iter().any(|mark| token.is(mark)) {
            open.pop();
        }
    }
    open.reverse();
    open
}

#[test]
fn permits_come_from_the_log_and_go_to_the_tunnel() {
    let (mut made, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for source in &sources::rust("src/") {
        let module = source.module();
        if module.first() == Some(&"decision_log") {
            continue;
        }
        for path in source.paths() {
            if path.segments.ends_with(&["Permit".to_owned(), "new".to_owned()]) {
                made.insert(source.at(path.tokens.start));
            }
        }
        let functions =
            (0..source.tokens.len()).filter(|index| source.is(*index, "fn") && !source.tokens[*index].is_test);
        for function in functions.filter(|function| takes_a_permit(source, *function)) {
            taken.insert(format!("{}::{}", module.join("::"), source.tokens[function + 1].text));
        }
    }
    assert_eq!(made, BTreeSet::new(), "only the decision log makes permits");
    // The writer's thread hands permits on to those who wait for them; the tunnel spends them.
    let takers = ["runtime::journal::writer::settle", "runtime::tunnel::forward"].map(str::to_owned);
    assert_eq!(taken, BTreeSet::from(takers), "nothing else takes one");
}

/// Whether a parameter of the function at `function` names the type.
fn takes_a_permit(source: &Source, function: usize) -> bool {
    let Some(open) = (function..source.tokens.len()).find(|index| source.is(*index, "(")) else { return false };
    source.tokens[open..source.close_of(open)].iter().any(|token| token.is("Permit"))
}

#[test]
fn files_are_short_and_say_what_they_are() {
    const MAX_LINES: usize = 400;
    let mut bare = Vec::new();
    for folder in ["src/", "tests/", "fuzz/", "benches/"] {
        for source in sources::rust(folder) {
            let lines = source.text.lines().count();
            assert!(lines <= MAX_LINES, "{} has {lines} lines, more than {MAX_LINES}; split it", source.path);
            if !source.text.starts_with("//!") {
                bare.push(source.path);
            }
        }
    }
    assert_eq!(bare, Vec::<String>::new(), "each file begins with `//!`: what it is, what it is not");
}
