//! A log's directory as others leave it: links, foreign files, what a crash or a running proxy leaves.
//! Not here: every damage to what the files hold (`decision_log::verify`).

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::verify::{Trust, verify};
use super::*;
use crate::decision_log::verify::VerifyError;
use crate::decision_log::verify::sample::Sample;

/// A log of three segments, as files.
fn log() -> (TempDir, Sample) {
    let sample = Sample::usual();
    (written(&sample), sample)
}

fn written(sample: &Sample) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in &sample.files {
        let path = directory(&folder).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    folder
}

/// The log's, which is not the folder itself, so that there is somewhere outside.
fn directory(folder: &TempDir) -> PathBuf {
    folder.path().join("log")
}

fn open(folder: &TempDir) -> Archive {
    Archive::open(&directory(folder)).unwrap()
}

fn segment(first: u64, is_sealed: bool) -> Segment {
    Segment { first, is_sealed }
}

#[test]
fn lists_segments_and_tiles_in_their_order() {
    let (folder, sample) = log();
    let contents = open(&folder).contents().unwrap();
    assert_eq!(contents.segments, [segment(0, true), segment(300, true), segment(600, false)]);
    let tiles: Vec<String> = contents.tiles.iter().map(ToString::to_string).collect();
    assert_eq!(tiles, ["tile/0/000", "tile/0/001", "tile/0/002.p/228", "tile/1/000.p/2"]);
    assert_eq!((contents.foreign, contents.doubled), (vec![], vec![]));
    let archive = open(&folder);
    assert_eq!(archive.segments().unwrap(), contents.segments);
    assert_eq!(archive.checkpoint().unwrap().unwrap().into_bytes(), sample.files["checkpoint"]);
    assert_eq!(archive.vkey().unwrap().unwrap().into_bytes(), sample.files["log.vkey"]);
    let report = verify(&archive, Trust::default(), &mut |_, _| ()).unwrap();
    assert_eq!((report.verified.checkpoint.size, report.verified.records), (740, 750));
}

#[test]
fn what_a_crash_or_a_file_system_leaves_is_passed_over() {
    let (folder, _) = log();
    for name in ["checkpoint.new", "log.vkey.new", "segments/000000000900.jsonl.zst.new", "tile/0/003.p/1.new"] {
        let path = directory(&folder).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "half").unwrap();
    }
    fs::create_dir_all(directory(&folder).join("lost+found/x")).unwrap();
    assert!(verify(&open(&folder), Trust::default(), &mut |_, _| ()).is_ok());
}

type Put = fn(&Path);

