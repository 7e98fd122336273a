//! Finds account numbers by their own form: social security numbers of the United States, and IBANs. Pure, linear in the text.
//! Not here: fields named after them (`names`).
//! Source: SSA's rules for numbers (POMS RM 10201.030); the IBAN registry, release 99 (SWIFT), ISO 13616-1, ISO 7064 (mod 97).

use super::gist::{self, Gist};
use super::kind::{Hit, Kind};
use super::value::{after, before};

/// How far behind the words nine digits are a social security number without its dashes, in bytes.
const NEAR: usize = 30;

/// Nine digits in groups of three, two and four.
const DASHED: usize = 11;

/// Numbers that were printed in advertisements and manuals; nobody has them.
const NOBODYS: [&[u8; DIGITS]; 3] = [b"078051120", b"123456789", b"219099999"];

/// Characters of the longest IBAN.
const MAX_IBAN: usize = 34;

/// Digits of a social security number.
const DIGITS: usize = 9;

/// The social security numbers and IBANs in `text`.
pub(super) fn find(text: &[u8], gist: Gist, hits: &mut Vec<Hit<'_>>) {
    if gist.has_dashed() {
        hits.extend(gist::dashed(text).filter_map(|start| ssn(text, start)));
    }
    if gist.has_account() {
        hits.extend(gist::accounts(text).filter_map(|start| iban(text, start)));
    }
}

/// Whether nothing touches `start..end` that would make it a part of something longer.
fn is_alone(text: &[u8], start: usize, end: usize) -> bool {
    let touches = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    !touches(before(text, start).last()) && !touches(text.get(end))
}

/// The number with dashes at `start`.
fn ssn<'r>(text: &[u8], start: usize) -> Option<Hit<'r>> {
    let end = start.checked_add(DASHED)?;
    let [a, b, c, _, d, e, _, f, g, h, i] = *text.get(start..end)?.first_chunk()?;
    let digits = [a, b, c, d, e, f, g, h, i];
    let is_whole = digits.iter().all(u8::is_ascii_digit) && is_alone(text, start, end);
    (is_whole && is_issued(&digits)).then_some(Hit { start, end, kind: Kind::Ssn })
}

/// Whether these nine digits can be somebody's: area not 000, 666 or 900 and up, group not 00, serial number not 0000.
fn is_issued(digits: &[u8; DIGITS]) -> bool {
    let [a, b, c, d, e, serial @ ..] = digits;
    let no_area = matches!([*a, *b, *c], [b'0', b'0', b'0'] | [b'6', b'6', b'6'] | [b'9', _, _]);
    !no_area && [*d, *e] != *b"00" && serial != b"0000" && !NOBODYS.contains(&digits)
}

/// The place of the first nine digits near behind the words at `end` that tell of a social security number: bare, or in
/// groups that blanks or dashes part.
pub(super) fn told(text: &[u8], end: usize) -> Option<(usize, usize)> {
    let start = end.saturating_add(before(after(text, end), NEAR).iter().position(u8::is_ascii_digit)?);
    let (mut digits, mut count, mut end) = ([0; DIGITS], 0_usize, start);
    while let Some(byte) = text.get(end) {
        match (byte, digits.get_mut(count)) {
            (b'0'..=b'9', Some(place)) => {
                *place = *byte;
                count = count.saturating_add(1);
            }
            (b' ' | b'-', Some(_)) if matches!(count, 3 | 5) => {}
            _ => break,
        }
        end = end.saturating_add(1);
    }
    (count == DIGITS && is_issued(&digits) && is_alone(text, start, end)).then_some((start, end))
}

