//! The clients, and what is particular to each. Not here: what they are asked to do (`matrix`), their scripts (`tests/clients`).

use super::{Client, REASON};

/// What a user reads who is not told the reason, in their client's words.
pub const STATUS: &str = "403";

const P11: &str = "clients/python3.11/bin/python";
const P13: &str = "clients/python3.13/bin/python";

/// All of them, in the order of the page.
pub const ALL: [Client; 21] = [
    client("curl", &["curl.sh"], STATUS),
    client("Wget", &["wget.sh"], REASON),
    client("OpenSSL s_client", &["openssl.sh"], REASON),
    client("socat", &["socat.sh"], REASON),
    client("requests, Python 3.11", &["python.sh", P11, "requests"], REASON),
    client("requests, Python 3.13", &["python.sh", P13, "requests"], REASON),
    client("httpx, Python 3.11", &["python.sh", P11, "httpx"], REASON),
    client("httpx, Python 3.13", &["python.sh", P13, "httpx"], REASON),
    client("aiohttp, Python 3.11", &["python.sh", P11, "aiohttp"], REASON),
    client("aiohttp, Python 3.13", &["python.sh", P13, "aiohttp"], REASON),
    client("Node's fetch", &["node.sh", "fetch"], STATUS),
    client("undici", &["node.sh", "undici"], STATUS),
    // Its own setting, by which it opens a tunnel for each request.
    Client { tunnels: Some(2), ..client("axios", &["node.sh", "axios"], STATUS) },
    client("https-proxy-agent, ws", &["node.sh", "https-proxy-agent"], REASON),
    client("Java HttpClient", &["java.sh", "HttpClient"], STATUS),
    client("Java HttpURLConnection", &["java.sh", "HttpURLConnection"], REASON),
    client("Git", &["git.sh"], STATUS),
    client("pip", &["pip.sh", P13], REASON),
    client("npm", &["npm.sh"], REASON),
    // `update` and `download` are one each.
    Client { tunnels: Some(2), ..client("apt", &["apt.sh"], REASON) },
    Client { ech: true, tunnels: None, ..client("Chromium", &["chromium.sh"], "ERR_TUNNEL_CONNECTION_FAILED") },
];

/// One of which nothing is particular.
pub const fn client(name: &'static str, script: &'static [&'static str], shows: &'static str) -> Client {
    Client { name, script, tunnels: Some(1), shows, ech: false }
}
