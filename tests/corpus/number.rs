//! Card numbers: those that providers publish for tests, and one for each brand, range and length.
//! Not here: how they are written (`form`).
//! Source: the test cards of PayPal, Stripe, Adyen and Braintree; the ranges that the brands publish.

use super::chance::Chance;

/// Published for tests; no account has them.
const PUBLISHED: [(&str, &str); 36] = [
    ("visa", "4111111111111111"),
    ("visa", "4012888888881881"),
    ("visa", "4222222222222"),
    ("visa", "4242424242424242"),
    ("visa", "4000056655665556"),
    ("visa", "4005519200000004"),
    ("visa", "4009348888881881"),
    ("visa", "4012000033330026"),
    ("visa", "4500600000000061"),
    ("mastercard", "5555555555554444"),
    ("mastercard", "5105105105105100"),
    ("mastercard", "5200828282828210"),
    ("mastercard", "5454545454545454"),
    ("mastercard", "2223003122003222"),
    ("mastercard", "2223000048400011"),
    ("mastercard", "2222400070000005"),
    ("amex", "378282246310005"),
    ("amex", "371449635398431"),
    ("amex", "378734493671000"),
    ("amex", "340000000000009"),
    ("discover", "6011111111111117"),
    ("discover", "6011000990139424"),
    ("discover", "6011601160116611"),
    ("diners", "30569309025904"),
    ("diners", "38520000023237"),
    ("diners", "36259600000004"),
    ("diners", "3056930009020004"),
    ("jcb", "3530111333300000"),
    ("jcb", "3566002020360505"),
    ("unionpay", "6200000000000005"),
    ("unionpay", "6205500000000000004"),
    ("unionpay", "6243030000000001"),
    ("maestro", "6759649826438453"),
    ("maestro", "6771798021000008"),
    ("hipercard", "6062828888666688"),
    ("troy", "9792030394440796"),
];

/// Brand, first digits, lengths.
const RANGES: [(&str, &str, &[usize]); 34] = [
    ("visa", "40", &[13, 16, 18, 19]),
    ("visa", "4571", &[16, 18, 19]),
    ("visa", "49", &[13, 16, 19]),
    ("mastercard", "51", &[16]),
    ("mastercard", "53", &[16]),
    ("mastercard", "55", &[16]),
    ("mastercard", "2221", &[16]),
    ("mastercard", "25", &[16]),
    ("mastercard", "2720", &[16]),
    ("amex", "34", &[15]),
    ("amex", "37", &[15]),
    ("diners", "300", &[14, 16, 19]),
    ("diners", "305", &[14, 16, 19]),
    ("diners", "3095", &[14, 16, 19]),
    ("diners", "36", &[14, 16, 19]),
    ("diners", "39", &[14, 16, 19]),
    ("jcb", "3528", &[16, 17, 18, 19]),
    ("jcb", "3589", &[16, 17, 18, 19]),
    ("discover", "6011", &[16, 19]),
    ("discover", "644", &[16, 19]),
    ("discover", "65", &[16, 19]),
    ("discover", "622126", &[16, 19]),
    ("unionpay", "62", &[14, 15, 16, 17, 18, 19]),
    ("unionpay", "8171", &[16, 17, 18, 19]),
    ("maestro", "5018", &[13, 14, 15, 16, 17, 18, 19]),
    ("maestro", "5893", &[13, 16, 19]),
    ("maestro", "6304", &[13, 16, 19]),
    ("maestro", "6762", &[13, 16, 19]),
    ("mir", "2200", &[16, 17, 18, 19]),
    ("mir", "2204", &[16, 19]),
    ("elo", "509", &[16]),
    ("verve", "506100", &[16, 18, 19]),
    ("rupay", "607", &[16]),
    ("rupay", "82", &[16]),
];

/// Brand and digits of each.
pub fn all() -> Vec<(&'static str, String)> {
    let mut chance = Chance(0x5eed_ca2d);
    let made =
        RANGES.iter().flat_map(|(brand, first, lengths)| lengths.iter().map(move |length| (brand, first, length)));
    let published = PUBLISHED.iter().map(|(brand, number)| (*brand, (*number).to_owned()));
    published.chain(made.map(|(brand, first, length)| (*brand, valid(first, *length, &mut chance)))).collect()
}

/// So many digits that begin with `first`, the last of them the check digit.
pub fn valid(first: &str, length: usize, chance: &mut Chance) -> String {
    let mut number = first.to_owned();
    while number.len() + 1 < length {
        number.push(digit(chance.below(10)));
    }
    let check = (10 - luhn_sum(&number) % 10) % 10;
    number.push(digit(check));
    number
}

fn digit(value: u64) -> char {
    char::from(b'0' + u8::try_from(value).unwrap())
}

/// ISO/IEC 7812-1, annex B: the sum that the check digit completes.
fn luhn_sum(body: &str) -> u64 {
    let worth = |(place, byte): (usize, u8)| {
        let digit = u64::from(byte - b'0') * if place % 2 == 0 { 2 } else { 1 };
        digit / 10 + digit % 10
    };
    body.bytes().rev().enumerate().map(worth).sum()
}
