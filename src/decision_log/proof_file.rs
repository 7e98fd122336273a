//! The file that proves one record to somebody who has the log's verifier key and nothing else.
//! Not here: the proof itself (`tree::proof`), finding the record (`cli::audit::prove`). Source: C2SP tlog-proof v1.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::checkpoint::Checkpoint;
use super::key::VerifierKey;
use super::note::NoteError;
use super::tree::{Hash, root_of};

/// Bytes of the longest file: the longest note and the longest record, and room for the hashes between them.
pub const MAX_PROOF_FILE: usize = 192 * 1024;

/// A proof as it was written. It says nothing until [`ProofFile::check`] has said yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofFile {
    /// The record's line without its newline. The format leaves its meaning open.
    pub extra: Option<Vec<u8>>,
    /// Where the record stands in the log: its `seq`.
    pub index: u64,
    /// The inclusion proof.
    pub hashes: Vec<Hash>,
    /// A signed note, as it was published.
    pub checkpoint: String,
}

/// Why a file proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Longer than any proof.
    #[error("{0} bytes are no proof; one has at most {MAX_PROOF_FILE}")]
    TooLong(usize),
    /// A line is not what belongs there.
    #[error("line {line} of the proof is not {want}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What belongs there.
        want: &'static str,
    },
    /// Cut off before the checkpoint.
    #[error("the proof ends before its checkpoint, which stands behind a blank line")]
    NoCheckpoint,
    /// No record in it.
    #[error("the proof has no `extra`, where its record belongs; make it with `sallyport audit prove`")]
    NoRecord,
    /// The checkpoint is not one of this log.
    #[error("its checkpoint: {0}")]
    Checkpoint(#[from] NoteError),
    /// The place is not in the tree that was signed.
    #[error("the proof is for record {index}, and its checkpoint covers {size} records alone")]
    NotCovered {
        /// The place.
        index: u64,
        /// How many records the checkpoint covers.
        size: u64,
    },
    /// The hashes lead to another root than the one that was signed.
    #[error("the record does not lead to the root that was signed: record, index or hashes were changed")]
    Root,
}

impl ProofFile {
    /// The checkpoint that covers the record, if `key` signed it and the record leads to its root.
    ///
    /// # Errors
    /// Each of [`ProofError`] but those of reading.
    pub fn check(&self, key: &VerifierKey) -> Result<Checkpoint, ProofError> {
        let record = self.extra.as_deref().ok_or(ProofError::NoRecord)?;
        let checkpoint = Checkpoint::open(&self.checkpoint, std::slice::from_ref(key))?;
        let (index, size) = (self.index, checkpoint.size);
        if index >= size {
            return Err(ProofError::NotCovered { index, size });
        }
        let root = root_of(index, size, Hash::leaf(record), &self.hashes);
        if root == Some(checkpoint.root) { Ok(checkpoint) } else { Err(ProofError::Root) }
    }
}

impl fmt::Display for ProofFile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{VERSION}")?;
        if let Some(extra) = &self.extra {
            writeln!(out, "{EXTRA}{}", STANDARD.encode(extra))?;
        }
        writeln!(out, "{INDEX}{}", self.index)?;
        self.hashes.iter().try_for_each(|hash| writeln!(out, "{hash}"))?;
        write!(out, "\n{}", self.checkpoint)
    }
}

impl FromStr for ProofFile {
    type Err = ProofError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_PROOF_FILE {
            return Err(ProofError::TooLong(text.len()));
        }
        let wrong = |line, want| ProofError::Line { line, want };
        let (head, checkpoint) = text.split_once("\n\n").ok_or(ProofError::NoCheckpoint)?;
        let mut lines = (1..).zip(head.split('\n')).peekable();
        lines.next_if(|(_, line)| *line == VERSION).ok_or(wrong(1, "`c2sp.org/tlog-proof@v1`"))?;
        let extra = lines.next_if(|(_, line)| line.starts_with(EXTRA));
        let extra = extra.map(|(number, line)| {
            let packed = line.strip_prefix(EXTRA).and_then(|packed| STANDARD.decode(packed).ok());
            packed.ok_or(wrong(number, "`extra` and base64"))
        });
        let (number, line) = lines.next().unwrap_or((2, ""));
        let index = line.strip_prefix(INDEX).and_then(decimal).ok_or(wrong(number, "`index` and a decimal number"))?;
        let hash = |(number, line): (usize, &str)| line.parse().map_err(|_| wrong(number, "a hash in base64"));
        let hashes = lines.map(hash).collect::<Result<_, _>>()?;
        Ok(Self { extra: extra.transpose()?, index, hashes, checkpoint: checkpoint.to_owned() })
    }
}

