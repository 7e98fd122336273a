//! Finds keys by the form that their issuers give them: a prefix, an alphabet, a length; and private keys in PEM. Pure.
//! Not here: keys that only the name of their field gives away (`names`).
//! Source: the issuers' pages on their keys, and the rules of gitleaks 8.30 (MIT); RFC 7468 (PEM).

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};
use memchr::memmem;

use super::kind::{Hit, Kind};
use super::names;
use super::value::{after, before};

/// The characters of a key behind its prefix.
#[derive(Clone, Copy)]
enum Alphabet {
    /// `A-Z` and `2-7`.
    Base32,
    /// `a-z` and `2-7`: Base32 in a name, which is written in small letters.
    SmallBase32,
    /// `0-9` and `a-f`.
    Hex,
    /// Letters and digits.
    Alphanumeric,
    /// Letters, digits, `-` and `_`.
    Url,
    /// Letters, digits, `-`, `_` and `.`.
    Dotted,
}

impl Alphabet {
    fn has(self, byte: u8) -> bool {
        match self {
            Alphabet::Base32 => byte.is_ascii_uppercase() || (b'2'..=b'7').contains(&byte),
            Alphabet::SmallBase32 => byte.is_ascii_lowercase() || (b'2'..=b'7').contains(&byte),
            Alphabet::Hex => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
            Alphabet::Alphanumeric => byte.is_ascii_alphanumeric(),
            Alphabet::Url => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'),
            Alphabet::Dotted => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'),
        }
    }
}

/// Keys of one form: at least `least` characters behind the prefix, at most `most`.
struct Form {
    issuer: &'static str,
    prefixes: &'static [&'static str],
    alphabet: Alphabet,
    least: usize,
    most: usize,
}

const fn exact(issuer: &'static str, prefixes: &'static [&'static str], alphabet: Alphabet, length: usize) -> Form {
    Form { issuer, prefixes, alphabet, least: length, most: length }
}

const fn least(issuer: &'static str, prefixes: &'static [&'static str], alphabet: Alphabet, least: usize) -> Form {
    Form { issuer, prefixes, alphabet, least, most: usize::MAX }
}

/// Of prefixes that begin alike the longer one stands first.
const FORMS: &[Form] = &[
    exact("aws", &["AKIA", "ASIA"], Alphabet::Base32, 16),
    exact("aws", &["akia", "asia"], Alphabet::SmallBase32, 16),
    least("github", &["github_pat_"], Alphabet::Url, 60),
    least("github", &["ghp_", "gho_", "ghu_", "ghs_", "ghr_"], Alphabet::Alphanumeric, 36),
    least("gitlab", &["glpat-", "gldt-", "glrt-", "glptt-"], Alphabet::Dotted, 20),
    least("slack", &["xox", "xapp-"], Alphabet::Dotted, 16),
    least("stripe", &["sk_live_", "sk_test_", "rk_live_", "rk_test_", "whsec_"], Alphabet::Alphanumeric, 16),
    exact("google", &["AIza"], Alphabet::Url, 35),
    least("google", &["GOCSPX-", "ya29."], Alphabet::Url, 20),
    least("anthropic", &["sk-ant-"], Alphabet::Url, 20),
    least("openai", &["sk-proj-", "sk-svcacct-", "sk-admin-"], Alphabet::Url, 20),
    least("openai", &["sk-"], Alphabet::Alphanumeric, 32),
    exact("npm", &["npm_"], Alphabet::Alphanumeric, 36),
    least("pypi", &["pypi-AgE"], Alphabet::Url, 50),
    exact("sendgrid", &["SG."], Alphabet::Dotted, 66),
    exact("twilio", &["SK0", "SK1", "SK2", "SK3", "SK4", "SK5", "SK6", "SK7", "SK8", "SK9"], Alphabet::Hex, 31),
    exact("twilio", &["SKa", "SKb", "SKc", "SKd", "SKe", "SKf"], Alphabet::Hex, 31),
    least("vault", &["hvs.", "hvb.", "hvr."], Alphabet::Url, 24),
    exact("digitalocean", &["dop_v1_", "doo_v1_", "dor_v1_"], Alphabet::Hex, 64),
    least("square", &["sq0atp-", "sq0csp-"], Alphabet::Url, 22),
    least("square", &["EAAA"], Alphabet::Url, 60),
    least("shopify", &["shpat_", "shpss_"], Alphabet::Hex, 32),
    least("huggingface", &["hf_"], Alphabet::Alphanumeric, 34),
    least("grafana", &["glsa_", "glc_"], Alphabet::Url, 32),
    least("docker", &["dckr_pat_"], Alphabet::Url, 20),
];

/// How a private key begins; what kind it is follows.
const PEM: &str = "-----BEGIN ";

/// Upper bound in bytes of the words between `BEGIN` and the dashes.
const MAX_LABEL: usize = 40;

/// What the issuer of a private key is called in its mark.
const PRIVATE_KEY: &str = "private_key";

/// The issuers whose keys are known.
pub(super) fn issuers() -> impl Iterator<Item = &'static str> {
    FORMS.iter().map(|form| form.issuer).chain([PRIVATE_KEY, names::AZURE])
}

/// The prefixes, and to which form each belongs; the last is [`PEM`].
static SEARCH: LazyLock<Option<(AhoCorasick, Vec<&'static Form>)>> = LazyLock::new(|| {
    let prefixes = FORMS.iter().flat_map(|form| form.prefixes.iter().map(move |prefix| (*prefix, form)));
    let (mut prefixes, forms): (Vec<&str>, Vec<&Form>) = prefixes.unzip();
    prefixes.push(PEM);
    Some((AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(prefixes).ok()?, forms))
});

