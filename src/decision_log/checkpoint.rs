//! Checkpoints: how large the log is and which root it has, signed.
//! Not here: the signatures' form (`note`), when one is made and kept (`runtime::journal`). Source: C2SP tlog-checkpoint v1.0.0.

use super::key::{SigningKey, VerifierKey};
use super::note::{Note, NoteError};
use super::tree::Hash;

/// A tree head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name, which is its key's too.
    pub origin: String,
    /// How many records it covers.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Hash,
}

impl Checkpoint {
    /// The three lines that are signed.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, self.root)
    }

    /// The signed note.
    pub fn sign(&self, secret: &SigningKey, key: &VerifierKey) -> String {
        Note::sign(&self.text(), &[(secret, key)])
    }

    /// What a signed note says, if one of `keys` signed it and has the log's name. Lines behind the third are signed
    /// and mean nothing here.
    ///
    /// # Errors
    /// Those of [`Note::parse`] and [`Note::signer`], [`NoteError::Checkpoint`], [`NoteError::Origin`].
    pub fn open(note: &str, keys: &[VerifierKey]) -> Result<Self, NoteError> {
        let note = Note::parse(note)?;
        let signer = note.signer(keys)?;
        let checkpoint = Self::read(note.text()).ok_or(NoteError::Checkpoint)?;
        if checkpoint.origin == signer.name() {
            return Ok(checkpoint);
        }
        Err(NoteError::Origin { origin: checkpoint.origin, key: signer.name().to_owned() })
    }

    fn read(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        let size_read: u64 = size.parse().ok()?;
        let is_checkpoint = !origin.is_empty() && size_read.to_string() == size && lines.all(|line| !line.is_empty());
        is_checkpoint.then_some(Self { origin: origin.to_owned(), size: size_read, root: root.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision_log::known_key as key;

    const ORIGIN: &str = "sallyport/edge-1";
    const TEXT: &str = "sallyport/edge-1\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    #[test]
    fn what_is_signed_opens() {
        let (secret, verifier) = key(1, ORIGIN);
        let root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=".parse().unwrap();
        let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size: 20_852_163, root };
        assert_eq!(checkpoint.text(), TEXT);
        let note = checkpoint.sign(&secret, &verifier);
        assert!(note.starts_with(&format!("{TEXT}\n— {ORIGIN} ")), "{note}");
        assert_eq!(Checkpoint::open(&note, &[key(2, ORIGIN).1, verifier]), Ok(checkpoint));
    }

    #[test]
    fn what_is_signed_and_no_checkpoint_by_table() {
        let (secret, verifier) = key(1, ORIGIN);
        let empty = "sallyport/edge-1\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";
        let origin = |origin: &str| Err(NoteError::Origin { origin: origin.to_owned(), key: ORIGIN.to_owned() });
        for (name, text, want) in [
            ("as it should be", TEXT.to_owned(), Ok(20_852_163)),
            ("an empty log", empty.to_owned(), Ok(0)),
            ("the largest", TEXT.replace("20852163", "18446744073709551615"), Ok(u64::MAX)),
            ("a line more", format!("{TEXT}more\n"), Ok(20_852_163)),
            ("an empty line more", format!("{TEXT}\nmore\n"), Err(NoteError::Checkpoint)),
            ("two lines", "sallyport/edge-1\n20852163\n".to_owned(), Err(NoteError::Checkpoint)),
            ("no origin", TEXT.replace("sallyport/edge-1", ""), Err(NoteError::Checkpoint)),
            ("a zero before", TEXT.replace("20852163", "020852163"), Err(NoteError::Checkpoint)),
            ("a plus", TEXT.replace("20852163", "+20852163"), Err(NoteError::Checkpoint)),
            ("no size", TEXT.replace("20852163", ""), Err(NoteError::Checkpoint)),
            ("a space", TEXT.replace("20852163", "20852163 "), Err(NoteError::Checkpoint)),
            ("hexadecimal", TEXT.replace("20852163", "0x2085"), Err(NoteError::Checkpoint)),
            ("too large", TEXT.replace("20852163", "18446744073709551616"), Err(NoteError::Checkpoint)),
            ("a short root", TEXT.replace("CsUYap", "CsUY"), Err(NoteError::Checkpoint)),
            ("a root of 33 bytes", TEXT.replace("q2I=", "q2Iw"), Err(NoteError::Checkpoint)),
            ("of another log", TEXT.replace("edge-1", "edge-2"), origin("sallyport/edge-2")),
            ("a space in the origin", TEXT.replace("edge-1", "edge-1 "), origin("sallyport/edge-1 ")),
        ] {
            let note = Note::sign(&text, &[(&secret, &verifier)]);
            let opened = Checkpoint::open(&note, std::slice::from_ref(&verifier));
            assert_eq!(opened.map(|checkpoint| checkpoint.size), want, "{name}");
        }
    }

    #[test]
    fn nothing_is_read_before_it_is_verified() {
        let (secret, verifier) = key(1, ORIGIN);
        let note = Note::sign("no checkpoint\n", &[(&secret, &verifier)]);
        let other = key(2, ORIGIN).1;
        assert!(matches!(Checkpoint::open(&note, &[other]), Err(NoteError::Unsigned { .. })));
        let changed = note.replace("no", "a");
        assert!(matches!(Checkpoint::open(&changed, &[verifier]), Err(NoteError::Forged { .. })));
    }

    #[test]
    fn a_cosigned_checkpoint_opens_with_the_log_key() {
        let ((secret, verifier), witness) = (key(1, ORIGIN), key(2, "witness.example"));
        let note = Note::sign(TEXT, &[(&witness.0, &witness.1), (&secret, &verifier)]);
        assert!(Checkpoint::open(&note, &[verifier]).is_ok());
        // A witness vouches for a log, and is none.
        assert!(matches!(Checkpoint::open(&note, &[witness.1]), Err(NoteError::Origin { .. })));
    }
}
