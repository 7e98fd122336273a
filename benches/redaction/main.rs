//! How good and how fast redaction is, beside Presidio's recogniser of card numbers on the same texts: recall by form, false hits in a
//! million clean lines, MB a second, ns a record. `cargo bench --bench redaction [-- --page FILE]` prints tables, or writes them there.
//! Not here: the texts (`tests/corpus`). Tests assert recall and false hits; nothing asserts times.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark that cannot be set up stops; it prints a table"
)]

#[path = "../../tests/corpus/mod.rs"]
mod corpus;
mod page;
mod peer;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use corpus::clean::Clean;
use corpus::{Positive, clean};
use sallyport::redact::{Piece, Redactor, Stream};

/// Lines that are searched for false hits.
const CLEAN_LINES: usize = 1_000_000;

/// Bytes of JSON lines that are timed.
const TIMED: usize = 64_000_000;

/// The texts of a record that come from peers: the name asked for, that of the hello, the protocol.
const RECORD: [&str; 3] = ["api.customer-seven.example", "api.customer-seven.example", "http/1.1"];

/// How often what takes long and what takes short is timed; the quickest counts.
const TIMES: usize = 5;
const RECORDS: u32 = 200_000;

/// What one product comes to.
pub(crate) struct Figures {
    pub(crate) name: String,
    /// How many were found of each form.
    pub(crate) found: BTreeMap<String, u64>,
    pub(crate) false_hits: u64,
    pub(crate) mb_per_s: f64,
    pub(crate) ns_per_record: f64,
}

/// What they are measured by.
pub(crate) struct Texts {
    pub(crate) positives: Vec<Positive>,
    pub(crate) clean: Vec<String>,
    pub(crate) timed: String,
}

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let to = args.next().filter(|arg| arg == "--page").map(|_| args.next().expect("`--page` names a file"));
    let texts = texts();
    let figures: Vec<Figures> = [Some(ours(&texts)), peer::presidio(&texts)].into_iter().flatten().collect();
    let tables = page::tables(&texts, &figures, &devices());
    match to {
        None => println!("{tables}"),
        Some(path) => page::write(&path, &tables),
    }
}

fn texts() -> Texts {
    let mut clean = Clean::new(corpus::CLEAN_SEED);
    let clean: Vec<String> = (0..CLEAN_LINES).map(|_| clean.line()).collect();
    let mut timed = String::with_capacity(TIMED);
    for line in clean.iter().filter(|line| line.starts_with('{')).cycle().take_while({
        let mut bytes = 0;
        move |line| {
            bytes += line.len() + 1;
            bytes <= TIMED
        }
    }) {
        timed.push_str(line);
        timed.push('\n');
    }
    Texts { positives: corpus::positives(), clean, timed }
}

/// What comes out of a text, and how many card numbers were found in it.
fn redacted(redactor: &Redactor, text: &str) -> (Vec<u8>, u64) {
    let mut stream = Stream::new(redactor);
    let mut out = Vec::with_capacity(text.len());
    let mut each = |piece: Piece<'_, '_>| match piece {
        Piece::Text(text) => out.extend_from_slice(text),
        Piece::Found(find) => out.extend_from_slice(find.mark().as_bytes()),
    };
    for chunk in text.as_bytes().chunks(256 * 1024) {
        stream.push(chunk, &mut each);
    }
    stream.finish(&mut each);
    let cards = stream.counts().detectors().into_iter().filter(|(detector, _)| detector.name() == "pan");
    (out, cards.map(|(_, count)| count).sum())
}

fn ours(texts: &Texts) -> Figures {
    let redactor = Redactor::default();
    let mut found = BTreeMap::new();
    for positive in &texts.positives {
        let (out, cards) = redacted(&redactor, &positive.text);
        let is_found = cards > 0 && !positive.survives_in(&out);
        *found.entry(positive.form.to_owned()).or_default() += u64::from(is_found);
    }
    let false_hits = texts.clean.iter().map(|line| redacted(&redactor, line).1).sum();
    let whole = quickest(|| drop(black_box(redacted(&redactor, &texts.timed))));
    let record = quickest(|| {
        for _ in 0..RECORDS {
            for text in RECORD {
                black_box(redactor.clean_name(black_box(text.as_bytes()), 253));
            }
        }
    });
    Figures {
        name: format!("sallyport {}", env!("CARGO_PKG_VERSION")),
        found,
        false_hits,
        mb_per_s: texts.timed.len() as f64 / 1e6 / whole.as_secs_f64(),
        ns_per_record: record.as_secs_f64() * 1e9 / f64::from(RECORDS),
    }
}

fn quickest(work: impl Fn()) -> Duration {
    let times = (0..TIMES).map(|_| {
        let begun = Instant::now();
        work();
        begun.elapsed()
    });
    times.min().unwrap_or_default()
}

/// Of ten thousand numbers of devices each, which have a card's check digit, how many are taken for a card's.
fn devices() -> [(&'static str, usize); 2] {
    let redactor = Redactor::default();
    let mut chance = corpus::chance::Chance(corpus::CLEAN_SEED);
    [("IMEI", clean::imei as fn(&mut corpus::chance::Chance) -> String), ("ICCID", clean::iccid)]
        .map(|(name, make)| (name, (0..10_000).filter(|_| redacted(&redactor, &make(&mut chance)).1 > 0).count()))
}
