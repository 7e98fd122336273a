//! What a sealed segment keeps and says, and that nothing in such a file can surprise its reader.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::ops::ControlFlow;

use proptest::prelude::*;
use serde_json::Value;

use super::contents::{MAX_GROUP_TEXT, MAX_GROUPS};
use super::testing::{Sort, id, lines, sorts, usual};
use super::*;

fn sealed(first: u64, plain: &[u8]) -> (Vec<u8>, Summary) {
    let mut file = Vec::new();
    let summary = seal(&mut &plain[..], first, &mut file).unwrap();
    (file, summary)
}

fn open(file: &[u8]) -> Result<Sealed<Cursor<&[u8]>>, SealedError> {
    Sealed::open(Cursor::new(file))
}

fn count(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap()
}

/// The fields that summaries count, by a reader that decodes everything.
fn told(line: &[u8]) -> [Option<String>; 6] {
    let record: Value = serde_json::from_slice(line).unwrap();
    Facet::COUNTED.map(|facet| record[facet.as_str()].as_str().map(str::to_owned))
}

/// Records by what groups tell apart, counted one by one.
fn counted(lines: &[u8]) -> BTreeMap<[Option<String>; 6], u64> {
    let mut counts = BTreeMap::new();
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        *counts.entry(told(line)).or_default() += 1;
    }
    counts
}

fn as_told(group: &Group) -> [Option<String>; 6] {
    Facet::COUNTED.map(|facet| group.get(facet).map(str::to_owned))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn any_lines_come_back_whole_by_frame_and_by_number(first in 0_u64..1 << 40, sorts in sorts(1..400)) {
        let plain = lines(first, &sorts);
        let (file, summary) = sealed(first, &plain);
        prop_assert_eq!(&sealed(first, &plain).0, &file, "the same lines give the same bytes");

        let mut whole = Vec::new();
        zstd::Decoder::new(&file[..]).unwrap().read_to_end(&mut whole).unwrap();
        prop_assert_eq!(&whole, &plain, "what `zstd -d` gives");

        let mut reader = open(&file).unwrap();
        prop_assert_eq!(reader.summary(), &summary);
        let frames: Vec<Vec<u8>> = (0..summary.frames.len()).map(|frame| reader.frame(frame).unwrap()).collect();
        prop_assert_eq!(&frames.concat(), &plain);
        for (number, frame) in frames.iter().enumerate() {
            let last_line = frame.split_inclusive(|byte| *byte == b'\n').next_back().unwrap();
            let is_last = number + 1 == frames.len();
            prop_assert!(is_last || frame.len() >= FRAME, "a frame is filled");
            prop_assert!(frame.len() - last_line.len() < FRAME, "and ended at the first line end");
        }
        let of_frames: Vec<Vec<&[u8]>> =
            frames.iter().map(|frame| frame.split_inclusive(|byte| *byte == b'\n').collect()).collect();
        for (seq, line) in (first..).zip(plain.split_inclusive(|byte| *byte == b'\n')) {
            let frame = reader.frame_of(seq).unwrap();
            let at = usize::try_from(seq - summary.frames[frame].first_seq).unwrap();
            prop_assert_eq!(of_frames[frame][at], line);
        }
        prop_assert_eq!(reader.frame_of(summary.last_seq + 1), None);
        prop_assert_eq!(reader.frame_of(first.wrapping_sub(1)), None);
    }

    #[test]
    fn what_it_says_is_what_counting_finds(first in 0_u64..1 << 40, sorts in sorts(1..400)) {
        let plain = lines(first, &sorts);
        let (file, summary) = sealed(first, &plain);
        let mut reader = open(&file).unwrap();
        let time = |sort: &Sort| sort.time;
        let shown = |micros: i64| format!("{:.6}", jiff::Timestamp::from_microsecond(micros).unwrap());
        prop_assert_eq!(summary.first_time.to_string(), shown(sorts[0].time));
        prop_assert_eq!(summary.last_time.to_string(), shown(sorts.last().unwrap().time));
        prop_assert_eq!(summary.earliest.to_string(), shown(sorts.iter().map(time).min().unwrap()));
        prop_assert_eq!(summary.latest.to_string(), shown(sorts.iter().map(time).max().unwrap()));
        prop_assert_eq!((summary.records(), summary.bytes), (sorts.len() as u64, count(&plain)));
        prop_assert!(summary.complete);
        let groups: BTreeMap<_, _> = summary.groups.iter().map(|group| (as_told(group), group.count)).collect();
        prop_assert_eq!(groups.len(), summary.groups.len(), "each once");
        prop_assert_eq!(groups, counted(&plain));

        for (number, frame) in summary.frames.iter().enumerate() {
            let lines = reader.frame(number).unwrap();
            let mut listed: Vec<_> = frame.groups.iter().map(|place| as_told(&summary.groups[*place as usize])).collect();
            listed.sort();
            prop_assert_eq!(listed, counted(&lines).into_keys().collect::<Vec<_>>());
            let seqs = frame.first_seq..summary.frames.get(number + 1).map_or(summary.last_seq + 1, |next| next.first_seq);
            let of_frame = &sorts[(seqs.start - first) as usize..(seqs.end - first) as usize];
            prop_assert_eq!(frame.earliest.to_string(), shown(of_frame.iter().map(time).min().unwrap()));
            prop_assert_eq!(frame.latest.to_string(), shown(of_frame.iter().map(time).max().unwrap()));
            for (seq, sort) in seqs.zip(of_frame) {
                prop_assert!(reader.may_hold(number, Key::id(&id(seq))).unwrap());
                let host = sort.host.as_ref().is_none_or(|host| reader.may_hold(number, Key::host(host)).unwrap());
                prop_assert!(host, "{:?}", sort.host);
            }
        }
    }

    #[test]
    fn no_changed_byte_surprises_the_reader(at in any::<prop::sample::Index>(), bit in 0_u8..8, cut in any::<prop::sample::Index>()) {
        let plain = lines(7, &usual(40));
        let (file, _) = sealed(7, &plain);
        let mut changed = file.clone();
        changed[at.index(file.len())] ^= 1 << bit;
        for bytes in [&changed[..], &file[..cut.index(file.len())]] {
            let Ok(mut reader) = open(bytes) else { continue };
            let _ = reader.filters();
            match reader.frame(0) {
                Ok(lines) => prop_assert_eq!(lines, &plain[..], "a checksum stands behind each frame"),
                Err(error) => prop_assert!(error.to_string().ends_with("restore the file"), "{}", error),
            }
        }
    }
}

