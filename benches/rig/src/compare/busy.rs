//! Who else uses the machine: before a run it is refused, before a cell it is waited for, during a cell it is accounted.
//! Not here: steal time; what a hypervisor takes away can't be seen by processes.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::refusal::Refusal;
use crate::procfs::{self, Processes};
use crate::results::FOREIGN_LIMIT;

/// Cores that others may use when a run begins.
const MOST_AT_START: f64 = 0.25;

/// How long is looked when a run begins.
const LOOK_AT_START: Duration = Duration::from_secs(2);

/// How long is looked before a cell.
const LOOK_AT_CELL: Duration = Duration::from_millis(400);

/// Processes that a refusal names.
const NAMED: usize = 3;

/// From now on: what is ours and what is not.
pub struct Span {
    began: Instant,
    busy: f64,
    own: f64,
    processes: Processes,
}

impl Span {
    pub fn begin() -> Self {
        let processes = procfs::processes();
        Self { began: Instant::now(), busy: procfs::busy_seconds(), own: own_seconds(&processes), processes }
    }

    /// Cores that were busy with what neither this process nor one of its descendants did. Clock ticks are coarse: on a cell of
    /// some seconds 0.1 is within the error.
    pub fn foreign(&self) -> f64 {
        let own = own_seconds(&procfs::processes()) - self.own;
        (procfs::busy_seconds() - self.busy - own) / self.began.elapsed().as_secs_f64()
    }

    /// The busiest of the others, as ` by a (17) 0.90, b (4) 0.20`; nothing, if none of them is still there.
    fn busiest(&self) -> String {
        let now = procfs::processes();
        let shares = shares(&self.processes, &now, std::process::id());
        let spent = self.began.elapsed().as_secs_f64();
        let named: Vec<String> = shares
            .iter()
            .take(NAMED)
            .map(|(id, name, ticks)| format!("`{name}` ({id}) {:.2}", procfs::seconds(*ticks) / spent))
            .collect();
        if named.is_empty() { String::new() } else { format!(", {}", named.join(", ")) }
    }
}

/// CPU of this process and all that it started, ended or not.
fn own_seconds(all: &Processes) -> f64 {
    procfs::cpu_seconds(all, std::process::id())
}

/// Who was on the CPU between two looks and is not below `own`: id, name and ticks, the busiest first.
fn shares(before: &Processes, now: &Processes, own: u32) -> Vec<(u32, String, u64)> {
    let ours = procfs::tree(now, own);
    let others = now.iter().filter(|(id, _)| !ours.contains_key(id));
    let spent = others.map(|(id, stat)| {
        let same = before.get(id).filter(|before| before.started == stat.started);
        let ticks = stat.ticks.saturating_sub(same.map_or(0, |before| before.ticks));
        (*id, stat.name.clone(), ticks)
    });
    let mut shares: Vec<_> = spent.filter(|(_, _, ticks)| *ticks > 0).collect();
    shares.sort_by_key(|(id, _, ticks)| (std::cmp::Reverse(*ticks), *id));
    shares
}

/// Refuses to begin on a busy machine, but for `anyway`: then it gives the cores that others use.
///
/// # Errors
/// [`Refusal::Busy`].
pub async fn refuse(anyway: bool) -> Result<Option<f64>, Refusal> {
    let span = Span::begin();
    sleep(LOOK_AT_START).await;
    let cores = span.foreign();
    match (cores > MOST_AT_START, anyway) {
        (false, _) => Ok(None),
        (true, true) => Ok(Some(cores)),
        (true, false) => Err(Refusal::Busy { cores, busiest: span.busiest() }),
    }
}

/// Waits, at most so long, for the others to be quiet.
pub async fn calm(most: Duration) {
    let end = Instant::now() + most;
    loop {
        let span = Span::begin();
        sleep(LOOK_AT_CELL).await;
        if span.foreign() <= FOREIGN_LIMIT || Instant::now() >= end {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::Stat;

    #[test]
    fn others_are_named_by_what_they_took() {
        let stat = |name: &str, parent, ticks, started| Stat {
            name: name.to_owned(),
            parent,
            group: 0,
            ticks,
            children: 1_000_000,
            started,
        };
        let before =
            Processes::from([(1, stat("init", 0, 5, 0)), (2, stat("rustc", 1, 50, 1)), (3, stat("rig", 1, 7, 2))]);
        let now = Processes::from([
            (1, stat("init", 0, 5, 0)),
            (2, stat("rustc", 1, 90, 1)),
            (3, stat("rig", 1, 900, 2)),
            (4, stat("load", 3, 900, 3)),
            (5, stat("make", 1, 3, 3)),
        ]);
        let want = [(2, "rustc".to_owned(), 40), (5, "make".to_owned(), 3)];
        assert_eq!(shares(&before, &now, 3), want);
        let again = Processes::from([(2, stat("other", 1, 8, 9))]);
        assert_eq!(shares(&before, &again, 3), [(2, "other".to_owned(), 8)], "an id that was given again");
    }

    /// Our own work is not foreign: a descendant that spins, and one that has ended.
    #[test]
    fn what_we_started_is_ours() {
        let span = Span::begin();
        let spin = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        assert!(std::process::Command::new("sh").args(["-c", spin]).status().unwrap().success());
        let own = own_seconds(&procfs::processes()) - span.own;
        assert!(own > 0.0, "the child's time is lost");
        let shares = shares(&span.processes, &procfs::processes(), std::process::id());
        assert!(shares.iter().all(|(id, ..)| *id != std::process::id()), "{shares:?}");
    }
}
