//! Names of fields whose values are never written: security codes, PINs, tracks, passwords, tokens, header fields. Pure.
//! Not here: the configuration's names (`private`), where the value stands (`value`).
//! Source: PCI DSS 3.3.1 (sensitive authentication data); RFC 9110 section 11, RFC 6265 (headers); the payment interfaces' fields.

use std::sync::LazyLock;

use super::kind::Kind;

/// What a name says about the value behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The value is of this kind, if it has the shape.
    Value(Kind<'static>, Shape),
    /// Credentials behind a scheme, up to the end of the line.
    Scheme,
    /// Cookies, each with a name, up to the end of the line.
    Cookies,
    /// The value is itself the name of a field, whose value comes next: `name="cvv"`, `{"name": "cvv", "value": …}`.
    Named,
}

/// What a value must look like to count: names of few letters mean other things as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Anything.
    Any,
    /// Anything that is no word of prose and no count.
    Token,
    /// Like a token, and no number: `max_tokens` counts.
    Plural,
    /// Four and more letters and digits, with a digit among them.
    OneTime,
    /// Three or four digits, where other fields tell of a card.
    Code,
    /// Four to twelve digits (ISO 9564-1), or a PIN block: sixteen hexadecimal digits.
    Pin,
    /// Twelve to nineteen digits, in groups or not: somebody's card number, though it may be mistyped.
    Number,
    /// Nine digits, in groups or not.
    Ssn,
    /// A month and a year; without a sign between them, where other fields tell of a card.
    Date,
    /// A month.
    Month,
    /// A year of two or four digits.
    Year,
}

/// The issuer of keys that only the names of their fields give away.
pub(super) const AZURE: &str = "azure";

/// Names of one meaning, in lower case, without `_ - .` and space.
struct Group {
    meaning: Meaning,
    /// Whether they count where no word begins, too: the `password` in `pgpassword`.
    within: bool,
    names: &'static [&'static str],
}

impl Shape {
    /// Whether a value of it may be long.
    pub(super) fn is_open(self) -> bool {
        matches!(self, Shape::Any | Shape::Token | Shape::Plural)
    }

    /// Whether this value counts beside another field of a card alone.
    pub(super) fn is_weak(self, value: &[u8]) -> bool {
        self == Shape::Code || self == Shape::Date && value.iter().all(u8::is_ascii_digit)
    }
}

const fn group(meaning: Meaning, within: bool, names: &'static [&'static str]) -> Group {
    Group { meaning, within, names }
}

