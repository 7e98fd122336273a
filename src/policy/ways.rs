//! What of the listeners a policy is checked against: a source that none of its clients could reach is a fault, not a source.
//! Not here: the listeners (`config`), the check (`file`).
//! Source: the contract's "Which source" and `listeners`.

use ipnet::IpNet;

/// How clients come in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ways {
    /// A listener whose clients can show nothing, since they don't know of the proxy, with its place.
    pub transparent: Option<String>,
    /// Whether a listener asks for client certificates.
    pub certificates: bool,
    /// Whether a listener takes credentials.
    pub credentials: bool,
    /// Whether a listener is a Unix socket.
    pub users: bool,
    /// From where PROXY headers come, and no clients; each with its listener and that one's place.
    pub proxies: Vec<(IpNet, String)>,
}
