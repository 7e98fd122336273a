//! What `audit scan` reads: a file's bytes as they are, or what is compressed in it; hashed as they are.
//! Not here: which file (`scan_files`). Source: RFC 8878 (zstd).

use std::io::{self, BufReader, Chain, Cursor, Read};

use aws_lc_rs::digest::{Context, SHA256};
use zstd::Decoder;

use super::export_file::hex;

/// A text with a zero among so many first bytes has no lines, as for git.
const PROBE: usize = 8000;

/// How zstd's frames begin: those that hold something, and those to skip but for their first four bits.
const ZSTD: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();
const SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];

/// How files begin that are compressed otherwise: RFC 1952, the formats' own descriptions.
const OTHERS: [(&[u8], &str); 8] = [
    (b"\x1f\x8b\x08", "gzip"),
    (b"\xfd7zXZ\0", "xz"),
    (b"BZh", "bzip2"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x07\x08", "zip"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x02\x21\x4c\x18", "lz4"),
];

/// Bytes of a file that say how it is compressed.
const MAGIC: usize = 10;

/// Upper bound of the window that a frame may ask memory for, as a power of two: 128 MiB, as the program `zstd` has it.
const MAX_WINDOW_LOG: u32 = 27;

/// Upper bound in bytes of what one file holds decompressed: a small one can hold more than anybody waits for.
const MAX_DECOMPRESSED: u64 = 64 << 30;

/// A file, open.
pub(super) struct Source {
    bytes: Bytes,
    /// The first of them, read to know what they are.
    first: Cursor<Vec<u8>>,
    decompressed: u64,
}

enum Bytes {
    Plain(Hashed),
    Compressed(Box<Decoder<'static, BufReader<Hashed>>>),
}

/// What was read to its end.
pub(super) struct Digest {
    pub(super) bytes: u64,
    pub(super) sha256: String,
    pub(super) decompressed: Option<u64>,
}

impl Source {
    pub(super) fn open(file: Box<dyn Read>) -> io::Result<Self> {
        let mut file = file;
        let magic = some(&mut file, MAGIC)?;
        if let Some(form) = compressed_otherwise(&magic) {
            return Err(io::Error::other(format!(
                "is compressed with {form}; decompress it and search what comes out"
            )));
        }
        let is_compressed = is_zstd(&magic);
        let hashed = Hashed { file: Cursor::new(magic).chain(file), digest: Context::new(&SHA256), bytes: 0 };
        let mut bytes = if is_compressed {
            let mut decoder = Decoder::new(hashed)?;
            decoder.window_log_max(MAX_WINDOW_LOG)?;
            Bytes::Compressed(Box::new(decoder))
        } else {
            Bytes::Plain(hashed)
        };
        let first = some(&mut bytes, PROBE)?;
        Ok(Self { bytes, first: Cursor::new(first), decompressed: 0 })
    }

    /// Whether it is a text in lines.
    pub(super) fn has_lines(&self) -> bool {
        !self.first.get_ref().contains(&0)
    }

    /// What was read, once there is no more.
    pub(super) fn finish(self) -> Digest {
        let (hashed, decompressed) = match self.bytes {
            Bytes::Plain(hashed) => (hashed, None),
            Bytes::Compressed(decoder) => (decoder.finish().into_inner(), Some(self.decompressed)),
        };
        Digest { bytes: hashed.bytes, sha256: hex(hashed.digest.finish().as_ref()), decompressed }
    }
}

fn is_zstd(magic: &[u8]) -> bool {
    magic.starts_with(&ZSTD) || matches!(magic, [0x50..=0x5f, rest @ ..] if rest.starts_with(&SKIPPABLE))
}

/// The form in which the file is compressed, if it is one that is not decompressed here. Text can begin with `BZh`, so the block counts too.
fn compressed_otherwise(magic: &[u8]) -> Option<&'static str> {
    let (_, form) = OTHERS.iter().find(|(begin, _)| magic.starts_with(begin))?;
    let is_bzip2 = matches!(magic, [.., 0x31, 0x41, 0x59, 0x26, 0x53, 0x59] | [.., 0x17, 0x72, 0x45, 0x38, 0x50, 0x90]);
    (*form != "bzip2" || is_bzip2).then_some(form)
}

impl Read for Source {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = match self.first.read(into)? {
            0 => retried(&mut self.bytes, into)?,
            read => read,
        };
        self.decompressed = self.decompressed.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        if matches!(self.bytes, Bytes::Compressed(_)) && self.decompressed > MAX_DECOMPRESSED {
            return Err(io::Error::other(format!(
                "holds more than {MAX_DECOMPRESSED} bytes; decompress it and search what comes out"
            )));
        }
        Ok(read)
    }
}

