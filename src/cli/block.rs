//! `sallyport block`: asks the running instance for an emergency block over its admin port, or for those in force.
//! Not here: what a block hits, how long it may last, and everything else that the instance judges (`runtime::admin`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::{ArgGroup, Args};
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;

use super::admin_port::{call, is_token, status};
use super::output::{aligned, complain_of, say};
use super::{Failure, Output, environment};
use crate::config::Config;
use crate::redact::clean;
use crate::runtime::canary::reachable;
use crate::runtime::load;

/// The whole call: connection, handshake, answer. The instance judges its open tunnels and writes to its disk meanwhile.
const BLOCK_DEADLINE: Duration = Duration::from_secs(30);

/// Upper bound in bytes of the answer: a thousand blocks.
const MAX_ANSWER: u64 = 2 * 1024 * 1024;

/// Upper bound in bytes of what is repeated of an answer that is none of ours.
const MAX_SAID: usize = 500;

/// The columns of the table for people.
const COLUMNS: [&str; 4] = ["UNTIL", "WHAT", "REASON", "ID"];

/// The words of what can be blocked.
const KINDS: [&str; 4] = ["host", "network", "source", "customer"];

#[derive(Args)]
#[command(group = ArgGroup::new("what").required(true).args(["host", "network", "source", "customer", "list"]))]
#[command(group = ArgGroup::new("end").args(["lasts", "until"]))]
pub(super) struct BlockArgs {
    /// A host name, or a pattern such as *.acme.example or **.acme.example
    #[arg(long, value_name = "NAME", requires_all = ["reason", "end"])]
    host: Option<String>,
    /// A prefix or an address that must not be connected to
    #[arg(long, value_name = "PREFIX", requires_all = ["reason", "end"])]
    network: Option<String>,
    /// A source, by its name in the policy
    #[arg(long, value_name = "NAME", requires_all = ["reason", "end"])]
    source: Option<String>,
    /// A customer, by its name in the policy
    #[arg(long, value_name = "NAME", requires_all = ["reason", "end"])]
    customer: Option<String>,
    /// How long, such as 2h; 30d at most
    #[arg(long = "for", value_name = "DURATION", id = "lasts")]
    lasts: Option<String>,
    /// Until when, as RFC 3339
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Why, in one line of at most 200 characters; it goes into the records
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Block a source or customer also if the policy has none of that name
    #[arg(long)]
    force: bool,
    /// List the blocks in force instead
    #[arg(long, conflicts_with_all = ["reason", "end", "force"])]
    list: bool,
    /// The token, in a file; by default what SALLYPORT_TOKEN says
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// The body of the call.
#[derive(Serialize)]
struct Wanted<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    customer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<&'a str>,
    force: bool,
}

pub(super) fn block(config: &Path, args: &BlockArgs, output: Output) -> Result<(), Failure> {
    // The configuration alone: in an emergency the policy may be what is broken.
    let config = load::settings(config, &environment)?;
    let token = token(args)?;
    let body = if args.list { None } else { Some(serde_json::to_string(&wanted(args)).unwrap_or_default()) };
    let answer = ask(&config, &token, body.as_deref()).map_err(Failure::Outside)?;
    let (status, body) = status(&answer).map_err(Failure::Outside)?;
    let value: Option<Value> = serde_json::from_str(body).ok();
    match (status, value) {
        (200 | 201, Some(value)) => say(&match output {
            Output::Json => value.to_string(),
            Output::Text if args.list => table(&value),
            Output::Text => blocked(&value),
        }),
        (400 | 401 | 403 | 409 | 422, value) => {
            complain_of(&anyhow::anyhow!("nothing is blocked: {}", refusal(value.as_ref(), body)));
            Err(Failure::No)
        }
        (status, value) => {
            Err(Failure::Outside(anyhow::anyhow!("it answers {status}: {}", refusal(value.as_ref(), body))))
        }
    }
}

fn wanted(args: &BlockArgs) -> Wanted<'_> {
    Wanted {
        host: args.host.as_deref(),
        network: args.network.as_deref(),
        source: args.source.as_deref(),
        customer: args.customer.as_deref(),
        reason: args.reason.as_deref(),
        duration: args.lasts.as_deref(),
        until: args.until.as_deref(),
        force: args.force,
    }
}

