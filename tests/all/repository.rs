//! What holds for every file of the repository, and that the pages say what the sources say.
//! Not here: the layout of modules (`structure`), running what the pages show (`docs`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::sources::{self, File, Kind, Source};

/// Hosts that files may name: reserved for examples (RFC 2606, RFC 6761), and the standards that pages cite.
const HOSTS: [&str; 8] = [
    "c2sp.org",
    "example.com",
    "keepachangelog.com",
    "schema.ocsf.io",
    "semver.org",
    "spdx.org",
    "www.apache.org",
    "www.w3.org",
];
const RESERVED: [&str; 4] = [".example", ".test", ".invalid", ".example.com"];

/// Where packages come from: first and last part of each name, put together below. Which one is used is the machine's affair.
const REGISTRIES: [[&str; 2]; 6] =
    [["crates", "io"], ["pypi", "org"], ["npmjs", "org"], ["docker", "io"], ["ghcr", "io"], ["golang", "org"]];

/// Folders of every Linux, or of this repository: files may name them. Any other first folder of the build's path is that machine's own.
const USUAL: [&str; 14] =
    ["bin", "dev", "etc", "lib", "opt", "proc", "run", "srv", "tmp", "var", "src", "docs", "tests", "target"];

#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file does not hold them itself.
    let marks = [
        ["TO", "DO"],
        ["FIX", "ME"],
        ["XX", "X"],
        ["to", "do!"],
        ["unimple", "mented!"],
        ["#[al", "low("],
        ["#![al", "low("],
        ["#[ig", "nore"],
    ];
    for File { path, text } in sources::repository() {
        if !["src/", "tests/", "fuzz/", "benches/"].iter().any(|folder| path.starts_with(folder)) {
            continue;
        }
        for mark in marks.map(|parts| parts.concat()) {
            let line = text.lines().position(|line| line.contains(&mark));
            assert_eq!(
                line.map(|line| line + 1),
                None,
                "{path} has `{mark}` in this line; do it, or write `expect` with a reason"
            );
        }
    }
}

#[test]
fn no_machine_is_named() {
    let root = env!("CARGO_MANIFEST_DIR");
    let first = root.split('/').nth(1).filter(|first| !USUAL.contains(first)).map(|first| format!("/{first}/"));
    let homes = ["home", "root", "Users"].map(|folder| format!("/{folder}/"));
    let paths: Vec<String> = homes.into_iter().chain([root.to_owned()]).chain(first).collect();
    let registries = REGISTRIES.map(|parts| parts.join("."));
    let files = sources::repository();
    assert!(files.len() > 50, "the repository is not read");
    for File { path, text } in files {
        for (number, line) in (1..).zip(text.lines()) {
            let named = paths.iter().find(|machine| begins_in(line, machine));
            assert_eq!(named, None, "{path}:{number} names a path of a machine");
            // Lock files name the registry; inputs of tests are data.
            let counts = !path.ends_with("Cargo.lock") && !path.ends_with("_tests.rs");
            let registry = registries.iter().find(|registry| counts && line.contains(registry.as_str()));
            assert_eq!(registry, None, "{path}:{number} names a registry");
            for host in hosts(line).into_iter().filter(|_| counts) {
                let is_known = HOSTS.contains(&host) || RESERVED.iter().any(|end| host.ends_with(end));
                assert!(is_known, "{path}:{number} names the host `{host}`; use a reserved name");
            }
        }
    }
}

/// Whether a path in the line begins with `folder`: it is no inner part of another path.
fn begins_in(line: &str, folder: &str) -> bool {
    line.match_indices(folder)
        .any(|(at, _)| !line.split_at(at).0.ends_with(|c: char| c.is_alphanumeric() || "._-}/".contains(c)))
}

/// The names of all http and https addresses in a line that are written out.
fn hosts(line: &str) -> Vec<&str> {
    let after = line
        .split("://")
        .zip(line.split("://").skip(1))
        .filter(|(before, _)| before.ends_with("http") || before.ends_with("https"));
    let hosts = after.filter_map(|(_, rest)| rest.split(|c: char| !c.is_alphanumeric() && !"-._".contains(c)).next());
    hosts.filter(|host| host.contains('.') && host.contains(char::is_alphabetic)).collect()
}

