//! Finds values by the name of their field: in queries, forms, JSON, headers, XML, multipart, `key=value` and YAML lines. Pure.
//! Not here: the names (`names`, `private`), where a value ends (`value`), names without a sign (`word`).
//! Source: RFC 9110 sections 5 and 11 (header fields, schemes), RFC 6265 (cookies), RFC 7578 (multipart), RFC 8259 (JSON).

use std::ops::Range;

use memchr::{memchr, memchr2, memchr3, memmem};

use super::kind::{self, Hit, Kind};
use super::names::{self, Meaning, NAMES, Name, Names, Shape};
use super::place::{Place, is_name, place, run_start, tag_end};
use super::private::Fields;
use super::prose;
use super::value::{self, Values, after, before, is_marked};

/// Upper bound in bytes of a value that must have a shape; none is that long.
const MAX_SHAPED: usize = 64;

/// Upper bound in bytes of the head of one part of a multipart body, from the name on.
const MAX_PART_HEAD: usize = 512;

/// Upper bound in bytes of a list or an object of values that must have a shape.
const MAX_LISTED: usize = 256;

/// The values of fields whose names are secret, and of the configuration's private fields. These only add: whatever they
/// cover is searched for the others as well.
pub(super) fn find<'r>(text: &[u8], fields: &'r Fields, hits: &mut Vec<Hit<'r>>) {
    let mut finder =
        Finder { text, names: &NAMES, values: Values::new(text), hits, weak: Vec::new(), has_number: false };
    let (mut at, mut private) = (0, 0);
    while let Some(sign) = memchr3(b'=', b':', b'>', after(text, at)).map(|found| at.saturating_add(found)) {
        at = sign.saturating_add(1);
        if text.get(sign) != Some(&b'>') && fields.is_empty() && !finder.names.may_end(text, sign) {
            continue;
        }
        let Some(place) = place(text, sign) else { continue };
        if sign >= private && !fields.is_empty() {
            private = finder.private(fields, &place).unwrap_or(private);
        }
        if let Some(name) = finder.names.at_end(before(text, place.end))
            && is_name(text, run_start(text, name.start), &place)
        {
            at = finder.named(&name, &place).max(at);
        }
    }
    let Finder { weak, hits, has_number, .. } = finder;
    if has_number || kind::tell_of_a_card(hits) {
        hits.extend(weak);
    }
}

struct Finder<'t, 'r, 'h> {
    text: &'t [u8],
    names: &'static Names,
    values: Values<'t>,
    hits: &'h mut Vec<Hit<'r>>,
    /// What counts if anything else tells of a card.
    weak: Vec<Hit<'r>>,
    /// Whether a field named after a card's number has one.
    has_number: bool,
}

impl<'r> Finder<'_, 'r, '_> {
    /// Adds the value of a private field; where it ends.
    fn private(&mut self, fields: &'r Fields, place: &Place) -> Option<usize> {
        let run = run_start(self.text, place.end);
        if let Some(at) = run.checked_sub(1)
            && let Some(width) = kind::mark(after(self.text, at))
        {
            return Some(at.saturating_add(width));
        }
        let field = fields.named(before(self.text, run), self.text.get(run..place.end)?)?;
        let kind = Kind::Private(field.as_str());
        if !is_name(self.text, run, place) {
            return None;
        }
        if place.is_tag {
            return Some(self.element(kind, Shape::Any, place.from));
        }
        let value = self.values.behind(place.from, place.is_quoted);
        let end = value.end;
        self.add(value, kind);
        Some(end)
    }

    /// Adds what stands behind a name of the table; where to go on.
    fn named(&mut self, name: &Name, place: &Place) -> usize {
        match name.meaning {
            Meaning::Value(kind, shape) if place.is_tag => self.element(kind, shape, place.from),
            Meaning::Value(kind, shape) if shape.is_open() && !place.is_quoted => {
                self.written(kind, shape, name, place)
            }
            Meaning::Value(kind, shape) => self.value(kind, shape, place.from, place.is_quoted),
            Meaning::Scheme => {
                let line = self.values.line(place.from, place.sign, place.is_quoted);
                let end = line.end;
                let secret = credentials(self.text, line.clone());
                if secret.start > line.start || !self.is_prose(&line) {
                    self.add(secret, Kind::Credential);
                }
                end
            }
            Meaning::Cookies => {
                let line = self.values.line(place.from, place.sign, place.is_quoted);
                let end = line.end;
                if !self.is_prose(&line) {
                    self.cookies(line);
                }
                end
            }
            Meaning::Named => self.named_by_value(place),
        }
    }

    /// Whether words without quotation marks stand there and nothing else.
    fn is_prose(&self, line: &Range<usize>) -> bool {
        let is_quoted = before(self.text, line.start).last().is_some_and(|byte| matches!(byte, b'"' | b'\''));
        !is_quoted && self.text.get(line.clone()).is_some_and(prose::is_words)
    }

