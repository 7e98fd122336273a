//! Finds credentials by their own form: `Bearer` and `Basic`, what stands before the `@` of a URL, JSON web tokens. Pure.
//! Not here: header fields by name (`key`), the keys of known issuers (`api_key`).
//! Source: RFC 6750 (`Bearer`), RFC 7617 (`Basic`), RFC 3986 section 3.2.1 (userinfo), RFC 7515 and 7516 (tokens in parts).

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use memchr::memchr;

use super::kind::{Hit, Kind};
use super::value::{after, before, blanks};

/// Bytes from which on any word behind `Bearer` is a token. A shorter one must have a digit, and eight bytes.
const LONG_TOKEN: usize = 20;
const SHORT_TOKEN: usize = 8;

/// Bytes of the shortest part of a token in parts: the header `{"alg":"none"}` has 19, a payload may be `{"a":1}`.
const MIN_PART: usize = 8;

/// Upper bound in bytes of the pair of name and password behind `Basic`; the first of a longer one are looked at.
const MAX_BASIC: usize = 512;

/// The tails of the schemes' names with the blank behind, whatever the case of the first letter; how a token's header begins:
/// `{"` (in a name in small letters, too), `{ "`, and a brace with the end of its line.
const TAILS: [&str; 10] = ["earer ", "EARER ", "asic ", "ASIC ", "eyJ", "eyj", "eyAi", "ewog", "ewoJ", "ew0K"];

static SEARCH: LazyLock<Option<AhoCorasick>> =
    LazyLock::new(|| AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(TAILS).ok());

/// Bytes of the shortest password that is found beside a host without a port.
const MIN_PASSWORD: usize = 4;

/// Bytes of the longest name of a host.
const MAX_HOST: usize = 253;

/// Bytes of the shortest token in parts: two of [`MIN_PART`] and their dot, and the one behind them.
const SHORTEST: usize = 18;

/// The credentials in `text`.
pub(super) fn find(text: &[u8], hits: &mut Vec<Hit<'_>>) {
    if text.len() >= SHORTEST || memchr(b' ', text).is_some() {
        words(text, hits);
    }
    userinfo(text, hits);
}

/// What is behind a scheme, and the tokens in parts.
fn words(text: &[u8], hits: &mut Vec<Hit<'_>>) {
    let mut token_end = 0;
    for found in SEARCH.iter().flat_map(|search| search.find_iter(text)) {
        let hit = match found.pattern().as_usize() {
            0 | 1 => scheme(text, b'b', found.start(), found.end()).filter(|(start, end)| is_token(text, *start, *end)),
            2 | 3 => scheme(text, b'b', found.start(), found.end()).and_then(|(start, end)| pair(text, start, end)),
            _ if found.start() < token_end => None,
            _ => {
                let (end, is_whole) = web_token(text, found.start());
                token_end = end;
                let hit = Hit { start: found.start(), end, kind: Kind::Jwt };
                hits.extend(is_whole.then_some(hit));
                None
            }
        };
        hits.extend(hit.map(|(start, end)| Hit { start, end, kind: Kind::Credential }));
    }
}

/// The word behind a scheme whose name is `first` and what stands at `start..end`.
fn scheme(text: &[u8], first: u8, start: usize, end: usize) -> Option<(usize, usize)> {
    let (byte, head) = before(text, start).split_last()?;
    if byte.to_ascii_lowercase() != first || head.last().is_some_and(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let from = blanks(text, end, false);
    let length = after(text, from).iter().take_while(|byte| is_token68(**byte)).count();
    Some((from, from.saturating_add(length)))
}

/// RFC 9110's `token68`.
fn is_token68(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte)
}

fn is_token(text: &[u8], start: usize, end: usize) -> bool {
    let word = text.get(start..end).unwrap_or_default();
    word.len() >= LONG_TOKEN || word.len() >= SHORT_TOKEN && word.iter().any(u8::is_ascii_digit)
}

/// The word at `start..end` up to what is no base64 (a name's next label), if it is that of a name, a colon and a password. In
/// small letters, as names are written, it cannot be read: then any word with digits is one, long or filled up with `=`.
fn pair(text: &[u8], start: usize, end: usize) -> Option<(usize, usize)> {
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let word = text.get(start..end).unwrap_or_default();
    let length = word.iter().take_while(|byte| !matches!(byte, b'.' | b'-' | b'_' | b'~')).count();
    let word = before(word, length);
    let decoded = GeneralPurpose::new(&STANDARD, config).decode(before(word, MAX_BASIC));
    let is_read = decoded.is_ok_and(|pair| pair.contains(&b':') && !pair.iter().any(u8::is_ascii_control));
    let is_small = !word.iter().any(u8::is_ascii_uppercase) && word.iter().any(u8::is_ascii_digit);
    let is_lost = is_small && (word.len() >= LONG_TOKEN || word.len() >= SHORT_TOKEN && word.ends_with(b"="));
    (is_read || is_lost).then(|| (start, start.saturating_add(length)))
}

