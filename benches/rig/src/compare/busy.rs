//! Who else uses the machine: before a run it is refused, before a cell it is waited for, during a cell it is accounted.
//! What our own processes use is no part of the sum: a cell must not be chosen by the figure that it is to give.
//! Not here: kernel threads, which work for the subject as well; processes that this one can't see, as those of other containers.

use std::collections::{BTreeMap, BTreeSet};
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

/// From now on: what others do.
pub struct Span {
    /// This process and its descendants are not others.
    root: u32,
    began: Instant,
    stolen: f64,
    processes: Processes,
}

/// What others did in a span.
struct Others {
    /// Cores, what the hypervisor took included.
    cores: f64,
    /// The busiest of them, as `, a (17) 0.90, b (4) 0.20`.
    busiest: String,
}

/// Who was on the CPU, by its id, and for how many nanoseconds.
type Share = (u32, String, u64);

impl Span {
    pub fn begin() -> Self {
        Self::around(std::process::id())
    }

    fn around(root: u32) -> Self {
        let processes = procfs::exact(procfs::processes());
        Self { root, began: Instant::now(), stolen: procfs::stolen_seconds(), processes }
    }

    /// Cores that were busy with what neither this process nor one of its descendants did, or that the hypervisor took.
    pub fn foreign(&self) -> f64 {
        self.others().cores
    }

    fn others(&self) -> Others {
        let shares = shares(&self.processes, &procfs::exact(procfs::processes()), self.root);
        let spent = self.began.elapsed().as_secs_f64();
        let stolen = (procfs::stolen_seconds() - self.stolen).max(0.0);
        let all = shares.iter().map(|(_, _, nanoseconds)| *nanoseconds).sum();
        let named =
            |(id, name, nanoseconds): &Share| format!(", `{name}` ({id}) {:.2}", procfs::seconds(*nanoseconds) / spent);
        Others {
            cores: (procfs::seconds(all) + stolen) / spent,
            busiest: shares.iter().take(NAMED).map(named).collect(),
        }
    }
}

/// Programs that are not ours and were on the CPU between two looks, the busiest first. A child that has ended is its parent's, if that
/// waited for it and is still there; whoever came and went with its parent is missed.
fn shares(before: &Processes, now: &Processes, root: u32) -> Vec<Share> {
    let ours: BTreeSet<(u32, u64)> = [before, now].into_iter().flat_map(|all| family(all, root)).collect();
    let known = known(before, now);
    let others = now.iter().filter(|(id, stat)| !stat.kernel && !ours.contains(&(**id, stat.started)));
    let spent = others.map(|(id, stat)| {
        let nanoseconds = stat.total().saturating_sub(known.get(id).copied().unwrap_or_default());
        (*id, stat.name.clone(), nanoseconds)
    });
    let mut shares: Vec<Share> = spent.filter(|(_, _, nanoseconds)| *nanoseconds > 0).collect();
    shares.sort_by_key(|(id, _, nanoseconds)| (std::cmp::Reverse(*nanoseconds), *id));
    shares
}

/// `root`, its descendants, and who stayed in a group that one of them leads: ids, and when they started.
fn family(all: &Processes, root: u32) -> BTreeSet<(u32, u64)> {
    let tree = procfs::tree(all, root);
    let ours = |(id, stat): &(&u32, &procfs::Stat)| tree.contains_key(id) || tree.contains_key(&stat.group);
    all.iter().filter(ours).map(|(id, stat)| (*id, stat.started)).collect()
}

/// What each process that is still there had spent before. What an ended one had spent its parent has now, or the parent's parent.
fn known(before: &Processes, now: &Processes) -> BTreeMap<u32, u64> {
    let mut known = BTreeMap::<u32, u64>::new();
    for (id, stat) in before {
        let mut heir = (*id, stat);
        // Parents that were known in a circle, as ids were given again while all were read, end the walk.
        for _ in before {
            let parent = before.get_key_value(&heir.1.parent).filter(|_| !heir.1.is_in(now, heir.0));
            let Some((id, stat)) = parent else { break };
            heir = (*id, stat);
        }
        let spent = known.entry(heir.0).or_default();
        *spent = spent.saturating_add(stat.total());
    }
    known.retain(|id, _| before.get(id).is_some_and(|stat| stat.is_in(now, *id)));
    known
}

