//! Compares what segments hold, in their order, with tiles, checkpoints and keys.
//! Not here: reading lines (`segment`), the words for what is wrong (`bad`).

use std::io;

use super::bad::{Bad, Wrong};
use super::keys::Keys;
use super::lines::{LineFault, Piece, Said, Stray};
use super::roots::Roots;
use super::segment::End;
use super::tiles::{Differs, Doubt, ReadTile, Tiles};
use super::{Heads, Torn, Verified, VerifyError};
use crate::decision_log::{Checkpoint, Hash, MAX_BATCH, VerifierKey};

/// Takes a log's segments in their order and compares them with what was signed.
pub struct Verifier<'a> {
    keys: Keys,
    vkey: VerifierKey,
    signed: Checkpoint,
    tiles: Tiles<'a>,
    roots: Roots,
    /// First record and name of each segment so far.
    segments: Vec<(u64, String)>,
    /// The first difference between a tile and the records of which it is not known yet who is right.
    doubt: Option<Doubt>,
    /// Whether the stored hashes make the signed root; `None`: nobody has asked yet.
    tiles_are_right: Option<bool>,
    torn: Option<Torn>,
    held: u64,
    signed_late: u64,
    /// The largest checkpoint within the records: its size, and the record.
    newest_held: Option<(u64, u64)>,
}

const CHECKPOINT: &str = "checkpoint";
const VKEY: &str = "log.vkey";

impl<'a> Verifier<'a> {
    /// Begins with what a log has beside its segments. `read` reads the file of a tile.
    ///
    /// # Errors
    /// Key or checkpoint are missing or not good.
    pub fn new(heads: Heads, read: &'a mut ReadTile<'a>) -> Result<Self, Bad> {
        let wrong = |file, what: &Wrong| Bad::new(file, None, what);
        let vkey = heads.vkey.ok_or_else(|| wrong(VKEY, &Wrong::FileMissing))?;
        let vkey = vkey.strip_suffix('\n').unwrap_or(&vkey);
        let vkey: VerifierKey = vkey.parse().map_err(|error| wrong(VKEY, &Wrong::Key(error)))?;
        let mut keys = Keys::new(heads.trusted.unwrap_or_else(|| vkey.clone()));
        if vkey.name() != keys.origin() {
            return Err(wrong(VKEY, &Wrong::OtherKey));
        }
        keys.notice(vkey.clone());
        let note = heads.checkpoint.ok_or_else(|| wrong(CHECKPOINT, &Wrong::FileMissing))?;
        let signed = keys.open(&note, wrong(CHECKPOINT, &Wrong::UntrustedSigner));
        let signed = signed.map_err(|error| wrong(CHECKPOINT, &Wrong::Note(error)))?;
        Ok(Self {
            keys,
            vkey,
            roots: Roots::remembering(signed.size),
            signed,
            tiles: Tiles::new(heads.tiles, read),
            segments: Vec::new(),
            doubt: None,
            tiles_are_right: None,
            torn: None,
            held: 0,
            signed_late: 0,
            newest_held: None,
        })
    }

    /// How many records are signed.
    pub fn signed_size(&self) -> u64 {
        self.signed.size
    }

    /// Goes on with the segment whose first record is number `first`.
    ///
    /// # Errors
    /// It does not follow the one before.
    pub fn segment(&mut self, file: &str, first: u64) -> Result<(), VerifyError> {
        let size = self.roots.size();
        let wrong = match first.checked_sub(size) {
            Some(0) => {
                self.segments.push((first, file.to_owned()));
                return Ok(());
            }
            Some(_) => Wrong::Gap { first: size, last: first.saturating_sub(1) },
            None => Wrong::Overlap { last: size.saturating_sub(1) },
        };
        self.judge_pending(None)?;
        Err(VerifyError::Bad(Bad::new(file, None, &wrong)))
    }

    /// Takes the next records of the segment.
    ///
    /// # Errors
    /// One of them is not the one that was signed.
    pub fn piece(&mut self, piece: Piece) -> Result<(), VerifyError> {
        let mut said = piece.said.into_iter().peekable();
        let mut full = Vec::new();
        for leaf in piece.leaves {
            let seq = self.roots.size();
            self.roots.push(leaf, |tile| full.push(tile.clone()));
            for tile in full.drain(..) {
                if let Some(doubt) = self.tiles.compare(&tile, self.signed.size)? {
                    self.doubt(doubt, None)?;
                }
            }
            if let Some((_, said)) = said.next_if(|(of, _)| *of == seq) {
                self.said(seq, said)?;
            }
        }
        Ok(())
    }

