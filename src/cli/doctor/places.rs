//! The canary from outside: its requests, then every place where the numbers in them could have come to.
//! Not here: what the proxy cannot tell anybody, such as who else reads its stderr.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use jiff::Timestamp;
use tokio::time::timeout;

use super::{Check, Verdict};
use crate::cli::Failure;
use crate::cli::admin_port::{body, call, is_token};
use crate::config::{AdminTls, Config, Listener};
use crate::policy::Reason;
use crate::runtime::canary::{self, CanaryError, Place, Refused, Searched, holds_number, reachable, search, send};

/// How long one page of the admin port may take.
const PAGE_DEADLINE: Duration = Duration::from_secs(30);

/// Upper bound in bytes of a page that is searched; metrics of a thousand rules have a hundredth.
const MAX_PAGE: u64 = 64 * 1024 * 1024;

/// What was looked at.
pub(super) struct Seen {
    pub(super) checks: Vec<Check>,
    /// Why it ended early: the proxy can't be reached.
    pub(super) unreachable: Option<CanaryError>,
}

/// Sends the requests and searches.
///
/// # Errors
/// The configuration does not say where to.
pub(super) fn searched(config: &Config, token: Option<&str>) -> Result<Seen, Failure> {
    let outside = |error: anyhow::Error| Failure::Outside(error);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| outside(error.into()))?;
    let address = config.listeners.iter().find(|listener| listener.is_plain());
    let address = address.and_then(Listener::tcp).map(reachable).filter(|address| address.port() != 0);
    let address = address.context(
        "no listener takes CONNECT without TLS and PROXY header at a port of its own; write one in the configuration",
    );
    let address = address.map_err(Failure::Usage)?;
    Ok(runtime.block_on(examine(config, address, token)))
}

async fn examine(config: &Config, address: SocketAddr, token: Option<&str>) -> Seen {
    let since = canary::begin();
    let (mut checks, mut refused) = (Vec::new(), Vec::new());
    for place in Place::ALL {
        let check = match place {
            Place::Name => "a card number in a name",
            Place::Header => "a card number in header fields",
            Place::Path => "a card number in a path",
        };
        checks.push(match send(address, place).await {
            Ok(answer) => {
                refused.push(answer);
                judged(check, place, answer)
            }
            Err(error @ CanaryError::Unreachable(..)) => {
                checks.push(Check::failed(check, "was not sent"));
                return Seen { checks, unreachable: Some(error) };
            }
            Err(error) => Check::failed(check, error.to_string()),
        });
    }
    checks.push(records(Path::new(&config.decision_log.directory), since, &refused).await);
    checks.push(page(config, ("metrics", "/metrics"), None).await);
    checks.push(match token {
        None => Check::note("the admin port", "not searched; give `--token-file FILE` with an auditor's token"),
        Some(token) => calls(config, &refused, token).await,
    });
    Seen { checks, unreachable: None }
}

/// A refusal for another reason than the number in the name came before names are judged.
fn judged(check: &'static str, place: Place, Refused { reason, decision_id }: Refused) -> Check {
    let found = format!("refused with `{reason}`, decision {decision_id}");
    if place == Place::Name && reason != Reason::SensitiveDataInTarget {
        let about = "no name was judged, so this does not show that one with a number is refused";
        return Check::note(
            check,
            format!("{found}; {about}; a source in the policy with this host's own address would"),
        );
    }
    Check::ok(check, found)
}

async fn records(log: &Path, since: Timestamp, refused: &[Refused]) -> Check {
    let check = "the decision log";
    let all = refused.len();
    match search(log, since, refused).await {
        Ok(_) if all == 0 => Check::failed(check, "was not searched: no request was refused"),
        Ok(Searched { recorded: 0, .. }) => {
            let found = format!("{all} of {all} refusals are only counted in a summary, so none was searched");
            Check::note(check, format!("{found}; somebody is refused too often, try again when that has ended"))
        }
        Ok(Searched { recorded, counted: 0 }) => {
            Check::ok(check, format!("has the {recorded} refusals, and no number"))
        }
        Ok(Searched { recorded, counted }) => {
            let found = format!("has {recorded} of the {all} refusals, and no number in them");
            Check::ok(check, format!("{found}; {counted} of {all} are only counted in a summary"))
        }
        Err(error) => Check::failed(check, error.to_string()),
    }
}

/// The records of the refusals are looked at alone: in those of others anybody can write what looks like a number.
async fn calls(config: &Config, refused: &[Refused], token: &str) -> Check {
    let records = refused.iter().map(|refused| format!("/v1/decisions?id={}", refused.decision_id));
    for path in ["/v1/status".to_owned(), "/log/checkpoint".to_owned()].into_iter().chain(records) {
        let found = page(config, ("the admin port", &path), Some(token)).await;
        if found.result != Verdict::Ok {
            return found;
        }
    }
    Check::ok("the admin port", "its answers hold no number")
}

/// Whether a page of the admin port is there and holds no number.
async fn page(config: &Config, (check, path): (&'static str, &str), token: Option<&str>) -> Check {
    let address = reachable(config.admin.address);
    let asked = timeout(PAGE_DEADLINE, ask((address, config.admin.tls.as_ref()), path, token)).await;
    match asked.unwrap_or_else(|_| Err(anyhow!("no whole answer within {PAGE_DEADLINE:?}"))) {
        Ok(answer) if holds_number(answer.as_bytes()) => {
            Check::failed(check, format!("`{path}` holds a card number of the canary"))
        }
        Ok(_) => Check::ok(check, "no number"),
        Err(error) => Check::failed(check, format!("`{path}` of the admin port at {address} can't be read: {error:#}")),
    }
}

async fn ask(
    (address, tls): (SocketAddr, Option<&AdminTls>),
    path: &str,
    token: Option<&str>,
) -> anyhow::Result<String> {
    let field = match token {
        None => String::new(),
        Some(token) if is_token(token) => format!("Authorization: Bearer {token}\r\n"),
        Some(_) => bail!("the token has other characters than tokens have; write it alone, on one line"),
    };
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{field}Connection: close\r\n\r\n");
    let answer = call(address, tls, (&request, MAX_PAGE)).await?;
    body(&answer)?;
    // Its head is searched as well.
    Ok(answer)
}
