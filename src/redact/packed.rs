//! Words of base64 and of hexadecimal digits that may hold a card number, unpacked. Pure, linear.
//! Not here: what is in them (`scan`); which texts have such words at all (`gist`).
//! Source: RFC 4648 sections 4, 5 and 8. Three bytes of digits make four characters of base64 of which each is one of a few.

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::gist;

/// A word, where it stands (bytes), and what it says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) bytes: Vec<u8>,
}

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(DecodePaddingMode::Indifferent);
const PLAIN: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);

/// The words of base64 in `text`, each read from where its digits say that a group of four begins: the word may follow
/// other characters of the alphabet, as in a path.
pub(super) fn base64(text: &[u8]) -> Vec<Word> {
    let is_inside = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_');
    let padded = |word: Word| {
        let padding = text.get(word.end..).unwrap_or_default().iter().take(2).take_while(|byte| **byte == b'=').count();
        Word { end: word.end.saturating_add(padding), ..word }
    };
    let words = words(text, gist::base64_ends(text), (gist::PACKED_LENGTH, 4), is_inside, |word| {
        // Three whole characters carry two bytes, two carry one; a single one carries none.
        let whole = if word.len() % 4 == 1 { word.len().saturating_sub(1) } else { word.len() };
        let word = word.get(..whole)?;
        let engine = if word.iter().any(|byte| matches!(byte, b'-' | b'_')) { &URL } else { &PLAIN };
        engine.decode(word).ok().or_else(|| mixed(word))
    });
    words.into_iter().map(padded).collect()
}

/// A word with signs of both alphabets: read as the one, with the other's signs put in their place.
fn mixed(word: &[u8]) -> Option<Vec<u8>> {
    let one = |byte: &u8| match byte {
        b'-' => b'+',
        b'_' => b'/',
        other => *other,
    };
    PLAIN.decode(word.iter().map(one).collect::<Vec<_>>()).ok()
}

/// The words of hexadecimal digits in `text`.
pub(super) fn hex(text: &[u8]) -> Vec<Word> {
    let value = |byte: &u8| char::from(*byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    words(
        text,
        gist::hex_ends(text),
        (gist::HEX_LENGTH, 2),
        |byte| byte.is_ascii_hexdigit(),
        |word| {
            let byte = |pair: &[u8]| Some(value(pair.first()?)?.wrapping_shl(4) | value(pair.get(1)?)?);
            word.chunks_exact(2).map(byte).collect()
        },
    )
}

/// Words around what ends at each of `ends`, `(length, group)` characters long and counted in groups. Each is unpacked
/// once for each place at which its first group can begin.
fn words(
    text: &[u8],
    ends: impl Iterator<Item = usize>,
    (length, group): (usize, usize),
    is_inside: impl Fn(u8) -> bool,
    unpack: impl Fn(&[u8]) -> Option<Vec<u8>>,
) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    // The word that was looked at last, and the places (bits) at which it was unpacked.
    let (mut start, mut end, mut phases) = (0_usize, 0_usize, 0_u32);
    for behind in ends {
        let first = behind.saturating_sub(length);
        if first >= end || end == 0 {
            let before = text.get(..first).unwrap_or_default().iter().rev();
            start = first.saturating_sub(before.take_while(|byte| is_inside(**byte)).count());
            let after = text.get(behind..).unwrap_or_default().iter();
            end = behind.saturating_add(after.take_while(|byte| is_inside(**byte)).count());
            phases = 0;
        }
        let phase = first.saturating_sub(start).checked_rem(group).unwrap_or_default();
        let bit = 1_u32.wrapping_shl(u32::try_from(phase).unwrap_or_default());
        if phases & bit != 0 {
            continue;
        }
        phases |= bit;
        let from = start.saturating_add(phase);
        if let Some(bytes) = text.get(from..end).and_then(&unpack) {
            words.push(Word { start, end, bytes });
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(words: Vec<Word>) -> Vec<(usize, usize, String)> {
        words
            .into_iter()
            .map(|word| (word.start, word.end, String::from_utf8_lossy(&word.bytes).into_owned()))
            .collect()
    }

    #[test]
    fn words_are_read_from_where_a_group_begins() {
        let number = "4111111111111111";
        for before in ["", "a", "ab", "abc", "abcd", "data/", "x=", "_-"] {
            for packed in [PLAIN.encode(number), URL.encode(number)] {
                let text = format!("{before}{packed}");
                let words = base64(text.as_bytes());
                assert!(said(words).iter().any(|(_, _, said)| said.contains(number)), "{text}");
            }
        }
        for phase in ["", "x", "xy"] {
            let text = format!("say \"{}\"!", PLAIN.encode(format!("{phase}{number}{phase}")));
            let [(start, end, said)] = said(base64(text.as_bytes())).try_into().unwrap();
            assert!(
                said.contains(number)
                    && text.get(..start).unwrap().ends_with('"')
                    && text.get(end..).unwrap().starts_with(['"', '=']),
                "{text}"
            );
        }
    }

    #[test]
    fn hexadecimal_digits_are_read_from_either_half() {
        for (text, want) in [
            ("34313131313131313131313131313131", "4111111111111111"),
            ("0x34313131313131313131313131313131;", "4111111111111111"),
            ("F343131312031313131203131313120313131310", "4111 1111 1111 1111"),
        ] {
            let words = said(hex(text.as_bytes()));
            assert!(words.iter().any(|(_, _, said)| said.contains(want)), "{text}: {words:?}");
        }
    }

    #[test]
    fn each_word_is_unpacked_once_for_a_place() {
        let text = PLAIN.encode("1".repeat(30_000));
        assert!(base64(text.as_bytes()).len() <= 4);
        assert!(hex("31".repeat(30_000).as_bytes()).len() <= 2);
    }
}
