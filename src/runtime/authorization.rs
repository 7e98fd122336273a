//! What a request shows in `Proxy-Authorization`: kept until it is checked, overwritten then, never shown.
//! Not here: what it says (`client_auth`). Source: RFC 9110 section 11.7.2.

use std::fmt;

use zeroize::Zeroizing;

/// The credentials field of one request.
#[derive(Debug, PartialEq, Eq)]
pub enum Authorization {
    /// There is none.
    Absent,
    /// Its value.
    Field(Secret),
    /// There are several, of which none counts.
    Several,
}

/// Bytes that are overwritten when they are done with.
#[derive(PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Authorization {
    /// Of the values of all such fields.
    pub fn of<'a>(mut fields: impl Iterator<Item = &'a [u8]>) -> Self {
        match (fields.next(), fields.next()) {
            (None, _) => Self::Absent,
            (Some(field), None) => Self::Field(Secret(Zeroizing::new(field.to_vec()))),
            (Some(_), Some(_)) => Self::Several,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_field_counts_and_none_is_shown() {
        let of = |fields: &[&'static [u8]]| Authorization::of(fields.iter().copied());
        assert_eq!(of(&[]), Authorization::Absent);
        assert_eq!(of(&[b"Basic a", b"Basic a"]), Authorization::Several);
        let one = of(&[b"Basic c2VjcmV0"]);
        let Authorization::Field(secret) = &one else { panic!("{one:?}") };
        assert_eq!(secret.as_bytes(), b"Basic c2VjcmV0");
        assert_eq!(format!("{one:?}"), "Field(Secret)");
    }
}
