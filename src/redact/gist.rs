//! What a text can hold at all, from one pass over its bytes: the cheap test before every detector. Pure.
//! Not here: finding anything. What this test does not see, no detector has to look for.
//! Source: bit-parallel matching of short patterns (Baeza-Yates and Gonnet, 1992): one bit a place of a pattern.

/// Digits of the shortest card number: Maestro has some of 12.
pub(super) const MIN_DIGITS: usize = 12;

/// Four characters that carry three bytes of a card number in base64: for each of the four, those that can stand there
/// if every byte is a digit or a separator (a blank, `-`, `.`, `_`, `+`).
const PACKED: [&[u8]; 4] = [b"IKLMNOX", b"CDFSTVijlyz1", b"ABEFIJMNQRUVYZcdghklst014589", b"fgrtuwxyz012345"];

/// Characters of base64 of which so many in a row must fit: nine digits of a card number, wherever the first one falls.
const PACKED_PLACES: u32 = 12;

/// Hexadecimal digits of which so many in a row must fit: twelve digits or separators.
const HEX_PLACES: u32 = 24;

const PACKED_AT: u32 = 0;
const HEX_AT: u32 = PACKED_AT + PACKED_PLACES;
const ACCOUNT_AT: u32 = HEX_AT + HEX_PLACES;
const PERCENT_AT: u32 = ACCOUNT_AT + 8;
const ESCAPE_AT: u32 = PERCENT_AT + 3;
const ENTITY_AT: u32 = ESCAPE_AT + 1;
const WIDE_AT: u32 = ENTITY_AT + 2;
const SIGN_AT: u32 = WIDE_AT + 1;
const HIDDEN_AT: u32 = SIGN_AT + 1;

/// The first place of each pattern: a match may begin at every byte.
const FIRST: u64 = 1 << PACKED_AT
    | 1 << HEX_AT
    | 1 << ACCOUNT_AT
    | 1 << PERCENT_AT
    | 1 << ESCAPE_AT
    | 1 << ENTITY_AT
    | 1 << WIDE_AT
    | 1 << SIGN_AT
    | 1 << HIDDEN_AT;

const PACKED_END: u64 = 1 << (HEX_AT - 1);
const HEX_END: u64 = 1 << (ACCOUNT_AT - 1);
const ACCOUNT_END: u64 = 1 << (PERCENT_AT - 1);
const ENCODED_END: u64 = 1 << (ESCAPE_AT - 1) | 1 << ESCAPE_AT | 1 << (WIDE_AT - 1) | 1 << WIDE_AT;
const SIGN_END: u64 = 1 << SIGN_AT;
const HIDDEN_END: u64 = 1 << HIDDEN_AT;

/// For each byte, the places of all patterns at which it may stand.
const PLACES: [u64; 256] = places();

/// For each byte: 1 for a digit.
const DIGIT: [u32; 256] = digits();

/// For each byte: all ones if it leaves a run of digits going.
const KEEPS: [u32; 256] = keeps();

/// What a text can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gist {
    seen: u64,
    digits: u32,
}

impl Gist {
    pub(super) fn of(text: &[u8]) -> Self {
        let (mut at, mut seen) = (0_u64, 0_u64);
        let (mut run, mut digits) = (0_u32, 0_u32);
        for byte in text {
            let byte = usize::from(*byte);
            at = ((at << 1) | FIRST) & PLACES.get(byte).copied().unwrap_or_default();
            seen |= at;
            run = (run & KEEPS.get(byte).copied().unwrap_or_default())
                .wrapping_add(DIGIT.get(byte).copied().unwrap_or_default());
            digits = digits.max(run);
        }
        Self { seen, digits }
    }

    /// Whether there may be so many digits with nothing but separators between them.
    pub(super) fn has_digits(self, count: usize) -> bool {
        usize::try_from(self.digits).is_ok_and(|digits| digits >= count)
    }

    /// Whether there may be digits in base64.
    pub(super) fn has_base64(self) -> bool {
        self.seen & PACKED_END != 0
    }

    /// Whether there may be digits as hexadecimal ASCII.
    pub(super) fn has_hex(self) -> bool {
        self.seen & HEX_END != 0
    }

