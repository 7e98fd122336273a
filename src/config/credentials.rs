//! The credentials of clients that can show nothing else: what the file says, and whether a secret is the right one.
//! Not here: the file itself, randomness, clients (`runtime::client_auth`, `cli`).
//! Source: RFC 9106 (Argon2), the PHC string format, OWASP's password storage page (parameters); PCI DSS 8.3.2.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::tokens::BEGIN;
use super::{LABEL, MAX_LABEL, is_label, label};
use crate::yaml::{self, Faults, Field, MapReader};

/// Upper bound for the credentials of a file: they are for the few clients that can't have a certificate.
const MAX_CREDENTIALS: usize = 1000;

/// Memory of one check in KiB: at least what OWASP asks for with two passes, at most 64 MiB, as one check runs at a time.
const MEMORY_KIB: RangeInclusive<u32> = 19_456..=65_536;

/// Passes over it: at least OWASP's; ten over 64 MiB take about half a second.
const PASSES: RangeInclusive<u32> = 2..=10;

/// Lanes. A check runs on one thread however many there are.
const LANES: RangeInclusive<u32> = 1..=4;

/// Length in bytes of salts that are made here, as RFC 9106 section 3.1 recommends.
const SALT: usize = 16;

/// Lengths in bytes of salts that are taken.
const SALTS: RangeInclusive<usize> = SALT..=48;

/// Length in bytes of hashes.
const HASH: usize = 32;

/// One credential as it is kept: the hash of its secret. Its text is its line in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Whose it is: the identity `login:NAME`.
    pub name: Arc<str>,
    secret: Hashed,
}

/// A secret's hash, and all that it takes to make it again.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hashed {
    cost: Cost,
    salt: Box<[u8]>,
    hash: [u8; HASH],
}

/// What one check costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// Why a credential can't be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NewCredentialError {
    /// The name does not fit.
    #[error("a credential's name has 1 to {MAX_LABEL} letters, digits, `.`, `_` and `-`; write one such as `{LABEL}`")]
    Name,
    /// There is no memory for the hash.
    #[error("a hash takes {} KiB of memory, which this host does not give; free some", MEMORY_KIB.start())]
    Memory,
}

impl Credential {
    /// The credential of these random bytes, and its secret for who gets it.
    ///
    /// # Errors
    /// The name does not fit, or there is no memory for the hash.
    pub fn new(
        name: &str,
        random: &[u8; 32],
        salt: &[u8; SALT],
    ) -> Result<(Self, Zeroizing<String>), NewCredentialError> {
        if !is_label(name) {
            return Err(NewCredentialError::Name);
        }
        let encoded = Zeroizing::new(URL_SAFE_NO_PAD.encode(random));
        let secret = Zeroizing::new(format!("{BEGIN}{}", *encoded));
        let cost = Cost { memory_kib: *MEMORY_KIB.start(), passes: *PASSES.start(), lanes: *LANES.start() };
        let hash = cost.hash(secret.as_bytes(), salt).ok_or(NewCredentialError::Memory)?;
        Ok((Self { name: name.into(), secret: Hashed { cost, salt: Box::new(*salt), hash } }, secret))
    }

    /// Whether it is the right secret. Takes its time, and memory, whatever comes out.
    pub fn proves(&self, secret: &[u8]) -> bool {
        let Hashed { cost, salt, hash } = &self.secret;
        cost.hash(secret, salt).is_some_and(|made| verify_slices_are_equal(&made, hash).is_ok())
    }
}

impl fmt::Display for Credential {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Hashed { cost: Cost { memory_kib, passes, lanes }, salt, hash } = &self.secret;
        let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash));
        // Some names would be numbers or words of YAML without quotes.
        write!(
            out,
            "{{name: \"{}\", argon2id: \"$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${salt}${hash}\"}}",
            self.name
        )
    }
}

impl Cost {
    fn hash(self, secret: &[u8], salt: &[u8]) -> Option<[u8; HASH]> {
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(HASH)).ok()?;
        let mut hash = [0; HASH];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into(secret, salt, &mut hash).ok()?;
        Some(hash)
    }
}

/// Reads the file of credentials; `file` is its index in places. Valid only if `faults` is still empty. No fault repeats what stands there.
pub fn credentials(text: &str, file: u32, faults: &mut Faults) -> Option<Vec<Credential>> {
    let mut own = Faults::of_secrets();
    let credentials = read(text, file, &mut own);
    faults.extend(own);
    credentials
}

fn read(text: &str, file: u32, faults: &mut Faults) -> Option<Vec<Credential>> {
    let root = yaml::parse(text, file, faults)?;
    let mut map = MapReader::new(&root, "the file of credentials", faults)?;
    let items = map.require("credentials", faults);
    map.finish(&[], faults);
    let items = items?;
    let mut credentials: Vec<Credential> = Vec::new();
    for item in items.list(faults)?.take(MAX_CREDENTIALS) {
        if let Some(credential) = credential(item, &credentials, faults) {
            credentials.push(credential);
        }
    }
    match items.list(faults)?.len() {
        0 => items.fault("`credentials` is empty; add what `sallyport keys new credential` prints", faults),
        1..=MAX_CREDENTIALS => {}
        count => items.fault(format!("{count} credentials; write at most {MAX_CREDENTIALS}"), faults),
    }
    Some(credentials)
}

