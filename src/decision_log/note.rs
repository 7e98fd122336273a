//! Signed notes: a text, a blank line, and a line for each signature.
//! Not here: what the text says (`checkpoint`, `key_change`), keys (`key`). Source: C2SP signed-note v1.0.0.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::key::{SigningKey, VerifierKey};

/// Bytes of the longest note. The specification wants room for 16 signatures, and one of ML-DSA takes 6 KiB in base64.
pub const MAX_NOTE: usize = 128 * 1024;

/// Signatures of one note; the specification wants 16 at least. A log's own and those of its witnesses.
pub const MAX_SIGNATURES: usize = 64;

/// A note as it was written. Its text means nothing until [`Note::verify`] has said yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

/// Why a note can't be used. None of them repeats what an unsigned text says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Longer than any note of worth.
    #[error("{0} bytes are no signed note; one has at most {MAX_NOTE}")]
    TooLong(usize),
    /// A control character but newline, a carriage return too.
    #[error("a signed note has no control characters; bring it back as it was written, with newlines alone")]
    Control,
    /// No text, blank line and signature lines, each with its newline.
    #[error("not a signed note: it is a text, a blank line and lines of signatures, each ended by a newline")]
    Form,
    /// One of the lines behind the blank line.
    #[error("signature {line} of the note is malformed; it is `— NAME SIGNATURE`, in base64")]
    SignatureLine {
        /// Counted from 1.
        line: usize,
    },
    /// More signatures than any note of worth.
    #[error("{0} signatures are too many; a note has at most {MAX_SIGNATURES}")]
    TooManySignatures(usize),
    /// Signed by others only.
    #[error("not signed by `{wanted}`; give the verifier key of the one who signed it")]
    Unsigned {
        /// The names and numbers of the keys that were tried.
        wanted: String,
    },
    /// A signature with the name and the number of a known key, and not of this text.
    #[error("the signature of `{key}` is not one of this text: text or signature were changed")]
    Forged {
        /// The key's name and number.
        key: String,
    },
    /// Signed, and not a checkpoint.
    #[error("not a checkpoint: its text is origin, size and root, a line each")]
    Checkpoint,
    /// A checkpoint that a key signed which has another name than the log.
    #[error("a checkpoint of `{}`, signed by the key of `{key}`; a log's key has the log's name", origin.escape_debug())]
    Origin {
        /// The log that the checkpoint is about.
        origin: String,
        /// The name of the key.
        key: String,
    },
    /// Signed, and no change of this key.
    #[error("not a change of this log's key: its text is origin, `sallyport log key` and the new verifier key")]
    KeyChange,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Signature {
    name: String,
    id: u32,
    bytes: Vec<u8>,
}

