//! Finds what follows the options of command lines: `--password SECRET`, `curl -u NAME:SECRET`, `--cookie 'a=b'`. Pure, linear.
//! Not here: options with a sign (`--token=a`: `key`).
//! Source: curl's manual (`-u`, `-U`, `-b`, `--proxy-user`), and the options of the clients of databases.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::kind::{Hit, Kind};
use super::names::{Meaning, NAMES, Shape};
use super::value::{Values, after, before, is_marked};

/// Upper bound in bytes of the name of an option.
const MAX_NAME: usize = 40;

/// What an option begins with.
static DASH: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b" -"));

/// The values of options in `text`.
pub(super) fn find(text: &[u8], hits: &mut Vec<Hit<'_>>) {
    let mut values = Values::new(text);
    let mut at = 0;
    while let Some(found) = DASH.find(after(text, at)) {
        let start = at.saturating_add(found).saturating_add(2);
        at = start;
        let rest = after(text, start);
        let length = rest
            .iter()
            .take(MAX_NAME)
            .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            .count();
        let Some(kind) = kind(before(rest, length)).filter(|_| rest.get(length) == Some(&b' ')) else { continue };
        let value = values.behind(start.saturating_add(length).saturating_add(1), false);
        let bytes = text.get(value.clone()).unwrap_or_default();
        let is_value = if matches!(kind, Kind::Credential | Kind::Cookie) {
            bytes.iter().any(|byte| matches!(byte, b':' | b'='))
        } else {
            !bytes.starts_with(b"-")
        };
        if is_value && !is_marked(bytes) {
            at = value.end;
            hits.push(Hit { start: value.start, end: value.end, kind });
        }
    }
}

/// What the option of this name, its first dash left out, is followed by.
fn kind(name: &[u8]) -> Option<Kind<'static>> {
    match name {
        b"u" | b"U" | b"-user" | b"-proxy-user" => Some(Kind::Credential),
        b"b" | b"-cookie" => Some(Kind::Cookie),
        [b'-', long @ ..] => match NAMES.at_end(long)?.meaning {
            Meaning::Value(kind, Shape::Any | Shape::Token) => Some(kind),
            Meaning::Value(..) | Meaning::Scheme | Meaning::Cookies | Meaning::Named => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::testing::told;

    fn found(text: &str) -> Vec<String> {
        let mut hits = Vec::new();
        find(text.as_bytes(), &mut hits);
        told(text, &hits)
    }

    #[test]
    fn values_of_options_are_found() {
        for (text, want) in [
            ("curl -u bob:a1 https://a", "[erased:credential]bob:a1"),
            ("curl -s --user 'bob:a b' https://a", "[erased:credential]bob:a b"),
            ("curl --proxy-user bob:a1", "[erased:credential]bob:a1"),
            ("curl -b 'sid=a; b=c' x", "[erased:cookie]sid=a; b=c"),
            ("curl --cookie sid=a1", "[erased:cookie]sid=a1"),
            ("mysql --password a1 -h b", "[erased:secret]a1"),
            ("app --api-key \"a b\" c", "[erased:secret]a b"),
            ("app --db-password a1 --token b", "[erased:secret]a1 [erased:secret]b"),
            ("app --cvv 123", "[erased:security_code]123"),
        ] {
            assert_eq!(found(text).join(" "), want, "`{text}`");
        }
    }

    #[test]
    fn other_options_are_left() {
        for text in [
            "sort -u names.txt",
            "curl -b cookies.txt",
            "app --password --user bob",
            "app --password-file a",
            "app --name bob - - -",
            "app --password [erased:secret]",
            "a --password",
            "a -p 1",
        ] {
            assert!(found(text).is_empty(), "`{text}`: {:?}", found(text));
        }
    }

    #[test]
    fn stays_linear_on_long_texts() {
        for unit in [" -", " --password ", " -u a:b", " -----------------", " --password \"a"] {
            let text = unit.repeat(300_000 / unit.len());
            assert!(found(&text).len() <= text.len(), "`{unit}`");
        }
    }
}
