//! The names in a log's directory: what its writer makes, and what its readers look for.
//! Not here: opening any of it (`journal`, `archive`), the names of tiles (`decision_log::TileId`).

/// The folder of the segments.
pub const SEGMENTS: &str = "segments";
/// The folder of the tiles.
pub const TILES: &str = "tile";
/// The newest signed tree head.
pub const CHECKPOINT: &str = "checkpoint";
/// The verifier key.
pub const VKEY: &str = "log.vkey";
/// What a file system makes by itself.
pub const LOST_AND_FOUND: &str = "lost+found";
/// Behind the name of a file that is begun and not finished.
pub const UNFINISHED: &str = ".new";

const PLAIN: &str = ".jsonl";
const SEALED: &str = ".jsonl.zst";

/// A segment. Its name is the number of its first record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Segment {
    /// The number of its first record.
    pub first: u64,
    /// Whether it is sealed. One that is there in both forms counts as plain: sealing it was not finished.
    pub is_sealed: bool,
}

impl Segment {
    /// The one that is not sealed.
    pub fn plain(first: u64) -> Self {
        Self { first, is_sealed: false }
    }

    /// The one that is.
    pub fn sealed(first: u64) -> Self {
        Self { first, is_sealed: true }
    }

    /// Its name in the folder of the segments.
    pub fn file(self) -> String {
        format!("{:012}{}", self.first, if self.is_sealed { SEALED } else { PLAIN })
    }

    /// Its name below the directory.
    pub fn name(self) -> String {
        format!("{SEGMENTS}/{}", self.file())
    }

    /// The segment with this name in the folder of the segments.
    pub fn of_file(file: &str) -> Option<Self> {
        let (digits, is_sealed) = match file.strip_suffix(SEALED) {
            Some(digits) => (digits, true),
            None => (file.strip_suffix(PLAIN)?, false),
        };
        let segment = Self { first: digits.parse().ok()?, is_sealed };
        // One way of writing is right.
        (segment.file() == file).then_some(segment)
    }

    /// The segment with this name below the directory.
    pub fn named(name: &str) -> Option<Self> {
        Self::of_file(name.strip_prefix(SEGMENTS)?.strip_prefix('/')?)
    }
}