#[test]
fn lines_are_given_from_a_number_on_until_there_is_enough() {
    let (first, sorts) = (1000, usual(9000));
    let plain = lines(first, &sorts);
    let (file, summary) = sealed(first, &plain);
    assert!(summary.frames.len() > 1);
    let all: Vec<&[u8]> = plain.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    let begins = summary.frames[1].first_seq;
    for (from, skipped) in
        [(0, 0), (1000, 0), (1001, 1), (begins - 1, begins - 1001), (begins, begins - 1000), (9999, 8999)]
    {
        let (mut found, mut numbers) = (Vec::new(), first + skipped..);
        let each = &mut |seq, line: &[u8]| {
            assert_eq!(Some(seq), numbers.next());
            found.push(line.to_vec());
            ControlFlow::Continue(())
        };
        open(&file).unwrap().lines_from(from, each).unwrap();
        assert!(found == all[usize::try_from(skipped).unwrap()..], "from {from}");
    }
    let mut given = 0;
    let mut each = |_, _: &[u8]| {
        given += 1;
        if given == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    open(&file).unwrap().lines_from(10_000, &mut each).unwrap();
    open(&file).unwrap().lines_from(begins - 2, &mut each).unwrap();
    assert_eq!(given, 3, "none behind the last, and no more than enough");
}

#[test]
fn what_is_no_segment_is_not_sealed() {
    let plain = lines(7, &usual(3));
    let text = String::from_utf8(plain.clone()).unwrap();
    let cut: Vec<&str> = text.split_inclusive('\n').collect();
    for (name, lines, want) in [
        ("nothing", String::new(), "has no records"),
        ("another number", cut[1..].concat(), "line 1 is not record 7: it has number 8; restore the file"),
        ("a line is missing", [cut[0], cut[2]].concat(), "line 2 is not record 8: it has number 9; restore the file"),
        ("a line twice", [cut[0], cut[0]].concat(), "line 2 is not record 8: it has number 7; restore the file"),
        (
            "an empty line",
            [cut[0], "\n"].concat(),
            "line 2 is not record 8: it is not one line of UTF-8 that ends in `}`, without control characters and of at most 16 KiB; restore the file",
        ),
        (
            "no newline",
            text.trim_end().to_owned(),
            "line 3 is not record 9: it is not one line of UTF-8 that ends in `}`, without control characters and of at most 16 KiB; restore the file",
        ),
        (
            "zeros",
            format!("{text}\0\0"),
            "line 4 is not record 10: it is not one line of UTF-8 that ends in `}`, without control characters and of at most 16 KiB; restore the file",
        ),
        (
            "another kind",
            text.replace("decision", "decided"),
            "line 1 is not record 7: it has a `kind` that no record has; restore the file",
        ),
    ] {
        let error = seal(&mut lines.as_bytes(), 7, &mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), want, "{name}");
    }
}