/// Names in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The rows of every table of a page: their cells.
fn rows(page: &File) -> Vec<Vec<&str>> {
    let rows = page.text.lines().filter(|line| line.starts_with('|') && !line.starts_with("|--"));
    rows.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

fn page(path: &str) -> File {
    sources::repository().into_iter().find(|file| file.path == path).unwrap_or_else(|| panic!("no {path}"))
}

/// Pages whose last cells name tests, and how many they name at least.
const NAMING: [(&str, usize); 2] = [("SPECIFICATION.md", 30), (ATTACKS, 90)];

const ATTACKS: &str = "docs/attacks.md";

#[test]
fn pages_name_tests_that_exist() {
    let sources: Vec<Source> = [sources::rust("src/"), sources::rust("tests/")].into_iter().flatten().collect();
    let tests: BTreeSet<String> = sources.iter().flat_map(tests).collect();
    assert!(tests.len() > 100, "the tests are not read: {tests:#?}");
    for (path, least) in NAMING {
        let page = page(path);
        let mut named = 0;
        for cells in rows(&page) {
            let Some(last) = cells.last().filter(|last| last.starts_with('`')) else { continue };
            for name in quoted(last) {
                named += 1;
                assert!(tests.contains(name), "{path} names the test `{name}`, which does not exist");
            }
        }
        assert!(named > least, "{path} names {named} tests");
    }
}

#[test]
fn every_attack_that_a_test_names_is_met() {
    let page = page(ATTACKS);
    // The table of what is met has a fourth column: the tests.
    let mut known: BTreeMap<&str, bool> = BTreeMap::new();
    for cells in rows(&page).into_iter().filter(|cells| is_attack(cells[0])) {
        assert!(known.insert(cells[0], cells.len() == 4).is_none(), "{ATTACKS} has `{}` twice", cells[0]);
    }
    assert!(known.len() > 80, "the tables are not read: {known:?}");
    let mut named = 0;
    for source in [sources::rust("src/"), sources::rust("tests/")].into_iter().flatten() {
        for id in source.text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| is_attack(word)) {
            named += 1;
            assert_eq!(
                known.get(id),
                Some(&true),
                "{} names `{id}`; {ATTACKS} has no such row with tests",
                source.path
            );
        }
    }
    assert!(named > 50, "tests name {named} attacks");
}

