//! `audit query` from outside, on a log that the real binary wrote: filters, connections, counts, limits, pipes, wrong words, and a
//! proxy that goes on writing. Not here: sealed segments (`decision_log::query`), what is skipped of them (the acceptance tests).
//! Source: the contract's table of commands.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use tempfile::TempDir;

use super::harness::{Proxy, Setup, lines, write_setup};
use super::origins::{self, Answer, Origin};
use super::programs::{Finished, finish, sallyport};

/// Refusals at the end of the log, so many that no pipe holds them.
const REFUSALS: usize = 400;

struct Log {
    dir: TempDir,
    port: u16,
    /// As they are in the file, with their newlines, and read.
    lines: Vec<(String, Value)>,
}

/// Two runs. In the first a tunnel is closed and another is cut off by a kill; in the second one of another source and customer is
/// closed, and there are refusals.
fn log() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| {
        let origin = Origin::start();
        let port = origin.port();
        let rule = |id: &str, customer: &str, source: &str, host: &str| {
            format!(
                "  - {{id: {id}, customer: {customer}, sources: [{source}], hosts: [{host}], ports: [{port}], addresses: [127.0.0.0/8], \
                 wide: true}}\n"
            )
        };
        let policy = format!(
            "  - {{name: lab, subnets: [127.9.0.0/16]}}\nrules:\n{}{}",
            rule("acme/api", "acme", "tests", "api.acme.test"),
            rule("second/pay", "second", "lab", "api.acme.test")
        );
        let dir = TempDir::new().unwrap();
        let more = "dns: {hosts: {api.acme.test: [127.0.0.1]}}\n";
        write_setup(dir.path(), &Setup { policy: &policy, more, ..Setup::default() });
        let proxy = Proxy::start_in(dir);
        let (closed, answer) = origins::open(proxy.edge, port, 1);
        assert_eq!(answer, Answer::Open);
        end(&proxy, closed);
        let (_cut_off, answer) = origins::open(proxy.edge, port, 2);
        assert_eq!(answer, Answer::Open);
        let proxy = Proxy::start_in(proxy.kill());
        let mut second = origins::connect_from([127, 9, 0, 1].into(), proxy.edge);
        let answer = origins::ask(&mut second, &format!("{}:{port}", origins::NAME), &origins::client_hello(3));
        assert_eq!(answer, Answer::Open);
        end(&proxy, second);
        let targets = ["api.acme.test:22", "x.other.test:443", "a.b.other.test:443", "192.0.2.1:443"];
        for target in targets.into_iter().chain(std::iter::repeat_n("many.test:443", REFUSALS)) {
            let (_, answer) = proxy.ask(format!("CONNECT {target} HTTP/1.1\r\n\r\n").as_bytes());
            assert!(answer.starts_with("HTTP/1.1 403"), "{target}: {answer}");
        }
        let (dir, code) = proxy.stop();
        assert_eq!(code, Some(0));
        let lines = lines(&dir.path().join("decisions")).map(|line| {
            let record = serde_json::from_str(&line).unwrap();
            (line, record)
        });
        let lines = lines.collect();
        Log { dir, port, lines }
    })
}

/// Ends a tunnel and waits for its record.
fn end(proxy: &Proxy, socket: std::net::TcpStream) {
    let port = socket.local_addr().unwrap().port();
    drop(socket);
    proxy.record("its close", |record| record["kind"] == "close" && record["client_port"] == port);
}

impl Log {
    fn query(&self, words: &str) -> Finished {
        let words = words.split(' ').filter(|word| !word.is_empty());
        finish(sallyport().args(["audit", "query"]).args(words).arg(self.dir.path().join("decisions")), "")
    }

    /// The lines of the records that fit.
    fn fitting(&self, fits: impl Fn(&Value) -> bool) -> String {
        self.lines.iter().filter(|(_, record)| fits(record)).map(|(line, _)| line.as_str()).collect()
    }

    /// How often each value stands there, the most frequent first.
    fn counted(&self, field: &str, fits: impl Fn(&Value) -> bool) -> Vec<(Value, u64)> {
        let mut counts = BTreeMap::new();
        for (_, record) in self.lines.iter().filter(|(_, record)| fits(record)) {
            *counts.entry(record[field].as_str()).or_insert(0) += 1;
        }
        let mut counts: Vec<(Value, u64)> = counts.into_iter().map(|(value, count)| (value.into(), count)).collect();
        // Stable: those of equal counts stay in the order of their values.
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts
    }
}

type Fits = Box<dyn Fn(&Value) -> bool>;

