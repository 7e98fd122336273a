//! What a scalar without quotes is: nothing, a boolean, a number, or a text. Pure.
//! Not here: a number's value; the key decides whether it wants one. YAML 1.1's `yes`, `off`, `True` are texts here.
//! Source: YAML 1.2.2, section 10.3.2 (core schema), its booleans in lower case alone.

use super::node::{Style, Value};

/// Resolves a plain scalar.
pub fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ if is_number(text) => Value::Number(text.into()),
        _ => Value::Text(text.into(), Style::Plain),
    }
}

/// A word that YAML 1.1 readers take for a boolean, and this one does not.
pub fn is_old_boolean(text: &str) -> bool {
    const WORDS: [&str; 8] = ["y", "n", "yes", "no", "on", "off", "true", "false"];
    WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// Integers (decimal, `0o…`, `0x…`) and floats of the core schema.
fn is_number(text: &str) -> bool {
    if let Some(digits) = text.strip_prefix("0o") {
        return !digits.is_empty() && digits.bytes().all(|b| matches!(b, b'0'..=b'7'));
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.strip_prefix(['-', '+']).unwrap_or(exponent)),
        None => (unsigned, "0"),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let some = !whole.is_empty() || (mantissa.len() > 1 && !fraction.is_empty());
    some && digits(whole) && digits(fraction) && !exponent.is_empty() && digits(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars() {
        let text = |text: &str| Value::Text(text.into(), Style::Plain);
        let number = |text: &str| Value::Number(text.into());
        for null in ["", "~", "null", "Null", "NULL"] {
            assert_eq!(resolve(null), Value::Null, "`{null}`");
        }
        for yes in
            ["1", "-1", "+1", "007", "0o17", "0xfF", "1.", "1.5", ".5", "-.5", "1e3", "1.5E-3", ".inf", "-.Inf", ".nan"]
        {
            assert_eq!(resolve(yes), number(yes), "`{yes}`");
        }
        for no in [
            "True", "yes", "off", "-", ".", "+.", "1_000", "0o8", "0x", "0xg", "1e", "e3", "1.2.3", "10.0.0.1",
            "06:00", "-.nan", "1e3.5", "۱",
        ] {
            assert_eq!(resolve(no), text(no), "`{no}`");
        }
        assert_eq!(resolve("true"), Value::Bool(true));
        assert_eq!(resolve("false"), Value::Bool(false));
    }

    #[test]
    fn old_booleans() {
        for (word, want) in [("yes", true), ("Off", true), ("N", true), ("True", true), ("none", false), ("", false)] {
            assert_eq!(is_old_boolean(word), want, "`{word}`");
        }
    }
}
