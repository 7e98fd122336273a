//! Which numbers are card numbers: issuer ranges with their lengths, and the Luhn check. Pure.
//! Not here: finding digits in text (`card`).
//! Source: ISO/IEC 7812; the ranges that the brands publish (as in braintree/credit-card-type), widened where they differ.

/// The brand that issues numbers like this one (digits 0 to 9, most significant first), if its check digit is right.
pub(super) fn brand(number: &[u8]) -> Option<&'static str> {
    let head =
        number.iter().take(HEAD).fold(0_u32, |sum, digit| sum.saturating_mul(10).saturating_add(u32::from(*digit)));
    if head < LOWEST {
        return None;
    }
    RANGES
        .iter()
        .find(|range| (range.first..=range.last).contains(&head) && range.lengths.contains(&number.len()))
        .filter(|_| luhn(number))
        .map(|range| range.brand)
}

/// Every brand with each of its lengths, some more than once.
pub(super) fn kinds() -> impl Iterator<Item = (&'static str, usize)> {
    RANGES.iter().flat_map(|range| range.lengths.iter().map(|length| (range.brand, *length)))
}

/// Digits that name the issuer here; shorter prefixes are written out as ranges of six.
const HEAD: usize = 6;

/// No range begins lower: points in time, which logs are full of, need no search.
const LOWEST: u32 = 180_000;

struct Range {
    brand: &'static str,
    first: u32,
    last: u32,
    lengths: &'static [usize],
}

const fn range(brand: &'static str, first: u32, last: u32, lengths: &'static [usize]) -> Range {
    Range { brand, first, last, lengths }
}

/// Maestro alone has cards of every length.
const MAESTRO: &[usize] = &[12, 13, 14, 15, 16, 17, 18, 19];

/// Narrow ranges before the wide ones that hold them. Dankort and half of RuPay lie within other brands' ranges
/// at the same length. Not here: UATP, whose numbers look like points in time.
const RANGES: &[Range] = &[
    range("elo", 401_178, 401_179, &[16]),
    range("elo", 438_935, 438_935, &[16]),
    range("elo", 451_416, 451_416, &[16]),
    range("elo", 457_631, 457_632, &[16]),
    range("elo", 504_175, 504_175, &[16]),
    range("elo", 627_780, 627_780, &[16]),
    range("elo", 636_297, 636_297, &[16]),
    range("elo", 636_368, 636_368, &[16]),
    range("hiper", 637_095, 637_095, &[16]),
    range("hiper", 637_568, 637_568, &[16]),
    range("hiper", 637_599, 637_599, &[16]),
    range("hiper", 637_609, 637_609, &[16]),
    range("hiper", 637_612, 637_612, &[16]),
    range("maestro", 493_698, 493_698, MAESTRO),
    range("visa", 400_000, 499_999, &[13, 16, 18, 19]),
    range("mastercard", 510_000, 559_999, &[16]),
    range("mastercard", 222_100, 272_099, &[16]),
    range("amex", 340_000, 349_999, &[15]),
    range("amex", 370_000, 379_999, &[15]),
    range("diners", 300_000, 305_999, &[14, 16, 19]),
    range("diners", 309_500, 309_599, &[14, 16, 19]),
    range("diners", 360_000, 369_999, &[14, 16, 19]),
    range("diners", 380_000, 399_999, &[14, 16, 19]),
    range("jcb", 352_800, 358_999, &[16, 17, 18, 19]),
    range("jcb", 180_000, 180_099, &[15]),
    range("jcb", 213_100, 213_199, &[15]),
    range("verve", 506_099, 506_198, &[16, 18, 19]),
    range("verve", 507_865, 507_964, &[16, 18, 19]),
    range("verve", 650_002, 650_027, &[16, 18, 19]),
    range("discover", 601_100, 601_199, &[16, 19]),
    range("discover", 644_000, 659_999, &[16, 19]),
    range("unionpay", 620_000, 629_999, &[14, 15, 16, 17, 18, 19]),
    range("unionpay", 810_000, 819_999, &[14, 15, 16, 17, 18, 19]),
    range("maestro", 500_000, 509_999, MAESTRO),
    range("maestro", 560_000, 599_999, MAESTRO),
    range("maestro", 630_000, 639_999, MAESTRO),
    range("maestro", 670_000, 679_999, MAESTRO),
    range("hipercard", 606_282, 606_282, &[16]),
    range("rupay", 600_000, 609_999, &[16]),
    range("rupay", 820_000, 829_999, &[16]),
    range("mir", 220_000, 220_499, &[16, 17, 18, 19]),
    range("troy", 979_200, 979_299, &[16]),
];

