//! The permit to forward: the proof, as a value, that the decision has its record.
//! Not here: when one is given (`log`, and `queue` for `async`).

use uuid::Uuid;

/// May be had only for a record: from [`Log::commit`](super::Log::commit) once it is durable, or, with
/// [`Durability::Async`](super::Durability::Async), from [`Queue::request`](super::Queue::request) while what a
/// crash could lose is younger than the commit interval. Forwarding takes it by value, so each serves once.
///
/// ```
/// use sallyport::decision_log::{End, Kind, Log, Permit, Record, Store};
/// use sallyport::policy::Outcome;
/// # use std::io;
/// # #[derive(Default)]
/// # struct Memory(Vec<u8>);
/// # impl Store for Memory {
/// #     fn append(&mut self, bytes: &[u8]) -> io::Result<()> { self.0.extend_from_slice(bytes); Ok(()) }
/// #     fn sync(&mut self) -> io::Result<()> { Ok(()) }
/// #     fn reopen(&mut self, _: End) -> io::Result<()> { Ok(()) }
/// #     fn roll(&mut self, _: u64) -> io::Result<()> { Ok(()) }
/// # }
/// fn forward(permit: Permit) {}
///
/// let id = uuid::Uuid::nil();
/// let mut record = Record::new(Kind::Decision, jiff::Timestamp::UNIX_EPOCH, id, "edge-1".into());
/// record.outcome = Some(Outcome::Allow);
/// let permits = Log::resume(End::default(), 1 << 26).commit(vec![record.line()], &mut Memory::default())?;
/// for permit in permits {
///     forward(permit);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Nothing else makes one:
///
/// ```compile_fail,E0451
/// use sallyport::decision_log::Permit;
/// fn forward(permit: Permit) {}
///
/// let id = uuid::Uuid::nil();
/// forward(Permit { id });
/// ```
///
/// And one serves once:
///
/// ```compile_fail,E0382
/// use sallyport::decision_log::Permit;
/// fn forward(permit: Permit) {}
///
/// fn twice(permit: Permit) {
///     forward(permit);
///     forward(permit);
/// }
/// ```
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a permit that is dropped forwards nothing"]
pub struct Permit {
    id: Uuid,
}

impl Permit {
    /// The id of its record.
    pub fn id(&self) -> Uuid {
        self.id
    }

    pub(super) fn new(id: Uuid) -> Self {
        Self { id }
    }
}
