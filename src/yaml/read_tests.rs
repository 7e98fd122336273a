//! Documents of every kind: trees, places, bombs, and any text at all.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::{Entry, Faults, Node, Style, Value, parse};
use super::{MAX_BYTES, MAX_DEPTH};

fn read(text: &str) -> (Option<Node>, Vec<String>) {
    let mut faults = Faults::new();
    let node = parse(text, 0, &mut faults);
    (node, faults.iter().map(|fault| fault.line(&["f"])).collect())
}

/// The tree in short: `line:column=value`.
fn short(node: &Node) -> String {
    let at = format!("{}:{}", node.place.line, node.place.column);
    let value = match &node.value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(text) | Value::Text(text, Style::Plain) => text.to_string(),
        Value::Text(text, Style::Quoted) => format!("{text:?}"),
        Value::Text(text, Style::Expanded) => format!("${text}"),
        Value::List(items) => format!("[{}]", items.iter().map(short).collect::<Vec<_>>().join(" ")),
        Value::Map(entries) => format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(" ")),
        Value::Refused => "refused".to_owned(),
    };
    format!("{at}={value}")
}

fn entry(entry: &Entry) -> String {
    let Entry { key, node } = entry;
    format!("{}@{}:{} {}", key.value, key.place.line, key.place.column, short(node))
}

#[test]
fn trees() {
    for (name, text, want) in [
        ("nothing", "", "1:1=null"),
        ("a comment", "# x\n", "1:1=null"),
        ("a value left out", "a:\n\n# c\nb: 1\n", "1:1={a@1:1 1:2=null b@4:1 4:4=1}"),
        ("a list below its key", "a:\n- x\n- \"y\"\n", "1:1={a@1:1 2:3=[2:3=x 3:3=\"y\"]}"),
        (
            "block and flow",
            "a:\n  - b: 1\n    c: [x, {y: z}]\n",
            "1:1={a@1:1 2:3=[2:5={b@2:5 2:8=1 c@3:5 3:8=[3:9=x 3:12={y@3:13 3:16=z}]}]}",
        ),
        ("columns count characters", "é: [ü, x]\n", "1:1={é@1:1 1:4=[1:5=ü 1:8=x]}"),
        ("a mark of byte order", "\u{feff}a: 1\n", "1:1={a@1:1 1:4=1}"),
        ("lines of DOS", "a: 1\r\nb: 'x'\r\n", "1:1={a@1:1 1:4=1 b@2:1 2:4=\"x\"}"),
        ("blocks are quoted", "a: |\n  1\n", "1:1={a@1:1 2:3=\"1\\n\"}"),
        ("a document's marks", "---\na: true\n...\n", "2:1={a@2:1 2:4=true}"),
        (
            "keys are texts",
            "on: 1\n1.5: 3\ntrue: ~\n'<<': 2\n",
            "1:1={on@1:1 1:5=1 1.5@2:1 2:6=3 true@3:1 3:7=null <<@4:1 4:7=2}",
        ),
        ("brackets on lines of their own", "a: {\n  b: [\n    c,\n  ],\n}\n", "1:1={a@1:1 1:4={b@2:3 2:6=[3:5=c]}}"),
    ] {
        let (node, faults) = read(text);
        assert_eq!(faults, Vec::<String>::new(), "{name}");
        assert_eq!(short(&node.unwrap()), want, "{name}");
    }
}

#[test]
fn what_is_refused_and_read_on() {
    for (name, text, want) in [
        (
            "a key twice",
            "a: 1\nb: {c: 1, c: 2}\na: 3\n",
            &["f:2:11: `c` is given twice, first in line 2;", "f:3:1: `a` is given twice, first in line 1; remove one"]
                [..],
        ),
        ("merge keys", "a:\n  <<: {b: 1}\n", &["f:2:3: merge keys (`<<`) are not accepted; write the keys out"]),
        (
            "anchors and aliases",
            "a: &x [1]\nb: *x\n",
            &["f:1:4: anchors", "f:2:4: aliases (`*name`) are not accepted; write the value out"],
        ),
        (
            "a pattern without quotes",
            "a: [*.x.example, **.y]\n",
            &["f:1:5: a text that starts with `*` needs quotes; write `\"*.x.example\"`", "f:1:18: a text"],
        ),
        ("tags", "a: !!str 1\nb: !x [1]\n", &["f:1:4: tags (`!name`) are not accepted; remove it", "f:2:4: tags"]),
        ("a list as a key", "[a]: b\nc: 1\n", &["f:1:1: a key is a list or mapping; write a name"]),
        ("no key", ": b\n~: c\n", &["f:1:1: a key is empty; write its name before the `:`", "f:2:1: a key is empty"]),
    ] {
        let (node, faults) = read(text);
        assert!(node.is_some(), "{name}");
        assert_eq!(faults.len(), want.len(), "{name}: {faults:#?}");
        for (fault, start) in faults.iter().zip(want) {
            assert!(fault.starts_with(start), "{name}: {fault}");
        }
    }
}

