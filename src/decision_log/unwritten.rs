//! Counts of records that could not be written, by what they were.
//! Not here: when something counts as lost (`queue`). Source: PCI DSS 10.7 (failures of a control are noticed and recorded).

use super::entry::Entry;
use super::record::Kind;

/// Records that could not be written and are gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unwritten {
    /// Decisions to let something through that got no permit; the refusal that took their place counts by itself.
    pub withdrawn: u64,
    /// Decisions that let nothing through.
    pub refusals: u64,
    /// Ends of tunnels.
    pub closes: u64,
    /// Records of other kinds.
    pub others: u64,
}

impl Unwritten {
    /// Whether there are any.
    pub fn any(self) -> bool {
        self != Self::default()
    }

    /// All of them.
    pub fn sum(self) -> u64 {
        [self.refusals, self.closes, self.others].into_iter().fold(self.withdrawn, u64::saturating_add)
    }

    /// What is more than `counts`.
    #[must_use]
    pub fn without(self, counts: Self) -> Self {
        Self {
            withdrawn: self.withdrawn.saturating_sub(counts.withdrawn),
            refusals: self.refusals.saturating_sub(counts.refusals),
            closes: self.closes.saturating_sub(counts.closes),
            others: self.others.saturating_sub(counts.others),
        }
    }

    /// One decision that lets nothing through.
    pub(super) const REFUSAL: Self = Self { withdrawn: 0, refusals: 1, closes: 0, others: 0 };

    /// Adds `counts` to these.
    pub(super) fn add(&mut self, counts: Self) {
        self.withdrawn = self.withdrawn.saturating_add(counts.withdrawn);
        self.refusals = self.refusals.saturating_add(counts.refusals);
        self.closes = self.closes.saturating_add(counts.closes);
        self.others = self.others.saturating_add(counts.others);
    }

    /// What one entry counts as.
    pub(super) fn of(entry: &Entry) -> Self {
        let mut counts = Self::default();
        let count = match entry.kind() {
            Kind::Decision if entry.is_owed() => &mut counts.withdrawn,
            Kind::Decision => &mut counts.refusals,
            Kind::Close => &mut counts.closes,
            Kind::Summary | Kind::Policy | Kind::Admin | Kind::Start => &mut counts.others,
            Kind::Stop | Kind::Heartbeat | Kind::Export | Kind::ControlFailure => &mut counts.others,
        };
        *count = 1;
        counts
    }
}
