//! `keys new`: tokens that the admin port takes, and keys that the log begins with.
//! Not here: changing over to a new key (`decision_log`).

use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Proxy, Setup, write_setup};
use crate::programs::{Finished, finish, program, sallyport};

fn keys(dir: &TempDir, words: &str) -> Finished {
    finish(
        sallyport()
            .arg("keys")
            .args(words.split(' '))
            .arg("-c")
            .arg(dir.path().join("sallyport.yaml"))
            .current_dir(dir),
        "",
    )
}

#[test]
fn a_token_is_printed_once_with_its_line() {
    let dir = TempDir::new().unwrap();
    let text = keys(&dir, "new token --name qsa-2026 --role auditor");
    let lines: Vec<&str> = text.out.lines().collect();
    let [token, line] = lines.as_slice() else { panic!("{text:?}") };
    assert!(token.starts_with("sallyport_") && token.len() == 53, "{token}");
    let hash = finish(&mut program("sha256sum"), token);
    let hash = hash.out.split(' ').next().unwrap();
    assert_eq!(
        *line,
        format!("- {{name: \"qsa-2026\", role: auditor, sha256: \"{hash}\"}}"),
        "a plain SHA-256, as sha256sum makes it"
    );
    let json = keys(&dir, "new token --name 7 --role operator -o json");
    let json: Value = serde_json::from_str(&json.out).unwrap();
    assert_ne!(json["token"], *token, "each is another one");
    assert!(json["line"].as_str().unwrap().starts_with("- {name: \"7\", role: operator, sha256: \""), "{json}");
    for (words, says) in [
        ("new token --name a+b --role auditor", "a token's name has 1 to 128 letters"),
        ("new token --name a --role root", "possible values: auditor, operator"),
        ("new token --name a", "--role"),
        ("new secret", "unrecognized subcommand 'secret'"),
    ] {
        let ended = keys(&dir, words);
        assert_eq!((ended.code, &*ended.out), (Some(2), ""), "{words}");
        assert!(ended.err.contains(says), "{words}: {}", ended.err);
    }
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0, "nothing is written");
}

#[test]
fn a_credential_is_printed_once_with_its_line() {
    let dir = TempDir::new().unwrap();
    let text = keys(&dir, "new credential batch-1");
    let lines: Vec<&str> = text.out.lines().collect();
    let [secret, line] = lines.as_slice() else { panic!("{text:?}") };
    assert!(secret.starts_with("sallyport_") && secret.len() == 53, "{secret}");
    let begin = "- {name: \"batch-1\", argon2id: \"$argon2id$v=19$m=19456,t=2,p=1$";
    assert!(line.starts_with(begin) && line.ends_with("\"}") && !line.contains(secret), "{line}");
    let json = keys(&dir, "new credential 7 -o json");
    let json: Value = serde_json::from_str(&json.out).unwrap();
    assert_ne!(json["secret"], *secret, "each is another one");
    assert!(json["line"].as_str().unwrap().starts_with("- {name: \"7\", argon2id: "), "{json}");
    for (words, says) in
        [("new credential a+b", "a credential's name has 1 to 128 letters"), ("new credential", "<NAME>")]
    {
        let ended = keys(&dir, words);
        assert_eq!((ended.code, &*ended.out), (Some(2), ""), "{words}");
        assert!(ended.err.contains(says), "{words}: {}", ended.err);
    }
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0, "nothing is written");
}

#[test]
fn a_log_begins_with_the_key_that_was_made_and_the_next_one_goes_beside_it() {
    let dir = TempDir::new().unwrap();
    write_setup(dir.path(), &Setup { policy: "rules: [\n", ..Setup::default() });
    let made = keys(&dir, "new log");
    assert_eq!(made.code, Some(0), "a policy is not needed: {made:?}");
    let key = dir.path().join("log.key");
    assert_eq!(fs::metadata(&key).unwrap().mode() & 0o777, 0o600);
    let vkey = made.out.lines().find_map(|line| line.strip_prefix("vkey ")).unwrap().to_owned();
    assert!(vkey.starts_with("sallyport/tests+"), "{vkey}");
    let shown = finish(program("openssl").args(["pkey", "-noout", "-text", "-in"]).arg(&key), "");
    assert!(shown.out.starts_with("ED25519 Private-Key"), "{shown:?}");
    write_setup(dir.path(), &Setup { policy: "rules: []\n", ..Setup::default() });
    let (dir, code) = Proxy::start_in(dir).stop();
    assert_eq!(code, Some(0));
    assert_eq!(fs::read_to_string(dir.path().join("decisions/log.vkey")).unwrap().trim_end(), vkey, "the log's own");

    let before = fs::read(&key).unwrap();
    let next: Value = serde_json::from_str(&keys(&dir, "new log -o json").out).unwrap();
    assert_eq!(next["path"], format!("{}.next", key.display()));
    assert_ne!(next["vkey"], vkey);
    assert_eq!(fs::metadata(dir.path().join("log.key.next")).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::read(&key).unwrap(), before, "the old one signs the change");
    let again = keys(&dir, "new log");
    assert_eq!((again.code, &*again.out), (Some(2), ""));
    assert!(again.err.contains("log.key.next` is there already"), "{again:?}");
    let out = keys(&dir, "new log --out spare.key");
    assert_eq!((out.code, fs::metadata(dir.path().join("spare.key")).unwrap().mode() & 0o777), (Some(0), 0o600));
    let (out, missing) = (keys(&dir, "new log --out log.key"), keys(&dir, "new log --out no/folder"));
    assert_eq!((out.code, missing.code), (Some(2), Some(3)), "never over a file: {out:?} {missing:?}");
    assert_eq!(fs::read(&key).unwrap(), before);
}

#[test]
fn a_log_whose_key_is_lost_gets_no_new_one() {
    let dir = TempDir::new().unwrap();
    write_setup(dir.path(), &Setup { policy: "rules: []\n", ..Setup::default() });
    let (dir, _) = Proxy::start_in(dir).stop();
    fs::remove_file(dir.path().join("log.key")).unwrap();
    let made = keys(&dir, "new log");
    assert_eq!((made.code, &*made.out), (Some(2), ""), "{made:?}");
    assert!(made.err.contains("bring back the old ones, or begin a new log"), "{made:?}");
    assert!(!dir.path().join("log.key").exists());
}
