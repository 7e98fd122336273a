//! Checkpoints and keys, by table: the log's own, those within records, those that were kept.

use super::super::sample::{ORIGIN, Sample, key, verify};
use super::put;
use crate::decision_log::{Checkpoint, Hash, Note, SigningKey, VerifierKey, key_change};

#[test]
fn checkpoints_by_table() {
    let sample = Sample::usual();
    let (secret, verifier) = key(1);
    let foreign = {
        let key = secret.verifier("sallyport/others").unwrap();
        Checkpoint { origin: "sallyport/others".to_owned(), size: 740, root: Hash::EMPTY }.sign(&secret, &key)
    };
    let forged = Checkpoint { origin: ORIGIN.to_owned(), size: 740, root: Hash::EMPTY }.sign(&secret, &verifier);
    let other =
        Note::sign("sallyport/others\n1\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n", &[(&secret, &verifier)]);
    for (name, checkpoint, want) in [
        ("of another log", foreign, "checkpoint: not signed by `sallyport/tests+"),
        (
            "of another key",
            sample.checkpoint(740).replace("sallyport/tests ", "sallyport/tests2 "),
            "checkpoint: not signed by",
        ),
        (
            "with another text",
            sample.checkpoint(740).replacen("740", "741", 1),
            "checkpoint: the signature of `sallyport/tests+",
        ),
        ("with another root", forged, "checkpoint: the first 740 records have another root"),
        ("about another log", other, "checkpoint: a checkpoint of `sallyport/others`"),
        ("nothing", String::new(), "checkpoint: not a signed note"),
        (
            "older than a heartbeat's",
            sample.checkpoint(600),
            "checkpoint: signs 600 records, and record 700 says that 695 were signed: it was put back",
        ),
    ] {
        let mut files = sample.files.clone();
        files.insert("checkpoint".to_owned(), checkpoint.into_bytes());
        // The tile that its size had may well be there still.
        files.insert("tile/0/002.p/88".to_owned(), files["tile/0/002.p/228"][..88 * 32].to_vec());
        let bad = verify(&files, None, &[]).unwrap_err();
        assert!(bad.starts_with(want), "{name}: {bad}");
    }
    let mut files = sample.files.clone();
    files.remove("checkpoint");
    assert_eq!(verify(&files, None, &[]).unwrap_err(), "checkpoint: is missing");
}

#[test]
fn kept_checkpoints_by_table() {
    let sample = Sample::usual();
    let mut longer = Sample::usual();
    (0..50).for_each(|_| longer.close());
    let mut other = Sample::begin();
    (1..500).for_each(|_| other.close());
    let (secret, verifier) = key(2);
    let stranger = Checkpoint { origin: ORIGIN.to_owned(), size: 1, root: Hash::EMPTY }.sign(&secret, &verifier);
    let open = "segments/000000000600.jsonl";
    for (name, kept, want) in [
        (
            "longer than the log",
            longer.checkpoint(790),
            format!("{open}: the log ends with 750 records; `old` signs 790"),
        ),
        (
            "newer than its own",
            sample.checkpoint(745),
            "checkpoint: signs 740 records, and `old` signs 745: it was put back".to_owned(),
        ),
        (
            "of another history",
            other.checkpoint(300),
            "old: the first 300 records have another root than the one it signs: they were changed since".to_owned(),
        ),
        ("of another key", stranger, "old: not signed by `sallyport/tests+".to_owned()),
        ("no checkpoint", "nothing".to_owned(), "old: not a signed note".to_owned()),
    ] {
        let bad = verify(&sample.files, None, &[("new", sample.checkpoint(740)), ("old", kept)]).unwrap_err();
        assert!(bad.starts_with(&want), "{name}: {bad}");
    }
    for size in [0, 1, 255, 256, 512, 600, 739] {
        assert!(verify(&sample.files, None, &[("old", sample.checkpoint(size))]).is_ok(), "{size}");
    }
}

/// A log of two changes of the key: by records 300 and 600, with heartbeats of each.
pub(super) fn changed_keys() -> Sample {
    let mut sample = Sample::begin();
    for seq in 1..700 {
        match seq {
            100 | 299 | 400 | 650 => sample.heartbeat(),
            300 => sample.change_key(2),
            600 => sample.change_key(3),
            301 | 601 => {}
            _ => sample.close(),
        }
    }
    sample.sign();
    sample.segments(&[200]);
    sample
}

#[test]
fn whoever_trusts_a_key_of_the_log_follows_it_to_the_others() {
    let sample = changed_keys();
    for trusted in [None, Some(1), Some(2), Some(3)] {
        let verified = verify(&sample.files, trusted, &[]).unwrap();
        let changes = [(300, key(2).1), (600, key(3).1)];
        assert_eq!((verified.held, verified.key_changes), (4, changes.to_vec()), "{trusted:?}");
    }
    assert_eq!(
        verify(&sample.files, Some(4), &[]).unwrap_err(),
        "segments/000000000200.jsonl:101: record 300 changes a key that does not lead to the trusted one"
    );
    let mut put_back = sample.files.clone();
    put(&mut put_back, "log.vkey", format!("{}\n", key(2).1).into_bytes());
    let bad = verify(&put_back, Some(3), &[]).unwrap_err();
    assert_eq!(bad, "log.vkey: is not the key that was given, and no record says that it follows that one");
}

