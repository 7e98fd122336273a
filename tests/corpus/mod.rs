//! Texts to measure detectors of card numbers by: what must be found, in every form and surroundings, and what must not.
//! Not here: detectors. Every number is a published test number, or made here to be valid by its issuer's range, length and check digit.
//! Source: the test-card lists of payment providers; ISO/IEC 7812; how logs, queries and documents write numbers.

#[path = "../../benches/shared/chance.rs"]
pub mod chance;
pub mod clean;
mod context;
mod form;
mod number;

use context::CONTEXTS;
use form::FORMS;

/// Which clean lines are the ones that tests and bench count false hits in.
pub const CLEAN_SEED: u64 = 1;

/// A text with one card number.
#[derive(Debug)]
pub struct Positive {
    pub brand: &'static str,
    pub form: &'static str,
    pub context: &'static str,
    pub text: String,
    /// Where in `text` the number stands as it is written.
    pub start: usize,
    pub end: usize,
    /// What is written for the digits alone: no eight bytes of it may come through.
    pub core: String,
}

/// Every brand and length in every form; each form in all surroundings that it can stand in, taken in turn.
pub fn positives() -> Vec<Positive> {
    let numbers = number::all();
    let mut positives = Vec::new();
    for (turn, (brand, number)) in numbers.iter().enumerate() {
        for (place, form) in FORMS.iter().enumerate() {
            let Some(written) = (form.write)(number) else { continue };
            let contexts: Vec<_> = CONTEXTS.iter().filter(|context| form.fits(context)).collect();
            let context = contexts[(turn + place) % contexts.len()];
            let (before, after) = context.around;
            let start = before.len();
            positives.push(Positive {
                brand,
                form: form.name,
                context: context.name,
                text: format!("{before}{}{after}", written.text),
                start,
                end: start + written.text.len(),
                core: written.core,
            });
        }
    }
    positives
}

impl Positive {
    /// Whether what came out still holds eight bytes of what was written for the digits.
    pub fn survives_in(&self, out: &[u8]) -> bool {
        let core = self.core.as_bytes();
        core.windows(8.min(core.len())).any(|piece| out.windows(piece.len()).any(|window| window == piece))
    }
}
