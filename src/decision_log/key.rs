//! The log's key: Ed25519 as PKCS#8 PEM, and the verifier key that others check signatures with.
//! Not here: files and randomness (`runtime::journal` gives the seed).
//! Source: C2SP signed-note v1.0.0 (key id, vkey); RFC 8410 (PKCS#8); RFC 7468 (PEM).

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The name of the log that the instance writes, in keys and tree heads.
pub fn origin(instance: &str) -> String {
    format!("sallyport/{instance}")
}

/// Signs for a log.
pub struct SigningKey(Ed25519KeyPair);

/// Checks what a [`SigningKey`] signed. Its text is the vkey line `name+id+key` of signed-note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    public: [u8; 32],
}

/// A key can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not a PEM text with one private key.
    #[error("not a private key in PEM; make one with `openssl genpkey -algorithm ed25519`")]
    Pem,
    /// Another kind of key, or a broken one.
    #[error("not an Ed25519 key in PKCS#8; make one with `openssl genpkey -algorithm ed25519`")]
    Kind,
    /// The name of a log can't stand in a vkey.
    #[error("the log's name must have no spaces, control characters or `+`; choose another `instance`")]
    Name,
    /// Not a vkey.
    #[error("not a verifier key; write `name+id+key` as in `log.vkey`")]
    Vkey,
}

impl SigningKey {
    /// The key of this secret; 32 bytes from a good source of randomness make a new one.
    ///
    /// # Errors
    /// [`KeyError::Kind`]: the library refuses to make a key.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, KeyError> {
        Ed25519KeyPair::from_seed_unchecked(seed).map(Self).map_err(|_| KeyError::Kind)
    }

    /// Reads the text of a key file.
    ///
    /// # Errors
    /// [`KeyError::Pem`], [`KeyError::Kind`].
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let body = text.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END)).ok_or(KeyError::Pem)?.0;
        let packed: String = body.split_ascii_whitespace().collect();
        let bytes = STANDARD.decode(packed).map_err(|_| KeyError::Pem)?;
        Ed25519KeyPair::from_pkcs8(&bytes).map(Self).map_err(|_| KeyError::Kind)
    }

    /// The text of a key file.
    ///
    /// # Errors
    /// [`KeyError::Kind`]: the library refuses to write the key.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        let bytes = self.0.to_pkcs8v1().map_err(|_| KeyError::Kind)?;
        Ok(format!("{BEGIN}\n{}\n{END}\n", STANDARD.encode(bytes.as_ref())))
    }

    /// Signs `message`.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).as_ref().to_vec()
    }

    /// The key to check signatures with, for the log called `name`.
    ///
    /// # Errors
    /// [`KeyError::Name`].
    pub fn verifier(&self, name: &str) -> Result<VerifierKey, KeyError> {
        let public = self.0.public_key().as_ref().try_into().map_err(|_| KeyError::Kind)?;
        VerifierKey::new(name, public)
    }
}

/// A key that tests know, and what checks its signatures for the log called `name`.
#[cfg(test)]
pub(crate) fn known(secret: u8, name: &str) -> (SigningKey, VerifierKey) {
    let key = SigningKey::from_seed(&[secret; 32]).unwrap();
    let verifier = key.verifier(name).unwrap();
    (key, verifier)
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SigningKey")
    }
}

impl VerifierKey {
    /// The log's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first four bytes of SHA-256 over name, newline, type and key.
    pub fn id(&self) -> u32 {
        let mut named = self.name.as_bytes().to_vec();
        named.extend_from_slice(&[b'\n', TYPE]);
        named.extend_from_slice(&self.public);
        digest::digest(&digest::SHA256, &named).as_ref().iter().take(4).fold(0, |id, byte| (id << 8) | u32::from(*byte))
    }

