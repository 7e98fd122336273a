//! Signed notes and what they say: read without a panic, verified by nobody who did not sign, and written as they were read.
#![no_main]

use sallyport::decision_log::{Checkpoint, Note, SigningKey, VerifierKey, key_change};

fn log_key() -> (SigningKey, VerifierKey) {
    let key = SigningKey::from_seed(&[1; 32]).expect("a key");
    let verifier = key.verifier("sallyport/edge-1").expect("a name");
    (key, verifier)
}

fn is_one_line(error: impl std::fmt::Display) {
    assert!(!error.to_string().chars().any(char::is_control), "{error}");
}

libfuzzer_sys::fuzz_target!(|text: &str| {
    let (secret, key) = log_key();
    match Note::parse(text) {
        Ok(note) => {
            let signed = note.verify(&key).is_ok();
            assert!(text.starts_with(note.text()) && (!signed || text.starts_with("sallyport/edge-1\n")));
        }
        Err(error) => is_one_line(error),
    }
    if let Ok(other) = text.parse::<VerifierKey>() {
        assert_eq!(other.to_string(), text);
    }
    // Whatever the log's key signed: a checkpoint that reads back, a change of the key, or neither.
    let note = Note::sign(&format!("{text}\n"), &[(&secret, &key)]);
    match Checkpoint::open(&note, std::slice::from_ref(&key)) {
        Ok(checkpoint) => assert!(note.starts_with(&checkpoint.text()) && key_change::check(&note, &key).is_err()),
        Err(error) => is_one_line(error),
    }
    if let Err(error) = key_change::check(&note, &key) {
        is_one_line(error);
    }
});
