//! The tree on disk: tiles at their paths, and the checkpoint.
//! Not here: what a tree is (`decision_log::Tree`), when it is written (`keeper`). Source: C2SP tlog-tiles, tlog-checkpoint.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{AtFlags, OFlags};

use super::place::{self, Place};
use crate::decision_log::{Hash, MAX_NOTE, TILE_WIDTH, Tile, TileId};
use crate::runtime::layout::{CHECKPOINT, TILES, VKEY};

/// Reads and writes them.
#[derive(Clone)]
pub(super) struct TreeFiles(Arc<Place>);

impl TreeFiles {
    pub(super) fn at(place: Arc<Place>) -> Self {
        Self(place)
    }

    /// The newest checkpoint. `None`: there is none.
    pub(super) fn checkpoint(&self) -> io::Result<Option<String>> {
        let bytes = place::read(self.0.directory(), CHECKPOINT, u64::try_from(MAX_NOTE).unwrap_or(u64::MAX))?;
        bytes.map(|bytes| String::from_utf8(bytes).map_err(io::Error::other)).transpose()
    }

    /// Puts a checkpoint in place of the one before, durably. What it signs is to be there before.
    pub(super) fn set_checkpoint(&self, note: &str) -> io::Result<()> {
        let directory = self.0.directory();
        place::write(&directory, CHECKPOINT, note.as_bytes())?;
        Ok(rustix::fs::fsync(&directory)?)
    }

    /// Puts another verifier key in place of the log's, durably.
    pub(super) fn set_vkey(&self, vkey: &str) -> io::Result<()> {
        let directory = self.0.directory();
        place::write(&directory, VKEY, format!("{vkey}\n").as_bytes())?;
        Ok(rustix::fs::fsync(&directory)?)
    }

    /// Writes tiles, each whole or not at all. Not durably: they can be made anew from the records until those are sealed.
    pub(super) fn write<'t>(&self, tiles: impl IntoIterator<Item = &'t Tile>) -> io::Result<()> {
        tiles.into_iter().try_for_each(|tile| {
            let (folder, name) = self.folder(tile.id, true)?;
            place::put(folder, &name, &tile.bytes())
        })
    }

    /// Makes tiles durable, and the folders that lead to them; those below others first.
    pub(super) fn sync(&self, tiles: impl IntoIterator<Item = TileId>) -> io::Result<()> {
        let tiles: BTreeSet<TileId> = tiles.into_iter().collect();
        let mut folders = BTreeSet::new();
        for id in tiles {
            let (folder, name) = self.folder(id, false)?;
            place::open(folder, &name, OFlags::RDONLY)?.sync_data()?;
            let path = parts(id).0;
            folders.extend(path.match_indices('/').filter_map(|(end, _)| path.get(..end)).map(str::to_owned));
            folders.insert(path);
        }
        folders.iter().try_for_each(|folder| {
            let folder = place::folder(self.0.directory(), folder, false)?;
            Ok::<_, io::Error>(rustix::fs::fsync(folder)?)
        })?;
        Ok(rustix::fs::fsync(&*self.0.directory())?)
    }

    /// Writes the tiles that are not there as they should be, and what a power failure left of their parts: shorter ones must be their
    /// beginnings, and there is nothing longer. Whether any was wrong or missing.
    pub(super) fn mend<'t>(&self, tiles: impl IntoIterator<Item = &'t Tile>) -> io::Result<bool> {
        let mut mended = false;
        for tile in tiles {
            if self.read(tile.id)?.as_ref() != Some(tile) {
                self.write([tile])?;
                mended = true;
            }
            if tile.id.is_full() {
                self.remove_partial(tile.id);
            } else {
                mended |= self.mend_parts(tile)?;
            }
        }
        Ok(mended)
    }

    fn mend_parts(&self, tile: &Tile) -> io::Result<bool> {
        let (folder, _) = self.folder(tile.id, false)?;
        let mut mended = false;
        for name in place::names(&folder)? {
            let width = name.parse().ok().filter(|width| *width <= tile.id.width());
            let id = width.and_then(|width| TileId::new(tile.id.level(), tile.id.index(), width));
            let Some(id) = id.filter(|id| parts(*id).1 == name) else {
                place::remove(&folder, &name)?;
                continue;
            };
            let part = Tile { id, hashes: tile.hashes.iter().take(id.width()).copied().collect() };
            if self.read(id)?.as_ref() != Some(&part) {
                self.write([&part])?;
                mended = true;
            }
        }
        Ok(mended)
    }

    /// Removes the partial tiles of a full one. One that stays does no harm.
    pub(super) fn remove_partial(&self, full: TileId) {
        let Ok((folder, name)) = self.folder(full, false) else { return };
        let partial = format!("{name}.p");
        let Ok(widths) = place::folder(&folder, &partial, false) else { return };
        for width in place::names(&widths).unwrap_or_default() {
            let _ = place::remove(&widths, &width);
        }
        let _ = rustix::fs::unlinkat(&folder, &partial, AtFlags::REMOVEDIR);
    }

    /// Reads a tile; `None`: it is not there, or no tile.
    pub(super) fn read(&self, id: TileId) -> io::Result<Option<Tile>> {
        let (folder, name) = match self.folder(id, false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => found?,
        };
        let most = u64::try_from((TILE_WIDTH + 1) * Hash::BYTES).unwrap_or(u64::MAX);
        Ok(place::read(folder, &name, most)?.and_then(|bytes| Tile::read(id, &bytes)))
    }

    /// The folder in which the tile's file stands, and the file's name there.
    fn folder(&self, id: TileId, create: bool) -> io::Result<(OwnedFd, String)> {
        let (folder, name) = parts(id);
        Ok((place::folder(self.0.directory(), &folder, create)?, name))
    }
}

/// The path of a tile's folder below the directory, and its name there.
fn parts(id: TileId) -> (String, String) {
    let path = id.to_string();
    let (folder, name) = path.rsplit_once('/').unwrap_or((TILES, &path));
    (folder.to_owned(), name.to_owned())
}
