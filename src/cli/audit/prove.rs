//! `sallyport audit prove`: a file with which anybody who has the verifier key can check one record, without the log.
//! Not here: the file's form and its check (`decision_log::ProofFile`), looking for records (`decision_log::query`).

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;

use super::super::output::{complain, say};
use super::{Failure, directory};
use crate::decision_log::{Checkpoint, Criteria, Kind, ProofFile, Query, TileId, VerifierKey, inclusion};
use crate::runtime::archive::{Archive, ArchiveError, SegmentError};

#[derive(Args)]
pub(in crate::cli) struct ProveArgs {
    /// The record's id: what the client got as `decision_id`
    #[arg(value_name = "ID")]
    id: String,
    /// Which of the records with this id; the end of a tunnel is its `close`
    #[arg(long, value_name = "KIND", default_value = Kind::Decision.as_str())]
    kind: String,
    /// The log's directory; by default the configuration's
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
enum NoProof {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Segment(#[from] SegmentError),
    #[error("the log has no `{0}`; without it nothing of the log can be proved")]
    Missing(&'static str),
    #[error("`{file}`: {error}")]
    Unusable { file: &'static str, error: String },
    #[error("no `{kind}` with id `{id}` in the log")]
    NoRecord { kind: String, id: String },
    #[error("record {seq} is not signed yet: the checkpoint covers {size} records; try again in a second")]
    NotSigned { seq: u64, size: u64 },
    #[error("the log has no `{0}`, which the proof of this record needs; see what `sallyport audit verify` says")]
    NoTile(TileId),
    #[error("the log does not prove this record: {0}; see what `sallyport audit verify` says")]
    Contradicted(String),
}

pub(super) fn prove(config: &Path, args: &ProveArgs) -> Result<(), Failure> {
    let criteria = Criteria { kind: vec![args.kind.clone()], id: vec![args.id.clone()], ..Criteria::default() };
    let query = Query::new(criteria).map_err(|error| Failure::Usage(error.into()))?;
    let directory = directory(args.directory.as_deref(), config)?;
    match proof(&directory, &query, args) {
        // The checkpoint ends in a newline.
        Ok(proof) => say(proof.to_string().trim_end_matches('\n')),
        Err(why @ (NoProof::NoRecord { .. } | NoProof::Contradicted(_))) => {
            complain(&why.to_string());
            Err(Failure::No)
        }
        Err(why) => Err(Failure::Outside(why.into())),
    }
}

/// The proof as whoever checks it will see it: checked.
fn proof(directory: &Path, query: &Query, args: &ProveArgs) -> Result<ProofFile, NoProof> {
    let archive = Archive::open(directory)?;
    let no_record = || NoProof::NoRecord { kind: args.kind.clone(), id: args.id.clone() };
    let (seq, record) = find(&archive, query)?.ok_or_else(no_record)?;
    let key = archive.vkey()?.ok_or(NoProof::Missing("log.vkey"))?;
    let unusable = |file, error| NoProof::Unusable { file, error };
    let key: VerifierKey = key.trim_end().parse().map_err(|error| unusable("log.vkey", format!("{error}")))?;
    // Read behind the record: while a proxy writes, it is no older.
    let note = archive.checkpoint()?.ok_or(NoProof::Missing("checkpoint"))?;
    let checkpoint = Checkpoint::open(&note, std::slice::from_ref(&key));
    let size = checkpoint.map_err(|error| unusable("checkpoint", error.to_string()))?.size;
    if seq >= size {
        return Err(NoProof::NotSigned { seq, size });
    }
    let tile = &mut |id| archive.tile(id)?.ok_or(NoProof::NoTile(id));
    let hashes = inclusion(seq, size, tile)?.unwrap_or_default();
    let proof = ProofFile { extra: Some(record), index: seq, hashes, checkpoint: note };
    match proof.check(&key) {
        Ok(_) => Ok(proof),
        Err(error) => Err(NoProof::Contradicted(error.to_string())),
    }
}

/// The first record that is looked for: its number, and its line without the newline.
fn find(archive: &Archive, query: &Query) -> Result<Option<(u64, Vec<u8>)>, NoProof> {
    for segment in archive.segments()? {
        let first =
            archive.walk(segment, query, &mut |found| ControlFlow::Break((found.facets.seq(), found.line.to_vec())))?;
        if first.is_break() {
            return Ok(first.break_value());
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::decision_log::{Hash, SigningKey, Tile, Tree, known_key, origin, seal};

    /// Records, those in the sealed segment, and those that were signed.
    const ALL: u64 = 520;
    const SEALED: u64 = 300;
    const SIGNED: u64 = 515;

    /// What is done to the log.
    type Damage = Box<dyn Fn(&TempDir)>;

    fn key() -> (SigningKey, VerifierKey) {
        known_key(1, &origin("edge-1"))
    }

    fn id(number: u64) -> String {
        format!("019a0000-0000-7000-8000-{number:012x}")
    }

    /// Each tenth record is the `close` of the one before.
    fn line(seq: u64) -> String {
        let (kind, number) = if seq % 10 == 9 { ("close", seq - 1) } else { ("decision", seq) };
        format!(r#"{{"v":1,"seq":{seq},"time":"2026-11-21T10:00:00.000001Z","kind":"{kind}","id":"{}"}}"#, id(number))
    }

    fn write(folder: &TempDir, name: &str, bytes: impl AsRef<[u8]>) {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn log() -> TempDir {
        let folder = TempDir::new().unwrap();
        let lines = |from, to| (from..to).map(|seq| line(seq) + "\n").collect::<String>();
        let mut sealed = Vec::new();
        seal(&mut lines(0, SEALED).as_bytes(), 0, &mut sealed).unwrap();
        write(&folder, "segments/000000000000.jsonl.zst", sealed);
        write(&folder, "segments/000000000300.jsonl", lines(SEALED, ALL));
        let (mut tree, mut tiles) = (Tree::new(), Vec::new());
        (0..SIGNED).for_each(|seq| tree.push(Hash::leaf(line(seq).as_bytes()), &mut tiles));
        tiles.extend(tree.edge());
        tiles.iter().for_each(|tile: &Tile| write(&folder, &tile.id.to_string(), tile.bytes()));
        let (secret, verifier) = key();
        let checkpoint = Checkpoint { origin: origin("edge-1"), size: SIGNED, root: tree.root() };
        write(&folder, "checkpoint", checkpoint.sign(&secret, &verifier));
        write(&folder, "log.vkey", format!("{verifier}\n"));
        folder
    }

    fn args(folder: &TempDir, kind: &str, id: &str) -> ProveArgs {
        ProveArgs { id: id.to_owned(), kind: kind.to_owned(), directory: Some(folder.path().to_owned()) }
    }

    fn proved(folder: &TempDir, kind: &str, id: &str) -> Result<ProofFile, NoProof> {
        let criteria = Criteria { kind: vec![kind.to_owned()], id: vec![id.to_owned()], ..Criteria::default() };
        proof(folder.path(), &Query::new(criteria).unwrap(), &args(folder, kind, id))
    }

    #[test]
    fn a_record_of_any_segment_is_proved() {
        let folder = log();
        for (kind, number, seq) in [
            ("decision", 0, 0),
            ("decision", 8, 8),
            ("close", 8, 9),
            ("decision", 298, 298),
            ("decision", 300, 300),
            ("close", 508, 509),
            ("decision", 514, 514),
        ] {
            let proof = proved(&folder, kind, &id(number)).unwrap();
            assert_eq!((proof.index, proof.extra.as_deref()), (seq, Some(line(seq).as_bytes())), "{kind} {number}");
            assert_eq!(proof.check(&key().1).map(|checkpoint| checkpoint.size), Ok(SIGNED), "{kind} {number}");
        }
    }

    #[test]
    fn an_id_is_found_however_it_is_written() {
        let folder = log();
        assert_eq!(proved(&folder, "decision", &id(11).to_uppercase()).unwrap().index, 11);
    }

    #[test]
    fn why_there_is_no_proof_by_table() {
        let other = SigningKey::from_seed(&[2; 32]).unwrap().verifier(&origin("edge-1")).unwrap().to_string();
        let remove = |name: &'static str| move |folder: &TempDir| fs::remove_file(folder.path().join(name)).unwrap();
        let put = |name: &'static str, bytes: Vec<u8>| move |folder: &TempDir| write(folder, name, &bytes);
        let other_records: String = (SEALED..ALL).map(|seq| line(seq).replace("10:00", "10:01") + "\n").collect();
        let rows: Vec<(&str, Damage, u64, u8, &str)> = vec![
            (
                "no such id",
                Box::new(|_| ()),
                9,
                1,
                "no `decision` with id `019a0000-0000-7000-8000-000000000009` in the log",
            ),
            (
                "not signed yet",
                Box::new(|_| ()),
                515,
                3,
                "record 515 is not signed yet: the checkpoint covers 515 records",
            ),
            ("no checkpoint", Box::new(remove("checkpoint")), 1, 3, "the log has no `checkpoint`"),
            ("no key", Box::new(remove("log.vkey")), 1, 3, "the log has no `log.vkey`"),
            ("no key in it", Box::new(put("log.vkey", b"x\n".to_vec())), 1, 3, "`log.vkey`: not a verifier key"),
            ("another key", Box::new(put("log.vkey", other.into_bytes())), 1, 3, "`checkpoint`: not signed by"),
            ("no tile", Box::new(remove("tile/0/001")), 300, 3, "the log has no `tile/0/001`"),
            ("another tile", Box::new(put("tile/0/001", vec![7; 8192])), 300, 1, "the log does not prove this record"),
            (
                "other records",
                Box::new(put("segments/000000000300.jsonl", other_records.into_bytes())),
                300,
                1,
                "the log does not prove",
            ),
            (
                "half a segment",
                Box::new(put("segments/000000000000.jsonl.zst", vec![0; 99])),
                1,
                3,
                "segments/000000000000.jsonl.zst has no seek table",
            ),
        ];
        for (name, damage, number, code, want) in rows {
            let folder = log();
            damage(&folder);
            let error = proved(&folder, "decision", &id(number)).unwrap_err().to_string();
            assert!(error.starts_with(want), "{name}: {error}");
            let failure = prove(Path::new("/"), &args(&folder, "decision", &id(number))).unwrap_err();
            assert_eq!(failure.code(), code, "{name}");
        }
    }

    #[test]
    fn what_is_no_id_or_kind_is_wrong_usage() {
        let folder = log();
        for (kind, id) in [("decision", "17"), ("decide", &id(1))] {
            let failure = prove(Path::new("/"), &args(&folder, kind, id)).unwrap_err();
            assert!(matches!(failure, Failure::Usage(_)), "{kind} {id}: {failure:?}");
        }
    }
}
