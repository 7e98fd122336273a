//! A small log in memory as files, for tests that damage it: sealed and plain segments, tiles, heartbeats, a change of the key.
//! Not here: what the proxy itself writes (`runtime::journal`).

use std::collections::BTreeMap;
use std::io;

use super::{End, Heads, Piece, Verified, Verifier, VerifyError, read_plain, read_sealed};
use crate::decision_log::sealed::seal;
use crate::decision_log::{Checkpoint, Hash, SigningKey, Tile, TileId, Tree, VerifierKey, key_change, known_key};

pub(crate) const ORIGIN: &str = "sallyport/tests";

/// A log's files by their names below its directory.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// A log under way.
pub(crate) struct Sample {
    pub(crate) files: Files,
    pub(crate) lines: Vec<String>,
    tree: Tree,
    full: Vec<Tile>,
    secret: SigningKey,
    key: VerifierKey,
}

/// Secret number `number`, and its verifier key.
pub(crate) fn key(number: u8) -> (SigningKey, VerifierKey) {
    known_key(number, ORIGIN)
}

impl Sample {
    /// A log that key number 1 signs, with its `start` record.
    pub(crate) fn begin() -> Self {
        let (secret, key) = key(1);
        let (tree, full) = (Tree::new(), Vec::new());
        let mut sample = Self { files: Files::new(), lines: Vec::new(), tree, full, secret, key };
        sample.start();
        sample
    }

    /// The log that most tests damage: segments of 300, 300 and 150 records, the last one open, 740 of them signed.
    pub(crate) fn usual() -> Self {
        let mut sample = Self::begin();
        for seq in 1..750 {
            match seq {
                200 | 420 | 600 | 700 => sample.heartbeat(),
                740 => {
                    sample.sign();
                    sample.close();
                }
                _ => sample.close(),
            }
        }
        sample.segments(&[300, 300]);
        sample
    }

    /// Appends a record.
    pub(crate) fn push(&mut self, rest: &str) {
        let seq = self.lines.len();
        let line = format!(r#"{{"v":1,"seq":{seq},"time":"2026-11-22T10:00:{:02}.{seq:06}Z",{rest}}}"#, seq % 60);
        self.tree.push(Hash::leaf(line.as_bytes()), &mut self.full);
        self.lines.push(line);
    }

    pub(crate) fn close(&mut self) {
        let seq = self.lines.len();
        self.push(&format!(
            r#""kind":"close","id":"00000000-0000-7000-8000-{seq:012}","outcome":"allow","reason":"client_closed","host":"a{}.example""#,
            seq % 7
        ));
    }

    fn start(&mut self) {
        self.push(&format!(r#""kind":"start","detail":{{"vkey":"{}"}}"#, self.key));
    }

    /// A heartbeat with a new checkpoint of all records before it but five.
    pub(crate) fn heartbeat(&mut self) {
        let size = self.lines.len().saturating_sub(5);
        let note = self.checkpoint(size);
        self.push(&format!(r#""kind":"heartbeat","detail":{{"checkpoint":{}}}"#, serde_json::json!(note)));
    }

    /// A new run with key number `number`, which follows the one in use.
    pub(crate) fn change_key(&mut self, number: u8) {
        let (secret, to) = key(number);
        let statement = key_change::make(&self.secret, &self.key, &to);
        let detail = serde_json::json!({"what": "log_key_rotated", "from": self.key.to_string(), "to": to.to_string(),
            "statement": statement});
        self.push(&format!(r#""kind":"admin","detail":{detail}"#));
        (self.secret, self.key) = (secret, to);
        self.start();
    }

    /// The signed tree head over the first `size` records.
    pub(crate) fn checkpoint(&self, size: usize) -> String {
        let (mut tree, mut full) = (Tree::new(), Vec::new());
        self.lines.iter().take(size).for_each(|line| tree.push(Hash::leaf(line.as_bytes()), &mut full));
        let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size: tree.size(), root: tree.root() };
        checkpoint.sign(&self.secret, &self.key)
    }

    /// Writes checkpoint, tiles and verifier key for what is there.
    pub(crate) fn sign(&mut self) {
        let tiles = self.full.iter().cloned().chain(self.tree.edge());
        self.files.extend(tiles.map(|tile| (tile.id.to_string(), tile.bytes())));
        self.files.insert("checkpoint".to_owned(), self.checkpoint(self.lines.len()).into_bytes());
        self.files.insert("log.vkey".to_owned(), format!("{}\n", self.key).into_bytes());
    }

    /// Writes the segments: sealed ones of so many records, and a plain one with the rest.
    pub(crate) fn segments(&mut self, sealed: &[usize]) {
        self.files.retain(|name, _| !name.starts_with("segments/"));
        let mut first = 0;
        for count in sealed {
            let mut packed = Vec::new();
            let lines = text(&self.lines[first..first + count]);
            seal(&mut lines.as_bytes(), first as u64, &mut packed).unwrap();
            self.files.insert(format!("segments/{first:012}.jsonl.zst"), packed);
            first += count;
        }
        self.files.insert(format!("segments/{first:012}.jsonl"), text(&self.lines[first..]).into_bytes());
    }
}

/// Lines with their newlines.
pub(crate) fn text(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Verifies files as `audit verify` does. What is wrong comes as its line.
pub(crate) fn verify(files: &Files, trusted: Option<u8>, kept: &[(&str, String)]) -> Result<Verified, String> {
    let mut tiles: Vec<TileId> = files.keys().filter_map(|name| name.parse().ok()).collect();
    tiles.sort();
    verify_listed(files, tiles, trusted, kept)
}

/// The same, where other tiles are listed than there are when they are read.
pub(crate) fn verify_listed(
    files: &Files,
    tiles: Vec<TileId>,
    trusted: Option<u8>,
    kept: &[(&str, String)],
) -> Result<Verified, String> {
    let word = |error: VerifyError| error.to_string();
    let text = |name: &str| files.get(name).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let trusted = trusted.map(|number| key(number).1);
    let heads = Heads { trusted, vkey: text("log.vkey"), checkpoint: text("checkpoint"), tiles };
    let mut read = |id: TileId| Ok(files.get(&id.to_string()).cloned());
    let mut verifier = Verifier::new(heads, &mut read).map_err(|bad| bad.to_string())?;
    let segments: Vec<(&String, &Vec<u8>)> = files.iter().filter(|(name, _)| name.starts_with("segments/")).collect();
    for (place, (name, bytes)) in segments.iter().enumerate() {
        let digits: String = name.chars().filter(char::is_ascii_digit).collect();
        let first = digits.parse().unwrap();
        verifier.segment(name, first).map_err(word)?;
        let mut pieces = Vec::new();
        let mut give = |piece: Piece| {
            pieces.push(piece);
            true
        };
        let end: End = match name.ends_with(".zst") {
            true => read_sealed(io::Cursor::new(bytes), first, &mut give).unwrap(),
            false => read_plain(&mut bytes.as_slice(), first, &mut give).unwrap(),
        };
        pieces.into_iter().try_for_each(|piece| verifier.piece(piece)).map_err(word)?;
        verifier.segment_end(end, place + 1 == segments.len()).map_err(word)?;
    }
    let kept: Vec<(String, String)> = kept.iter().map(|(name, note)| ((*name).to_owned(), note.clone())).collect();
    verifier.finish(&kept, text("checkpoint").as_deref()).map_err(word)
}
