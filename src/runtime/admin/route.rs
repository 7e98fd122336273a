//! Which call a request to the admin port is, and which role it needs. No input or output.
//! Not here: whose call it is (`access`), the answers.
//! Source: the contract: "Admin port"; C2SP tlog-tiles ("APIs"); RFC 9110 section 15.5.6 (405).

use http::{Method, Uri};

use crate::config::Role;
use crate::decision_log::TileId;

/// A request that there is something for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// One that needs no token.
    Open(Page),
    /// One that needs a token of a role.
    Guarded(Guarded),
}

/// A page for everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// The process answers.
    Live,
    /// It should get requests.
    Ready,
    /// The metrics.
    Metrics,
}

/// What a token opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarded {
    /// The log's signed head.
    Checkpoint,
    /// A tile of hashes.
    Tile(TileId),
    /// The lines below a tile of level 0.
    Entries(TileId),
    /// Records by a query.
    Decisions,
    /// The record of an export.
    Export,
    /// A call of the contract that this version does not have yet.
    Later(Role),
    /// Nothing that anybody knows, below a path that needs a token.
    Unknown,
    /// A call by another method than these.
    Method(&'static str),
}

/// Why there is no call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoCall {
    /// Nothing is there.
    Unknown,
    /// It is there for these methods.
    Method(&'static str),
}

const GET: &str = "GET, HEAD";
const POST: &str = "POST";

/// Calls that are named for users already and not built yet, with their methods and roles.
const LATER: [(&str, &str, Role); 7] = [
    ("/v1/status", GET, Role::Auditor),
    ("/v1/policy", GET, Role::Auditor),
    ("/v1/egress-addresses", GET, Role::Auditor),
    ("/v1/explain", POST, Role::Auditor),
    ("/v1/policy/reload", POST, Role::Operator),
    ("/v1/drain", POST, Role::Operator),
    ("/v1/block", POST, Role::Operator),
];

/// The call that a request is.
///
/// # Errors
/// See [`NoCall`]; only where no token is needed to be told.
pub fn route(method: &Method, uri: &Uri) -> Result<Call, NoCall> {
    let path = uri.path();
    let is_below =
        |folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if is_below("/v1") || is_below("/log") {
        return Ok(Call::Guarded(guarded(method, path)));
    }
    if !allows(GET, method) {
        return Err(NoCall::Method(GET));
    }
    match path {
        "/livez" => Ok(Call::Open(Page::Live)),
        "/readyz" => Ok(Call::Open(Page::Ready)),
        "/metrics" => Ok(Call::Open(Page::Metrics)),
        _ => Err(NoCall::Unknown),
    }
}

fn guarded(method: &Method, path: &str) -> Guarded {
    let (call, methods) = match path {
        "/log/checkpoint" => (Guarded::Checkpoint, GET),
        "/v1/decisions" => (Guarded::Decisions, GET),
        "/v1/export" => (Guarded::Export, POST),
        _ => match (LATER.iter().find(|(later, ..)| *later == path), tile(path)) {
            (Some((_, methods, role)), _) => (Guarded::Later(*role), *methods),
            (None, Some(call)) => (call, GET),
            (None, None) => return Guarded::Unknown,
        },
    };
    // A role that is too small hears of that and not of the method.
    if allows(methods, method) || call.role() > Role::Auditor { call } else { Guarded::Method(methods) }
}

fn tile(path: &str) -> Option<Guarded> {
    let path = path.strip_prefix("/log/")?;
    match path.strip_prefix("tile/entries/") {
        Some(rest) => format!("tile/0/{rest}").parse().ok().map(Guarded::Entries),
        None => path.parse().ok().map(Guarded::Tile),
    }
}

fn allows(methods: &str, method: &Method) -> bool {
    methods.split(", ").any(|allowed| method == allowed)
}

