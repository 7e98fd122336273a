//! The tree, its checkpoints and changes of key, on a real file system.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;

use super::super::next_key_path;
use super::super::testing::{DEADLINE, Log, files, record, until, write_key};
use super::*;
use crate::decision_log::{key_change, origin};
use crate::runtime::journal;
use crate::runtime::journal::key_file::head_path;

#[test]
fn tiles_and_checkpoint_are_those_of_the_records() {
    let log = Log::new();
    for more in [3, 0, 252, 1, 45, 700] {
        log.write(more);
        let (mut tree, mut full) = (Tree::new(), Vec::new());
        log.lines().iter().for_each(|line| tree.push(Hash::leaf(line.as_bytes()), &mut full));
        let want: BTreeMap<PathBuf, Vec<u8>> =
            full.iter().chain(&tree.edge()).map(|tile| (log.path(&tile.id.to_string()), tile.bytes())).collect();
        let mut found = if tree.size() > 0 { files(&log.path("tile")) } else { BTreeMap::new() };
        // Older partial tiles stay until theirs is full.
        found.retain(|path, _| want.contains_key(path) || !path.to_str().unwrap().contains(".p/"));
        assert!(found == want, "{} records: {:?} instead of {:?}", tree.size(), found.keys(), want.keys());
        let Checkpoint { origin, size, root } = log.signed();
        assert_eq!((origin.as_str(), size, root), ("sallyport/edge-1", tree.size(), tree.root()));
    }
    assert!(!log.path("tile/0/000.p").exists(), "of a full tile no part is kept");
}

#[test]
fn a_running_log_is_signed_soon() {
    let log = Log::new();
    let (journal, _, said) = log.open().unwrap();
    journal.note(record());
    until("signed while it runs", || log.signed().size == 1);
    until("told", || said.recv_timeout(DEADLINE).is_ok_and(|event| event == "Signed(1)"));
    until("told", || journal.checkpoint().is_some_and(|note| note.contains("sallyport/edge-1\n1\n")));
    assert!(!journal.shutdown().any());
}

#[test]
fn what_waits_for_its_checkpoint_is_bounded_in_time_and_count() {
    let kept = Kept::new();
    let now = Instant::now();
    assert!(!kept.is_late(now + 2 * SIGN_DEADLINE), "nothing waits");
    kept.grow(&[Hash::EMPTY]);
    assert!(!kept.is_late(now + SIGN_DEADLINE / 2));
    assert!(kept.is_late(Instant::now() + SIGN_DEADLINE));
    let round = Round::of(&mut kept.lock());
    kept.grow(&vec![Hash::EMPTY; MAX_UNSIGNED - 2]);
    assert!(kept.has_room());
    kept.grow(&[Hash::EMPTY]);
    assert!(!kept.has_room(), "those that the keeper has count too");
    kept.signed(round.leaves.len(), round.taken, "".into());
    assert!(kept.has_room());
    kept.signed(MAX_UNSIGNED - 1, Instant::now(), "".into());
    assert!(!kept.is_late(Instant::now() + 2 * SIGN_DEADLINE), "all is signed");
}

