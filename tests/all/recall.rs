//! The corpus through the product's own redaction: all that is there is found, wherever it is split; clean lines stay as they are.
//! Not here: the corpus (`corpus`), speed and the comparison with others (`benches/redaction`).

use std::collections::{BTreeMap, BTreeSet};

use sallyport::redact::{Piece, Redactor, Stream};

use super::corpus::chance::Chance;
use super::corpus::clean::{self, Clean};
use super::corpus::{self, Positive};

/// Debug builds take a tenth.
const CLEAN_LINES: usize = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };

/// What comes out, and how many card numbers were found.
fn redacted(pieces: &[&[u8]]) -> (Vec<u8>, u64) {
    let redactor = Redactor::default();
    let mut stream = Stream::new(&redactor);
    let mut out = Vec::new();
    let mut each = |piece: Piece<'_, '_>| match piece {
        Piece::Text(text) => out.extend_from_slice(text),
        Piece::Found(find) => out.extend_from_slice(find.mark().as_bytes()),
    };
    pieces.iter().for_each(|piece| stream.push(piece, &mut each));
    stream.finish(&mut each);
    let cards = stream.counts().detectors().into_iter().filter(|(detector, _)| detector.name() == "pan");
    let cards = cards.map(|(_, count)| count).sum();
    (out, cards)
}

#[test]
fn every_card_number_of_the_corpus_is_found() {
    let positives = corpus::positives();
    let brands: BTreeSet<&str> = positives.iter().map(|positive| positive.brand).collect();
    assert!(positives.len() >= 2000 && brands.len() >= 13, "{} of {brands:?}", positives.len());
    let mut missed: BTreeMap<&str, Vec<&Positive>> = BTreeMap::new();
    for positive in &positives {
        let (out, cards) = redacted(&[positive.text.as_bytes()]);
        if cards == 0 || positive.survives_in(&out) {
            missed.entry(positive.form).or_default().push(positive);
        }
    }
    let missed: Vec<String> = missed.into_iter().map(|(form, missed)| format!("{form}: {missed:?}")).collect();
    assert!(missed.is_empty(), "recall is not 1.000; missed:\n{}", missed.join("\n"));
}

#[test]
fn a_split_within_a_number_changes_nothing() {
    let positives = corpus::positives();
    let mut forms = BTreeMap::new();
    // One number of each form and context.
    for positive in &positives {
        forms.entry((positive.form, positive.context)).or_insert(positive);
    }
    assert!(forms.len() > 200, "{}", forms.len());
    for positive in forms.values() {
        let text = positive.text.as_bytes();
        let whole = redacted(&[text]);
        for at in positive.start..=positive.end {
            let (before, after) = text.split_at(at);
            assert_eq!(redacted(&[before, after]), whole, "split at {at}: {positive:?}");
        }
    }
}

#[test]
fn clean_lines_stay_as_they_are() {
    let mut clean = Clean::new(corpus::CLEAN_SEED);
    let mut changed = Vec::new();
    for _ in 0..CLEAN_LINES {
        let line = clean.line();
        let (out, _) = redacted(&[line.as_bytes()]);
        if out != line.as_bytes() {
            changed.push(format!("{line}\n  {}", String::from_utf8_lossy(&out)));
        }
    }
    assert!(changed.len() <= 1, "{} of {CLEAN_LINES}:\n{}", changed.len(), changed.join("\n"));
}

/// They have a card's check digit: their first digits alone tell that no brand issues them.
#[test]
fn numbers_of_devices_are_no_card_numbers() {
    let mut chance = Chance(corpus::CLEAN_SEED);
    for _ in 0..10_000 {
        for text in [clean::imei(&mut chance), clean::iccid(&mut chance)] {
            assert_eq!(redacted(&[text.as_bytes()]), (text.clone().into_bytes(), 0), "{text}");
        }
    }
}
