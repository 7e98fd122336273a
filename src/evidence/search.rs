//! What a search for card data came to: files with their digests, finds by place and kind, a verdict for each requirement of PCI DSS.
//! Not here: searching (`redact::Stream`), reading files (`cli`). No part of what was found is in it. Pure.
//! Source: PCI DSS 4.0.1, 3.3.1.1 to 3.3.1.3 (what is never kept), 3.5.1 (card numbers unreadable), 3.5.1.d (assessors look into logs).

use std::fmt;

use serde::Serialize;

use crate::redact::{Counts, Detector, Find, Redacted};

/// The version of this form.
const SEARCH_VERSION: u64 = 1;

/// Upper bound of places that are told for a file; more are counted.
pub const MAX_PLACES: usize = 100;

/// Upper bound of places that are told in all; more are counted.
const MAX_PLACES_IN_ALL: u64 = 100_000;

/// Upper bound of files that are listed, and of those that were not searched; more are counted.
const MAX_FILES: usize = 100_000;

/// What no search of bytes sees.
const BLIND_SPOTS: [&str; 4] = [
    "what is encrypted",
    "what is compressed other than with zstd, and zstd within other files",
    "pictures, sound and scanned documents",
    "text in encodings that ASCII is no part of, such as EBCDIC",
];

/// The whole. Field names are what its readers rely on; times are RFC 3339 in UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the manual describes the report, field by field")]
pub struct Search {
    pub search: u64,
    pub made_at: String,
    pub made_by: String,
    pub given: Vec<Redacted>,
    pub config: Option<String>,
    pub searched_for: Vec<&'static str>,
    pub verdicts: Vec<Verdict>,
    pub total: Total,
    pub files: Vec<Searched>,
    pub files_left_out: u64,
    pub names: Vec<FoundInName>,
    pub names_left_out: u64,
    pub not_searched: Vec<NotSearched>,
    pub not_searched_left_out: u64,
    pub cannot_see: [&'static str; 4],
    #[serde(skip)]
    places: u64,
}

/// All files together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Total {
    /// Files that were searched to their end.
    pub files: u64,
    /// Files in which something was found.
    pub files_with_finds: u64,
    /// Files that were named or met, and could not be read to their end.
    pub unreadable: u64,
    /// Bytes of the files, before they are decompressed.
    pub bytes: u64,
    /// What was found.
    pub finds: Counts,
    /// Marks of this product: there something was found before, and not written.
    pub marks: u64,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Searched {
    /// Its name, cleaned like any other text.
    pub name: Redacted,
    /// Its length, or how much of it was read.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal, if it was read to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The bytes searched, if they are another number: it was decompressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decompressed: Option<u64>,
    /// What was found.
    pub finds: Counts,
    /// The first places.
    pub places: Vec<FoundAt>,
    /// Places beyond [`MAX_PLACES`], or beyond the bound of all files together.
    pub places_left_out: u64,
    /// Marks of this product.
    pub marks: u64,
}

/// A find.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FoundAt {
    /// From 1; absent: the file has no lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// In bytes, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u64>,
    /// In bytes, from 0; of what was decompressed.
    pub offset: u64,
    /// In words.
    pub what: String,
}

/// A find in the name of a file or folder itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FoundInName {
    /// The name, cleaned.
    pub name: Redacted,
    /// In words.
    pub what: String,
}

/// Something that was not searched, or not to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotSearched {
    /// Its name, cleaned.
    pub name: Redacted,
    /// Why.
    pub why: String,
}

/// What the search says about a requirement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Of PCI DSS.
    pub requirement: &'static str,
    /// What it forbids to be there.
    pub forbids: &'static str,
    /// How many were found.
    pub found: u64,
    /// `violated`: found; `nothing_found`: in files that were all searched to their end; `incomplete`: nothing was found, and something
    /// was left out, or there was nothing to search.
    pub verdict: &'static str,
}

