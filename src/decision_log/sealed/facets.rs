//! What summaries count and queries ask for: eight fields of a record, its number and its time.
//! Not here: the other fields (`record`). A line that is no record of ours is refused with what is wrong with it.
//! Source: the contract's list of fields.

use std::borrow::Cow;

use super::fields::{Fields, Malformed};
use super::time::RecordTime;
use crate::decision_log::entry::MAX_LINE;
use crate::decision_log::record::Kind;
use crate::policy::Outcome;

/// A field by which records are filtered or counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the fields are the format's; the manual describes each")]
pub enum Facet {
    Kind,
    Outcome,
    Reason,
    Customer,
    Source,
    Rule,
    Host,
    Id,
}

impl Facet {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Kind, Self::Outcome, Self::Reason, Self::Customer, Self::Source, Self::Rule, Self::Host, Self::Id];

    /// Those whose values are few, so that a segment's summary counts by them.
    pub const COUNTED: [Self; 6] = [Self::Kind, Self::Outcome, Self::Reason, Self::Customer, Self::Source, Self::Rule];

    /// The one with this name.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "kind" => Self::Kind,
            "outcome" => Self::Outcome,
            "reason" => Self::Reason,
            "customer" => Self::Customer,
            "source" => Self::Source,
            "rule" => Self::Rule,
            "host" => Self::Host,
            "id" => Self::Id,
            _ => return None,
        })
    }

    /// The field's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kind => "kind",
            Self::Outcome => "outcome",
            Self::Reason => "reason",
            Self::Customer => "customer",
            Self::Source => "source",
            Self::Rule => "rule",
            Self::Host => "host",
            Self::Id => "id",
        }
    }
}

/// One line, read for its facets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facets<'a> {
    seq: u64,
    time: RecordTime,
    /// In the order of [`Facet::ALL`].
    values: [Option<Cow<'a, str>>; Facet::ALL.len()],
}

/// Why a line is no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LineFault {
    /// It doesn't begin as records do.
    #[error("does not begin with `{{\"v\":1,\"seq\":`, a number and a comma")]
    Frame,
    /// It is another record.
    #[error("has number {seq}")]
    Number {
        /// The number that it has.
        seq: u64,
    },
    /// It is no line of text.
    #[error("is not one line of UTF-8 that ends in `}}`, without control characters and of at most 16 KiB")]
    Text,
    /// It is no JSON object.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A field is no text, or not one that the field may have.
    #[error("has a `{field}` that no record has")]
    Value {
        /// The field.
        field: &'static str,
    },
    /// A field stands there twice, so readers would disagree.
    #[error("has `{field}` twice")]
    Twice {
        /// The field.
        field: &'static str,
    },
    /// Every record has time and kind.
    #[error("has no `{field}`")]
    Missing {
        /// The field.
        field: &'static str,
    },
}

impl<'a> Facets<'a> {
    /// Reads a line without its newline. What stands behind `host` is not read: in the contract's order that is half of the
    /// line, and none of these.
    ///
    /// # Errors
    /// It is no record of ours.
    pub fn of(line: &'a [u8]) -> Result<Self, LineFault> {
        let mut fields = Fields::of(text(line).ok_or(LineFault::Text)?);
        let seq = frame(&mut fields).ok_or(LineFault::Frame)?;
        let mut time = None;
        let mut values = [const { None }; Facet::ALL.len()];
        for field in fields {
            let (key, raw) = field?;
            if let Some(facet) = Facet::named(key) {
                let field = facet.as_str();
                let text = raw.text().ok_or(LineFault::Value { field })?;
                let value = values.get_mut(facet as usize).and_then(|value| value.replace(text));
                refuse_twice(value.is_some(), field)?;
                if facet == Facet::Host {
                    break;
                }
            } else if key == "time" {
                let read = raw.text().and_then(|text| text.parse().ok()).ok_or(LineFault::Value { field: "time" })?;
                refuse_twice(time.replace(read).is_some(), "time")?;
            }
        }
        let facets = Self { seq, time: time.ok_or(LineFault::Missing { field: "time" })?, values };
        facets.check_words()?;
        Ok(facets)
    }

    /// Its number.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Its time.
    pub fn time(&self) -> RecordTime {
        self.time
    }

    /// What it has there.
    pub fn get(&self, facet: Facet) -> Option<&str> {
        self.values.get(facet as usize)?.as_deref()
    }

    /// Kind and outcome are words of closed lists; so counts by them are always few.
    fn check_words(&self) -> Result<(), LineFault> {
        let kind = self.get(Facet::Kind).ok_or(LineFault::Missing { field: "kind" })?;
        if !Kind::ALL.iter().any(|known| known.as_str() == kind) {
            return Err(LineFault::Value { field: "kind" });
        }
        match self.get(Facet::Outcome) {
            Some(outcome) if !Outcome::ALL.iter().any(|known| known.as_str() == outcome) => {
                Err(LineFault::Value { field: "outcome" })
            }
            _ => Ok(()),
        }
    }
}

/// A line's text, if it is one.
fn text(line: &[u8]) -> Option<&str> {
    // Without an early end, so that it is done in wide registers.
    let has_controls = line.iter().fold(false, |found, byte| found | byte.is_ascii_control());
    let is_whole = line.last() == Some(&b'}') && line.len() < MAX_LINE;
    str::from_utf8(line).ok().filter(|_| is_whole && !has_controls)
}

