//! Searches text that comes in pieces: gives it again piece by piece, with what was found and where. Pure.
//! Not here: what is found (`scan`), files and streams (`cli`). Bytes that are not found stay as they are: this is no cleaner of records.
//! What is found depends on the text alone, never on where it was split.

use std::mem;

use super::counts::Counts;
use super::kind::{self, Hit, Kind};
use super::{Detector, Redactor, open, span};

/// Upper bound in bytes of what is searched at once, and so of what is held. A longer line is searched in windows.
pub const MAX_WINDOW: usize = 64 * 1024;

/// Windows overlap by this part of one, and a next one has as much of what was given out already, for names and what touches a number.
/// An eighth, 8 KiB, is more than any find but values without an end, which stay open.
const PART: usize = 8;

/// What is kept of the end of a find that reaches the window's end: an escape that it may end in.
const TAIL: usize = 64;

/// Upper bound in lines of a private key: one of RSA with 16,384 bits has 200. What begins like one and has no end takes no more with it.
const MAX_KEY_LINES: u32 = 512;

/// A search over text in pieces. Holds at most [`MAX_WINDOW`] bytes of it, whatever comes.
pub struct Stream<'r> {
    redactor: &'r Redactor,
    window: usize,
    /// The line that has begun, with those before it that end in a name; or a window of them.
    held: Vec<u8>,
    /// So much of it has been given out and is there as context.
    given: usize,
    /// What was given last.
    last: Last,
    /// Lines that the private key may still have in which the text is.
    key_lines: Option<u32>,
    /// So many more lines are searched together with the one that has begun: what is held ends in a name.
    open_lines: u32,
    next: Place,
    counts: Counts,
    marks: u64,
}

/// What stands right before what has not been given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Text,
    /// A find that has ended.
    Find,
    /// A find that goes on, for all that is known. It begins at `start` of what is held.
    Open {
        start: usize,
    },
}

/// What is given out, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'p, 'r> {
    /// As it came.
    Text(&'p [u8]),
    /// What stands here is not to be written.
    Found(Find<'r>),
}

/// What was found, and where it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Find<'r> {
    /// Where.
    pub place: Place,
    kind: Kind<'r>,
    quotation: &'static str,
}

/// Where something stands in the whole text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// In bytes, from 0.
    pub offset: u64,
    /// From 1.
    pub line: u64,
    /// In bytes, from 1.
    pub column: u64,
}

impl Find<'_> {
    /// Who found it.
    pub fn detector(&self) -> Detector {
        self.kind.detector()
    }

    /// What to write in its place, such as `[PAN:visa:16]`; in quotation marks where JSON needs them.
    pub fn mark(&self) -> String {
        format!("{0}{1}{0}", self.quotation, self.kind)
    }

    /// In words, such as `pan visa 16 digits`. No part of what was found.
    pub fn words(&self) -> String {
        self.kind.words()
    }
}

impl<'r> Stream<'r> {
    /// Begins a text.
    pub fn new(redactor: &'r Redactor) -> Self {
        Self {
            redactor,
            window: MAX_WINDOW,
            held: Vec::new(),
            given: 0,
            last: Last::Text,
            key_lines: None,
            open_lines: 0,
            next: Place { offset: 0, line: 1, column: 1 },
            counts: Counts::default(),
            marks: 0,
        }
    }

    /// What was found so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// How many marks stood in the text before.
    pub fn marks(&self) -> u64 {
        self.marks
    }

    /// Takes the next piece of the text, and gives what is certain now.
    pub fn push(&mut self, chunk: &[u8], each: &mut dyn FnMut(Piece<'_, 'r>)) {
        let (mut from, mut clean) = (0, 0);
        let ends = memchr::memchr_iter(b'\n', chunk).map(|at| at.saturating_add(1));
        for end in ends.chain([chunk.len()]) {
            let line = chunk.get(from..end).unwrap_or_default();
            if !self.passes(line) {
                text(chunk.get(clean..from), each);
                self.take(line, each);
                clean = end;
            }
            from = end;
        }
        text(chunk.get(clean..), each);
    }

    /// Ends the text, and gives what was held.
    pub fn finish(&mut self, each: &mut dyn FnMut(Piece<'_, 'r>)) {
        let is_open = self.open_lines > 0 && self.held.len() > self.given && self.held.ends_with(b"\n");
        if is_open {
            self.held.pop();
        }
        self.end_line(each);
        if is_open && self.key_lines.is_none() {
            self.text(Some(b"\n"), each);
        }
    }

