//! Looks through the segments of a log: reads of each what a query asks for, or counts it.
//! Not here: what is asked for and what can be skipped (`decision_log::Query`).

use std::fs::File;
use std::io::{self, BufReader, Read, Take};
use std::ops::ControlFlow;

use super::{Archive, ArchiveError, Opened, Segment};
use crate::decision_log::{Count, Found, Query, Sealed, WalkError};

/// Bytes that are read at once of a segment that is not sealed.
const READ_AHEAD: usize = 256 * 1024;

/// A segment can't be looked through.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// Its file can't be opened.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// It holds something else than it should.
    #[error("{name} {why}")]
    Segment {
        /// Its name below the directory.
        name: String,
        /// What is wrong.
        why: WalkError,
    },
}

impl Archive {
    /// Gives the records of a segment that are looked for, in order, until `each` has enough; then what that left.
    ///
    /// # Errors
    /// The segment can't be read, or holds something else than records.
    pub fn walk<B>(
        &self,
        segment: Segment,
        query: &Query,
        each: &mut dyn FnMut(Found<'_>) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, SegmentError> {
        let mut enough = ControlFlow::Continue(());
        let mut each = |found: Found<'_>| {
            enough = each(found);
            if enough.is_break() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let walked = match self.read(segment)? {
            Opened::Plain(file) => buffered(file)
                .map_err(WalkError::from)
                .and_then(|mut lines| query.walk_plain(&mut lines, segment.first, &mut each)),
            Opened::Sealed(file) => opened(file).and_then(|mut sealed| query.walk_sealed(&mut sealed, &mut each)),
        };
        walked.map(|_| enough).map_err(|why| segment.error(why))
    }

    /// Counts the records of a segment.
    ///
    /// # Errors
    /// As above.
    pub fn count(&self, segment: Segment, count: &mut Count) -> Result<(), SegmentError> {
        let counted = match self.read(segment)? {
            Opened::Plain(file) => {
                buffered(file).map_err(WalkError::from).and_then(|mut lines| count.plain(&mut lines, segment.first))
            }
            Opened::Sealed(file) => opened(file).and_then(|mut sealed| count.sealed(&mut sealed)),
        };
        counted.map_err(|why| segment.error(why))
    }

    /// Whether a segment may have what is looked for, as far as its summary tells. One that is not sealed may.
    ///
    /// # Errors
    /// As above.
    pub fn may_match(&self, segment: Segment, query: &Query) -> Result<bool, SegmentError> {
        match self.read(segment)? {
            Opened::Plain(_) => Ok(true),
            Opened::Sealed(file) => {
                let sealed = opened(file).map_err(|why| segment.error(why))?;
                Ok(query.may_match(sealed.summary()))
            }
        }
    }
}

impl Segment {
    fn error(self, why: WalkError) -> SegmentError {
        SegmentError::Segment { name: self.name(), why }
    }
}

/// As much as there is now: of one that grows as fast as it is read there would be no end.
fn buffered(file: File) -> io::Result<BufReader<Take<File>>> {
    let length = file.metadata()?.len();
    Ok(BufReader::with_capacity(READ_AHEAD, file.take(length)))
}

fn opened(file: File) -> Result<Sealed<File>, WalkError> {
    Ok(Sealed::open(file)?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::decision_log::sealed::{Facet, testing};
    use crate::decision_log::{Criteria, seal};

    /// The first 30 of 50 records in a sealed segment, the others in a plain one behind which a line is begun.
    fn log() -> (tempfile::TempDir, Archive) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("segments")).unwrap();
        let sorts = testing::usual(50);
        let mut sealed = Vec::new();
        seal(&mut &*testing::lines(0, &sorts[..30]), 0, &mut sealed).unwrap();
        fs::write(folder.path().join("segments/000000000000.jsonl.zst"), sealed).unwrap();
        let plain = [&testing::lines(30, &sorts[30..]), &b"{\"v\":1,\"seq\":50,"[..]].concat();
        fs::write(folder.path().join("segments/000000000030.jsonl"), plain).unwrap();
        let archive = Archive::open(folder.path()).unwrap();
        (folder, archive)
    }

    fn allowed() -> Query {
        Query::new(Criteria { outcome: vec!["allow".to_owned()], ..Criteria::default() }).unwrap()
    }

    #[test]
    fn finds_and_counts_in_both_forms() {
        let (_folder, archive) = log();
        let mut found = Vec::new();
        let mut count = Count::new(allowed(), Facet::Outcome);
        for segment in archive.segments().unwrap() {
            let flow = archive.walk(segment, &allowed(), &mut |record| {
                found.push(record.facets.seq());
                ControlFlow::<()>::Continue(())
            });
            assert!(flow.unwrap().is_continue());
            archive.count(segment, &mut count).unwrap();
        }
        assert_eq!(found, [9, 19, 29, 39, 49]);
        assert_eq!(count.finish().rows, [(Some("allow".to_owned()), 5)]);
    }

    #[test]
    fn ends_when_there_is_enough() {
        let (_folder, archive) = log();
        for (segment, want) in archive.segments().unwrap().into_iter().zip([9, 39]) {
            let flow = archive.walk(segment, &allowed(), &mut |record| ControlFlow::Break(record.facets.seq()));
            assert_eq!(flow.unwrap(), ControlFlow::Break(want));
        }
    }

    #[test]
    fn what_is_written_meanwhile_is_not_waited_for() {
        let (folder, archive) = log();
        let path = folder.path().join("segments/000000000030.jsonl");
        let lines = testing::lines(30, &testing::usual(1000));
        let mut found = 0;
        let segment = archive.segments().unwrap()[1];
        fs::write(&path, lines.split_inclusive(|byte| *byte == b'\n').next().unwrap()).unwrap();
        let flow = archive.walk(segment, &Query::new(Criteria::default()).unwrap(), &mut |_| {
            fs::write(&path, &lines).unwrap();
            found += 1;
            ControlFlow::<()>::Continue(())
        });
        assert!(flow.unwrap().is_continue());
        assert_eq!(found, 1);
    }

    #[test]
    fn a_summary_tells_what_need_not_be_read() {
        let (_folder, archive) = log();
        for (since, want) in [("1970-01-01T00:29:00Z", [true, true]), ("1970-01-01T00:29:00.000001Z", [false, true])] {
            let query = Query::new(Criteria { since: since.parse().ok(), ..Criteria::default() }).unwrap();
            let segments = archive.segments().unwrap();
            let got: Vec<bool> =
                segments.into_iter().map(|segment| archive.may_match(segment, &query).unwrap()).collect();
            assert_eq!(got, want, "{since}");
        }
    }

    #[test]
    fn a_segment_that_is_wrong_is_named() {
        let (folder, archive) = log();
        let segments = archive.segments().unwrap();
        fs::write(folder.path().join("segments/000000000000.jsonl.zst"), [0; 99]).unwrap();
        fs::write(folder.path().join("segments/000000000030.jsonl"), testing::lines(31, &testing::usual(1))).unwrap();
        let mut count = Count::new(allowed(), Facet::Outcome);
        for (segment, want) in segments.into_iter().zip([
            "segments/000000000000.jsonl.zst has no seek table",
            "segments/000000000030.jsonl line 1 is not record 30: it has number 31",
        ]) {
            let walked = archive.walk(segment, &allowed(), &mut |_| ControlFlow::<()>::Continue(()));
            for error in [walked.map(drop).unwrap_err(), archive.count(segment, &mut count).unwrap_err()] {
                assert!(error.to_string().starts_with(want), "{error}");
            }
        }
    }
}