/// The number of the record that begins with these fields, which are taken.
fn frame(fields: &mut Fields<'_>) -> Option<u64> {
    let mut next = |name| fields.next()?.ok().filter(|(key, _)| *key == name).map(|(_, raw)| raw.json());
    let version = next("v")?;
    let digits = next("seq")?;
    let is_number = digits.iter().all(u8::is_ascii_digit) && (digits.len() == 1 || digits.first() != Some(&b'0'));
    let seq = str::from_utf8(digits).ok()?.parse().ok()?;
    (version == b"1" && is_number).then_some(seq)
}

fn refuse_twice(is_twice: bool, field: &'static str) -> Result<(), LineFault> {
    if is_twice { Err(LineFault::Twice { field }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = r#""time":"2026-11-21T10:00:00.000001Z","kind":"close""#;

    #[test]
    fn each_facet_is_found_wherever_it_stands() {
        for facet in Facet::ALL {
            let name = facet.as_str();
            assert_eq!(Facet::named(name), Some(facet), "{name}");
            let value = match facet {
                Facet::Kind => "stop",
                Facet::Outcome => "deny",
                Facet::Reason | Facet::Customer | Facet::Source | Facet::Rule | Facet::Host | Facet::Id => r"x\u0041",
            };
            let kind = if facet == Facet::Kind { "" } else { r#","kind":"stop""# };
            let line = format!(
                r#"{{"v":1,"seq":7,"a":{{"{name}":1}},"time":"2026-11-21T10:00:00.000001Z"{kind},"{name}":"{value}","b":[]}}"#
            );
            let facets = Facets::of(line.as_bytes()).unwrap();
            assert_eq!(facets.get(facet), Some(value.replace(r"\u0041", "A").as_str()), "{line}");
            assert_eq!((facets.seq(), facets.time().as_str()), (7, "2026-11-21T10:00:00.000001Z"), "{line}");
            let other = if facet == Facet::Reason { Facet::Rule } else { Facet::Reason };
            assert_eq!(facets.get(other), None, "{line}");
        }
        assert_eq!(Facet::named("time"), None);
    }

    #[test]
    fn what_is_no_record_is_refused_by_table() {
        let framed = |rest: &str| format!(r#"{{"v":1,"seq":7,{rest}}}"#).into_bytes();
        let with = |rest: &str| framed(&format!("{TIME},{rest}"));
        assert!(Facets::of(&framed(TIME)).is_ok());
        let value = |field| LineFault::Value { field };
        for (name, line, want) in [
            ("nothing", Vec::new(), LineFault::Text),
            ("nothing in it", b"{}".to_vec(), LineFault::Frame),
            ("another version", format!(r#"{{"v":2,"seq":7,{TIME}}}"#).into_bytes(), LineFault::Frame),
            ("no number", format!(r#"{{"v":1,{TIME}}}"#).into_bytes(), LineFault::Frame),
            ("a number written twice as long", format!(r#"{{"v":1,"seq":07,{TIME}}}"#).into_bytes(), LineFault::Frame),
            ("a sign", format!(r#"{{"v":1,"seq":+7,{TIME}}}"#).into_bytes(), LineFault::Frame),
            (
                "a number that is too large",
                format!(r#"{{"v":1,"seq":18446744073709551616,{TIME}}}"#).into_bytes(),
                LineFault::Frame,
            ),
            ("another order", format!(r#"{{"seq":7,"v":1,{TIME}}}"#).into_bytes(), LineFault::Frame),
            ("a control character", with("\"a\":\"\t\""), LineFault::Text),
            ("not UTF-8", [&with("\"a\":\"")[..], b"\xff\"}"].concat(), LineFault::Text),
            ("half", format!(r#"{{"v":1,"seq":7,{TIME},"host":"a"#).into_bytes(), LineFault::Text),
            ("too long", with(&format!(r#""a":"{}""#, "x".repeat(MAX_LINE))), LineFault::Text),
            ("no object", framed(&format!("{TIME},\"a\"")), LineFault::Malformed(Malformed { at: 15 + TIME.len() })),
            ("no time", framed(r#""kind":"stop""#), LineFault::Missing { field: "time" }),
            ("no kind", framed(r#""time":"2026-11-21T10:00:00.000001Z""#), LineFault::Missing { field: "kind" }),
            ("another time", framed(r#""time":"2026-11-21T10:00:00Z","kind":"stop""#), value("time")),
            ("a time that is no text", framed(r#""time":7,"kind":"stop""#), value("time")),
            ("another kind", framed(&TIME.replace("close", "closed")), value("kind")),
            ("another outcome", with(r#""outcome":"maybe""#), value("outcome")),
            ("a host that is no text", with(r#""host":["x"]"#), value("host")),
            ("a bad escape", with(r#""rule":"\x""#), value("rule")),
            ("two sources", with(r#""source":"a","source":"a""#), LineFault::Twice { field: "source" }),
            ("two times", with(TIME), LineFault::Twice { field: "time" }),
        ] {
            assert_eq!(Facets::of(&line).map(|_| ()), Err(want), "{name}: {}", line.escape_ascii());
        }
    }
}
