//! Asks the running instance to put an export on record.
//! Not here: what is exported (`export`), the call at the other end (`runtime::admin`).
//! Source: PCI DSS 10.2.1.3 (access to the log is itself on record); RFC 9112.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::cli::admin_port::{body, call, is_token};
use crate::decision_log::origin;
use crate::evidence::ExportRecord;
use crate::runtime::canary::reachable;
use crate::runtime::load;

/// The whole call: connection, handshake, answer. The record is durable before the answer.
const RECORD_DEADLINE: Duration = Duration::from_secs(10);

/// Upper bound in bytes of the answer: an id, or a line of text.
const MAX_ANSWER: u64 = 16 * 1024;

/// What the record says of the export.
#[derive(Debug, Serialize)]
pub(super) struct Taken {
    /// Of the file with the records.
    pub(super) sha256: String,
    pub(super) format: &'static str,
    pub(super) query: String,
    pub(super) records: u64,
    pub(super) first_seq: Option<u64>,
    pub(super) last_seq: Option<u64>,
}

#[derive(Deserialize)]
struct Recorded {
    id: String,
}

/// Whether the instance that writes the log called `log` has put it on record, or why not.
pub(super) fn leave(
    config: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
    token: Option<String>,
    about: (&str, &Taken),
) -> ExportRecord {
    let left = token.context("there is no token; give `--token-file FILE`, or set SALLYPORT_TOKEN");
    match left.and_then(|token| ask(config, environment, &token, about)) {
        Ok(id) => ExportRecord::Yes { id },
        Err(error) => ExportRecord::No { why: format!("{error:#}") },
    }
}

fn ask(
    config: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
    token: &str,
    (log, taken): (&str, &Taken),
) -> anyhow::Result<String> {
    let config = load::load(config, environment).context("without its configuration the instance is not known")?.config;
    let own = origin(&config.instance);
    ensure!(own == log, "the log is `{log}`, and the configuration is of the instance that writes `{own}`");
    ensure!(is_token(token), "the token has other characters than tokens have; write it alone, on one line");
    let address = reachable(config.admin.address);
    let body = serde_json::to_string(taken)?;
    let request = format!(
        "POST /v1/export HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let call =
        async { timeout(RECORD_DEADLINE, call(address, config.admin.tls.as_ref(), (&request, MAX_ANSWER))).await };
    let answer = runtime.block_on(call).context("the instance took too long").flatten();
    id(&answer.with_context(|| format!("the admin port at {address}"))?)
}

/// The record's id, out of the whole answer.
fn id(answer: &str) -> anyhow::Result<String> {
    Ok(serde_json::from_str::<Recorded>(body(answer)?).context("the answer is not the instance's")?.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_by_table() {
        for (answer, want) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"id\":\"7\"}\n", Ok("7")),
            ("HTTP/1.1 200 OK\r\n\r\n<html>", Err("the answer is not the instance's")),
            ("HTTP/1.1 401 Unauthorized\r\n\r\nno\u{7}\nmore", Err("it answers 401: no\\u{7}")),
            ("HTTP/1.1 503 x\r\n\r\n", Err("it answers 503: ")),
            ("", Err("the answer is not HTTP")),
            ("SSH-2.0-x", Err("the answer is not HTTP")),
        ] {
            let got = id(answer).map_err(|error| error.to_string());
            match want {
                Ok(want) => assert_eq!(got.as_deref(), Ok(want), "{answer}"),
                Err(want) => assert!(got.as_ref().is_err_and(|got| got.starts_with(want)), "{answer}: {got:?}"),
            }
        }
    }
}
