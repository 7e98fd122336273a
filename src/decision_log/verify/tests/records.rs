//! Damage to records and segments, by table.

use super::super::Torn;
use super::super::sample::{Sample, verify};
use super::{Damage, OPEN, cut, edit, flip, frame_at, put, reseal, rewrite};

/// The open segment begins with record 600, the sealed one before it with 300.
const ROWS: [(&str, Damage, &str); 23] = [
    (
        "edited",
        |files| rewrite(files, |lines| edit(&mut lines[17])),
        "segments/000000000600.jsonl:18: record 617 was changed",
    ),
    (
        "edited before a full tile",
        |files| reseal(files, |lines| edit(&mut lines[7])),
        "segments/000000000300.jsonl.zst:8: record 307 was changed",
    ),
    (
        "deleted",
        |files| rewrite(files, |lines| drop(lines.remove(17))),
        "segments/000000000600.jsonl:18: record 617 is missing: this is record 618",
    ),
    (
        "deleted and numbered anew",
        |files| {
            rewrite(files, |lines| {
                lines.remove(17);
                for (place, line) in lines.iter_mut().enumerate().skip(17) {
                    *line = line.replacen(&format!("\"seq\":{}", 601 + place), &format!("\"seq\":{}", 600 + place), 1);
                }
            })
        },
        "segments/000000000600.jsonl:18: record 617 was changed",
    ),
    (
        "swapped",
        |files| rewrite(files, |lines| lines.swap(17, 18)),
        "segments/000000000600.jsonl:18: record 617 is in line 19: this is record 618",
    ),
    (
        "repeated",
        |files| rewrite(files, |lines| lines.insert(18, lines[17].clone())),
        "segments/000000000600.jsonl:19: record 617 stands here again; record 618 belongs here",
    ),
    (
        "put in",
        |files| {
            rewrite(files, |lines| {
                lines.insert(17, lines[17].clone());
                edit(&mut lines[17]);
            })
        },
        "segments/000000000600.jsonl:18: record 617 was put in before the one that was signed, in line 19",
    ),
    (
        "an earlier one put in",
        |files| rewrite(files, |lines| lines.insert(17, lines[3].clone())),
        "segments/000000000600.jsonl:18: record 603 stands here again; record 617 belongs here",
    ),
    (
        "a heartbeat edited",
        |files| rewrite(files, |lines| lines[100] = lines[100].replace("checkpoint\":\"sally", "checkpoint\":\"Sally")),
        "segments/000000000600.jsonl:101: record 700 was changed",
    ),
    (
        "an edit and a gap behind it",
        |files| {
            rewrite(files, |lines| {
                edit(&mut lines[17]);
                lines.remove(40);
            })
        },
        "segments/000000000600.jsonl:18: record 617 was changed",
    ),
    (
        "a control character",
        |files| rewrite(files, |lines| lines[17].insert(60, '\u{7f}')),
        "segments/000000000600.jsonl:18: record 617 has a control character",
    ),
    (
        "not UTF-8",
        |files| {
            let at = files[OPEN].iter().position(|byte| *byte == b'x').unwrap();
            files.get_mut(OPEN).unwrap()[at] = 0xff;
        },
        "segments/000000000600.jsonl:2: record 601 is not UTF-8",
    ),
    (
        "too long",
        |files| rewrite(files, |lines| lines[17].insert_str(60, &"x".repeat(16 * 1024))),
        "segments/000000000600.jsonl:18: record 617 is longer than 16 KiB",
    ),
    (
        "no record",
        |files| rewrite(files, |lines| lines[17].clear()),
        "segments/000000000600.jsonl:18: record 617 does not stand here, nor does any other",
    ),
    (
        "another version",
        |files| rewrite(files, |lines| lines[17] = lines[17].replace("\"v\":1", "\"v\":2")),
        "segments/000000000600.jsonl:18: record 617 does not stand here, nor does any other",
    ),
    (
        "two lines made one",
        |files| {
            let end = files[OPEN].iter().position(|byte| *byte == b'\n').unwrap();
            files.get_mut(OPEN).unwrap()[end] = b' ';
        },
        "segments/000000000600.jsonl:1: record 600 was changed",
    ),
    (
        "the end is gone",
        |files| rewrite(files, |lines| lines.truncate(100)),
        "segments/000000000600.jsonl: the log ends with 700 records; `checkpoint` signs 740",
    ),
    (
        "the end is torn",
        |files| {
            let bytes = files.get_mut(OPEN).unwrap();
            bytes.truncate(bytes.len() - 11 * 170);
        },
        "segments/000000000600.jsonl:140: record 739 has no end",
    ),
    (
        "a whole segment is gone",
        |files| drop(files.remove("segments/000000000300.jsonl.zst")),
        "segments/000000000600.jsonl: records 300 to 599 are missing before it",
    ),
    (
        "the first is gone",
        |files| drop(files.remove("segments/000000000000.jsonl.zst")),
        "segments/000000000300.jsonl.zst: records 0 to 299 are missing before it",
    ),
    (
        "all are gone",
        |files| files.retain(|name, _| !name.starts_with("segments/")),
        "segments: the log ends with 0 records; `checkpoint` signs 740",
    ),
    (
        "a segment twice",
        |files| {
            let again = files[OPEN].clone();
            files.insert("segments/000000000700.jsonl".to_owned(), again);
        },
        "segments/000000000700.jsonl: begins with a record that the segments before it have: they end with record 749",
    ),
    (
        "a swap of what is not signed",
        |files| rewrite(files, |lines| lines.swap(145, 146)),
        "segments/000000000600.jsonl:146: record 745 is in line 147: this is record 746",
    ),
];

