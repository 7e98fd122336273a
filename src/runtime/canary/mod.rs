//! The canary: requests with published test card numbers in name, header and path, all of which the proxy must refuse.
//! For `sallyport doctor` and for the proxy's own test of itself.
//! Not here: the search of the log (`search`); how detectors work (`redact`). Source: PCI DSS 3.5.1, 10.7.2, 11.3; RFC 9457.

mod search;
mod watch;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use uuid::Uuid;

use crate::decision_log::QueryError;
use crate::policy::Reason;
use crate::runtime::archive::{ArchiveError, SegmentError};
use search::RECORDS_DEADLINE;

pub use search::{Searched, begin, search};
pub use watch::Canary;

/// How long a connection to the proxy may take; it is on the same host.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// How long one request may take, once it is connected, its answer included.
const REQUEST_DEADLINE: Duration = Duration::from_secs(5);

/// Upper bound in bytes of an answer: a problem document has some 500.
const MAX_ANSWER: u64 = 16 * 1024;

/// Where a test card number stands in one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the target's name.
    Name,
    /// In values of header fields, credentials among them.
    Header,
    /// In path and query.
    Path,
}

impl Place {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Name, Self::Header, Self::Path];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Header => "header",
            Self::Path => "path",
        }
    }

    /// The request. Its host is `canary.invalid` or below it, a name that nobody can have (RFC 6761), but anybody can ask for.
    fn request(self) -> String {
        let [visa, mastercard, amex] = NUMBERS;
        match self {
            Self::Name => {
                format!("CONNECT {visa}.canary.invalid:443 HTTP/1.1\r\nHost: {visa}.canary.invalid:443\r\n\r\n")
            }
            Self::Header => format!(
                "GET http://canary.invalid/ HTTP/1.1\r\nHost: canary.invalid\r\nUser-Agent: canary {visa}\r\n\
                 Proxy-Authorization: Basic {}\r\nCookie: pan={}\r\nX-Request-Id: {}\r\n\r\n",
                in_base64(amex),
                grouped(mastercard, "-"),
                grouped(visa, " ")
            ),
            Self::Path => {
                let (plain, encoded) = (amex, in_percent(mastercard));
                format!("GET http://canary.invalid/pay/{plain}?pan={encoded} HTTP/1.1\r\nHost: canary.invalid\r\n\r\n")
            }
        }
    }
}

/// Test card numbers that the brands' processors publish: Visa, Mastercard, American Express. No cards have them.
const NUMBERS: [&str; 3] = ["4111111111111111", "5555555555554444", "378282246310005"];

/// Whether a text holds one of the numbers, in one of the forms that are sent.
pub fn holds_number(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    NUMBERS.iter().any(|number| {
        let forms = [grouped(number, " "), grouped(number, "-"), in_percent(number), in_base64(number)];
        text.contains(number) || forms.iter().any(|form| text.contains(form))
    })
}

fn grouped(number: &str, between: &str) -> String {
    let groups: Vec<&str> = (0..number.len())
        .step_by(4)
        .filter_map(|at| number.get(at..).map(|rest| rest.get(..4).unwrap_or(rest)))
        .collect();
    groups.join(between)
}

fn in_percent(number: &str) -> String {
    number.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

fn in_base64(number: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD_NO_PAD.encode(number)
}

/// Why the canary did not come through.
#[derive(Debug, thiserror::Error)]
pub enum CanaryError {
    /// Nobody answers there.
    #[error("the proxy at {0} can't be reached: {1}; is it running, and does it listen there?")]
    Unreachable(SocketAddr, io::Error),
    /// The connection broke.
    #[error("the request with a number in its {} was not answered: {}", .0.as_str(), .1)]
    Broken(Place, io::Error),
    /// The answer does not come.
    #[error("the request with a number in its {} was not answered within {REQUEST_DEADLINE:?}", .0.as_str())]
    Unanswered(Place),
    /// Something else than a refusal came.
    #[error("the request with a number in its {} was not refused; find out what answers at this address", .0.as_str())]
    NotRefused(Place),
    /// The answer repeats it.
    #[error("the answer to the request with a number in its {} repeats the number", .0.as_str())]
    Answered(Place),
    /// Records are missing.
    #[error("{0} of the refusals are not in the log within {RECORDS_DEADLINE:?}; is it ill?")]
    Unrecorded(usize),
    /// A record of one of its requests holds it.
    #[error("the log's record {0} holds a card number of the canary; `sallyport audit query --id {0}` shows it")]
    Logged(Uuid),
    /// The page of metrics holds it.
    #[error("the metrics hold a card number of the canary")]
    Counted,
    /// The page of metrics can't be made.
    #[error("the metrics can't be written as text")]
    NoMetrics,
    /// The log can't be listed.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A segment can't be read.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// It can't be searched: a fault of this file.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The search ended by a fault of the program.
    #[error("the search ended by a fault of the program")]
    Fault,
}

/// A refusal, as the client gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// The reason.
    pub reason: Reason,
    /// The id of its record, which nobody else was told.
    pub decision_id: Uuid,
}

/// The part of a problem document that is looked at.
#[derive(Deserialize)]
struct Problem<'a> {
    reason: &'a str,
    decision_id: Uuid,
}

/// An address that stands for all of the host's is reached on loopback.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Sends the request for `place` to the proxy at `address`. It must be refused, by whatever reason, and the answer must not repeat it.
///
/// # Errors
/// See [`CanaryError`].
pub async fn send(address: SocketAddr, place: Place) -> Result<Refused, CanaryError> {
    let connected = timeout(CONNECT_DEADLINE, TcpStream::connect(address)).await;
    let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let mut socket = connected.map_err(|error| CanaryError::Unreachable(address, error))?;
    let exchange = async {
        socket.write_all(place.request().as_bytes()).await?;
        let mut answer = Vec::new();
        socket.take(MAX_ANSWER).read_to_end(&mut answer).await?;
        io::Result::Ok(answer)
    };
    let answer = timeout(REQUEST_DEADLINE, exchange).await.map_err(|_| CanaryError::Unanswered(place))?;
    judged(&answer.map_err(|error| CanaryError::Broken(place, error))?, place)
}

fn judged(answer: &[u8], place: Place) -> Result<Refused, CanaryError> {
    if holds_number(answer) {
        return Err(CanaryError::Answered(place));
    }
    let refused = || {
        let (head, body) = str::from_utf8(answer).ok()?.split_once("\r\n\r\n")?;
        let problem = serde_json::from_str(body).ok().filter(|_| !head.starts_with("HTTP/1.1 2"));
        let Problem { reason, decision_id } = problem?;
        Some(Refused { reason: reason.parse().ok()?, decision_id })
    };
    refused().ok_or(CanaryError::NotRefused(place))
}

#[cfg(test)]
mod tests;