/// ISO/IEC 7812-1 annex B: from the right, every second digit counts double (less nine above nine).
fn luhn(number: &[u8]) -> bool {
    let sum = number.iter().rev().enumerate().fold(0_u32, |sum, (place, digit)| {
        let digit = u32::from(*digit);
        let worth = match (place % 2 == 1, digit > 4) {
            (false, _) => digit,
            (true, false) => digit.saturating_mul(2),
            (true, true) => digit.saturating_mul(2).saturating_sub(9),
        };
        sum.saturating_add(worth)
    });
    sum % 10 == 0
}

/// A valid number for `at` in the table of ranges, its body from `seed`: `(digits as text, brand as found)`.
#[cfg(test)]
pub(super) fn example(at: usize, length: usize, seed: u64) -> (String, &'static str) {
    let range = &RANGES[at % RANGES.len()];
    let length = range.lengths[length % range.lengths.len()];
    let spread = u64::from(range.last - range.first) + 1;
    let head = u64::from(range.first) + seed % spread;
    let mut number: Vec<u8> = head.to_string().bytes().map(|byte| byte - b'0').collect();
    let mut state = seed;
    while number.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        number.push(u8::try_from((state >> 33) % 10).unwrap());
    }
    for check in 0..10 {
        number[length - 1] = check;
        if luhn(&number) {
            break;
        }
    }
    let brand = brand(&number).expect("an example is of a brand");
    (number.iter().map(|digit| char::from(b'0' + digit)).collect(), brand)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<&'static str> {
        let digits: Vec<u8> = text.bytes().map(|byte| byte - b'0').collect();
        brand(&digits)
    }

    #[test]
    fn knows_the_brands_by_range_length_and_check_digit() {
        for (number, want) in [
            ("4111111111111111", Some("visa")),
            ("4222222222222", Some("visa")),
            ("5555555555554444", Some("mastercard")),
            ("2223003122003222", Some("mastercard")),
            ("378282246310005", Some("amex")),
            ("6011111111111117", Some("discover")),
            ("30569309025904", Some("diners")),
            ("3530111333300000", Some("jcb")),
            ("6200000000000005", Some("unionpay")),
            ("6759649826438453", Some("maestro")),
            ("501800000009", Some("maestro")),
            ("180000000000000", None),
            ("213112345678909", None),
            ("6370950000000005", Some("hiper")),
            ("5041754412345672", Some("elo")),
            ("2200000000000004", Some("mir")),
            ("9792030394440796", Some("troy")),
            ("6062828888666688", Some("hipercard")),
            ("4111111111111112", None), // check digit
            ("411111111111111", None),  // length
            ("1763763412345", None),    // milliseconds
            ("0000000000000000", None), // Luhn-valid, nobody's
            ("2721000000000004", None), // behind the last Mastercard range
            ("", None),
        ] {
            assert_eq!(of(number), want, "`{number}`");
        }
    }

    #[test]
    fn ranges_are_well_formed() {
        for range in RANGES {
            assert!(range.first <= range.last, "{} {}", range.brand, range.first);
            assert!((LOWEST..1_000_000).contains(&range.first), "{} {}", range.brand, range.first);
            assert!(range.lengths.iter().all(|length| (12..=19).contains(length)), "{}", range.brand);
        }
    }

    #[test]
    fn every_single_digit_error_is_caught() {
        let good: Vec<u8> = "4111111111111111".bytes().map(|byte| byte - b'0').collect();
        for at in 0..good.len() {
            for wrong in (0..10).filter(|digit| *digit != good[at]) {
                let mut number = good.clone();
                number[at] = wrong;
                assert!(!luhn(&number), "{wrong} at {at}");
            }
        }
    }
}