/// Each requirement, what it forbids, and who finds that. A track has the card number in it.
const REQUIREMENTS: [(&str, &str, &[Detector]); 4] = [
    ("3.3.1.1", "track data", &[Detector::Track]),
    ("3.3.1.2", "card verification codes", &[Detector::SecurityCode]),
    ("3.3.1.3", "PINs and PIN blocks", &[Detector::Pin]),
    ("3.5.1", "readable card numbers", &[Detector::CardNumber, Detector::Track]),
];

impl FoundAt {
    /// Where and what; without lines by offset alone.
    pub fn new(find: &Find<'_>, has_lines: bool) -> Self {
        let place = find.place;
        let [line, column] = [place.line, place.column].map(|number| has_lines.then_some(number));
        Self { line, column, offset: place.offset, what: find.words() }
    }
}

/// `:12:5: pan visa 16 digits`, or `@1234: …` without lines: to stand behind the file's name.
impl fmt::Display for FoundAt {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (Some(line), Some(column)) => write!(out, ":{line}:{column}: {}", self.what),
            _ => write!(out, "@{}: {}", self.offset, self.what),
        }
    }
}

/// `4111….log: in its name: pan visa 16 digits`, with a mark in the name.
impl fmt::Display for FoundInName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: in its name: {}", self.name, self.what)
    }
}

impl Search {
    /// Begins one. `given`: the arguments; `config`: the configuration whose private fields are searched for too.
    pub fn new(made_at: String, made_by: String, given: Vec<Redacted>, config: Option<String>) -> Self {
        Self {
            search: SEARCH_VERSION,
            made_at,
            made_by,
            given,
            config,
            searched_for: Detector::ALL.into_iter().filter(is_searched_for).map(Detector::name).collect(),
            verdicts: Vec::new(),
            total: Total::default(),
            files: Vec::new(),
            files_left_out: 0,
            names: Vec::new(),
            names_left_out: 0,
            not_searched: Vec::new(),
            not_searched_left_out: 0,
            cannot_see: BLIND_SPOTS,
            places: 0,
        }
    }

    /// Adds a file that was searched to its end.
    pub fn add(&mut self, file: Searched) {
        self.total.files = self.total.files.saturating_add(1);
        self.count(file);
    }

    /// Adds a file that could not be read to its end: what was found until then counts.
    pub fn add_part(&mut self, file: Searched, why: &str) {
        self.fail(file.name.clone(), why);
        self.count(file);
    }

    /// Adds what was found in a name.
    pub fn add_name(&mut self, finds: &Counts, found: Vec<FoundInName>) {
        self.total.finds.add(finds);
        found.into_iter().for_each(|found| push(&mut self.names, &mut self.names_left_out, found));
    }

    fn count(&mut self, mut file: Searched) {
        let room = usize::try_from(MAX_PLACES_IN_ALL.saturating_sub(self.places)).unwrap_or(usize::MAX);
        let over = file.places.len().saturating_sub(room);
        file.places.truncate(room);
        let [over, told] = [over, file.places.len()].map(|count| u64::try_from(count).unwrap_or(u64::MAX));
        file.places_left_out = file.places_left_out.saturating_add(over);
        self.places = self.places.saturating_add(told);
        let total = &mut self.total;
        total.files_with_finds = total.files_with_finds.saturating_add(u64::from(file.finds.total() > 0));
        total.bytes = total.bytes.saturating_add(file.bytes);
        total.finds.add(&file.finds);
        total.marks = total.marks.saturating_add(file.marks);
        push(&mut self.files, &mut self.files_left_out, file);
    }

    /// Adds what was not searched: it is no regular file.
    pub fn skip(&mut self, name: Redacted, why: &str) {
        push(&mut self.not_searched, &mut self.not_searched_left_out, NotSearched { name, why: why.to_owned() });
    }

    /// Adds what should have been searched, and could not be.
    pub fn fail(&mut self, name: Redacted, why: &str) {
        self.total.unreadable = self.total.unreadable.saturating_add(1);
        self.skip(name, why);
    }