    /// The value of an unquoted name, up to the end of the line that begins with the name of a password. Words are none.
    fn written(&mut self, kind: Kind<'r>, shape: Shape, name: &Name, place: &Place) -> usize {
        let is_line = shape == Shape::Any
            && kind == Kind::Secret
            && place.sign == b':'
            && value::blank(after(self.text, place.from)).is_some()
            && prose::begins_line(self.text, run_start(self.text, name.start));
        let value = if is_line {
            let line = self.values.line(place.from, place.sign, false);
            trimmed(self.text, line)
        } else {
            let value = self.values.behind(place.from, false);
            let groups = if kind == Kind::Pin { value::hex_groups(after(self.text, value.start)) } else { 0 };
            value.start..value.end.max(value.start.saturating_add(groups))
        };
        let bytes = self.text.get(value.clone()).unwrap_or_default();
        let is_bare = before(self.text, value.start).last().is_none_or(|byte| !matches!(byte, b'"' | b'\''));
        let is_colon = place.sign == b':';
        let is_prose = if shape == Shape::Any {
            is_colon && !is_line && prose::is_told(self.text, value.start, bytes)
        } else {
            prose::is_no_token(self.text, if is_colon { place.from } else { value.start }, bytes)
        };
        let end = value.end;
        if !(is_bare && is_prose) {
            self.fitting(kind, shape, value);
        }
        end
    }

    /// The values in a list or an object that must have a shape, up to its first closing bracket.
    fn listed(&mut self, kind: Kind<'r>, shape: Shape, start: usize) {
        let text = self.text;
        let rest = before(after(text, start), MAX_LISTED);
        let mut at = start;
        for part in
            before(rest, memchr2(b']', b'}', rest).unwrap_or(rest.len())).split(|byte| b"[{,:\"'\\".contains(byte))
        {
            let end = at.saturating_add(part.len());
            self.fitting(kind, shape, trimmed(text, at..end));
            at = end.saturating_add(1);
        }
    }

    fn value(&mut self, kind: Kind<'r>, shape: Shape, from: usize, is_json: bool) -> usize {
        let start = value::blanks(self.text, from, is_json);
        let rest = after(self.text, start);
        if !shape.is_open() && matches!(rest, [b'[' | b'{', ..]) && kind::mark(rest).is_none() {
            self.listed(kind, shape, start);
            return from;
        }
        let value = if shape.is_open() {
            self.values.behind(from, is_json)
        } else {
            Values::new(before(self.text, from.saturating_add(MAX_SHAPED))).behind(from, is_json)
        };
        let next = if shape.is_open() { value.end } else { from };
        self.fitting(kind, shape, value);
        next
    }

    /// What an element holds, up to the next tag.
    fn element(&mut self, kind: Kind<'r>, shape: Shape, from: usize) -> usize {
        const DATA: &[u8] = b"<![CDATA[";
        let text = if shape.is_open() { self.text } else { before(self.text, from.saturating_add(MAX_SHAPED)) };
        let rest = after(text, from);
        let (start, length) = match rest.strip_prefix(DATA) {
            Some(data) => (from.saturating_add(DATA.len()), memmem::find(data, b"]]>").unwrap_or(data.len())),
            None => (from, memchr(b'<', rest).unwrap_or(rest.len())),
        };
        let end = self.values.within(start, start.saturating_add(length));
        let value = trimmed(text, start..end);
        self.fitting(kind, shape, value);
        if shape.is_open() { end } else { from }
    }

    /// The field is named by a value: `name="cvv"`. Its own value comes behind `value` or, in multipart, behind a blank line.
    fn named_by_value(&mut self, place: &Place) -> usize {
        let named =
            Values::new(before(self.text, place.from.saturating_add(MAX_SHAPED))).behind(place.from, place.is_quoted);
        let Some(Name { meaning, start }) = self.names.at_end(before(self.text, named.end)) else { return place.from };
        let Some(quote) = value::quote(after(self.text, named.end)).filter(|_| start >= named.start) else {
            return place.from;
        };
        let behind = named.end.saturating_add(quote.width());
        let (kind, shape) = match meaning {
            Meaning::Value(kind, shape) => (kind, shape),
            Meaning::Scheme => (Kind::Credential, Shape::Any),
            Meaning::Cookies => (Kind::Cookie, Shape::Any),
            Meaning::Named => return place.from,
        };
        if let Some(from) = value_sign(self.text, behind) {
            return self.value(kind, shape, from, true);
        }
        if let Some(from) = tag_end(self.text, place.end, behind) {
            return self.element(kind, shape, from);
        }
        let head = before(self.text, behind.saturating_add(MAX_PART_HEAD));
        let blank_line = [&b"\r\n\r\n"[..], b"\n\n"].iter().find_map(|end| {
            memmem::find(after(head, behind), end).map(|found| behind.saturating_add(found).saturating_add(end.len()))
        });
        let Some(from) = blank_line.filter(|_| is_part_head(after(self.text, behind))) else { return place.from };
        let line = memchr(b'\n', after(self.text, from)).map_or(self.text.len(), |found| from.saturating_add(found));
        let value = trimmed(self.text, from..line);
        self.fitting(kind, shape, value);
        line
    }

