//! Tiles: where the tree's hashes stand in files, 256 side by side.
//! Not here: which tiles a tree has (`Tree`), files (`runtime`). Source: C2SP tlog-tiles, "Merkle tree".

use std::fmt;
use std::str::FromStr;

use super::hash::Hash;

/// Hashes in a full tile, and leaves below one hash of the level above.
pub const TILE_WIDTH: usize = 256;

/// Levels that a tree of `u64` leaves can have.
const LEVELS: u8 = 8;

/// The place of a tile, and how much of it there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TileId {
    level: u8,
    index: u64,
    width: u16,
}

/// A tile: hash `i` is that of the subtree over the leaves `(index * 256 + i) * 256^level` and so many behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tile {
    /// Its place; as many hashes as this is wide.
    pub id: TileId,
    /// Its hashes, left to right.
    pub hashes: Vec<Hash>,
}

/// Not the path of a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not the path of a tile; write `tile/LEVEL/INDEX` or `tile/LEVEL/INDEX.p/WIDTH`, such as `tile/0/x001/067` or `tile/1/000.p/17`"
)]
pub struct TilePathError;

impl TileId {
    /// A tile of `width` hashes, 1 to 256. `None`: there can be no such tile.
    pub fn new(level: u8, index: u64, width: usize) -> Option<Self> {
        let width = u16::try_from(width).ok().filter(|width| (1..=TILE_WIDTH).contains(&usize::from(*width)))?;
        (level < LEVELS).then_some(Self { level, index, width })
    }

    /// The tile with this number in a tree of `size` leaves: full, or as much as there is of it. `None`: there is nothing of it.
    pub fn in_tree(level: u8, index: u64, size: u64) -> Option<Self> {
        let hashes = 256_u64.checked_pow(u32::from(level)).map_or(0, |span| size / span);
        let behind = hashes.checked_sub(index.checked_mul(256)?)?;
        Self::new(level, index, usize::try_from(behind.min(256)).ok()?)
    }

    /// The tiles that leaf `first` and those behind it up to `next` fill, on all levels.
    pub fn filled(first: u64, next: u64) -> impl Iterator<Item = Self> {
        (0..LEVELS).flat_map(move |level| {
            let span = 256_u64.checked_pow(u32::from(level).saturating_add(1));
            let indexes = span.map_or(0..0, |span| first / span..next / span);
            indexes.filter_map(move |index| Self::new(level, index, TILE_WIDTH))
        })
    }

    /// Its level: 0 has the leaves' hashes.
    pub fn level(self) -> u8 {
        self.level
    }

    /// Its number on its level, from the left.
    pub fn index(self) -> u64 {
        self.index
    }

    /// How many hashes it has.
    pub fn width(self) -> usize {
        usize::from(self.width)
    }

    /// Whether it will never grow.
    pub fn is_full(self) -> bool {
        self.width() == TILE_WIDTH
    }

    /// The full tile in the same place.
    #[must_use]
    pub fn full(self) -> Self {
        Self { width: 256, ..self }
    }
}

impl fmt::Display for TileId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "tile/{}/", self.level)?;
        let mut groups = Vec::new();
        let mut rest = self.index;
        while groups.is_empty() || rest > 0 {
            groups.push(rest % 1000);
            rest /= 1000;
        }
        for (place, group) in groups.iter().enumerate().rev() {
            if place == 0 { write!(out, "{group:03}")? } else { write!(out, "x{group:03}/")? }
        }
        if self.is_full() { Ok(()) } else { write!(out, ".p/{}", self.width) }
    }
}

impl FromStr for TileId {
    type Err = TilePathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (level, rest) = text.strip_prefix("tile/")?.split_once('/')?;
            let (index, width) = match rest.split_once(".p/") {
                Some((index, width)) => (index, width.parse().ok()?),
                None => (rest, TILE_WIDTH),
            };
            let index: String = index.chars().filter(|c| !matches!(c, 'x' | '/')).collect();
            Self::new(level.parse().ok()?, index.parse().ok()?, width)
        };
        // One way of writing is right, and Display knows it.
        read().filter(|id| id.to_string() == text).ok_or(TilePathError)
    }
}

impl Tile {
    /// What stands in its file.
    pub fn bytes(&self) -> Vec<u8> {
        self.hashes.iter().flat_map(|hash| hash.as_bytes()).copied().collect()
    }

    /// Reads its file. `None`: it has another length.
    pub fn read(id: TileId, bytes: &[u8]) -> Option<Self> {
        let (hashes, rest) = bytes.as_chunks();
        let hashes: Vec<Hash> = hashes.iter().map(|bytes| Hash::from_bytes(*bytes)).collect();
        (rest.is_empty() && hashes.len() == id.width()).then_some(Self { id, hashes })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_by_table() {
        for (level, index, width, path) in [
            (0, 0, 256, "tile/0/000"),
            (0, 1_234_067, 256, "tile/0/x001/x234/067"),
            (1, 1, 17, "tile/1/001.p/17"),
            (2, 999, 255, "tile/2/999.p/255"),
            (0, 1000, 1, "tile/0/x001/000.p/1"),
        ] {
            let id = TileId::new(level, index, width).unwrap();
            assert_eq!((id.to_string().as_str(), path.parse()), (path, Ok(id)), "{path}");
        }
    }

    #[test]
    fn what_is_no_path_by_table() {
        for bad in [
            "",
            "tile/0/0",
            "tile/0/0000",
            "tile/0/x000/001",
            "tile/00/001",
            "tile/0/001.p/256",
            "tile/0/001.p/0",
            "tile/0/001.p/017",
            "tile/8/000",
            "tile/0/1234",
            "tile/0/x001/067/",
            "/tile/0/000",
            "tile/0/x001067",
            "tile/0/../000",
            "tile/+0/000",
            "tile/entries/000",
            "tile/0/x018/x446/x744/x073/x709/x551/616",
        ] {
            assert_eq!(bad.parse::<TileId>(), Err(TilePathError), "`{bad}`");
        }
    }

    #[test]
    fn the_tile_of_a_tree_by_table() {
        for (level, index, size, want) in [
            (0, 0, 0, None),
            (0, 0, 1, Some(1)),
            (0, 0, 256, Some(256)),
            (0, 1, 256, None),
            (0, 273, 70_000, Some(112)),
            (1, 0, 70_000, Some(256)),
            (1, 1, 70_000, Some(17)),
            (2, 0, 70_000, Some(1)),
            (3, 0, 70_000, None),
            (0, u64::MAX, u64::MAX, None),
            (7, 0, u64::MAX, Some(255)),
        ] {
            let id = TileId::in_tree(level, index, size);
            assert_eq!(id.map(TileId::width), want, "{level} {index} {size}");
        }
    }

    proptest! {
        #[test]
        fn a_path_reads_back(level in 0_u8..8, index: u64, width in 1_usize..=256) {
            let id = TileId::new(level, index, width).unwrap();
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }

        #[test]
        fn bytes_read_back_at_their_length_alone(width in 1_usize..=256, byte: u8) {
            let id = TileId::new(0, 0, width).unwrap();
            let tile = Tile { id, hashes: vec![Hash::leaf(&[byte]); width] };
            let bytes = tile.bytes();
            prop_assert_eq!(Tile::read(id, &bytes[1..]), None);
            prop_assert_eq!(Tile::read(id, &[&bytes[..], &[0; 32]].concat()), None);
            prop_assert_eq!(Tile::read(id, &bytes), Some(tile));
        }
    }
}