#[test]
fn faults_outside_are_told_apart() {
    struct Faulty;
    impl Read for Faulty {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("broken"))
        }
    }
    impl std::io::Write for Faulty {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("full"))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let read = seal(&mut std::io::BufReader::new(Faulty), 0, &mut Vec::new()).unwrap_err();
    assert_eq!(read.to_string(), "can't be read: broken");
    let write = seal(&mut &lines(0, &usual(1))[..], 0, &mut Faulty).unwrap_err();
    assert_eq!(write.to_string(), "can't be written: full");
}

#[test]
fn too_many_sorts_are_counted_by_kind_and_outcome() {
    let line = |seq: usize, rule: &str| {
        let outcome = if seq.is_multiple_of(2) { "allow" } else { "deny" };
        format!(
            r#"{{"v":1,"seq":{seq},"time":"2026-11-21T10:00:00.000001Z","kind":"close","outcome":"{outcome}","rule":"{rule}"}}"#
        ) + "\n"
    };
    let long = "x".repeat(MAX_GROUP_TEXT / 100);
    for (name, rules, complete, groups) in [
        ("as many as may be", (0..MAX_GROUPS).map(|rule| rule.to_string()).collect::<Vec<_>>(), true, MAX_GROUPS),
        ("one more", (0..=MAX_GROUPS).map(|rule| rule.to_string()).collect(), false, MAX_GROUPS + 1),
        ("many more", (0..MAX_GROUPS + 9).map(|rule| rule.to_string()).collect(), false, MAX_GROUPS + 2),
        ("texts that are too long", (0..110).map(|rule| format!("{rule}{long}")).collect(), false, 101),
    ] {
        let plain: String = rules.iter().enumerate().map(|(seq, rule)| line(seq, rule)).collect();
        let (file, summary) = sealed(0, plain.as_bytes());
        assert_eq!(summary.complete, complete, "{name}");
        assert_eq!(open(&file).unwrap().summary(), &summary, "{name}");
        let told = summary.groups.iter().filter(|group| group.rule.is_some()).count();
        assert!(summary.groups.len() >= groups.min(told + 1) && told <= MAX_GROUPS, "{name}: {told}");
        for outcome in ["allow", "deny"] {
            let of_outcome = summary.groups.iter().filter(|group| group.outcome.as_deref() == Some(outcome));
            let want = rules.len() / 2 + usize::from(outcome == "allow" && !rules.len().is_multiple_of(2));
            assert_eq!(of_outcome.map(|group| group.count).sum::<u64>(), want as u64, "{name}: {outcome}");
        }
        assert!(complete || summary.frames.iter().all(|frame| frame.groups.is_empty()), "{name}");
    }
}

/// A file of one frame with another summary, filters or table.
fn forged(summary: &Summary, filters: &[u8], table: impl FnOnce(&mut Vec<seek_table::Entry>)) -> Vec<u8> {
    let plain = lines(7, &usual(40));
    let frame = zstd::bulk::compress(&plain, 1).unwrap();
    let json = serde_json::to_vec(summary).unwrap();
    let parts = [frame, skippable(FILTERS, filters), skippable(SUMMARY, &json)];
    let length = |part: &Vec<u8>| u32::try_from(part.len()).unwrap();
    let mut entries: Vec<_> =
        parts.iter().map(|part| seek_table::Entry { compressed: length(part), plain: 0 }).collect();
    entries[0].plain = length(&plain);
    table(&mut entries);
    [parts.concat(), seek_table::write(&entries)].concat()
}

