//! What a client shows in `Proxy-Authorization`: a credential's name and its secret. Pure.
//! Not here: whether the secret is right (`credentials`). Nothing of the field is ever written anywhere.
//! Source: RFC 9110 sections 11.1 and 11.7.2, RFC 7617 (Basic), RFC 6750 (Bearer).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::name::is_credential_name;

/// Upper bound in bytes of the field: a name of 128 bytes and a secret that `keys new` made take 250 in Basic's coding.
const MAX_FIELD: usize = 1024;

/// What a client says it has.
pub(super) struct Presented {
    /// The credential's name.
    pub(super) name: String,
    /// Its secret.
    pub(super) secret: Zeroizing<Vec<u8>>,
}

impl Presented {
    /// From the field's value: `Basic`, and behind it `NAME:SECRET` in Base64; or `Bearer`, and behind it `NAME.SECRET` as it is, where the
    /// last dot ends the name. Schemes in any case. `None`: it is neither.
    pub(super) fn read(field: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(field).ok().filter(|text| text.len() <= MAX_FIELD)?;
        let (scheme, rest) = text.trim_matches(' ').split_once(' ')?;
        let rest = rest.trim_start_matches(' ');
        let (name, secret) = if scheme.eq_ignore_ascii_case("basic") {
            basic(rest)?
        } else if scheme.eq_ignore_ascii_case("bearer") {
            let (name, secret) = rest.rsplit_once('.')?;
            (name.to_owned(), Zeroizing::new(secret.as_bytes().to_vec()))
        } else {
            return None;
        };
        (is_credential_name(&name) && !secret.is_empty()).then_some(Self { name, secret })
    }
}

/// A name has no colon (RFC 7617 section 2); a secret may have.
fn basic(coded: &str) -> Option<(String, Zeroizing<Vec<u8>>)> {
    let decoded = Zeroizing::new(STANDARD.decode(coded).ok()?);
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let (name, rest) = decoded.split_at_checked(colon)?;
    let name = std::str::from_utf8(name).ok()?.to_owned();
    Some((name, Zeroizing::new(rest.get(1..)?.to_vec())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(field: &str) -> Option<(String, String)> {
        let shown = Presented::read(field.as_bytes())?;
        Some((shown.name, String::from_utf8(shown.secret.to_vec()).unwrap()))
    }

    #[test]
    fn fields_by_table() {
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        let long = "a".repeat(128);
        for (field, want) in [
            (basic("batch-1:s3cret"), Some(("batch-1", "s3cret"))),
            (basic("batch-1:s3:cr:et"), Some(("batch-1", "s3:cr:et"))),
            (basic("batch.1:s.3"), Some(("batch.1", "s.3"))),
            (basic(&format!("{long}:x")), Some((long.as_str(), "x"))),
            (basic(&format!("{long}a:x")), None),
            (basic(&format!("a:{}", "x".repeat(1024))), None),
            (basic("batch-1:"), None),
            (basic("batch-1"), None),
            (basic(":s3cret"), None),
            (basic("batch 1:s3cret"), None),
            (basic("bätch:s3cret"), None),
            (format!("bASIC   {} ", STANDARD.encode("a:b")), Some(("a", "b"))),
            ("Basic YTpi".to_owned(), Some(("a", "b"))),
            ("Basic YTo=".to_owned(), None),
            ("Basic YTpiYw".to_owned(), None),
            ("Basic YTp$".to_owned(), None),
            ("Basic".to_owned(), None),
            ("Bearer batch-1.s3cret".to_owned(), Some(("batch-1", "s3cret"))),
            ("BEARER batch.1.s3cret".to_owned(), Some(("batch.1", "s3cret"))),
            ("Bearer batch-1.".to_owned(), None),
            ("Bearer .s3cret".to_owned(), None),
            ("Bearer s3cret".to_owned(), None),
            ("Bearer batch-1 .s3cret".to_owned(), None),
            ("Digest batch-1.s3cret".to_owned(), None),
            ("batch-1.s3cret".to_owned(), None),
            (String::new(), None),
        ] {
            let want = want.map(|(name, secret)| (name.to_owned(), secret.to_owned()));
            assert_eq!(read(&field), want, "`{field}`");
        }
        assert!(Presented::read(b"Bearer a.\xff").is_none());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(name in "[A-Za-z0-9._-]{1,128}", secret in "[A-Za-z0-9_-]{1,100}") {
            let coded = STANDARD.encode(format!("{name}:{secret}"));
            let want = Some((name.clone(), secret.clone()));
            prop_assert_eq!(read(&format!("Basic {coded}")), want.clone());
            prop_assert_eq!(read(&format!("Bearer {name}.{secret}")), want);
        }

        #[test]
        fn nothing_makes_it_fail(field in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Presented::read(&field);
        }
    }
}
