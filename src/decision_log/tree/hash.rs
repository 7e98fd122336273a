//! One hash of the tree: of a leaf, of two hashes, of nothing.
//! Not here: which hashes make a tree (`Tree`). Source: RFC 6962 section 2.1, RFC 9162 section 2.1.1.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{self, SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// SHA-256 in the tree's domains: a leaf can't be taken for a node. Its text is base64 with padding, as in checkpoints.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

/// Not the text of a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a hash; it is 32 bytes in base64, 44 characters")]
pub struct HashError;

/// Set before what is hashed.
const LEAF: u8 = 0;
const NODE: u8 = 1;

impl Hash {
    /// Bytes of a hash.
    pub const BYTES: usize = 32;

    /// The tree without leaves: SHA-256 of nothing.
    pub const EMPTY: Self = Self([
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae,
        0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
    ]);

    /// Of an entry.
    pub fn leaf(entry: &[u8]) -> Self {
        let mut context = digest::Context::new(&SHA256);
        context.update(&[LEAF]);
        context.update(entry);
        Self::of(context.finish())
    }

    /// Of two hashes.
    pub fn node(left: &Self, right: &Self) -> Self {
        let mut bytes = [NODE; 1 + 2 * Self::BYTES];
        let (_, pair) = bytes.split_at_mut(1);
        let (first, second) = pair.split_at_mut(Self::BYTES);
        first.copy_from_slice(&left.0);
        second.copy_from_slice(&right.0);
        Self::of(digest::digest(&SHA256, &bytes))
    }

    /// These bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    #[expect(clippy::expect_used, reason = "SHA-256 has 32 bytes")]
    fn of(digest: digest::Digest) -> Self {
        Self(digest.as_ref().try_into().expect("32 bytes"))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl FromStr for Hash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = STANDARD.decode(text).map_err(|_| HashError)?;
        Ok(Self(bytes.try_into().map_err(|_| HashError)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(hash: Hash) -> String {
        hash.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn knows_the_hashes_of_the_standard() {
        assert_eq!(hex(Hash::EMPTY), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(hex(Hash::leaf(b"")), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
        let [a, b, c] = [b"a", b"b", b"c"].map(|entry| Hash::leaf(entry));
        let root = Hash::node(&Hash::node(&a, &b), &c);
        assert_eq!(hex(root), "36642e73c2540ab121e3a6bf9545b0a24982cd830eb13d3cd19de3ce6c021ec1");
    }

    #[test]
    fn its_text_reads_back_and_nothing_else_does() {
        let hash = Hash::leaf(b"a");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        for bad in
            ["", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU", "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=", "AAAA"]
        {
            assert_eq!(bad.parse::<Hash>(), Err(HashError), "`{bad}`");
        }
    }
}
