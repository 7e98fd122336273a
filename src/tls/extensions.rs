//! The list of extensions that ends both hellos: split and counted, each at most once.
//! Not here: what an extension holds (`client_hello`, `server_hello`).
//! Source: RFC 8446 section 4.2; the numbers are IANA's.

use super::reader::Reader;

pub(super) const SERVER_NAME: u16 = 0;
pub(super) const ALPN: u16 = 16;
pub(super) const PRE_SHARED_KEY: u16 = 41;
pub(super) const EARLY_DATA: u16 = 42;
pub(super) const SUPPORTED_VERSIONS: u16 = 43;
/// Encrypted ClientHello, RFC 9849.
pub(super) const ECH: u16 = 0xfe0d;
/// Its draft forerunner, encrypted SNI (draft-ietf-tls-esni-02).
pub(super) const ESNI: u16 = 0xffce;

/// Upper bound in extensions for one hello. Browsers send about 20; the bound keeps the search for duplicates short.
const MAX_EXTENSIONS: usize = 128;

/// The extensions up to the end of the message, in their order. A hello without the list has none (RFC 5246 7.4.1.2).
pub(super) fn split(mut message: Reader<'_>) -> Result<Vec<(u16, &[u8])>, &'static str> {
    if message.is_empty() {
        return Ok(Vec::new());
    }
    let mut list = message.vec16().ok_or("length of the extensions")?;
    if !message.is_empty() {
        return Err("bytes behind the extensions");
    }
    let mut found = Vec::with_capacity(32);
    while !list.is_empty() {
        let (Some(number), Some(body)) = (list.u16(), list.vec16()) else {
            return Err("length of an extension");
        };
        if found.iter().any(|(earlier, _)| *earlier == number) {
            return Err("duplicate extension");
        }
        if found.len() >= MAX_EXTENSIONS {
            return Err("too many extensions");
        }
        found.push((number, body.rest()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing::vec16;

    fn list(extensions: &[(u16, &[u8])]) -> Vec<u8> {
        vec16(
            extensions
                .iter()
                .flat_map(|(number, body)| [&number.to_be_bytes()[..], &vec16(body.to_vec())].concat())
                .collect(),
        )
    }

    #[test]
    fn splits_in_order() {
        let bytes = list(&[(43, &[1, 2]), (0xfe0d, &[]), (0, &[3])]);
        assert_eq!(split(Reader::new(&bytes)), Ok(vec![(43, &[1, 2][..]), (0xfe0d, &[]), (0, &[3])]));
        assert_eq!(split(Reader::new(&[])), Ok(vec![]));
        assert_eq!(split(Reader::new(&[0, 0])), Ok(vec![]));
    }

    #[test]
    fn refuses_what_is_not_a_list() {
        let many = |count: u16| list(&(0..count).map(|number| (number, &[][..])).collect::<Vec<_>>());
        let rows: [(&str, Vec<u8>, &str); 7] = [
            ("half a length", vec![0], "length of the extensions"),
            ("length beyond the end", vec![0, 9, 0], "length of the extensions"),
            ("bytes behind", vec![0, 0, 0], "bytes behind the extensions"),
            ("half a number", vec![0, 1, 0], "length of an extension"),
            ("body beyond the end", vec![0, 5, 0, 1, 0, 2, 0], "length of an extension"),
            ("twice", list(&[(0, &[1]), (16, &[]), (0, &[1])]), "duplicate extension"),
            ("too many", many(129), "too many extensions"),
        ];
        for (name, bytes, want) in rows {
            assert_eq!(split(Reader::new(&bytes)).err(), Some(want), "{name}");
        }
        assert_eq!(split(Reader::new(&many(128))).map(|found| found.len()), Ok(128));
    }
}
