//! `docs/reference.md` against the code: every reason, metric and field of records in its order, every key of the files, every default.
//! `make reference` writes anew what the code says; what people say, the last columns, stays. Not here: whether their words are good.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use jiff::tz::TimeZone;
use sallyport::config::{self, Config};
use sallyport::policy::{self, Case, Policy, PolicyFile, Reason, Setting};
use sallyport::runtime::clock;
use sallyport::runtime::metrics::Metrics;
use sallyport::runtime::quota::LimitRow;
use sallyport::yaml::Faults;

use crate::sources::{self, Kind, Token};

const PAGE: &str = "docs/reference.md";

/// What stands where somebody has yet to say something.
const OPEN: &str = "?";

/// The page's sections by their titles.
fn section<'a>(page: &'a str, title: &str) -> &'a str {
    let found = page.split("\n## ").find(|section| section.lines().next() == Some(title));
    found.unwrap_or_else(|| panic!("{PAGE} has no section `{title}`"))
}

/// The rows of a section's tables, without their heads.
fn rows(section: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut inside = false;
    for line in section.lines() {
        let Some(cells) = line.strip_prefix("| ") else {
            inside = line.starts_with("|---");
            continue;
        };
        if inside {
            rows.push(cells.trim_end_matches(" |").split(" | ").map(str::to_owned).collect());
        }
    }
    rows
}

/// The section with the rows that the code has, each with the last cells that it had; for those that are new something is to be said.
fn anew(section: &str, code: &[Vec<String>], said: usize) -> String {
    let known: BTreeMap<String, Vec<String>> =
        rows(section).into_iter().map(|cells| (cells[0].clone(), cells)).collect();
    let line = |cells: &Vec<String>| {
        let words = known.get(&cells[0]).map(|known| known[known.len() - said..].to_vec());
        let all = [cells.clone(), words.unwrap_or_else(|| vec![OPEN.to_owned(); said])].concat();
        format!("| {} |\n", all.join(" | "))
    };
    let (head, rest) = section.split_once("|---").unwrap();
    let (rule, rest) = rest.split_once('\n').unwrap();
    let behind: String = rest.split_inclusive('\n').skip_while(|line| line.starts_with('|')).collect();
    format!("{head}|---{rule}\n{}{behind}", code.iter().map(line).collect::<String>())
}

fn quoted(text: impl std::fmt::Display) -> String {
    format!("`{text}`")
}

fn reasons() -> Vec<Vec<String>> {
    let row = |reason: &Reason| {
        let facts = reason.facts();
        let (status, alert) = if *reason == Reason::Allowed {
            ("200".to_owned(), "–".to_owned())
        } else {
            (facts.status.to_string(), facts.alert.number().to_string())
        };
        vec![quoted(reason), facts.outcome.to_string(), status, alert, facts.title.to_owned()]
    };
    Reason::ALL.iter().map(row).collect()
}

/// A policy with one source and one rule.
fn one_rule(of_source: &str, of_rule: &str) -> Policy {
    let text = format!(
        "version: 1\nsources: [{{name: s, subnets: [10.0.0.0/24]{of_source}}}]\n\
         rules: [{{id: r, customer: c, sources: [s], hosts: [a.example]{of_rule}}}]\n"
    );
    let file = PolicyFile { path: "p".into(), shown: "p".into(), text: text.clone() };
    let mut faults = Faults::new();
    let setting = Setting { any_pool: true, now: clock::now(), ..Setting::default() };
    let policy = Policy::load(&[file], &setting, &mut faults);
    policy.unwrap_or_else(|| panic!("{text}: {:?}", faults.iter().collect::<Vec<_>>()))
}

fn metrics() -> Vec<Vec<String>> {
    let metrics = Metrics::new().unwrap();
    // What has labels is on the page once it has a value.
    metrics.decisions("edge", "-", Reason::Allowed.into()).inc();
    metrics.meters("acme");
    for metric in [&metrics.egress.connections, &metrics.egress.up] {
        metric.with_label_values(&["pool", "192.0.2.1"]).set(1);
    }
    for metric in [&metrics.egress.exhausted, &metrics.egress.unroutable] {
        metric.with_label_values(&["pool", "192.0.2.1"]).inc();
    }
    metrics.log.records.with_label_values(&["start"]).inc();
    metrics.certificates.set_expiry("admin", Some(clock::now()));
    metrics.certificates.set_crl("edge", clock::now());
    let tomorrow = clock::now().to_zoned(TimeZone::UTC).date().tomorrow().unwrap();
    let report = format!(", class: general, mode: report, report_until: {tomorrow}, egress: pool");
    metrics.policy.in_force(&one_rule(&report, ", review_by: 2030-01-01"), clock::now(), None);
    let limit = LimitRow { of: "rule", name: "acme/api".into(), limit: "tunnels", most: 2, used: 1 };
    metrics.policy.set_limits(&[limit]);
    let page = String::from_utf8(metrics.page().unwrap()).unwrap();
    let mut rows: Vec<Vec<String>> = Vec::new();
    for line in page.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            rows.push(vec![quoted(name), String::new(), "–".to_owned(), help.to_owned()]);
        } else if let Some((_, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            rows.last_mut().unwrap()[1] = kind.to_owned();
        } else if let Some((_, labels)) = line.split_once('{') {
            let pairs = labels.split("\",").filter_map(|pair| pair.split_once("=\""));
            let names: Vec<String> = pairs.map(|(name, _)| name).filter(|name| *name != "le").map(quoted).collect();
            if !names.is_empty() {
                rows.last_mut().unwrap()[2] = names.join(" ");
            }
        }
    }
    rows.sort();
    rows
}

