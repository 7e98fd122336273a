//! From a file's bytes to text: UTF-8, or a fault at the byte that is none.
//! Not here: what the text says (`read`).
//! Source: YAML 1.2.2, section 5.2; of the encodings there only UTF-8 is accepted.

use super::fault::{Faults, Place};

/// The text of a file; `file` is the caller's index of it. Bytes that are no UTF-8 are one fault, at the first of them;
/// the text then has U+FFFD in their place, so that other faults are found too.
pub fn decode(bytes: Vec<u8>, file: u32, faults: &mut Faults) -> String {
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let bytes = error.as_bytes();
            let (before, from) = bytes.split_at_checked(error.utf8_error().valid_up_to()).unwrap_or_default();
            let place = behind(&String::from_utf8_lossy(before), file);
            let byte = from.first().copied().unwrap_or_default();
            faults.at(place, format!("the byte 0x{byte:02x} is no UTF-8; save the file as UTF-8"));
            String::from_utf8_lossy(bytes).into_owned()
        }
    }
}

/// The place right behind `text`. Lines end as they do for the reader: with LF, CR, or both.
fn behind(text: &str, file: u32) -> Place {
    let mut place = Place { file, line: 1, column: 1 };
    let mut last = '\0';
    for c in text.chars() {
        match (last, c) {
            ('\r', '\n') => {}
            (_, '\r' | '\n') => place = Place { line: place.line.saturating_add(1), column: 1, ..place },
            (_, _) => place.column = place.column.saturating_add(1),
        }
        last = c;
    }
    place
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bytes_that_are_no_utf_8() {
        for (row, bytes, place, byte) in [
            ("Latin-1", &b"a: x\nowner: M\xfcller\nb: \xe9\n"[..], "2:9", "0xfc"),
            ("in characters", b"\xc3\xa9\xc3\xa9\xff", "1:3", "0xff"),
            ("cut short", b"a: \xe2\x82", "1:4", "0xe2"),
            ("UTF-16", b"\xff\xfea\0", "1:1", "0xff"),
            ("CR LF and CR", b"a\r\nb\rc\n\x80", "4:1", "0x80"),
            ("a surrogate", b"\xed\xa0\x80", "1:1", "0xed"),
        ] {
            let mut faults = Faults::new();
            let text = decode(bytes.to_vec(), 0, &mut faults);
            let lines: Vec<String> = faults.iter().map(|fault| fault.line(&["f"])).collect();
            assert_eq!(lines, [format!("f:{place}: the byte {byte} is no UTF-8; save the file as UTF-8")], "{row}");
            assert_eq!(text, String::from_utf8_lossy(bytes), "{row}");
        }
    }

    proptest! {
        #[test]
        fn text_is_itself(text: String) {
            let mut faults = Faults::new();
            prop_assert_eq!(decode(text.clone().into_bytes(), 0, &mut faults), text);
            prop_assert!(faults.is_empty());
        }

        /// What stands behind a text without quotes and comments is placed as the reader places it.
        #[test]
        fn places_are_the_readers(lines in prop::collection::vec("[a-zé]{1,4}: [a-zé ]{0,4}(\r\n|\n|\r)", 0..5)) {
            let text = lines.concat();
            let mut faults = Faults::new();
            super::super::parse(&format!("{text}? !t x"), 0, &mut faults);
            let place = Place { column: 3, ..behind(&text, 0) };
            prop_assert!(faults.iter().any(|fault| fault.place == Some(place)), "{place:?} {faults:?}");
        }
    }
}
