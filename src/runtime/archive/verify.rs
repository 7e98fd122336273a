//! Verifies a log's directory: reads segments at once on all cores, and compares them in their order.
//! Not here: what is compared with what (`decision_log::verify`), how it is printed (`cli`).

use std::io::{self, Read};
use std::slice;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::{Archive, ArchiveError, Opened, Segment};
use crate::decision_log::VerifierKey;
use crate::decision_log::verify::{Bad, End, Heads, Piece, Verified, Verifier, VerifyError, read_plain, read_sealed};

/// Threads that read segments. One does 400,000 records a second; more than 16 would wait for the one that compares.
const MAX_READERS: usize = 16;

/// Pieces of a segment that wait to be compared: all of a usual one, whose pieces have 1 MiB of lines each.
const MAX_PIECES: usize = 64;

/// What a log is held against.
#[derive(Debug, Default)]
pub struct Trust {
    /// The key that is trusted; if none is, the log's own.
    pub key: Option<VerifierKey>,
    /// Checkpoints that were kept elsewhere, by their names.
    pub kept: Vec<(String, String)>,
}

/// A log that is as it was signed.
#[derive(Debug)]
pub struct Report {
    /// What was found.
    pub verified: Verified,
    /// Segments that are there in both forms, of which the plain one was read.
    pub doubled: Vec<String>,
}

/// What a reader tells: pieces, then the end.
enum Told {
    Piece(Piece),
    End(io::Result<End>),
}

/// A segment as it is read, with the name that it was opened under.
type Reading = (String, Receiver<Told>);

/// Verifies all of a log. `progress` is told how many records are compared, and how many are signed.
///
/// # Errors
/// What is wrong with it first, or that it can't be read.
pub fn verify(archive: &Archive, trust: Trust, progress: &mut dyn FnMut(u64, u64)) -> Result<Report, VerifyError> {
    // Before what it signs: a proxy may be writing.
    let checkpoint = text(archive.checkpoint(), super::CHECKPOINT)?;
    let contents = archive.contents().map_err(io::Error::other)?;
    if let Some((name, foreign)) = contents.foreign.first() {
        let file = name.escape_debug().to_string();
        return Err(VerifyError::Bad(Bad { file, line: None, what: foreign.to_string() }));
    }
    let heads =
        Heads { trusted: trust.key, vkey: text(archive.vkey(), super::VKEY)?, checkpoint, tiles: contents.tiles };
    let mut read = |id| archive.tile_file(id).map_err(io::Error::other);
    let mut verifier = Verifier::new(heads, &mut read).map_err(VerifyError::Bad)?;
    let signed = verifier.signed_size();
    compare(archive, &contents.segments, &mut verifier, &mut |records| progress(records, signed))?;
    let now = text(archive.checkpoint(), super::CHECKPOINT)?;
    let verified = verifier.finish(&trust.kept, now.as_deref())?;
    let doubled = contents.doubled.iter().map(|first| Segment { first: *first, is_sealed: false }.name()).collect();
    Ok(Report { verified, doubled })
}

/// A file that is no text is a fault of the log.
fn text(read: Result<Option<String>, ArchiveError>, name: &str) -> Result<Option<String>, VerifyError> {
    read.map_err(|error| match error.is_malformed() {
        true => VerifyError::Bad(Bad { file: name.to_owned(), line: None, what: "is not UTF-8".to_owned() }),
        false => VerifyError::Read(io::Error::other(error)),
    })
}

/// Reads segments on several threads, and gives what they hold to the verifier on this one.
fn compare(
    archive: &Archive,
    segments: &[Segment],
    verifier: &mut Verifier<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<(), VerifyError> {
    let readers = thread::available_parallelism().map_or(1, usize::from).min(MAX_READERS).min(segments.len());
    let next = Mutex::new(segments.iter());
    thread::scope(|scope| {
        let (order, readings) = sync_channel(readers);
        for _ in 0..readers {
            let (next, order) = (&next, order.clone());
            thread::Builder::new()
                .name("verify".to_owned())
                .spawn_scoped(scope, move || read_segments(archive, next, &order))?;
        }
        drop(order);
        let mut records = 0_u64;
        let mut progress = |piece: &Piece| {
            records = records.saturating_add(u64::try_from(piece.records()).unwrap_or(u64::MAX));
            progress(records);
        };
        // Readers that are ahead end when `readings` goes and nobody takes what they read.
        segments.iter().enumerate().try_for_each(|(place, segment)| {
            let gone = || VerifyError::Read(io::Error::other("a thread that reads segments has ended"));
            let (name, told) = readings.recv().map_err(|_| gone())?;
            verifier.segment(&name, segment.first)?;
            for told in told {
                match told {
                    Told::Piece(piece) => {
                        progress(&piece);
                        verifier.piece(piece)?;
                    }
                    Told::End(end) => {
                        let is_newest = place.saturating_add(1) == segments.len();
                        return verifier.segment_end(end?, is_newest);
                    }
                }
            }
            Err(gone())
        })
    })
}

/// Reads one segment after the other until none is left, or nobody listens.
fn read_segments(archive: &Archive, next: &Mutex<slice::Iter<'_, Segment>>, order: &SyncSender<Reading>) {
    loop {
        let (told, reading) = sync_channel(MAX_PIECES);
        // Held until the reading is handed over: they stand in the order of the segments.
        let mut segments = next.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(segment) = segments.next() else { return };
        let opened = archive.read(*segment);
        let is_sealed = matches!(opened, Ok(Opened::Sealed(_))) || segment.is_sealed;
        let name = Segment { is_sealed, ..*segment }.name();
        if order.send((name, reading)).is_err() {
            return;
        }
        drop(segments);
        let end = opened.map_err(io::Error::other).and_then(|opened| read(opened, segment.first, &told));
        if told.send(Told::End(end)).is_err() {
            return;
        }
    }
}

fn read(opened: Opened, first: u64, told: &SyncSender<Told>) -> io::Result<End> {
    let mut give = |piece| told.send(Told::Piece(piece)).is_ok();
    match opened {
        Opened::Plain(file) => {
            // Not beyond what was there: a busy proxy would be read for ever.
            let length = file.metadata()?.len();
            read_plain(&mut file.take(length), first, &mut give)
        }
        Opened::Sealed(file) => read_sealed(file, first, &mut give),
    }
}