/// The fields of a record: what is numbered, and what the record writes behind it.
fn fields() -> Vec<Vec<String>> {
    let source = sources::rust("src/decision_log/record.rs").remove(0);
    let writes = |four: &&[Token]| {
        let writer = ["text", "value", "list", "shown"].iter().any(|word| four[1].is(word));
        four[0].is(".") && writer && four[2].is("(") && four[3].kind == Kind::Literal && !four[3].is_test
    };
    let written = source.tokens.windows(4).filter(writes).map(|four| four[3].text.clone());
    ["v", "seq"].map(str::to_owned).into_iter().chain(written).map(|name| vec![quoted(name)]).collect()
}

/// The keys that the readers of these files ask for.
fn keys(files: &[&str]) -> BTreeSet<String> {
    let read = |source: &sources::Source| files.iter().any(|file| source.path.starts_with(file));
    let mut keys = BTreeSet::new();
    for source in sources::rust("src/").iter().filter(|source| read(source)) {
        for four in source.tokens.windows(4).filter(|four| four[3].kind == Kind::Literal && !four[3].is_test) {
            let asks = ["take", "require", "written"].iter().any(|word| four[1].is(word)) && four[2].is("(");
            let hands_on = four[0].is("mut") && four[1].is("map") && four[2].is(",");
            if asks || hands_on {
                keys.insert(four[3].text.clone());
            }
        }
    }
    keys
}

/// The paths of a table: `limits.lifetime`, `listeners[].name`.
fn named(section: &str) -> BTreeSet<String> {
    rows(section).into_iter().map(|cells| cells[0].trim_matches('`').to_owned()).collect()
}

/// A mapping with what is `inside`, where a path of a table says.
fn mapping(path: &str, inside: String) -> String {
    let steps = path.rsplit('.').filter(|step| !step.is_empty());
    steps.fold(inside, |inside, step| match step.strip_suffix("[]") {
        // By name, not in a list.
        Some("pools") => format!("pools: {{a: {{{inside}}}}}"),
        Some(list) => format!("{list}: [{{{inside}}}]"),
        None => format!("{step}: {{{inside}}}"),
    })
}

/// Which of the keys whoever reads the mapping at `path` knows; `None`: no mapping is read there.
fn known(read: fn(&str, &mut Faults), path: &str, keys: &BTreeSet<String>) -> Option<BTreeSet<String>> {
    const NOBODYS: &str = "nobodys-key";
    let inside: Vec<String> = keys.iter().map(String::as_str).chain([NOBODYS]).map(|key| format!("{key}: 1")).collect();
    let mut faults = Faults::new();
    read(&mapping(path, inside.join(", ")), &mut faults);
    let lines: Vec<String> = faults.iter().map(|fault| fault.line(&["f"])).collect();
    let is_refused = |key: &str| {
        let says = [format!("unknown key `{key}`"), format!(": `{key}` is not available in this version")];
        lines.iter().any(|line| says.iter().any(|words| line.contains(words)))
    };
    is_refused(NOBODYS).then(|| keys.iter().filter(|key| !is_refused(key)).cloned().collect())
}

/// All paths that are read, from what is known of each mapping.
fn paths(read: fn(&str, &mut Faults), keys: &BTreeSet<String>) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    let mut open = vec![String::new()];
    while let Some(path) = open.pop() {
        for key in known(read, &path, keys).into_iter().flatten() {
            let below = format!("{path}{}{key}", if path.is_empty() { "" } else { "." });
            open.extend([below.clone(), format!("{below}[]")]);
            paths.insert(below);
        }
    }
    paths
}

fn read_config(text: &str, faults: &mut Faults) {
    let _ = config::load(&format!("{{{text}}}"), 0, &|_| None, "a", faults);
}

fn read_policy(text: &str, faults: &mut Faults) {
    let file = PolicyFile { path: "p".into(), shown: "p".into(), text: format!("{{{text}}}") };
    let _ = Policy::load(&[file], &Setting { any_pool: true, now: clock::now(), ..Setting::default() }, faults);
}

fn read_cases(text: &str, faults: &mut Faults) {
    let _ = Case::read_all(&format!("{{{text}}}"), (0, "c"), faults);
}