fn credential(item: Field<'_>, before: &[Credential], faults: &mut Faults) -> Option<Credential> {
    let mut map = item.map("a credential", faults)?;
    let name_field = map.require("name", faults);
    let name = name_field.and_then(|field| label(field, faults));
    let secret = map.require("argon2id", faults).and_then(|field| field.read(hash_of, faults));
    map.finish(&[], faults);
    let name = name?;
    if let Some(field) = name_field.filter(|_| before.iter().any(|other| *other.name == *name)) {
        field.fault("a second credential of this name; write another one, so that records tell who asked", faults);
    }
    Some(Credential { name: name.into(), secret: secret? })
}

/// What stands as `argon2id` is no such hash, or one that costs too little or too much. It may be the secret itself, so it is not repeated.
#[derive(Debug, thiserror::Error)]
enum HashError {
    #[error("`argon2id` is no Argon2id hash; write the whole line that `sallyport keys new credential` prints")]
    Form,
    #[error(
        "`argon2id` has other parameters than are taken; use `m` from {} to {}, `t` from {} to {}, `p` from {} to {}",
        MEMORY_KIB.start(), MEMORY_KIB.end(), PASSES.start(), PASSES.end(), LANES.start(), LANES.end()
    )]
    Cost,
    #[error("`argon2id` has a salt or hash of another length than are taken; use {} to {} bytes and {HASH} bytes", SALTS.start(), SALTS.end())]
    Length,
}

