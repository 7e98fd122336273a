//! The segments that a start finds: which there are, that each begins where the one before it ends, and what the newest hold.
//! Not here: whether their records are those that were signed (`opening`), writing (`disk`), sealing (`sealer`).
//! Of sealed segments little more than the summaries is read: `audit verify` reads all.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::disk;
use super::place::{self, Place};
use super::sealer::Ended;
use super::{JournalError, system};
use crate::decision_log::{Damage, Hash, Last, Scan, Sealed, SealedError, Summary, scan};
use crate::runtime::layout::{SEGMENTS, Segment, UNFINISHED};

/// Sealed segments whose summaries a start reads, of half a millisecond each: two weeks of busy hours. The others are `audit verify`'s.
const MAX_SUMMARIES: usize = 1_000;

/// All segments of a log, in order.
pub(super) struct Segments {
    /// The log's directory.
    path: PathBuf,
    folder: OwnedFd,
    all: Vec<Segment>,
}

/// The records that are not sealed.
pub(super) struct Tail {
    /// The number of its first record.
    pub(super) first: u64,
    leaves: Vec<Hash>,
    pub(super) newest: disk::Segment,
    pub(super) scan: Scan,
}

impl Segments {
    /// Lists them, and makes their folder if told to. What a crash left of sealing one is removed.
    pub(super) fn list(path: &Path, place: &Place, create: bool) -> Result<Self, JournalError> {
        let lost = || JournalError::Lost(path.to_owned());
        let folder = match place::folder(&*place.directory(), SEGMENTS, create) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(lost()),
            opened => opened.map_err(system("open", &path.join(SEGMENTS)))?,
        };
        let mut segments = Self { path: path.to_owned(), folder, all: Vec::new() };
        for found in place::names(&segments.folder).map_err(segments.cannot("list", ""))? {
            segments.add(&found)?;
        }
        segments.all.sort_unstable();
        segments.remove_doubles()?;
        if segments.all.is_empty() && !create {
            return Err(lost());
        }
        segments.in_order()?;
        Ok(segments)
    }

    fn add(&mut self, found: &str) -> Result<(), JournalError> {
        let begun = found.strip_suffix(UNFINISHED).and_then(Segment::of_file);
        let is_link = place::is_link(&self.folder, found).map_err(self.cannot("read", found))?;
        match Segment::of_file(found) {
            Some(segment) if !is_link => self.all.push(segment),
            None if !is_link && begun.is_some_and(|segment| segment.is_sealed) => self.remove(found)?,
            Some(_) | None => return Err(JournalError::Foreign(self.file(found))),
        }
        Ok(())
    }

    /// Between the sealed one's coming and the open one's going there was a crash: the open one is sealed again.
    fn remove_doubles(&mut self) -> Result<(), JournalError> {
        let pairs: Vec<u64> = self.all.windows(2).filter_map(twice).collect();
        for first in pairs {
            let sealed = Segment::sealed(first);
            let is_same = is_doubled(&self.folder, first).map_err(self.cannot("read", &sealed.file()))?;
            if !is_same {
                return Err(JournalError::Differ(self.file(&sealed.file())));
            }
            self.remove(&sealed.file())?;
            self.all.retain(|segment| *segment != sealed);
        }
        Ok(())
    }

    /// Whether each begins where the one before it ends, as far as the newest summaries say.
    fn in_order(&self) -> Result<(), JournalError> {
        let first = self.all.first().map_or(0, |first| first.first);
        if first > 0 {
            let path = self.file(&Segment::sealed(first).file());
            return Err(JournalError::Damaged { path, why: Damage::Gap { first, before: 0 } });
        }
        let sealed = self.all.iter().enumerate().rev().filter(|(_, segment)| segment.is_sealed);
        let from = sealed.map(|(at, _)| at).nth(MAX_SUMMARIES).unwrap_or(0);
        let mut before = None;
        for segment in self.all.iter().skip(from) {
            if let Some(before) = before.filter(|before| *before != segment.first) {
                let why = Damage::Gap { first: segment.first, before };
                return Err(JournalError::Damaged { path: self.file(&segment.file()), why });
            }
            before = if segment.is_sealed { Some(self.end_of_sealed(segment.first)?) } else { None };
        }
        Ok(())
    }

    /// The number behind the last record of a sealed one.
    fn end_of_sealed(&self, first: u64) -> Result<u64, JournalError> {
        self.sealed(first, |sealed| match sealed.summary() {
            Summary { first_seq, last_seq, .. } if *first_seq == first => Ok(last_seq.saturating_add(1)),
            Summary { .. } => Err(SealedError::Contradiction { what: "first record and its name" }),
        })
    }

    /// What the last record of a sealed one says.
    fn last_of_sealed(&self, first: u64) -> Result<Option<Last>, JournalError> {
        self.sealed(first, |sealed| {
            let mut last = None;
            sealed.lines_from(sealed.summary().last_seq, &mut |_, line| {
                last = Last::of(line);
                ControlFlow::Continue(())
            })?;
            Ok(last)
        })
    }

    fn sealed<T>(
        &self,
        first: u64,
        read: impl FnOnce(&mut Sealed<File>) -> Result<T, SealedError>,
    ) -> Result<T, JournalError> {
        let name = Segment::sealed(first).file();
        let file = place::open(&self.folder, &name, OFlags::RDONLY).map_err(self.cannot("open", &name))?;
        let read = Sealed::open(file).and_then(|mut sealed| read(&mut sealed));
        read.map_err(|why| JournalError::Sealed { path: self.file(&name), why })
    }

    /// Whether there is no record yet: a log that is being begun, perhaps for a second time behind a crash.
    pub(super) fn hold_nothing(&self) -> Result<bool, JournalError> {
        for segment in &self.all {
            let name = segment.file();
            if segment.is_sealed || place::length(&self.folder, &name).map_err(self.cannot("read", &name))? > 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads what is not sealed: the records whose tiles a power failure may have taken.
    pub(super) fn tail(&self, signed: u64) -> Result<Tail, JournalError> {
        let sealed = self.all.iter().rfind(|segment| segment.is_sealed).map(|segment| segment.first);
        let next = sealed.map(|sealed| self.end_of_sealed(sealed)).transpose()?.unwrap_or(0);
        let open: Vec<u64> = self.open().map(|segment| segment.first).collect();
        if next > signed {
            let path = self.file("");
            return Err(JournalError::Damaged { path, why: Damage::Gap { first: next, before: signed } });
        }
        let mut tail = match (open.is_empty(), sealed) {
            (false, _) => self.read(&open, false)?,
            // A log that is begun.
            (true, None) => self.read(&[0], true)?,
            (true, Some(_)) if next < signed => return Err(self.short(next, signed)),
            (true, Some(_)) => return Err(JournalError::NoNewest(self.file(&disk::name(next)))),
        };
        if tail.scan.end.next < signed {
            return Err(self.short(tail.scan.end.next, signed));
        }
        if let (None, Some(sealed)) = (tail.scan.last, sealed) {
            tail.scan.last = self.last_of_sealed(sealed)?;
        }
        Ok(tail)
    }

    /// The leaves of the records from `from` up to `to`, where a segment ends.
    pub(super) fn leaves(&self, from: u64, to: u64) -> Result<Vec<Hash>, JournalError> {
        let mut leaves = Vec::new();
        let ends = self.all.iter().skip(1).map(|next| next.first).chain([u64::MAX]);
        for (segment, _) in self.all.iter().zip(ends).filter(|(segment, end)| segment.first < to && *end > from) {
            let mut seq = segment.first;
            let mut push = |line: &[u8]| {
                leaves.extend((from..to).contains(&seq).then(|| Hash::leaf(line)));
                seq = seq.saturating_add(1);
            };
            if !segment.is_sealed {
                self.scan(*segment, &mut push)?;
                continue;
            }
            self.sealed(segment.first, |sealed| {
                sealed.lines_from(from, &mut |seq, line| {
                    if seq >= to {
                        return ControlFlow::Break(());
                    }
                    leaves.push(Hash::leaf(line));
                    ControlFlow::Continue(())
                })
            })?;
        }
        Ok(leaves)
    }

    /// Reads open segments, which follow each other.
    fn read(&self, firsts: &[u64], create: bool) -> Result<Tail, JournalError> {
        let mut tail: Option<Tail> = None;
        for first in firsts.iter().copied() {
            let name = disk::name(first);
            let damaged = |why| JournalError::Damaged { path: self.file(&name), why };
            let segment = disk::Segment::open(&self.folder, first, create).map_err(self.cannot("open", &name))?;
            let mut leaves = tail.as_mut().map(|tail| std::mem::take(&mut tail.leaves)).unwrap_or_default();
            let mut scan = segment.scan(&mut |line| leaves.push(Hash::leaf(line))).map_err(damaged)?;
            if let Some(before) = &tail {
                let (end, torn) = (before.scan.end.next, before.scan.torn);
                if torn > 0 {
                    let path = self.file(&before.newest.name());
                    return Err(JournalError::Damaged { path, why: Damage::Behind { bytes: torn } });
                }
                if end != first {
                    return Err(damaged(Damage::Gap { first, before: end }));
                }
                scan.last = scan.last.or(before.scan.last);
            }
            let begins = tail.map_or(first, |tail| tail.first);
            tail = Some(Tail { first: begins, leaves, newest: segment, scan });
        }
        tail.ok_or_else(|| JournalError::Lost(self.path.clone()))
    }

    fn short(&self, has: u64, signed: u64) -> JournalError {
        JournalError::Short { path: self.path.clone(), has, signed }
    }

    /// Gives the lines of all of them, in order, without their newlines.
    pub(super) fn lines(&self, each: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<(), JournalError> {
        let mut done = Ok(());
        for segment in &self.all {
            self.scan(*segment, &mut |line| {
                if done.is_ok() {
                    done = each(line);
                }
            })?;
        }
        done.map_err(system("write", &self.path))
    }

    /// Gives the lines of one of them.
    fn scan(&self, segment: Segment, each: &mut dyn FnMut(&[u8])) -> Result<(), JournalError> {
        let name = segment.file();
        let file = place::open(&self.folder, &name, OFlags::RDONLY).map_err(self.cannot("open", &name))?;
        let scanned = if segment.is_sealed {
            let lines = zstd::Decoder::new(file).map_err(self.cannot("read", &name))?;
            scan(&mut BufReader::new(lines), segment.first, each)
        } else {
            scan(&mut BufReader::new(file), segment.first, each)
        };
        scanned.map(drop).map_err(|why| JournalError::Damaged { path: self.file(&name), why })
    }

    /// Those behind the last sealed one.
    fn open(&self) -> impl Iterator<Item = &Segment> {
        let sealed = self.all.iter().rposition(|segment| segment.is_sealed);
        self.all.iter().skip(sealed.map_or(0, |last| last.saturating_add(1)))
    }

    /// Those of them that no record will be added to.
    pub(super) fn ended(&self) -> impl Iterator<Item = Ended> {
        self.open().zip(self.open().skip(1)).map(|(segment, next)| Ended { first: segment.first, next: next.first })
    }

    /// Makes the newest end with its last whole record, and durable.
    pub(super) fn cut(&self, tail: &Tail) -> Result<(), JournalError> {
        tail.newest.cut(tail.scan.end).map_err(self.cannot("cut", &tail.newest.name()))?;
        rustix::fs::fsync(&self.folder).map_err(|errno| self.cannot("sync", "")(errno.into()))
    }

    /// Their folder, open.
    pub(super) fn into_folder(self) -> OwnedFd {
        self.folder
    }

    fn remove(&self, name: &str) -> Result<(), JournalError> {
        place::remove(&self.folder, name).map_err(self.cannot("remove", name))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(SEGMENTS).join(name)
    }

    fn cannot(&self, doing: &'static str, name: &str) -> impl Fn(io::Error) -> JournalError + use<> {
        let path = self.file(name);
        move |why| JournalError::System { doing, path: path.clone(), why }
    }
}

impl Tail {
    /// Its leaves below `size`.
    pub(super) fn signed(&self, size: u64) -> &[Hash] {
        self.leaves.split_at(self.place_of(size)).0
    }

    /// Its leaves from `size` on.
    pub(super) fn unsigned(&self, size: u64) -> &[Hash] {
        self.leaves.split_at(self.place_of(size)).1
    }

    fn place_of(&self, size: u64) -> usize {
        usize::try_from(size.saturating_sub(self.first)).unwrap_or(usize::MAX).min(self.leaves.len())
    }
}

/// The first record of a segment that is there in both forms.
fn twice(pair: &[Segment]) -> Option<u64> {
    let [one, other] = pair else { return None };
    (one.first == other.first).then_some(one.first)
}

/// Whether both forms of a segment have the same lines.
fn is_doubled(segments: &OwnedFd, first: u64) -> io::Result<bool> {
    let read = |name: &str| place::open(segments, name, OFlags::RDONLY);
    let mut plain = BufReader::new(read(&Segment::plain(first).file())?);
    let mut sealed = BufReader::new(zstd::Decoder::new(read(&Segment::sealed(first).file())?)?);
    loop {
        // What can't be decompressed is not the same.
        let (one, Ok(other)) = (plain.fill_buf()?, sealed.fill_buf()) else { return Ok(false) };
        let both = one.len().min(other.len());
        if both == 0 || one.get(..both) != other.get(..both) {
            return Ok(one.is_empty() && other.is_empty());
        }
        plain.consume(both);
        sealed.consume(both);
    }
}
