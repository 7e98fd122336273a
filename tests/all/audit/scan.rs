//! `audit scan` from outside: files, folders, a log's own segments, streams; what is told and what never is.
//! Not here: what is found (`recall`), the report's form (`evidence::search`).
//! Source: PCI DSS 3.3.1, 3.5.1.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Proxy, Setup, write_setup};
use crate::programs::{Finished, finish, program, sallyport};

fn scan(dir: &Path, args: &[&str], input: &str) -> Finished {
    finish(sallyport().current_dir(dir).args(["audit", "scan"]).args(args), input)
}

/// Files of every kind; two of them hold a card number.
fn files() -> TempDir {
    let dir = TempDir::new().unwrap();
    fs::create_dir_all(dir.path().join("logs/old")).unwrap();
    for (name, text) in [
        ("logs/a.log", &b"one\ncard 4111111111111111 x\n[PAN:visa:16]\n"[..]),
        ("logs/clean.log", b"nothing\n"),
        ("logs/old/core", b"\0\x7fELF 5555555555554444\0"),
    ] {
        fs::write(dir.path().join(name), text).unwrap();
    }
    std::os::unix::fs::symlink("../..", dir.path().join("logs/old/up")).unwrap();
    dir
}

#[test]
fn finds_are_told_by_place_and_kind_and_never_by_value() {
    let dir = files();
    let ended = scan(dir.path(), &["logs"], "");
    let want = "logs/a.log:2:6: pan visa 16 digits\n\
                logs/old/core@6: pan mastercard 16 digits\n\
                found 2: 2 pan in 3 files, 73 bytes; 1 marks of earlier redaction\n";
    assert_eq!((ended.code, &*ended.out, &*ended.err), (Some(1), want, ""), "{ended:?}");
    for (name, args, input, code, says) in [
        ("clean", &["logs/clean.log"][..], "", 0, "found 0 in 1 files, 8 bytes; 0 marks"),
        ("stdin", &["-"], "a\nb 378282246310005", 1, "stdin:2:3: pan amex 15 digits\n"),
        ("a missing file", &["logs/clean.log", "none"], "", 3, "found 0 in 1 files, 8 bytes, 1 unreadable"),
        ("a find and a missing file", &["none", "logs/a.log"], "", 1, "logs/a.log:2:6: pan visa 16 digits\n"),
        ("no file", &[], "", 2, ""),
    ] {
        let ended = scan(dir.path(), args, input);
        assert_eq!(ended.code, Some(code), "{name}: {ended:?}");
        assert!(ended.out.contains(says), "{name}: {ended:?}");
        assert_eq!(ended.err.contains("none: No such file or directory"), args.contains(&"none"), "{name}: {ended:?}");
    }
}

#[test]
fn a_report_has_digests_and_verdicts() {
    let dir = files();
    for args in [&["--report", "json", "logs"][..], &["-o", "json", "logs"]] {
        let ended = scan(dir.path(), args, "");
        assert_eq!((ended.code, &*ended.err), (Some(1), ""), "{ended:?}");
        let report: Value = serde_json::from_str(&ended.out).unwrap();
        let core = report["files"].as_array().unwrap().iter().find(|file| file["name"] == "logs/old/core").unwrap();
        let sum = finish(program("sha256sum").current_dir(dir.path()).arg("logs/old/core"), "").out;
        assert_eq!(core["sha256"].as_str(), sum.split(' ').next(), "{core}");
        assert_eq!((&core["bytes"], &core["places"][0]["offset"]), (&23.into(), &6.into()), "{core}");
        let verdicts = report["verdicts"].as_array().unwrap();
        let of = |requirement: &str| &verdicts.iter().find(|one| one["requirement"] == requirement).unwrap()["verdict"];
        assert_eq!((of("3.5.1"), of("3.3.1.2")), (&"violated".into(), &"incomplete".into()), "{report}");
        assert_eq!(report["not_searched"][0]["name"], "logs/old/up", "{report}");
        assert_eq!(
            (&report["total"]["marks"], &report["given"]),
            (&1.into(), &serde_json::json!(["logs"])),
            "{report}"
        );
    }
    let text = scan(dir.path(), &["--report", "text", "logs/clean.log"], "");
    assert_eq!(text.code, Some(0), "{text:?}");
    assert!(text.out.contains("  3.5.1    readable card numbers: none found\n"), "{text:?}");
}

