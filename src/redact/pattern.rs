//! The configuration's own patterns for what must not be written: order numbers, customer ids. Pure, linear in the text.
//! Not here: the key they are read from (`config`). They only add: what they match is searched for everything else as well.
//! Source: the crate `regex`, which knows no look-around and no backreferences, and so needs no time limit.

use regex::bytes::{Regex, RegexBuilder};

use super::kind::{self, Hit, Kind};
use super::private::FieldName;
use super::value::is_marked;

/// Upper bound of matches of one pattern in one text that are told apart.
const MAX_MATCHES: usize = 64;

/// Upper bound in bytes of one pattern as it is written: longer ones are lists, which belong into several.
const MAX_PATTERN: usize = 512;

/// Upper bound in bytes of one pattern as it is compiled, and of the cache of its states: 32 of both are 32 MiB.
const MAX_COMPILED: usize = 512 * 1024;

/// What a pattern must not match a part of nothing in: one that does would leave a mark in every text.
const SAMPLES: [&[u8]; 4] = [b"", b"a", b" 0 ", b"a-b"];

/// A pattern of the configuration, by its name.
#[derive(Clone, Debug)]
pub struct Pattern {
    name: FieldName,
    regex: Regex,
}

/// Two patterns are equal if they are written alike.
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.regex.as_str() == other.regex.as_str()
    }
}

impl Eq for Pattern {}

/// A text is no pattern for redaction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Longer than 512 bytes.
    #[error("the pattern has {0} bytes; write at most {MAX_PATTERN}, or several patterns")]
    TooLong(usize),
    /// Not in the language of patterns; the last line of what the compiler says.
    #[error(
        "not a pattern: {0}; write a regular expression without look-around and backreferences, such as `ORD-[0-9]{{8}}`"
    )]
    Syntax(String),
    /// Larger than its bound once it is compiled.
    #[error(
        "the pattern is too large once it is compiled; write smaller counts, and `[0-9]` for `\\d`, `[A-Za-z0-9_]` for `\\w`"
    )]
    TooLarge,
    /// It matches where nothing stands.
    #[error(
        "the pattern also matches where nothing stands; write one that needs at least one character, such as `ORD-[0-9]{{8}}`"
    )]
    Empty,
    /// It matches what stands for something found.
    #[error(
        "the pattern also matches a part of the mark `{0}`; write one that is longer, or has signs that no mark has"
    )]
    Mark(String),
}

impl Pattern {
    /// The pattern `text`, by the name that its mark has.
    pub fn new(name: FieldName, text: &str) -> Result<Self, PatternError> {
        if text.len() > MAX_PATTERN {
            return Err(PatternError::TooLong(text.len()));
        }
        let built = RegexBuilder::new(text).size_limit(MAX_COMPILED).dfa_size_limit(MAX_COMPILED).build();
        let regex = built.map_err(|error| {
            let is_large = matches!(error, regex::Error::CompiledTooBig(_));
            if is_large { PatternError::TooLarge } else { PatternError::Syntax(reason(&error.to_string())) }
        })?;
        if SAMPLES.iter().any(|sample| regex.find_iter(sample).any(|found| found.is_empty())) {
            return Err(PatternError::Empty);
        }
        let pattern = Self { name, regex };
        match kind::examples().find(|mark| pattern.regex.is_match(mark.as_bytes())) {
            Some(mark) => Err(PatternError::Mark(mark)),
            None => pattern.beside(Kind::Pattern(pattern.name.as_str())).map(|()| pattern),
        }
    }

    /// Its name.
    pub fn name(&self) -> &FieldName {
        &self.name
    }

    /// Whether it leaves alone the marks of the private field, and of the pattern, of this name.
    pub fn check(&self, name: &FieldName) -> Result<(), PatternError> {
        self.beside(Kind::Private(name.as_str()))?;
        self.beside(Kind::Pattern(name.as_str()))
    }

    fn beside(&self, kind: Kind<'_>) -> Result<(), PatternError> {
        let mark = kind.to_string();
        if self.regex.is_match(mark.as_bytes()) { Err(PatternError::Mark(mark)) } else { Ok(()) }
    }
}