/// A number in its one form.
fn decimal(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

const VERSION: &str = "c2sp.org/tlog-proof@v1";
const EXTRA: &str = "extra ";
const INDEX: &str = "index ";

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;
    use crate::decision_log::tree::{Tile, Tree, inclusion};
    use crate::decision_log::{SigningKey, known_key, origin};

    fn key(secret: u8) -> (SigningKey, VerifierKey) {
        known_key(secret, &origin("edge-1"))
    }

    fn record(seq: u64) -> Vec<u8> {
        format!(r#"{{"v":1,"seq":{seq},"id":"{seq:032x}"}}"#).into_bytes()
    }

    /// The proof of record `index` in a log of `size` records, fewer than 256, signed with key 1.
    fn proof(index: u64, size: u64) -> ProofFile {
        let mut tree = Tree::new();
        (0..size).for_each(|seq| tree.push(Hash::leaf(&record(seq)), &mut Vec::new()));
        let hashes: Vec<Tile> = tree.edge();
        let hashes = inclusion(index, size, &mut |_| Ok::<_, Infallible>(hashes[0].clone())).unwrap().unwrap();
        let (secret, verifier) = key(1);
        let checkpoint = Checkpoint { origin: origin("edge-1"), size, root: tree.root() };
        ProofFile { extra: Some(record(index)), index, hashes, checkpoint: checkpoint.sign(&secret, &verifier) }
    }

    #[test]
    fn is_written_as_the_format_says() {
        let text = proof(2, 3).to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[..3],
            [
                "c2sp.org/tlog-proof@v1",
                "extra eyJ2IjoxLCJzZXEiOjIsImlkIjoiMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDIifQ==",
                "index 2",
            ]
        );
        // The last of three has one hash above it, and then the checkpoint follows as it is.
        assert_eq!((lines[4], lines[5], lines[6], lines[8]), ("", "sallyport/edge-1", "3", ""));
        assert!(lines[9].starts_with("— sallyport/edge-1 ") && text.ends_with('\n'), "{text}");
        let bare = ProofFile { extra: None, ..proof(0, 1) }.to_string();
        assert!(bare.starts_with("c2sp.org/tlog-proof@v1\nindex 0\n\nsallyport/edge-1\n1\n"), "{bare}");
    }

    #[test]
    fn what_is_no_proof_by_table() {
        let text = proof(2, 3).to_string();
        let bare = ProofFile { extra: None, ..proof(2, 3) }.to_string();
        let (version, index) = ("`c2sp.org/tlog-proof@v1`", "`index` and a decimal number");
        let line = |line, want| ProofError::Line { line, want };
        for (name, text, want) in [
            ("empty", String::new(), ProofError::NoCheckpoint),
            ("a checkpoint alone", proof(2, 3).checkpoint, line(1, version)),
            ("another version", text.replace("@v1", "@v2"), line(1, version)),
            ("carriage returns", text.replace('\n', "\r\n"), ProofError::NoCheckpoint),
            ("one carriage return", text.replacen('\n', "\r\n", 1), line(1, version)),
            ("extra that is no base64", text.replace("extra e", "extra !"), line(2, "`extra` and base64")),
            ("extra without padding", text.replace("fQ==", "fQ"), line(2, "`extra` and base64")),
            ("no space", text.replace("extra ", "extra"), line(2, index)),
            ("no index", text.replace("index 2\n", ""), line(3, index)),
            ("no index and no extra", bare.replace("index 2\n", ""), line(2, index)),
            ("nothing more", "c2sp.org/tlog-proof@v1\n\n".to_owned(), line(2, index)),
            ("a zero before", text.replace("index 2", "index 02"), line(3, index)),
            ("a plus", text.replace("index 2", "index +2"), line(3, index)),
            ("below zero", text.replace("index 2", "index -2"), line(3, index)),
            ("too large", text.replace("index 2", "index 18446744073709551616"), line(3, index)),
            ("extra behind index", bare.replace("index 2\n", "index 2\nextra AA==\n"), line(3, "a hash in base64")),
            ("a short hash", text.replace("index 2\n", "index 2\nAAAA\n"), line(4, "a hash in base64")),
            ("no blank line", text.replace("\n\n", "\n"), ProofError::NoCheckpoint),
            ("too long", "x".repeat(MAX_PROOF_FILE + 1), ProofError::TooLong(MAX_PROOF_FILE + 1)),
        ] {
            assert_eq!(text.parse::<ProofFile>(), Err(want), "{name}");
        }
    }

    #[test]
    fn what_proves_nothing_by_table() {
        let good = proof(2, 5);
        let other = proof(2, 6);
        let unsigned =
            NoteError::Unsigned { wanted: "sallyport/edge-1+".to_owned() + &format!("{:08x}", key(2).1.id()) };
        let forged = NoteError::Forged { key: format!("sallyport/edge-1+{:08x}", key(1).1.id()) };
        let fewer = good.hashes[1..].to_vec();
        for (name, proof, secret, want) in [
            ("as it should be", good.clone(), 1, Ok(5)),
            ("another key", good.clone(), 2, Err(unsigned.into())),
            ("no record", ProofFile { extra: None, ..good.clone() }, 1, Err(ProofError::NoRecord)),
            ("another record", ProofFile { extra: Some(record(3)), ..good.clone() }, 1, Err(ProofError::Root)),
            ("another place", ProofFile { index: 3, ..good.clone() }, 1, Err(ProofError::Root)),
            (
                "a place outside",
                ProofFile { index: 5, ..good.clone() },
                1,
                Err(ProofError::NotCovered { index: 5, size: 5 }),
            ),
            ("a hash less", ProofFile { hashes: fewer, ..good.clone() }, 1, Err(ProofError::Root)),
            ("another tree", ProofFile { checkpoint: other.checkpoint, ..good.clone() }, 1, Err(ProofError::Root)),
            (
                "another size",
                ProofFile { checkpoint: good.checkpoint.replacen("\n5\n", "\n6\n", 1), ..good.clone() },
                1,
                Err(forged.into()),
            ),
            ("no note", ProofFile { checkpoint: String::new(), ..good }, 1, Err(NoteError::Form.into())),
        ] {
            assert_eq!(proof.check(&key(secret).1).map(|checkpoint| checkpoint.size), want, "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_file_reads_back(
            extra in prop::option::of(prop::collection::vec(any::<u8>(), 0..40)), index: u64,
            bytes in prop::collection::vec(any::<[u8; 32]>(), 0..66), checkpoint in "[ -~\n]{0,60}"
        ) {
            let hashes = bytes.into_iter().map(Hash::from_bytes).collect();
            let file = ProofFile { extra, index, hashes, checkpoint };
            prop_assert_eq!(file.to_string().parse(), Ok(file));
        }

        #[test]
        fn a_byte_changed_anywhere_is_noticed(size in 1_u64..200, at: prop::sample::Index, of: prop::sample::Index) {
            let text = proof(of.index(usize::try_from(size).unwrap()) as u64, size).to_string();
            let place = text.char_indices().nth(at.index(text.chars().count())).unwrap();
            let mut changed = text.clone();
            changed.replace_range(place.0..place.0 + place.1.len_utf8(), if place.1 == 'A' { "B" } else { "A" });
            let read = changed.parse::<ProofFile>().and_then(|proof| proof.check(&key(1).1));
            prop_assert!(read.is_err(), "{}", changed);
        }
    }
}