    /// Whether `signature` is this key's of `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.public).verify(message, signature).is_ok()
    }

    fn new(name: &str, public: [u8; 32]) -> Result<Self, KeyError> {
        let bad = |c: char| c == '+' || c.is_whitespace() || c.is_control();
        if name.is_empty() || name.contains(bad) {
            return Err(KeyError::Name);
        }
        Ok(Self { name: name.to_owned(), public })
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut typed = vec![TYPE];
        typed.extend_from_slice(&self.public);
        write!(out, "{}+{:08x}+{}", self.name, self.id(), STANDARD.encode(typed))
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, rest) = text.split_once('+').ok_or(KeyError::Vkey)?;
        let (_, typed) = rest.split_once('+').ok_or(KeyError::Vkey)?;
        let typed = STANDARD.decode(typed).map_err(|_| KeyError::Vkey)?;
        let public = match typed.split_first() {
            Some((&TYPE, public)) => public.try_into().map_err(|_| KeyError::Vkey)?,
            Some(_) | None => return Err(KeyError::Vkey),
        };
        let key = Self::new(name, public)?;
        // The id is a checksum over all the rest; one way of writing it is right.
        if key.to_string() == text { Ok(key) } else { Err(KeyError::Vkey) }
    }
}

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";

/// Signature type of signed-note: Ed25519.
const TYPE: u8 = 0x01;

#[cfg(test)]
mod tests {
    use super::*;

    /// From the text of signed-note.
    const KNOWN: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

    #[test]
    fn knows_the_key_of_the_specification() {
        let key: VerifierKey = KNOWN.parse().unwrap();
        assert_eq!((key.name(), key.id()), ("example.com/foo", 0x530d_903a));
        assert_eq!(key.to_string(), KNOWN);
    }

    #[test]
    fn refuses_what_is_no_verifier_key() {
        for (text, want) in [
            ("", KeyError::Vkey),
            ("example.com/foo", KeyError::Vkey),
            ("example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", KeyError::Vkey),
            ("example.com/fop+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", KeyError::Vkey),
            ("example.com/foo+530D903A+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", KeyError::Vkey),
            ("example.com/foo+530d903a+AukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", KeyError::Vkey),
            ("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2", KeyError::Vkey),
            ("+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", KeyError::Name),
        ] {
            assert_eq!(text.parse::<VerifierKey>(), Err(want), "`{text}`");
        }
    }

    #[test]
    fn signs_as_rfc_8032_says() {
        // RFC 8032 section 7.1, test 1: secret key, public key, empty message.
        let seed = [
            0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44, 0x49,
            0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
        ];
        let key = SigningKey::from_seed(&seed).unwrap();
        let verifier = key.verifier(&origin("edge-1")).unwrap();
        assert_eq!(&verifier.public[..4], [0xd7, 0x5a, 0x98, 0x01]);
        let signature = key.sign(b"");
        assert_eq!(&signature[..4], [0xe5, 0x56, 0x43, 0x00]);
        assert!(verifier.verifies(b"", &signature));
        assert!(!verifier.verifies(b"x", &signature));
        assert_eq!(verifier.name(), "sallyport/edge-1");
    }

    #[test]
    fn a_key_file_gives_the_same_key_again() {
        let key = SigningKey::from_seed(&[7; 32]).unwrap();
        let again = SigningKey::from_pem(&key.to_pem().unwrap()).unwrap();
        assert_eq!(key.verifier("a").unwrap(), again.verifier("a").unwrap());
        let verifier = key.verifier("a").unwrap();
        assert_eq!(verifier.to_string().parse(), Ok(verifier));
        assert_eq!(format!("{key:?}"), "SigningKey", "a secret is never printed");
    }

    #[test]
    fn reads_a_key_of_openssl_and_refuses_others() {
        let openssl = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
        assert!(SigningKey::from_pem(openssl).is_ok());
        assert!(SigningKey::from_pem(&openssl.replace('\n', "\r\n")).is_ok());
        for (text, want) in [
            (String::new(), KeyError::Pem),
            (openssl.replace("PRIVATE", "PUBLIC"), KeyError::Pem),
            (openssl.replace("MC4C", "!"), KeyError::Pem),
            (openssl.replace("MC4C", "MC5C"), KeyError::Kind),
        ] {
            assert_eq!(SigningKey::from_pem(&text).err(), Some(want), "{text}");
        }
    }

    #[test]
    fn names_that_would_break_the_line_are_refused() {
        let key = SigningKey::from_seed(&[7; 32]).unwrap();
        for name in ["", "a b", "a+b", "a\u{2003}b", "a\n"] {
            assert_eq!(key.verifier(name), Err(KeyError::Name), "{name:?}");
        }
    }
}
