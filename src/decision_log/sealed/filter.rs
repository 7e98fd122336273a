//! Which ids and hosts a frame surely lacks, so that a query for one record reads no frame in vain: a Bloom filter a frame.
//! Not here: security. Whoever can write the segment can write the filters; `audit verify` makes them anew and compares.
//! Source: Bloom 1970; Kirsch and Mitzenmacher 2006 (two hashes do for all); the mixer of SplitMix64 (Steele and others, 2014).
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::ops::Range;

use super::facets::{Facet, Facets};

/// Bits a key: with [`PROBES`] of them looked at, one frame in 1,700 is read in vain.
const BITS_PER_KEY: usize = 16;
const PROBES: u32 = 8;

/// Bits come in words of so many bytes.
const WORD: usize = 8;

/// What a filter is asked for: `id` or `host`, and its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(u64);

/// The filters of a segment, one a frame, as the segment holds them: the length of each in bytes as 32 bits, lower bytes
/// first, then its bits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters {
    bytes: Vec<u8>,
    /// Where the bits of each frame are.
    ranges: Vec<Range<usize>>,
}

/// The bytes are not as many filters as there are frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("has no {frames} filters")]
pub struct NoFilters {
    /// Frames of the segment.
    pub frames: usize,
}

impl Key {
    /// An id, as records hold it.
    pub fn id(id: &str) -> Self {
        Self::new(*b"id:\0\0\0\0\0", id)
    }

    /// A host, as records hold it; large letters count as small, and a final dot for nothing.
    pub fn host(host: &str) -> Self {
        let host = host.strip_suffix('.').unwrap_or(host);
        if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Self::new(*b"host:\0\0\0", &host.to_ascii_lowercase());
        }
        Self::new(*b"host:\0\0\0", host)
    }

    /// Of a record.
    pub(super) fn of<'a>(facets: &'a Facets<'_>) -> impl Iterator<Item = Self> + 'a {
        let id = facets.get(Facet::Id).map(Self::id);
        id.into_iter().chain(facets.get(Facet::Host).map(Self::host))
    }

    /// The name of the field, then eight bytes of the text at a time, the last filled up with zeros, then its length.
    fn new(field: [u8; WORD], text: &str) -> Self {
        let (words, rest) = text.as_bytes().as_chunks::<WORD>();
        let mut state = mix(u64::from_le_bytes(field));
        for word in words {
            state = mix(state ^ u64::from_le_bytes(*word));
        }
        let last = rest.iter().rev().fold(0, |word: u64, byte| word << 8 | u64::from(*byte));
        let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
        Self(mix(mix(state ^ last) ^ length))
    }

    /// The bits of a filter of `bits` that stand for it.
    fn probes(self, bits: usize) -> impl Iterator<Item = usize> {
        let (first, step) = (self.0 & u64::from(u32::MAX), (self.0 >> 32) | 1);
        let bits = u64::try_from(bits).unwrap_or(u64::MAX);
        (0..u64::from(PROBES)).map(move |probe| {
            let hash = first.wrapping_add(probe.wrapping_mul(step)) & u64::from(u32::MAX);
            usize::try_from(hash.wrapping_mul(bits) >> 32).unwrap_or(usize::MAX)
        })
    }
}

impl Filters {
    /// Adds the filter of the next frame; `keys` are left sorted, each once.
    pub(super) fn push(&mut self, keys: &mut Vec<Key>) {
        keys.sort_unstable();
        keys.dedup();
        let words = keys.len().saturating_mul(BITS_PER_KEY).div_ceil(WORD.saturating_mul(8));
        let length = words.saturating_mul(WORD);
        self.bytes.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
        let start = self.bytes.len();
        let end = start.saturating_add(length);
        self.bytes.resize(end, 0);
        self.ranges.push(start..end);
        let bits = self.bytes.get_mut(start..).unwrap_or_default();
        for bit in keys.iter().flat_map(|key| key.probes(length.saturating_mul(8))) {
            if let Some(byte) = bits.get_mut(bit / 8) {
                *byte |= 1 << (bit % 8);
            }
        }
    }

    /// Reads the filters of `frames` frames.
    ///
    /// # Errors
    /// They are not so many.
    pub(super) fn read(bytes: Vec<u8>, frames: usize) -> Result<Self, NoFilters> {
        let mut ranges = Vec::new();
        let mut at = 0_usize;
        for _ in 0..frames {
            let range = next_range(&bytes, at).ok_or(NoFilters { frames })?;
            at = range.end;
            ranges.push(range);
        }
        if at == bytes.len() { Ok(Self { bytes, ranges }) } else { Err(NoFilters { frames }) }
    }