impl Guarded {
    /// What it takes to be answered.
    pub fn role(self) -> Role {
        match self {
            Self::Checkpoint | Self::Tile(_) | Self::Entries(_) | Self::Decisions | Self::Export => Role::Auditor,
            Self::Later(role) => role,
            Self::Unknown | Self::Method(_) => Role::Auditor,
        }
    }

    /// Its word in records: what a peer wrote is none.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Checkpoint => "GET /log/checkpoint",
            Self::Tile(_) => "GET /log/tile",
            Self::Entries(_) => "GET /log/tile/entries",
            Self::Decisions => "GET /v1/decisions",
            Self::Export => "POST /v1/export",
            Self::Later(Role::Auditor) => "read",
            Self::Later(Role::Operator) => "change",
            Self::Unknown | Self::Method(_) => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_by_table() {
        let tile = |path: &str| path.parse::<TileId>().unwrap();
        let method = |methods| Ok(Call::Guarded(Guarded::Method(methods)));
        let guarded = |call| Ok(Call::Guarded(call));
        let unknown = || guarded(Guarded::Unknown);
        for (request, want) in [
            ("GET /livez", Ok(Call::Open(Page::Live))),
            ("HEAD /readyz?verbose", Ok(Call::Open(Page::Ready))),
            ("GET /metrics", Ok(Call::Open(Page::Metrics))),
            ("POST /livez", Err(NoCall::Method(GET))),
            ("DELETE /", Err(NoCall::Method(GET))),
            ("GET /", Err(NoCall::Unknown)),
            ("GET /livez/", Err(NoCall::Unknown)),
            ("GET /v10", Err(NoCall::Unknown)),
            ("GET /logs/checkpoint", Err(NoCall::Unknown)),
            ("GET //v1/status", Err(NoCall::Unknown)),
            ("GET /v1", unknown()),
            ("GET /log/", unknown()),
            ("GET /log/checkpoint", guarded(Guarded::Checkpoint)),
            ("HEAD /log/checkpoint?x", guarded(Guarded::Checkpoint)),
            ("PUT /log/checkpoint", method(GET)),
            ("GET /log/checkpoint/", unknown()),
            ("GET /log/tile/0/000", guarded(Guarded::Tile(tile("tile/0/000")))),
            ("GET /log/tile/1/x001/067.p/5", guarded(Guarded::Tile(tile("tile/1/x001/067.p/5")))),
            ("GET /log/tile/entries/x001/067.p/5", guarded(Guarded::Entries(tile("tile/0/x001/067.p/5")))),
            ("POST /log/tile/0/000", method(GET)),
            ("GET /log/tile/0/0", unknown()),
            ("GET /log/tile/0/000.p/256", unknown()),
            ("GET /log/tile/0/000.p/0", unknown()),
            ("GET /log/tile/9/000", unknown()),
            ("GET /log/tile/entries/1/000", unknown()),
            ("GET /log/tile/0/../000", unknown()),
            ("GET /log/tile/0/%30%30%30", unknown()),
            ("GET /log/log.vkey", unknown()),
            ("GET /v1/decisions?since=x", guarded(Guarded::Decisions)),
            ("POST /v1/decisions", method(GET)),
            ("POST /v1/export", guarded(Guarded::Export)),
            ("GET /v1/export", method(POST)),
            ("GET /v1/status", guarded(Guarded::Later(Role::Auditor))),
            ("GET /v1/explain", method(POST)),
            ("POST /v1/policy/reload", guarded(Guarded::Later(Role::Operator))),
            ("GET /v1/block", guarded(Guarded::Later(Role::Operator))),
            ("GET /v1/secrets", unknown()),
        ] {
            let (method, path) = request.split_once(' ').unwrap();
            assert_eq!(route(&method.parse().unwrap(), &path.parse().unwrap()), want, "{request}");
        }
        let tunnel: Uri = "api.acme.test:443".parse().unwrap();
        assert_eq!(route(&Method::CONNECT, &tunnel), Err(NoCall::Method(GET)));
    }
}