    /// Whether `line` is a whole one in which nothing is found; then it is counted.
    fn passes(&mut self, line: &[u8]) -> bool {
        let is_alone = self.held.is_empty() && self.key_lines.is_none() && line.len() <= self.window;
        let Some(text) = line.strip_suffix(b"\n").filter(|_| is_alone) else { return line.is_empty() };
        let rules = &self.redactor.rules;
        if open::lines(text, &rules.fields) > 0 || !span::find(text, rules).is_empty() {
            return false;
        }
        self.marks = self.marks.saturating_add(span::marks(text, 0..text.len()));
        self.next.pass(line);
        true
    }

    /// Takes a line, or a part of one.
    fn take(&mut self, line: &[u8], each: &mut dyn FnMut(Piece<'_, 'r>)) {
        let (mut rest, has_ended) = line.strip_suffix(b"\n").map_or((line, false), |line| (line, true));
        loop {
            let room = self.window.saturating_sub(self.held.len());
            let (now, later) = rest.split_at_checked(room).unwrap_or((rest, b""));
            self.held.extend_from_slice(now);
            rest = later;
            if rest.is_empty() {
                break;
            }
            self.end_window(each);
        }
        if has_ended && !self.stays_open(each) {
            self.end_line(each);
            if self.key_lines.is_none() {
                text(Some(b"\n"), each);
            }
            self.next.pass(b"\n");
        }
    }

    /// Whether the next line belongs to what is held, the end of this line with it.
    fn stays_open(&mut self, each: &mut dyn FnMut(Piece<'_, 'r>)) -> bool {
        if self.key_lines.is_some() {
            return false;
        }
        let start = memchr::memrchr(b'\n', &self.held).map_or(0, |end| end.saturating_add(1));
        let line = self.held.get(start..).unwrap_or_default();
        self.open_lines = open::lines(line, &self.redactor.rules.fields).max(self.open_lines.saturating_sub(1));
        if self.open_lines > 0 {
            if self.held.len() == self.window {
                self.end_window(each);
            }
            self.held.push(b'\n');
        }
        self.open_lines > 0
    }

    /// The line has ended with those that are held, or the text.
    fn end_line(&mut self, each: &mut dyn FnMut(Piece<'_, 'r>)) {
        if self.is_inside_key(each) {
            self.key_lines = self.key_lines.and_then(|lines| lines.checked_sub(1)).filter(|lines| *lines > 0);
            self.pass_key(self.held.len(), each);
        } else {
            let held = mem::take(&mut self.held);
            self.give(&held, held.len(), each);
            self.key_lines = span::is_inside_private_key(&held).then_some(MAX_KEY_LINES);
            self.held = held;
        }
        self.held.clear();
        (self.given, self.last, self.open_lines) = (0, Last::Text, 0);
    }

    /// The window is full, and the line goes on.
    fn end_window(&mut self, each: &mut dyn FnMut(Piece<'_, 'r>)) {
        if self.is_inside_key(each) {
            self.pass_key(self.held.len().saturating_sub(span::MAX_LINE), each);
        } else if self.held.len() == self.window {
            let held = mem::take(&mut self.held);
            self.give(&held, self.window.saturating_sub(self.part()), each);
            self.held = match self.last {
                Last::Open { start } => self.without_middle(&held, start),
                Last::Text | Last::Find => self.without_front(&held),
            };
        }
    }

    /// Whether all that is held belongs to a private key that began before. What stands behind the key's end does not, and is left;
    /// a line that is none of a key's ends it as well.
    fn is_inside_key(&mut self, each: &mut dyn FnMut(Piece<'_, 'r>)) -> bool {
        if self.key_lines.is_some() {
            if let Some(end) = span::end_of_private_key(&self.held) {
                self.pass_key(end, each);
                self.key_lines = None;
            } else if !span::is_key_line(&self.held) {
                text(Some(b"\n"), each);
                self.key_lines = None;
            }
        }
        self.key_lines.is_some()
    }

    /// Passes what belongs to a private key, up to `to`. What is found there is told: a key without an end hides nothing.
    fn pass_key(&mut self, to: usize, each: &mut dyn FnMut(Piece<'_, 'r>)) {
        let later = self.held.split_off(to);
        let key = mem::replace(&mut self.held, later);
        let mut from = 0;
        for hit in span::find(&key, &self.redactor.rules) {
            self.next.pass(key.get(from..hit.start).unwrap_or_default());
            self.counts.count(hit.kind);
            each(Piece::Found(Find { place: self.next, kind: hit.kind, quotation: "" }));
            from = hit.start;
        }
        self.next.pass(key.get(from..).unwrap_or_default());
    }

