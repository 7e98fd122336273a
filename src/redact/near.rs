//! What stands beside a card number: the code of its back, the date of its front. Pure; looks at a bounded piece of text per number.
//! Not here: codes and dates that a name tells of (`key`).
//! Source: PCI DSS 3.3.1.2 (security codes are not kept); how lists of cards are written: `NUMBER|MM|YY|CODE`, `NUMBER 12/27 123`.

use std::ops::Range;

use super::kind::{Hit, Kind};

/// How many bytes behind a number are looked at.
const BEHIND: usize = 64;

/// How many bytes before a number are looked at.
const BEFORE: usize = 16;

/// More bytes than a card number takes, its separators included.
const LONGEST: usize = 64;

/// Appends the codes and dates near the card numbers among the hits from `first` on.
pub(super) fn find(text: &[u8], first: usize, hits: &mut Vec<Hit<'_>>) {
    let cards: Vec<(usize, usize)> =
        hits.get(first..).unwrap_or_default().iter().map(|hit| (hit.start, hit.end)).collect();
    for (start, end) in cards.iter().copied() {
        if let Some([date, code]) = chain(text, end) {
            hits.push(Hit { start: date.start, end: date.end, kind: Kind::Holder });
            hits.push(Hit { start: code.start, end: code.end, kind: Kind::SecurityCode });
        }
        let before = start.saturating_sub(BEFORE)..start;
        let behind = end..end.saturating_add(BEHIND).min(text.len());
        for piece in [before, behind] {
            let line = of_the_line(text, piece, end);
            words(text, line, &cards, hits);
        }
    }
}

/// The part of `piece` that stands in the same line as the number that ends at `end`.
fn of_the_line(text: &[u8], piece: Range<usize>, end: usize) -> Range<usize> {
    let bytes = text.get(piece.clone()).unwrap_or_default();
    let is_break = |byte: &u8| matches!(byte, b'\n' | b'\r');
    if piece.start >= end {
        let length = bytes.iter().position(is_break).unwrap_or(bytes.len());
        piece.start..piece.start.saturating_add(length)
    } else {
        let skip = bytes.iter().rposition(is_break).map_or(0, |at| at.saturating_add(1));
        piece.start.saturating_add(skip)..piece.end
    }
}

/// Appends the words of digits in `line` that are codes or dates. A word that has a name of its own (`status=402`) is neither.
fn words<'r>(text: &[u8], line: Range<usize>, cards: &[(usize, usize)], hits: &mut Vec<Hit<'r>>) {
    let mut at = line.start;
    while at < line.end {
        let is_inside = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'/';
        let rest = text.get(at..).unwrap_or_default();
        let length = rest.iter().take_while(|byte| is_inside(byte)).count();
        let end = at.saturating_add(length);
        let word = text.get(at..end).unwrap_or_default();
        if let Some(kind) = kind(word).filter(|_| stands_alone(text, at, end) && !is_of_a_card(cards, at)) {
            hits.push(Hit { start: at, end, kind });
        }
        at = end.saturating_add(1);
    }
}

/// Whether `at` stands within a number. The numbers are in order.
fn is_of_a_card(cards: &[(usize, usize)], at: usize) -> bool {
    let first = cards.partition_point(|(start, _)| start.saturating_add(LONGEST) <= at);
    let mut near = cards.get(first..).unwrap_or_default().iter().take_while(|(start, _)| *start <= at);
    near.any(|(_, end)| at < *end)
}

fn kind<'r>(word: &[u8]) -> Option<Kind<'r>> {
    let all = |word: &[u8]| word.iter().all(u8::is_ascii_digit);
    let is_month = |word: &[u8]| matches!(word, [b'0', b'1'..=b'9'] | [b'1', b'0'..=b'2']);
    match word {
        [_, _, _] | [_, _, _, _] if all(word) => Some(Kind::SecurityCode),
        [month @ .., b'/', _, _] if is_month(month) && all(word.get(3..)?) => Some(Kind::Holder),
        [month @ .., b'/', b'2', b'0', _, _] if is_month(month) && all(word.get(3..)?) => Some(Kind::Holder),
        _ => None,
    }
}

/// Whether nothing that touches the word makes it a part of something else: another number, an address, a time, a name's value.
fn stands_alone(text: &[u8], start: usize, end: usize) -> bool {
    let before = text.get(..start).unwrap_or_default();
    let after = text.get(end..).unwrap_or_default();
    let joined = |sign: u8, beyond: u8| matches!(sign, b'.' | b':' | b'-' | b'_') && beyond.is_ascii_alphanumeric();
    let follows = match after {
        [sign, beyond, ..] => joined(*sign, *beyond) || matches!(sign, b'=' | b'%'),
        _ => false,
    };
    let leads = match before {
        [.., beyond, sign] if joined(*sign, *beyond) => true,
        [.., byte] => byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'%' | b'/'),
        [] => false,
    };
    !follows && !leads && !is_named(before)
}