    /// As the segment holds them.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether a record of this frame may have the key. A frame that isn't there has none.
    pub fn may_hold(&self, frame: usize, key: Key) -> bool {
        let bits = self.ranges.get(frame).and_then(|range| self.bytes.get(range.clone())).unwrap_or_default();
        let is_set = |bit: usize| bits.get(bit / 8).is_some_and(|byte| byte & (1 << (bit % 8)) != 0);
        key.probes(bits.len().saturating_mul(8)).all(is_set)
    }
}

/// The bits of the filter whose length is at `at`.
fn next_range(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let length = bytes.get(at..)?.first_chunk::<4>()?;
    let start = at.checked_add(length.len())?;
    let end = start.checked_add(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    (end <= bytes.len()).then_some(start..end)
}

/// A bijection that spreads every bit over all.
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filters(frames: &[Vec<Key>]) -> Filters {
        let mut filters = Filters::default();
        for keys in frames {
            filters.push(&mut keys.clone());
        }
        filters
    }

    /// Other programs that read the format need these.
    #[test]
    fn keys_are_the_formats() {
        for (key, want) in [
            (Key::id(""), KNOWN[0]),
            (Key::id("01a200a0-035a-7608-913d-104c55972faf"), KNOWN[1]),
            (Key::host("api.acme.test"), KNOWN[2]),
            (Key::host("API.acme.test."), KNOWN[2]),
        ] {
            assert_eq!(key.0, want, "{:#018x}", key.0);
        }
        assert_ne!(Key::id("x"), Key::host("x"), "the field counts");
        assert_ne!(Key::id("x"), Key::id("x\0"), "the length counts");
    }

    const KNOWN: [u64; 3] = [0x27fa_b852_dd6d_50a8, 0x299b_237f_944f_3d3b, 0x92c3_00d9_3f0d_7872];

    #[test]
    fn few_frames_are_read_in_vain() {
        let key = |number: u64| Key::id(&format!("01a200a0-035a-7608-913d-{number:012x}"));
        let filters = filters(&[(0..3000).map(key).collect()]);
        let (wrong, asked) = ((3000..63_000).filter(|number| filters.may_hold(0, key(*number))).count(), 60_000);
        assert!(wrong < asked / 1000, "{wrong} of {asked}");
    }

    #[test]
    fn what_is_not_the_filters_of_so_many_frames_is_refused() {
        let bytes = filters(&[vec![Key::id("x")], Vec::new()]).as_bytes().to_vec();
        assert_eq!(bytes.len(), 4 + 8 + 4);
        let changed =
            |at: usize, byte: u8| bytes.iter().enumerate().map(|(n, b)| if n == at { byte } else { *b }).collect();
        for (name, bytes, frames, want) in [
            ("as it is", bytes.clone(), 2, true),
            ("one frame less", bytes.clone(), 1, false),
            ("one frame more", bytes.clone(), 3, false),
            ("a byte less", bytes[..15].to_vec(), 2, false),
            ("a byte more", [&bytes[..], b"\0"].concat(), 2, false),
            ("a length beyond the end", changed(0, 13), 2, false),
            ("a length far beyond the end", changed(3, 0xff), 2, false),
            ("nothing", Vec::new(), 0, true),
        ] {
            assert_eq!(Filters::read(bytes, frames).is_ok(), want, "{name}");
        }
    }

    proptest! {
        #[test]
        fn what_was_put_in_is_found(frames in prop::collection::vec(prop::collection::vec("[a-z0-9.-]{0,20}", 0..40), 0..5)) {
            let keys = |frame: &Vec<String>| frame.iter().flat_map(|text| [Key::id(text), Key::host(text)]).collect();
            let made = filters(&frames.iter().map(keys).collect::<Vec<_>>());
            let read = Filters::read(made.as_bytes().to_vec(), frames.len()).unwrap();
            prop_assert_eq!(&read, &made);
            for (number, frame) in frames.iter().enumerate() {
                for key in keys(frame) {
                    prop_assert!(read.may_hold(number, key));
                }
                prop_assert!(!frame.is_empty() || !read.may_hold(number, Key::id("x")), "nothing holds nothing");
            }
            prop_assert!(!read.may_hold(frames.len(), Key::id("x")), "no frame holds nothing");
        }
    }
}