fn hash_of(text: &str) -> Result<Hashed, HashError> {
    let read = PasswordHash::new(text).map_err(|_| HashError::Form)?;
    if read.algorithm.as_str() != "argon2id" || read.version != Some(Version::V0x13.into()) {
        return Err(HashError::Form);
    }
    let params = Params::try_from(&read).map_err(|_| HashError::Form)?;
    // What is not written has a default of the library's, which may change.
    let are_written = ["m", "t", "p"].iter().all(|name| read.params.get(*name).is_some());
    if !are_written || !params.keyid().is_empty() || !params.data().is_empty() {
        return Err(HashError::Form);
    }
    let cost = Cost { memory_kib: params.m_cost(), passes: params.t_cost(), lanes: params.p_cost() };
    let is_fair = MEMORY_KIB.contains(&cost.memory_kib) && PASSES.contains(&cost.passes) && LANES.contains(&cost.lanes);
    if !is_fair {
        return Err(HashError::Cost);
    }
    let (salt, hash) = (read.salt.ok_or(HashError::Form)?, read.hash.ok_or(HashError::Form)?);
    let hash = <[u8; HASH]>::try_from(hash.as_bytes()).map_err(|_| HashError::Length)?;
    if !SALTS.contains(&salt.len()) {
        return Err(HashError::Length);
    }
    Ok(Hashed { cost, salt: salt.as_ref().into(), hash })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::misplaced;

    fn read(text: &str) -> (Option<Vec<Credential>>, Vec<String>) {
        let mut faults = Faults::new();
        let credentials = credentials(text, 0, &mut faults);
        (credentials, faults.iter().map(|fault| fault.line(&["f"])).collect())
    }

    fn line(hash: &str) -> String {
        format!("credentials: [{{name: a, argon2id: \"{hash}\"}}]")
    }

    #[test]
    fn what_is_made_can_be_pasted_and_proves_its_secret_alone() {
        let (made, secret) = Credential::new("7", &[1; 32], &[2; 16]).unwrap();
        assert_eq!(*secret, "sallyport_AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE");
        let (read, faults) = read(&format!("credentials:\n  - {made}\n"));
        assert_eq!(faults, Vec::<String>::new());
        let read = read.unwrap();
        assert_eq!(read, std::slice::from_ref(&made), "also a name made of digits");
        assert!(read[0].proves(secret.as_bytes()));
        for wrong in ["", "sallyport_", &secret.to_lowercase(), &format!("{} ", *secret)] {
            assert!(!read[0].proves(wrong.as_bytes()), "`{wrong}`");
        }
        assert!(!format!("{made} {made:?}").contains("AQEBAQEBAQEBAQEB"), "the secret itself is not kept");
        let (other, _) = Credential::new("7", &[1; 32], &[3; 16]).unwrap();
        assert_ne!(other, made, "a salt of its own");
    }

    #[test]
    fn hashes_that_others_made_count() {
        let (read, faults) = read(&line(REFERENCE));
        assert_eq!(faults, Vec::<String>::new());
        assert!(read.unwrap()[0].proves(b"secret"));
    }

    /// What the reference implementation (libargon2) says of `secret`: `echo -n secret | argon2 sallyportsalt000 -id -m 15 -t 2 -p 1 -l 32 -e`.
    const REFERENCE: &str =
        "$argon2id$v=19$m=32768,t=2,p=1$c2FsbHlwb3J0c2FsdDAwMA$PD24v6Rq3WhMaeUyOWdxAlGLAWvlm9GNQoA1nRqD1IA";

    #[test]
    fn names_that_do_not_fit() {
        for name in ["", "a b", "a:b", "a\n", "ä", "a\"b", "batch-4111111111111111", &"a".repeat(MAX_LABEL + 1)] {
            assert_eq!(Credential::new(name, &[0; 32], &[0; 16]).unwrap_err(), NewCredentialError::Name, "`{name}`");
        }
    }

    #[test]
    fn faults_of_hashes() {
        const SALT: &str = "AgICAgICAgICAgICAgICAg";
        const HASH: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";
        const FORM: &str =
            "f:1:35: `argon2id` is no Argon2id hash; write the whole line that `sallyport keys new credential` prints";
        const COST: &str = "f:1:35: `argon2id` has other parameters than are taken; use `m` from 19456 to 65536, `t` from 2 to 10, `p` from 1 to 4";
        const LENGTH: &str =
            "f:1:35: `argon2id` has a salt or hash of another length than are taken; use 16 to 48 bytes and 32 bytes";
        let with = |params: &str| format!("$argon2id$v=19${params}${SALT}${HASH}");
        for (row, hash, want) in [
            ("good", with("m=19456,t=2,p=1"), None),
            ("dear", with("m=65536,t=10,p=4"), None),
            ("little memory", with("m=19455,t=2,p=1"), Some(COST)),
            ("much memory", with("m=65537,t=2,p=1"), Some(COST)),
            ("one pass", with("m=65536,t=1,p=1"), Some(COST)),
            ("many passes", with("m=19456,t=11,p=1"), Some(COST)),
            ("many lanes", with("m=19456,t=2,p=5"), Some(COST)),
            ("no parameters", format!("$argon2id$v=19${SALT}${HASH}"), Some(FORM)),
            ("a key's id", with("m=19456,t=2,p=1,keyid=AAAA"), Some(FORM)),
            ("argon2i", with("m=19456,t=2,p=1").replace("argon2id", "argon2i"), Some(FORM)),
            ("an older version", with("m=19456,t=2,p=1").replace("v=19", "v=16"), Some(FORM)),
            ("no version", with("m=19456,t=2,p=1").replace("$v=19", ""), Some(FORM)),
            ("bcrypt", "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW".to_owned(), Some(FORM)),
            ("the secret itself", "sallyport_AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE".to_owned(), Some(FORM)),
            ("no hash", format!("$argon2id$v=19$m=19456,t=2,p=1${SALT}"), Some(FORM)),
            ("a short salt", with("m=19456,t=2,p=1").replace(SALT, "AgICAgICAgICAgIC"), Some(LENGTH)),
            ("a short hash", with("m=19456,t=2,p=1").replace(HASH, "AQEBAQEBAQEBAQEBAQEBAQ"), Some(LENGTH)),
        ] {
            let (_, faults) = read(&line(&hash));
            assert_eq!(faults, want.map(str::to_owned).into_iter().collect::<Vec<_>>(), "{row}");
        }
    }

    #[test]
    fn no_fault_repeats_what_stands_there() {
        misplaced::is_never_repeated("credentials", ("argon2id", REFERENCE), &|text| read(text).1);
    }

    #[test]
    fn faults_of_the_file() {
        let hash = "$argon2id$v=19$m=19456,t=2,p=1$AgICAgICAgICAgICAgICAg$AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";
        let one = |name: &str| format!("  - {{name: {name}, argon2id: \"{hash}\"}}\n");
        let many = (0..=MAX_CREDENTIALS).map(|number| one(&format!("c{number}"))).collect::<String>();
        for (text, want) in [
            (
                "credentials: []".to_owned(),
                "f:1:14: `credentials` is empty; add what `sallyport keys new credential` prints",
            ),
            ("credential: []".to_owned(), "f:1:1: unknown key `…`; did you mean `credentials`?"),
            ("credentials: [{name: a}]".to_owned(), "f:1:15: a credential lacks `argon2id`; add it"),
            (format!("credentials: [{{argon2id: \"{hash}\"}}]"), "f:1:15: a credential lacks `name`; add it"),
            (
                format!("credentials:\n{}{}", one("x"), one("x")),
                "f:3:12: a second credential of this name; write another one, so that records tell who asked",
            ),
            (format!("credentials:\n{many}"), "f:2:3: 1001 credentials; write at most 1000"),
        ] {
            let (_, faults) = read(&text);
            assert!(faults.iter().any(|fault| fault == want), "{faults:?}\n  {want}");
        }
    }
}