#[test]
fn more_finds_than_are_told_are_counted() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("f"), "4111111111111111\n".repeat(150)).unwrap();
    let ended = scan(dir.path(), &["f"], "");
    let lines: Vec<&str> = ended.out.lines().collect();
    assert_eq!(lines.len(), 102, "{ended:?}");
    assert_eq!(lines[99..], ["f:100:1: pan visa 16 digits", "f: 50 more", lines[101]], "{ended:?}");
    assert!(lines[101].starts_with("found 150: 150 pan in 1 files"), "{ended:?}");
}

#[test]
fn a_log_is_clean_and_what_is_sealed_is_read() {
    let dir = TempDir::new().unwrap();
    write_setup(dir.path(), &Setup::default());
    let proxy = Proxy::start_in(dir);
    let (_, answer) = proxy.ask(b"CONNECT 4111111111111111.test:443 HTTP/1.1\r\n\r\n");
    assert!(answer.contains("sensitive_data_in_target"), "{answer}");
    let (dir, _) = proxy.stop();
    let ended = scan(dir.path(), &["decisions"], "");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.ends_with("; 1 marks of earlier redaction\n"), "{ended:?}");
    // What was written by others may be compressed too.
    let text = b"a\n{\"pan\":\"4111111111111111\"}\n".repeat(5);
    fs::write(dir.path().join("old.jsonl.zst"), zstd::encode_all(&text[..], 3).unwrap()).unwrap();
    let ended = scan(dir.path(), &["-o", "json", "old.jsonl.zst"], "");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    let file = &report["files"][0];
    assert_eq!((&file["decompressed"], &file["finds"]["total"]), (&text.len().into(), &5.into()), "{file}");
    let mut cut = zstd::encode_all(&text[..], 3).unwrap();
    cut.truncate(cut.len() - 5);
    fs::write(dir.path().join("cut.zst"), cut).unwrap();
    assert_eq!(scan(dir.path(), &["cut.zst"], "").code, Some(3), "a file that is cut off is not searched to its end");
}

#[test]
fn names_are_cleaned_like_any_other_text() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("4111111111111111\u{1b}[0m.log"), "378282246310005").unwrap();
    for args in [&["."][..], &["--report", "text", "."], &["--report", "json", "."]] {
        let ended = scan(dir.path(), args, "");
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.out.contains(if args.contains(&"json") { "\"total\":2" } else { "found 2: 2 pan" }), "{ended:?}");
        assert!(ended.out.contains("[PAN:visa:16]"), "{ended:?}");
        assert!(!ended.out.contains("4111111") && !ended.out.contains('\u{1b}'), "{ended:?}");
    }
}

#[test]
fn a_number_in_a_name_is_a_find_and_counts_once() {
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("4111111111111111")).unwrap();
    for name in ["a", "b", "378282246310005.log"] {
        fs::write(dir.path().join("4111111111111111").join(name), "clean").unwrap();
    }
    let ended = scan(dir.path(), &["."], "");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let want = "./[PAN:visa:16]/[PAN:amex:15].log: in its name: pan visa 16 digits\n\
                ./[PAN:visa:16]/[PAN:amex:15].log: in its name: pan amex 15 digits\n\
                found 2: 2 pan in 3 files, 15 bytes; 0 marks of earlier redaction\n";
    assert_eq!(ended.out, want);
}

#[test]
fn what_is_not_searched_is_never_called_clean() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("a.log"), "clean").unwrap();
    fs::write(dir.path().join("a.log.gz"), b"\x1f\x8b\x08\0\0\0\0\0\0\x03").unwrap();
    let ended = scan(dir.path(), &["--report", "text", "."], "");
    assert_eq!(ended.code, Some(3), "{ended:?}");
    for says in ["incomplete: none found", "./a.log.gz: is compressed with gzip; decompress it"] {
        assert!(ended.out.contains(says), "{says}: {ended:?}");
    }
    // What was found before a file ended too early stays found.
    let noise: Vec<u8> = (0..700_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let mut cut = zstd::encode_all(&[b"pan 4111111111111111\n", &noise[..]].concat()[..], 3).unwrap();
    cut.truncate(cut.len() / 2);
    fs::write(dir.path().join("cut"), cut).unwrap();
    let ended = scan(dir.path(), &["--report", "json", "cut"], "");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(report["verdicts"][3]["verdict"], "violated", "{report}");
    assert_eq!(
        (&report["files"][0]["places"][0]["offset"], &report["total"]["unreadable"]),
        (&4.into(), &1.into()),
        "{report}"
    );
    assert!(report["files"][0].get("sha256").is_none(), "{report}");
    assert!(report["not_searched"][0]["why"].as_str().unwrap().starts_with("not read to its end: "), "{report}");
}
