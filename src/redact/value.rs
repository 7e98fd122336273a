//! Where the value behind a name stands: quotation marks, brackets, tags, lines. Pure, linear in the text.
//! Not here: which names matter (`names`, `private`), what has a form of its own (`credential`, `track`, `account`).
//! Source: RFC 8259 (JSON), HTML's forms (`a=b&c=d`), RFC 9110 section 5 (`Name: value`), XML 1.0.

use std::ops::Range;

use super::strings::{self, Strings};
use super::{CUT, kind, names};

/// Upper bound in bytes of an object or a list that is one value. What is longer, or never ends, counts to its line's end.
const MAX_STRUCTURE: usize = 16 * 1024;

/// The values of one text.
pub(super) struct Values<'t> {
    text: &'t [u8],
    /// Up to here no bracket is followed to its end: an outer one was, in vain. This keeps the work linear.
    unclosed: usize,
    strings: Strings,
}

impl<'t> Values<'t> {
    pub(super) fn new(text: &'t [u8]) -> Self {
        Self { text, unclosed: 0, strings: Strings::default() }
    }

    /// What follows a sign that ends at `from`: what is in quotation marks, an object or list, or a bare word. A name that
    /// was quoted itself (`is_json`) may have its value on the next line; one at the end of quoted text has none.
    pub(super) fn behind(&mut self, from: usize, is_json: bool) -> Range<usize> {
        let start = blanks(self.text, from, is_json);
        let rest = after(self.text, start);
        if let Some(quote) = quote(rest) {
            let is_end = strings::may_close(rest, quote) && self.strings.at(self.text, start).is_open(quote);
            return if is_end { start..start } else { inside(self.text, start, quote) };
        }
        let length = match rest {
            [b'{', ..] => self.structure(start),
            [b'[', ..] if kind::mark(rest).is_none() => self.structure(start),
            _ => bare(rest, is_json),
        };
        start..start.saturating_add(length)
    }

    /// What follows the name of a header field: in quotation marks, an object or list, or all up to the end of the line.
    pub(super) fn line(&mut self, from: usize, sign: u8, is_json: bool) -> Range<usize> {
        let start = blanks(self.text, from, is_json);
        let rest = after(self.text, start);
        if quote(rest).is_some() || matches!(rest, [b'{' | b'[', ..]) && (is_json || kind::mark(rest).is_none()) {
            return self.behind(from, is_json);
        }
        let word = bare(rest, true);
        let is_word = names::is_constant(before(rest, word)) || is_json && before(rest, word).iter().all(is_of_number);
        let around = self.strings.at(self.text, start);
        start..start.saturating_add(if is_word { word } else { line(rest, sign == b'=', around) })
    }

    /// Where the text ends that begins at `from` and goes to `end`: there, or with the quoted text that it stands in.
    pub(super) fn within(&mut self, from: usize, end: usize) -> usize {
        let around = self.strings.at(self.text, from);
        let is_end = |at: &usize| {
            let rest = after(self.text, *at);
            quote(rest).is_some_and(|quote| around.ends(rest, quote))
        };
        if around.is_any() { (from..end).find(is_end).unwrap_or(end) } else { end }
    }

    /// Bytes of the object or list at `at`; none of a bracket that nothing follows in its line.
    fn structure(&mut self, at: usize) -> usize {
        let rest = after(self.text, at);
        let around = self.strings.at(self.text, at);
        if at >= self.unclosed {
            match closed(rest.get(..MAX_STRUCTURE).unwrap_or(rest), around) {
                Ok(length) => return length,
                Err(length) => self.unclosed = at.saturating_add(length),
            }
        }
        let is_end = |at: &usize| {
            let rest = after(rest, *at);
            line_end(rest).is_some() || quote(rest).is_some_and(|quote| around.ends(rest, quote))
        };
        let length = (0..rest.len()).find(is_end).unwrap_or(rest.len());
        if before(rest, length).trim_ascii_end().len() > 1 { length } else { 0 }
    }
}

/// Whether a number of JSON has this character.
fn is_of_number(byte: &u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E')
}

