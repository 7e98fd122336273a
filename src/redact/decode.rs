//! A text as whoever reads it next would decode it, and where each byte of that came from. Pure, linear; never longer than the text.
//! Not here: base64 and hexadecimal digits (`packed`).
//! Source: RFC 3986 section 2.1 (percent), RFC 8259 section 7 (`\u0034`), HTML 13.5 (entities), Unicode's full-width forms.

use super::kind::Hit;

/// Upper bound in bytes of a name of an entity, its number included: `&#x0000034;` has eleven with its signs.
const MAX_ENTITY: usize = 12;

/// A text, decoded so often, with the place in the text as it was for each of its bytes.
#[derive(Debug)]
pub(super) struct Layer<'t> {
    form: Form<'t>,
    /// Bytes of the text as it was.
    length: usize,
}

#[derive(Debug)]
enum Form<'t> {
    Plain(&'t [u8]),
    Decoded { bytes: Vec<u8>, places: Vec<usize> },
}

impl<'t> Layer<'t> {
    /// The text as it stands.
    pub(super) fn plain(text: &'t [u8]) -> Self {
        Self { form: Form::Plain(text), length: text.len() }
    }

    pub(super) fn text(&self) -> &[u8] {
        match &self.form {
            Form::Plain(text) => text,
            Form::Decoded { bytes, .. } => bytes,
        }
    }

    /// Where the byte at `at` came from; one behind the last is the end.
    fn place(&self, at: usize) -> usize {
        match &self.form {
            Form::Plain(_) => at,
            Form::Decoded { places, .. } => places.get(at).copied().unwrap_or(self.length),
        }
    }

    /// The same find in the text as it was.
    pub(super) fn outside<'r>(&self, hit: Hit<'r>) -> Hit<'r> {
        Hit { start: self.place(hit.start), end: self.place(hit.end), kind: hit.kind }
    }
}

/// `layer` decoded once more; nothing if that changes nothing.
pub(super) fn decode<'t>(layer: &Layer<'t>) -> Option<Layer<'t>> {
    let text = layer.text();
    let mut bytes = Vec::with_capacity(text.len());
    let mut places = Vec::with_capacity(text.len());
    let (mut at, mut changed) = (0_usize, false);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let width = match code(rest) {
            Some((code, width)) => {
                changed = true;
                push(code, layer.place(at), &mut bytes, &mut places);
                width
            }
            None => {
                // What no sign begins is copied as it is, all at once.
                let plain =
                    rest.iter().skip(1).position(|byte| is_sign(*byte)).map_or(rest.len(), |gap| gap.saturating_add(1));
                bytes.extend_from_slice(rest.get(..plain).unwrap_or_default());
                places.extend((at..at.saturating_add(plain)).map(|at| layer.place(at)));
                plain
            }
        };
        at = at.saturating_add(width);
    }
    changed.then_some(Layer { form: Form::Decoded { bytes, places }, length: layer.length })
}

/// What stands for something else.
enum Code {
    Byte(u8),
    Char(char),
    /// Shows nothing.
    Nothing,
}

fn push(code: Code, place: usize, bytes: &mut Vec<u8>, places: &mut Vec<usize>) {
    let mut add = |byte: u8| {
        bytes.push(byte);
        places.push(place);
    };
    match code {
        Code::Byte(byte) => add(byte),
        Code::Char(c) => c.encode_utf8(&mut [0; 4]).bytes().for_each(add),
        Code::Nothing => {}
    }
}

fn is_sign(byte: u8) -> bool {
    matches!(byte, 0 | b'%' | b'\\' | b'&' | 0xc2 | 0xe2 | 0xe3 | 0xef)
}

/// What `text` begins with, if that stands for something else, and its bytes.
fn code(text: &[u8]) -> Option<(Code, usize)> {
    match text.first()? {
        b'%' => Some((Code::Byte(pair(text.get(1..3)?)?), 3)),
        b'\\' => escape(text),
        b'&' => entity(text),
        // Every second byte of ASCII in UTF-16.
        0 => Some((Code::Nothing, 1)),
        0xc2 | 0xe2 | 0xe3 | 0xef => wide(text),
        _ => None,
    }
}

fn pair(digits: &[u8]) -> Option<u8> {
    u8::try_from(number(digits, 16)?).ok()
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let value = |sum: u32, byte: &u8| sum.checked_mul(radix)?.checked_add(char::from(*byte).to_digit(radix)?);
    digits.iter().try_fold(0, value)
}

/// JSON's and our own escapes: `\n`, `\"`, `\u0034`, `\u{34}`, `\x34`, `\x{34}`.
fn escape(text: &[u8]) -> Option<(Code, usize)> {
    let byte = |byte: u8| Some((Code::Byte(byte), 2));
    match text.get(1)? {
        b'n' => byte(b'\n'),
        b'r' => byte(b'\r'),
        b't' => byte(b'\t'),
        plain @ (b'"' | b'\'' | b'\\' | b'/') => byte(*plain),
        b'u' if text.get(2) == Some(&b'{') => braced(text).map(|(value, width)| (of(value), width)),
        b'u' => Some((of(number(text.get(2..6)?, 16)?), 6)),
        b'x' if text.get(2) == Some(&b'{') => {
            let (value, width) = braced(text)?;
            Some((Code::Byte(u8::try_from(value).ok()?), width))
        }
        b'x' => Some((Code::Byte(pair(text.get(2..4)?)?), 4)),
        _ => None,
    }
}

