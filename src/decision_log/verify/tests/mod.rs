//! Every kind of damage, by the line that it gets. Not here: files and threads (`runtime::archive`), the command (`tests/all/audit.rs`).

mod heads;
mod records;
mod tiles;

use proptest::prelude::*;

use super::sample::{Files, Sample, key, text, verify};
use crate::decision_log::Checkpoint;
use crate::decision_log::sealed::seal;
use heads::changed_keys;

/// The open segment, which begins with record 600.
const OPEN: &str = "segments/000000000600.jsonl";

/// A segment's lines, whichever form it has.
fn lines_of(files: &Files, name: &str) -> Vec<String> {
    let bytes = &files[name];
    let plain = if name.ends_with(".zst") { zstd::decode_all(bytes.as_slice()).unwrap() } else { bytes.clone() };
    String::from_utf8(plain).unwrap().lines().map(str::to_owned).collect()
}

/// Writes other lines into the open segment.
fn rewrite(files: &mut Files, change: impl FnOnce(&mut Vec<String>)) {
    let mut lines = lines_of(files, OPEN);
    change(&mut lines);
    files.insert(OPEN.to_owned(), text(&lines).into_bytes());
}

/// Seals other lines in the place of a sealed segment, as somebody would who knows the format.
fn reseal(files: &mut Files, change: impl FnOnce(&mut Vec<String>)) {
    let name = "segments/000000000300.jsonl.zst";
    let mut lines = lines_of(files, name);
    change(&mut lines);
    let mut packed = Vec::new();
    seal(&mut text(&lines).as_bytes(), 300, &mut packed).unwrap();
    files.insert(name.to_owned(), packed);
}

fn put(files: &mut Files, name: &str, bytes: Vec<u8>) {
    files.insert(name.to_owned(), bytes);
}

fn cut(files: &mut Files, name: &str) {
    files.get_mut(name).unwrap().pop();
}

fn flip(files: &mut Files, name: &str, at: usize) {
    let bytes = files.get_mut(name).unwrap_or_else(|| panic!("no {name}"));
    let at = at % bytes.len();
    bytes[at] ^= 1;
}

/// Changes a letter of a record's host, which no check but its hash can see.
fn edit(line: &mut String) {
    *line = line.replace(".example", ".exbmple");
}

type Damage = fn(&mut Files);

#[test]
fn a_log_as_it_was_written_is_good() {
    let sample = Sample::usual();
    for trusted in [None, Some(1)] {
        let verified = verify(&sample.files, trusted, &[("kept", sample.checkpoint(333))]).unwrap();
        assert_eq!((verified.checkpoint.size, verified.records, verified.held), (740, 750, 4));
        assert_eq!(verified.checkpoint, Checkpoint::open(&sample.checkpoint(740), &[key(1).1]).unwrap());
        assert_eq!((verified.torn, verified.key_changes, verified.signed_late), (None, vec![], 0));
    }
    let mut one = Sample::begin();
    one.sign();
    one.segments(&[]);
    assert_eq!(verify(&one.files, None, &[]).unwrap().checkpoint.size, 1);
}

/// The first bytes of a sealed segment's last three frames: filters, summary, seek table.
fn frame_at(files: &Files, name: &str, mark: u32) -> usize {
    files[name].windows(4).rposition(|bytes| bytes == mark.to_le_bytes()).unwrap()
}

/// What zstd does not look at: the reserved bit of a frame's header (RFC 8878, section 3.1.1.1.1).
fn says_the_same(files: &Files, changed: &Files) -> bool {
    let lines = |files: &Files| -> Option<Vec<Vec<u8>>> {
        let segments = files.iter().filter(|(name, _)| name.ends_with(".zst"));
        segments.map(|(_, bytes)| zstd::decode_all(bytes.as_slice()).ok()).collect()
    };
    lines(files) == lines(changed)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, max_shrink_iters: 0, ..ProptestConfig::default() })]
    #[test]
    fn any_byte_that_is_changed_shows(file: prop::sample::Index, at: prop::sample::Index, bit in 0_u8..8) {
        thread_local!(static SAMPLE: Sample = changed_keys());
        let files = SAMPLE.with(|sample| sample.files.clone());
        let name = file.get(&files.keys().cloned().collect::<Vec<_>>()).clone();
        let mut changed = files.clone();
        let bytes = changed.get_mut(&name).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let is_harmless = name.ends_with(".zst") && says_the_same(&files, &changed) && at < frame_at(&files, &name, 0x184d_2a51);
        let got = verify(&changed, Some(1), &[]);
        prop_assert_eq!(got.is_ok(), is_harmless, "{}, byte {}, bit {}", name, at, bit);
    }
}