#[test]
fn what_contradicts_itself_is_refused() {
    let (file, mut good) = sealed(7, &lines(7, &usual(40)));
    let mut filters = Filters::default();
    filters.push(&mut vec![Key::id("x")]);
    // The forged frame has no checksum.
    good.frames[0].compressed = zstd::bulk::compress(&lines(7, &usual(40)), 1).unwrap().len() as u64;
    let with = |change: &dyn Fn(&mut Summary)| {
        let mut summary = good.clone();
        change(&mut summary);
        forged(&summary, filters.as_bytes(), |_| ())
    };
    assert!(open(&with(&|_| ())).is_ok(), "the forger is right");
    for (name, bytes, want) in [
        ("nothing", Vec::new(), "has no seek table at its end"),
        ("lines", lines(7, &usual(3)), "has no seek table at its end"),
        ("cut off", file[..file.len() - 1].to_vec(), "has no seek table at its end"),
        ("without its beginning", file[1..].to_vec(), "before its seek table, which is about"),
        ("more in front", [b"x", &file[..]].concat(), "before its seek table, which is about"),
        ("another version", with(&|summary| summary.version = 2), "whose version contradict"),
        ("another first number", with(&|summary| summary.first_seq = 8), "whose numbers contradict"),
        ("a last number before the first", with(&|summary| summary.last_seq = 6), "whose numbers contradict"),
        ("the last number of all", with(&|summary| summary.last_seq = u64::MAX), "whose numbers contradict"),
        ("another frame", with(&|summary| summary.frames[0].first_seq = 8), "whose numbers contradict"),
        ("a frame elsewhere", with(&|summary| summary.frames[0].offset = 1), "whose frames contradict"),
        ("a longer frame", with(&|summary| summary.frames[0].compressed += 1), "whose frames contradict"),
        ("more lines", with(&|summary| summary.frames[0].plain += 1), "whose frames contradict"),
        ("a frame less", with(&|summary| summary.frames.clear()), "whose frames contradict"),
        ("more bytes", with(&|summary| summary.bytes += 1), "whose lengths contradict"),
        ("a group that is not there", with(&|summary| summary.frames[0].groups.push(9)), "whose groups contradict"),
        ("an empty table", seek_table::write(&[]), "has no seek table at its end"),
        ("a table of one", seek_table::write(&[seek_table::Entry { compressed: 0, plain: 0 }]), "has no seek table"),
    ] {
        let error = open(&bytes).err().unwrap_or_else(|| panic!("{name} is opened"));
        assert!(error.to_string().contains(want), "{name}: {error}");
    }
    let plain = |entries: &mut Vec<seek_table::Entry>, at: usize| entries[at].plain = 1;
    assert!(matches!(open(&forged(&good, &[], |entries| plain(entries, 2))), Err(SealedError::NoSummary)));
    let contradiction = open(&forged(&good, &[], |entries| plain(entries, 1))).err();
    assert!(matches!(contradiction, Some(SealedError::Contradiction { what: "frames" })), "{contradiction:?}");
    let without_filters = forged(&good, &[], |_| ());
    let mut unfiltered = open(&without_filters).ok().unwrap();
    assert_eq!(unfiltered.filters().unwrap_err().to_string(), "has no 1 filters; restore the file");
}

#[test]
fn nothing_is_read_beyond_its_bounds() {
    let (_, mut summary) = sealed(7, &lines(7, &usual(40)));
    summary.frames[0].compressed = zstd::bulk::compress(&lines(7, &usual(40)), 1).unwrap().len() as u64;
    // A frame that would take too much memory, told the same in both places.
    let mut large = summary.clone();
    (large.frames[0].plain, large.bytes) = (MAX_PLAIN + 1, MAX_PLAIN + 1);
    let bytes = forged(&large, &[], |entries| entries[0].plain = u32::try_from(MAX_PLAIN + 1).unwrap());
    assert!(matches!(open(&bytes), Err(SealedError::Contradiction { what: "lengths" })));
    // One that holds more, or less, than is told.
    for (name, plain) in [("more", summary.frames[0].plain - 1), ("less", summary.frames[0].plain + 1)] {
        let mut other = summary.clone();
        (other.frames[0].plain, other.bytes) = (plain, plain);
        let bytes = forged(&other, &[], |entries| entries[0].plain = u32::try_from(plain).unwrap());
        let error = open(&bytes).ok().unwrap().frame(0).unwrap_err();
        assert!(matches!(error, SealedError::Frame { frame: 0, .. }), "{name}: {error}");
    }
    let no_frame = open(&forged(&summary, &[], |_| ())).ok().unwrap().frame(1).unwrap_err();
    assert_eq!(no_frame.to_string(), "has no frame 1");
    // A table, a summary and filters that are too long: sparse files can be as long as they like.
    let entries = vec![seek_table::Entry { compressed: 0, plain: 1 }; MAX_FRAMES + 3];
    assert!(matches!(open(&seek_table::write(&entries)), Err(SealedError::NoSeekTable)));
    let long = skippable(SUMMARY, &vec![b' '; MAX_SUMMARY + 1]);
    let entry = |part: &[u8]| seek_table::Entry { compressed: u32::try_from(part.len()).unwrap(), plain: 0 };
    let file = [long.clone(), seek_table::write(&[entry(&[]), entry(&long)])].concat();
    assert!(matches!(open(&file), Err(SealedError::NoSummary)));
    let long = vec![0; MAX_FILTERS + 1];
    assert!(open(&forged(&summary, &long, |_| ())).ok().unwrap().filters().is_err());
}