/// Refuses to begin on a busy machine, but for `anyway`: then it gives the cores that others use.
///
/// # Errors
/// [`Refusal::Busy`].
pub async fn refuse(anyway: bool) -> Result<Option<f64>, Refusal> {
    let span = Span::begin();
    sleep(LOOK_AT_START).await;
    let Others { cores, busiest } = span.others();
    match (cores > MOST_AT_START, anyway) {
        (false, _) => Ok(None),
        (true, true) => Ok(Some(cores)),
        (true, false) => Err(Refusal::Busy { cores, busiest }),
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
    use std::process::{Child, Command};

    use super::*;
    use crate::procfs::{Stat, made_up};

    fn stat(name: &str, parent: u32, cpu: u64, started: u64) -> Stat {
        Stat { name: name.to_owned(), cpu, started, ..made_up(parent) }
    }

    #[test]
    fn others_are_named_by_what_they_took() {
        let before = [(1, stat("init", 0, 5, 0)), (2, stat("rustc", 1, 50, 1)), (3, stat("rig", 1, 7, 2))];
        let before = Processes::from(before);
        let now = Processes::from([
            (1, stat("init", 0, 5, 0)),
            (2, stat("rustc", 1, 90, 1)),
            (3, stat("rig", 1, 900, 2)),
            (4, stat("load", 3, 900, 3)),
            (5, stat("make", 1, 3, 3)),
            (6, Stat { kernel: true, ..stat("kworker", 0, 900, 0) }),
            (7, Stat { group: 4, ..stat("orphan", 1, 900, 3) }),
        ]);
        assert_eq!(shares(&before, &now, 3), [(2, "rustc".to_owned(), 40), (5, "make".to_owned(), 3)]);
        let again = Processes::from([(2, stat("other", 1, 8, 9))]);
        assert_eq!(shares(&before, &again, 3), [(2, "other".to_owned(), 8)], "an id that was given again");
    }

    /// What `make` and all below it had spent before the span is not of the span, whoever it is booked on now.
    #[test]
    fn a_child_that_ended_is_its_parents_from_when_the_span_began() {
        let before = Processes::from([
            (2, stat("make", 1, 10, 1)),
            (3, stat("cargo", 2, 20, 2)),
            (4, stat("rustc", 3, 400, 3)),
            (9, stat("rig", 1, 0, 9)),
        ]);
        for (what, cargo, children, want) in [
            ("rustc has ended", Some(20 + 405), 0, vec![(3, "cargo", 5)]),
            ("both have", None, 20 + 405, vec![(2, "make", 5)]),
            ("nobody waited for them", None, 0, vec![]),
        ] {
            let mut now = Processes::from([(2, Stat { children, ..stat("make", 1, 10, 1) })]);
            now.extend(cargo.map(|cpu| (3, stat("cargo", 2, cpu, 2))));
            let want: Vec<Share> = want.into_iter().map(|(id, name, cpu)| (id, name.to_owned(), cpu)).collect();
            assert_eq!(shares(&before, &now, 9), want, "{what}");
        }
    }

    /// A shell that is busy until it is dropped, in a process that it has started.
    struct Busy(Child);

    impl Busy {
        fn start() -> Self {
            Self(Command::new("sh").args(["-c", "sh -c 'while :; do :; done' & wait"]).spawn().unwrap())
        }

        /// Nanoseconds since its start, and the ids of shell and process.
        fn spent(&self) -> (u64, Vec<u32>) {
            let tree = procfs::exact(procfs::tree(&procfs::processes(), self.0.id()));
            (tree.values().map(Stat::total).sum(), tree.into_keys().collect())
        }
    }

    impl Drop for Busy {
        fn drop(&mut self) {
            for id in self.spent().1 {
                let id = rustix::process::Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
                let _ = rustix::process::kill_process(id, rustix::process::Signal::KILL);
            }
            let _ = self.0.wait();
        }
    }

    /// What runs outside our tree is seen whole, and what runs in it not at all.
    #[test]
    fn a_stranger_is_seen_and_our_own_load_is_not() {
        const ENOUGH: u64 = 300_000_000;
        let (stranger, own) = (Busy::start(), Busy::start());
        let span = Span::around(own.0.id());
        let end = Instant::now() + Duration::from_secs(60);
        let before = [stranger.spent().0, own.spent().0];
        while stranger.spent().0 < before[0] + ENOUGH || own.spent().0 < before[1] + ENOUGH {
            assert!(Instant::now() < end, "the machine gives them no core");
            std::thread::yield_now();
        }
        let least = procfs::seconds(ENOUGH);
        let shares = shares(&span.processes, &procfs::exact(procfs::processes()), own.0.id());
        let of = |ids: Vec<u32>| shares.iter().filter(|(id, ..)| ids.contains(id)).map(|share| share.2).sum::<u64>();
        assert!(procfs::seconds(of(stranger.spent().1)) > 0.9 * least, "{shares:?}");
        assert_eq!(of(own.spent().1), 0, "{shares:?}");
        assert!(span.foreign() * span.began.elapsed().as_secs_f64() > 0.9 * least, "{}", span.foreign());
    }
}
