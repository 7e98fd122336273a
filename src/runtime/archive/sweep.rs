//! Goes through many segments at once, on all cores: each thread gathers what it finds for itself.
//! Not here: what is looked for (`decision_log::Query`), what is gathered (`foresight`). Nothing is verified but what every walk checks.

use std::ops::ControlFlow;
use std::slice;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::{Archive, Segment, SegmentError};
use crate::decision_log::{Found, Query};

/// Threads that read segments. Each has what it gathers in memory of its own.
const MAX_SWEEPERS: usize = 8;

/// What is done with records: how a thread begins, and what it does with each.
pub struct Gather<'a, T> {
    /// Begins.
    pub begin: &'a (dyn Fn() -> T + Sync),
    /// Takes a record.
    pub take: &'a (dyn Fn(&mut T, Found<'_>) + Sync),
}

impl Archive {
    /// Gives every record of these segments that is looked for to one of several gatherers, each thread's in order. `progress` is told the
    /// number behind the last record of each segment that is done.
    ///
    /// # Errors
    /// A segment can't be read, or holds something else than records.
    pub fn sweep<T: Send>(
        &self,
        segments: &[Segment],
        query: &Query,
        gather: &Gather<'_, T>,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<T>, SegmentError> {
        let threads = thread::available_parallelism().map_or(1, usize::from).min(MAX_SWEEPERS).min(segments.len());
        let next = Mutex::new(segments.iter());
        thread::scope(|scope| {
            let (done, tidings) = channel();
            let spawned: Vec<_> = (0..threads)
                .map(|_| {
                    let (next, done) = (&next, done.clone());
                    scope.spawn(move || self.sweep_some(next, query, gather, &done))
                })
                .collect();
            drop(done);
            (1..).zip(tidings).for_each(|(count, ())| progress(count));
            spawned
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|fault| std::panic::resume_unwind(fault)))
                .collect()
        })
    }

    /// One segment after the other until none is left. At the first that can't be read none is left for the others either.
    fn sweep_some<T>(
        &self,
        next: &Mutex<slice::Iter<'_, Segment>>,
        query: &Query,
        gather: &Gather<'_, T>,
        done: &Sender<()>,
    ) -> Result<T, SegmentError> {
        let mut gathered = (gather.begin)();
        loop {
            let segment = next.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(segment) = segment else { return Ok(gathered) };
            let walked = self.walk(*segment, query, &mut |found| {
                (gather.take)(&mut gathered, found);
                ControlFlow::<()>::Continue(())
            });
            if let Err(error) = walked {
                *next.lock().unwrap_or_else(PoisonError::into_inner) = [].iter();
                return Err(error);
            }
            // Whoever asked has gone if nobody hears it.
            let _ = done.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::decision_log::sealed::testing;
    use crate::decision_log::{Criteria, seal};

    /// Twenty sealed segments of 30 records, and a plain one of as many with a line under way.
    fn log() -> (tempfile::TempDir, Archive) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("segments")).unwrap();
        let sorts = testing::usual(30);
        for segment in 0..20 {
            let mut sealed = Vec::new();
            seal(&mut &*testing::lines(segment * 30, &sorts), segment * 30, &mut sealed).unwrap();
            fs::write(folder.path().join(format!("segments/{:012}.jsonl.zst", segment * 30)), sealed).unwrap();
        }
        let plain = [&testing::lines(600, &sorts), &b"{\"v\":1,\"seq\":630,"[..]].concat();
        fs::write(folder.path().join("segments/000000000600.jsonl"), plain).unwrap();
        let archive = Archive::open(folder.path()).unwrap();
        (folder, archive)
    }

    fn swept(archive: &Archive, criteria: Criteria) -> Result<(Vec<u64>, Vec<usize>), SegmentError> {
        let gather = Gather { begin: &Vec::new, take: &|seqs: &mut Vec<u64>, found| seqs.push(found.facets.seq()) };
        let mut told = Vec::new();
        let segments = archive.segments().unwrap();
        let parts = archive.sweep(&segments, &Query::new(criteria).unwrap(), &gather, &mut |done| told.push(done))?;
        assert!(parts.iter().all(|part| part.is_sorted()), "{parts:?}");
        let mut seqs = parts.concat();
        seqs.sort_unstable();
        Ok((seqs, told))
    }

    #[test]
    fn every_record_comes_to_one_thread_once() {
        let (_folder, archive) = log();
        let (seqs, told) = swept(&archive, Criteria::default()).unwrap();
        assert_eq!(seqs, (0..630).collect::<Vec<u64>>());
        assert_eq!(told, (1..=21).collect::<Vec<usize>>());
        let (seqs, _) = swept(&archive, Criteria { outcome: vec!["allow".to_owned()], ..Criteria::default() }).unwrap();
        assert_eq!(seqs, (0..63).map(|n| n * 10 + 9).collect::<Vec<u64>>());
    }

    #[test]
    fn a_segment_that_is_wrong_ends_it_and_is_named() {
        let (folder, archive) = log();
        fs::write(folder.path().join("segments/000000000090.jsonl.zst"), [0; 99]).unwrap();
        let error = swept(&archive, Criteria::default()).unwrap_err().to_string();
        assert!(error.starts_with("segments/000000000090.jsonl.zst has no seek table"), "{error}");
    }
}
