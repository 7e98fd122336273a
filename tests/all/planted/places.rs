//! Every place of a request that somebody outside chooses the bytes of: heads, hellos, what stands for a hello, calls of the admin port.
//! `{s}`: the secret; `{p}`: the same with each byte as `%xx`; `{j}`: within a text of JSON; `{t}`: an auditor's token; `{o}`: the origin.
//! Not here: what servers and name servers send (`planted`). Certificates of clients: no door of this version asks for one.

/// A place: its name, whether what stands there becomes a part of a name that is written down, and the bytes.
pub type Place = (&'static str, bool, &'static str);

/// Heads of requests to the proxy.
pub const HEADS: [Place; 22] = [
    ("a name", true, "CONNECT {s}.evil.example:443 HTTP/1.1\r\n\r\n"),
    ("a name with a dot", true, "CONNECT {s}.evil.example.:443 HTTP/1.1\r\n\r\n"),
    ("a whole name", true, "CONNECT {s}:443 HTTP/1.1\r\nHost: {s}\r\n\r\n"),
    ("a label of a name that is allowed", true, "CONNECT {s}.acme.test:{o} HTTP/1.1\r\n\r\n"),
    ("a name in punycode", true, "CONNECT xn--{s}-gva.evil.example:443 HTTP/1.1\r\n\r\n"),
    ("a target without a port", false, "CONNECT {s} HTTP/1.1\r\n\r\n"),
    ("a port", false, "CONNECT api.acme.test:{s} HTTP/1.1\r\n\r\n"),
    ("a user", false, "CONNECT {s}:{s}@api.acme.test:443 HTTP/1.1\r\n\r\n"),
    ("a user with a slash", false, "CONNECT {s}/{s}@api.acme.test:443 HTTP/1.1\r\n\r\n"),
    ("a target with a path", false, "CONNECT api.acme.test:443/{s}?{s}#{s} HTTP/1.1\r\n\r\n"),
    ("a host in the clear", true, "GET http://{s}.evil.example/ HTTP/1.1\r\n\r\n"),
    ("a user in the clear", false, "GET http://me:{s}@api.acme.test/ HTTP/1.1\r\n\r\n"),
    ("a user with a slash in the clear", false, "GET http://me:{s}/{s}@api.acme.test/ HTTP/1.1\r\n\r\n"),
    ("a path", false, "GET http://api.acme.test/{s}/x HTTP/1.1\r\n\r\n"),
    ("a query", false, "GET https://api.acme.test/?q={s} HTTP/1.1\r\n\r\n"),
    ("a path of the proxy's own", false, "GET /{s}?{s} HTTP/1.1\r\nHost: {s}\r\n\r\n"),
    ("a method", false, "{s} http://api.acme.test/ HTTP/1.1\r\n\r\n"),
    ("a version", false, "CONNECT api.acme.test:443 HTTP/{s}\r\n\r\n"),
    ("a field's name", false, "CONNECT unlisted.example:443 HTTP/1.1\r\n{s}: x\r\n\r\n"),
    (
        "fields",
        false,
        "CONNECT unlisted.example:443 HTTP/1.1\r\nHost: {s}\r\nUser-Agent: {s}\r\nProxy-Authorization: {s}\r\nAuthorization: {s}\r\n\
         Cookie: {s}\r\nX-Request-Id: {s}\r\nTraceparent: {s}\r\nForwarded: for={s}\r\nReferer: {s}\r\nContent-Length: {s}\r\n\r\n{s}",
    ),
    ("no head", false, "{s}\r\n\r\n"),
    ("a head that is TLS", false, "\u{16}\u{3}\u{1}{s}\r\n\r\n"),
];

/// Calls of the admin port.
pub const CALLS: [Place; 15] = [
    ("a path", false, "GET /{s} HTTP/1.1\r\n\r\n"),
    ("an encoded path", false, "GET /{p} HTTP/1.1\r\n\r\n"),
    ("the query of a page", false, "GET /metrics?{s} HTTP/1.1\r\n\r\n"),
    ("a method", false, "{s} /livez HTTP/1.1\r\n\r\n"),
    ("a token", false, "GET /v1/status HTTP/1.1\r\nAuthorization: Bearer {s}\r\nCookie: {s}\r\n\r\n"),
    ("credentials", false, "GET /v1/status HTTP/1.1\r\nAuthorization: {s}\r\nX-Request-Id: {s}\r\n\r\n"),
    ("a call that there is not", false, "GET /v1/{p}?{p} HTTP/1.1\r\n{t}\r\n\r\n"),
    ("a tile", false, "GET /log/tile/{p} HTTP/1.1\r\n{t}\r\n\r\n"),
    ("filters", false, "GET /v1/decisions?host={p}&customer={p}&rule={p} HTTP/1.1\r\n{t}\r\n\r\n"),
    ("a time", false, "GET /v1/decisions?since={p} HTTP/1.1\r\n{t}\r\n\r\n"),
    ("a reason", false, "GET /v1/decisions?reason={p} HTTP/1.1\r\n{t}\r\n\r\n"),
    ("an id", false, "GET /v1/decisions?id={p} HTTP/1.1\r\n{t}\r\n\r\n"),
    ("a filter that there is not", false, "GET /v1/decisions?{p}={p} HTTP/1.1\r\n{t}\r\n\r\n"),
    (
        "an export",
        false,
        "POST /v1/export {\"sha256\":\"0000000000000000000000000000000000000000000000000000000000000000\",\"format\":\"{j}\",\"query\":\"host={j}\"}",
    ),
    ("a broken body", false, "POST /v1/export {\"{j}\":\"{j}\"}"),
];

/// Questions for the admin port.
pub const QUESTIONS: [Place; 6] = [
    ("a target", true, "{\"source\":\"127.0.0.1\",\"target\":\"{j}.acme.test:443\"}"),
    ("a target that is none", false, "{\"source\":\"127.0.0.1\",\"target\":\"{j}\"}"),
    (
        "a name",
        false,
        "{\"source\":\"127.0.0.1\",\"target\":\"api.acme.test:{o}\",\"sni\":\"{j}\",\"addresses\":[\"127.0.0.1\"]}",
    ),
    (
        "a protocol",
        false,
        "{\"source\":\"127.0.0.1\",\"target\":\"api.acme.test:{o}\",\"alpn\":[\"{j}\"],\"addresses\":[\"127.0.0.1\"]}",
    ),
    ("a method", false, "{\"source\":\"127.0.0.1\",\"target\":\"api.acme.test:443\",\"method\":\"{j}\"}"),
    ("a fault", false, "{\"source\":\"{j}\",\"target\":\"x\",\"tls\":\"{j}\",\"{j}\":1}"),
];