#[test]
fn a_tree_that_cannot_be_written_is_told_and_recorded_when_it_can_be_again() {
    let log = Log::new();
    let (journal, _, said) = log.open().unwrap();
    fs::write(log.path("tile"), "in the way").unwrap();
    journal.note(record());
    let told = |what: &str| said.recv_timeout(DEADLINE).is_ok_and(|event| event.contains(what));
    until("told", || told("Unsigned"));
    fs::remove_file(log.path("tile")).unwrap();
    until("signed", || told("Signed(1)"));
    until("recorded", || {
        log.lines().iter().any(|line| line.contains(r#""what":"checkpoint","error":"Not a directory"#))
    });
    assert!(!journal.shutdown().any());
    assert_eq!(log.signed().size, 2);
}

#[test]
fn a_new_key_takes_over_with_the_old_ones_word() {
    let log = Log::new();
    log.write(5);
    let old = log.vkey();
    let old_files = [log.key(), log.path("log.vkey")].map(|path| (fs::read(&path).unwrap(), path));
    let new: VerifierKey =
        journal::key_file::make(&next_key_path(&log.key()), &origin("edge-1")).unwrap().parse().unwrap();
    let next = fs::read(next_key_path(&log.key())).unwrap();
    let opening = log.write(2);
    assert!(opening.key_changed);
    assert_eq!((opening.vkey, log.vkey()), (new.to_string(), new.clone()));
    assert!(!next_key_path(&log.key()).exists());
    let retired = files(log.folder.path()).into_keys().find(|path| path.to_str().unwrap().contains("log.key.retired."));
    assert_eq!(fs::read(retired.unwrap()).unwrap(), old_files[0].0, "the old key is kept aside");
    assert_eq!(log.signed().size, 8);
    let change: serde_json::Value = serde_json::from_str(&log.lines()[5]).unwrap();
    assert_eq!((change["kind"].as_str(), change["detail"]["what"].as_str()), (Some("admin"), Some("log_key_rotated")));
    assert_eq!(key_change::check(change["detail"]["statement"].as_str().unwrap(), &old), Ok(new.clone()));
    assert!(!log.write(1).key_changed);

    // A crash behind the verifier key: the key's files are as before.
    write_key(&log.key(), &old_files[0].0);
    write_key(&next_key_path(&log.key()), &next);
    assert!(!log.write(1).key_changed, "it is finished, not done again");
    assert_eq!((log.vkey(), next_key_path(&log.key()).exists()), (new.clone(), false));
    assert_eq!(log.signed().size, 10);
}

#[test]
fn a_crash_before_the_verifier_key_begins_the_change_again() {
    let log = Log::new();
    log.write(5);
    let old = log.vkey();
    let kept = [log.key(), log.path("log.vkey")].map(|path| (fs::read(&path).unwrap(), path));
    journal::key_file::make(&next_key_path(&log.key()), &origin("edge-1")).unwrap();
    let next = fs::read(next_key_path(&log.key())).unwrap();
    let (journal, opening, _) = log.open().unwrap();
    assert!(opening.key_changed);
    // The checkpoint that stands now has both signatures.
    let both = fs::read_to_string(log.path("checkpoint")).unwrap();
    assert!([old, log.vkey()].iter().all(|key| Checkpoint::open(&both, std::slice::from_ref(key)).is_ok()), "{both}");
    assert!(!journal.shutdown().any());
    kept.iter().for_each(|(bytes, path)| write_key(path, bytes));
    fs::write(log.path("checkpoint"), &both).unwrap();
    fs::write(head_path(&log.key()), both).unwrap();
    write_key(&next_key_path(&log.key()), &next);
    assert!(log.write(1).key_changed);
    assert_eq!(log.signed().size, 8, "two records of the change");
}

proptest! {
    #[test]
    fn an_end_is_met_where_it_is_however_it_comes(cuts in prop::collection::vec(1_u64..30, 1..6), rounds in prop::collection::vec(0_usize..20, 0..12)) {
        let nexts: Vec<u64> = cuts.iter().scan(0, |sum, cut| { *sum += cut; Some(*sum) }).collect();
        let (size, firsts) = (nexts[nexts.len() - 1] + 7, std::iter::once(0).chain(nexts.iter().copied()));
        let all: VecDeque<Ended> = firsts.zip(&nexts).map(|(first, next)| Ended { first, next: *next }).collect();
        let leaves: Vec<Hash> = (0..size).map(|seq| Hash::leaf(&seq.to_be_bytes())).collect();
        let want: Vec<Due> = all.iter().map(|ended| {
            let (mut tree, mut full) = (Tree::new(), Vec::new());
            leaves[..usize::try_from(ended.next).unwrap()].iter().for_each(|leaf| tree.push(*leaf, &mut full));
            Due { ended: *ended, root: tree.root() }
        }).collect();
        let (mut ends, mut tree, mut full, mut coming, mut at) = (Ends::default(), Tree::new(), Vec::new(), all, 0);
        for count in rounds.into_iter().chain([leaves.len()]) {
            let to = (at + count).min(leaves.len());
            // An end comes before the first leaf behind it, and not before its last one was handed over.
            while let Some(ended) = coming.pop_front_if(|ended| usize::try_from(ended.next).unwrap() < to) {
                ends.waiting.push_back(ended);
            }
            ends.grow(&mut tree, &leaves[at..to], &mut full);
            at = to;
        }
        prop_assert_eq!(ends.met, want);
    }
}
