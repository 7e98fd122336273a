//! Places in files and the faults found there, collected so that a user sees all of them at once.
//! Not here: files' names, which the caller keeps (`Place::file` is its index) and gives back for display.
//! Source: the form `FILE:LINE:COLUMN: what is wrong; what to write instead`.

use std::fmt::Write;

/// Where something stands: the caller's index of the file, and line and column (in characters), both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Index of the file, given by the caller of [`super::parse`].
    pub file: u32,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

/// A value and where it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it was written.
    pub place: Place,
}

/// One thing that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where; none if it concerns no one place, such as a folder without files.
    pub place: Option<Place>,
    /// `what is wrong; what to write instead`: lower case, no full stop, input in backticks.
    pub message: String,
}

impl Fault {
    /// `FILE:LINE:COLUMN: message`; a file that `files` lacks, or no place, leaves the message alone.
    pub fn line(&self, files: &[impl AsRef<str>]) -> String {
        let file = |place: &Place| files.get(usize::try_from(place.file).ok()?);
        match self.place.and_then(|place| Some((place, file(&place)?))) {
            Some((place, file)) => {
                format!("{}:{}:{}: {}", file.as_ref(), place.line, place.column, self.message)
            }
            None => self.message.clone(),
        }
    }
}

/// Upper bound for the faults kept, and so for their memory: a file of 64 MiB may have millions, and nobody reads them.
const MAX_FAULTS: usize = 10_000;

/// The faults found so far, in any order; after 10,000 one more says that the rest is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    list: Vec<Fault>,
    /// Whether what stands in the file may be a secret, and no fault repeats it.
    secret: bool,
}

impl Faults {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// None yet, of a file that holds secrets: no fault repeats what stands there, since a secret may stand anywhere by mistake.
    pub fn of_secrets() -> Self {
        Self { list: Vec::new(), secret: true }
    }

    /// A piece of input for a message, as [`shown`]; of a file that holds secrets it is `…`.
    pub fn shown(&self, text: &str) -> String {
        if self.secret { "`…`".to_owned() } else { shown(text) }
    }

    /// One more.
    pub fn push(&mut self, fault: Fault) {
        if self.list.len() < MAX_FAULTS {
            self.list.push(fault);
        } else if self.list.len() == MAX_FAULTS {
            let message = format!("more than {MAX_FAULTS} faults; the rest is left out, mend these first");
            self.list.push(Fault { place: None, message });
        }
    }

    /// One more, at `place`: `what is wrong; what to write instead`.
    pub fn at(&mut self, place: Place, message: impl Into<String>) {
        self.push(Fault { place: Some(place), message: message.into() });
    }

    /// One more, without a place.
    pub fn nowhere(&mut self, message: impl Into<String>) {
        self.push(Fault { place: None, message: message.into() });
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// The faults by file, line and column; those without a place come last.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        let mut sorted: Vec<&Fault> = self.list.iter().collect();
        sorted.sort_by_key(|fault| order(fault));
        sorted.into_iter()
    }
}

impl Extend<Fault> for Faults {
    fn extend<I: IntoIterator<Item = Fault>>(&mut self, faults: I) {
        for fault in faults {
            self.push(fault);
        }
    }
}

impl IntoIterator for Faults {
    type Item = Fault;
    type IntoIter = std::vec::IntoIter<Fault>;

    /// The faults by place, as [`Faults::iter`].
    fn into_iter(mut self) -> Self::IntoIter {
        self.list.sort_by_key(order);
        self.list.into_iter()
    }
}

fn order(fault: &Fault) -> (bool, Option<Place>) {
    (fault.place.is_none(), fault.place)
}

/// Upper bound in characters for a piece of input repeated in a message: enough to find it again.
const MAX_SHOWN: usize = 80;

/// A piece of input for a message: in backticks, control characters escaped, cut after 80 characters.
pub fn shown(text: &str) -> String {
    let mut out = String::from("`");
    for c in text.chars().take(MAX_SHOWN) {
        if c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            // Writing to a `String` cannot fail.
            let _ = write!(out, "{}", c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    if text.chars().nth(MAX_SHOWN).is_some() {
        out.push('…');
    }
    out.push('`');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(file: u32, line: u32, column: u32) -> Place {
        Place { file, line, column }
    }

    #[test]
    fn in_the_order_of_places() {
        let mut faults = Faults::new();
        assert!(faults.is_empty());
        faults.nowhere("last");
        faults.at(place(1, 1, 1), "fourth");
        faults.at(place(0, 2, 9), "second");
        faults.at(place(0, 2, 9), "third");
        faults.extend([Fault { place: Some(place(0, 2, 1)), message: "first".to_owned() }]);
        let lines: Vec<String> = faults.iter().map(|fault| fault.line(&["a.yaml", "b.yaml"])).collect();
        let want = ["a.yaml:2:1: first", "a.yaml:2:9: second", "a.yaml:2:9: third", "b.yaml:1:1: fourth", "last"];
        assert_eq!(lines, want);
        assert_eq!(faults.len(), want.len());
        assert_eq!(faults.into_iter().map(|fault| fault.line(&["a.yaml", "b.yaml"])).collect::<Vec<_>>(), want);
    }

    #[test]
    fn a_file_that_is_not_known_leaves_the_message() {
        let fault = Fault { place: Some(place(7, 1, 1)), message: "x; y".to_owned() };
        assert_eq!(fault.line(&["a.yaml"]), "x; y");
    }

    #[test]
    fn there_is_an_end_to_faults() {
        let mut faults = Faults::new();
        faults.extend((0..3 * MAX_FAULTS).map(|_| Fault { place: Some(place(0, 1, 1)), message: String::new() }));
        assert_eq!(faults.len(), MAX_FAULTS + 1);
        assert!(faults.iter().last().unwrap().message.starts_with("more than 10000 faults"));
    }

    #[test]
    fn input_that_may_be_a_secret_is_in_no_message() {
        assert_eq!(Faults::new().shown("a b"), "`a b`");
        assert_eq!(Faults::of_secrets().shown("a b"), "`…`");
    }

    #[test]
    fn input_in_messages() {
        for (text, want) in
            [("a b", "`a b`"), ("a\nb\u{1b}", r"`a\u{a}b\u{1b}`"), ("\u{202e}x", r"`\u{202e}x`"), ("é", "`é`")]
        {
            assert_eq!(shown(text), want, "{text:?}");
        }
        assert_eq!(shown(&"é".repeat(81)), format!("`{}…`", "é".repeat(80)));
    }
}