/// What stands from `at` on; nothing if the text ends before.
pub(super) fn after(text: &[u8], at: usize) -> &[u8] {
    text.get(at..).unwrap_or_default()
}

/// What stands up to `at`.
pub(super) fn before(text: &[u8], at: usize) -> &[u8] {
    text.get(..at).unwrap_or(text)
}

/// Whether a value says nothing: empty, a mark, what a cut left of it.
pub(super) fn is_marked(value: &[u8]) -> bool {
    let rest = kind::mark(value).map_or(value, |width| after(value, width));
    rest.is_empty() || rest == CUT.encode_utf8(&mut [0; 4]).as_bytes()
}

/// A quotation mark, and how many `\` stand before it in a text that is quoted itself (`\"`, `\\\"`).
#[derive(Clone, Copy)]
pub(super) struct Quote {
    pub(super) byte: u8,
    pub(super) depth: usize,
}

impl Quote {
    pub(super) fn width(self) -> usize {
        self.depth.saturating_add(1)
    }
}

/// The quotation mark that `text` begins with.
pub(super) fn quote(text: &[u8]) -> Option<Quote> {
    let depth = text.iter().take_while(|byte| **byte == b'\\').count();
    let byte = *text.get(depth)?;
    matches!(byte, b'"' | b'\'').then_some(Quote { byte, depth })
}

/// The place of what `quote`, which stands at `at`, opens; up to the end of the text if nothing closes it.
fn inside(text: &[u8], at: usize, quote: Quote) -> Range<usize> {
    let start = at.saturating_add(quote.width());
    start..start.saturating_add(quoted(after(text, start), quote))
}

/// Bytes up to the closing quotation mark. Among text quoted `n` times, a mark is preceded by `2^n - 1` backslashes, more of
/// them if the value ends in some; fewer close what stands around it.
fn quoted(text: &[u8], quote: Quote) -> usize {
    let mut slashes: usize = 0;
    for (at, byte) in text.iter().enumerate() {
        if *byte == b'\\' {
            slashes = slashes.saturating_add(1);
            continue;
        }
        if *byte == quote.byte {
            let period = quote.width().saturating_mul(2);
            let closes = slashes < quote.depth || slashes.checked_rem(period) == Some(quote.depth);
            if closes {
                return at.saturating_sub(slashes.min(quote.depth));
            }
        }
        slashes = 0;
    }
    text.len()
}

/// Bytes of a value without quotation marks: up to `& ; , " '`, white space or the end; in JSON up to a bracket too, elsewhere
/// without the brackets at its end that were opened before it.
fn bare(text: &[u8], is_json: bool) -> usize {
    let ends = |(at, byte): (usize, &u8)| {
        let is_end = match byte {
            b'&' | b';' | b',' | b'"' | b'\'' => true,
            b'}' | b']' => is_json && kind::mark(text).is_none_or(|width| at >= width),
            byte => may_be_blank(*byte) && blank(after(text, at)).is_some(),
        };
        is_end.then_some(at)
    };
    let length = text.iter().enumerate().find_map(ends).unwrap_or(text.len());
    inner(before(text, length))
}

/// Bytes of `value` without the brackets at its end that nothing in it opens.
fn inner(value: &[u8]) -> usize {
    let count = |wanted: u8| value.iter().filter(|byte| **byte == wanted).count();
    let mut surplus = [(b'{', b'}'), (b'[', b']'), (b'(', b')')].map(|(open, close)| {
        (
            close,
            if value.last().is_some_and(|byte| matches!(byte, b'}' | b']' | b')')) {
                count(close).saturating_sub(count(open))
            } else {
                0
            },
        )
    });
    let is_outer = |byte: &&u8| {
        let kind = surplus.iter_mut().find(|(close, left)| close == *byte && *left > 0);
        kind.map(|(_, left)| *left = left.saturating_sub(1)).is_some()
    };
    value.len().saturating_sub(value.iter().rev().take_while(is_outer).count())
}

