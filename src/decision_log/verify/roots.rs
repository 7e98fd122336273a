//! The tree over the records as it was at any size: what each checkpoint is held against.
//! Not here: whether tiles in files are right (`Verifier`). Keeps a 256th of all hashes: 125 MB for a billion records.
//! Source: RFC 6962 section 2.1; C2SP tlog-tiles.

use crate::decision_log::{Hash, TILE_WIDTH, Tile, TileId, Tree};

/// A tree that grows and remembers.
#[derive(Debug, Default)]
pub(super) struct Roots {
    tree: Tree,
    /// Full tiles of leaves from this index on.
    from: u64,
    last: Vec<Tile>,
    /// Full tiles above the leaves' by level, from level 1 on, and index.
    above: Vec<Vec<Tile>>,
    /// Filled by one leaf; kept to be used again.
    full: Vec<Tile>,
}

impl Roots {
    /// An empty one. Leaves from about `size` on will be remembered: what is not signed may have no tiles yet.
    pub(super) fn remembering(size: u64) -> Self {
        Self { from: size / 256, ..Self::default() }
    }

    /// How many leaves it has.
    pub(super) fn size(&self) -> u64 {
        self.tree.size()
    }

    /// Its partial tiles, lowest first.
    pub(super) fn edge(&self) -> Vec<Tile> {
        self.tree.edge()
    }

    /// Adds a leaf; gives the tiles that this fills to `each`, lowest first.
    pub(super) fn push(&mut self, leaf: Hash, mut each: impl FnMut(&Tile)) {
        self.tree.push(leaf, &mut self.full);
        for tile in self.full.drain(..) {
            each(&tile);
            match usize::from(tile.id.level()).checked_sub(1) {
                Some(level) if level < self.above.len() => {
                    self.above.get_mut(level).into_iter().for_each(|tiles| tiles.push(tile.clone()));
                }
                Some(_) => self.above.push(vec![tile]),
                None if tile.id.index() >= self.from => self.last.push(tile),
                None => {}
            }
        }
    }

    /// The root over the first `size` leaves. `tile` is asked for the full tile of leaves that are not remembered, which is held against
    /// what is remembered. `None`: the tree has fewer, or the tile is not the one that was there.
    pub(super) fn at<E>(
        &self,
        size: u64,
        tile: &mut dyn FnMut(TileId) -> Result<Option<Tile>, E>,
    ) -> Result<Option<Hash>, E> {
        if size > self.size() {
            return Ok(None);
        }
        let mut tiles = Vec::new();
        for id in Tree::edge_of(size) {
            let Some(mut hashes) = self.hashes(id, tile)? else { return Ok(None) };
            hashes.truncate(id.width());
            tiles.push(Tile { id, hashes });
        }
        Ok(Tree::resume(size, tiles).map(|tree| tree.root()))
    }

    /// At least the first hashes of a tile.
    fn hashes<E>(
        &self,
        id: TileId,
        tile: &mut dyn FnMut(TileId) -> Result<Option<Tile>, E>,
    ) -> Result<Option<Vec<Hash>>, E> {
        if let Some(known) = self.known(id.level(), id.index()) {
            return Ok(Some(known));
        }
        let Some(stored) = tile(id.full())? else { return Ok(None) };
        let above = self.known(1, id.index() / 256);
        let width = u64::try_from(TILE_WIDTH).unwrap_or(u64::MAX);
        let place = usize::try_from(id.index() % width).unwrap_or_default();
        let is_same = above.is_some_and(|above| above.get(place) == Some(&root_over(&stored.hashes)));
        Ok(is_same.then_some(stored.hashes))
    }

    /// What is remembered of a tile.
    fn known(&self, level: u8, index: u64) -> Option<Vec<Hash>> {
        let full = match usize::from(level).checked_sub(1) {
            Some(level) => self.above.get(level).and_then(|tiles| tiles.get(usize::try_from(index).ok()?)),
            None => index.checked_sub(self.from).and_then(|index| self.last.get(usize::try_from(index).ok()?)),
        };
        let is_there = |tile: &Tile| tile.id.level() == level && tile.id.index() == index;
        full.cloned().or_else(|| self.edge().into_iter().find(is_there)).map(|tile| tile.hashes)
    }
}

/// The root of a tree with these leaves.
pub(super) fn root_over(leaves: &[Hash]) -> Hash {
    let (mut tree, mut full) = (Tree::new(), Vec::new());
    leaves.iter().for_each(|leaf| tree.push(*leaf, &mut full));
    tree.root()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn every_root_of_the_past_is_found_again() {
        let leaves: Vec<Hash> = (0_u32..66_700).map(|number| Hash::leaf(&number.to_be_bytes())).collect();
        let (mut roots, mut stored) = (Roots::remembering(66_400), BTreeMap::new());
        for leaf in &leaves {
            roots.push(*leaf, |tile| drop(stored.insert(tile.id, tile.clone())));
        }
        let sizes =
            [0, 1, 255, 256, 257, 300, 511, 512, 65_535, 65_536, 65_537, 65_800, 66_559, 66_560, 66_561, 66_700];
        for size in sizes {
            let mut asked = 0;
            let mut tile = |id: TileId| {
                asked += 1;
                Ok::<_, Infallible>(stored.get(&id).cloned())
            };
            let root = roots.at(size as u64, &mut tile).unwrap();
            assert_eq!(root, Some(root_over(&leaves[..size])), "of {size}");
            assert!(asked <= 1, "of {size}: {asked} tiles are read");
        }
        let mut none = |_| Ok::<_, Infallible>(None);
        assert_eq!(roots.at(66_701, &mut none), Ok(None), "more than there are");
        assert_eq!(roots.at(300, &mut none), Ok(None), "the tile is gone");
        assert_eq!(roots.at(66_570, &mut none), Ok(Some(root_over(&leaves[..66_570]))), "the last ones need no tile");
        assert_eq!(roots.at(66_400, &mut none), Ok(Some(root_over(&leaves[..66_400]))), "nor do remembered ones");
        let mut changed = |id: TileId| {
            let mut tile: Tile = stored[&id].clone();
            tile.hashes[3] = Hash::EMPTY;
            Ok::<_, Infallible>(Some(tile))
        };
        assert_eq!(roots.at(300, &mut changed), Ok(None), "the tile was changed");
    }
}