/// Where the token in parts ends that may begin at `start`, and whether it is one: a header and a payload at least, and
/// behind them a signature or its dot, or a payload that is an object too. The second part is empty where the payload is sent
/// elsewhere, or the key agreed upon. Of a name in small letters the payload must be an object.
fn web_token(text: &[u8], start: usize) -> (usize, bool) {
    let run =
        after(text, start).iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte)).count();
    let end = start.saturating_add(run);
    let word = text.get(start..end).unwrap_or_default();
    let mut parts = word.splitn(6, |byte| *byte == b'.');
    let (header, payload, third) = (parts.next(), parts.next(), parts.next());
    let is_long = |part: Option<&[u8]>| part.is_some_and(|part| part.len() >= MIN_PART);
    let is_object = payload.and_then(|payload| payload.get(..3)).is_some_and(|head| head.eq_ignore_ascii_case(b"eyj"));
    let is_detached = payload.is_some_and(<[u8]>::is_empty) && is_long(third) && is_long(header);
    let is_whole = is_long(header) && is_long(payload) && (third.is_some() || is_object);
    let is_small = word.starts_with(b"eyj");
    (end, if is_small { is_whole && is_object } else { is_whole || is_detached })
}

/// What stands before the `@` of a URL, or of an authority (`name:password@host`).
fn userinfo(text: &[u8], hits: &mut Vec<Hit<'_>>) {
    let mut from = 0;
    while let Some(at) = memchr(b'@', after(text, from)).map(|found| from.saturating_add(found)) {
        let head = text.get(from..at).unwrap_or_default();
        let length = head.iter().rev().take_while(|byte| is_userinfo(**byte)).count();
        let start = at.saturating_sub(length);
        // The last `@` counts: a password may hold one.
        let tail = after(text, at);
        let run = tail.iter().take_while(|byte| is_userinfo(**byte) || **byte == b'@').count();
        let last = before(tail, run).iter().rposition(|byte| *byte == b'@').unwrap_or(0);
        let end = at.saturating_add(last);
        from = end.saturating_add(1);
        let login = login(text, start, end).filter(|_| is_host(after(text, from)));
        hits.extend(login.map(|start| Hit { start, end, kind: Kind::Credential }));
    }
}

/// What a name and a password may be made of, and what is written there unencoded against the rules.
fn is_userinfo(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&*+,;=:^|".contains(&byte) || byte >= 0x80
}

/// A name or an address; not the digest of an image (`name:tag@sha256:…`).
fn is_host(text: &[u8]) -> bool {
    let begins = text.first().is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'[');
    begins && !text.starts_with(b"sha256:") && !text.starts_with(b"sha512:")
}

/// Where the login begins that stands at `start..end` before an `@`: a name, a colon and a password; behind `//` a token
/// without a name as well. Without `//` and a port it may be an address of mail: then the password must look like one.
fn login(text: &[u8], start: usize, end: usize) -> Option<usize> {
    let word = text.get(start..end).filter(|word| !word.is_empty())?;
    let head = before(text, start);
    if head.ends_with(b"//") {
        let is_login = word.contains(&b':') || is_long_or_odd(word, SHORT_TOKEN);
        return (is_login && word != "…".as_bytes()).then_some(start);
    }
    let colon = memchr(b':', word)?;
    let skip = before(word, colon).iter().rposition(|byte| b"=&,;".contains(byte)).map_or(0, |at| at.saturating_add(1));
    let name = word.get(skip..colon).filter(|name| name.iter().any(|byte| !byte.is_ascii_digit()))?;
    let is_scheme = NO_NAMES.iter().any(|scheme| name.eq_ignore_ascii_case(scheme.as_bytes()));
    let password = after(word, colon.saturating_add(1));
    let is_password = !password.is_empty() && (has_port(after(text, end)) || is_long_or_odd(password, MIN_PASSWORD));
    (is_password && !is_scheme && !head.ends_with(b"/")).then_some(start.saturating_add(skip))
}

/// Whether a word is as long as a token, or has `least` bytes and other characters than small letters and `. - _ +`.
fn is_long_or_odd(word: &[u8], least: usize) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_lowercase() || matches!(byte, b'.' | b'-' | b'_' | b'+');
    word.len() >= LONG_TOKEN || word.len() >= least && !word.iter().all(is_plain)
}

/// Whether a host with a port follows the `@` that `text` begins with.
fn has_port(text: &[u8]) -> bool {
    let host = after(text, 1);
    let length = host
        .iter()
        .take(MAX_HOST)
        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
        .count();
    matches!(after(host, length), [b':', digit, ..] if digit.is_ascii_digit())
}

