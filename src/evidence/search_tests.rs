//! Verdicts and lists of a search.

use super::*;
use crate::redact::{self, Piece, Redactor, Stream};

fn name(text: &str) -> Redacted {
    redact::clean(text.as_bytes(), 100).text
}

/// A file of this text; binary ones have no lines.
fn searched(file: &str, text: &str, has_lines: bool) -> Searched {
    let redactor = Redactor::default();
    let mut stream = Stream::new(&redactor);
    let mut places = Vec::new();
    let mut each = |piece: Piece<'_, '_>| {
        if let Piece::Found(find) = piece {
            places.push(FoundAt::new(&find, has_lines));
        }
    };
    stream.push(text.as_bytes(), &mut each);
    stream.finish(&mut each);
    Searched {
        name: name(file),
        bytes: 7,
        sha256: Some("00".to_owned()),
        decompressed: None,
        finds: stream.counts().clone(),
        places,
        places_left_out: 0,
        marks: stream.marks(),
    }
}

fn search() -> Search {
    Search::new("2026-11-22T10:00:00Z".to_owned(), "sallyport 0".to_owned(), vec![name("logs")], None)
}

#[test]
fn a_verdict_is_what_was_found_and_whether_all_was_read() {
    let pan = "x\n 4111111111111111";
    for (name, texts, fails, want) in [
        ("nothing to search", &[][..], 0, "incomplete"),
        ("clean", &["a", "[PAN:visa:16]"], 0, "nothing_found"),
        ("a card number", &["a", pan, "b"], 0, "violated"),
        ("a track", &[";4111111111111111=29121010000012300000?"], 0, "violated"),
        ("clean, not whole", &["a"], 1, "incomplete"),
        ("a card number, not whole", &[pan], 1, "violated"),
    ] {
        let mut search = search();
        texts.iter().for_each(|text| search.add(searched("f", text, true)));
        (0..fails).for_each(|_| search.fail(super::tests::name("g"), "why"));
        let search = search.finish();
        let verdict = search.verdicts.iter().find(|verdict| verdict.requirement == "3.5.1").unwrap();
        assert_eq!(verdict.verdict, want, "{name}");
        let others: Vec<&str> = search.verdicts.iter().map(|verdict| verdict.requirement).collect();
        assert_eq!(others, ["3.3.1.1", "3.3.1.2", "3.3.1.3", "3.5.1"]);
        assert_eq!(search.total.unreadable, fails, "{name}");
    }
    let mut search = search();
    search.add(searched("f", "a", true));
    search.skip(name("link"), "is a symbolic link");
    assert_eq!(search.finish().verdicts[3].verdict, "incomplete", "a link was left out");
}

#[test]
fn what_was_found_before_a_file_failed_counts_and_so_does_its_name() {
    let mut search = search();
    let part = Searched { sha256: None, ..searched("a.zst", "4111111111111111", true) };
    search.add_part(part, "ends too early");
    let (found, name) = (searched("f", "378282246310005", true), name("378282246310005"));
    search.add_name(&found.finds, vec![FoundInName { name, what: "pan amex 15 digits".to_owned() }]);
    let search = search.finish();
    assert_eq!((search.total.files, search.total.unreadable), (0, 1));
    assert_eq!((search.verdicts[3].verdict, search.verdicts[3].found), ("violated", 2));
    let text = search.text();
    for line in [
        "  a.zst  7 bytes  not read to its end  found 1: 1 pan  marks 0",
        "    a.zst:1:1: pan visa 16 digits",
        "  [PAN:amex:15]: in its name: pan amex 15 digits",
        "  a.zst: ends too early",
    ] {
        assert!(text.lines().any(|got| got == line), "`{line}` in\n{text}");
    }
}

#[test]
fn the_report_says_all_but_what_was_found() {
    let mut search = search();
    search.add(searched("a.log", "x\n 4111111111111111 and [PAN:visa:16]", true));
    search.add(searched("b.bin", "378282246310005", false));
    search.add(searched("4111111111111111.log", "", true));
    search.skip(name("link"), "is a symbolic link");
    let search = search.finish();
    let text = search.text();
    for line in [
        "result        found 2: 2 pan in 3 files, 21 bytes; 1 marks of earlier redaction",
        "  3.3.1.2  card verification codes: incomplete: none found, and not all was searched",
        "  3.5.1    readable card numbers: violated: 2 found",
        "           1  [PAN:amex:15]",
        "  a.log  7 bytes  sha256 00  found 1: 1 pan  marks 1",
        "    a.log:2:2: pan visa 16 digits",
        "    b.bin@0: pan amex 15 digits",
        "  [PAN:visa:16].log  7 bytes  sha256 00  found 0  marks 0",
        "  link: is a symbolic link",
        "  what is encrypted",
    ] {
        assert!(text.lines().any(|got| got == line), "`{line}` in\n{text}");
    }
    let json = serde_json::to_string(&search).unwrap();
    for text in [&text, &json] {
        assert!(!text.contains("41111111") && !text.contains("37828224"), "{text}");
    }
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        json["files"][0]["places"],
        serde_json::json!([{"line": 2, "column": 2, "offset": 3, "what": "pan visa 16 digits"}])
    );
    assert_eq!(json["files"][1]["places"], serde_json::json!([{"offset": 0, "what": "pan amex 15 digits"}]));
    assert_eq!(json["total"]["finds"]["marks"], serde_json::json!({"[PAN:amex:15]": 1, "[PAN:visa:16]": 1}));
}

#[test]
fn lists_are_bounded_and_sums_are_not() {
    let mut search = search();
    let one = searched("f", "4111111111111111", true);
    for _ in 0..MAX_FILES + 3 {
        search.add(one.clone());
        search.fail(name("g"), "why");
    }
    let search = search.finish();
    assert_eq!((search.files.len(), search.files_left_out), (MAX_FILES, 3));
    assert_eq!((search.not_searched.len(), search.not_searched_left_out), (MAX_FILES, 3));
    let all = u64::try_from(MAX_FILES + 3).unwrap();
    assert_eq!((search.total.files, search.total.unreadable, search.total.finds.total()), (all, all, all));
    assert!(search.text().lines().any(|line| line == "    and 3 more"));
}

#[test]
fn places_are_bounded_over_all_files() {
    let mut search = search();
    let mut one = searched("f", "4111111111111111", true);
    one.places = vec![one.places[0].clone(); MAX_PLACES];
    let files = usize::try_from(MAX_PLACES_IN_ALL).unwrap() / MAX_PLACES;
    (0..files + 2).for_each(|_| search.add(one.clone()));
    assert_eq!(search.files[files - 1].places.len(), MAX_PLACES);
    let last = &search.files[files + 1];
    assert_eq!((last.places.len(), last.places_left_out), (0, 100));
}
