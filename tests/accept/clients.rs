//! The whole matrix of clients, and the tables that `docs/clients.md` has of it. Not here: how a cell is judged (`matrix`).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::time::Instant;

use crate::matrix::{self, Case, REASON, Row, clients};

/// If set: only clients whose names have this in them, and the page stays as it is.
const VARIABLE: &str = "SALLYPORT_TESTS_CLIENTS";

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/clients.md");

/// Every client in every case; then the page is written anew.
pub fn work_and_show_their_users_why_not() {
    let begin = Instant::now();
    let only = std::env::var_os(VARIABLE).unwrap_or_default().into_string().unwrap();
    let some: Vec<_> = clients::ALL.into_iter().filter(|client| client.name.contains(&only)).collect();
    let rows = matrix::run(&some, &Case::ALL);
    println!("{} clients in {:.0} s", rows.len(), begin.elapsed().as_secs_f64());
    if rows.len() == clients::ALL.len() {
        let page = fs::read_to_string(PAGE).unwrap();
        let page = replaced(&page, "what works", &(works(&rows) + "\n" + &impossible(&rows)));
        let page = replaced(&page, "refusals", &refusals(&rows, Case::Refused));
        fs::write(PAGE, replaced(&page, "alerts", &refusals(&rows, Case::Alert))).unwrap();
    } else {
        let refusals = [Case::Refused, Case::Alert].map(|case| refusals(&rows, case));
        println!("{}{}{}", works(&rows), impossible(&rows), refusals.concat());
    }
}

/// A page with another text between two marks.
fn replaced(page: &str, name: &str, text: &str) -> String {
    let (begin, end) = (format!("<!-- {name}: written by `make accept` -->\n"), format!("<!-- end of {name} -->\n"));
    let (before, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("{PAGE} has no `{begin}`"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("{PAGE} has no `{end}`"));
    format!("{before}{begin}\n{text}\n{end}{after}")
}

/// How a case is called on the page. Refusals have tables of their own.
fn title(case: Case) -> &'static str {
    match case {
        Case::Get => "HTTP/1.1",
        Case::Http2 => "HTTP/2",
        Case::Down => "20 MiB down",
        Case::Up => "20 MiB up",
        Case::Six => "IPv6",
        Case::Literal => "`[::1]` in a URL",
        Case::KeepAlive => "tunnels for two requests",
        Case::Events => "events",
        Case::WebSocket => "WebSocket",
        Case::Refused => "a refusal",
        Case::Alert => "an alert",
    }
}

fn columns() -> impl Iterator<Item = Case> {
    Case::ALL.into_iter().filter(|case| !matches!(case, Case::Refused | Case::Alert))
}

fn works(rows: &[Row]) -> String {
    let titles: Vec<&str> = columns().map(title).collect();
    let mut text = format!("| client | version | {} |\n|--|--|{}\n", titles.join(" | "), "--|".repeat(titles.len()));
    for row in rows {
        let cell = |case: Case| match (row.not.iter().any(|(not, _)| *not == case), case) {
            (true, _) => "–".to_owned(),
            (false, Case::KeepAlive) => row.client.tunnels.map_or("some".to_owned(), |tunnels| tunnels.to_string()),
            (false, _) => "ok".to_owned(),
        };
        let cells: Vec<String> = columns().map(cell).collect();
        writeln!(text, "| {} | {} | {} |", row.client.name, row.version, cells.join(" | ")).unwrap();
    }
    text
}

/// Whose fault it is that a cell is empty.
fn impossible(rows: &[Row]) -> String {
    let mut names: BTreeMap<(Case, &str), Vec<&str>> = BTreeMap::new();
    for (row, (case, why)) in rows.iter().flat_map(|row| row.not.iter().map(move |not| (row, not))) {
        names.entry((*case, why)).or_default().push(row.client.name);
    }
    let lines =
        names.into_iter().map(|((case, why), names)| format!("- {}: {why} ({})\n", title(case), names.join("; ")));
    lines.collect()
}

fn refusals(rows: &[Row], kind: Case) -> String {
    // Of an alert the reason is never shown.
    let (title, line) = if kind == Case::Refused { (" the reason |", "--|") } else { ("", "") };
    let mut text = format!("| client | exit code | what it shows |{title}\n|--|--|--|{line}\n");
    for row in rows {
        for (_, shown, code) in row.refusals.iter().filter(|(case, ..)| *case == kind) {
            let mut lines: Vec<String> = shown.lines().map(|line| line.trim().replace('|', "\\|")).collect();
            // A cause often says the same again.
            lines.retain(|line| !line.is_empty());
            lines.dedup();
            let lines: Vec<String> = lines.iter().map(|line| format!("`{line}`")).collect();
            let reason = if shown.contains(REASON) { " yes |" } else { " no |" };
            let reason = if kind == Case::Refused { reason } else { "" };
            writeln!(text, "| {} | {code} | {} |{reason}", row.client.name, lines.join("<br>")).unwrap();
        }
    }
    text
}
