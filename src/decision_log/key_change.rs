//! A change of the log's key, said by the old one: who trusts that one can follow to the new.
//! Not here: the record that holds it (`admin`, `log_key_rotated`), key files (`runtime::journal`).
//! Source: C2SP signed-note v1.0.0; a stolen key can say this too, so a follower asks somebody who knows.

use super::key::{SigningKey, VerifierKey};
use super::note::{Note, NoteError};

/// The second line of the statement: a signature of it can't be taken for one of a checkpoint, whose second line is a number.
const WHAT: &str = "sallyport log key";

/// The signed statement that `to` follows `from`, whose secret is `secret`. Both keys have the log's name.
pub fn make(secret: &SigningKey, from: &VerifierKey, to: &VerifierKey) -> String {
    Note::sign(&format!("{}\n{WHAT}\n{to}\n", from.name()), &[(secret, from)])
}

/// The key that follows `old`, by the statement that `old` signed.
///
/// # Errors
/// Those of [`Note::parse`] and [`Note::verify`]; [`NoteError::KeyChange`]: it says something else, or is about another log.
pub fn check(statement: &str, old: &VerifierKey) -> Result<VerifierKey, NoteError> {
    let note = Note::parse(statement)?;
    note.verify(old)?;
    let read = || {
        let lines: Vec<&str> = note.text().lines().collect();
        let [origin, WHAT, key] = lines[..] else { return None };
        key.parse().ok().filter(|key: &VerifierKey| origin == old.name() && key.name() == origin)
    };
    read().ok_or(NoteError::KeyChange)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision_log::Checkpoint;
    use crate::decision_log::known_key as key;

    #[test]
    fn who_trusts_the_old_key_follows_to_the_new_one() {
        let ((secret, old), (_, new)) = (key(1, "sallyport/a"), key(2, "sallyport/a"));
        let statement = make(&secret, &old, &new);
        assert!(
            statement.starts_with(&format!("sallyport/a\nsallyport log key\n{new}\n\n— sallyport/a ")),
            "{statement}"
        );
        assert_eq!(check(&statement, &old), Ok(new.clone()));
        assert!(matches!(check(&statement, &new), Err(NoteError::Unsigned { .. })));
        assert_eq!(Checkpoint::open(&statement, &[old]), Err(NoteError::Checkpoint));
    }

    #[test]
    fn what_the_old_key_signed_and_is_no_change_by_table() {
        let ((secret, old), (_, new)) = (key(1, "sallyport/a"), key(2, "sallyport/a"));
        let other = key(2, "sallyport/b").1;
        for (name, text) in [
            ("a checkpoint", "sallyport/a\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n".to_owned()),
            ("another origin", format!("sallyport/b\n{WHAT}\n{new}\n")),
            ("the key of another log", format!("sallyport/a\n{WHAT}\n{other}\n")),
            ("another log", format!("sallyport/b\n{WHAT}\n{other}\n")),
            ("no key", format!("sallyport/a\n{WHAT}\n{}\n", new.to_string().replace('+', "-"))),
            ("a line more", format!("sallyport/a\n{WHAT}\n{new}\nmore\n")),
            ("a line less", format!("sallyport/a\n{WHAT}\n")),
            ("other words", format!("sallyport/a\nsallyport log keys\n{new}\n")),
        ] {
            assert_eq!(check(&Note::sign(&text, &[(&secret, &old)]), &old), Err(NoteError::KeyChange), "{name}");
        }
    }

    #[test]
    fn a_statement_of_the_new_key_is_no_word_of_the_old() {
        let ((_, old), (secret, new)) = (key(1, "sallyport/a"), key(2, "sallyport/a"));
        let statement = make(&secret, &new, &new);
        assert!(matches!(check(&statement, &old), Err(NoteError::Unsigned { .. })));
        let genuine = make(&key(1, "sallyport/a").0, &old, &new);
        assert!(matches!(check(&genuine.replace("log key", "log-key"), &old), Err(NoteError::Forged { .. })));
    }
}
