//! What a card number stands in.
//! Not here: how it is written (`form`).

/// What stands around a number.
pub struct Context {
    pub name: &'static str,
    pub around: (&'static str, &'static str),
    pub needs: Needs,
    pub is_json: bool,
}

/// Which forms can stand there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    Nothing,
    /// Digits alone.
    Digits,
    /// Letters touch it.
    DigitFirst,
    /// No blanks, no `&`, no `;`.
    Query,
}

const fn context(name: &'static str, around: (&'static str, &'static str), needs: Needs) -> Context {
    Context { name, around, needs, is_json: false }
}

const fn json(name: &'static str, around: (&'static str, &'static str), needs: Needs) -> Context {
    Context { name, around, needs, is_json: true }
}

pub const CONTEXTS: &[Context] = &[
    json("JSON string", ("{\"id\":17,\"n\":\"", "\",\"amount\":100}"), Needs::Nothing),
    json("JSON number", ("{\"id\":17,\"n\":", ",\"amount\":100}"), Needs::Digits),
    json("JSON in a log line", ("2026-11-22T10:00:00Z INFO {\"msg\":\"charge ", " done\",\"ms\":12}"), Needs::Nothing),
    context("query", ("GET /pay?ref=A7&n=", "&amount=10 HTTP/1.1"), Needs::Query),
    context("form", ("name=Ada&n=", "&exp=12%2F28"), Needs::Query),
    context("path", ("/v1/charge/", "/refund"), Needs::Query),
    context("header", ("X-Reference: ", "\r"), Needs::Nothing),
    context("CSV", ("17,", ",Ada Lovelace,12.50"), Needs::Nothing),
    context("quoted CSV", ("\"17\",\"", "\",\"Ada Lovelace\",\"12.50\""), Needs::Nothing),
    context("prose", ("The payment with ", " was declined."), Needs::Nothing),
    context("letters before", ("PAN", ""), Needs::DigitFirst),
    context("letters behind", ("ref=", "EUR"), Needs::Digits),
    context("log line", ("2026-11-22 10:00:00.123 WARN  [http-8] charge failed n=", " code=51"), Needs::Nothing),
    context("XML", ("<Card><Number>", "</Number><Id>7</Id></Card>"), Needs::Nothing),
    context("attribute", ("<card n='", "'/>"), Needs::Nothing),
    context("alone", ("", ""), Needs::Nothing),
    context("other bytes", ("\u{fffd}\u{0}", "\u{0}\u{7}"), Needs::Nothing),
];