fn is(field: &'static str, values: &'static [&'static str]) -> Fits {
    Box::new(move |record| record[field].as_str().is_some_and(|value| values.contains(&value)))
}

#[test]
fn each_filter_gives_the_lines_that_fit() {
    let log = log();
    let id = log.lines.iter().find(|(_, record)| record["kind"] == "close").unwrap().1["id"].clone();
    let time = log.lines[5].1["time"].as_str().unwrap().to_owned();
    let (since, until) = (time.clone(), time.clone());
    let day = |days: i64| {
        (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days)).strftime("%Y-%m-%d").to_string()
    };
    let rows: Vec<(String, Fits)> = vec![
        (String::new(), Box::new(|_| true)),
        ("--kind start".to_owned(), is("kind", &["start"])),
        ("--kind close --kind stop".to_owned(), is("kind", &["close", "stop"])),
        ("--outcome deny".to_owned(), is("outcome", &["deny"])),
        ("--outcome allow --kind close".to_owned(), is("kind", &["close"])),
        ("--reason port_not_allowed".to_owned(), is("reason", &["port_not_allowed"])),
        ("--reason client_closed".to_owned(), is("reason", &["client_closed"])),
        ("--customer second".to_owned(), is("customer", &["second"])),
        ("--customer second --customer acme".to_owned(), is("customer", &["second", "acme"])),
        ("--source lab".to_owned(), is("source", &["lab"])),
        ("--rule acme/api".to_owned(), is("rule", &["acme/api"])),
        ("--host API.acme.test.".to_owned(), is("host", &["api.acme.test"])),
        ("--host *.other.test".to_owned(), is("host", &["x.other.test"])),
        ("--host **.other.test".to_owned(), is("host", &["x.other.test", "a.b.other.test"])),
        ("--host 192.0.2.1".to_owned(), is("host", &["192.0.2.1"])),
        (format!("--id {}", id.as_str().unwrap().to_uppercase()), Box::new(move |record| record["id"] == id)),
        (format!("--since {since}"), Box::new(move |record| record["time"].as_str() >= Some(&since))),
        (format!("--until {until}"), Box::new(move |record| record["time"].as_str() < Some(&until))),
        (format!("--since {} --until {}", day(-1), day(2)), Box::new(|_| true)),
        ("--since 1h".to_owned(), Box::new(|_| true)),
        ("--until 1h".to_owned(), Box::new(|_| false)),
        ("--customer nobody".to_owned(), Box::new(|_| false)),
    ];
    for (words, fits) in rows {
        let want = log.fitting(fits);
        let ended = log.query(&format!("-o json {words}"));
        assert!(ended.out == want, "`{words}`:\n{}\nand not\n{want}", ended.out);
        let (code, said) = if want.is_empty() { (1, "no record fits\n") } else { (0, "") };
        assert_eq!((ended.code, &*ended.err), (Some(code), said), "`{words}`");
    }
    let limited = log.query("-o json --limit 3");
    assert_eq!(limited.out, log.lines[..3].iter().map(|(line, _)| line.as_str()).collect::<String>());
    let of_config =
        finish(sallyport().args(["audit", "query", "-o", "json", "-c"]).arg(log.dir.path().join("sallyport.yaml")), "");
    assert_eq!(of_config.out, log.fitting(|_| true), "the configuration says where");
}

#[test]
fn a_connection_is_one_line() {
    let log = log();
    let port = log.port;
    let many = |words: &str| {
        let out = log.query(words).out;
        let mut lines = out.lines().map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        let header = lines.next().unwrap_or_default();
        let lines: Vec<Vec<String>> = lines.collect();
        assert!(lines.iter().all(|line| line.len() == header.len()), "{out}");
        (header, lines)
    };
    let (header, lines) = many("--customer acme --customer second");
    let names = "TIME OUTCOME REASON ENDED SOURCE CUSTOMER DESTINATION RULE BYTES_OUT BYTES_IN SECONDS SEQ CLIENT ID";
    assert_eq!(header.join(" "), names);
    let shown: Vec<String> = lines.iter().map(|line| line[1..8].join(" ")).collect();
    assert_eq!(
        shown,
        [
            format!("allow allowed client_closed tests acme api.acme.test:{port} acme/api"),
            format!("allow allowed (unclosed) tests acme api.acme.test:{port} acme/api"),
            format!("allow allowed client_closed lab second api.acme.test:{port} second/pay"),
        ]
    );
    for line in &lines {
        let of_it: Vec<&Value> =
            log.lines.iter().map(|(_, record)| record).filter(|record| record["id"] == line[13]).collect();
        assert_eq!(
            (&line[0], &line[11]),
            (&of_it[0]["time"].as_str().unwrap().to_owned(), &of_it[0]["seq"].to_string())
        );
        let Some(close) = of_it.get(1) else { continue };
        let seconds = close["duration_us"].as_f64().unwrap() / 1e6;
        let want = [close["bytes_out"].to_string(), close["bytes_in"].to_string(), format!("{seconds:.6}")];
        assert_eq!(line[8..11], want, "{close}");
    }
    let (_, closes) = many("--reason client_closed");
    assert_eq!(closes, [lines[0].clone(), lines[2].clone()], "with the decision");
    let (_, refused) = many("--reason port_not_allowed");
    assert_eq!(refused[0][1..7].join(" "), "deny port_not_allowed - tests - api.acme.test:22");
    let (_, starts) = many("--kind start --kind stop");
    assert_eq!(starts.iter().map(|line| &*line[1]).collect::<Vec<_>>(), ["(start)", "(start)", "(stop)"]);
    let (_, two) = many("--limit 2 --outcome allow");
    assert_eq!(two, lines[..2]);
    let none = log.query("--customer nobody");
    assert_eq!((none.code, &*none.out, &*none.err), (Some(1), "", "no record fits\n"), "no header without lines");
}