    /// Gives what is held up to `to`, and to the end of what is found there.
    fn give(&mut self, held: &[u8], to: usize, each: &mut dyn FnMut(Piece<'_, 'r>)) {
        let spans = self.spans(held);
        let (given, mut from) = (self.given, self.given);
        let mut last = Last::Text;
        for span in spans.iter().filter(|span| span.end > given && (span.start < to || to == held.len())) {
            self.text(held.get(from..span.start), each);
            if span.start >= given || self.last == Last::Text {
                self.counts.count(span.kind);
                let quotation = kind::quotation(held, span.start, span.end);
                each(Piece::Found(Find { place: self.next, kind: span.kind, quotation }));
            }
            self.next.pass(held.get(from.max(span.start)..span.end).unwrap_or_default());
            from = span.end;
            last = if from == held.len() { Last::Open { start: span.start } } else { Last::Find };
        }
        if from < to {
            self.text(held.get(from..to), each);
            last = Last::Text;
        }
        self.marks = self.marks.saturating_add(span::marks(held, self.given..from.max(to)));
        (self.given, self.last) = (from.max(to), last);
    }

    /// What is found in what is held. A find that was open and that is not found any more without its middle ends where a word does.
    fn spans(&self, held: &[u8]) -> Vec<Hit<'r>> {
        let mut spans = span::find(held, &self.redactor.rules);
        if memchr::memchr(b'\n', held).is_some() {
            spans = span::join(spans, self.in_lines(held));
        }
        if let Last::Open { start } = self.last
            && !spans.iter().any(|span| span.start < self.given && self.given <= span.end)
        {
            let rest = held.get(self.given..).unwrap_or_default();
            let length = rest.iter().position(|byte| is_end_of_word(*byte)).unwrap_or(rest.len());
            let open = Hit { start, end: self.given.saturating_add(length), kind: Kind::Secret };
            spans.retain(|span| span.start >= open.end);
            spans.insert(0, open);
        }
        spans
    }

    /// What is found in each line alone: what stands on the lines around it takes nothing from that.
    fn in_lines(&self, held: &[u8]) -> Vec<Hit<'r>> {
        let (mut hits, mut at) = (Vec::new(), 0_usize);
        for line in held.split(|byte| *byte == b'\n') {
            let place = |hit: Hit<'r>| Hit {
                start: hit.start.saturating_add(at),
                end: hit.end.saturating_add(at),
                kind: hit.kind,
            };
            hits.extend(span::find(line, &self.redactor.rules).into_iter().map(place));
            at = at.saturating_add(line.len()).saturating_add(1);
        }
        hits
    }

    fn text(&mut self, piece: Option<&[u8]>, each: &mut dyn FnMut(Piece<'_, 'r>)) {
        self.next.pass(piece.unwrap_or_default());
        text(piece, each);
    }

    fn part(&self) -> usize {
        self.window / PART
    }

    /// What is held without what is too far back to matter.
    fn without_front(&mut self, held: &[u8]) -> Vec<u8> {
        let start = self.given.saturating_sub(self.part());
        self.given = self.given.saturating_sub(start);
        held.get(start..).unwrap_or_default().to_vec()
    }

    /// What is held without the inner part of the find that begins at `start` and is open: as much before it as matters, its head and its tail.
    fn without_middle(&mut self, held: &[u8], start: usize) -> Vec<u8> {
        let front = start.saturating_sub(self.part());
        let head = start.saturating_add(TAIL).min(held.len());
        let tail = held.len().saturating_sub(TAIL).max(head);
        let kept = [held.get(front..head), held.get(tail..)].map(Option::unwrap_or_default).concat();
        self.given = kept.len();
        self.last = Last::Open { start: start.saturating_sub(front) };
        kept
    }
}

impl Place {
    fn pass(&mut self, text: &[u8]) {
        let bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
        self.offset = self.offset.saturating_add(bytes);
        let Some(last) = memchr::memrchr(b'\n', text) else {
            self.column = self.column.saturating_add(bytes);
            return;
        };
        let lines = memchr::memchr_iter(b'\n', text).count();
        self.line = self.line.saturating_add(u64::try_from(lines).unwrap_or(u64::MAX));
        self.column = u64::try_from(text.len().saturating_sub(last)).unwrap_or(u64::MAX);
    }
}

fn text<'r>(piece: Option<&[u8]>, each: &mut dyn FnMut(Piece<'_, 'r>)) {
    if let Some(piece) = piece.filter(|piece| !piece.is_empty()) {
        each(Piece::Text(piece));
    }
}

/// Where a value ends whose form is not known any more.
fn is_end_of_word(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'&' | b',' | b';' | b'<')
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
