//! A copy of every durable line for a reader outside, who may be slow or gone: that must not stop a decision.
//! Not here: the log itself. A copy is a convenience; the log is the record.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::Duration;

/// Batches that may wait for the reader; each is at most 1 MiB, and some tens of KiB at 20,000 records a second.
const MAX_WAITING: usize = 16;

/// How long the end of the log waits for the reader of the copy, who may have stopped reading.
const COPY_DEADLINE: Duration = Duration::from_secs(2);

/// Hands batches to a thread that may block.
pub(super) struct Copier {
    batches: SyncSender<Vec<u8>>,
    /// Lines that the thread could not write.
    unwritten: Arc<AtomicU64>,
    /// Lines that the thread has not come to.
    waiting: Arc<AtomicU64>,
    /// Is closed when the thread ends.
    ended: Receiver<()>,
}

impl Copier {
    pub(super) fn start(mut out: Box<dyn Write + Send>) -> io::Result<Self> {
        let (batches, incoming) = mpsc::sync_channel::<Vec<u8>>(MAX_WAITING);
        let unwritten = Arc::new(AtomicU64::new(0));
        let waiting = Arc::new(AtomicU64::new(0));
        let (count, left) = (Arc::clone(&unwritten), Arc::clone(&waiting));
        let (ends, ended) = mpsc::channel();
        std::thread::Builder::new().name("decision-copy".to_owned()).spawn(move || {
            for batch in incoming {
                if out.write_all(&batch).and_then(|()| out.flush()).is_err() {
                    count.fetch_add(lines(&batch), Ordering::Relaxed);
                }
                left.fetch_sub(lines(&batch), Ordering::Relaxed);
            }
            drop::<mpsc::Sender<()>>(ends);
        })?;
        Ok(Self { batches, unwritten, waiting, ended })
    }

    /// Copies whole lines. Returns how many were dropped since the last call, these or earlier ones.
    pub(super) fn copy(&self, batch: &[u8]) -> u64 {
        let count = lines(batch);
        self.waiting.fetch_add(count, Ordering::Relaxed);
        let dropped = self.batches.try_send(batch.to_vec()).map_or(count, |()| 0);
        self.waiting.fetch_sub(dropped, Ordering::Relaxed);
        dropped.saturating_add(self.unwritten.swap(0, Ordering::Relaxed))
    }

    /// Waits until all is copied, but not for long. Returns how many lines were not.
    pub(super) fn finish(self) -> u64 {
        let Self { batches, unwritten, waiting, ended } = self;
        drop(batches);
        // Closed or too late: what is left says which.
        let _ = ended.recv_timeout(COPY_DEADLINE);
        unwritten.load(Ordering::Relaxed).saturating_add(waiting.load(Ordering::Relaxed))
    }
}

fn lines(batch: &[u8]) -> u64 {
    batch.iter().fold(0, |count, byte| count + u64::from(*byte == b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender};

    /// Says what it got, and goes on when told to.
    struct Slow(Sender<Vec<u8>>, Receiver<bool>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).unwrap();
            if self.1.recv().unwrap_or(true) { Ok(bytes.len()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_blocks_or_fails_costs_copies_alone() {
        let ((said, hears), (tells, told)) = (mpsc::channel(), mpsc::channel());
        let copier = Copier::start(Box::new(Slow(said, told))).unwrap();
        assert_eq!(copier.copy(b"1\n"), 0);
        assert_eq!(hears.recv().unwrap(), b"1\n");
        let dropped: u64 = (0..MAX_WAITING + 2).map(|_| copier.copy(b"2\n3\n")).sum();
        assert_eq!(dropped, 4, "two batches of two lines found no room");
        tells.send(false).unwrap();
        assert_eq!(hears.recv().unwrap(), b"2\n3\n", "an error is not the end");
        assert!(copier.copy(b"4\n") >= 1, "the line that could not be written is counted");
    }

    #[test]
    fn the_end_waits_for_a_slow_reader_but_not_for_one_that_stopped() {
        for (name, reads, want) in [("slow", true, 0), ("stopped", false, 3)] {
            let ((said, hears), (tells, told)) = (mpsc::channel(), mpsc::channel());
            let copier = Copier::start(Box::new(Slow(said, told))).unwrap();
            copier.copy(b"1\n");
            copier.copy(b"2\n3\n");
            assert_eq!(hears.recv().unwrap(), b"1\n", "{name}");
            let reader = std::thread::spawn(move || {
                (0..if reads { 2 } else { 0 }).for_each(|_| tells.send(true).unwrap());
                // Kept until the end: a reader that is gone would be told so.
                tells
            });
            let tells = reader.join().unwrap();
            assert_eq!(copier.finish(), want, "{name}");
            assert_eq!(hears.try_recv().is_ok(), reads, "{name}");
            drop(tells);
        }
    }
}
