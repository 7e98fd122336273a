//! `sallyport audit check-proof`: whether a proof file and a verifier key are enough to believe its record.
//! Not here: what makes a proof hold (`decision_log::ProofFile`). No log, no configuration and no network are used.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Failure, Output, unreadable, verifier_key};
use crate::decision_log::{MAX_PROOF_FILE, ProofFile, VerifierKey};

#[derive(Args)]
pub(in crate::cli) struct CheckProofArgs {
    /// What `audit prove` printed; `-` reads stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The log's verifier key, or a file that holds it, from a source that is trusted
    #[arg(long, value_name = "VKEY")]
    key: String,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum Checked {
    Holds { ok: bool, seq: u64, id: Uuid, size: u64, root: String, record: String },
    Fails { ok: bool, what: String },
}

/// What of a record is held against its place, and shown.
#[derive(Deserialize)]
struct Said {
    seq: u64,
    id: Uuid,
}

pub(super) fn check_proof(args: &CheckProofArgs, output: Output) -> Result<(), Failure> {
    let checked = checked(args)?;
    output.print(&checked, |checked| match checked {
        Checked::Holds { seq, id, .. } => format!("ok {seq} {id}"),
        Checked::Fails { what, .. } => format!("bad {}: {what}", args.file.display()),
    })?;
    if matches!(checked, Checked::Holds { .. }) { Ok(()) } else { Err(Failure::No) }
}

fn checked(args: &CheckProofArgs) -> Result<Checked, Failure> {
    let key = verifier_key(&args.key)?;
    let text = read(&args.file).map_err(|error| unreadable(&args.file, &error))?;
    Ok(check(&text, &key).unwrap_or_else(|what| Checked::Fails { ok: false, what }))
}

/// What the proof proves, or why it proves nothing.
fn check(text: &[u8], key: &VerifierKey) -> Result<Checked, String> {
    let text = str::from_utf8(text).map_err(|_| "not a proof: it is not UTF-8".to_owned())?;
    let proof: ProofFile = text.parse().map_err(|error| format!("{error}"))?;
    let checkpoint = proof.check(key).map_err(|error| format!("{error}"))?;
    let record = String::from_utf8(proof.extra.unwrap_or_default()).unwrap_or_default();
    let no_record = "the log has this entry, but it is no record: it lacks `seq` or `id`".to_owned();
    let Ok(Said { seq, id }) = serde_json::from_str(&record) else { return Err(no_record) };
    if seq != proof.index {
        return Err(format!("the record calls itself {seq}, and stands as {} in the log", proof.index));
    }
    Ok(Checked::Holds { ok: true, seq, id, size: checkpoint.size, root: checkpoint.root.to_string(), record })
}

/// All of the file, or a byte more than the longest proof has.
fn read(file: &Path) -> io::Result<Vec<u8>> {
    let most = u64::try_from(MAX_PROOF_FILE).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        io::stdin().lock().take(most).read_to_end(&mut bytes)?;
    } else {
        File::open(file)?.take(most).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::decision_log::{Checkpoint, Hash, SigningKey, origin};

    const ID: &str = "019a0000-0000-7000-8000-000000000000";

    fn key(secret: u8) -> (SigningKey, VerifierKey) {
        let key = SigningKey::from_seed(&[secret; 32]).unwrap();
        let verifier = key.verifier(&origin("edge-1")).unwrap();
        (key, verifier)
    }

    /// The proof of a log's only entry.
    fn proof(entry: &[u8]) -> String {
        let (secret, verifier) = key(1);
        let checkpoint = Checkpoint { origin: origin("edge-1"), size: 1, root: Hash::leaf(entry) };
        let checkpoint = checkpoint.sign(&secret, &verifier);
        ProofFile { extra: Some(entry.to_vec()), index: 0, hashes: Vec::new(), checkpoint }.to_string()
    }

    fn record(seq: &str) -> String {
        format!(r#"{{"v":1,"seq":{seq},"time":"2026-11-21T10:00:00.000001Z","kind":"decision","id":"{ID}"}}"#)
    }

    #[test]
    fn says_what_was_proved() {
        let line = record("0");
        let checked = check(proof(line.as_bytes()).as_bytes(), &key(1).1).unwrap();
        let root = Hash::leaf(line.as_bytes()).to_string();
        assert_eq!(checked, Checked::Holds { ok: true, seq: 0, id: ID.parse().unwrap(), size: 1, root, record: line });
        let json: serde_json::Value = serde_json::from_str(&serde_json::to_string(&checked).unwrap()).unwrap();
        assert_eq!((&json["ok"], &json["seq"], &json["id"]), (&true.into(), &0.into(), &ID.into()));
    }

    #[test]
    fn says_what_is_wrong_by_table() {
        let good = proof(record("0").as_bytes());
        let other = "the record does not lead to the root that was signed: record, index or hashes were changed";
        let entry = "the log has this entry, but it is no record: it lacks `seq` or `id`";
        for (name, text, secret, want) in [
            (
                "another key",
                good.clone().into_bytes(),
                2,
                "its checkpoint: not signed by `sallyport/edge-1+".to_owned(),
            ),
            ("not UTF-8", [good.as_bytes(), b"\xff"].concat(), 1, "not a proof: it is not UTF-8".to_owned()),
            ("no proof", b"hello\n\n".to_vec(), 1, "line 1 of the proof is not `c2sp.org/tlog-proof@v1`".to_owned()),
            ("another record", good.replace("extra eyJ2", "extra eyJ3").into_bytes(), 1, other.to_owned()),
            (
                "another number",
                proof(record("7").as_bytes()).into_bytes(),
                1,
                "the record calls itself 7, and stands as 0 in the log".to_owned(),
            ),
            ("no number", proof(record("null").as_bytes()).into_bytes(), 1, entry.to_owned()),
            ("no JSON", proof(b"\xff").into_bytes(), 1, entry.to_owned()),
        ] {
            let what = check(&text, &key(secret).1).unwrap_err();
            assert!(what.starts_with(&want), "{name}: {what}");
        }
    }

    #[test]
    fn files_and_keys_by_table() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let good = proof(record("0").as_bytes());
        let [first, second] = [key(1), key(2)].map(|(_, key)| key.to_string());
        let key_file = file("log.vkey", &format!("{first}\n")).display().to_string();
        for (name, file, key, want) in [
            ("good", file("good", &good), first.clone(), Ok(true)),
            ("key in a file", file("good", &good), key_file, Ok(true)),
            ("another key", file("good", &good), second, Ok(false)),
            ("changed", file("changed", &good.replace("extra eyJ2", "extra eyJ3")), first.clone(), Ok(false)),
            (
                "more than a proof",
                file("long", &format!("{good}{}", " ".repeat(MAX_PROOF_FILE))),
                first.clone(),
                Ok(false),
            ),
            ("no key", file("good", &good), "a+b".to_owned(), Err(2)),
            ("no file", folder.path().join("missing"), first, Err(3)),
        ] {
            let checked = checked(&CheckProofArgs { file, key });
            let holds = checked.map(|checked| matches!(checked, Checked::Holds { ok: true, .. }));
            assert_eq!(holds.map_err(|failure| failure.code()), want, "{name}");
        }
    }
}