/// The IBAN at `start`: of its country's length, its check digits right, whole or in groups of four.
fn iban<'r>(text: &[u8], start: usize) -> Option<Hit<'r>> {
    let rest = after(text, start);
    let [first, second, ..] = *rest else { return None };
    let country = [first.to_ascii_uppercase(), second.to_ascii_uppercase()];
    let (_, length, is_digits) = COUNTRIES.iter().find(|(known, ..)| known.as_bytes() == country)?;
    let length = usize::from(*length);
    let mut number = [0; MAX_IBAN];
    let (mut count, mut end) = (0_usize, 0_usize);
    while count < length {
        let byte = *rest.get(end)?;
        if byte.is_ascii_alphanumeric() {
            *number.get_mut(count)? = byte;
            count = count.saturating_add(1);
        } else if !(byte == b' ' && count.is_multiple_of(4) && rest.get(end.checked_sub(1)?) != Some(&byte)) {
            return None;
        }
        end = end.saturating_add(1);
    }
    let is_whole = !rest.get(end).is_some_and(u8::is_ascii_alphanumeric);
    let has_form = !is_digits || number.get(2..length)?.iter().all(u8::is_ascii_digit);
    let is_right = is_whole && has_form && remainder(number.get(..length)?)? == 1;
    is_right.then(|| Hit { start, end: start.saturating_add(end), kind: Kind::Iban { country, length } })
}

/// The number's remainder by 97, its first four characters moved to the end and letters counted from 10.
fn remainder(number: &[u8]) -> Option<u32> {
    let (head, tail) = number.split_at_checked(4)?;
    tail.iter().chain(head).try_fold(0_u32, |sum, byte| {
        let value = char::from(*byte).to_digit(36)?;
        let shifted = sum.checked_mul(if value < 10 { 10 } else { 100 })?;
        shifted.checked_add(value)?.checked_rem(97)
    })
}

