//! The Merkle tree over the records, as it grows: its right edge in memory, its tiles as they fill.
//! Not here: files, and what is a leaf (`decision_log`: a line without its newline).
//! Source: RFC 6962 section 2.1; C2SP tlog-tiles.

mod hash;
mod proof;
mod tile;

pub use hash::{Hash, HashError};
pub use proof::{inclusion, root_of};
pub use tile::{TILE_WIDTH, Tile, TileId, TilePathError};

/// A tree that grows by a leaf at a time. Holds the hashes of its partial tiles alone: at most 64 KiB, whatever its size.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    /// By level: the hashes of its last tile, fewer than 256.
    edge: Vec<Vec<Hash>>,
}

impl Tree {
    /// The tree without leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// The tree of `size` leaves whose partial tiles are these: those that [`Tree::edge_of`] names, in that order.
    /// `None`: they are others. Whether they are right, the root says.
    pub fn resume(size: u64, tiles: Vec<Tile>) -> Option<Self> {
        let named = Self::edge_of(size);
        let fits = named.len() == tiles.len() && named.iter().zip(&tiles).all(|(id, tile)| *id == tile.id);
        let mut edge = Vec::new();
        for tile in tiles {
            edge.resize(usize::from(tile.id.level()), Vec::new());
            edge.push(tile.hashes);
        }
        fits.then_some(Self { size, edge })
    }

    /// The tree of `size` leaves out of full tiles alone, which `read` gives, and its last leaves: those in no full tile. At most 255
    /// tiles a level are read. `Ok(None)`: one is missing, or there are more or fewer last leaves. Whether they are right, the root says.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn from_full<E>(
        size: u64,
        last: Vec<Hash>,
        read: &mut dyn FnMut(TileId) -> Result<Option<Tile>, E>,
    ) -> Result<Option<Self>, E> {
        let mut tiles = Vec::new();
        for id in Self::edge_of(size) {
            let Some(below) = id.level().checked_sub(1) else {
                tiles.push(Tile { id, hashes: last.clone() });
                continue;
            };
            let mut hashes = Vec::with_capacity(id.width());
            for index in (id.index().saturating_mul(256)..).take(id.width()) {
                let tile = TileId::new(below, index, TILE_WIDTH).map(&mut *read).transpose()?.flatten();
                let Some(hash) = tile.and_then(|tile| complete(&tile.hashes)) else { return Ok(None) };
                hashes.push(hash);
            }
            tiles.push(Tile { id, hashes });
        }
        let fits = u64::try_from(last.len()).is_ok_and(|last| last == size % 256);
        Ok(if fits { Self::resume(size, tiles) } else { None })
    }

    /// The partial tiles of a tree of `size` leaves, lowest first.
    pub fn edge_of(size: u64) -> Vec<TileId> {
        let mut ids = Vec::new();
        let (mut level, mut hashes) = (0, size);
        while hashes > 0 {
            let (index, width) = (hashes / 256, hashes % 256);
            ids.extend(usize::try_from(width).ok().and_then(|width| TileId::new(level, index, width)));
            (level, hashes) = (level.saturating_add(1), index);
        }
        ids
    }

    /// How many leaves it has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf. The tiles that this fills are added to `full`, lowest first.
    pub fn push(&mut self, leaf: Hash, full: &mut Vec<Tile>) {
        let index = self.size / 256;
        self.size = self.size.saturating_add(1);
        self.put(0, index, leaf, full);
    }

    /// The partial tiles, lowest first.
    pub fn edge(&self) -> Vec<Tile> {
        let hashes = self.edge.iter().filter(|hashes| !hashes.is_empty());
        Self::edge_of(self.size)
            .into_iter()
            .zip(hashes)
            .map(|(id, hashes)| Tile { id, hashes: hashes.clone() })
            .collect()
    }

    /// The hash that stands for all leaves.
    pub fn root(&self) -> Hash {
        // Lower levels lie to the right of higher ones.
        let root = self.edge.iter().fold(None, |right, hashes| join(hashes, right));
        root.unwrap_or(Hash::EMPTY)
    }

    fn put(&mut self, level: u8, index: u64, hash: Hash, full: &mut Vec<Tile>) {
        if self.edge.len() <= usize::from(level) {
            self.edge.push(Vec::new());
        }
        let Some(hashes) = self.edge.get_mut(usize::from(level)) else { return };
        hashes.push(hash);
        let Some(id) = TileId::new(level, index, TILE_WIDTH).filter(|_| hashes.len() == TILE_WIDTH) else { return };
        let hashes = std::mem::take(hashes);
        let above = join(&hashes, None);
        full.push(Tile { id, hashes });
        if let Some(above) = above {
            self.put(level.saturating_add(1), index / 256, above, full);
        }
    }
}