fn token(args: &BlockArgs) -> Result<String, Failure> {
    let token = match &args.token_file {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("`{}`", path.display()));
            Some(text.map_err(Failure::Outside)?.trim_end().to_owned())
        }
        None => environment("SALLYPORT_TOKEN"),
    };
    let wrong = |why: &'static str| Failure::Usage(anyhow::anyhow!(why));
    let token = token.ok_or_else(|| wrong("there is no token; give `--token-file FILE`, or set SALLYPORT_TOKEN"))?;
    if is_token(&token) {
        return Ok(token);
    }
    Err(wrong("the token has other characters than tokens have; write it alone, on one line"))
}

/// The whole answer to a call: with a body one more block, without the list.
fn ask(config: &Config, token: &str, body: Option<&str>) -> anyhow::Result<String> {
    let address = reachable(config.admin.address);
    let (method, body) = (if body.is_some() { "POST" } else { "GET" }, body.unwrap_or_default());
    let request = format!(
        "{method} /v1/block HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let call =
        async { timeout(BLOCK_DEADLINE, call(address, config.admin.tls.as_ref(), (&request, MAX_ANSWER))).await };
    let answer = runtime.block_on(call).context("the instance took too long; ask it with `--list`").flatten();
    answer.with_context(|| format!("the admin port at {address}"))
}

fn blocked(answer: &Value) -> String {
    let cut = answer["tunnels_cut"].as_u64().unwrap_or_default();
    let tunnels = if cut == 1 { "1 tunnel".to_owned() } else { format!("{cut} tunnels") };
    let unrecorded = match answer["recorded"].as_bool() {
        Some(false) => "; the decision log can't be written now, and has the record once it can",
        Some(true) | None => "",
    };
    let [until, what, _, id] = cells(answer);
    format!("{what} is blocked until {until}, {tunnels} cut (block {id}){unrecorded}")
}

fn table(answer: &Value) -> String {
    let blocks = answer["blocks"].as_array().map(Vec::as_slice).unwrap_or_default();
    if blocks.is_empty() {
        return "nothing is blocked".to_owned();
    }
    aligned(|| [COLUMNS.map(str::to_owned)].into_iter().chain(blocks.iter().map(cells)), usize::MAX)
}

/// The columns of a block; what came from the other end is made fit for a terminal.
fn cells(block: &Value) -> [String; 4] {
    let shown = |value: &Value| clean(value.as_str().unwrap_or_default().as_bytes(), MAX_SAID).text.as_str().to_owned();
    let what = KINDS.iter().find(|kind| block[**kind].is_string());
    let what = what.map_or(String::new(), |kind| format!("{kind} `{}`", shown(&block[*kind])));
    [shown(&block["until"]), what, shown(&block["reason"]), shown(&block["id"])]
}

/// What the instance says of a refusal: each fault of a problem document, or the first line of anything else.
fn refusal(problem: Option<&Value>, body: &str) -> String {
    let Some(problem) = problem else {
        return body.lines().next().unwrap_or_default().to_owned();
    };
    let title = problem["title"].as_str().unwrap_or_default();
    let told = |fault: &Value| {
        let (field, detail) = (fault["pointer"].as_str()?.trim_start_matches(['#', '/']), fault["detail"].as_str()?);
        Some(if field.is_empty() { detail.to_owned() } else { format!("`{field}`: {detail}") })
    };
    let faults = problem["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    let faults: Vec<String> = faults.iter().filter_map(told).collect();
    if faults.is_empty() { title.to_owned() } else { format!("{title}: {}", faults.join("; ")) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_are_told_to_people() {
        let block = json!({"id": "7", "host": "a.example", "reason": "leak\u{7}", "until": "T", "tunnels_cut": 1, "recorded": true});
        assert_eq!(blocked(&block), "host `a.example` is blocked until T, 1 tunnel cut (block 7)");
        let other = json!({"id": "7", "source": "ivr", "until": "T", "tunnels_cut": 0, "recorded": false});
        let want = "source `ivr` is blocked until T, 0 tunnels cut (block 7); the decision log can't be written now, and has the record once it can";
        assert_eq!(blocked(&other), want);
        assert_eq!(
            table(&json!({"blocks": [block]})),
            "UNTIL  WHAT              REASON     ID\nT      host `a.example`  leak\\u{7}  7"
        );
        assert_eq!(table(&json!({"blocks": []})), "nothing is blocked");
        let problem =
            json!({"title": "no", "errors": [{"pointer": "#/reason", "detail": "x"}, {"pointer": "#", "detail": "y"}]});
        assert_eq!(refusal(Some(&problem), ""), "no: `reason`: x; y");
        assert_eq!(refusal(Some(&json!({"title": "no"})), ""), "no");
        assert_eq!(refusal(None, "a\nb"), "a");
    }
}
