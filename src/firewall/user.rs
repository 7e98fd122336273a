//! The proxy's own user, as rules name it. Not here: whether there is such a user: who loads the rules asks for it.
//! Source: useradd(8), the names that every tool takes.

use std::fmt;
use std::str::FromStr;

/// A user of this host, by name or number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User(String);

/// A text is no user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad user; write its number, or its name: 1 to 32 of a-z, 0-9, `_` and `-`, with a letter or `_` first")]
pub struct UserError;

/// Upper bound in bytes of a name (useradd(8)).
const LONGEST: usize = 32;

impl FromStr for User {
    type Err = UserError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
        let is_name = text.len() <= LONGEST
            && text.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
            && text.bytes().all(is_inner);
        // One number has one form, and 4294967295 is nobody.
        let is_number = text.parse::<u32>().is_ok_and(|number| number != u32::MAX && number.to_string() == text);
        if is_name || is_number { Ok(Self(text.to_owned())) } else { Err(UserError) }
    }
}

impl User {
    /// What should be known of it before such rules are loaded.
    pub fn warning(&self) -> Option<&'static str> {
        let is_root = matches!(self.0.as_str(), "root" | "0");
        is_root.then_some("the proxy's user is root: everything that runs as root here goes past the proxy; give the proxy a user of its own")
    }
}

impl fmt::Display for User {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (text, want) in [
            ("sallyport", true),
            ("_apt", true),
            ("www-data", true),
            ("1000", true),
            ("0", true),
            ("", false),
            ("-x", false),
            ("0x10", false),
            ("01", false),
            ("+1", false),
            ("4294967295", false),
            ("4294967296", false),
            ("Sally", false),
            ("a b", false),
            ("a\" accept", false),
            ("a\nb", false),
            (&"a".repeat(32), true),
            (&"a".repeat(33), false),
        ] {
            assert_eq!(
                text.parse::<User>().map(|user| user.to_string() == text),
                if want { Ok(true) } else { Err(UserError) },
                "{text:?}"
            );
        }
    }
}
