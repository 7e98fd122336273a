//! The keys that validation of DNS answers begins with, as a file has them: DNSKEY and DS records as zone files write them.
//! Not here: the file itself (`runtime::load`), validation (`runtime::dns`). Other records, and directives such as `$TTL`, are faults.
//! Source: RFC 1035 section 5.1, RFC 4034 sections 2.2 and 5.3; RFC 9905 (what is not trusted any more: SHA-1).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::name::Fqdn;
use crate::yaml::{Faults, Place, shown};

/// Upper bound for the keys of a file: the root has two or three.
const MAX_ANCHORS: usize = 64;

/// A key that is trusted because the operator says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustAnchor {
    /// The zone it signs; `None` is the root.
    pub zone: Option<Fqdn>,
    /// The key.
    pub key: AnchorKey,
}

/// How a key is named. Its algorithm is 8, 10, 13, 14 or 15.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnchorKey {
    /// The key itself, as a DNSKEY record has it.
    Whole {
        /// Its number (RFC 4034 appendix A.1).
        algorithm: u8,
        /// Its bytes.
        key: Box<[u8]>,
    },
    /// Its digest, as a DS record has it.
    Digest {
        /// The key's tag.
        tag: u16,
        /// Its algorithm's number.
        algorithm: u8,
        /// 2 (SHA-256, 32 bytes) or 4 (SHA-384, 48 bytes).
        digest_type: u8,
        /// The digest.
        digest: Box<[u8]>,
    },
}

/// One record: its words without comments and brackets, and where it begins.
struct Entry<'a> {
    words: Vec<&'a str>,
    place: Place,
}

/// Reads a file of keys; `file` is its index in places. Valid only if `faults` is still empty.
pub fn trust_anchors(text: &str, file: u32, faults: &mut Faults) -> Vec<TrustAnchor> {
    let mut anchors = Vec::new();
    let entries = entries(text, file);
    for entry in entries.iter().take(MAX_ANCHORS) {
        match anchor(&entry.words) {
            Ok(anchor) => anchors.push(anchor),
            Err(message) => faults.at(entry.place, message),
        }
    }
    let place = Place { file, line: 1, column: 1 };
    match entries.len() {
        0 => faults.at(place, "no key; write DNSKEY or DS records, such as `. IN DS 38696 8 2 683D…`"),
        1..=MAX_ANCHORS => {}
        count => faults.at(place, format!("{count} keys; write at most {MAX_ANCHORS}")),
    }
    anchors
}

/// A record ends with its line, but for brackets.
fn entries(text: &str, file: u32) -> Vec<Entry<'_>> {
    let mut entries: Vec<Entry<'_>> = Vec::new();
    let mut is_open = false;
    for (line, number) in text.lines().zip(1_u32..) {
        let line = line.split(';').next().unwrap_or_default();
        let mut words = line.split(|c: char| c.is_whitespace() || "()".contains(c)).filter(|word| !word.is_empty());
        if !is_open && let Some(first) = words.next() {
            let before = line.find(first).and_then(|at| line.get(..at)).unwrap_or_default().chars().count();
            let column = u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1);
            entries.push(Entry { words: vec![first], place: Place { file, line: number, column } });
        }
        if let Some(entry) = entries.last_mut() {
            entry.words.extend(words);
        }
        is_open = line.chars().fold(is_open, |is_open, c| (is_open || c == '(') && c != ')');
    }
    entries
}

/// `ZONE [TTL] [IN] DNSKEY FLAGS 3 ALGORITHM KEY` or `ZONE [TTL] [IN] DS TAG ALGORITHM DIGEST-TYPE DIGEST`.
fn anchor(words: &[&str]) -> Result<TrustAnchor, String> {
    let Some((owner, rest)) = words.split_first() else { return Err(form(words)) };
    let zone = match *owner {
        "." => None,
        owner => Some(owner.parse::<Fqdn>().map_err(|error| error.to_string())?),
    };
    let is_between = |word: &&&str| word.eq_ignore_ascii_case("in") || word.bytes().all(|byte| byte.is_ascii_digit());
    let between = rest.iter().take_while(is_between).count();
    let key = match rest.get(between..) {
        Some([kind, flags, "3", algorithm, key @ ..]) if kind.eq_ignore_ascii_case("dnskey") => {
            whole(number(flags, words)?, number(algorithm, words)?, &key.concat())?
        }
        Some([kind, tag, algorithm, digest_type, digest @ ..]) if kind.eq_ignore_ascii_case("ds") => {
            let digest = hexadecimal(&digest.concat()).ok_or_else(|| form(words))?;
            let digest_type = number(digest_type, words)?;
            let wanted = match digest_type {
                2 => 32,
                4 => 48,
                _ => return Err(format!("digest type {digest_type} is not used; write one of 2 and 4")),
            };
            if digest.len() != wanted {
                return Err(format!(
                    "a digest of type {digest_type} has {wanted} bytes; write it as hexadecimal digits"
                ));
            }
            let algorithm = usable(number(algorithm, words)?)?;
            AnchorKey::Digest { tag: number(tag, words)?, algorithm, digest_type, digest }
        }
        Some(_) | None => return Err(form(words)),
    };
    Ok(TrustAnchor { zone, key })
}