#[test]
fn what_does_not_belong_to_a_log_is_told_and_not_followed() {
    let rows: [(&str, Put, &str, Foreign); 13] = [
        ("a file", |log| fs::write(log.join("notes"), "x").unwrap(), "notes", Foreign::Name),
        ("a folder", |log| fs::create_dir(log.join("old")).unwrap(), "old", Foreign::Name),
        (
            "another first number",
            |log| fs::write(log.join("segments/1.jsonl"), "").unwrap(),
            "segments/1.jsonl",
            Foreign::Name,
        ),
        (
            "a folder of segments",
            |log| fs::create_dir(log.join("segments/old")).unwrap(),
            "segments/old",
            Foreign::Name,
        ),
        ("a bundle", |log| fs::create_dir(log.join("tile/entries")).unwrap(), "tile/entries", Foreign::Name),
        ("another tile", |log| fs::write(log.join("tile/0/1"), "").unwrap(), "tile/0/1", Foreign::Name),
        ("a file for a folder", |log| fs::write(log.join("tile/0/x001"), "").unwrap(), "tile/0/x001", Foreign::Kind),
        (
            "a folder for a file",
            |log| fs::create_dir(log.join("segments/000000000900.jsonl")).unwrap(),
            "segments/000000000900.jsonl",
            Foreign::Kind,
        ),
        ("a socket", |log| drop(UnixListener::bind(log.join("tile/0/009")).unwrap()), "tile/0/009", Foreign::Kind),
        (
            "a link for a segment",
            |log| link(&log.join("segments/000000000600.jsonl")),
            "segments/000000000600.jsonl",
            Foreign::Link,
        ),
        ("a link for the tiles", |log| link(&log.join("tile")), "tile", Foreign::Link),
        ("a link for the segments", |log| link(&log.join("segments")), "segments", Foreign::Link),
        (
            "a link that is unfinished",
            |log| symlink("/dev/zero", log.join("checkpoint.new")).unwrap(),
            "checkpoint.new",
            Foreign::Link,
        ),
    ];
    for (name, put, file, foreign) in rows {
        let (folder, _) = log();
        put(&directory(&folder));
        let archive = open(&folder);
        assert_eq!(archive.contents().unwrap().foreign, [(file.to_owned(), foreign)], "{name}");
        match verify(&archive, Trust::default(), &mut |_, _| ()) {
            Err(VerifyError::Bad(bad)) => assert_eq!(bad.to_string(), format!("{file}: {foreign}"), "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// Moves what is there out of the log and leaves a symbolic link to it.
fn link(path: &Path) {
    let log = path.ancestors().find(|folder| folder.ends_with("log")).unwrap();
    let outside = log.with_file_name(path.file_name().unwrap());
    fs::rename(path, &outside).unwrap();
    symlink(&outside, path).unwrap();
}

#[test]
fn nothing_is_read_through_a_link() {
    let (folder, _) = log();
    let archive = open(&folder);
    for name in ["segments/000000000600.jsonl", "tile/0", "checkpoint", "log.vkey"] {
        link(&directory(&folder).join(name));
    }
    let tile = "tile/0/000".parse().unwrap();
    assert!(archive.read(segment(600, false)).is_err());
    assert!(archive.tile(tile).is_err());
    assert!(archive.checkpoint().is_err() && archive.vkey().is_err());
    link(&directory(&folder).join("segments"));
    assert!(archive.read(segment(0, true)).is_err() && archive.segments().is_err());
}

#[test]
fn of_two_forms_the_plain_one_is_read() {
    let (folder, sample) = log();
    let plain = zstd::decode_all(sample.files["segments/000000000300.jsonl.zst"].as_slice()).unwrap();
    let sealed = directory(&folder).join("segments/000000000300.jsonl.zst");
    fs::write(directory(&folder).join("segments/000000000300.jsonl"), plain).unwrap();
    fs::write(sealed, "not finished").unwrap();
    let archive = open(&folder);
    let report = verify(&archive, Trust::default(), &mut |_, _| ()).unwrap();
    assert_eq!(report.doubled, ["segments/000000000300.jsonl"]);
    assert_eq!(archive.segments().unwrap()[1], segment(300, false));
}

#[test]
fn a_segment_that_was_sealed_since_it_was_listed_is_found() {
    let (folder, sample) = log();
    let archive = open(&folder);
    assert!(matches!(archive.read(segment(0, false)), Ok(Opened::Sealed(_))), "listed as plain, and sealed by now");
    assert!(archive.read(segment(600, true)).unwrap_err().is_missing());
    let Ok(Opened::Plain(mut file)) = archive.read(segment(600, false)) else { panic!("not plain") };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, sample.files["segments/000000000600.jsonl"]);
}

#[test]
fn a_log_of_many_years_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory(&folder).join("segments")).unwrap();
    let all: Vec<Segment> = (0..20_000).map(|first| segment(first, first % 2 == 0)).collect();
    all.iter().for_each(|segment| drop(fs::File::create(directory(&folder).join(segment.name())).unwrap()));
    assert!(open(&folder).segments().unwrap() == all);
    assert!(open(&folder).contents().unwrap().segments == all);
}

#[test]
fn no_segment_is_overlooked_while_it_is_sealed() {
    const SEGMENTS: u64 = 400;
    let folder = tempfile::tempdir().unwrap();
    let segments = directory(&folder).join("segments");
    fs::create_dir_all(&segments).unwrap();
    let name = |first, is_sealed| directory(&folder).join(segment(first, is_sealed).name());
    (0..SEGMENTS).for_each(|first| fs::write(name(first, false), "").unwrap());
    let archive = open(&folder);
    std::thread::scope(|scope| {
        let seal = scope.spawn(|| {
            for first in 0..SEGMENTS {
                fs::write(segments.join("begun"), "").unwrap();
                fs::rename(segments.join("begun"), name(first, true)).unwrap();
                fs::remove_file(name(first, false)).unwrap();
            }
        });
        loop {
            let is_over = seal.is_finished();
            for found in [archive.segments().unwrap(), archive.contents().unwrap().segments] {
                let firsts = found.iter().map(|segment| segment.first);
                assert!(firsts.eq(0..SEGMENTS), "{} of them", found.len());
            }
            if is_over {
                break;
            }
        }
    });
    assert!(archive.segments().unwrap().iter().all(|segment| segment.is_sealed));
}

#[test]
fn a_partial_tile_comes_out_of_the_full_one() {
    let (folder, _) = log();
    let archive = open(&folder);
    let tile = |name: &str| archive.tile(name.parse().unwrap());
    let full = tile("tile/0/001").unwrap().unwrap();
    let partial = tile("tile/0/001.p/17").unwrap().unwrap();
    assert_eq!(partial.id.to_string(), "tile/0/001.p/17");
    assert_eq!(partial.hashes, full.hashes[..17]);
    assert_eq!(tile("tile/0/002").unwrap(), None);
    fs::write(directory(&folder).join("tile/0/001"), "short").unwrap();
    assert!(tile("tile/0/001").unwrap_err().is_malformed());
    fs::write(directory(&folder).join("checkpoint"), b"\xff").unwrap();
    assert!(archive.checkpoint().unwrap_err().is_malformed());
    let bad = verify(&archive, Trust::default(), &mut |_, _| ()).unwrap_err();
    assert_eq!(bad.to_string(), "checkpoint: is not UTF-8");
}

#[test]
fn a_log_of_many_segments_is_compared_in_order() {
    let mut sample = Sample::begin();
    (1..2000).for_each(|_| sample.close());
    sample.sign();
    sample.segments(&[50; 39]);
    let folder = written(&sample);
    let mut told = Vec::new();
    let report = verify(&open(&folder), Trust::default(), &mut |records, of| told.push((records, of))).unwrap();
    assert_eq!(report.verified.records, 2000);
    assert!(told.is_sorted() && told.last() == Some(&(2000, 2000)), "{told:?}");
    fs::write(directory(&folder).join("segments/000000000950.jsonl.zst"), "").unwrap();
    let bad = verify(&open(&folder), Trust::default(), &mut |_, _| ()).unwrap_err().to_string();
    assert!(bad.starts_with("segments/000000000950.jsonl.zst: has no seek table"), "{bad}");
}

#[test]
fn what_is_not_there_is_no_fault_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(directory(&folder)).unwrap();
    assert!(Archive::open(&directory(&folder).join("none")).unwrap_err().is_missing());
    fs::write(directory(&folder).join("file"), "").unwrap();
    assert!(Archive::open(&directory(&folder).join("file")).is_err());
    let archive = open(&folder);
    assert_eq!((archive.checkpoint().unwrap(), archive.segments().unwrap()), (None, vec![]));
    assert!(!matches!(verify(&archive, Trust::default(), &mut |_, _| ()), Ok(_) | Err(VerifyError::Read(_))));
}