/// Before the colon of what is an address of mail or chat, not a name with a password.
const NO_NAMES: [&str; 22] = [
    "acct",
    "author",
    "bcc",
    "cc",
    "contact",
    "deleted",
    "e-mail",
    "email",
    "from",
    "group",
    "im",
    "mail",
    "mailto",
    "member",
    "owner",
    "principal",
    "serviceaccount",
    "sip",
    "sips",
    "to",
    "uid",
    "xmpp",
];

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
    fn credentials_are_found_by_their_form() {
        for (text, want) in [
            ("got Bearer abcdefghijklmnopqrst from", "[erased:credential]abcdefghijklmnopqrst"),
            ("BEARER  abc12345", "[erased:credential]abc12345"),
            ("\"bearer a1b2c3d4==\"", "[erased:credential]a1b2c3d4=="),
            ("Basic dXNlcjpwYXNz", "[erased:credential]dXNlcjpwYXNz"),
            ("basic dXNlcjpwYXNzdw,", "[erased:credential]dXNlcjpwYXNzdw"),
            ("https://user:pass@host/x", "[erased:credential]user:pass"),
            ("postgres://u:p@ss@db:5432/x", "[erased:credential]u:p@ss"),
            ("https://0a1b2c3d@[2001:db8::1]/", "[erased:credential]0a1b2c3d"),
            ("user:pass@host:443", "[erased:credential]user:pass"),
            ("proxy=user:pass1@host", "[erased:credential]user:pass1"),
            ("\"user:Pass@host\"", "[erased:credential]user:Pass"),
            ("x eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc_d-f, y", "[JWT]eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc_d-f"),
            ("eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.", "[JWT]eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0."),
            ("eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0", "[JWT]eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0"),
            ("eyJhbGciOiJkaXIi.eyJ6aXAi.a.b.c", "[JWT]eyJhbGciOiJkaXIi.eyJ6aXAi.a.b.c"),
            ("eyJhbGciOiJkaXIifQ..abcdefgh.ijklmnop.qr", "[JWT]eyJhbGciOiJkaXIifQ..abcdefgh.ijklmnop.qr"),
            ("eyJhbGciOiJIUzI1NiJ9..abc_d-fgh", "[JWT]eyJhbGciOiJIUzI1NiJ9..abc_d-fgh"),
            ("eyAiYWxnIjoibm9uZSJ9.eyAiYSI6MX0.abc", "[JWT]eyAiYWxnIjoibm9uZSJ9.eyAiYSI6MX0.abc"),
            ("ewogImFsZyI6Im4ifQ.ewogImEiOjF9.a", "[JWT]ewogImFsZyI6Im4ifQ.ewogImEiOjF9.a"),
            ("eyjhbgcioijiuzi1nij9.eyjzdwiioiixin0.a", "[JWT]eyjhbgcioijiuzi1nij9.eyjzdwiioiixin0.a"),
            ("Basic dXNlcjpwYXNz.acme.example", "[erased:credential]dXNlcjpwYXNz"),
            ("basic cgxhbnrlzdpwyxn2zd0=.acme.example", "[erased:credential]cgxhbnrlzdpwyxn2zd0="),
        ] {
            assert_eq!(found(text), [want], "`{text}`");
        }
    }

    #[test]
    fn words_and_addresses_are_left() {
        for text in [
            "bearer authentication failed",
            "the bearer of 12",
            "forbearer abc12345678",
            "Basic authentication",
            "basic dXNlcg==",
            "Basic [erased:credential]",
            "Bearer [erased:credential]",
            "bob@acme.example",
            "mailto:bob@acme.example",
            "email:bob@acme.example",
            "https://medium.example/@user",
            "https://cdn.example/react@18",
            "app:1.25@sha256:0123456789abcdef",
            "git@git.example:a/b",
            "https://host/a:b@c",
            "ssh://git@git.example/a",
            "ftp://anonymous@ftp.example",
            "user:alice@example.com",
            "serviceAccount:ci-2@p.iam.gserviceaccount.example",
            "<a:b@c>",
            "Foo:method@1f2e3d",
            "12:30:15@host",
            "a:v1@v2",
            "https://[erased:credential]@host",
            "https://…@host",
            "user:@host",
            ":pass@host",
            "user:pass@",
            "eyJabc.def",
            "eyJhbGciOiJIUzI1NiJ9",
            "eyJ.eyJ.eyJ",
            "eyJhbGciOiJIUzI1NiJ9.example",
            "eyJhbGciOiJIUzI1NiJ9..example",
            "eyjafjallajokull.example.com",
            "basic authentication2",
        ] {
            assert!(found(text).is_empty(), "`{text}`: {:?}", found(text));
        }
    }

    #[test]
    fn stays_linear_on_long_texts() {
        for unit in ["@", "a@", "a:@b", "a:b", "//", "//a@", "eyJ", "eyJaaaaaaaaaa.", "Bearer ", "Basic A", "Bearer a"]
        {
            let text = unit.repeat(300_000 / unit.len());
            assert!(found(&text).len() <= text.len(), "`{unit}`");
        }
    }
}