fn whole(flags: u16, algorithm: u8, key: &str) -> Result<AnchorKey, String> {
    // RFC 4034 section 2.1.1 (zone key), RFC 5011 section 3 (revoked).
    if flags & 0x0180 != 0x0100 {
        return Err(format!("flags {flags} are no zone's key in use; write the record with 256 or 257"));
    }
    let key = STANDARD.decode(key).ok().filter(|key| !key.is_empty());
    let key = key.ok_or("the key is not in base64; copy it whole")?;
    Ok(AnchorKey::Whole { algorithm: usable(algorithm)?, key: key.into() })
}

fn usable(algorithm: u8) -> Result<u8, String> {
    match algorithm {
        8 | 10 | 13..=15 => Ok(algorithm),
        _ => Err(format!("algorithm {algorithm} is not used; write a key of 8, 10, 13, 14 or 15")),
    }
}

fn number<T: std::str::FromStr>(word: &str, words: &[&str]) -> Result<T, String> {
    word.parse().map_err(|_| form(words))
}

fn hexadecimal(digits: &str) -> Option<Box<[u8]>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?, 16).ok())
        .collect()
}

fn form(words: &[&str]) -> String {
    let text = shown(&words.join(" "));
    format!(
        "{text} is no key; write `ZONE IN DNSKEY FLAGS 3 ALGORITHM KEY` or `ZONE IN DS TAG ALGORITHM DIGEST-TYPE DIGEST`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16";

    fn read(text: &str) -> (Vec<TrustAnchor>, Vec<String>) {
        let mut faults = Faults::new();
        let anchors = trust_anchors(text, 0, &mut faults);
        (anchors, faults.iter().map(|fault| fault.line(&["keys"])).collect())
    }

    #[test]
    fn records_as_zone_files_and_tools_write_them() {
        let digest: Box<[u8]> = hexadecimal(DIGEST).unwrap();
        let root = AnchorKey::Digest { tag: 38696, algorithm: 8, digest_type: 2, digest };
        let own = AnchorKey::Whole { algorithm: 15, key: [1, 2, 3, 4, 5, 6].into() };
        let [first, second] = DIGEST.split_at(40).into();
        for (text, zone, key) in [
            (format!(". IN DS 38696 8 2 {DIGEST}"), None, &root),
            (format!("; the root\n\n.\t172800 IN ds 38696 8 2 {first} {second} ; 2024\n"), None, &root),
            (format!(". IN 60 DS 38696 8 2 (\n  {first} ; half\n  {second} )\n"), None, &root),
            (format!(". DS 38696 8 2 {}", DIGEST.to_lowercase()), None, &root),
            ("Pay.Example. 3600 IN DNSKEY 257 3 15 AQIDBAUG ;{id = 1}".into(), Some("pay.example"), &own),
            ("pay.example DNSKEY 256 3 15 AQID BAUG".into(), Some("pay.example"), &own),
        ] {
            let anchor = TrustAnchor { zone: zone.map(|zone| zone.parse().unwrap()), key: key.clone() };
            assert_eq!(read(&text), (vec![anchor], vec![]), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_told_where_and_why() {
        let (none, form) = ("keys:1:1: no key; write DNSKEY or DS records", "is no key; write `ZONE IN DNSKEY FLAGS 3");
        let many = ". DNSKEY 257 3 15 AQID\n".repeat(MAX_ANCHORS + 1);
        for (text, why) in [
            ("", none),
            ("; nothing\n", none),
            ("\n  $TTL 60", "keys:2:3: "),
            (". IN A 192.0.2.1", form),
            (". DNSKEY 257 2 15 AQID", form),
            (". DNSKEY x 3 15 AQID", form),
            (". DNSKEY 257 3 15", "keys:1:1: the key is not in base64; copy it whole"),
            (". DNSKEY 257 3 15 A!", "the key is not in base64"),
            (". DNSKEY 385 3 15 AQID", "flags 385 are no zone's key in use"),
            (". DNSKEY 1 3 15 AQID", "flags 1 are no zone's key in use"),
            (". DNSKEY 257 3 5 AQID", "algorithm 5 is not used; write a key of 8, 10, 13, 14 or 15"),
            (". DS 1 7 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16", "algorithm 7 is not used"),
            (". DS 1 8 1 683D", "digest type 1 is not used; write one of 2 and 4"),
            (". DS 1 8 2 683D", "a digest of type 2 has 32 bytes"),
            (". DS 1 8 2 683", form),
            (". DS 65536 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16", form),
            ("*.example DS 1 8 2 683D", "keys:1:1: "),
            (&many, "keys:1:1: 65 keys; write at most 64"),
        ] {
            let (_, faults) = read(text);
            assert!(faults.len() == 1 && faults[0].contains(why), "{text}: {faults:?}");
        }
    }
}