/// Characters of an IBAN by country, and whether digits alone follow the country.
#[rustfmt::skip]
const COUNTRIES: [(&str, u8, bool); 89] = [
    ("AD", 24, false), ("AE", 23, true), ("AL", 28, false), ("AT", 20, true), ("AZ", 28, false), ("BA", 20, true),
    ("BE", 16, true), ("BG", 22, false), ("BH", 22, false), ("BI", 27, true), ("BR", 29, false), ("BY", 28, false),
    ("CH", 21, false), ("CR", 22, true), ("CY", 28, false), ("CZ", 24, true), ("DE", 22, true), ("DJ", 27, true),
    ("DK", 18, true), ("DO", 28, false), ("EE", 20, true), ("EG", 29, true), ("ES", 24, true), ("FI", 18, true),
    ("FK", 18, false), ("FO", 18, true), ("FR", 27, false), ("GB", 22, false), ("GE", 22, false), ("GI", 23, false),
    ("GL", 18, true), ("GR", 27, false), ("GT", 28, false), ("HN", 28, false), ("HR", 21, true), ("HU", 28, true),
    ("IE", 22, false), ("IL", 23, true), ("IQ", 23, false), ("IS", 26, true), ("IT", 27, false), ("JO", 30, false),
    ("KW", 30, false), ("KZ", 20, false), ("LB", 28, false), ("LC", 32, false), ("LI", 21, false), ("LT", 20, true),
    ("LU", 20, false), ("LV", 21, false), ("LY", 25, true), ("MC", 27, false), ("MD", 24, false), ("ME", 22, true),
    ("MK", 19, false), ("MN", 20, true), ("MR", 27, true), ("MT", 31, false), ("MU", 30, false), ("NI", 28, false),
    ("NL", 18, false), ("NO", 15, true), ("OM", 23, false), ("PK", 24, false), ("PL", 28, true), ("PS", 29, false),
    ("PT", 25, true), ("QA", 29, false), ("RO", 24, false), ("RS", 22, true), ("RU", 33, false), ("SA", 24, false),
    ("SC", 31, false), ("SD", 18, true), ("SE", 24, true), ("SI", 19, true), ("SK", 24, true), ("SM", 27, false),
    ("SO", 23, true), ("ST", 25, true), ("SV", 28, false), ("TL", 23, true), ("TN", 24, true), ("TR", 26, false),
    ("UA", 29, false), ("VA", 22, true), ("VG", 24, false), ("XK", 20, true), ("YE", 30, false),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::testing::told;
    use crate::redact::word;

    fn found(text: &str) -> Vec<String> {
        let mut hits = Vec::new();
        find(text.as_bytes(), Gist::of(text.as_bytes()), &mut hits);
        word::find(text.as_bytes(), &mut hits);
        told(text, &hits)
    }

    #[test]
    fn social_security_numbers_are_found() {
        for text in ["536-22-1234", "a 536-22-1234, b", "\"536-22-1234\"", "x=536-22-1234"] {
            assert_eq!(found(text), ["[SSN]536-22-1234"], "`{text}`");
        }
        for (text, want) in [
            ("SSN is 536221234 ok", "[SSN]536221234"),
            ("ssn 536 22 1234", "[SSN]536 22 1234"),
            ("Social Security Number: 536221234", "[SSN]536221234"),
        ] {
            assert_eq!(found(text), [want], "`{text}`");
        }
    }

    #[test]
    fn numbers_that_nobody_has_are_left() {
        for text in [
            "000-12-1234",
            "666-12-1234",
            "900-12-1234",
            "999-12-1234",
            "536-00-1234",
            "536-22-0000",
            "078-05-1120",
            "123-45-6789",
            "219-09-9999",
            "ssn 666121234",
            "ssn 123456789",
        ] {
            assert!(found(text).is_empty(), "`{text}`: {:?}", found(text));
        }
    }

    #[test]
    fn other_digits_are_left() {
        for text in [
            "2026-11-21",
            "1536-22-1234",
            "536-22-12345",
            "536-22-1234-5",
            "a536-22-1234",
            "536221234",
            "536 22 1234",
            "ssn",
            "ssn 53622123",
            "ssn 5362212345",
            "ssn                                 536221234",
            "lessn 12",
            "ssn [SSN]",
        ] {
            assert!(found(text).is_empty(), "`{text}`: {:?}", found(text));
        }
    }

    #[test]
    fn account_numbers_of_the_registry_are_found() {
        // The examples of the registry, one a form.
        for (number, want) in [
            ("DE89370400440532013000", "[IBAN:DE:22]"),
            ("GB29NWBK60161331926819", "[IBAN:GB:22]"),
            ("FR1420041010050500013M02606", "[IBAN:FR:27]"),
            ("NO9386011117947", "[IBAN:NO:15]"),
            ("MT84MALT011000012345MTLCAST001S", "[IBAN:MT:31]"),
            ("BE68539007547034", "[IBAN:BE:16]"),
            ("SA0380000000608010167519", "[IBAN:SA:24]"),
            ("BR1800360305000010009795493C1", "[IBAN:BR:29]"),
        ] {
            let groups: Vec<&str> = number.as_bytes().chunks(4).map(|four| str::from_utf8(four).unwrap()).collect();
            for text in [number.to_owned(), number.to_lowercase(), groups.join(" ")] {
                for around in ["", " ", "\"", "/", "="] {
                    let all = format!("{around}{text}{around}");
                    assert_eq!(found(&all), [format!("{want}{text}")], "`{all}`");
                }
            }
        }
    }

    #[test]
    fn other_words_are_left() {
        for text in [
            "DE89370400440532013001",
            "XDE89370400440532013000",
            "DE893704004405320130",
            "DE8937040044053201300012",
            "ZZ89370400440532013000",
            "ba052d66-e1e5-472b-bafe",
            "DE89-3704-0044-0532-0130-00",
            "DE89  3704 0044 0532 0130 00",
            "de89370400440532013",
            "DE89",
            "",
        ] {
            assert!(found(text).is_empty(), "`{text}`: {:?}", found(text));
        }
    }

    #[test]
    fn stays_linear_on_long_texts() {
        for unit in ["DE89", "DE89 ", " de11", "ssn", "ssn 1", "-11-111", "536-22-1234"] {
            let text = unit.repeat(300_000 / unit.len());
            assert!(found(&text).len() <= text.len(), "`{unit}`");
        }
    }
}