/// Whether it looks like an attack's ID: a letter from A to H and a number of one or two digits.
fn is_attack(word: &str) -> bool {
    let number = word.strip_prefix(|letter| matches!(letter, 'A'..='H')).unwrap_or_default();
    (1..=2).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// Every test of a file as `module::name`; files that hold a module's tests count as the module.
fn tests(source: &Source) -> Vec<String> {
    let parts = source.module();
    let module: Vec<&str> = parts
        .iter()
        .map(|part| part.trim_end_matches("_tests"))
        .filter(|part| !matches!(*part, "tests" | "all" | "accept"))
        .collect();
    let tokens = &source.tokens;
    let begins = |index: usize| source.is(index, "[") || source.is(index, "::");
    let is_test = |index: usize| tokens[index].is("test") && begins(index.wrapping_sub(1)) && source.is(index + 1, "]");
    let names = (0..tokens.len()).filter(|index| is_test(*index)).filter_map(|index| {
        let function = tokens[index..].iter().position(|token| token.is("fn"))?;
        Some([&module[..], &[tokens.get(index + function + 1)?.text.as_str()]].concat().join("::"))
    });
    names.collect()
}

#[test]
fn the_specification_has_the_bounds_of_the_code() {
    let sources = sources::rust("src/");
    let specification = page("SPECIFICATION.md");
    let mut named = BTreeSet::new();
    for cells in rows(&specification) {
        let (Some(names), Some(file)) = (cells.first(), cells.get(2)) else { continue };
        let (Some(name), Some(file)) = (quoted(names).next(), quoted(file).next().filter(|file| file.ends_with(".rs")))
        else {
            continue;
        };
        let value = quoted(cells[1]).next().unwrap_or_else(|| panic!("`{name}` has no value"));
        let source = sources
            .iter()
            .find(|source| source.path == format!("src/{file}"))
            .unwrap_or_else(|| panic!("no src/{file}"));
        let found: Vec<String> =
            constants(source).into_iter().filter(|(constant, _)| constant == name).map(|(_, value)| value).collect();
        assert_eq!(found, [value.replace([' ', '_'], "")], "`{name}` in src/{file}");
        named.insert((file.to_owned(), name.to_owned()));
    }
    // What bounds what a peer can make the proxy hold, or how long anybody waits, is named so; limits on what operators write are not listed.
    let ours = |source: &&Source| {
        ["src/runtime/", "src/tls/", "src/decision_log/"].iter().any(|folder| source.path.starts_with(folder))
    };
    for source in sources.iter().filter(ours) {
        for (name, _) in
            constants(source).into_iter().filter(|(name, _)| name.starts_with("MAX_") || name.ends_with("_DEADLINE"))
        {
            let file = source.path.trim_start_matches("src/").to_owned();
            assert!(named.contains(&(file, name.clone())), "SPECIFICATION.md lacks `{name}` of {}", source.path);
        }
    }
}

/// The constants of a file outside its tests, and their values without spaces and `_`.
fn constants(source: &Source) -> Vec<(String, String)> {
    let tokens = &source.tokens;
    let begins = (0..tokens.len())
        .filter(|index| tokens[*index].is("const") && !tokens[*index].is_test && source.is(index + 2, ":"));
    // One that is made of a text, such as the length of a frame, has no number to compare.
    let read = |begin: usize| {
        let value =
            tokens[begin..].iter().skip_while(|token| !token.is("=")).skip(1).take_while(|token| !token.is(";"));
        let value: Option<String> =
            value.map(|token| (token.kind != Kind::Literal).then(|| token.text.replace('_', ""))).collect();
        Some((tokens[begin + 1].text.clone(), value?))
    };
    begins.filter_map(read).collect()
}

#[test]
fn the_readme_names_every_dependency() {
    let (manifest, readme) = (page("Cargo.toml"), page("README.md"));
    let named: BTreeSet<&str> =
        rows(&readme).into_iter().filter_map(|cells| cells.into_iter().next()).flat_map(quoted).collect();
    let section = manifest.text.split("[dependencies]").nth(1).and_then(|rest| rest.split("\n[").next()).unwrap();
    let used: BTreeSet<&str> =
        section.lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name).collect();
    assert_eq!(named, used, "the table of dependencies in README.md");
}

#[test]
fn the_operators_page_has_every_metric() {
    let (sources, page) = (sources::rust("src/runtime/metrics"), page("docs/operators.md"));
    let is_help = |text: &str| text.starts_with(char::is_uppercase);
    let rows_of_code = sources.iter().flat_map(|source| source.tokens.windows(3)).filter(|three| {
        three[0].kind == Kind::Literal && three[1].is(",") && three[2].kind == Kind::Literal && is_help(&three[2].text)
    });
    let made: BTreeSet<String> = rows_of_code.map(|three| format!("sallyport_{}", three[0].text)).collect();
    let first_cells = rows(&page).into_iter().filter_map(|cells| cells.into_iter().next());
    let named = first_cells.flat_map(quoted).filter(|name| name.starts_with("sallyport_"));
    assert_eq!(named.map(str::to_owned).collect::<BTreeSet<_>>(), made, "the table of metrics in docs/operators.md");
}

#[test]
fn links_between_pages_lead_somewhere() {
    for File { path, text } in sources::repository().into_iter().filter(|file| file.path.ends_with(".md")) {
        let folder = Path::new(&path).parent().unwrap().to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            let is_ours = !link.is_empty() && !link.contains("://");
            let target = Path::new(env!("CARGO_MANIFEST_DIR")).join(&folder).join(link);
            assert!(!is_ours || target.exists(), "{path} links to `{link}`, which is not there");
        }
    }
}