/// The number between braces that begin at the third byte of `text`, and how far it goes.
fn braced(text: &[u8]) -> Option<(u32, usize)> {
    let inside = text.get(3..)?;
    let end = inside.iter().take(MAX_ENTITY).position(|byte| *byte == b'}')?;
    Some((number(inside.get(..end)?, 16)?, end.saturating_add(4)))
}

/// HTML's entities: by number, and by the names that matter here.
fn entity(text: &[u8]) -> Option<(Code, usize)> {
    let inside = text.get(1..)?;
    let end = inside.iter().take(MAX_ENTITY).position(|byte| *byte == b';')?;
    let width = end.saturating_add(2);
    let code = match inside.get(..end)? {
        [b'#', b'x' | b'X', digits @ ..] => of(number(digits, 16)?),
        [b'#', digits @ ..] => of(number(digits, 10)?),
        b"nbsp" | b"ensp" | b"emsp" | b"thinsp" => Code::Byte(b' '),
        b"amp" => Code::Byte(b'&'),
        b"quot" => Code::Byte(b'"'),
        b"apos" => Code::Byte(b'\''),
        b"lt" => Code::Byte(b'<'),
        b"gt" => Code::Byte(b'>'),
        b"equals" => Code::Byte(b'='),
        b"colon" => Code::Byte(b':'),
        b"hyphen" | b"dash" | b"ndash" | b"mdash" => Code::Byte(b'-'),
        b"shy" | b"zwj" | b"zwnj" => Code::Nothing,
        _ => return None,
    };
    Some((code, width))
}

/// A character by its number; what is none (half of a surrogate pair) becomes one that means nothing.
fn of(value: u32) -> Code {
    let c = char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER);
    plain(c).unwrap_or(Code::Char(c))
}

/// A character beyond ASCII that stands for an ASCII one.
fn wide(text: &[u8]) -> Option<(Code, usize)> {
    let width = if text.first() == Some(&0xc2) { 2 } else { 3 };
    let c = str::from_utf8(text.get(..width)?).ok()?.chars().next()?;
    Some((plain(c)?, width))
}

/// The ASCII character that `c` is read as, if it is another one: full-width forms, blanks and dashes of print; or nothing.
fn plain(c: char) -> Option<Code> {
    let ascii = match c {
        '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => b' ',
        '\u{2010}'..='\u{2015}' | '\u{2212}' => b'-',
        '\u{b7}' => b'.',
        '\u{ff01}'..='\u{ff5e}' => u8::try_from(u32::from(c).checked_sub(0xfee0)?).ok()?,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}' => return Some(Code::Nothing),
        _ => return None,
    };
    Some(Code::Byte(ascii))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::kind::Kind;

    fn decoded(text: &str) -> Option<String> {
        decode(&Layer::plain(text.as_bytes())).map(|layer| String::from_utf8_lossy(layer.text()).into_owned())
    }

    #[test]
    fn decodes_by_table() {
        for (text, want) in [
            ("4%31%31", Some("411")),
            ("%4%zz%3", None),
            ("a%20b%2Dc", Some("a b-c")),
            ("%2541", Some("%41")),
            (r"\u0034\u{31}\x31\x{31}", Some("4111")),
            (r"\ud83d", Some("\u{fffd}")),
            (r"a\nb\/\q", Some("a\nb/\\q")),
            (r"\u{}\u{110000000}\x{100}\u12", None),
            ("&#52;&#x31;&nbsp;&quot;&amp;x;&bogus;", Some("41 \"&x;&bogus;")),
            ("４１－１\u{a0}2\u{200b}3\u{2009}4", Some("41-1 23 4")),
            ("4\u{0}1\u{0}1", Some("411")),
            ("bücher", None),
            ("", None),
        ] {
            assert_eq!(decoded(text).as_deref(), want, "`{text}`");
        }
    }

    #[test]
    fn a_find_is_told_where_it_stands_in_the_text() {
        let text = "ab%2531&#49;c".as_bytes();
        let once = decode(&Layer::plain(text)).unwrap();
        let twice = decode(&once).unwrap();
        assert_eq!(twice.text(), b"ab11c");
        for (start, end, want) in [(0, 2, "ab"), (2, 3, "%2531"), (2, 4, "%2531&#49;"), (4, 5, "c"), (5, 5, "")] {
            let hit = twice.outside(Hit { start, end, kind: Kind::Ssn });
            assert_eq!(&text[hit.start..hit.end], want.as_bytes());
        }
    }
}
