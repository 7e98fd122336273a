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
    /// Whose it is: the identity `credential:NAME`.
    pub name: Arc<str>,
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
        Ok((Self { name: name.into(), cost, salt: Box::new(*salt), hash }, secret))
    }

    /// Whether it is the right secret. Takes its time, and memory, whatever comes out.
    pub fn proves(&self, secret: &[u8]) -> bool {
        let hash = self.cost.hash(secret, &self.salt);
        hash.is_some_and(|hash| verify_slices_are_equal(&hash, &self.hash).is_ok())
    }
}

impl fmt::Display for Credential {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cost { memory_kib, passes, lanes } = self.cost;
        let (salt, hash) = (STANDARD_NO_PAD.encode(&self.salt), STANDARD_NO_PAD.encode(self.hash));
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

/// Reads the file of credentials; `file` is its index in places. Valid only if `faults` is still empty.
pub fn credentials(text: &str, file: u32, faults: &mut Faults) -> Option<Vec<Credential>> {
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
    let hashed = map.require("argon2id", faults).and_then(|field| field.read(hash_of, faults));
    map.finish(&[], faults);
    let name = name?;
    if let Some(field) = name_field.filter(|_| before.iter().any(|other| *other.name == *name)) {
        field
            .fault(format!("a second credential `{name}`; write another name, so that records tell who asked"), faults);
    }
    let (cost, salt, hash) = hashed?;
    Some(Credential { name: name.into(), cost, salt, hash })
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

fn hash_of(text: &str) -> Result<(Cost, Box<[u8]>, [u8; HASH]), HashError> {
    let read = PasswordHash::new(text).map_err(|_| HashError::Form)?;
    if read.algorithm.as_str() != "argon2id" || read.version != Some(Version::V0x13.into()) {
        return Err(HashError::Form);
    }
    let params = Params::try_from(&read).map_err(|_| HashError::Form)?;
    if !params.keyid().is_empty() || !params.data().is_empty() {
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
    Ok((cost, salt.as_ref().into(), hash))
}