    /// Ends the segment. `is_newest`: none follows.
    ///
    /// # Errors
    /// It was not read to its end, and it is not just torn behind what was signed.
    pub fn segment_end(&mut self, end: End, is_newest: bool) -> Result<(), VerifyError> {
        let file = self.segments.last().map(|(_, file)| file.clone()).unwrap_or_default();
        if let Some(stray) = end.stray {
            let seq = self.roots.size();
            let is_record = matches!(stray.fault, LineFault::Number(_));
            let is_short = stray.rest <= u64::try_from(MAX_BATCH).unwrap_or(u64::MAX);
            if is_newest && !is_record && is_short && seq >= self.signed.size {
                self.torn = Some(Torn { file, line: self.line(seq), bytes: stray.rest });
                return Ok(());
            }
            self.judge_pending(Some(&stray))?;
            return Err(self.bad(seq, &stray_wrong(seq, stray)));
        }
        if let Some(fault) = end.seal {
            self.judge_pending(None)?;
            return Err(VerifyError::Bad(Bad::new(file, None, &Wrong::Seal(fault))));
        }
        Ok(())
    }

    /// Says how the log is. `kept` are checkpoints that were kept elsewhere, by their names; `now` is the text of
    /// `checkpoint` as it stands by now: a proxy may have gone on writing.
    ///
    /// # Errors
    /// Records are missing, a root is not the one that was signed, a tile is not that of the records, or a key is not trusted.
    pub fn finish(mut self, kept: &[(String, String)], now: Option<&str>) -> Result<Verified, VerifyError> {
        for tile in self.roots.edge() {
            if let Some(doubt) = self.tiles.compare(&tile, self.signed.size)? {
                self.doubt(doubt, None)?;
            }
        }
        self.judge_size(self.signed.size, CHECKPOINT)?;
        self.judge_root()?;
        if let Some(beyond) = self.tiles.beyond(self.roots.size()) {
            return Err(VerifyError::Bad(beyond));
        }
        let now = now.and_then(|note| self.keys.open(note, Bad::new(CHECKPOINT, None, &Wrong::UntrustedSigner)).ok());
        let signed = now.map_or(0, |now| now.size).max(self.signed.size);
        for (file, note) in kept {
            self.judge_kept(file, note, signed)?;
        }
        if let Some((size, seq)) = self.newest_held.filter(|(size, _)| *size > signed) {
            return Err(VerifyError::Bad(Bad::new(CHECKPOINT, None, &Wrong::PutBack { signed, seq, size })));
        }
        self.keys.judge(&self.vkey, Bad::new(VKEY, None, &Wrong::OtherKey)).map_err(VerifyError::Bad)?;
        Ok(Verified {
            records: self.roots.size(),
            torn: self.torn,
            held: self.held,
            signed_late: self.signed_late,
            key_changes: self.keys.changes(),
            checkpoint: self.signed,
        })
    }

    /// Takes what record `seq`, the last one so far, says about the log.
    fn said(&mut self, seq: u64, said: Said) -> Result<(), VerifyError> {
        match said {
            Said::Start { vkey, unsigned } => {
                vkey.and_then(|key| key.parse().ok()).into_iter().for_each(|key| self.keys.notice(key));
                self.signed_late = self.signed_late.saturating_add(unsigned);
            }
            Said::KeyChange { .. } => {
                let place = self.place(seq);
                if let Err(bad) = self.keys.change(seq, &said, |wrong| place.bad(&wrong)) {
                    self.judge_pending(None)?;
                    return Err(VerifyError::Bad(bad));
                }
            }
            Said::Checkpoint(note) => return self.held(seq, &note),
        }
        Ok(())
    }

    /// A checkpoint within record `seq`.
    fn held(&mut self, seq: u64, note: &str) -> Result<(), VerifyError> {
        let untrusted = self.place(seq).bad(&Wrong::HeldSigner { seq });
        let held = match self.keys.open(note, untrusted) {
            Ok(held) if held.size <= seq => held,
            Ok(held) => return self.judged(seq, &Wrong::HeldSize { seq, size: held.size }),
            Err(error) => return self.judged(seq, &Wrong::HeldNote { seq, error }),
        };
        match self.root_at(held.size)? {
            Some(root) if root == held.root => {
                self.held = self.held.saturating_add(1);
                self.newest_held = self.newest_held.max(Some((held.size, seq)));
                Ok(())
            }
            // Somebody else's doubt comes first.
            _ if self.doubt.is_some() => Ok(()),
            Some(_) | None => self.judged(seq, &Wrong::HeldRoot { seq, size: held.size }),
        }
    }

    /// A checkpoint that was kept elsewhere.
    fn judge_kept(&mut self, file: &str, note: &str, signed: u64) -> Result<(), VerifyError> {
        let wrong = |what: &Wrong| VerifyError::Bad(Bad::new(file, None, what));
        let untrusted = Bad::new(file, None, &Wrong::UntrustedSigner);
        let kept = self.keys.open(note, untrusted).map_err(|error| wrong(&Wrong::Note(error)))?;
        self.judge_size(kept.size, file)?;
        if self.root_at(kept.size)? != Some(kept.root) {
            return Err(wrong(&Wrong::Root { size: kept.size }));
        }
        if kept.size > signed {
            let what = Wrong::PutBackFrom { signed, size: kept.size, by: file.to_owned() };
            return Err(VerifyError::Bad(Bad::new(CHECKPOINT, None, &what)));
        }
        Ok(())
    }