/// The last line of a message of the compiler, which says what is wrong; the others show where.
fn reason(message: &str) -> String {
    let last = message.lines().last().unwrap_or_default().trim();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

/// The matches of `patterns` in `text`. Looking for one match may read all that is left of a text (`K9.*#|K9`), so after
/// [`MAX_MATCHES`] the rest from the next one on counts as one match: the time stays linear, and nothing is let through.
pub(super) fn find<'r>(text: &[u8], patterns: &'r [Pattern], hits: &mut Vec<Hit<'r>>) {
    for pattern in patterns {
        let found = pattern.regex.find_iter(text).filter(|found| !is_marked(found.as_bytes()));
        let kind = Kind::Pattern(pattern.name.as_str());
        let hit = |(at, found): (usize, regex::bytes::Match<'_>)| {
            let end = if at == MAX_MATCHES { text.len() } else { found.end() };
            Hit { start: found.start(), end, kind }
        };
        hits.extend(found.take(MAX_MATCHES.saturating_add(1)).enumerate().map(hit));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Result<Pattern, PatternError> {
        Pattern::new("order_id".parse().unwrap(), text)
    }

    #[test]
    fn patterns_are_read() {
        for text in ["ORD-[0-9]{8}", "(?i)ord-[0-9]+", r"\bK[0-9]{5}\b", "^[0-9]{4}/[0-9]+", "Ö[0-9]{3}"] {
            assert!(pattern(text).is_ok(), "`{text}`: {:?}", pattern(text));
        }
        assert_eq!(pattern("ORD-1"), pattern("ORD-1"));
        assert_ne!(pattern("ORD-1"), pattern("ORD-2"));
    }

    #[test]
    fn many_matches_take_the_rest_of_the_text() {
        let patterns = [pattern("K9.*#|K9").unwrap()];
        let mut hits = Vec::new();
        for (count, want) in [(MAX_MATCHES, MAX_MATCHES * 3 - 1), (MAX_MATCHES + 50, (MAX_MATCHES + 50) * 3 + 7)] {
            hits.clear();
            let text = "K9 ".repeat(count) + "and more";
            find(text.as_bytes(), &patterns, &mut hits);
            let last = hits.last().unwrap();
            assert_eq!((hits.len(), last.end), (count.min(MAX_MATCHES + 1), want + usize::from(count > MAX_MATCHES)));
        }
        find("K9".repeat(50_000).as_bytes(), &patterns, &mut hits);
    }

    #[test]
    fn faults_say_what_to_write() {
        let long = "O".repeat(513);
        for (text, want) in [
            (long.as_str(), "the pattern has 513 bytes; write at most 512"),
            (
                "ORD(?=[0-9])",
                "not a pattern: look-around, including look-ahead and look-behind, is not supported; write a",
            ),
            (r"(a)\1ORD", "not a pattern: backreferences are not supported; write a"),
            ("ORD[0-9", "not a pattern: unclosed character class; write a"),
            (r"\w{500}", "the pattern is too large once it is compiled; write smaller counts"),
            ("", "the pattern also matches where nothing stands"),
            ("(ORD)?", "the pattern also matches where nothing stands"),
            (r"\b", "the pattern also matches where nothing stands"),
            ("$", "the pattern also matches where nothing stands"),
            ("visa", "the pattern also matches a part of the mark `[PAN:visa:"),
            ("[a-z]{6}", "the pattern also matches a part of the mark `[erased:"),
            (r"\]", "the pattern also matches a part of the mark `[erased:"),
            ("JWT", "the pattern also matches a part of the mark `[JWT]`"),
            ("order_id", "the pattern also matches a part of the mark `[pattern:order_id]`"),
        ] {
            let error = pattern(text).unwrap_err().to_string();
            assert!(error.starts_with(want), "`{text}`:\n  {error}\n  {want}");
        }
        let one = pattern("cu[s]t").unwrap();
        let (customer, other) = ("customer".parse().unwrap(), "other".parse().unwrap());
        assert_eq!(one.check(&customer), Err(PatternError::Mark("[private:customer]".to_owned())));
        assert_eq!(one.check(&other), Ok(()));
    }

    #[test]
    fn matches_are_found_beside_marks() {
        let patterns = [pattern("ORD-[0-9]{4}").unwrap(), pattern(r"(?s-u)K.\xff").unwrap(), pattern("…").unwrap()];
        for (text, want) in [
            (&b"ORD-1234 ORD-123 ORD-5678x"[..], &[(0, 8), (17, 25)][..]),
            (b"aK\n\xffb", &[(1, 4)]),
            (b"[pattern:order_id] [PAN:visa:16]", &[]),
            ("aK\u{2026}".as_bytes(), &[]),
            (b"", &[]),
        ] {
            let mut hits = Vec::new();
            find(text, &patterns, &mut hits);
            let places: Vec<_> = hits.iter().map(|hit| (hit.start, hit.end)).collect();
            assert_eq!(places, want, "{}", text.escape_ascii());
            assert!(hits.iter().all(|hit| hit.kind == Kind::Pattern("order_id")));
        }
    }
}
