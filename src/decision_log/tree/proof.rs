//! Inclusion proofs: the hashes that lead from one leaf to the root.
//! Not here: files (tiles come through a closure), the file that a proof is handed over in (`proof_file`).
//! Source: RFC 6962 section 2.1.1 (the path); RFC 9162 section 2.1.3.2 (its check).

use std::collections::BTreeMap;

use super::{Hash, TILE_WIDTH, Tile, TileId, complete};

/// Levels of the tree that lie within one tile.
const TILE_HEIGHT: u32 = TILE_WIDTH.ilog2();

/// The proof that leaf `index` stands in the tree of `size` leaves: its sibling first, then the siblings above.
/// `tile` is asked for each tile that is needed once, at the width that it has in this tree; it may give one that has
/// grown since. `None`: there is no such leaf, or `tile` gave too few hashes.
///
/// # Errors
/// Those of `tile`.
pub fn inclusion<E>(
    index: u64,
    size: u64,
    tile: &mut dyn FnMut(TileId) -> Result<Tile, E>,
) -> Result<Option<Vec<Hash>>, E> {
    let mut nodes = Nodes { size, tile, read: BTreeMap::new() };
    let Some(mut last) = size.checked_sub(1).filter(|last| index <= *last) else { return Ok(None) };
    let (mut place, mut height, mut path) = (index, 0, Vec::new());
    while last > 0 {
        // The last node of a row has none to its right: it goes up as it is.
        let sibling = place ^ 1;
        if sibling <= last {
            let Some(hash) = nodes.subtree(height, sibling)? else { return Ok(None) };
            path.push(hash);
        }
        (place, last, height) = (place >> 1, last >> 1, height.saturating_add(1));
    }
    Ok(Some(path))
}

/// The root that `proof` leads to from `leaf`, which stands at `index` in a tree of `size` leaves. Compare it with a root
/// that was signed together with `size`. `None`: no proof for this place has that many hashes.
pub fn root_of(index: u64, size: u64, leaf: Hash, proof: &[Hash]) -> Option<Hash> {
    let mut last = size.checked_sub(1).filter(|last| index <= *last)?;
    let (mut place, mut root) = (index, leaf);
    for sibling in proof {
        if last == 0 {
            return None;
        }
        if place == last {
            // The last of its row goes up until it is a right child.
            let up = place.trailing_zeros();
            (place, last) = (place >> up, last >> up);
        }
        root = if place & 1 == 1 { Hash::node(sibling, &root) } else { Hash::node(&root, sibling) };
        (place, last) = (place >> 1, last >> 1);
    }
    (last == 0).then_some(root)
}

/// The nodes of a tree, made from its tiles.
struct Nodes<'a, E> {
    size: u64,
    tile: &'a mut dyn FnMut(TileId) -> Result<Tile, E>,
    read: BTreeMap<TileId, Tile>,
}

impl<E> Nodes<'_, E> {
    /// The root over the leaves from `place << height` on, `1 << height` of them or as many as there are.
    fn subtree(&mut self, height: u32, place: u64) -> Result<Option<Hash>, E> {
        let complete = self.size >> height;
        if place < complete {
            return self.node(height, place);
        }
        // The last one: what is over, from the smallest complete subtree up.
        let size = self.size;
        let over = (0..height).filter(|below| (size >> below) & 1 == 1);
        let mut root = None;
        for below in over {
            let Some(left) = self.node(below, (size >> below).saturating_sub(1))? else { return Ok(None) };
            root = Some(root.map_or(left, |right| Hash::node(&left, &right)));
        }
        Ok(root)
    }

    /// The root of a complete subtree. It stands in a tile, or a few levels above hashes of one.
    fn node(&mut self, height: u32, place: u64) -> Result<Option<Hash>, E> {
        let (level, above) = (height / TILE_HEIGHT, height % TILE_HEIGHT);
        let first = place << above;
        let (index, within) = (first >> TILE_HEIGHT, first % (1 << TILE_HEIGHT));
        let id = u8::try_from(level).ok().and_then(|level| TileId::in_tree(level, index, self.size));
        let Some(id) = id else { return Ok(None) };
        if !self.read.contains_key(&id) {
            let tile = (self.tile)(id)?;
            self.read.insert(id, tile);
        }
        let hashes = self.read.get(&id).and_then(|tile| {
            let from = usize::try_from(within).ok()?;
            tile.hashes.get(from..from.checked_add(1 << above)?)
        });
        Ok(hashes.and_then(complete))
    }
}

#[cfg(test)]
#[path = "proof_tests.rs"]
mod tests;