    /// Whether there are as many records as were signed.
    fn judge_size(&self, signed: u64, by: &str) -> Result<(), VerifyError> {
        let has = self.roots.size();
        if has >= signed {
            return Ok(());
        }
        let file = self.segments.last().map_or("segments", |(_, file)| file);
        Err(VerifyError::Bad(Bad::new(file, None, &Wrong::Short { has, signed, by: by.to_owned() })))
    }

    /// Whether the records make the signed root, and so who is right where they differ from the tiles.
    fn judge_root(&mut self) -> Result<(), VerifyError> {
        let is_right = self.root_at(self.signed.size)? == Some(self.signed.root);
        match &self.doubt {
            Some(doubt @ Doubt { record: Some(Differs { seq, .. }), .. }) if !is_right => {
                Err(self.bad(*seq, &Wrong::Neither { seq: *seq, tile: doubt.tile().to_string() }))
            }
            Some(doubt) => Err(VerifyError::Bad(doubt.bad())),
            None if is_right => Ok(()),
            None => {
                let what = Wrong::Root { size: self.signed.size };
                Err(VerifyError::Bad(Bad::new(CHECKPOINT, None, &what)))
            }
        }
    }

    /// The root of the records at a size.
    fn root_at(&mut self, size: u64) -> io::Result<Option<Hash>> {
        self.roots.at(size, &mut |id| self.tiles.stored(id))
    }

    /// Something is wrong with what record `seq` says, unless it or a record just before it was changed.
    fn judged(&mut self, seq: u64, wrong: &Wrong) -> Result<(), VerifyError> {
        self.judge_pending(None)?;
        Err(self.bad(seq, wrong))
    }

    /// Compares the records that make no full tile yet, before something behind them is called wrong.
    fn judge_pending(&mut self, stray: Option<&Stray>) -> Result<(), VerifyError> {
        let pending = self.roots.edge().into_iter().find(|tile| tile.id.level() == 0);
        match pending.map(|tile| self.tiles.compare(&tile, 0)).transpose()?.flatten() {
            Some(doubt) => self.doubt(doubt, stray),
            None => Ok(()),
        }
    }

    /// A tile and the records differ. If what is stored makes the signed root, the record was changed: unless it was another
    /// tile that is not part of that.
    fn doubt(&mut self, mut doubt: Doubt, stray: Option<&Stray>) -> Result<(), VerifyError> {
        let signed = self.signed.size;
        if let Some(Differs { seq, leaf }) = doubt.record.filter(|record| record.seq < signed)
            && self.tiles_make_root()?
        {
            let stored = self.tiles.leaf(seq, signed)?;
            if stored != Some(leaf) {
                let is_next = |stray: &Stray| stray.fault == LineFault::Number(seq) && Some(stray.leaf) == stored;
                let line = self.line(self.roots.size());
                let put_in = stray.is_some_and(is_next).then_some(Wrong::PutIn { seq, line });
                return Err(self.bad(seq, &put_in.unwrap_or(Wrong::Changed { seq })));
            }
            doubt.record = None;
        }
        self.doubt.get_or_insert(doubt);
        Ok(())
    }

    /// Whether the stored hashes make the signed root.
    fn tiles_make_root(&mut self) -> io::Result<bool> {
        let are_right = match self.tiles_are_right {
            Some(are_right) => are_right,
            None => self.tiles.root(self.signed.size)? == Some(self.signed.root),
        };
        self.tiles_are_right = Some(are_right);
        Ok(are_right)
    }

    fn bad(&self, seq: u64, what: &Wrong) -> VerifyError {
        VerifyError::Bad(self.place(seq).bad(what))
    }

    /// Where a record stands, or belongs.
    fn place(&self, seq: u64) -> LinePlace {
        let behind = self.segments.partition_point(|(first, _)| *first <= seq);
        let segment = behind.checked_sub(1).and_then(|at| self.segments.get(at));
        segment.map_or(LinePlace { file: "segments".to_owned(), line: None }, |(first, file)| LinePlace {
            file: file.clone(),
            line: Some(seq.saturating_sub(*first).saturating_add(1)),
        })
    }

    fn line(&self, seq: u64) -> u64 {
        self.place(seq).line.unwrap_or_default()
    }
}

/// A line of a segment.
struct LinePlace {
    file: String,
    line: Option<u64>,
}

impl LinePlace {
    fn bad(&self, what: &Wrong) -> Bad {
        Bad::new(self.file.clone(), self.line, what)
    }
}

/// What a line says that is not record `seq`.
fn stray_wrong(seq: u64, stray: Stray) -> Wrong {
    match (stray.fault, stray.instead) {
        (LineFault::Number(found), _) if found < seq => Wrong::Again { seq, found },
        (LineFault::Number(found), Some(line)) => Wrong::Moved { seq, found, line },
        (LineFault::Number(found), None) => Wrong::Missing { seq, found },
        (fault, _) => Wrong::Line { seq, fault },
    }
}