#[test]
fn counts_are_those_of_the_records() {
    let log = log();
    for field in ["kind", "outcome", "reason", "customer", "source", "rule", "host"] {
        for (words, fits) in [("", None), ("--outcome deny", Some("deny")), ("--outcome allow", Some("allow"))] {
            let want = log.counted(field, |record| fits.is_none_or(|outcome| record["outcome"] == outcome));
            let json = log.query(&format!("-o json --count {field} {words}")).out;
            let got: Vec<(Value, u64)> = json
                .lines()
                .map(|line| serde_json::from_str::<Value>(line).unwrap())
                .map(|line| {
                    assert_eq!(line["field"], field, "{line}");
                    (line["value"].clone(), line["count"].as_u64().unwrap())
                })
                .collect();
            assert_eq!(got, want, "{field} {words}");
        }
    }
    let text = log.query("--outcome deny --count reason");
    let unlisted = REFUSALS + 3;
    let want =
        format!("     RECORDS  REASON\n{unlisted:>12}  destination_not_listed\n           1  port_not_allowed\n");
    assert_eq!((text.code, text.out), (Some(0), want));
    let most = log.query("-o json --count host --limit 1").out;
    assert_eq!(most, format!("{{\"field\":\"host\",\"value\":\"many.test\",\"count\":{REFUSALS}}}\n"));
    assert_eq!(log.query("--count rule --customer nobody").code, Some(1));
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let log = log();
    for form in ["json", "text"] {
        let mut child = sallyport()
            .args(["audit", "query", "-o", form])
            .arg(log.dir.path().join("decisions"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        // Gone behind its first line.
        BufReader::with_capacity(64, child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ended = child.wait_with_output().unwrap();
        assert!(!line.is_empty());
        assert_eq!((ended.status.code(), &*ended.stderr), (Some(0), &b""[..]), "{form}: {ended:?}");
    }
}

#[test]
fn wrong_words_are_told() {
    let log = log();
    for (words, says) in [
        ("--outcome denny", "unknown outcome `denny`; did you mean `deny`?"),
        ("--reason sni_missmatch", "unknown reason `sni_missmatch`; did you mean `sni_mismatch`?"),
        ("--kind decisions", "unknown kind `decisions`; did you mean `decision`?"),
        ("--outcome purple", "use one of `allow`"),
        ("--id 17", "bad id `17`; write it as"),
        ("--host a..b", "bad host"),
        ("--since yesterday", "`--since`: `yesterday` is no time; write"),
        ("--since 1h --until 2h", "is not before until"),
        ("--count reasons", "'reason'"),
        ("--count id", "[possible values: kind, outcome, reason"),
        ("--limit 0", "--limit"),
        ("--hosts a", "--host"),
    ] {
        let ended = log.query(words);
        assert_eq!((ended.code, &*ended.out), (Some(2), ""), "{words}: {ended:?}");
        assert!(ended.err.contains(says), "{words}: {}", ended.err);
    }
    for directory in [log.dir.path().join("missing"), log.dir.path().to_owned()] {
        let ended = finish(sallyport().args(["audit", "query"]).arg(&directory), "");
        assert_eq!((ended.code, &*ended.out), (Some(3), ""), "{ended:?}");
        assert!(ended.err.contains(&directory.display().to_string()), "{ended:?}");
    }
}

#[test]
fn a_proxy_that_goes_on_writing_is_no_hindrance() {
    let proxy = Proxy::start(&Setup::default());
    let log = proxy.dir.path().join("decisions");
    let query = |words: &[&str]| finish(sallyport().args(["audit", "query"]).args(words).arg(&log), "");
    let seqs = |ended: &Finished| -> Vec<u64> {
        assert_eq!((ended.code, &*ended.err), (Some(0), ""), "{ended:?}");
        let records = ended.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        records.map(|record| record["seq"].as_u64().unwrap()).collect()
    };
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    proxy.ask(b"CONNECT other.test:443 HTTP/1.1\r\n\r\n");
                }
            });
        }
        let _over = Over(&is_over);
        let mut sizes = Vec::new();
        for _ in 0..10 {
            let seen = seqs(&query(&["-o", "json"]));
            assert_eq!(seen, (0..seen.len() as u64).collect::<Vec<_>>(), "whole lines, without gaps");
            let connections = query(&["--outcome", "deny"]);
            assert!(connections.code == Some(0) || sizes.is_empty(), "{connections:?}");
            sizes.push(seen.len());
        }
        assert!(sizes.is_sorted() && sizes[0] < sizes[9], "{sizes:?}");
    });
}

/// However a test ends, so does its load.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