/// The root over subtrees of one size, left to right, with what lies to the right of them: a tree that is smaller than any of them.
fn join(hashes: &[Hash], right: Option<Hash>) -> Option<Hash> {
    let mut rest = hashes;
    let mut root = right;
    // The smallest complete subtree is the last one.
    while let Some(width) = 1_usize.checked_shl(rest.len().trailing_zeros()).filter(|_| !rest.is_empty()) {
        let (before, subtree) = rest.split_at(rest.len().saturating_sub(width));
        let subtree = complete(subtree)?;
        root = Some(root.map_or(subtree, |root| Hash::node(&subtree, &root)));
        rest = before;
    }
    root
}

/// The root over a power of two of hashes.
fn complete(hashes: &[Hash]) -> Option<Hash> {
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        let (pairs, _) = row.as_chunks();
        row = pairs.iter().map(|[left, right]| Hash::node(left, right)).collect();
    }
    row.first().copied()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn leaf(number: u64) -> Hash {
        Hash::leaf(&number.to_be_bytes())
    }

    /// RFC 6962 section 2.1, word for word.
    fn by_definition(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Hash::EMPTY,
            [leaf] => *leaf,
            leaves => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                Hash::node(&by_definition(left), &by_definition(right))
            }
        }
    }

    fn grown(size: u64) -> (Tree, BTreeMap<TileId, Tile>) {
        let (mut tree, mut full) = (Tree::new(), Vec::new());
        (0..size).for_each(|number| tree.push(leaf(number), &mut full));
        let tiles = full.into_iter().chain(tree.edge()).map(|tile| (tile.id, tile)).collect();
        (tree, tiles)
    }

    #[test]
    fn every_small_tree_has_the_root_of_the_definition() {
        let leaves: Vec<Hash> = (0..1100).map(leaf).collect();
        let (mut tree, mut full) = (Tree::new(), Vec::new());
        for size in 0..leaves.len() {
            assert_eq!((tree.size(), tree.root()), (size as u64, by_definition(&leaves[..size])), "of {size}");
            tree.push(leaves[size], &mut full);
        }
    }

    /// The example of the specification: 70,000 leaves.
    #[test]
    fn a_tree_has_the_tiles_of_the_specification() {
        let (tree, tiles) = grown(70_000);
        let count = |level, is_full| tiles.keys().filter(|id| id.level() == level && id.is_full() == is_full).count();
        assert_eq!((count(0, true), count(0, false), count(1, true), count(1, false)), (273, 1, 1, 1));
        let partial: Vec<String> = Tree::edge_of(70_000).iter().map(ToString::to_string).collect();
        assert_eq!(partial, ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]);
        assert!(tiles.values().all(|tile| tile.hashes.len() == tile.id.width()));
        let leaves: Vec<Hash> = (0..70_000).map(leaf).collect();
        assert_eq!(tree.root(), by_definition(&leaves));
        // Each hash above the leaves is the root of what lies below it.
        for (id, tile) in tiles.iter().filter(|(id, _)| id.level() > 0) {
            let span = 256_usize.pow(u32::from(id.level()));
            for (place, hash) in tile.hashes.iter().enumerate() {
                let from = (usize::try_from(id.index()).unwrap() * 256 + place) * span;
                assert_eq!(*hash, by_definition(&leaves[from..from + span]), "{id}, hash {place}");
            }
        }
    }

    #[test]
    fn other_tiles_are_not_taken_for_the_edge() {
        let (tree, _) = grown(600);
        let edge = tree.edge();
        assert_eq!(Tree::resume(600, edge.clone()), Some(tree));
        for (name, size, tiles) in [
            ("another size", 601, edge.clone()),
            ("one less", 600, edge[1..].to_vec()),
            ("order", 600, edge.iter().rev().cloned().collect()),
            ("one more", 600, [edge.clone(), edge[..1].to_vec()].concat()),
        ] {
            assert_eq!(Tree::resume(size, tiles), None, "{name}");
        }
        assert_eq!(Tree::resume(0, Vec::new()), Some(Tree::new()));
    }

    #[test]
    fn a_tree_without_one_of_its_tiles_is_none() {
        let (tree, tiles) = grown(66_000);
        let last: Vec<Hash> = (65_792..66_000).map(leaf).collect();
        let from = |size: u64, last: &[Hash], without: &str| {
            let mut read = |id: TileId| Ok::<_, ()>(tiles.get(&id).filter(|_| id.to_string() != without).cloned());
            Tree::from_full(size, last.to_vec(), &mut read).unwrap()
        };
        assert_eq!(from(66_000, &last, ""), Some(tree));
        assert_eq!(from(66_000, &last, "tile/0/256"), None, "below level 1");
        assert_eq!(from(66_000, &last, "tile/1/000"), None, "below level 2");
        assert_eq!(from(66_000, &last[1..], ""), None, "a leaf less");
        assert_eq!(from(66_000, &[], ""), None, "no leaf");
        assert_eq!(from(65_536, &last, ""), None, "leaves of a tree without a partial tile");
        assert_eq!(from(0, &[], ""), Some(Tree::new()));
        let failing = Tree::from_full(66_000, last, &mut |_| Err("a disk"));
        assert_eq!(failing, Err("a disk"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn a_tree_is_that_of_its_full_tiles_and_last_leaves(size in prop_oneof![0_u64..70_000, Just(256), Just(65_536)]) {
            let (tree, tiles) = grown(size);
            let mut read = |id: TileId| Ok::<_, ()>(tiles.get(&id).filter(|_| id.is_full()).cloned());
            let last = (size - size % 256..size).map(leaf).collect();
            prop_assert_eq!(Tree::from_full(size, last, &mut read), Ok(Some(tree)));
        }

        #[test]
        fn the_tiles_that_records_fill_are_those_that_growing_gives(from in 0_u64..70_000, more in 0_u64..70_000) {
            let (mut tree, mut full) = (grown(from).0, Vec::new());
            (from..from + more).for_each(|number| tree.push(leaf(number), &mut full));
            let mut want: Vec<TileId> = full.iter().map(|tile| tile.id).collect();
            want.sort_unstable();
            prop_assert_eq!(TileId::filled(from, from + more).collect::<Vec<_>>(), want);
        }

        #[test]
        fn a_tree_that_goes_on_from_its_edge_is_the_same(size in 0_u64..70_000, more in 0_u64..600) {
            let (mut whole, _) = grown(size);
            let mut resumed = Tree::resume(size, whole.edge()).unwrap();
            let (mut full, mut again) = (Vec::new(), Vec::new());
            for number in size..size + more {
                whole.push(leaf(number), &mut full);
                resumed.push(leaf(number), &mut again);
            }
            prop_assert_eq!(full, again);
            prop_assert_eq!(whole.root(), resumed.root());
            prop_assert_eq!(whole.edge(), resumed.edge());
        }
    }
}