#[test]
fn what_ends_the_reading() {
    for (name, text, want) in [
        (
            "a second document",
            "---\na: 1\n---\nb: 1\n",
            "f:3:1: a second document begins here; write one document a file",
        ),
        ("a directive", "%YAML 1.1\n---\na: 1\n", "f:1:1: yaml directives are disallowed; remove the line"),
        ("a tab", "a:\n\tb: 1\n", "f:2:2: tabs disallowed within this context (block indentation); indent with spaces"),
        ("an open quote", "a: \"x\n", "f:2:1: invalid indentation in multiline quoted scalar; close the quote"),
        ("an open bracket", "a: {b: [1\n", "f:1:8: unclosed bracket `[`; close each"),
        ("an at sign", "a: @x\n", "f:1:4: `@` cannot stand here; put a text that starts with it in single quotes"),
        ("a zero byte", "a: \0\n", "f:1:4: `\\u{0}` cannot stand here;"),
        ("two colons", "a: b: c\n", "f:1:5: mapping values are not allowed in this context; write `key: value`"),
        ("a bracket too many", "a: ]\n", "f:1:4: misplaced bracket; write"),
        ("a star alone", "a: *\n", "f:1:4: while scanning an anchor or alias"),
    ] {
        let (node, faults) = read(text);
        assert_eq!(node, None, "{name}");
        assert_eq!(faults.len(), 1, "{name}: {faults:#?}");
        assert!(faults[0].starts_with(want), "{name}: {}", faults[0]);
    }
}

/// Nine levels of nine aliases each: 480 bytes that stand for nine to the ninth texts.
fn billion_laughs() -> String {
    let mut text = String::from("a0: &a0 lol\n");
    for (below, level) in (0..9).zip(1..) {
        let item = format!("*a{below}");
        text.push_str(&format!("a{level}: &a{level} [{}]\n", vec![item; 9].join(",")));
    }
    text
}

#[test]
fn bombs_are_refused_at_once() {
    let deep = MAX_DEPTH + 1;
    for (name, text, want) in [
        ("aliases", billion_laughs(), "anchors (`&name`) are not accepted"),
        ("brackets", "[".repeat(20_000), "more than 32 lists and mappings inside each other"),
        ("braces", "{a: ".repeat(20_000), "more than 32 lists and mappings inside each other"),
        ("dashes", "- ".repeat(20_000), "more than 32 lists and mappings inside each other"),
        (
            "indents",
            (0..deep).map(|n| format!("{}a:\n", " ".repeat(n))).collect(),
            "more than 32 lists and mappings inside each other",
        ),
        ("questions", "? ".repeat(20_000), "more than 32 lists and mappings inside each other"),
        (
            "closed brackets",
            format!("{}{}", "[".repeat(deep), "]".repeat(deep)),
            "more than 32 lists and mappings inside each other",
        ),
        ("a recursive alias", "a: &a [*a]\n".to_owned(), "anchors (`&name`) are not accepted"),
        ("a long text", " ".repeat(MAX_BYTES + 1), "the file has more than 64 MiB; split it"),
    ] {
        let start = Instant::now();
        let (_, faults) = read(&text);
        assert!(faults.first().is_some_and(|fault| fault.contains(want)), "{name}: {:?}", faults.first());
        assert!(start.elapsed() < Duration::from_secs(2), "{name} took {:?}", start.elapsed());
    }
}

/// The reader's time grows with the text, not with its square: each of these is a single long thing.
#[test]
fn long_things_are_read_in_good_time() {
    const LENGTH: usize = 100_000;
    for (name, text) in [
        ("a flow list", format!("a: [{}]", "x,".repeat(LENGTH))),
        ("a block list", "- x\n".repeat(LENGTH)),
        ("keys", (0..LENGTH).map(|n| format!("k{n}: 1\n")).collect()),
        ("a flow mapping", format!("{{{}}}", (0..LENGTH).map(|n| format!("k{n}: 1,")).collect::<String>())),
        ("the same key", "k: 1\n".repeat(LENGTH)),
        ("a line", format!("a: {}", "x".repeat(LENGTH))),
        ("words on lines", format!("a:{}", " x\n".repeat(LENGTH))),
        ("a quoted text", format!("a: \"{}\"", "\\n ".repeat(LENGTH))),
        ("empty lines", format!("a: {}b", "\n".repeat(LENGTH))),
        ("comments", "# x\n".repeat(LENGTH)),
        ("colons", ":".repeat(LENGTH)),
        ("pairs in a list", format!("[{}]", "a: ".repeat(LENGTH))),
    ] {
        let start = Instant::now();
        read(&text);
        assert!(start.elapsed() < Duration::from_secs(5), "{name} took {:?}", start.elapsed());
    }
}

proptest! {
    #[test]
    fn any_text_is_safe(text: String) {
        read(&text);
    }

    /// Whatever is not a tree has a fault, and a fault has a place within the text.
    #[test]
    fn yaml_like_text(text in r#"([a-z]{1,2}|[0-9]|: |- |\? |[\[\]{},&*!|>'"%@#~.é]|<<|\n| ){0,40}"#) {
        let mut faults = Faults::new();
        let node = parse(&text, 3, &mut faults);
        prop_assert!(node.is_some() || !faults.is_empty());
        let lines = u32::try_from(text.lines().count()).unwrap().saturating_add(1);
        for fault in faults.iter() {
            let place = fault.place.unwrap();
            prop_assert!(place.file == 3 && place.column >= 1);
            prop_assert!((1..=lines).contains(&place.line), "{}: {}", place.line, fault.message);
        }
    }

    /// Every name of a document comes back, where it was written.
    #[test]
    fn places(names in prop::collection::vec("[a-z]{1,8}", 1..20)) {
        let text: String = names.iter().map(|name| format!("  - {name}x\n")).collect();
        let (node, faults) = read(&text);
        prop_assert_eq!(faults, Vec::<String>::new());
        let want: Vec<String> = (1..).zip(&names).map(|(line, name)| format!("{line}:5={name}x")).collect();
        prop_assert_eq!(short(&node.unwrap()), format!("1:3=[{}]", want.join(" ")));
    }
}
