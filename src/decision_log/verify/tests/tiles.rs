//! Damage to tiles, and who is right, by table.

use super::super::sample::{Sample, verify, verify_listed};
use super::{Damage, OPEN, cut, edit, flip, lines_of, put, rewrite};
use crate::decision_log::{Hash, TileId};

#[test]
fn every_damage_to_tiles_is_named() {
    let rows: [(&str, Damage, &str); 11] = [
        ("a full one", |files| flip(files, "tile/0/001", 32 * 9), "tile/0/001: hash 9 is not that of the records"),
        (
            "a partial one",
            |files| flip(files, "tile/0/002.p/228", 32),
            "tile/0/002.p/228: hash 1 is not that of the records",
        ),
        ("one above", |files| flip(files, "tile/1/000.p/2", 40), "tile/1/000.p/2: hash 1 is not that of the records"),
        ("a full one is missing", |files| drop(files.remove("tile/0/000")), "tile/0/000: is missing"),
        ("a partial one is missing", |files| drop(files.remove("tile/0/002.p/228")), "tile/0/002.p/228: is missing"),
        ("a short one", |files| cut(files, "tile/0/000"), "tile/0/000: has 8191 bytes; a tile of this width has 8192"),
        (
            "a long one",
            |files| files.get_mut("tile/0/000").unwrap().push(0),
            "tile/0/000: has 8193 bytes; a tile of this width has 8192",
        ),
        (
            "a wider one",
            |files| put(files, "tile/0/002.p/239", vec![0; 239 * 32]),
            "tile/0/002.p/239: hash 0 is not that of the records",
        ),
        (
            "one that is too wide",
            |files| {
                let mut longer = Sample::usual();
                longer.close();
                longer.sign();
                put(files, "tile/0/002.p/239", longer.files["tile/0/002.p/239"].clone());
            },
            "tile/0/002.p/239: has hashes of records that the log does not have",
        ),
        (
            "one further on",
            |files| put(files, "tile/0/003.p/1", vec![0; 32]),
            "tile/0/003.p/1: has hashes of records that the log does not have",
        ),
        (
            "an old partial one",
            |files| put(files, "tile/0/001.p/2", vec![0; 64]),
            "tile/0/001.p/2: hash 0 is not that of the records",
        ),
    ];
    for (name, damage, want) in rows {
        let mut files = Sample::usual().files;
        damage(&mut files);
        assert_eq!(verify(&files, None, &[]).unwrap_err(), want, "{name}");
    }
}

#[test]
fn tiles_that_were_left_or_came_early_are_good() {
    let mut sample = Sample::usual();
    let prefix = sample.files["tile/0/001"][..64].to_vec();
    sample.files.insert("tile/0/001.p/2".to_owned(), prefix);
    let signed = sample.files.clone();
    sample.sign();
    let early = &sample.files["tile/0/002.p/238"];
    let files =
        signed.iter().chain([(&"tile/0/002.p/238".to_owned(), early)]).map(|(a, b)| (a.clone(), b.clone())).collect();
    assert_eq!(verify(&files, None, &[]).unwrap().checkpoint.size, 740);
    // The log has grown since the checkpoint was written: its partial tile has become a full one.
    (0..20).for_each(|_| sample.close());
    sample.sign();
    sample.segments(&[300]);
    let mut files = sample.files;
    files.retain(|name, _| !name.starts_with("tile/0/002.p"));
    files.insert("checkpoint".to_owned(), signed["checkpoint"].clone());
    assert_eq!(verify(&files, None, &[]).unwrap().checkpoint.size, 740);
}

#[test]
fn the_signed_root_decides_who_is_right() {
    let sample = Sample::usual();
    let edit_617: Damage = |files| rewrite(files, |lines| edit(&mut lines[17]));
    let flip_617: Damage = |files| flip(files, "tile/0/002.p/228", 32 * (617 - 512));
    let both_617: Damage = |files| {
        rewrite(files, |lines| edit(&mut lines[17]));
        let hash = Hash::leaf(lines_of(files, OPEN)[17].as_bytes());
        files.get_mut("tile/0/002.p/228").unwrap()[32 * 105..][..32].copy_from_slice(hash.as_bytes());
    };
    let flip_other: Damage = |files| flip(files, "tile/0/001", 0);
    let record = "segments/000000000600.jsonl:18: ";
    for (name, damages, want) in [
        ("the record", vec![edit_617], format!("{record}record 617 was changed")),
        ("the tile", vec![flip_617], "tile/0/002.p/228: hash 105 is not that of the records".to_owned()),
        ("record and tile alike", vec![both_617], "segments/000000000600.jsonl:101: record 700 has a checkpoint with another root of the first 695 records: they were changed since".to_owned()),
        ("the record, and another's tile", vec![edit_617, flip_other], "segments/000000000000.jsonl.zst:257: neither record 256 nor its hash in tile/0/001 makes the root that was signed".to_owned()),
        ("a tile that is missing, and an edit", vec![edit_617, |files| drop(files.remove("tile/1/000.p/2"))], format!("{record}record 617 was changed")),
    ] {
        let mut files = sample.files.clone();
        damages.iter().for_each(|damage| damage(&mut files));
        let bad = verify(&files, None, &[]).unwrap_err();
        assert_eq!(bad, want, "{name}");
    }
}

#[test]
fn a_partial_tile_may_go_once_the_full_one_is_there() {
    let files = Sample::usual().files;
    for (gone, want) in [("tile/0/001.p/2", ""), ("tile/0/002.p/5", "tile/0/002.p/5: is missing")] {
        let mut listed: Vec<TileId> = files.keys().filter_map(|name| name.parse().ok()).collect();
        listed.push(gone.parse().unwrap());
        listed.sort();
        assert_eq!(verify_listed(&files, listed, None, &[]).err().unwrap_or_default(), want, "{gone}");
    }
}

/// A proxy puts full tiles in the place of partial ones while others are listed.
#[test]
fn a_full_tile_that_came_since_the_listing_is_looked_for() {
    for (name, damage, want) in [
        ("as it is", (|_| ()) as Damage, ""),
        ("another", |files| flip(files, "tile/0/001", 32), "tile/0/001: hash 1 is not that of the records"),
        ("gone", |files| drop(files.remove("tile/0/001")), "tile/0/001: is missing"),
    ] {
        let mut files = Sample::usual().files;
        let mut listed: Vec<TileId> = files.keys().filter_map(|name| name.parse().ok()).collect();
        listed.retain(|id| id.to_string() != "tile/0/001");
        listed.sort();
        damage(&mut files);
        assert_eq!(verify_listed(&files, listed, None, &[]).err().unwrap_or_default(), want, "{name}");
    }
}
