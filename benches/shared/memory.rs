//! A store in memory, so that a commit costs what the log itself does.
//! Not here: the disk (`runtime::journal`).

use std::io;

use sallyport::decision_log::{End, Store};

/// Keeps the last batch.
#[derive(Default)]
pub struct Memory(Vec<u8>);

impl Store for Memory {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.clear();
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn reopen(&mut self, _: End) -> io::Result<()> {
        Ok(())
    }

    fn roll(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }
}
