//! What of one text is not to be written, until nothing is left: also what only the marks of the others lay bare. Pure.
//! Not here: one search (`scan`), texts that come in pieces (`stream`).
//! Source: RFC 7468 (how private keys are written), RFC 4880 (those of PGP).

use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem::{self, Finder};

use super::card::Strength;
use super::kind::{self, Hit, Kind};
use super::scan::{self, Rules};

/// How often a text is searched again with marks in place of what was found. A mark can lay bare what an identifier or a longer run of
/// digits hid; twice is rare, more often only what was written for it.
const MAX_ROUNDS: usize = 8;

/// Bytes of an armour's first or last line: `-----BEGIN ENCRYPTED PRIVATE KEY-----` has 37, and the longest label in use is not much longer.
pub(super) const MAX_LINE: usize = 64;

static BEGIN: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"-----BEGIN "));
static END: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"-----END "));
const DASHES: &[u8] = b"-----";

/// What is found in `text`, from the left, without overlaps. A private key goes from its first line to its last, or to the end of the text.
pub(super) fn find<'r>(text: &[u8], rules: &'r Rules) -> Vec<Hit<'r>> {
    let mut spans = join(scan::find(text, Strength::Text, rules), private_keys(text).into_iter().map(PrivateKey::hit));
    for _ in 0..MAX_ROUNDS {
        if spans.is_empty() {
            break;
        }
        let marked = Marked::new(text, &spans);
        let more = scan::find(&marked.text, Strength::Text, rules).into_iter().map(|hit| marked.original(hit));
        let is_new = |hit: &Hit<'_>| !spans.iter().any(|span| span.start <= hit.start && hit.end <= span.end);
        let more: Vec<_> = more.filter(is_new).collect();
        if more.is_empty() {
            break;
        }
        spans = join(spans, more);
    }
    spans
}

/// How many marks of ours begin within `range` of `text`.
pub(super) fn marks(text: &[u8], range: Range<usize>) -> u64 {
    let is_mark = |at: &usize| text.get(range.start.saturating_add(*at)..).and_then(kind::mark).is_some();
    let marks = memchr::memchr_iter(b'[', text.get(range.clone()).unwrap_or_default()).filter(is_mark).count();
    u64::try_from(marks).unwrap_or(u64::MAX)
}

/// Where a private key that began in an earlier text ends in this one.
pub(super) fn end_of_private_key(text: &[u8]) -> Option<usize> {
    armour(text, &END).map(|found| found.end)
}

/// Whether `line` can be one of a private key, quoted or behind what a log writes first: base64, a header field, nothing.
pub(super) fn is_key_line(line: &[u8]) -> bool {
    let is_quoting = |byte: &u8| b" \t\r>|#*+-.,;\"'".contains(byte);
    let start = line.iter().position(|byte| !is_quoting(byte)).unwrap_or(line.len());
    let end = line.iter().rposition(|byte| !is_quoting(byte)).map_or(start, |last| last.saturating_add(1));
    let line = line.get(start..end).unwrap_or_default();
    let word = line.rsplit(u8::is_ascii_whitespace).next().unwrap_or_default();
    let is_base64 = word.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/=\\".contains(byte));
    is_base64 && (word.len() == line.len() || word.len() >= MIN_KEY_WORD) || is_header(line)
}

/// Base64 of so many characters at the end of a line is a key's whatever stands before it; keys are written 64 to 76 wide.
const MIN_KEY_WORD: usize = 32;

/// Whether it is `Name: value`, as PEM (RFC 1421, section 4.6) and PGP have it before the base64.
fn is_header(line: &[u8]) -> bool {
    let name = line.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-').count();
    name > 0 && line.get(name..).is_some_and(|rest| rest.starts_with(b": "))
}

/// Whether a private key begins in `text` and does not end there.
pub(super) fn is_inside_private_key(text: &[u8]) -> bool {
    private_keys(text).last().is_some_and(|key| key.is_open)
}

struct PrivateKey {
    at: Range<usize>,
    is_open: bool,
}

impl PrivateKey {
    fn hit<'r>(self) -> Hit<'r> {
        Hit { start: self.at.start, end: self.at.end, kind: Kind::Secret }
    }
}

fn private_keys(text: &[u8]) -> Vec<PrivateKey> {
    let (mut keys, mut from) = (Vec::new(), 0_usize);
    while let Some(begin) = text.get(from..).and_then(|rest| armour(rest, &BEGIN)) {
        let start = from.saturating_add(begin.start);
        let inside = from.saturating_add(begin.end);
        let end = text.get(inside..).and_then(|rest| armour(rest, &END)).map(|found| inside.saturating_add(found.end));
        from = end.unwrap_or(text.len());
        keys.push(PrivateKey { at: start..from, is_open: end.is_none() });
    }
    keys
}

/// The first line of the form `-----BEGIN … PRIVATE KEY-----`; PGP's says `PRIVATE KEY BLOCK`.
fn armour(text: &[u8], word: &Finder<'_>) -> Option<Range<usize>> {
    let word_length = word.needle().len();
    word.find_iter(text).find_map(|start| {
        let line = text.get(start..text.len().min(start.saturating_add(MAX_LINE)))?;
        let label = word_length..memmem::find(line.get(word_length..)?, DASHES)?.saturating_add(word_length);
        memmem::find(line.get(label.clone())?, b"PRIVATE KEY")?;
        Some(start..start.saturating_add(label.end).saturating_add(DASHES.len()))
    })
}

/// Both, from the left; those that overlap become one.
pub(super) fn join<'r>(mut some: Vec<Hit<'r>>, more: impl IntoIterator<Item = Hit<'r>>) -> Vec<Hit<'r>> {
    some.extend(more);
    scan::join(&mut some);
    some
}

/// A text with marks, and where each of its parts stood before.
struct Marked<'s, 'r> {
    text: Vec<u8>,
    /// What was replaced, and where its mark begins and ends.
    marks: Vec<(&'s Hit<'r>, Range<usize>)>,
}

impl<'s, 'r> Marked<'s, 'r> {
    fn new(text: &[u8], spans: &'s [Hit<'r>]) -> Self {
        let mut marked = Self { text: Vec::with_capacity(text.len()), marks: Vec::with_capacity(spans.len()) };
        let mut from = 0;
        for span in spans {
            marked.text.extend_from_slice(text.get(from..span.start).unwrap_or_default());
            let start = marked.text.len();
            marked.text.extend_from_slice(span.kind.to_string().as_bytes());
            marked.marks.push((span, start..marked.text.len()));
            from = span.end;
        }
        marked.text.extend_from_slice(text.get(from..).unwrap_or_default());
        marked
    }

    /// What was found in the text with marks, by its place in the one without. A mark counts as a whole.
    fn original<'h>(&self, hit: Hit<'h>) -> Hit<'h> {
        Hit { start: self.place(hit.start, true), end: self.place(hit.end, false), kind: hit.kind }
    }

    fn place(&self, at: usize, is_start: bool) -> usize {
        let before = self.marks.iter().take_while(|(_, mark)| mark.start < at || (is_start && mark.start == at));
        match before.last() {
            None => at,
            Some((span, mark)) if is_start && at < mark.end => span.start,
            Some((span, mark)) => span.end.saturating_add(at.saturating_sub(mark.end)),
        }
    }
}

#[cfg(test)]
#[path = "span_tests.rs"]
mod tests;
