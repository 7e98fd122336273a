//! Whether a line ends in a name whose value stands on the next ones: `"password":`, `"cookie": {`, `<cvv>`, a part's head. Pure.
//! Not here: finding the value (`key`), holding the lines (`stream`).
//! Source: RFC 7578 (multipart), RFC 8259 (JSON), XML 1.0.

use memchr::{memchr, memchr2_iter, memrchr};

use super::names::{Meaning, NAMES};
use super::private::{self, Fields};

/// Upper bound in lines from a name to the end of its value: a part's head has two fields and a blank line behind the name.
const MAX_VALUE_LINES: u32 = 4;

/// Upper bound in lines of an object or a list that is one value: a cookie a line, and a browser sends some fifty.
const MAX_STRUCTURE_LINES: u32 = 64;

/// Upper bound in bytes of a tag, and of a name that is a value.
const MAX_TAG: usize = 256;

/// How many of the next lines the value may stand on of the name that `line` ends in; 0: there is none.
pub(super) fn lines(line: &[u8], fields: &Fields) -> u32 {
    let line = line.trim_ascii_end();
    let value = |is_open| if is_open { MAX_VALUE_LINES } else { 0 };
    match line {
        [name @ .., b':'] => value(unquoted(name).is_some_and(|name| is_secret(name, fields))),
        [.., b'{' | b'['] => {
            let opening = line.trim_ascii_end().len().saturating_sub(openings(line));
            let name = line.get(..opening).and_then(|head| signed(head.trim_ascii_end()));
            let is_open = name.is_some_and(|name| is_secret(unquoted(name).unwrap_or(name), fields));
            if is_open { MAX_STRUCTURE_LINES } else { 0 }
        }
        [.., b'>'] => value(is_tag(line, fields) || is_named(line)),
        [.., b'"' | b'\'' | b','] => value(is_named(line)),
        _ => 0,
    }
}

/// Bytes of the brackets at the end, with what is between them.
fn openings(line: &[u8]) -> usize {
    line.iter().rev().take_while(|byte| matches!(byte, b'{' | b'[' | b' ' | b'\t')).count()
}

/// What stands before the sign that `head` ends in.
fn signed(head: &[u8]) -> Option<&[u8]> {
    let head = head.strip_suffix(b">").unwrap_or(head);
    Some(head.strip_suffix(b":").or_else(|| head.strip_suffix(b"="))?.trim_ascii_end())
}

/// What `name` ends in within quotation marks, with all before it.
fn unquoted(name: &[u8]) -> Option<&[u8]> {
    let mut name = name.trim_ascii_end();
    name = name.strip_suffix(b"\"").or_else(|| name.strip_suffix(b"'"))?;
    while let Some(rest) = name.strip_suffix(b"\\") {
        name = rest;
    }
    Some(name.strip_suffix(b"]").unwrap_or(name))
}

/// Whether `text` ends in a name of the table or of a private field.
fn is_secret(text: &[u8], fields: &Fields) -> bool {
    let run = text.iter().rev().take(private::MAX_RUN).take_while(|byte| private::is_name_byte(**byte)).count();
    let (before, word) = text.split_at_checked(text.len().saturating_sub(run)).unwrap_or_default();
    is_named_secret(text) || fields.named(before, word).is_some()
}

fn is_named_secret(text: &[u8]) -> bool {
    NAMES.at_end(text).is_some_and(|name| name.meaning != Meaning::Named)
}

/// Whether the tag that `line` ends in opens an element of such a name.
fn is_tag(line: &[u8], fields: &Fields) -> bool {
    let tail = line.get(line.len().saturating_sub(MAX_TAG)..).unwrap_or(line);
    let Some(tag) = memrchr(b'<', tail).and_then(|start| tail.get(start..)) else { return false };
    let name = tag.split(|byte| byte.is_ascii_whitespace() || *byte == b'>').next().unwrap_or_default();
    !tag.ends_with(b"/>") && !tag.starts_with(b"</") && is_secret(name, fields)
}

/// Whether `line` ends in a field that names another: `name="cvv"`, `"name": "cvv",`.
fn is_named(line: &[u8]) -> bool {
    memchr2_iter(b'=', b':', line).any(|sign| {
        if !NAMES.may_end(line, sign) {
            return false;
        }
        let (name, value) = line.split_at_checked(sign).unwrap_or_default();
        let name = unquoted(name).unwrap_or(name).trim_ascii_end();
        let is_naming = NAMES.at_end(name).is_some_and(|name| name.meaning == Meaning::Named);
        is_naming && names_a_secret(value.get(1..).unwrap_or_default())
    })
}

/// Whether `value` is the name of a secret in quotation marks, with nothing behind it but what may come before the value.
fn names_a_secret(value: &[u8]) -> bool {
    let value = value.trim_ascii_start();
    let slashes = value.iter().take_while(|byte| **byte == b'\\').count();
    let Some((quote @ (b'"' | b'\''), inside)) = value.get(slashes..).and_then(|value| value.split_first()) else {
        return false;
    };
    let inside_bounded = inside.get(..MAX_TAG).unwrap_or(inside);
    let Some((name, rest)) = memchr(*quote, inside_bounded).and_then(|end| inside.split_at_checked(end)) else {
        return false;
    };
    let rest = rest.get(1..).unwrap_or_default().trim_ascii();
    let name = name.get(..name.len().saturating_sub(slashes)).unwrap_or_default();
    matches!(rest, b"" | b"," | b">" | [b';', ..]) && is_named_secret(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_open_behind_names_of_secrets_alone() {
        let fields = Fields::new(&["account".parse().unwrap()]);
        for (line, want) in [
            ("  \"password\":", MAX_VALUE_LINES),
            ("  \"password\" : \r", MAX_VALUE_LINES),
            ("{\\\"cvv\\\":", MAX_VALUE_LINES),
            ("\"account\":", MAX_VALUE_LINES),
            ("\"name\": \"cvv\",", MAX_VALUE_LINES),
            ("{\\\"name\\\": \\\"cvv\\\",", MAX_VALUE_LINES),
            ("Content-Disposition: form-data; name=\"cvv\"\r", MAX_VALUE_LINES),
            ("Content-Disposition: form-data; name='key'; name=\"token\"; filename=\"x\"", MAX_VALUE_LINES),
            ("<card><cvv>", MAX_VALUE_LINES),
            ("<pay:pin type=\"x\">", MAX_VALUE_LINES),
            ("<field name=\"cvv\">", MAX_VALUE_LINES),
            ("<account>", MAX_VALUE_LINES),
            ("  \"cookie\": {", MAX_STRUCTURE_LINES),
            ("  authorization: [", MAX_STRUCTURE_LINES),
            ("  \"cookies\" => [{ ", MAX_STRUCTURE_LINES),
            ("", 0),
            ("{", 0),
            ("\"card\": {", 0),
            ("\"status\":", 0),
            ("the password:", 0),
            ("\"password\": \"x\",", 0),
            ("\"name\": \"alice\",", 0),
            ("\"name\": \"cvv\", \"value\": \"1\",", 0),
            ("</cvv>", 0),
            ("<cvv/>", 0),
            ("<b>", 0),
            ("a -> cvv >", 0),
            ("GET / \"agent: name\"", 0),
        ] {
            assert_eq!(lines(line.as_bytes(), &fields), want, "`{line}`");
        }
    }
}