impl Note {
    /// Reads a note. Nothing is verified yet.
    ///
    /// # Errors
    /// [`NoteError::TooLong`], [`NoteError::Control`], [`NoteError::Form`], [`NoteError::SignatureLine`],
    /// [`NoteError::TooManySignatures`].
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        if note.len() > MAX_NOTE {
            return Err(NoteError::TooLong(note.len()));
        }
        if note.chars().any(|c| c < ' ' && c != '\n') {
            return Err(NoteError::Control);
        }
        // The text may have blank lines too: the last one ends it.
        let (text, lines) = note.rsplit_once("\n\n").ok_or(NoteError::Form)?;
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Form)?;
        let count = lines.split('\n').count();
        if count > MAX_SIGNATURES {
            return Err(NoteError::TooManySignatures(count));
        }
        let read = |(line, text)| Signature::read(text).ok_or(NoteError::SignatureLine { line });
        let signatures = (1..).zip(lines.split('\n')).map(read).collect::<Result<_, _>>()?;
        Ok(Self { text: format!("{text}\n"), signatures })
    }

    /// Signs `text`, which ends in a newline and has no other control characters, with each key: a secret and its
    /// verifier key.
    pub fn sign(text: &str, keys: &[(&SigningKey, &VerifierKey)]) -> String {
        let mut note = format!("{text}\n");
        for (secret, key) in keys {
            let mut bytes = key.id().to_be_bytes().to_vec();
            bytes.extend(secret.sign(text.as_bytes()));
            note.push_str(&format!("{DASH}{} {}\n", key.name(), STANDARD.encode(bytes)));
        }
        note
    }

    /// What was signed, its last newline included.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether `key` signed the text. Signatures of other keys count for nothing.
    ///
    /// # Errors
    /// [`NoteError::Unsigned`]: it has none of this key. [`NoteError::Forged`]: it has one that is wrong, whatever
    /// else it has.
    pub fn verify(&self, key: &VerifierKey) -> Result<(), NoteError> {
        let id = key.id();
        let mut own = self.signatures.iter().filter(|one| one.id == id && one.name == key.name()).peekable();
        if own.peek().is_none() {
            return Err(NoteError::Unsigned { wanted: label(key) });
        }
        if own.all(|one| key.verifies(self.text.as_bytes(), &one.bytes)) {
            Ok(())
        } else {
            Err(NoteError::Forged { key: label(key) })
        }
    }

    /// The first of `keys` that signed the text.
    ///
    /// # Errors
    /// [`NoteError::Unsigned`]: none did. [`NoteError::Forged`]: a signature of any of them is wrong.
    pub fn signer<'a>(&self, keys: &'a [VerifierKey]) -> Result<&'a VerifierKey, NoteError> {
        let mut signer = None;
        for key in keys {
            match self.verify(key) {
                Ok(()) => signer = signer.or(Some(key)),
                Err(NoteError::Unsigned { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let wanted = || keys.iter().map(label).collect::<Vec<_>>().join("` or `");
        signer.ok_or_else(|| NoteError::Unsigned { wanted: wanted() })
    }
}

impl Signature {
    fn read(line: &str) -> Option<Self> {
        let (name, packed) = line.strip_prefix(DASH)?.split_once(' ')?;
        let packed = STANDARD.decode(packed).ok()?;
        let (id, bytes) = packed.split_first_chunk()?;
        let is_name = !name.is_empty() && !name.contains(|c: char| c == '+' || c.is_whitespace());
        let signature = Self { name: name.to_owned(), id: u32::from_be_bytes(*id), bytes: bytes.to_vec() };
        (is_name && !bytes.is_empty()).then_some(signature)
    }
}

/// A key's name and number: what tells keys apart.
fn label(key: &VerifierKey) -> String {
    format!("{}+{:08x}", key.name(), key.id())
}

/// What each line of a signature begins with: an em dash and a space.
const DASH: &str = "\u{2014} ";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decision_log::known_key as key;

    /// Verifier key and note of the specification, section "Verifier keys".
    const KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    const NOTE: &str = "This is an example message.\n\n— example.com/foo \
                        Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

    fn signed(text: &str, keys: &[(SigningKey, VerifierKey)]) -> String {
        Note::sign(text, &keys.iter().map(|(secret, key)| (secret, key)).collect::<Vec<_>>())
    }

    #[test]
    fn knows_the_notes_of_the_specification() {
        let peter = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        // From the tests of Go's package `sumdb/note`, where the format comes from.
        let think = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n\
                     — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
        for (note, key) in [(NOTE, KEY), (think, peter)] {
            let (note, key) = (Note::parse(note).unwrap(), key.parse().unwrap());
            assert_eq!(note.verify(&key), Ok(()), "{note:?}");
        }
        assert_eq!(Note::parse(NOTE).unwrap().text(), "This is an example message.\n");
    }

    #[test]
    fn what_is_no_note_by_table() {
        let line = NOTE.rsplit_once("\n\n").unwrap().1;
        let many = |count: usize| format!("text\n\n{}", line.repeat(count));
        for (name, note, want) in [
            ("empty", String::new(), NoteError::Form),
            ("no blank line", NOTE.replace("\n\n", "\n"), NoteError::Form),
            ("no signature", "text\n\n".to_owned(), NoteError::Form),
            ("no text", format!("\n{line}"), NoteError::Form),
            ("no final newline", NOTE.trim_end().to_owned(), NoteError::Form),
            ("carriage returns", NOTE.replace('\n', "\r\n"), NoteError::Control),
            ("a tab", NOTE.replacen(' ', "\t", 1), NoteError::Control),
            ("a zero", NOTE.replacen('T', "\0", 1), NoteError::Control),
            ("a blank line behind", format!("{NOTE}\n"), NoteError::Form),
            ("a line that is none", format!("{NOTE}x\n"), NoteError::SignatureLine { line: 2 }),
            ("a hyphen", NOTE.replace('—', "-"), NoteError::SignatureLine { line: 1 }),
            ("an en dash", NOTE.replace('—', "–"), NoteError::SignatureLine { line: 1 }),
            ("no space", NOTE.replace("— ", "—"), NoteError::SignatureLine { line: 1 }),
            ("two spaces", NOTE.replace("— ", "—  "), NoteError::SignatureLine { line: 1 }),
            ("a space behind", NOTE.replace("=\n", "= \n"), NoteError::SignatureLine { line: 1 }),
            ("a name with a plus", NOTE.replace("m/foo", "m+foo"), NoteError::SignatureLine { line: 1 }),
            ("a name with a wide space", NOTE.replace("/foo", "\u{2003}foo"), NoteError::SignatureLine { line: 1 }),
            ("no padding", NOTE.replace("=\n", "\n"), NoteError::SignatureLine { line: 1 }),
            ("no base64", NOTE.replace("Uw2Q", "Uw2_"), NoteError::SignatureLine { line: 1 }),
            ("bits behind the end", NOTE.replace("aQM=", "aQN="), NoteError::SignatureLine { line: 1 }),
            ("an id alone", "text\n\n— a AAAAAA==\n".to_owned(), NoteError::SignatureLine { line: 1 }),
            ("less than an id", "text\n\n— a AAAA\n".to_owned(), NoteError::SignatureLine { line: 1 }),
            ("too many", many(MAX_SIGNATURES + 1), NoteError::TooManySignatures(65)),
            ("too long", format!("{}{NOTE}", "x".repeat(MAX_NOTE)), NoteError::TooLong(MAX_NOTE + NOTE.len())),
        ] {
            assert_eq!(Note::parse(&note), Err(want), "{name}");
        }
        assert!(Note::parse(&many(MAX_SIGNATURES)).is_ok());
        assert!(Note::parse(&format!("{}{NOTE}", "x".repeat(MAX_NOTE - NOTE.len()))).is_ok());
    }

    #[test]
    fn sixteen_of_the_longest_signatures_fit() {
        // ML-DSA-87: 4,627 bytes.
        let line = format!("— witness.example/a-long-name {}\n", STANDARD.encode([7; 4 + 4627]));
        let note = format!("{NOTE}{}", line.repeat(15));
        assert_eq!(Note::parse(&note).unwrap().verify(&KEY.parse().unwrap()), Ok(()));
    }

    #[test]
    fn whose_signatures_count_by_table() {
        let text = "one\n\ntwo\n";
        let keys = [key(1, "a"), key(2, "b")];
        let (a, b) = (&keys[0].1, &keys[1].1);
        let both = signed(text, &keys);
        let lines: Vec<&str> = both.lines().skip(4).collect();
        let forged = signed("one\n\ntwo!\n", &keys).lines().skip(4).map(str::to_owned).collect::<Vec<_>>();
        let note = |lines: &[&str]| format!("{text}\n{}\n", lines.join("\n"));
        let unsigned = |wanted: &str| Err(NoteError::Unsigned { wanted: wanted.to_owned() });
        let is_forged = |key: &VerifierKey| Err(NoteError::Forged { key: label(key) });
        let a_or_b = format!("{}` or `{}", label(a), label(b));
        for (name, note, known, want) in [
            ("both known", both.clone(), vec![b, a], Ok(b)),
            ("one known", both.clone(), vec![a], Ok(a)),
            ("none known", both.clone(), vec![], unsigned("")),
            ("others", note(&lines[..1]), vec![b], unsigned(&label(b))),
            ("either", note(&["— c AAAAAAA="]), vec![a, b], unsigned(&a_or_b)),
            ("the second known", note(&lines), vec![b], Ok(b)),
            ("twice", note(&[lines[0], lines[0]]), vec![a], Ok(a)),
            ("good and forged", note(&[lines[0], &forged[0]]), vec![a], is_forged(a)),
            ("forged and good", note(&[&forged[0], lines[0]]), vec![a], is_forged(a)),
            ("one good, one forged", note(&[lines[0], &forged[1]]), vec![a, b], is_forged(b)),
            ("a forged one of an unknown key", note(&[lines[0], &forged[1]]), vec![a], Ok(a)),
            ("a known id of another name", note(&[&lines[0].replace("— a", "— c")]), vec![a], unsigned(&label(a))),
            ("another text", both.replace("two", "six"), vec![a], is_forged(a)),
            ("a blank line less", both.replacen("\n\n", "\n", 1), vec![a], is_forged(a)),
        ] {
            let known: Vec<VerifierKey> = known.into_iter().cloned().collect();
            assert_eq!(
                Note::parse(&note).unwrap().signer(&known),
                want.as_ref().map(|key| *key).map_err(Clone::clone),
                "{name}"
            );
        }
        // The same secret under two names: each name is another key.
        let (_, other) = key(1, "b");
        assert_eq!(Note::parse(&both).unwrap().signer(std::slice::from_ref(&other)), unsigned(&label(&other)));
    }

    #[test]
    fn an_error_repeats_nothing_of_the_text() {
        let error = Note::parse("4111111111111111\n\n— x\n").unwrap_err().to_string();
        assert_eq!(error, "signature 1 of the note is malformed; it is `— NAME SIGNATURE`, in base64");
    }

    proptest! {
        #[test]
        fn what_was_signed_verifies_and_no_other_text_does(
            lines in prop::collection::vec("[ -~äø]{0,20}", 1..6), at: prop::sample::Index, secret: u8
        ) {
            let text = format!("{}\n", lines.join("\n"));
            let keys = [key(secret, "sallyport/edge-1")];
            let note = signed(&text, &keys);
            let parsed = Note::parse(&note).unwrap();
            prop_assert_eq!(parsed.text(), &text);
            prop_assert_eq!(parsed.verify(&keys[0].1), Ok(()));
            // Any character of the note changed: it is no note any more, or not signed.
            let place = note.char_indices().nth(at.index(note.chars().count())).unwrap();
            let mut changed = note.clone();
            changed.replace_range(place.0..place.0 + place.1.len_utf8(), if place.1 == '~' { "!" } else { "~" });
            prop_assert!(Note::parse(&changed).and_then(|note| note.verify(&keys[0].1)).is_err());
        }
    }
}