    /// Ends it: the verdicts are made.
    #[must_use]
    pub fn finish(mut self) -> Self {
        let found = self.total.finds.detectors();
        let is_whole = self.not_searched.is_empty() && self.total.files > 0;
        let verdict = |(requirement, forbids, detectors): (_, _, &[Detector])| {
            let found = detectors.iter().filter_map(|detector| found.get(detector)).sum();
            let verdict = match (found, is_whole) {
                (1.., _) => "violated",
                (0, true) => "nothing_found",
                (0, false) => "incomplete",
            };
            Verdict { requirement, forbids, found, verdict }
        };
        self.verdicts = REQUIREMENTS.map(verdict).to_vec();
        self
    }

    /// In one line.
    pub fn summary(&self) -> String {
        let Total { files, unreadable, bytes, finds, marks, .. } = &self.total;
        let unreadable = if *unreadable > 0 { format!(", {unreadable} unreadable") } else { String::new() };
        format!("found {finds} in {files} files, {bytes} bytes{unreadable}; {marks} marks of earlier redaction")
    }

    /// The report for people.
    pub fn text(&self) -> String {
        let mut lines = vec![
            "Search for card data, for PCI DSS 3.3.1 and 3.5.1".to_owned(),
            String::new(),
            format!("made at       {}", self.made_at),
            format!("made by       {}", self.made_by),
            format!("arguments     {}", self.given.iter().map(Redacted::as_str).collect::<Vec<_>>().join(" ")),
            format!("configuration {}", self.config.as_deref().unwrap_or("none")),
            format!("searched for  {}", self.searched_for.join(", ")),
            format!("result        {}", self.summary()),
            String::new(),
            "Verdicts".to_owned(),
        ];
        lines.extend(self.verdicts.iter().map(Verdict::line));
        lines.extend([String::new(), "Finds".to_owned()]);
        lines.extend(self.total.finds.marks().map(|(mark, count)| format!("{count:>12}  {mark}")));
        lines.extend([String::new(), "Files".to_owned()]);
        lines.extend(self.files.iter().flat_map(Searched::lines));
        lines.extend(left_out(self.files_left_out));
        lines.extend([String::new(), "Names".to_owned()]);
        lines.extend(self.names.iter().map(|found| format!("  {found}")));
        lines.extend(left_out(self.names_left_out));
        lines.extend([String::new(), "Not searched, or not to the end".to_owned()]);
        lines.extend(self.not_searched.iter().map(|file| format!("  {}: {}", file.name, file.why)));
        lines.extend(left_out(self.not_searched_left_out));
        lines.extend([String::new(), "This search can't see".to_owned()]);
        lines.extend(self.cannot_see.map(|what| format!("  {what}")));
        lines.join("\n")
    }
}

impl Verdict {
    fn line(&self) -> String {
        let says = match self.verdict {
            "violated" => format!("violated: {} found", self.found),
            "incomplete" => "incomplete: none found, and not all was searched".to_owned(),
            _ => "none found".to_owned(),
        };
        format!("  {:<8} {}: {says}", self.requirement, self.forbids)
    }
}

impl Searched {
    fn lines(&self) -> impl Iterator<Item = String> {
        let Self { name, bytes, sha256, finds, marks, .. } = self;
        let decompressed = self.decompressed.map(|bytes| format!(" ({bytes} decompressed)")).unwrap_or_default();
        let digest =
            sha256.as_ref().map_or_else(|| "not read to its end".to_owned(), |digest| format!("sha256 {digest}"));
        let head = format!("  {name}  {bytes} bytes{decompressed}  {digest}  found {finds}  marks {marks}");
        let places = self.places.iter().map(move |place| format!("    {name}{place}"));
        [head].into_iter().chain(places).chain(left_out(self.places_left_out))
    }
}

fn left_out(count: u64) -> Option<String> {
    (count > 0).then(|| format!("    and {count} more"))
}

fn push<T>(list: &mut Vec<T>, left_out: &mut u64, item: T) {
    if list.len() < MAX_FILES {
        list.push(item);
    } else {
        *left_out = left_out.saturating_add(1);
    }
}

/// What changes a text without being secret is no find.
fn is_searched_for(detector: &Detector) -> bool {
    !matches!(detector, Detector::Control | Detector::InvalidUtf8 | Detector::TooLong | Detector::Withheld)
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