#[test]
fn every_damage_to_records_is_named() {
    for (name, damage, want) in ROWS {
        let mut files = Sample::usual().files;
        damage(&mut files);
        assert_eq!(verify(&files, None, &[]).unwrap_err(), want, "{name}");
    }
}

#[test]
fn every_damage_to_a_sealed_segment_is_named() {
    const FILE: &str = "segments/000000000300.jsonl.zst";
    let rows: [(&str, Damage, &str); 6] = [
        ("the data", |files| flip(files, FILE, 999), ": frame 0 can't be decompressed"),
        (
            "a count",
            |files| {
                let at = frame_at(files, FILE, 0x184d_2a50);
                let count = files[FILE][at..].windows(10).position(|bytes| bytes == b"\"count\":29").unwrap();
                flip(files, FILE, at + count + 9);
            },
            ": has a summary that is not that of its records; restore the file",
        ),
        (
            "a filter",
            |files| {
                let at = frame_at(files, FILE, 0x184d_2a51);
                flip(files, FILE, at + 8 + 4 + 30);
            },
            ": has filters that are not those of its records; restore the file",
        ),
        (
            "the seek table",
            |files| {
                let at = frame_at(files, FILE, 0x184d_2a5e);
                flip(files, FILE, at + 8);
            },
            ": has ",
        ),
        ("the end", |files| cut(files, FILE), ": has no seek table at its end"),
        (
            "another segment's lines",
            |files| {
                let other = files["segments/000000000000.jsonl.zst"].clone();
                files.insert(FILE.to_owned(), other);
            },
            ":1: record 0 stands here again; record 300 belongs here",
        ),
    ];
    for (name, damage, want) in rows {
        let mut files = Sample::usual().files;
        damage(&mut files);
        let bad = verify(&files, None, &[]).unwrap_err();
        assert!(bad.starts_with(&format!("{FILE}{want}")), "{name}: {bad}");
    }
}

#[test]
fn a_torn_end_is_no_fault_behind_what_is_signed() {
    for (name, tail, want) in [
        ("half a line", b"{\"v\":1,\"seq\":750,\"ti".to_vec(), ""),
        ("zeros", vec![0; 4096], ""),
        ("zeros and a line", [&[0; 100][..], b"\n{\"v\":1,\"seq\":751,\"a\":1}\n"].concat(), ""),
        ("a long line", vec![b'x'; 20_000], ""),
        (
            "more than a commit",
            vec![b'x'; 1_100_000],
            "segments/000000000600.jsonl:151: record 750 is longer than 16 KiB",
        ),
        (
            "another record",
            b"{\"v\":1,\"seq\":751,\"a\":1}\n".to_vec(),
            "segments/000000000600.jsonl:151: record 750 is missing: this is record 751",
        ),
    ] {
        let mut files = Sample::usual().files;
        files.get_mut(OPEN).unwrap().extend(&tail);
        let torn = Torn { file: OPEN.to_owned(), line: 151, bytes: tail.len() as u64 };
        let want = if want.is_empty() { Ok(Some(torn)) } else { Err(want.to_owned()) };
        assert_eq!(verify(&files, None, &[]).map(|verified| verified.torn), want, "{name}");
    }
    let mut early = Sample::usual().files;
    let first = early.remove("segments/000000000300.jsonl.zst").unwrap();
    let plain = zstd::decode_all(first.as_slice()).unwrap();
    put(&mut early, "segments/000000000300.jsonl", plain[..plain.len() - 9].to_vec());
    assert_eq!(verify(&early, None, &[]).unwrap_err(), "segments/000000000300.jsonl:300: record 599 has no end");
}
