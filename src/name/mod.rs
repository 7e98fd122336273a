//! Host names, host patterns, CONNECT targets and identities of clients: parsed once, canonical ever after. Pure.
//! Not here: what a name resolves to (`runtime::dns`), which name may be reached (`policy`).
//! Source: RFC 1123 2.1, RFC 5890, UTS 46, RFC 9110 9.3.6, the Public Suffix List.

#![warn(clippy::arithmetic_side_effects)]

mod fqdn;
mod identity;
mod identity_pattern;
mod pattern;
mod target;

pub use fqdn::{Fqdn, NameError};
pub use identity::{Identity, IdentityError, SpiffeId, is_credential_name};
pub use identity_pattern::{IdentityPattern, IdentityPatternError, SpiffePattern};
pub use pattern::HostPattern;
pub use target::{Host, Target, TargetError};

/// Most characters of an input that an error message repeats: enough to find it, too few to flood a terminal.
const MAX_SHOWN: usize = 64;

/// The input as an error message may repeat it: escaped, at most [`MAX_SHOWN`] characters.
fn shown(input: &str) -> String {
    let mut escaped = input.chars().flat_map(char::escape_debug);
    let mut text: String = escaped.by_ref().take(MAX_SHOWN).collect();
    if escaped.next().is_some() {
        text.pop();
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_input_is_escaped_and_bounded() {
        let (fits, long) = ("a".repeat(64), "a".repeat(65));
        for (name, input, want) in [
            ("plain", "api.acme.example", "api.acme.example"),
            ("controls", "a\0b\r\n\u{1b}[2J", "a\\0b\\r\\n\\u{1b}[2J"),
            ("bidi", "a\u{202e}b\u{2028}", "a\\u{202e}b\\u{2028}"),
            ("fits", &fits, &fits),
            ("long", &long, &format!("{}…", "a".repeat(63))),
        ] {
            assert_eq!(shown(input), want, "{name}");
        }
        assert_eq!(shown(&"\0".repeat(9_999)).chars().count(), MAX_SHOWN);
    }
}
