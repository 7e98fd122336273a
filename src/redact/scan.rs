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
    for_each_layer(text, |layer| {
        let (text, gist) = (layer.text(), Gist::of(layer.text()));
        let mut inner = Vec::new();
        detect(text, gist, strength, rules, &mut inner);
        unpack(text, gist, rules, &mut inner);
        hits.extend(inner.into_iter().map(|hit| layer.outside(hit)));
        gist
    });
    join(&mut hits);
    hits
}

/// Gives `text` as it stands, then decoded, as long as what it is searched for tells of encoding.
fn for_each_layer(text: &[u8], mut search: impl FnMut(&Layer<'_>) -> Gist) {
    let mut layer = Layer::plain(text);
    for _ in 0..MAX_LAYERS {
        if !search(&layer).has_encoding() {
            return;
        }
        let Some(decoded) = decode::decode(&layer) else { return };
        layer = decoded;
    }
    search(&layer);
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
    credential::find(text, hits);
    api_key::find(text, hits);
    pattern::find(text, &rules.patterns, hits);
}

/// What is in base64 or hexadecimal digits: the whole word is one find.
fn unpack<'r>(text: &[u8], gist: Gist, rules: &'r Rules, hits: &mut Vec<Hit<'r>>) {
    let words = gist.has_base64().then(|| packed::base64(text)).into_iter().flatten();
    let words = words.chain(gist.has_hex().then(|| packed::hex(text)).into_iter().flatten());
    for word in words {
        let mut inner = Vec::new();
        for_each_layer(&word.bytes, |layer| {
            let gist = Gist::of(layer.text());
            detect(layer.text(), gist, Strength::Text, rules, &mut inner);
            gist
        });
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
