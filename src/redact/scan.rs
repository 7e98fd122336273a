//! Everything that is found in a text: by every detector, in the text as it stands and in each of its decoded forms. Pure, linear.
//! Not here: what one detector knows (`card` and its neighbours), what is done with a find (`mod`, `stream`).
//! Source: gitleaks' and other scanners' rule to decode before they search; bounds in place of their recursion.

use super::card::Strength;
use super::decode::{self, Layer};
use super::gist::Gist;
use super::kind::Hit;
use super::pattern::Pattern;
use super::private::Fields;
use super::{account, api_key, card, credential, key, near, option, packed, pattern, track, word};

/// How often a text is decoded before it is searched the last time: percent-encoding in percent-encoding in an escape.
const MAX_LAYERS: usize = 3;

/// Bytes below which a text of letters, digits and `. - _` alone is neither a key nor a token: most host names are shorter.
const SHORTEST_KEY: usize = 18;

/// What the configuration adds to what is found.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    pub(super) fields: Fields,
    pub(super) patterns: Vec<Pattern>,
}

impl Rules {
    /// Nothing added.
    pub(super) const NONE: Rules = Rules { fields: Fields::NONE, patterns: Vec::new() };
}

/// What is found in `text`, from the left; what overlaps or touches the same bytes is one find, named by the worse of both.
pub(super) fn find<'r>(text: &[u8], strength: Strength, rules: &'r Rules) -> Vec<Hit<'r>> {
    let mut hits = Vec::new();
    search(text, strength, rules, &mut hits, |text, gist, hits| unpack(text, gist, rules, hits));
    join(&mut hits);
    hits
}

/// Searches `text` and what it says once it is decoded, each with `also` beside the detectors.
fn search<'r>(
    text: &[u8],
    strength: Strength,
    rules: &'r Rules,
    hits: &mut Vec<Hit<'r>>,
    also: impl Fn(&[u8], Gist, &mut Vec<Hit<'r>>),
) {
    let gist = Gist::of(text);
    detect(text, gist, strength, rules, hits);
    also(text, gist, hits);
    let mut layer = Layer::plain(text);
    let mut gist = gist;
    for _ in 0..MAX_LAYERS {
        if !gist.has_encoding() {
            break;
        }
        let Some(decoded) = decode::decode(&layer) else { break };
        layer = decoded;
        gist = Gist::of(layer.text());
        let mut inner = Vec::new();
        detect(layer.text(), gist, strength, rules, &mut inner);
        also(layer.text(), gist, &mut inner);
        hits.extend(inner.into_iter().map(|hit| layer.outside(hit)));
    }
}

/// Every detector that looks at a text as it stands.
fn detect<'r>(text: &[u8], gist: Gist, strength: Strength, rules: &'r Rules, hits: &mut Vec<Hit<'r>>) {
    let first = hits.len();
    for piece in gist.digit_runs(text) {
        card::find(text, piece, strength, hits);
    }
    if hits.len() > first {
        near::find(text, first, hits);
    }
    if gist.has_sign() {
        key::find(text, &rules.fields, hits);
    }
    if gist.has_breaks() {
        option::find(text, hits);
    }
    if gist.has_digit() {
        word::find(text, hits);
    }
    account::find(text, gist, hits);
    track::find(text, gist, hits);
    if gist.has_breaks() || text.len() >= SHORTEST_KEY {
        credential::find(text, hits);
        api_key::find(text, hits);
    }
    pattern::find(text, &rules.patterns, hits);
}

/// What is in base64 or hexadecimal digits: the whole word is one find.
fn unpack<'r>(text: &[u8], gist: Gist, rules: &'r Rules, hits: &mut Vec<Hit<'r>>) {
    let words = gist.has_base64().then(|| packed::base64(text)).into_iter().flatten();
    let words = words.chain(gist.has_hex().then(|| packed::hex(text)).into_iter().flatten());
    for word in words {
        let mut inner = Vec::new();
        search(&word.bytes, Strength::Text, rules, &mut inner, |_, _, _| ());
        let worst = inner.into_iter().min_by_key(|hit| hit.kind.rank());
        hits.extend(worst.map(|hit| Hit { start: word.start, end: word.end, kind: hit.kind }));
    }
}

/// Sorts, and makes one of those that overlap, named by the one that counts most.
pub(super) fn join(hits: &mut Vec<Hit<'_>>) {
    if hits.len() < 2 {
        return;
    }
    hits.sort_by_key(|hit| (hit.start, std::cmp::Reverse(hit.end)));
    hits.dedup_by(|next, kept| {
        let overlap = next.start < kept.end;
        if overlap {
            kept.end = kept.end.max(next.end);
            if next.kind.rank() < kept.kind.rank() {
                kept.kind = next.kind;
            }
        }
        overlap
    });
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