    /// Whether there is something like the head of an international bank account number.
    pub(super) fn has_account(self) -> bool {
        self.seen & ACCOUNT_END != 0
    }

    /// Whether there is a sign of percent-encoding, an escape, an entity, or a character that may stand for an ASCII one.
    pub(super) fn has_encoding(self) -> bool {
        self.seen & ENCODED_END != 0
    }

    /// Whether there is a sign that gives a name its value: `=` or `:`.
    pub(super) fn has_sign(self) -> bool {
        self.seen & SIGN_END != 0
    }

    /// Whether there is anything but printable ASCII.
    pub(super) fn has_hidden(self) -> bool {
        self.seen & HIDDEN_END != 0
    }
}

/// Where (one behind the last byte) something ends that may be digits in base64.
pub(super) fn base64_ends(text: &[u8]) -> impl Iterator<Item = usize> {
    ends(text, PACKED_END)
}

/// Where (one behind the last byte) something ends that may be digits as hexadecimal ASCII.
pub(super) fn hex_ends(text: &[u8]) -> impl Iterator<Item = usize> {
    ends(text, HEX_END)
}

/// Bytes that something has which [`base64_ends`] and [`hex_ends`] tell the end of.
pub(super) const PACKED_LENGTH: usize = PACKED_PLACES as usize;
pub(super) const HEX_LENGTH: usize = HEX_PLACES as usize;

fn ends(text: &[u8], end: u64) -> impl Iterator<Item = usize> {
    let mut at = 0_u64;
    text.iter().zip(1_usize..).filter_map(move |(byte, behind)| {
        at = ((at << 1) | FIRST) & PLACES.get(usize::from(*byte)).copied().unwrap_or_default();
        (at & end != 0).then_some(behind)
    })
}

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, within 256")]
const fn places() -> [u64; 256] {
    let mut table = [0; 256];
    let mut place = 0;
    while place < PACKED_PLACES {
        let fits = PACKED[place as usize % 4];
        let mut at = 0;
        while at < fits.len() {
            table[fits[at] as usize] |= 1 << (PACKED_AT + place);
            at += 1;
        }
        place += 1;
    }
    let mut byte = 0;
    while byte < 256 {
        let c = byte as u8;
        let hex = c.is_ascii_hexdigit();
        let mut place = 0;
        while place < HEX_PLACES {
            let fits = if place % 2 == 0 { matches!(c, b'2' | b'3' | b'5') } else { hex };
            if fits {
                table[byte] |= 1 << (HEX_AT + place);
            }
            place += 1;
        }
        let mut place = 0;
        while place < 8 {
            let fits = match place {
                0 | 1 => c.is_ascii_alphabetic(),
                2 | 3 => c.is_ascii_digit(),
                4 => c.is_ascii_alphanumeric() || c == b' ',
                _ => c.is_ascii_alphanumeric(),
            };
            if fits {
                table[byte] |= 1 << (ACCOUNT_AT + place);
            }
            place += 1;
        }
        if c == b'%' {
            table[byte] |= 1 << PERCENT_AT;
        }
        if hex {
            table[byte] |= 1 << (PERCENT_AT + 1) | 1 << (PERCENT_AT + 2);
        }
        if c == b'\\' {
            table[byte] |= 1 << ESCAPE_AT;
        }
        if c == b'&' {
            table[byte] |= 1 << ENTITY_AT;
        }
        if c == b'#' || c.is_ascii_alphabetic() {
            table[byte] |= 1 << (ENTITY_AT + 1);
        }
        if matches!(c, 0xc2 | 0xe2 | 0xe3 | 0xef) {
            table[byte] |= 1 << WIDE_AT;
        }
        if matches!(c, b'=' | b':') {
            table[byte] |= 1 << SIGN_AT;
        }
        if !matches!(c, 0x20..=0x7e) {
            table[byte] |= 1 << HIDDEN_AT;
        }
        byte += 1;
    }
    table
}

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, within 256")]
const fn digits() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = b'0';
    while byte <= b'9' {
        table[byte as usize] = 1;
        byte += 1;
    }
    table
}

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, within 256")]
const fn keeps() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        if matches!(byte as u8, b'0'..=b'9' | b' ' | b'-' | b'.' | b'_' | b'+') {
            table[byte] = u32::MAX;
        }
        byte += 1;
    }
    table
}