#[test]
fn a_key_counts_for_its_time_alone() {
    let at = |seq: usize, secret: u8| {
        let sample = changed_keys();
        let size = Checkpoint::open(&sample.checkpoint(seq), &[key(3).1]).unwrap();
        let (secret, key) = key(secret);
        size.sign(&secret, &key)
    };
    let untrusted = "old: signed by a key that was not the log's";
    for (name, kept, want) in [
        ("the first, in its time", at(300, 1), ""),
        ("the first, at its end", at(301, 1), ""),
        ("the first, later", at(302, 1), untrusted),
        ("the second, in its time", at(601, 2), ""),
        ("the second, later", at(602, 2), untrusted),
        ("the third", at(700, 3), ""),
        ("a stranger", at(100, 9), "old: not signed by"),
    ] {
        for trusted in [1, 2, 3] {
            let bad = verify(&changed_keys().files, Some(trusted), &[("old", kept.clone())]).err().unwrap_or_default();
            assert!(bad.starts_with(want) && bad.is_empty() == want.is_empty(), "{name}, by {trusted}: {bad}");
        }
    }
}

/// What is wrong with a log whose records from 5 on are these; `AT` stands for their segment.
fn with(records: &[String]) -> String {
    let mut sample = Sample::begin();
    (1..5).for_each(|_| sample.close());
    records.iter().for_each(|record| sample.push(record));
    sample.close();
    sample.sign();
    sample.segments(&[]);
    let bad = verify(&sample.files, None, &[]).err().unwrap_or_default();
    bad.replace("segments/000000000000.jsonl", "AT")
}

#[test]
fn checkpoints_within_records_by_table() {
    let (stranger, strangers_key) = key(2);
    let signed = |size: u64, (secret, key): &(SigningKey, VerifierKey)| {
        Checkpoint { origin: ORIGIN.to_owned(), size, root: Hash::EMPTY }.sign(secret, key)
    };
    let heartbeat = |note: &str| {
        format!(r#""kind":"heartbeat","detail":{{"uptime_s":1,"checkpoint":{}}}"#, serde_json::json!(note))
    };
    let start = format!(r#""kind":"start","detail":{{"vkey":"{strangers_key}"}}"#);
    let strangers = signed(0, &(stranger, strangers_key));
    let not_good = "AT:6: record 5 has a checkpoint that is not good: ";
    for (name, records, want) in [
        ("a checkpoint", vec![heartbeat(&signed(0, &key(1)))], ""),
        (
            "of itself",
            vec![heartbeat(&signed(6, &key(1)))],
            "AT:6: record 5 has a checkpoint of 6 records, which were not there",
        ),
        (
            "with another root",
            vec![heartbeat(&signed(5, &key(1)))],
            "AT:6: record 5 has a checkpoint with another root of the first 5 records",
        ),
        (
            "that was changed",
            vec![heartbeat(&signed(0, &key(1)).replacen("\n0\n", "\n1\n", 1))],
            &format!("{not_good}the signature"),
        ),
        ("that is none", vec![heartbeat("x")], &format!("{not_good}not a signed note")),
        ("of a stranger", vec![heartbeat(&strangers)], &format!("{not_good}not signed by")),
        (
            "of a stranger who says so",
            vec![start, heartbeat(&strangers)],
            "AT:7: record 6 has a checkpoint signed by a key that was not the log's",
        ),
        ("no checkpoint", vec![r#""kind":"heartbeat","detail":{"uptime_s":1}"#.to_owned()], ""),
    ] {
        let bad = with(&records);
        assert!(bad.starts_with(want) && bad.is_empty() == want.is_empty(), "{name}: {bad}");
    }
}

#[test]
fn changes_of_the_key_by_table() {
    let ((stranger, two), (_, three)) = (key(2), key(3));
    let statement = key_change::make(&stranger, &two, &three);
    let (two, three) = (two.to_string(), three.to_string());
    let change = |what: &str, from: &str, to: &str| {
        let detail = serde_json::json!({"what": what, "from": from, "to": to, "statement": statement});
        format!(r#""kind":"admin","detail":{detail}"#)
    };
    let rotated = "log_key_rotated";
    let not_good = "AT:6: record 5 changes the key by a statement that is not good: ";
    for (name, record, want) in [
        (
            "a stranger's",
            change(rotated, &two, &three),
            "AT:6: record 5 changes a key that does not lead to the trusted one",
        ),
        ("another key than the statement's", change(rotated, &two, &two), &format!("{not_good}not a change")),
        ("another's statement", change(rotated, &three, &two), &format!("{not_good}not signed by")),
        ("no key", change(rotated, "x", &two), &format!("{not_good}not a change")),
        ("another call", change("reload", "x", &two), ""),
    ] {
        let bad = with(&[record]);
        assert!(bad.starts_with(want) && bad.is_empty() == want.is_empty(), "{name}: {bad}");
    }
}
