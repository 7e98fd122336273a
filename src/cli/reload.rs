//! `sallyport reload`: has the running instance read everything again, over its admin port, and says what that came to.
//! Not here: reading and judging it (`runtime::server`), what the call answers (`runtime::admin`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::Value;
use tokio::time::timeout;

use super::admin_port::{bearer, call, status};
use super::output::complain;
use super::{Failure, Output};
use crate::config::Config;
use crate::runtime::canary::reachable;
use crate::runtime::load;

#[derive(Args)]
pub(super) struct ReloadArgs {
    /// Let this very change through, whatever `policy_guard` says: the SHA-256 of its diff, as the refused reload and `policy diff` print it
    #[arg(long, value_name = "SHA256", value_parser = hash)]
    confirm: Option<String>,
    /// The file with an operator's token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// How long the instance may take: a policy of a million names takes seconds, and others may wait for theirs.
const RELOAD_DEADLINE: Duration = Duration::from_secs(60);

/// Upper bound in bytes of the answer: a hundred faults are 100 kB.
const MAX_ANSWER: u64 = 1024 * 1024;

fn hash(text: &str) -> Result<String, &'static str> {
    let is_hash = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then(|| text.to_owned()).ok_or("write the 64 hexadecimal digits of the diff's SHA-256")
}

pub(super) fn reload(config: &Path, args: &ReloadArgs, output: Output) -> Result<(), Failure> {
    let config = load::settings(config, &super::environment)?;
    if config.admin.address.port() == 0 {
        let message =
            "`admin.address` has port 0, so nobody knows where to ask; write a port of its own, or send SIGHUP";
        return Err(Failure::Usage(anyhow::anyhow!(message)));
    }
    let (status, answer) = asked(&config, args).map_err(Failure::Outside)?;
    match status {
        200 => output.print(&answer, in_force),
        409 | 422 => {
            if let Output::Json = output {
                output.print(&answer, in_force)?;
            }
            texts(&answer, "faults").for_each(complain);
            if let Some(diff) = answer.pointer("/diff/sha256").and_then(Value::as_str) {
                complain(&format!("this diff has the SHA-256 {diff}"));
            }
            complain("not reloaded; what was last good stays in force");
            Err(Failure::No)
        }
        other => Err(Failure::Outside(anyhow::anyhow!("the admin port answers {other}: {}", said(&answer)))),
    }
}

/// The answer's status, and what it says.
fn asked(config: &Config, args: &ReloadArgs) -> anyhow::Result<(u16, Value)> {
    let address = reachable(config.admin.address);
    let field = bearer(args.token_file.as_deref())?;
    let body = args.confirm.as_ref().map(|hash| format!("{{\"confirm\": \"{hash}\"}}")).unwrap_or_default();
    let length = body.len();
    let request = format!(
        "POST /v1/policy/reload HTTP/1.1\r\nHost: {address}\r\n{field}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let calling =
        async { timeout(RELOAD_DEADLINE, call(address, config.admin.tls.as_ref(), (&request, MAX_ANSWER))).await };
    let Ok(answer) = runtime.block_on(calling) else { bail!("no answer within {RELOAD_DEADLINE:?}") };
    let answer = answer.with_context(|| format!("the admin port at {address}"))?;
    let (status, body) = status(&answer)?;
    Ok((status, serde_json::from_str(body).unwrap_or_else(|_| Value::from(body.trim_end()))))
}

fn in_force(answer: &Value) -> String {
    let mut lines = vec![format!(
        "in force {}: {} rules, {} sources",
        answer["sha256"].as_str().unwrap_or_default(),
        answer["rules"],
        answer["sources"]
    )];
    let counts = answer["diff"].as_object().into_iter().flatten();
    let changed: Vec<String> = counts
        .filter(|(_, count)| count.as_u64().is_some_and(|count| count > 0))
        .map(|(what, count)| format!("{} {count}", what.replace('_', " ")))
        .collect();
    lines.push(if changed.is_empty() { "no difference".to_owned() } else { changed.join(", ") });
    let waits: Vec<&str> = texts(answer, "needs_restart").collect();
    if !waits.is_empty() {
        lines.push(format!(
            "waits for a restart: {}; {}",
            waits.join(", "),
            answer["restart"].as_str().unwrap_or_default()
        ));
    }
    lines.join("\n")
}

fn texts<'a>(answer: &'a Value, key: &str) -> impl Iterator<Item = &'a str> {
    answer[key].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// What another answer says, in one line.
fn said(answer: &Value) -> String {
    answer["title"].as_str().or(answer.as_str()).unwrap_or_default().escape_debug().to_string()
}
