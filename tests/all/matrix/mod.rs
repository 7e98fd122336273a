//! Clients of others in every case, through the real binary to a real HTTPS origin: each cell is judged by what the client got and by what
//! the decision log says of it. A client is a script in `tests/clients`; the test over a few of them is in `clients`, that over all in
//! `tests/accept`. Not here: what else each client does (`clients`), the page that is made of it.
//!
//! A script is called with a case as its last argument. Its exit code is its client's, or 77 (automake's code for a skipped test) when the
//! client cannot do that; then it prints why. What it is given is in its environment:
//!
//! | variable | is |
//! |---|---|
//! | `PROXY` `CA` | the proxy's URL, the file with the authority |
//! | `URL` `BASE` `NAME` `PORT` | what to ask for, and its parts |
//! | `IN` `OUT` | the file to upload, where what came goes (or its SHA-256 is printed: `sha256 …`) |
//! | `UPLOADED` | where the origin keeps what was uploaded; a client that wraps it unwraps it |
//! | `WORK` `WWW` | a folder of its own, the origin's |
//! | `SCRIPTS` `TARGET` | the folder of the scripts, that of the build: what the set-ups install is in it |

pub mod clients;
mod live;
mod run;

use std::fmt;
use std::fs;
use std::path::PathBuf;

use crate::harness::{Proxy, Setup};
use crate::nginx::Nginx;
use live::{EVENTS, Live};

/// What a client is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Case {
    Get,
    Http2,
    Down,
    Up,
    Six,
    Literal,
    KeepAlive,
    Events,
    WebSocket,
    /// Refused before the tunnel.
    Refused,
    /// Refused behind the `200`: a literal whose rule wants a name in the hello.
    Alert,
}

impl Case {
    pub const ALL: [Self; 11] = [
        Self::Get,
        Self::Http2,
        Self::Down,
        Self::Up,
        Self::Six,
        Self::Literal,
        Self::KeepAlive,
        Self::Events,
        Self::WebSocket,
        Self::Refused,
        Self::Alert,
    ];

    /// Its word in the scripts.
    fn word(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Http2 => "http2",
            Self::Down => "down",
            Self::Up => "up",
            Self::Six => "six",
            Self::Literal => "literal",
            Self::KeepAlive => "keep-alive",
            Self::Events => "events",
            Self::WebSocket => "websocket",
            Self::Refused | Self::Alert => "refused",
        }
    }

    /// What it is asked for: a host as a URL has it, and a path.
    fn target(self) -> (&'static str, &'static str) {
        match self {
            Self::Get | Self::Http2 | Self::KeepAlive => (NAME, "small"),
            Self::Down => (NAME, "large"),
            Self::Up => (NAME, "put/large"),
            Self::Six => (NAME_OF_SIX, "small"),
            Self::Literal => ("[::1]", "small"),
            Self::Events => (NAME, "live/events"),
            Self::WebSocket => (NAME, "live/echo"),
            Self::Refused => (UNLISTED, ""),
            Self::Alert => ("127.0.0.1", "small"),
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A client of others.
#[derive(Clone, Copy)]
pub struct Client {
    /// As a table has it.
    pub name: &'static str,
    /// Its script, and what that gets before the case.
    pub script: &'static [&'static str],
    /// Tunnels that it takes for two requests one after the other; none: it opens some ahead, as many as it likes.
    pub tunnels: Option<usize>,
    /// What of a refusal its user reads: the reason, the status alone, or an error of the client's own.
    pub shows: &'static str,
    /// Whether its hellos have an encrypted one within, be it an empty gesture: rules refuse that unless they say `ech: allow`.
    pub ech: bool,
}

/// What came of a client.
pub struct Row {
    pub client: Client,
    pub version: String,
    /// For each case that it cannot do, why.
    pub not: Vec<(Case, String)>,
    /// For each refusal, what its user reads and the exit code.
    pub refusals: Vec<(Case, String, i32)>,
}

const NAME: &str = "api.acme.test";
const NAME_OF_SIX: &str = "six.acme.test";
/// On no list.
pub const UNLISTED: &str = "unlisted.example";

/// The reason that its user should read.
pub const REASON: &str = "destination_not_listed";

/// What is moved up and down.
const LARGE: usize = 20 * 1024 * 1024;

/// The small file: its length is no other file's.
const SMALL: usize = 4_321;

/// One origin, and the proxy on one address of each family.
struct World {
    nginx: Nginx,
    live: Live,
    four: Proxy,
    six: Proxy,
}

impl World {
    /// With rules that say this of encrypted hellos.
    fn new(ech: &str) -> Self {
        let nginx = Nginx::start_with(&[NAME, NAME_OF_SIX, "::1"], |folder| {
            let live = format!("proxy_pass http://unix:{}/live.sock;", folder.display());
            let upgrade = "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $http_connection;";
            format!(
                "client_max_body_size 64m;
                location /simple/ {{ default_type text/html; }}
                location /put/ {{ {live} }}
                location /git/ {{ {live} proxy_http_version 1.1; }}
                location /live/ {{ {live} {upgrade} proxy_http_version 1.1; proxy_buffering off; }}"
            )
        });
        let www = nginx.dir.path().join("www");
        fs::write(www.join("small"), contents(SMALL)).unwrap();
        fs::write(www.join("large"), contents(LARGE)).unwrap();
        let live = Live::start(&nginx.dir.path().join("live.sock"));
        let (four, six) = (proxy(&nginx, ech, "127.0.0.1:0"), proxy(&nginx, ech, "[::1]:0"));
        Self { nginx, live, four, six }
    }

    fn proxy(&self, case: Case) -> &Proxy {
        if matches!(case, Case::Six | Case::Literal) { &self.six } else { &self.four }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.nginx.dir.path().join(name)
    }
}

/// Every byte is known by its place, and nothing packs it to less.
fn contents(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    };
    (0..length).map(next).collect()
}

