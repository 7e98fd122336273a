//! Takers of every type, on right and wrong values.

use std::time::Duration;

use super::super::parse;
use super::*;

/// Reads the value of `a` in `text` with `take`; what it gave and the faults.
fn taken<T>(text: &str, take: impl FnOnce(Field<'_>, &mut Faults) -> T) -> (T, Vec<String>) {
    let mut faults = Faults::new();
    let node = parse(text, 0, &mut faults).unwrap();
    let mut map = MapReader::new(&node, "the file", &mut faults).unwrap();
    let value = take(map.take("a").unwrap(), &mut faults);
    (value, faults.iter().map(|fault| fault.line(&["f"])).collect())
}

/// `a: WRITTEN` gives `want`, or else the only fault `f:1:4: …` is `fault`.
fn check<T: PartialEq + std::fmt::Debug>(
    written: &str,
    want: Option<T>,
    fault: &str,
    take: impl FnOnce(Field<'_>, &mut Faults) -> Option<T>,
) {
    let (value, faults) = taken(&format!("a: {written}\n"), take);
    assert_eq!(value, want, "`{written}`: {faults:?}");
    let expected = if fault.is_empty() { vec![] } else { vec![format!("f:1:4: {fault}")] };
    assert_eq!(faults, expected, "`{written}`");
}

#[test]
fn texts() {
    for (written, want, fault) in [
        ("x", Some("x"), ""),
        ("\"1.2\"", Some("1.2"), ""),
        ("'true'", Some("true"), ""),
        ("2027-05-01", Some("2027-05-01"), ""),
        ("1.2", None, "`a` is a number, `1.2`; write it in quotes: `\"1.2\"`"),
        ("true", None, "`a` is a boolean, `true`; write it in quotes: `\"true\"`"),
        ("''", None, "`a` is empty; write a text"),
        ("~", None, "`a` has no value; write a text, or remove it"),
        ("[x]", None, "`a` is a list; write a text"),
        ("{x: y}", None, "`a` is a mapping; write a text"),
    ] {
        check(written, want.map(str::to_owned), fault, |field, faults| field.text(faults).map(str::to_owned));
    }
}

#[test]
fn texts_of_a_type() {
    check("10.0.0.1", Some("10.0.0.1".parse().unwrap()), "", |field, faults| field.parse::<std::net::IpAddr>(faults));
    check("10.0.0", None, "invalid IP address syntax", |field, faults| field.parse::<std::net::IpAddr>(faults));
}

#[test]
fn booleans() {
    for (written, want, fault) in [
        ("true", Some(true), ""),
        ("false", Some(false), ""),
        ("yes", None, "`a` is `yes`; write `true` or `false`, without quotes"),
        ("True", None, "`a` is `True`; write `true` or `false`, without quotes"),
        ("'true'", None, "`a` is `true`; write `true` or `false`, without quotes"),
        ("1", None, "`a` is `1`; write `true` or `false`, without quotes"),
    ] {
        check(written, want, fault, |field, faults| field.boolean(faults));
    }
}

#[test]
fn numbers() {
    for (written, want, fault) in [
        ("1", Some(1), ""),
        ("65535", Some(65535), ""),
        ("0", None, "`a` is `0`; write a whole number from 1 to 65535"),
        ("65536", None, "`a` is `65536`; write a whole number from 1 to 65535"),
        ("-1", None, "`a` is `-1`; write a whole number from 1 to 65535"),
        ("0443", None, "`a` is `0443`; write a whole number from 1 to 65535"),
        ("0x1bb", None, "`a` is `0x1bb`; write a whole number from 1 to 65535"),
        ("4.5", None, "`a` is `4.5`; write a whole number from 1 to 65535"),
        ("99999999999999999999", None, "`a` is `99999999999999999999`; write a whole number from 1 to 65535"),
        ("\"443\"", None, "`a` is a text; write the number without quotes"),
        ("https", None, "`a` is `https`; write a whole number from 1 to 65535"),
        ("[443]", None, "`a` is a list; write a whole number from 1 to 65535"),
    ] {
        check(written, want, fault, |field, faults| field.number(1..=65535, faults));
    }
}

#[test]
fn durations_and_sizes() {
    let range = Duration::from_millis(100)..=Duration::from_secs(300);
    for (written, want, fault) in [
        ("500ms", Some(Duration::from_millis(500)), ""),
        ("5m", Some(Duration::from_secs(300)), ""),
        ("6m", None, "`a` is `6m`; write from `100ms` to `5m`"),
        ("3", None, "`a` is `3`, without a unit; write a duration such as `3s`"),
        ("soon", None, "`soon` is not a duration; write a whole number with `ms`, `s`, `m`, `h` or `d`, such as `10s`"),
        ("[1s]", None, "`a` is a list; write a duration"),
    ] {
        check(written, want, fault, |field, faults| field.duration(range.clone(), faults));
    }
    for (written, want, fault) in [
        ("64KiB", Some(65_536), ""),
        ("3GiB", None, "`a` is `3GiB`; write from `1KiB` to `2GiB`"),
        ("3", None, "`a` is `3`, without a unit; write a size such as `3KiB`"),
        (
            "3MB",
            None,
            "`3MB` is not a size; write a whole number with `B`, `KiB`, `MiB`, `GiB` or `TiB`, such as `64KiB`",
        ),
    ] {
        check(written, want, fault, |field, faults| field.size(1 << 10..=2 << 30, faults));
    }
}

#[test]
fn words() {
    for (written, want, fault) in [
        ("sync", Some(1), ""),
        ("\"1.2\"", Some(2), ""),
        ("1.2", None, "`a` is a number, `1.2`; write it in quotes: `\"1.2\"`"),
        ("1.3", None, "`a` is `1.3`; write one of `sync`, `1.2`"),
        ("Sync", None, "`a` is `Sync`; write one of `sync`, `1.2`"),
        ("off", None, "`a` is `off`, which many YAML readers take for a boolean; write one of `sync`, `1.2`"),
        ("true", None, "`a` is `true`; write one of `sync`, `1.2`"),
        ("~", None, "`a` has no value; write one of `sync`, `1.2`, or remove it"),
    ] {
        check(written, want, fault, |field, faults| field.word(&[("sync", 1), ("1.2", 2)], faults));
    }
}

#[test]
fn words_of_a_later_version() {
    for (written, want) in [
        ("connect", ""),
        ("transparent", "`a: transparent` is not available in this version; remove it"),
        ("conect", "`a` is `conect`; write `connect` (`transparent` is not available in this version)"),
        ("{x: y}", "`a` is a mapping; write `connect` (`transparent` is not available in this version)"),
        ("5", "`a` is `5`; write `connect` (`transparent` is not available in this version)"),
        ("~", "`a` has no value; write `connect` (`transparent` is not available in this version), or remove it"),
    ] {
        check(written, None::<()>, want, |field, faults| {
            field.only("connect", &["transparent"], faults);
            None
        });
    }
    check(
        "no",
        None::<()>,
        "`a` is `no`, which many YAML readers take for a boolean; write `x` (`y`, `z` are not available in this version)",
        |field, faults| {
            field.only("x", &["y", "z"], faults);
            None
        },
    );
}

#[test]
fn lists() {
    let ports =
        |field: Field<'_>, faults: &mut Faults| field.list_of(faults, |item, faults| item.number(1..=9, faults));
    assert_eq!(taken("a: [1, 2]\n", ports), (Some(vec![1, 2]), vec![]));
    assert_eq!(taken("a: []\n", ports), (Some(vec![]), vec![]));
    let (value, faults) = taken("a:\n  - 1\n  - x\n  - 3\n  - 10\n", ports);
    assert_eq!(value, Some(vec![1, 3]));
    assert_eq!(
        faults,
        ["f:3:5: `a` is `x`; write a whole number from 1 to 9", "f:5:5: `a` is `10`; write a whole number from 1 to 9"]
    );
    check("443", None, "`a` is `443`; write a list, as `[…]` or a `- …` a line", |field, faults| {
        field.list(faults).map(|_| ())
    });
}

#[test]
fn mappings_with_free_keys() {
    let (value, faults) = taken("a: {x: 1, y: 2, z: none}\n", |field, faults| {
        let entries = field.entries(faults).unwrap();
        entries
            .map(|entry| (entry.name().to_owned(), entry.key_place().column, entry.place().column))
            .collect::<Vec<_>>()
    });
    assert_eq!((value, faults), (vec![("x".to_owned(), 5, 8), ("y".to_owned(), 11, 14)], vec![]));
    check("[x]", None, "`a` is a list; write a mapping, as `name: value`", |field, faults| {
        field.entries(faults).map(|_| ())
    });
    check("x", None, "`limits` is `x`; write a mapping, as `key: value`", |field, faults| {
        field.map("`limits`", faults).map(|_| ())
    });
}

#[test]
fn what_was_refused_is_not_reported_twice() {
    for take in [
        (|field, faults| field.text(faults).is_some()) as fn(Field<'_>, &mut Faults) -> bool,
        |field, faults| field.boolean(faults).is_some(),
        |field, faults| field.number(0..=1, faults).is_some(),
        |field, faults| field.duration(Duration::ZERO..=Duration::MAX, faults).is_some(),
        |field, faults| field.word(&[("x", 1)], faults).is_some(),
        |field, faults| field.list(faults).is_some(),
        |field, faults| field.entries(faults).is_some(),
        |field, faults| field.map("x", faults).is_some(),
    ] {
        let (some, faults) = taken("a: *b\n", take);
        assert_eq!((some, faults.len()), (false, 1));
    }
}

#[test]
fn what_comes_from_the_environment_may_be_anything() {
    let place = Place { file: 0, line: 1, column: 1 };
    let node = |text: &str| Node { place, value: Value::Text(text.into(), Style::Expanded) };
    let mut faults = Faults::new();
    assert_eq!(Field::new("a", place, &node("8000")).number(1..=9000, &mut faults), Some(8000));
    assert_eq!(Field::new("a", place, &node("8000")).text(&mut faults), Some("8000"));
    assert_eq!(Field::new("a", place, &node("true")).boolean(&mut faults), Some(true));
    assert!(faults.is_empty());
}
