//! The last frame of a sealed segment: the compressed and the plain length of every frame before it.
//! Not here: what the frames hold. Source: `zstd_seekable_compression_format.md` of zstd, version 0.1.0, without checksums.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use super::SKIPPABLE_HEADER;

const MAGIC: u32 = 0x184d_2a5e;
const FOOTER_MAGIC: u32 = 0x8f92_eab1;

/// Bytes of the footer: the number of frames, a byte that says that no checksums follow, and a mark.
pub(super) const FOOTER: usize = 9;
const ENTRY: usize = 8;

/// A frame's length in the file, and that of what it holds; 0 for a skippable frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) compressed: u32,
    pub(super) plain: u32,
}

/// The frame for these entries.
pub(super) fn write(entries: &[Entry]) -> Vec<u8> {
    let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
    let mut content = Vec::with_capacity(length(entries.len()));
    for entry in entries {
        content.extend_from_slice(&entry.compressed.to_le_bytes());
        content.extend_from_slice(&entry.plain.to_le_bytes());
    }
    content.extend_from_slice(&count.to_le_bytes());
    content.push(0);
    content.extend_from_slice(&FOOTER_MAGIC.to_le_bytes());
    super::skippable(MAGIC, &content)
}

/// How many entries stand before this footer.
pub(super) fn count(footer: &[u8]) -> Option<usize> {
    let (count, rest) = footer.split_first_chunk::<4>()?;
    let (descriptor, magic) = rest.split_first()?;
    let is_ours = *descriptor == 0 && magic == FOOTER_MAGIC.to_le_bytes();
    usize::try_from(u32::from_le_bytes(*count)).ok().filter(|_| is_ours)
}

/// Bytes of the frame with so many entries.
pub(super) fn length(entries: usize) -> usize {
    entries.saturating_mul(ENTRY).saturating_add(SKIPPABLE_HEADER).saturating_add(FOOTER)
}

/// Reads the frame of which [`count`] found so many entries.
pub(super) fn read(frame: &[u8]) -> Option<Vec<Entry>> {
    let content = super::skipped(MAGIC, frame)?;
    let (entries, rest) = content.split_at_checked(content.len().checked_sub(FOOTER)?)?.0.as_chunks::<ENTRY>();
    let entries: Vec<Entry> = entries.iter().copied().map(Entry::of).collect();
    rest.is_empty().then_some(entries)
}

impl Entry {
    fn of(bytes: [u8; ENTRY]) -> Self {
        let [a, b, c, d, e, f, g, h] = bytes;
        Self { compressed: u32::from_le_bytes([a, b, c, d]), plain: u32::from_le_bytes([e, f, g, h]) }
    }
}