#[test]
fn what_the_code_says_stands_in_the_reference() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = fs::read_to_string(&path).unwrap();
    let mut new = page.clone();
    for (title, code, said) in
        [("Reasons", reasons(), 1), ("Metrics", metrics(), 0), ("Fields of records", fields(), 2)]
    {
        assert!(code.len() > 20, "{title}: {code:?}");
        let old = section(&page, title);
        new = new.replace(old, &anew(old, &code, said));
    }
    if std::env::var_os("SALLYPORT_REFERENCE").is_some() {
        return fs::write(&path, &new).unwrap();
    }
    let missing: Vec<&str> = new.lines().filter(|line| !page.contains(*line)).collect();
    assert!(new == page, "{PAGE} is not what the code says; `make reference` writes {missing:#?}");
    let open = page.lines().filter(|line| line.ends_with(&format!(" {OPEN} |"))).collect::<Vec<_>>();
    assert!(open.is_empty(), "{PAGE}: say something of {open:#?}");
}

#[test]
fn every_metric_of_the_operators_page_is_in_the_reference() {
    let page = sources::repository().into_iter().find(|file| file.path == "docs/operators.md").unwrap().text;
    let rows = page.lines().filter(|line| line.starts_with("| `sallyport_"));
    let cells = rows.filter_map(|line| line.split(" | ").next());
    let names = cells.flat_map(|cell| cell.split("`sallyport_").skip(1)).filter_map(|name| name.split('`').next());
    let named: BTreeSet<String> = names.map(str::to_owned).collect();
    let ours: BTreeSet<String> = metrics()
        .into_iter()
        .filter_map(|cells| Some(cells[0].trim_matches('`').strip_prefix("sallyport_")?.to_owned()))
        .collect();
    assert_eq!(ours, named);
}

#[test]
fn every_key_has_a_line_in_the_reference_where_it_is_read() {
    let page = sources::repository().into_iter().find(|file| file.path == PAGE).unwrap().text;
    let keys = keys(&["src/config/", "src/policy/file/", "src/policy/cases.rs"]);
    for (title, read) in [
        ("`sallyport.yaml`", read_config as fn(&str, &mut Faults)),
        ("Policy files", read_policy),
        ("Cases", read_cases),
    ] {
        let paths = paths(read, &keys);
        assert!(paths.len() >= 12, "{title}: {paths:?}");
        assert_eq!(
            named(section(&page, title)),
            paths,
            "{PAGE}, {title}: left its lines, right the keys that are read"
        );
    }
}

fn configuration(more: &str) -> Config {
    let text = format!("instance: a\nlisteners: [{{name: edge, address: \"127.0.0.1:1\"}}]\npolicy: p\n{more}");
    let mut faults = Faults::new();
    let config = config::load(&text, 0, &|_| None, "a", &mut faults);
    assert!(faults.is_empty(), "{text}: {:?}", faults.iter().collect::<Vec<_>>());
    let mut config = config.unwrap();
    // Places differ, and whether it was written.
    config.limits.connections_given = false;
    config.limits.connections.place = config.policy.place;
    config
}

/// Paths and what stands there, as one mapping inside the other.
fn nested(values: &[(String, String)]) -> String {
    let mut folders: BTreeMap<&str, Vec<(String, String)>> = BTreeMap::new();
    let mut text = Vec::new();
    for (path, value) in values {
        match path.split_once('.') {
            Some((first, rest)) => folders.entry(first).or_default().push((rest.to_owned(), value.clone())),
            None => text.push(format!("{path}: {value}")),
        }
    }
    text.extend(folders.into_iter().map(|(first, rest)| format!("{first}: {{{}}}", nested(&rest))));
    text.join(", ")
}

/// The defaults of a section: paths with what stands in the third column in backticks.
fn defaults(section: &str) -> Vec<(String, String)> {
    let rows = rows(section).into_iter();
    rows.filter_map(|cells| {
        let value = cells[2].strip_prefix('`')?.strip_suffix('`').filter(|value| !value.contains('`'))?;
        Some((cells[0].trim_matches('`').to_owned(), value.to_owned()))
    })
    .collect()
}

#[test]
fn defaults_are_what_holds_where_nothing_is_written() {
    let page = sources::repository().into_iter().find(|file| file.path == PAGE).unwrap().text;
    let of_config = defaults(section(&page, "`sallyport.yaml`"));
    let of_config: Vec<(String, String)> = of_config.into_iter().filter(|(path, _)| !path.contains("[]")).collect();
    assert!(of_config.len() > 20, "{of_config:?}");
    for one in &of_config {
        let text = nested(std::slice::from_ref(one));
        assert_eq!(configuration(&format!("{text}\n")), configuration(""), "`{}`", one.0);
    }
    let rules: Vec<(String, String)> = defaults(section(&page, "Policy files"))
        .into_iter()
        .filter_map(|(path, value)| Some((path.strip_prefix("rules[].")?.to_owned(), value)))
        .collect();
    assert!(rules.len() > 5, "{rules:?}");
    let terms = |policy: &Policy| {
        let rule = policy.rules().next().unwrap();
        (policy::terms(rule), rule.ports.clone())
    };
    for one in &rules {
        let text = nested(std::slice::from_ref(one));
        assert_eq!(terms(&one_rule("", &format!(", {text}"))), terms(&one_rule("", "")), "`{}`", one.0);
    }
}