/// Names whose short numbers are no codes, in small letters; longer names end in them.
const HARMLESS: [&[u8]; 24] = [
    b"status",
    b"port",
    b"amount",
    b"total",
    b"price",
    b"ms",
    b"us",
    b"ns",
    b"bytes",
    b"size",
    b"length",
    b"count",
    b"line",
    b"pid",
    b"id",
    b"seq",
    b"duration",
    b"latency",
    b"year",
    b"quantity",
    b"qty",
    b"version",
    b"mcc",
    b"currency",
];

/// Whether what stands before a word gives it a name of its own: `status=`, `"amount": `. A name that nobody knows saves nothing.
fn is_named(before: &[u8]) -> bool {
    let unquoted = |text: &[u8]| -> usize { text.strip_suffix(b"\"").unwrap_or(text).trim_ascii_end().len() };
    let trimmed = before.trim_ascii_end();
    let trimmed = trimmed.get(..unquoted(trimmed)).unwrap_or_default();
    let Some((b'=' | b':', name)) = trimmed.split_last() else { return false };
    let name = name.trim_ascii_end();
    let name = name.get(..unquoted(name)).unwrap_or_default();
    HARMLESS.iter().any(|harmless| {
        let tail = name.len().checked_sub(harmless.len()).and_then(|at| name.get(at..));
        tail.is_some_and(|tail| tail.eq_ignore_ascii_case(harmless))
    })
}

/// Month, year and code in one chain right behind a number: `:12:27:123`, `-12-2027-1234`. Where each of the two begins and ends.
fn chain(text: &[u8], end: usize) -> Option<[Range<usize>; 2]> {
    let sign = *text.get(end).filter(|byte| b":/-|,; ".contains(byte))?;
    let month = word(text, end.saturating_add(1), sign)?;
    let year = word(text, month.end.saturating_add(1), sign)?;
    let code = word(text, year.end.saturating_add(1), sign)?;
    let is_chain = month.len() == 2 && matches!(year.len(), 2 | 4) && matches!(code.len(), 3 | 4);
    let is_alone = !text.get(code.end).is_some_and(u8::is_ascii_alphanumeric);
    (is_chain && is_alone).then_some([month.start..year.end, code])
}

/// The digits at `start`, right behind `sign`.
fn word(text: &[u8], start: usize, sign: u8) -> Option<Range<usize>> {
    text.get(start.checked_sub(1)?).filter(|byte| **byte == sign)?;
    let digits = text.get(start..)?.iter().take(5).take_while(|byte| byte.is_ascii_digit()).count();
    (digits > 0).then(|| start..start.saturating_add(digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> String {
        let start = text.find('4').unwrap();
        let mut hits = vec![Hit { start, end: start + 16, kind: Kind::Card { brand: "visa", digits: 16 } }];
        find(text.as_bytes(), 0, &mut hits);
        hits.dedup(); // a code in a chain stands alone, too
        let words = hits.iter().skip(1).map(|hit| format!("{}={}", hit.kind, text.get(hit.start..hit.end).unwrap()));
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn codes_and_dates_by_table() {
        for (text, want) in [
            ("4111111111111111 123", "[erased:security_code]=123"),
            ("4111111111111111|12|27|123", "[erased:holder]=12|27 [erased:security_code]=123"),
            ("4111111111111111|12/27|1234", "[erased:holder]=12/27 [erased:security_code]=1234"),
            ("4111111111111111,12/2027,123,Jo", "[erased:holder]=12/2027 [erased:security_code]=123"),
            ("123 4111111111111111", "[erased:security_code]=123"),
            ("123\n4111111111111111\n123", ""),
            ("4111111111111111 status=402 \"amount\": 123, http_status: 404", ""),
            ("4111111111111111\",\"code\":\"123\"", "[erased:security_code]=123"),
            ("pan=4111111111111111&exp=0129&code=123", "[erased:security_code]=0129 [erased:security_code]=123"),
            ("4111111111111111:12:27:123", "[erased:holder]=12:27 [erased:security_code]=123"),
            ("4111111111111111-12-2027-1234;", "[erased:holder]=12-2027 [erased:security_code]=1234"),
            ("4111111111111111 12 27 1234x", ""),
            ("4111111111111111 HTTP/1.1 13/27 12345 a123 123b", ""),
            ("4111111111111111 10.200.300.123 12:30:123 2027-01-01 x-123", ""),
            ("4111111111111111=2712101", ""),
            ("4111111111111111 and then, after very many words and very many more words, there is 123", ""),
        ] {
            assert_eq!(found(text), want, "`{text}`");
        }
    }
}