/// Bytes of the shortest key: `xox` and 16 more.
const SHORTEST: usize = 19;

/// The keys in `text`.
pub(super) fn find(text: &[u8], hits: &mut Vec<Hit<'_>>) {
    if text.len() < SHORTEST {
        return;
    }
    let Some((search, forms)) = SEARCH.as_ref() else { return };
    let mut done = 0;
    for found in search.find_iter(text) {
        if found.start() < done {
            continue;
        }
        let form = forms.get(found.pattern().as_usize());
        let hit = match form {
            Some(form) => key(text, form, found.start(), found.end()).map(|end| (end, form.issuer)),
            None => private_key(text, found.end()).map(|end| (end, PRIVATE_KEY)),
        };
        if let Some((end, issuer)) = hit {
            done = end;
            hits.push(Hit { start: found.start(), end, kind: Kind::ApiKey { issuer } });
        }
    }
}

/// Where the key of this form ends whose prefix stands at `start..end`. It is a word of its own; behind a prefix that words
/// begin with as well (`sk-`), not one of small letters alone.
fn key(text: &[u8], form: &Form, start: usize, end: usize) -> Option<usize> {
    if before(text, start).last().is_some_and(u8::is_ascii_alphanumeric) {
        return None;
    }
    let rest = after(text, end);
    let limit = form.most.max(form.least).saturating_add(1);
    let length = rest.iter().take(limit).take_while(|byte| form.alphabet.has(**byte)).count();
    let body = before(rest, length);
    let is_own = text.get(start..end).is_some_and(|prefix| prefix.ends_with(b"_"));
    let is_random = body.iter().any(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
    let fits = (form.least..=form.most).contains(&length) && (is_own || is_random);
    fits.then_some(end.saturating_add(length))
}

/// Where a private key ends whose `-----BEGIN ` ends at `from`: with its `-----END …-----`, else with the text.
fn private_key(text: &[u8], from: usize) -> Option<usize> {
    let rest = after(text, from);
    let label = memmem::find(before(rest, MAX_LABEL), b"-----")?;
    if !before(rest, label).ends_with(b"PRIVATE KEY") && !before(rest, label).ends_with(b"PRIVATE KEY BLOCK") {
        return None;
    }
    let body = label.saturating_add(5);
    let Some(end) = memmem::find(after(rest, body), b"-----END ") else { return Some(text.len()) };
    let tail = body.saturating_add(end).saturating_add(9);
    let dashes = memmem::find(before(after(rest, tail), MAX_LABEL), b"-----");
    let close = dashes.map_or(tail, |dashes| tail.saturating_add(dashes).saturating_add(5));
    Some(from.saturating_add(close))
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

    /// A key of this form, from its prefix on.
    fn example(form: &Form, prefix: &str, length: usize) -> String {
        let characters = match form.alphabet {
            Alphabet::Base32 => "A2B3C7Z",
            Alphabet::SmallBase32 => "a2b3c7z",
            Alphabet::Hex => "0a1b2c9f",
            Alphabet::Alphanumeric => "aB3dE6gH9",
            Alphabet::Url => "aB3_dE6-gH9",
            Alphabet::Dotted => "aB3_dE.gH-9",
        };
        prefix.chars().chain(characters.chars().cycle().take(length)).collect()
    }

    #[test]
    fn a_prefix_that_no_word_has_needs_no_digits() {
        let key = "sk_live_abcdefghijklmnopqrstuvwx";
        assert_eq!(found(key), [format!("[key:stripe]{key}")]);
        assert!(found("sk-abcdefghijklmnopqrstuvwx-abcdefghijklmnopqrstuvwx").is_empty());
    }

    #[test]
    fn keys_of_every_form_are_found() {
        for form in FORMS {
            for prefix in form.prefixes {
                let key = example(form, prefix, form.least);
                let want = format!("[key:{}]{key}", form.issuer);
                for text in [key.clone(), format!("a {key} b"), format!("key=\"{key}\""), format!("x_{key},")] {
                    assert_eq!(found(&text), [want.as_str()], "`{text}`");
                }
                assert!(found(&example(form, prefix, form.least - 1)).is_empty(), "{key} is one too long");
                assert!(found(&format!("x{key}")).is_empty(), "x{key}");
                let longer = found(&example(form, prefix, form.least + 1));
                assert_eq!(longer.is_empty(), form.most == form.least, "{longer:?}");
            }
        }
    }

    #[test]
    fn private_keys_are_found_to_their_end() {
        let key = "-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----";
        for (text, want) in [
            (format!("a {key} b"), key),
            (key.replace('\n', "\\u{a}"), &key.replace('\n', "\\u{a}")),
            (key.replace("RSA ", ""), &key.replace("RSA ", "")),
            ("-----BEGIN PRIVATE KEY-----\nMII".to_owned(), "-----BEGIN PRIVATE KEY-----\nMII"),
            ("-----BEGIN EC PRIVATE KEY-----x-----END ".to_owned(), "-----BEGIN EC PRIVATE KEY-----x-----END "),
        ] {
            assert_eq!(found(&text), [format!("[key:private_key]{want}")], "`{text}`");
        }
        for text in ["-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----", "-----BEGIN PRIVATE KEY and so on"]
        {
            assert!(found(text).is_empty(), "`{text}`");
        }
    }

    #[test]
    fn words_are_left() {
        for text in [
            "sk-some-long-class-name-of-a-page-in-css",
            "SKILLS of all kinds of us",
            "hf_transfer is the name of it",
            "npm_config_registry_and_so_on_and_so_on_x",
            "AKIA and a lot of other words",
            "xoxo-xoxo-xoxo-xoxo-xoxo",
        ] {
            assert!(found(text).is_empty(), "`{text}`: {:?}", found(text));
        }
    }

    #[test]
    fn stays_linear_on_long_texts() {
        for unit in ["sk-", "AKIA", "xox", "hvs.", PEM, "-----BEGIN PRIVATE KEY-----", "ghp_a1"] {
            let text = unit.repeat(300_000 / unit.len());
            assert!(found(&text).len() <= text.len(), "`{unit}`");
        }
    }
}