const fn value(kind: Kind<'static>, shape: Shape, names: &'static [&'static str]) -> Group {
    group(Meaning::Value(kind, shape), false, names)
}

/// A name also counts as the end of a longer one, from a word's start: `x_cvv2`, `cardSecurityCode`, `db.password`.
#[rustfmt::skip]
const GROUPS: &[Group] = &[
    value(
        Kind::SecurityCode,
        Shape::Any,
        &["cvv", "cvv2", "cvc", "cvc2", "cid2", "cvn2", "csc2", "cav2", "cvp2", "cve2", "icvv", "dcvv", "dcvv2",
            "icvc", "cvvcode", "cvccode", "cvvnumber", "cvcnumber", "cvvvalue", "cvcvalue", "cvvcvc", "cvccvv",
            "cvv2cvc2", "securitycode", "securitynumber", "cardcode", "cardcvv", "cardcvc", "cardcid", "cardcsc",
            "verificationvalue", "cardverificationcode", "cardverificationnumber", "cardverificationvalue",
            "cardverification", "cardid3", "cryptogramvisuel", "kartenpruefnummer", "ccv", "ccvcode", "cvv1", "cvc1",
            "cvc3", "cvvs", "cvvnum", "cvcnum", "cvnum", "cvnumber", "cvv2code", "cvv2value", "cvv2number",
            "cvc2code", "csccode", "cidnumber", "cidcode", "cvdvalue", "cardsecurity", "cardverificationdata",
            "cardvalidationcode", "cardvalidationvalue", "cvvinput", "cvvencrypted", "encryptedcvv", "cardcvn"],
    ),
    value(
        Kind::SecurityCode,
        Shape::Code,
        &["cid", "csc", "cvn", "cvd", "cve", "cvx", "cav", "verificationcode", "verificationnumber", "seccode",
            "validationcode"],
    ),
    value(Kind::Pin, Shape::Pin, &["pin", "pincode", "pinnumber", "newpin", "oldpin", "pin1", "pin2", "pinvalue",
        "pinentry", "pins", "pinconfirmation", "pinconfirm", "confirmpin", "repin", "mpin", "tpin", "upipin",
        "userpin"]),
    value(
        Kind::Pin,
        Shape::Any,
        &["pinblock", "encryptedpin", "encryptedpinblock", "atmpin", "cardpin", "pindata", "encpin", "epb",
            "pinoffset", "field52", "personalidentificationnumber"],
    ),
    value(
        Kind::Track,
        Shape::Any,
        &["track1", "track2", "track3", "trackone", "tracktwo", "trackdata", "track1data", "track2data",
            "track2equivalent", "track2equivalentdata", "magstripe", "magstripedata", "magneticstripe", "magstrip",
            "emv57", "tag57", "swipedata"],
    ),
    value(Kind::Holder, Shape::Any, &["cardholder", "cardholdername", "nameoncard", "cardname", "ccname", "ccowner"]),
    value(
        Kind::Holder,
        Shape::Date,
        &["expiry", "exp", "expdate", "expirydate", "expiration", "expirationdate", "cardexpiry", "cardexpiration",
            "cardexpirydate", "cardexpirationdate", "ccexp", "validthru", "goodthru"],
    ),
    value(Kind::Holder, Shape::Month, &["expmonth", "expirymonth", "expirationmonth", "ccmonth"]),
    value(Kind::Holder, Shape::Year, &["expyear", "expiryyear", "expirationyear", "ccyear"]),
    value(
        Kind::Secret,
        Shape::Number,
        &["pan", "cardnumber", "cardno", "cardnum", "ccnumber", "ccno", "ccnum", "creditcard",
            "primaryaccountnumber"],
    ),
    value(Kind::Ssn, Shape::Ssn, &["ssn", "socialsecurity", "socialsecuritynumber", "socialsecurityno", "ssnumber"]),
    value(Kind::ApiKey { issuer: AZURE }, Shape::Any, &["accountkey", "sharedaccesskey", "sharedaccesssignature"]),
    value(
        Kind::Secret,
        Shape::Any,
        &["pwd", "credential", "credentials", "accesskey", "secretaccesskey", "signingkey", "encryptionkey",
            "masterkey", "authkey", "seedphrase", "onetimepassword", "onetimecode", "authorizationcode",
            "clientassertion", "samlresponse", "codeverifier", "xamzsignature", "xgoogsignature", "cryptogram",
            "cavv", "ucaf", "secretkeybase", "xfunctionskey", "ocpapimsubscriptionkey", "xsignature", "subscriptionkey",
            "functionskey"],
    ),
    group(
        Meaning::Value(Kind::Secret, Shape::Any),
        true,
        &["password", "passwd", "passphrase", "passcode", "passwort", "secret", "secretkey", "apikey", "privatekey"],
    ),
    group(Meaning::Value(Kind::Secret, Shape::Token), true, &["token", "jsessionid", "phpsessid"]),
    value(
        Kind::Secret,
        Shape::Token,
        &["pass", "dbpw", "dbpass", "session", "sessionid", "sessionkey", "sessiontoken", "mnemonic", "xsrf",
            "csrf"],
    ),
    value(Kind::Secret, Shape::Plural, &["tokens", "passwords", "secrets"]),
    value(Kind::Secret, Shape::OneTime, &["otp", "totp"]),
    group(Meaning::Scheme, false, &["authorization", "authorisation"]),
    group(Meaning::Cookies, false, &["cookie", "setcookie", "cookie2", "setcookie2", "cookies"]),
    group(Meaning::Named, false, &["name", "key", "field"]),
];

/// A name that ends somewhere: what it means, and where it begins.
pub(super) struct Name {
    pub(super) meaning: Meaning,
    pub(super) start: usize,
}

/// The table as it is searched: by the last two characters, longer names first.
pub(super) struct Names {
    slots: Vec<Vec<(&'static [u8], Meaning, bool)>>,
    /// Whether a name can end in these two bytes.
    pairs: Box<[bool; PAIRS]>,
}

/// Pairs of bytes.
const PAIRS: usize = 1 << 16;

/// Letters and digits.
const CHARACTERS: usize = 36;

/// The names of this file.
pub(super) static NAMES: LazyLock<Names> = LazyLock::new(|| {
    let mut slots = vec![Vec::new(); CHARACTERS.saturating_mul(CHARACTERS)];
    for group in GROUPS {
        for name in group.names {
            let slot = slot(name.as_bytes()).and_then(|slot| slots.get_mut(slot));
            slot.into_iter().for_each(|slot| slot.push((name.as_bytes(), group.meaning, group.within)));
        }
    }
    slots.iter_mut().for_each(|slot| slot.sort_by_key(|(name, ..)| std::cmp::Reverse(name.len())));
    let mut pairs = Box::new([false; PAIRS]);
    for (place, pair) in pairs.iter_mut().enumerate() {
        let [.., first, last] = place.to_be_bytes();
        let known = slot(&[first, last]).and_then(|slot| slots.get(slot));
        *pair = is_joint(first) && number(last).is_some() || known.is_some_and(|names| !names.is_empty());
    }
    Names { slots, pairs }
});

impl Names {
    /// Whether a name can end before the sign at `sign`: a cheap look that lets most signs go.
    pub(super) fn may_end(&self, text: &[u8], sign: usize) -> bool {
        let Some(&[first, second, third]) = sign.checked_sub(3).and_then(|at| text.get(at..sign)) else { return true };
        let (first, second) = match third {
            b'"' | b'\'' if !matches!(second, b'\\' | b']') => (first, second),
            b'"' | b'\'' | b' ' | b'\t' | b']' => return true,
            _ => (second, third),
        };
        self.pairs.get(usize::from(u16::from_be_bytes([first, second]))).is_none_or(|known| *known)
    }

    /// The longest name of the table that `text` ends with.
    pub(super) fn at_end(&self, text: &[u8]) -> Option<Name> {
        let slot = self.slots.get(slot(text)?)?;
        let found = slot.iter().find_map(|(name, meaning, within)| {
            let start = start(text, name)?;
            (*within || is_word(text, start)).then_some((*meaning, start))
        });
        found.map(|(meaning, start)| Name { meaning, start })
    }
}

/// The place in the table of the last two characters of `text`.
fn slot(text: &[u8]) -> Option<usize> {
    let (last, rest) = text.split_last()?;
    let before = match rest.split_last()? {
        (b'_' | b'-' | b'.' | b' ', [.., before]) => before,
        (before, _) => before,
    };
    number(*last)?.checked_mul(CHARACTERS)?.checked_add(number(*before)?)
}

fn number(byte: u8) -> Option<usize> {
    char::from(byte).to_digit(36).and_then(|number| usize::try_from(number).ok())
}

/// Where `name` begins, with which `text` ends but for case and one `_ - .` or space between two characters.
fn start(text: &[u8], name: &[u8]) -> Option<usize> {
    let mut rest = text;
    for (place, wanted) in name.iter().rev().enumerate() {
        let (mut byte, mut head) = rest.split_last()?;
        if place > 0 && is_joint(*byte) {
            (byte, head) = head.split_last()?;
        }
        if byte.to_ascii_lowercase() != *wanted {
            return None;
        }
        rest = head;
    }
    Some(rest.len())
}

fn is_joint(byte: u8) -> bool {
    matches!(byte, b'_' | b'-' | b'.' | b' ')
}

/// Whether a word begins at `start`: behind anything but a letter or digit, and with the capital of `cardCvv`.
fn is_word(text: &[u8], start: usize) -> bool {
    let Some(before) = start.checked_sub(1).and_then(|at| text.get(at)) else { return true };
    let is_camel = || before.is_ascii_lowercase() && text.get(start).is_some_and(u8::is_ascii_uppercase);
    !before.is_ascii_alphanumeric() || is_camel()
}

/// Bytes of `value` that count by this shape; none if it has another. A full stop or bracket behind the digits is left, and
/// what makes them the head of a host's name: a port, a label.
pub(super) fn fits(shape: Shape, value: &[u8]) -> Option<usize> {
    let is_host = |pair: &[u8]| match pair {
        [b':', _] => true,
        [b'.' | b'-', next] => next.is_ascii_alphabetic(),
        _ => false,
    };
    let head = || {
        value
            .get(..MAX_HEAD)
            .unwrap_or(value)
            .windows(2)
            .position(is_host)
            .and_then(|end| fits_whole(shape, value.get(..end)?))
    };
    if shape.is_open() { fits_whole(shape, value) } else { fits_whole(shape, value).or_else(head) }
}

fn fits_whole(shape: Shape, value: &[u8]) -> Option<usize> {
    let tail = value.iter().rev().take_while(|byte| matches!(byte, b')' | b'}' | b']' | b'>' | b'.')).count();
    let core = value.get(..value.len().saturating_sub(tail)).unwrap_or_default();
    let digits = core.iter().filter(|byte| byte.is_ascii_digit()).count();
    let is_digits = digits == core.len();
    let grouped = core.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b' ' | b'-' | b'.'));
    let fits = match shape {
        Shape::Any => return (!is_constant(value)).then_some(value.len()),
        Shape::Token => {
            let is_count = is_digits && digits <= MAX_COUNT;
            return (!is_constant(value) && !is_count).then_some(value.len());
        }
        Shape::Plural => return (!is_constant(value) && !is_digits).then_some(value.len()),
        Shape::OneTime => core.len() >= 4 && digits > 0 && core.iter().all(u8::is_ascii_alphanumeric),
        Shape::Code => is_digits && (3..=4).contains(&digits),
        Shape::Pin => {
            is_digits && (4..=12).contains(&digits) || core.len() == 16 && core.iter().all(u8::is_ascii_hexdigit)
        }
        Shape::Number => grouped && (12..=19).contains(&digits),
        Shape::Ssn => grouped && digits == 9,
        Shape::Date => is_date(core),
        Shape::Month => is_digits && digits <= 2 && is_month(core),
        Shape::Year => is_digits && matches!(digits, 2 | 4),
    };
    fits.then_some(core.len())
}