impl Read for Bytes {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(bytes) => bytes.read(into),
            Self::Compressed(bytes) => bytes.read(into),
        }
    }
}

/// Hashes and counts what is read.
struct Hashed {
    file: Chain<Cursor<Vec<u8>>, Box<dyn Read>>,
    digest: Context,
    bytes: u64,
}

impl Read for Hashed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = retried(&mut self.file, into)?;
        self.digest.update(into.get(..read).unwrap_or_default());
        self.bytes = self.bytes.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        Ok(read)
    }
}

/// So many bytes, or what there is.
fn some(from: &mut impl Read, count: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(u64::try_from(count).unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn retried(from: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(into) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

#[cfg(test)]
mod tests {
    use zstd::Encoder;

    use super::*;

    fn read(file: &[u8]) -> io::Result<(Vec<u8>, bool, Digest)> {
        let mut source = Source::open(Box::new(Cursor::new(file.to_vec())))?;
        let has_lines = source.has_lines();
        let mut bytes = Vec::new();
        source.read_to_end(&mut bytes)?;
        Ok((bytes, has_lines, source.finish()))
    }

    fn compressed(bytes: &[u8], window_log: u32) -> Vec<u8> {
        let mut encoder = Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(window_log).unwrap();
        io::copy(&mut &bytes[..], &mut encoder).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn files_are_read_whole_and_hashed_as_they_are() {
        let long = b"a line\n".repeat(5000);
        // SHA-256 of nothing and of `abc` (FIPS 180-2, appendix B.1).
        let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for (name, file, want, has_lines, sha256) in [
            ("empty", &b""[..], &b""[..], true, Some(nothing)),
            ("short", b"abc", b"abc", true, Some(abc)),
            ("long", &long, &long, true, None),
            ("binary", b"a\0b", b"a\0b", false, None),
            ("compressed", &compressed(&long, 20), &long, true, None),
            ("compressed and binary", &compressed(b"a\0b", 20), b"a\0b", false, None),
            (
                "compressed, behind a frame to skip",
                &[b"\x5a\x2a\x4d\x18\x02\0\0\0ab", &*compressed(b"a", 20)].concat(),
                b"a",
                true,
                None,
            ),
            ("bzip2's first letters in a text", b"BZhang wrote", b"BZhang wrote", true, None),
            ("two frames", &[compressed(b"a", 20), compressed(b"b", 20)].concat(), b"ab", true, None),
        ] {
            let (bytes, lines, digest) = read(file).unwrap();
            assert!(bytes == want, "{name}");
            assert_eq!((lines, usize::try_from(digest.bytes).unwrap()), (has_lines, file.len()), "{name}");
            assert!(sha256.is_none_or(|sha256| digest.sha256 == sha256), "{name}: {}", digest.sha256);
            let decompressed = name.contains("frames") || name.contains("compressed");
            let length = u64::try_from(want.len()).unwrap();
            assert_eq!(digest.decompressed, decompressed.then_some(length), "{name}");
        }
    }

    #[test]
    fn what_is_compressed_otherwise_is_not_taken_for_a_text() {
        for (file, form) in [
            (&b"\x1f\x8b\x08\0\0\0\0\0\0\x03"[..], "gzip"),
            (b"\xfd7zXZ\0\0\x04", "xz"),
            (b"BZh91AY&SY", "bzip2"),
            (b"BZh9\x17\x72\x45\x38\x50\x90", "bzip2"),
            (b"PK\x03\x04\x14\0", "zip"),
            (b"PK\x07\x08PK\x03\x04", "zip"),
            (b"7z\xbc\xaf\x27\x1c\0\x04", "7-Zip"),
            (b"\x04\x22\x4d\x18\x64\x40", "lz4"),
            (b"\x02\x21\x4c\x18\x01", "lz4"),
        ] {
            let error = read(file).err().unwrap().to_string();
            assert_eq!(error, format!("is compressed with {form}; decompress it and search what comes out"));
        }
    }

    #[test]
    fn memory_is_bounded() {
        let bytes = vec![b'x'; 1000];
        assert!(read(&compressed(&bytes, MAX_WINDOW_LOG)).is_ok());
        let error = read(&compressed(&bytes, MAX_WINDOW_LOG + 1)).err().unwrap().to_string();
        assert!(error.contains("too much memory"), "{error}");
    }
}
