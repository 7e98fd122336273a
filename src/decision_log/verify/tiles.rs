//! The stored tiles, held against the hashes of the records.
//! Not here: who is right when they differ (`Verifier`), files (a closure reads them). Source: C2SP tlog-tiles.

use std::io;

use super::bad::{Bad, Wrong};
use crate::decision_log::{Hash, Tile, TileId, Tree};

/// Reads the file of a tile; `None`: there is none.
pub type ReadTile<'a> = dyn FnMut(TileId) -> io::Result<Option<Vec<u8>>> + 'a;

/// The tiles of a log.
pub(super) struct Tiles<'a> {
    /// In their order.
    listed: Vec<TileId>,
    read: &'a mut ReadTile<'a>,
}

/// A stored tile is not that of the records.
#[derive(Debug)]
pub(super) struct Doubt {
    tile: TileId,
    what: Wrong,
    /// The first record whose hash it has otherwise.
    pub(super) record: Option<Differs>,
}

/// A record whose hash is stored otherwise.
#[derive(Debug, Clone, Copy)]
pub(super) struct Differs {
    pub(super) seq: u64,
    /// Its hash.
    pub(super) leaf: Hash,
}

impl Doubt {
    fn new(tile: TileId, what: Wrong) -> Self {
        Self { tile, what, record: None }
    }

    /// If it is the tile that is wrong.
    pub(super) fn bad(&self) -> Bad {
        Bad::new(self.tile.to_string(), None, &self.what)
    }

    /// The tile.
    pub(super) fn tile(&self) -> TileId {
        self.tile
    }
}

impl<'a> Tiles<'a> {
    /// `listed` in the order of level, index and width.
    pub(super) fn new(listed: Vec<TileId>, read: &'a mut ReadTile<'a>) -> Self {
        Self { listed, read }
    }

    /// The first difference between `tile` and what is stored in its place. A tree of `signed` leaves must be stored; if not when it was
    /// listed, as a proxy replaced partial tiles by their full one, then now.
    pub(super) fn compare(&mut self, tile: &Tile, signed: u64) -> io::Result<Option<Doubt>> {
        let (level, index) = (tile.id.level(), tile.id.index());
        let from = self.listed.partition_point(|id| (id.level(), id.index()) < (level, index));
        let to = self.listed.partition_point(|id| (id.level(), id.index()) <= (level, index));
        if let Some(needed) = TileId::in_tree(level, index, signed) {
            let stored = self.listed.get(from..to).unwrap_or_default();
            if !stored.contains(&needed)
                && !stored.contains(&needed.full())
                && let Some(doubt) = self.differs(needed.full(), tile)?
            {
                let is_missing = matches!(doubt.what, Wrong::FileMissing);
                return Ok(Some(if is_missing { Doubt::new(needed, Wrong::FileMissing) } else { doubt }));
            }
        }
        for at in from..to {
            let Some(id) = self.listed.get(at).copied() else { continue };
            if let Some(doubt) = self.differs(id, tile)? {
                return Ok(Some(doubt));
            }
        }
        Ok(None)
    }

    /// The first difference between a stored tile and the hashes in its place, as far as there are any.
    fn differs(&mut self, id: TileId, tile: &Tile) -> io::Result<Option<Doubt>> {
        let Some(bytes) = (self.read)(id)? else {
            // A partial tile may go once the full one is there.
            let is_followed = !id.is_full() && (self.read)(id.full())?.is_some();
            return Ok((!is_followed).then(|| Doubt::new(id, Wrong::FileMissing)));
        };
        let Some(stored) = Tile::read(id, &bytes) else {
            let want = id.width().saturating_mul(Hash::BYTES);
            return Ok(Some(Doubt::new(id, Wrong::TileLength { bytes: bytes.len(), want })));
        };
        let mut hashes = stored.hashes.iter().zip(&tile.hashes).enumerate();
        let Some((place, (_, leaf))) = hashes.find(|(_, (stored, hash))| stored != hash) else { return Ok(None) };
        let mut doubt = Doubt::new(id, Wrong::TileHash { place });
        if id.level() == 0 {
            let seq = id.index().saturating_mul(256).saturating_add(u64::try_from(place).unwrap_or(u64::MAX));
            doubt.record = Some(Differs { seq, leaf: *leaf });
        }
        Ok(Some(doubt))
    }

    /// A full tile as it is stored; `None`: there is none, or it is not as long as one.
    pub(super) fn stored(&mut self, id: TileId) -> io::Result<Option<Tile>> {
        Ok((self.read)(id)?.and_then(|bytes| Tile::read(id, &bytes)))
    }

    /// The root that the stored hashes of `size` leaves make; `None`: some of them are not there.
    pub(super) fn root(&mut self, size: u64) -> io::Result<Option<Hash>> {
        let (mut tree, mut full) = (Tree::new(), Vec::new());
        while tree.size() < size {
            let Some(leaves) = self.leaves(tree.size() / 256, size)? else { return Ok(None) };
            leaves.iter().for_each(|leaf| tree.push(*leaf, &mut full));
            full.clear();
        }
        Ok(Some(tree.root()))
    }

    /// The stored hash of leaf `seq` of a tree of `size` leaves; `None`: it is not there.
    pub(super) fn leaf(&mut self, seq: u64, size: u64) -> io::Result<Option<Hash>> {
        let place = usize::try_from(seq % 256).unwrap_or_default();
        Ok(self.leaves(seq / 256, size)?.and_then(|leaves| leaves.get(place).copied()))
    }

    /// The hashes that a tree of `size` leaves has in a tile of leaves, as they are stored.
    fn leaves(&mut self, index: u64, size: u64) -> io::Result<Option<Vec<Hash>>> {
        let Some(id) = TileId::in_tree(0, index, size) else { return Ok(None) };
        let stored = match self.stored(id)? {
            None => self.stored(id.full())?,
            stored => stored,
        };
        Ok(stored.map(|tile| tile.hashes.into_iter().take(id.width()).collect()))
    }

    /// The first tile with hashes that a tree of `size` leaves does not have.
    pub(super) fn beyond(&self, size: u64) -> Option<Bad> {
        let there = |id: &TileId| TileId::in_tree(id.level(), id.index(), size);
        let is_beyond = |id: &&TileId| there(id).is_none_or(|there| there.width() < id.width());
        let beyond = self.listed.iter().find(is_beyond)?;
        Some(Bad::new(beyond.to_string(), None, &Wrong::TileBeyond))
    }
}
