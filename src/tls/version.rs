//! The protocol versions that exist.
//! Not here: which of them is good enough (`policy`).
//! Source: RFC 6101, 2246, 4346, 5246, 8446; the code points are those of RFC 8446 section 4.2.1.

use std::fmt;

/// A version of SSL or TLS, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProtocolVersion {
    /// SSL 3.0, `0x0300`.
    Ssl30,
    /// TLS 1.0, `0x0301`.
    Tls10,
    /// TLS 1.1, `0x0302`.
    Tls11,
    /// TLS 1.2, `0x0303`.
    Tls12,
    /// TLS 1.3, `0x0304`.
    Tls13,
}

impl ProtocolVersion {
    /// The version with this code point. `None`: GREASE, a draft, or one that does not exist.
    pub fn of_number(number: u16) -> Option<Self> {
        match number {
            0x0300 => Some(Self::Ssl30),
            0x0301 => Some(Self::Tls10),
            0x0302 => Some(Self::Tls11),
            0x0303 => Some(Self::Tls12),
            0x0304 => Some(Self::Tls13),
            _ => None,
        }
    }

    /// The version of TLS that is written so: `1.2`.
    pub fn of_tls(text: &str) -> Option<Self> {
        [Self::Tls10, Self::Tls11, Self::Tls12, Self::Tls13].into_iter().find(|version| version.as_str() == text)
    }

    /// As policies and records write it: `1.2`; SSL 3.0 is `ssl3.0`, so that nobody takes it for a TLS version.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ssl30 => "ssl3.0",
            Self::Tls10 => "1.0",
            Self::Tls11 => "1.1",
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        }
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_order_and_text_agree() {
        let known: Vec<_> = (0..=u16::MAX).filter_map(ProtocolVersion::of_number).collect();
        let text: Vec<_> = known.iter().map(ToString::to_string).collect();
        assert_eq!(text, ["ssl3.0", "1.0", "1.1", "1.2", "1.3"]);
        assert!(known.is_sorted());
        assert_eq!(known.iter().filter_map(|version| ProtocolVersion::of_tls(version.as_str())).count(), 4);
        assert_eq!(ProtocolVersion::of_tls("ssl3.0"), None);
    }
}