fn proxy(nginx: &Nginx, ech: &str, listen: &str) -> Proxy {
    let policy = format!(
        "rules:
  - id: acme/names
    customer: acme
    sources: [tests, tests6]
    hosts: [{NAME}, {NAME_OF_SIX}]
    ports: [{port}]
    addresses: [127.0.0.1/32, \"::1/128\"]
    tls: {{ech: {ech}}}
  - id: acme/literals
    customer: acme
    sources: [tests, tests6]
    networks: [\"::1/128\"]
    ports: [{port}]
    tls: {{sni: optional, ech: {ech}}}
  - id: acme/named
    customer: acme
    sources: [tests, tests6]
    networks: [127.0.0.1/32]
    ports: [{port}]
    tls: {{sni: required, sni_names: [{NAME}], ech: {ech}}}
",
        port = nginx.port
    );
    let more = format!("dns: {{hosts: {{{NAME}: [127.0.0.1], {NAME_OF_SIX}: [\"::1\"]}}}}\n");
    Proxy::start(&Setup { policy: &policy, more: &more, listen, ..Setup::default() })
}

/// Runs these clients in these cases, one after the other. Panics with every fault, once all have run.
pub fn run(clients: &[Client], cases: &[Case]) -> Vec<Row> {
    let world = World::new("deny");
    let permissive = clients.iter().any(|client| client.ech).then(|| World::new("allow"));
    let (mut rows, mut faults) = (Vec::new(), Vec::new());
    for client in clients {
        let mut place = run::Place::new(&world, client);
        if let Some(permissive) = permissive.as_ref().filter(|_| client.ech) {
            faults.extend(place.judge_ech().err());
            place = run::Place::new(permissive, client);
        }
        let mut row = Row { client: *client, version: place.version(), not: Vec::new(), refusals: Vec::new() };
        for case in cases {
            match place.judge(*case) {
                Ok(run::Outcome::Works) => {}
                Ok(run::Outcome::Not(why)) => row.not.push((*case, why)),
                Ok(run::Outcome::Refused(text, code)) => row.refusals.push((*case, text, code)),
                Err(fault) => faults.push(format!("{} {case}: {fault}", client.name)),
            }
        }
        rows.push(row);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
    rows
}
