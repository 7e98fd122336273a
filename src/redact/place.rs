//! Where names stand: before a sign, in quotation marks, in brackets, in tags. Pure; looks at a bounded piece of text per sign.
//! Not here: which names matter (`names`, `private`), what stands behind them (`key`, `value`).
//! Source: RFC 8259 (JSON), HTML's forms (`card[cvv]=1`), XML 1.0 (tags and attributes).

use memchr::{memchr2, memrchr};

use super::kind;
use super::private;
use super::value::{after, before};

/// Upper bound in bytes of the white space between a name and its sign.
const MAX_GAP: usize = 8;

/// Upper bound in bytes of a tag with its attributes.
const MAX_TAG: usize = 256;

/// Where a name ends and what may be its value begins.
pub(super) struct Place {
    /// Behind the last character of the name.
    pub(super) end: usize,
    /// The sign between them, and where it ends.
    pub(super) sign: u8,
    pub(super) from: usize,
    /// Whether the name is in quotation marks.
    pub(super) is_quoted: bool,
    /// Whether the name is in square brackets: `card[cvv]=`.
    pub(super) is_index: bool,
    /// Whether the sign closes a tag: `<cvv>`.
    pub(super) is_tag: bool,
}

impl Place {
    /// Leaves out a quotation mark behind the name.
    fn strip_mark(&mut self, text: &[u8]) {
        if let Some((b'"' | b'\'', head)) = before(text, self.end).split_last() {
            let slashes = head.iter().rev().take(MAX_GAP).take_while(|byte| **byte == b'\\').count();
            self.end = head.len().saturating_sub(slashes);
            self.is_quoted = true;
        }
    }
}

/// Where the name of the element ends whose tag is closed at `sign`, its attributes behind it.
fn tag_name(text: &[u8], sign: usize) -> Option<usize> {
    if ends_word(text, sign) && is_tag_start(before(text, run_start(text, sign))) {
        return Some(sign);
    }
    let from = sign.saturating_sub(MAX_TAG);
    let head = text.get(from..sign)?;
    let open = from.saturating_add(memrchr(b'<', head)?).saturating_add(1);
    let tag = text.get(open..sign)?;
    let name = tag.iter().take_while(|byte| private::is_name_byte(**byte) || **byte == b':').count();
    let is_whole = tag.get(name).is_some_and(u8::is_ascii_whitespace) && tag.last() != Some(&b'/');
    is_whole.then(|| open.saturating_add(name))
}

/// What is around the sign at `sign`; none if no name can stand before it.
pub(super) fn place(text: &[u8], sign: usize) -> Option<Place> {
    let byte = *text.get(sign)?;
    let mut place = Place {
        end: sign,
        sign: byte,
        from: sign.saturating_add(1),
        is_quoted: false,
        is_index: false,
        is_tag: byte == b'>',
    };
    if place.is_tag {
        place.end = tag_name(text, sign)?;
        return Some(place);
    }
    match (byte, text.get(place.from)) {
        (b':', Some(b':')) => return None,
        (b'=', Some(b'=' | b'>')) | (b':', Some(b'=')) => place.from = place.from.saturating_add(1),
        _ => {}
    }
    if ends_word(text, place.end) {
        return Some(place);
    }
    let gap =
        before(text, place.end).iter().rev().take(MAX_GAP).take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    place.end = place.end.saturating_sub(gap);
    // `"card[cvv]"` and `card["cvv"]`.
    place.strip_mark(text);
    if before(text, place.end).last() == Some(&b']') {
        place.end = place.end.saturating_sub(1);
        place.is_index = true;
        place.strip_mark(text);
    }
    ends_word(text, place.end).then_some(place)
}

/// Whether the byte before `end` can be a name's last.
fn ends_word(text: &[u8], end: usize) -> bool {
    before(text, end).last().is_some_and(|byte| private::is_name_byte(*byte))
}

/// Whether a tag's name can begin behind `head`, with a prefix or without.
fn is_tag_start(head: &[u8]) -> bool {
    matches!(head.last(), Some(b'<' | b':'))
}

/// Where the run of characters of names begins that `start` lies in.
pub(super) fn run_start(text: &[u8], start: usize) -> usize {
    let head = before(text, start).iter().rev().take(private::MAX_RUN);
    start.saturating_sub(head.take_while(|byte| private::is_name_byte(**byte)).count())
}

/// Whether brackets and tags hold the name that begins at `run` and nothing else; a mark (`[SSN]=`, `[PAN:`) is no name.
pub(super) fn is_name(text: &[u8], run: usize, place: &Place) -> bool {
    let head = before(text, run);
    if place.is_tag {
        let prefix = head.strip_suffix(b":").map(|head| before(text, run_start(text, head.len())));
        return prefix.unwrap_or(head).ends_with(b"<");
    }
    let opening = match head {
        [opening @ .., b'"' | b'\''] if place.is_index => opening,
        _ => head,
    };
    let is_mark = opening.ends_with(b"[") && kind::mark(after(text, opening.len().saturating_sub(1))).is_some();
    !is_mark && (!place.is_index || opening.ends_with(b"["))
}

/// Behind an attribute whose name ends at `name`: where the tag ends that it stands in, if that has an end and text behind.
pub(super) fn tag_end(text: &[u8], name: usize, behind: usize) -> Option<usize> {
    let head = text.get(name.saturating_sub(MAX_TAG)..name)?;
    let is_open = head.iter().rfind(|byte| matches!(byte, b'<' | b'>')) == Some(&b'<');
    let rest = before(after(text, behind), MAX_TAG);
    let end = memchr2(b'<', b'>', rest).filter(|_| is_open)?;
    let is_empty = before(rest, end).ends_with(b"/") || rest.get(end) != Some(&b'>');
    (!is_empty).then(|| behind.saturating_add(end).saturating_add(1))
}
