//! The cipher suite that a server chose: its name, and whether it is strong.
//! Not here: the names (`cipher_table`), and suites that a client offers (the choice is what binds).
//! Source: the IANA registry "TLS Cipher Suites"; PCI DSS 4.0.1 requirement 4.2.1 (strong cryptography).

use super::cipher_table::{SUITES, Worth};
use super::version::ProtocolVersion;
use std::fmt;

/// A cipher suite by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CipherSuite(pub u16);

impl CipherSuite {
    /// IANA's name, as `TLS_AES_128_GCM_SHA256`. `None`: unknown here; `Display` then gives the number.
    pub fn name(self) -> Option<&'static str> {
        self.row().map(|(_, _, name)| *name)
    }

    /// Encrypts with an AEAD under a key that ECDHE or DHE agreed on. TLS 1.3 suites do (but for a
    /// resumption by `psk_ke`, which the suite does not show), except the two of RFC 9150 that leave the text in the clear.
    /// What is unknown is weak.
    pub fn is_strong(self) -> bool {
        match self.worth() {
            Some(Worth::Tls13 | Worth::Aead) => true,
            Some(Worth::Tls13Integrity | Worth::Weak) | None => false,
        }
    }

    /// Whether a server that chose `version` may choose this suite: TLS 1.3 has suites of its own (RFC 8446 B.4).
    pub(super) fn belongs_to(self, version: ProtocolVersion) -> bool {
        let of_tls13 = match self.worth() {
            Some(Worth::Tls13 | Worth::Tls13Integrity) => true,
            Some(Worth::Aead | Worth::Weak) => false,
            None => self.0 >> 8 == 0x13,
        };
        of_tls13 == (version == ProtocolVersion::Tls13)
    }

    fn worth(self) -> Option<Worth> {
        self.row().map(|(_, worth, _)| *worth)
    }

    fn row(self) -> Option<&'static (u16, Worth, &'static str)> {
        let found = SUITES.binary_search_by_key(&self.0, |(number, _, _)| *number).ok()?;
        SUITES.get(found)
    }
}

impl fmt::Display for CipherSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "0x{:04x}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_worth_agrees_with_the_names() {
        assert!(SUITES.is_sorted_by(|(a, _, _), (b, _, _)| a < b));
        for (number, worth, name) in SUITES {
            let aead = ["_GCM", "_CCM", "CHACHA20_POLY1305", "AEGIS"].iter().any(|mode| name.contains(mode));
            let ephemeral = ["TLS_ECDHE_", "TLS_DHE_", "TLS_PSK_DHE_"].iter().any(|start| name.starts_with(start));
            let old = name.contains("_WITH_");
            let want = match (old, aead, ephemeral) {
                (false, true, _) => Worth::Tls13,
                (false, false, _) => Worth::Tls13Integrity,
                (true, true, true) => Worth::Aead,
                (true, _, _) => Worth::Weak,
            };
            assert_eq!(*worth, want, "0x{number:04x} {name}");
        }
    }

    #[test]
    fn names_and_strength() {
        let rows = [
            (0x1301, "TLS_AES_128_GCM_SHA256", true),
            (0x1305, "TLS_AES_128_CCM_8_SHA256", true),
            (0x1308, "0x1308", false),
            (0xc0b4, "TLS_SHA256_SHA256", false),
            (0xc02f, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", true),
            (0xcca9, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", true),
            (0x009e, "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256", true),
            (0xccac, "TLS_ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256", true),
            (0xccab, "TLS_PSK_WITH_CHACHA20_POLY1305_SHA256", false),
            (0xccae, "TLS_RSA_PSK_WITH_CHACHA20_POLY1305_SHA256", false),
            (0x009c, "TLS_RSA_WITH_AES_128_GCM_SHA256", false),
            (0x00a6, "TLS_DH_anon_WITH_AES_128_GCM_SHA256", false),
            (0xc013, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", false),
            (0x002f, "TLS_RSA_WITH_AES_128_CBC_SHA", false),
            (0x0000, "0x0000", false),
            (0x1a1a, "0x1a1a", false),
        ];
        for (number, name, strong) in rows {
            let suite = CipherSuite(number);
            assert_eq!((suite.to_string().as_str(), suite.is_strong()), (name, strong), "0x{number:04x}");
        }
    }

    #[test]
    fn tls13_has_suites_of_its_own() {
        for (number, of_tls13) in [
            (0x1301, true),
            (0x13ff, true),
            (0xc0b5, true),
            (0x00c6, true),
            (0xc02f, false),
            (0x2f, false),
            (0x5555, false),
        ] {
            assert_eq!(CipherSuite(number).belongs_to(ProtocolVersion::Tls13), of_tls13, "0x{number:04x}");
            assert_eq!(CipherSuite(number).belongs_to(ProtocolVersion::Tls12), !of_tls13, "0x{number:04x}");
        }
    }
}