/// Bytes up to the end of the line or the quotation mark that closes what stands `around`; one behind `=` opens a parameter.
/// What follows `=` itself can be a form's, which `&` ends.
fn line(text: &[u8], is_form: bool, around: Strings) -> usize {
    let mut at: usize = 0;
    let mut is_parameter = false;
    while let Some(byte) = text.get(at) {
        let rest = after(text, at);
        if *byte == b'&' && is_form || may_be_blank(*byte) && line_end(rest).is_some() {
            break;
        }
        if let Some(quote) = (matches!(byte, b'"' | b'\'' | b'\\')).then(|| quote(rest)).flatten() {
            if !is_parameter || around.ends(rest, quote) {
                break;
            }
            at = inside(text, at, quote).end.saturating_add(quote.width()).min(text.len());
        } else {
            at = at.saturating_add(1);
        }
        is_parameter = *byte == b'=';
    }
    at
}

/// Bytes up to the bracket that closes the one that `text` begins with; else up to the end of what stands `around`.
fn closed(text: &[u8], around: Strings) -> Result<usize, usize> {
    let (mut at, mut depth) = (0_usize, 0_usize);
    while let Some(byte) = text.get(at) {
        match byte {
            b'{' | b'[' => depth = depth.saturating_add(1),
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' | b'\'' | b'\\' => {
                if let Some(quote) = quote(after(text, at)) {
                    if around.ends(after(text, at), quote) {
                        return Err(at);
                    }
                    at = inside(text, at, quote).end.saturating_add(quote.depth);
                }
            }
            _ => {}
        }
        at = at.saturating_add(1);
        if depth == 0 {
            return Ok(at);
        }
    }
    Err(text.len())
}

/// Upper bound in groups of two hexadecimal digits that are one value: a PIN block has eight.
const MAX_GROUPS: usize = 16;

/// Bytes of the groups of two hexadecimal digits, a blank between two, that `text` begins with.
pub(super) fn hex_groups(text: &[u8]) -> usize {
    let is_pair = |group: &[u8]| matches!(group, [high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit());
    let groups = text.split(|byte| *byte == b' ').take(MAX_GROUPS).take_while(|group| is_pair(group)).count();
    groups.saturating_mul(3).saturating_sub(1)
}

/// Where the white space at `from` ends, which may go over the end of a line only `over_lines`.
pub(super) fn blanks(text: &[u8], from: usize, over_lines: bool) -> usize {
    let mut at = from;
    loop {
        let rest = after(text, at);
        match blank(rest) {
            Some(width) if over_lines || line_end(rest).is_none() => at = at.saturating_add(width),
            _ => return at,
        }
    }
}

/// White space that is a control character, as cleaned text writes it; the last five end a line.
const WRITTEN_OUT: [&[u8]; 8] =
    [b"\\u{9}", b"\\u{b}", b"\\u{c}", b"\\u{a}", b"\\u{d}", b"\\u{85}", b"\\u{2028}", b"\\u{2029}"];

/// Whether white space can begin with this byte.
fn may_be_blank(byte: u8) -> bool {
    byte <= b' ' || byte == b'\\' || byte >= 0xc2
}

/// Bytes of the white space (Unicode's) that `text` begins with.
pub(super) fn blank(text: &[u8]) -> Option<usize> {
    match text {
        [b' ' | 9..=13, ..] => Some(1),
        [b'\\', ..] => WRITTEN_OUT.iter().find(|blank| text.starts_with(blank)).map(|blank| blank.len()),
        [0xc2, 0x85 | 0xa0, ..] => Some(2),
        [0xe1, 0x9a, 0x80, ..] | [0xe2, 0x80, 0x80..=0x8a | 0xa8 | 0xa9 | 0xaf, ..] => Some(3),
        [0xe2, 0x81, 0x9f, ..] | [0xe3, 0x80, 0x80, ..] => Some(3),
        _ => None,
    }
}

/// Bytes of the end of a line that `text` begins with.
pub(super) fn line_end(text: &[u8]) -> Option<usize> {
    match text {
        [b'\n' | b'\r', ..] => Some(1),
        [b'\\', ..] => WRITTEN_OUT.iter().skip(3).find(|end| text.starts_with(end)).map(|end| end.len()),
        [0xc2, 0x85, ..] => Some(2),
        [0xe2, 0x80, 0xa8 | 0xa9, ..] => Some(3),
        _ => None,
    }
}