    /// Adds the value of each cookie of a line; one without a name, and a list of lines, go as a whole.
    fn cookies(&mut self, line: Range<usize>) {
        let bytes = before(self.text, line.end).get(line.start..).unwrap_or_default();
        if matches!(bytes, [b'{' | b'[', ..]) {
            return self.add(line, Kind::Cookie);
        }
        let mut start = line.start;
        for pair in bytes.split(|byte| *byte == b';') {
            let end = start.saturating_add(pair.len());
            if !FLAGS.iter().any(|flag| pair.trim_ascii().eq_ignore_ascii_case(flag)) {
                let name = memchr(b'=', pair).map_or(0, |sign| sign.saturating_add(1));
                self.add(trimmed(self.text, start.saturating_add(name)..end), Kind::Cookie);
            }
            start = end.saturating_add(1);
        }
    }

    fn fitting(&mut self, kind: Kind<'r>, shape: Shape, value: Range<usize>) {
        let length = self.text.get(value.clone()).and_then(|bytes| names::fits(shape, bytes));
        let Some(length) = length else { return };
        let value = value.start..value.start.saturating_add(length);
        let bytes = self.text.get(value.clone()).unwrap_or_default();
        self.has_number |= shape == Shape::Number;
        if shape.is_weak(bytes) {
            self.weak.push(Hit { start: value.start, end: value.end, kind });
        } else {
            self.add(value, kind);
        }
    }

    fn add(&mut self, value: Range<usize>, kind: Kind<'r>) {
        if self.text.get(value.clone()).is_some_and(|bytes| !is_marked(bytes) && !names::is_constant(bytes)) {
            self.hits.push(Hit { start: value.start, end: value.end, kind });
        }
    }
}

/// Attributes of `Set-Cookie` without a value.
const FLAGS: [&[u8]; 3] = [b"httponly", b"secure", b"partitioned"];

/// Schemes that may stay before what they are for (IANA's registry, and the clouds' own). Any other first word is a secret.
const SCHEMES: [&str; 24] = [
    "apikey",
    "aws",
    "aws4-ecdsa-p256-sha256",
    "aws4-hmac-sha256",
    "basic",
    "bearer",
    "concealed",
    "digest",
    "dpop",
    "gnap",
    "hawk",
    "hoba",
    "hmac",
    "kerberos",
    "mutual",
    "negotiate",
    "ntlm",
    "oauth",
    "privatetoken",
    "scram-sha-1",
    "scram-sha-256",
    "sharedkey",
    "token",
    "vapid",
];

/// What follows the scheme of `line`; all of it if there is none.
fn credentials(text: &[u8], line: Range<usize>) -> Range<usize> {
    let bytes = text.get(line.clone()).unwrap_or_default();
    let word = bytes.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-').count();
    let is_scheme = SCHEMES.iter().any(|scheme| before(bytes, word).eq_ignore_ascii_case(scheme.as_bytes()));
    let from = value::blanks(bytes, word, false);
    let start =
        if is_scheme && from > word && from < bytes.len() { line.start.saturating_add(from) } else { line.start };
    trimmed(text, start..line.end)
}

/// The range without ASCII white space around it.
fn trimmed(text: &[u8], range: Range<usize>) -> Range<usize> {
    let bytes = text.get(range.clone()).unwrap_or_default();
    let start = range.start.saturating_add(bytes.len().saturating_sub(bytes.trim_ascii_start().len()));
    start..start.saturating_add(bytes.trim_ascii().len())
}

/// Behind a field's name: where the sign behind `value` ends (`, "value":` and ` value=`).
fn value_sign(text: &[u8], from: usize) -> Option<usize> {
    let skip = |at: usize| {
        let rest = before(after(text, at), MAX_SHAPED);
        at.saturating_add(rest.iter().take_while(|byte| b", \t\r\n\"'\\".contains(byte)).count())
    };
    let word = skip(from);
    let rest = after(text, word);
    let is_value = rest.get(..5).is_some_and(|word| word.eq_ignore_ascii_case(b"value"));
    let sign = skip(word.saturating_add(5));
    (is_value && matches!(text.get(sign), Some(b':' | b'='))).then_some(sign.saturating_add(1))
}

/// Whether what follows a part's name is the rest of a part's head.
fn is_part_head(text: &[u8]) -> bool {
    matches!(text, [b'\r' | b'\n' | b';', ..])
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
