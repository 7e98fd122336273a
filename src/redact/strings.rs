//! In which quoted texts a place stands: whether a quotation mark there ends one. Pure; one pass over the text, from the left.
//! Not here: where a value in quotation marks ends (`value`).
//! Source: RFC 8259 section 7 (each text quoted once more has twice the backslashes, and one); apostrophes of prose are none.

use memchr::memchr2;

use super::value::{Quote, after, before, blank, quote};

/// How often text in quotation marks is quoted again before its marks are taken for one kind.
const MAX_LEVELS: usize = 6;

/// Upper bound in backslashes that are counted before a mark: those of [`MAX_LEVELS`].
const MAX_SLASHES: usize = 64;

/// The quoted texts that are open at a place, by mark and level.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Strings {
    upto: usize,
    double: [bool; MAX_LEVELS],
    single: [bool; MAX_LEVELS],
}

impl Strings {
    /// Those open at `at`; none if a place behind it was asked for before.
    pub(super) fn at(&mut self, text: &[u8], at: usize) -> Strings {
        if at < self.upto {
            return Strings::default();
        }
        while let Some(found) = memchr2(b'"', b'\'', text.get(self.upto..at).unwrap_or_default()) {
            let mark = self.upto.saturating_add(found);
            self.upto = mark.saturating_add(1);
            self.turn(text, mark);
        }
        self.upto = at;
        *self
    }

    /// The mark at `mark` opens or closes: with a text those in it end, too. A single one may be an apostrophe and ends no others.
    fn turn(&mut self, text: &[u8], mark: usize) {
        let slashes = before(text, mark).iter().rev().take(MAX_SLASHES).take_while(|byte| **byte == b'\\').count();
        let level = level(slashes);
        let is_letter = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let is_double = text.get(mark) == Some(&b'"');
        if !is_double && is_letter(before(text, mark).last()) && is_letter(text.get(mark.saturating_add(1))) {
            return;
        }
        let mine = if is_double { &mut self.double } else { &mut self.single };
        if let Some(open) = mine.get_mut(level) {
            *open = !*open;
        }
        if is_double {
            self.single.iter_mut().skip(level).for_each(|open| *open = false);
            self.double.iter_mut().skip(level.saturating_add(1)).for_each(|open| *open = false);
        }
    }

    /// Whether any is open.
    pub(super) fn is_any(self) -> bool {
        self.double.iter().chain(&self.single).any(|open| *open)
    }

    /// Whether a text that this mark can close is open.
    pub(super) fn is_open(self, quote: Quote) -> bool {
        let open = if quote.byte == b'"' { self.double } else { self.single };
        open.get(level(quote.depth)).is_some_and(|open| *open)
    }

    /// Whether this mark, with which `text` begins, ends one of them.
    pub(super) fn ends(self, text: &[u8], quote: Quote) -> bool {
        self.is_open(quote) && may_close(text, quote)
    }
}

/// How often a text is quoted whose marks have so many backslashes, whatever escaped ones stand before them.
fn level(slashes: usize) -> usize {
    let level = usize::try_from(slashes.saturating_add(1).trailing_zeros()).unwrap_or(MAX_LEVELS);
    level.min(MAX_LEVELS.saturating_sub(1))
}

/// Whether what follows the mark with which `text` begins is what follows a quoted text.
pub(super) fn may_close(text: &[u8], mark: Quote) -> bool {
    let rest = after(text, mark.width());
    matches!(rest, [] | [b',' | b'}' | b']' | b')' | b':' | b';' | b'>', ..])
        || blank(rest).is_some()
        || quote(rest).is_some_and(|next| next.depth < mark.depth)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_quoted_texts_are_told_from_their_starts() {
        for (text, want) in [
            (r#"{"msg":"a token:|","b":1}"#, true),
            (r#"{"msg":"a","token":|"","b":1}"#, false),
            (r#"token=|"", a"#, false),
            (r#""a token:|""#, true),
            (r#"5" token=|"a""#, false),
            (r#"{"a":"x\\","token":|","}"#, false),
            (r#"{"a":"{\"msg\":\"a token:|\",\"b\":1}"}"#, true),
            (r#"{"a":"{\"msg\":\"a token:|\""}"#, true),
            (r#"{"a":"\" token:|","b":1}"#, true),
            ("{'msg': 'a token:|', 'b': 1}", true),
            (r#"{"a":"{\"b\":\"' token:|\"}"}"#, true),
            ("it's a token:|', b", false),
            (r#"{"a":"it's","b":"token:|'', c"}"#, false),
        ] {
            let at = text.find('|').unwrap();
            let text = text.replace('|', "");
            let rest = after(text.as_bytes(), at);
            let ends = Strings::default().at(text.as_bytes(), at).ends(rest, quote(rest).unwrap());
            assert_eq!(ends, want, "`{text}`");
        }
    }

    #[test]
    fn a_place_before_one_that_was_asked_for_is_in_no_text() {
        let mut strings = Strings::default();
        let quote = Quote { byte: b'"', depth: 0 };
        assert!(strings.at(b"a \"b c\"", 5).is_open(quote));
        assert!(!strings.at(b"a \"b c\"", 4).is_open(quote));
    }
}
