//! A copy of every durable line for a reader outside, who may be slow or gone: that must not stop a decision.
//! Not here: the log itself. A copy is a convenience; the log is the record.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, SyncSender};

/// Batches that may wait for the reader; each is at most 1 MiB, and some tens of KiB at 20,000 records a second.
const MAX_WAITING: usize = 16;

/// Hands batches to a thread that may block.
pub(super) struct Copier {
    batches: SyncSender<Vec<u8>>,
    /// Lines that the thread could not write.
    unwritten: Arc<AtomicU64>,
}

impl Copier {
    pub(super) fn start(mut out: Box<dyn Write + Send>) -> io::Result<Self> {
        let (batches, incoming) = mpsc::sync_channel::<Vec<u8>>(MAX_WAITING);
        let unwritten = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&unwritten);
        std::thread::Builder::new().name("decision-copy".to_owned()).spawn(move || {
            for batch in incoming {
                if out.write_all(&batch).and_then(|()| out.flush()).is_err() {
                    count.fetch_add(lines(&batch), Ordering::Relaxed);
                }
            }
        })?;
        Ok(Self { batches, unwritten })
    }

    /// Copies whole lines. Returns how many were dropped since the last call, these or earlier ones.
    pub(super) fn copy(&self, batch: &[u8]) -> u64 {
        let dropped = self.batches.try_send(batch.to_vec()).map_or_else(|_| lines(batch), |()| 0);
        dropped.saturating_add(self.unwritten.swap(0, Ordering::Relaxed))
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
}
