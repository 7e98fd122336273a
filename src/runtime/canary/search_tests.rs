//! Whose records count, and what a summary stands for.

use std::sync::Arc;

use super::*;
use crate::decision_log::Record;
use crate::policy::Reason;
use crate::runtime::egress::Pools;
use crate::runtime::shared::Shared;
use crate::runtime::testing;

/// A log that records are written to by hand.
struct Written {
    folder: tempfile::TempDir,
    shared: Arc<Shared>,
    runtime: tokio::runtime::Runtime,
    since: Timestamp,
}

impl Written {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (shared, _) = testing::shared(folder.path(), "version: 1\n", Pools::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { folder, shared, runtime, since: begin() }
    }

    /// Writes what nobody has cleaned, as a fault would have to let it through.
    fn write(&self, kind: Kind, id: Uuid, (source, reason, text): (Option<&str>, Reason, &str)) {
        let mut record = Record::new(kind, clock::now(), id, "edge-1".into());
        record.environment = Some(text.into());
        record.source = source.map(Into::into);
        record.reason = Some(reason.as_str());
        self.runtime.block_on(self.shared.journal().record(record.line())).unwrap();
    }

    fn look(&self, answered: Timestamp, refused: &[Refused]) -> Result<(Searched, usize), String> {
        let log = self.folder.path().join("state/decisions");
        look(&log, (self.since, answered), refused).map_err(|error| error.to_string())
    }
}

const TARGET: Reason = Reason::SensitiveDataInTarget;
const NUMBER: &str = "4111111111111111";

fn refused(reason: Reason) -> Refused {
    Refused { reason, decision_id: clock::new_id() }
}

#[test]
fn the_log_must_have_the_records_and_no_number_in_them() {
    let written = Written::new();
    let ours = [refused(TARGET), refused(Reason::PlaintextHttp)];
    for refused in ours {
        written.write(Kind::Decision, refused.decision_id, (Some("own"), refused.reason, ""));
    }
    let log = written.folder.path().join("state/decisions");
    let whole = Searched { recorded: 2, counted: 0 };
    let found = written.runtime.block_on(search(&log, written.since, &ours));
    assert_eq!(found.map_err(|error| error.to_string()), Ok(whole));
    assert_eq!(written.look(clock::now(), &[refused(TARGET)]).unwrap().1, 1, "nobody has written it");
    // Others write what looks like a number, even beside one of our ids.
    written.write(Kind::Decision, clock::new_id(), (Some("own"), TARGET, NUMBER));
    written.write(Kind::Decision, clock::new_id(), (None, TARGET, &format!("{NUMBER} {}", ours[0].decision_id)));
    assert_eq!(written.look(clock::now(), &ours), Ok((whole, 0)));
    let held = refused(TARGET);
    written.write(Kind::Decision, held.decision_id, (Some("own"), TARGET, NUMBER));
    let error = written.look(clock::now(), &[ours[0], held]).unwrap_err();
    assert!(error.starts_with(&format!("the log's record {} holds a card number", held.decision_id)), "{error}");
    let nowhere = written.runtime.block_on(search(Path::new("/nowhere"), written.since, &[])).unwrap_err();
    assert!(nowhere.to_string().contains("/nowhere"), "{nowhere}");
    assert!(!written.shared.journal().shutdown().any());
}

#[test]
fn a_summary_counts_its_own_source_and_reason_from_the_answers_on() {
    let (own, stranger) = (Some("own"), None);
    for (name, of_summary, is_later, recorded, want) in [
        ("like ours", (own, TARGET), true, true, (1, 1, 0)),
        ("of another source", (stranger, TARGET), true, true, (1, 0, 1)),
        ("for another reason", (own, Reason::PlaintextHttp), true, true, (1, 0, 1)),
        ("of before", (own, TARGET), false, true, (1, 0, 1)),
        ("the source is not known", (stranger, TARGET), true, false, (0, 2, 0)),
    ] {
        let written = Written::new();
        let (ours, counted) = (refused(TARGET), refused(TARGET));
        if recorded {
            written.write(Kind::Decision, ours.decision_id, (own, TARGET, ""));
        }
        written.write(Kind::Summary, clock::new_id(), (of_summary.0, of_summary.1, ""));
        let answered = if is_later { written.since } else { clock::now() };
        let (searched, left) = written.look(answered, &[ours, counted]).unwrap();
        assert_eq!((searched.recorded, searched.counted, left), want, "{name}");
        assert!(!written.shared.journal().shutdown().any());
    }
}
