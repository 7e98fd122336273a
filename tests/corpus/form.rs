//! How a card number can be written: groups and what stands between them, and encodings.
//! Not here: what stands around it (`context`).

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::context::{Context, Needs};

/// One way of writing.
pub struct Form {
    pub name: &'static str,
    /// `None`: not for a number of this length.
    pub write: fn(&str) -> Option<Written>,
    shape: Shape,
}

/// A number as it is written.
pub struct Written {
    pub text: String,
    /// What stands for the digits alone.
    pub core: String,
}

/// What a form can stand in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Digits alone.
    Digits,
    /// Begins with a digit and has no blanks or signs of queries.
    Joined,
    /// Has blanks.
    Blank,
    /// Has `&` and `;`.
    Html,
    /// A word in another alphabet: no letters may touch it.
    Word,
    /// Its escapes are read in JSON alone.
    Json,
    /// Read in queries, forms and paths.
    Percent,
}

impl Form {
    pub fn fits(&self, context: &Context) -> bool {
        match context.needs {
            Needs::Nothing => self.shape != Shape::Json || context.is_json,
            Needs::Digits => self.shape == Shape::Digits,
            Needs::DigitFirst => !matches!(self.shape, Shape::Word | Shape::Json | Shape::Html),
            Needs::Query => matches!(self.shape, Shape::Digits | Shape::Joined | Shape::Word | Shape::Percent),
        }
    }
}

const fn form(name: &'static str, shape: Shape, write: fn(&str) -> Option<Written>) -> Form {
    Form { name, write, shape }
}

pub const FORMS: &[Form] = &[
    form("bare", Shape::Digits, |number| plain(number.to_owned())),
    form("blank", Shape::Blank, |number| plain(grouped(number, " "))),
    form("two blanks", Shape::Blank, |number| plain(grouped(number, "  "))),
    form("dash", Shape::Joined, |number| plain(grouped(number, "-"))),
    form("dot", Shape::Joined, |number| plain(grouped(number, "."))),
    form("underscore", Shape::Joined, |number| plain(grouped(number, "_"))),
    form("plus", Shape::Joined, |number| plain(grouped(number, "+"))),
    form("no-break space", Shape::Blank, |number| plain(grouped(number, "\u{a0}"))),
    form("thin space", Shape::Blank, |number| plain(grouped(number, "\u{2009}"))),
    form("narrow no-break space", Shape::Blank, |number| plain(grouped(number, "\u{202f}"))),
    form("6 and the rest", Shape::Joined, |number| {
        (number.len() == 19).then(|| <[_; 2]>::from(number.split_at(6)).join("-")).and_then(plain)
    }),
    form("%20", Shape::Percent, |number| plain(grouped(number, "%20"))),
    form("%2D", Shape::Percent, |number| plain(grouped(number, "%2D"))),
    form("%c2%a0", Shape::Percent, |number| plain(grouped(number, "%c2%a0"))),
    form("%2520", Shape::Percent, |number| plain(grouped(number, "%2520"))),
    form("digits as %3N", Shape::Percent, |number| plain(each(number, |digit| format!("%3{digit}")))),
    form("digits as %253N", Shape::Percent, |number| plain(each(number, |digit| format!("%253{digit}")))),
    form("groups as %3N", Shape::Percent, |number| {
        plain(grouped(number, " ").replace(' ', "%20")).map(|written| {
            let text =
                each(&written.text.replace("%20", " "), |c| if c == ' ' { "%20".into() } else { format!("%3{c}") });
            Written { core: text.clone(), text }
        })
    }),
    form("\\u0020", Shape::Json, |number| plain(grouped(number, "\\u0020"))),
    form("\\u00a0", Shape::Json, |number| plain(grouped(number, "\\u00a0"))),
    form("digits as \\u003N", Shape::Json, |number| plain(each(number, |digit| format!("\\u003{digit}")))),
    form("&nbsp;", Shape::Html, |number| plain(grouped(number, "&nbsp;"))),
    form("&#160;", Shape::Html, |number| plain(grouped(number, "&#160;"))),
    form("digits as &#NN;", Shape::Html, |number| plain(each(number, |digit| format!("&#{};", u32::from(digit))))),
    form("digits as &#xNN;", Shape::Html, |number| plain(each(number, |digit| format!("&#x3{digit};")))),
    form("full-width", Shape::Joined, |number| plain(wide(number))),
    form("full-width with dashes", Shape::Joined, |number| plain(wide(&grouped(number, "-")))),
    form("base64", Shape::Word, |number| base64("", number, "")),
    form("base64, second phase", Shape::Word, |number| base64("a", number, "")),
    form("base64, third phase", Shape::Word, |number| base64("ab", number, "z")),
    form("base64 with blanks", Shape::Word, |number| base64("", &grouped(number, " "), "")),
    form("base64 with dashes", Shape::Word, |number| base64("n:", &grouped(number, "-"), "")),
    form("base64 of JSON", Shape::Word, |number| base64("{\"pan\":\"", number, "\",\"cvv\":\"x\"}")),
    form("base64 of JSON, second phase", Shape::Word, |number| base64("{\"card\":\"", number, "\"}")),
    form("base64 of JSON, third phase", Shape::Word, |number| base64("{ \"card\":\"", number, "\"}")),
    form("base64 of JSON with blanks", Shape::Word, |number| base64("{\"pan\":\"", &grouped(number, " "), "\"}")),
    form("base64url", Shape::Word, |number| {
        let text = URL_SAFE_NO_PAD.encode(format!("??>{number}"));
        Some(Written { core: text.get(4..text.len() - 3).unwrap_or_default().to_owned(), text })
    }),
    form("hex", Shape::Word, |number| plain(hex(number))),
    form("HEX", Shape::Word, |number| plain(hex(&grouped(number, " ")).to_ascii_uppercase())),
    form("hex of JSON", Shape::Word, |number| {
        Some(Written { text: hex(&format!("{{\"pan\":\"{number}\"}}")), core: hex(number) })
    }),
];

fn plain(text: String) -> Option<Written> {
    Some(Written { core: text.clone(), text })
}

/// In groups as they are printed on cards of this length.
fn grouped(number: &str, separator: &str) -> String {
    let groups: &[usize] = match number.len() {
        13 => &[4, 4, 5],
        14 => &[4, 6, 4],
        15 => &[4, 6, 5],
        16 => &[4, 4, 4, 4],
        17 => &[4, 4, 4, 5],
        18 => &[4, 4, 4, 6],
        _ => &[4, 4, 4, 4, 3],
    };
    let (mut rest, mut parts) = (number, Vec::new());
    for length in groups {
        let (part, others) = rest.split_at(*length);
        parts.push(part);
        rest = others;
    }
    parts.join(separator)
}

fn each(text: &str, write: impl Fn(char) -> String) -> String {
    text.chars().map(write).collect()
}

fn wide(text: &str) -> String {
    let wide = |c: char| c.to_digit(10).and_then(|digit| char::from_u32(0xff10 + digit)).unwrap_or(c);
    text.chars().map(wide).collect()
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// The core is what only the digits of `number` make.
fn base64(before: &str, number: &str, after: &str) -> Option<Written> {
    let text = STANDARD.encode(format!("{before}{number}{after}"));
    let first = before.len().div_ceil(3) * 4;
    let last = (before.len() + number.len()) / 3 * 4;
    Some(Written { core: text.get(first..last).unwrap_or_default().to_owned(), text })
}