/// Upper bound in bytes of a value of a shape, where a host's name follows it.
const MAX_HEAD: usize = 64;

/// Digits of a number that counts something and is no token: `max_token: 500`.
const MAX_COUNT: usize = 3;

/// What JSON writes for nothing, yes and no says nothing.
pub(super) fn is_constant(value: &[u8]) -> bool {
    ["null", "true", "false"].iter().any(|constant| value.eq_ignore_ascii_case(constant.as_bytes()))
}

fn is_month(digits: &[u8]) -> bool {
    matches!(digits, [b'1'..=b'9'] | [b'0', b'1'..=b'9'] | [b'1', b'0'..=b'2'])
}

/// `MMYY`, `YYMM`, and with years of four digits, with one `/ - .` between or none.
fn is_date(core: &[u8]) -> bool {
    let is_year = |digits: &[u8]| matches!(digits.len(), 2 | 4) && digits.iter().all(u8::is_ascii_digit);
    if let Some(at) = core.iter().position(|byte| matches!(byte, b'/' | b'-' | b'.' | b' ')) {
        let (first, second) =
            (core.get(..at).unwrap_or_default(), core.get(at.saturating_add(1)..).unwrap_or_default());
        return is_month(first) && is_year(second) || first.len() == 4 && is_year(first) && is_month(second);
    }
    let month_first = core.split_at_checked(2).is_some_and(|(month, year)| is_month(month) && is_year(year));
    let year_first = core.len().checked_sub(2).and_then(|at| core.split_at_checked(at));
    month_first || year_first.is_some_and(|(year, month)| is_year(year) && is_month(month))
}
