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
    /// How the proxy stands.
    Status,
    /// What the policy in force allows.
    Policy,
    /// What customers must let in.
    EgressAddresses,
    /// The decision for one request.
    Explain,
    /// Reads the policy again.
    Reload,
    /// Refuses new requests, and ends.
    Drain,
    /// The emergency blocks.
    Blocks,
    /// One more of them.
    Block,
    /// Nothing that anybody knows, below a path that needs a token.
    Unknown,
    /// A call of this role by another method than these.
    Method(&'static str, Role),
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

const GET_AND_POST: &str = "GET, HEAD, POST";

/// Calls by path, with their methods.
const CALLS: [(&str, &str, Guarded); 11] = [
    ("/log/checkpoint", GET, Guarded::Checkpoint),
    ("/v1/decisions", GET, Guarded::Decisions),
    ("/v1/export", POST, Guarded::Export),
    ("/v1/status", GET, Guarded::Status),
    ("/v1/policy", GET, Guarded::Policy),
    ("/v1/explain", POST, Guarded::Explain),
    ("/v1/policy/reload", POST, Guarded::Reload),
    ("/v1/drain", POST, Guarded::Drain),
    ("/v1/egress-addresses", GET, Guarded::EgressAddresses),
    ("/v1/block", GET, Guarded::Blocks),
    ("/v1/block", POST, Guarded::Block),
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
    let listed = || CALLS.into_iter().filter(|(listed, ..)| *listed == path);
    let called = listed().find(|(_, methods, _)| allows(methods, method)).or_else(|| listed().next());
    match called.map(|(_, methods, call)| (call, methods)).or_else(|| Some((tile(path)?, GET))) {
        Some((call, methods)) if allows(methods, method) => call,
        Some((call, _)) if listed().count() > 1 => Guarded::Method(GET_AND_POST, call.role()),
        Some((call, methods)) => Guarded::Method(methods, call.role()),
        None => Guarded::Unknown,
    }
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
            Self::Status | Self::Policy | Self::EgressAddresses | Self::Explain | Self::Blocks | Self::Unknown => {
                Role::Auditor
            }
            Self::Reload | Self::Drain | Self::Block => Role::Operator,
            Self::Method(_, role) => role,
        }
    }

    /// Its word in records, method and path: what a peer wrote is none.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Checkpoint => "GET /log/checkpoint",
            Self::Tile(_) => "GET /log/tile",
            Self::Entries(_) => "GET /log/tile/entries",
            Self::Decisions => "GET /v1/decisions",
            Self::Export => "POST /v1/export",
            Self::Status => "GET /v1/status",
            Self::Policy => "GET /v1/policy",
            Self::EgressAddresses => "GET /v1/egress-addresses",
            Self::Explain => "POST /v1/explain",
            Self::Reload => "POST /v1/policy/reload",
            Self::Drain => "POST /v1/drain",
            Self::Blocks => "GET /v1/block",
            Self::Block => "POST /v1/block",
            Self::Unknown | Self::Method(..) => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_changes_something_is_an_operator() {
        for (path, methods, call) in CALLS {
            let reads = call == Guarded::Export || call == Guarded::Explain || methods == GET;
            assert_eq!(call.role(), if reads { Role::Auditor } else { Role::Operator }, "{path}");
            let method = methods.split(", ").next().unwrap();
            assert_eq!(call.as_str(), format!("{method} {path}"));
        }
    }

    #[test]
    fn calls_by_table() {
        let tile = |path: &str| path.parse::<TileId>().unwrap();
        let method = |methods| Ok(Call::Guarded(Guarded::Method(methods, Role::Auditor)));
        let for_operators = |methods| Ok(Call::Guarded(Guarded::Method(methods, Role::Operator)));
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
            ("GET /v1/status", guarded(Guarded::Status)),
            ("DELETE /v1/status", method(GET)),
            ("GET /v1/policy", guarded(Guarded::Policy)),
            ("POST /v1/explain", guarded(Guarded::Explain)),
            ("GET /v1/explain", method(POST)),
            ("POST /v1/policy/reload", guarded(Guarded::Reload)),
            ("GET /v1/policy/reload", for_operators(POST)),
            ("POST /v1/drain", guarded(Guarded::Drain)),
            ("HEAD /v1/drain", for_operators(POST)),
            ("GET /v1/egress-addresses", guarded(Guarded::EgressAddresses)),
            ("POST /v1/block", guarded(Guarded::Block)),
            ("HEAD /v1/block", guarded(Guarded::Blocks)),
            ("DELETE /v1/block", method(GET_AND_POST)),
            ("POST /v1/policy/", unknown()),
            ("GET /v1/secrets", unknown()),
        ] {
            let (method, path) = request.split_once(' ').unwrap();
            assert_eq!(route(&method.parse().unwrap(), &path.parse().unwrap()), want, "{request}");
        }
        let tunnel: Uri = "api.acme.test:443".parse().unwrap();
        assert_eq!(route(&Method::CONNECT, &tunnel), Err(NoCall::Method(GET)));
    }
}
