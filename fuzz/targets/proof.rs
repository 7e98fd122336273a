//! Proof files: what reads is written as it was, and no hashes of any number lead to a root that was not signed.
#![no_main]

use sallyport::decision_log::{Note, ProofFile, SigningKey};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let proof = match text.parse::<ProofFile>() {
        Ok(proof) => proof,
        Err(error) => return assert!(!error.to_string().chars().any(char::is_control), "{error}"),
    };
    assert_eq!(proof.to_string(), text);
    let secret = SigningKey::from_seed(&[1; 32]).expect("a key");
    let key = secret.verifier("sallyport/edge-1").expect("a name");
    // Signed by the log's key after all, so that indexes, sizes and hashes of any kind are tried.
    let statement = proof.checkpoint.split("\n\n").next().unwrap_or_default();
    let signed = ProofFile { checkpoint: Note::sign(&format!("{statement}\n"), &[(&secret, &key)]), ..proof.clone() };
    for proof in [proof, signed] {
        match proof.check(&key) {
            Ok(checkpoint) => assert!(proof.index < checkpoint.size && proof.hashes.len() <= 64),
            Err(error) => assert!(!error.to_string().chars().any(char::is_control), "{error}"),
        }
    }
});
