//! What sallyport is to reach, and whether it does: one row a target, measured beside floor and peers.
//! Not here: all the other figures (`table`).

use super::table::{ratio, yardstick};
use super::{nothing, show};
use crate::figure::Figure::{self, CpuPerDenial, CpuPerGb, CpuPerRequest, CpuPerTunnel};
use crate::figure::Figure::{KibPerTunnel, MibAtStart, RequestP99, TunnelP50, WorkerBalance};
use crate::figure::count;
use crate::results::Results;
use crate::shape::Shape;
use crate::subject::{Kind, Subject, USUAL_NAMES};

/// A target: what it is called, what is measured, of whom, and what bounds it.
type Target = (&'static str, Shape, Figure, Kind, Bound);

/// How much is allowed.
#[derive(Clone, Copy)]
enum Bound {
    /// So many times the floor's.
    Floor(f64),
    /// So much.
    Most(f64),
    /// With [`MANY`] names, so many times what it is with the usual number.
    Names(f64),
    /// With [`MANY`] names, so many bytes a name more.
    BytesPerName(f64),
    /// On two cores, at least this speed-up, which is derived: [`Scaling`].
    TwoCores(f64),
}

/// A multiple that is over its limit by less may be within it in the next run: what the machine does to medians of three rounds.
const USUAL_NOISE: f64 = 0.10;
/// The same of bulk and requests.
const BULK_NOISE: f64 = 0.15;

/// Names of a large policy.
const MANY: usize = 1_000_000;

const ASYNC: Kind = Kind::SallyportAsync;
const SYNC: Kind = Kind::SallyportSync;

const TARGETS: [Target; 16] = [
    ("CPU µs per tunnel, saturated, `async`", Shape::Connect, CpuPerTunnel, ASYNC, Bound::Floor(1.35)),
    ("CPU µs per tunnel, saturated, `sync`", Shape::Connect, CpuPerTunnel, SYNC, Bound::Floor(1.5)),
    ("CPU µs per tunnel, paced, `async`", Shape::ConnectPaced, CpuPerTunnel, ASYNC, Bound::Floor(1.35)),
    ("CPU µs per refusal, `async`", Shape::Deny, CpuPerDenial, ASYNC, Bound::Floor(1.5)),
    ("CPU µs per refusal, `sync`", Shape::Deny, CpuPerDenial, SYNC, Bound::Floor(1.5)),
    ("CPU µs per request, 64 tunnels", Shape::Rr64, CpuPerRequest, ASYNC, Bound::Floor(1.1)),
    ("µs of a request, p99, 64 tunnels", Shape::Rr64, RequestP99, ASYNC, Bound::Floor(1.1)),
    ("µs of a request, p99, 1 tunnel", Shape::Rr1, RequestP99, ASYNC, Bound::Floor(1.1)),
    ("CPU s per GB, down", Shape::Down, CpuPerGb, ASYNC, Bound::Floor(1.15)),
    ("CPU s per GB, up", Shape::Up, CpuPerGb, ASYNC, Bound::Floor(1.15)),
    ("KiB per idle tunnel", Shape::Idle, KibPerTunnel, ASYNC, Bound::Most(4.0)),
    ("MiB at start", Shape::Idle, MibAtStart, ASYNC, Bound::Most(20.0)),
    ("bytes per name, with a million", Shape::Idle, MibAtStart, ASYNC, Bound::BytesPerName(120.0)),
    ("CPU µs per tunnel, with a million names", Shape::Connect, CpuPerTunnel, ASYNC, Bound::Names(1.03)),
    ("CPU µs per tunnel on two cores, against one", Shape::Connect, CpuPerTunnel, ASYNC, Bound::TwoCores(1.8)),
    ("µs to the 200, p50, paced, `async`", Shape::ConnectPaced, TunnelP50, ASYNC, Bound::Floor(1.3)),
];

/// What was measured for a target.
struct Measured {
    ours: Option<f64>,
    floor: Option<f64>,
    ratio: Option<f64>,
    /// What is above the limit, in its unit.
    excess: Option<f64>,
}

/// The table of targets. Nothing, if the product was not measured.
pub fn section(results: &Results) -> String {
    let rows: Vec<String> = TARGETS.iter().filter_map(|target| row(results, target)).collect();
    if rows.is_empty() {
        return String::new();
    }
    format!(
        "### Targets\n\n| | target | sallyport | floor | ratio | reached | best peer | peers |\n|---|---|---|---|---|---|---|---|\n\
         {}\n\nThe floor is `floor-shared64k`, for bulk `floor-splice`, in the same run. \"Within noise\": over the limit, by less than \
         {USUAL_NOISE:.2} (bulk and requests: {BULK_NOISE:.2}) of what it is a multiple of. A million names are 10,000 rules of 100 names \
         each.\n\n{}",
        rows.join("\n"),
        two_cores(results)
    )
}

/// How the figure of two cores is made. Nothing, if it was not measured.
fn two_cores(results: &Results) -> String {
    let of = |kind: Kind| {
        let scaling = Scaling::of(results, kind)?;
        let (one, two, both) = (show(scaling.one), show(scaling.two), show(scaling.speed_up()));
        Some(format!("{}: 2 × {one} ÷ {two} × {:.2} = {both}", Subject::on_two_cores(kind), scaling.balance))
    };
    let parts: Vec<String> = [ASYNC, Kind::FloorShared64k].into_iter().filter_map(of).collect();
    if parts.is_empty() {
        return String::new();
    }
    format!(
        "No rate is measured on two cores: the load runs beside the subject there, and the rate would be the load's. The speed-up is \
         derived, as 2 × CPU µs a tunnel on one core ÷ the same on two × the balance of the workers on two (mean ÷ busiest). {}.\n\n",
        parts.join("; ")
    )
}

/// What two cores are to one.
struct Scaling {
    one: f64,
    two: f64,
    balance: f64,
}

impl Scaling {
    fn of(results: &Results, kind: Kind) -> Option<Self> {
        let of = |subject, figure| results.median(Shape::Connect, subject, figure);
        Some(Self {
            one: of(Subject::usual(kind), CpuPerTunnel)?,
            two: of(Subject::on_two_cores(kind), CpuPerTunnel)?,
            balance: of(Subject::on_two_cores(kind), WorkerBalance)?,
        })
    }

    fn speed_up(&self) -> f64 {
        2.0 * self.one / self.two * self.balance
    }
}

/// `None`: nothing was to be measured for it.
fn row(results: &Results, target: &Target) -> Option<String> {
    let (what, shape, figure, _, bound) = *target;
    let measured = measure(results, target);
    let reached = reached(results, target, &measured)?;
    let Measured { ours, floor, ratio, .. } = measured;
    let limit = match bound {
        Bound::Floor(limit) => format!("≤ {limit} × floor"),
        Bound::Most(limit) | Bound::BytesPerName(limit) => format!("≤ {limit}"),
        Bound::Names(limit) => format!("≤ {limit} × with {USUAL_NAMES} names"),
        Bound::TwoCores(least) => format!("speed-up ≥ {least}"),
    };
    let is_own_scale = matches!(bound, Bound::Names(_) | Bound::BytesPerName(_) | Bound::TwoCores(_));
    let peers = if is_own_scale { Vec::new() } else { results.peers(shape, figure) };
    let best = results.best_peer(shape, figure).filter(|_| !is_own_scale);
    let best = best.map(|(peer, value)| match super::table::ratio(Some(value), floor) {
        Some(ratio) if matches!(bound, Bound::Floor(_)) => format!("{peer} {} ({ratio:.2})", show(value)),
        _ => format!("{peer} {}", show(value)),
    });
    let peers: Vec<String> = peers.into_iter().map(|(peer, value)| format!("{peer} {}", show(value))).collect();
    let cells = [
        what.to_owned(),
        limit,
        ours.map_or_else(nothing, show),
        floor.map_or_else(nothing, show),
        ratio.map_or_else(nothing, |ratio| format!("{ratio:.2}")),
        reached,
        best.unwrap_or_else(nothing),
        if peers.is_empty() { nothing() } else { peers.join(", ") },
    ];
    Some(format!("| {} |", cells.join(" | ")))
}

/// Whether a target is reached, in words. `None`: nothing was to be measured for it.
fn reached(results: &Results, target: &Target, measured: &Measured) -> Option<String> {
    let (_, shape, _, _, bound) = *target;
    let subjects = subjects(target);
    let failures: u64 = subjects.iter().map(|subject| results.failures(shape, *subject)).sum();
    if subjects.iter().any(|subject| results.has_gap(shape, *subject)) {
        return Some("**no**: a cell without a result".to_owned());
    }
    measured.ours?;
    if failures > 0 {
        return Some(format!("**no**: {failures} failures"));
    }
    let noise = noise(shape);
    Some(match (bound, measured.excess) {
        (_, None) => nothing(),
        (_, Some(excess)) if excess <= 0.0 => "yes".to_owned(),
        (Bound::Floor(_) | Bound::Names(_) | Bound::TwoCores(_), Some(excess)) if excess < noise => {
            "within noise".to_owned()
        }
        (_, Some(_)) => "**no**".to_owned(),
    })
}

/// Whose figures a target is held against.
fn subjects(target: &Target) -> Vec<Subject> {
    let (_, shape, _, kind, bound) = *target;
    let usual = Subject::usual(kind);
    match bound {
        Bound::Floor(_) => vec![usual, yardstick(shape)],
        Bound::Most(_) => vec![usual],
        Bound::Names(_) | Bound::BytesPerName(_) => vec![usual, Subject::with_names(kind, MANY)],
        Bound::TwoCores(_) => vec![usual, Subject::on_two_cores(kind)],
    }
}

/// A gap between two multiples below this is no result.
fn noise(shape: Shape) -> f64 {
    match shape {
        Shape::Rr1 | Shape::Rr64 | Shape::Down | Shape::Up => BULK_NOISE,
        Shape::Connect | Shape::ConnectPaced | Shape::ConnectReal | Shape::Deny | Shape::Idle => USUAL_NOISE,
    }
}

fn measure(results: &Results, target: &Target) -> Measured {
    let (_, shape, figure, kind, bound) = *target;
    let of = |subject: Subject| results.median(shape, subject, figure);
    let (usual, floor) = (of(Subject::usual(kind)), of(yardstick(shape)));
    let many = of(Subject::with_names(kind, MANY));
    let two_cores = |kind: Kind| of(Subject::on_two_cores(kind));
    let speed_up = Scaling::of(results, kind).map(|scaling| scaling.speed_up());
    let (ours, floor, ratio) = match bound {
        Bound::Floor(_) => (usual, floor, ratio(usual, floor)),
        Bound::Most(_) => (usual, floor, None),
        Bound::Names(_) => (many, None, ratio(many, usual)),
        Bound::BytesPerName(_) => (many.zip(usual).map(bytes_per_name), None, None),
        Bound::TwoCores(_) => (two_cores(kind), two_cores(Kind::FloorShared64k), ratio(two_cores(kind), usual)),
    };
    let excess = match bound {
        Bound::Floor(limit) | Bound::Names(limit) => ratio.map(|ratio| ratio - limit),
        Bound::Most(limit) | Bound::BytesPerName(limit) => ours.map(|ours| ours - limit),
        Bound::TwoCores(least) => speed_up.map(|speed_up| least - speed_up),
    };
    Measured { ours, floor, ratio, excess }
}

/// From MiB with many names and with the usual number.
fn bytes_per_name((many, usual): (f64, f64)) -> f64 {
    let names = u64::try_from(MANY.saturating_sub(USUAL_NAMES)).unwrap_or(u64::MAX);
    (many - usual) * 1024.0 * 1024.0 / count(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Sample;
    use crate::results::{Cell, Failed, Record, made_up};

    #[test]
    fn every_kind_of_bound_is_held_against_its_measure() {
        let results = made_up(&[
            ("floor-shared64k", Shape::Connect, CpuPerTunnel, &[60.0]),
            ("floor-shared64k@2cores", Shape::Connect, CpuPerTunnel, &[60.0]),
            ("sallyport-async", Shape::Connect, CpuPerTunnel, &[81.0]),
            ("sallyport-sync", Shape::Connect, CpuPerTunnel, &[96.1]),
            ("sallyport-async@2cores", Shape::Connect, CpuPerTunnel, &[90.0]),
            ("sallyport-async@2cores", Shape::Connect, WorkerBalance, &[0.9]),
            ("floor-shared64k@2cores", Shape::Connect, WorkerBalance, &[1.0]),
            ("sallyport-async@1000000", Shape::Connect, CpuPerTunnel, &[83.0]),
            ("squid", Shape::Connect, CpuPerTunnel, &[130.0]),
            ("envoy", Shape::Connect, CpuPerTunnel, &[150.0]),
            ("floor-splice", Shape::Down, CpuPerGb, &[0.2]),
            ("sallyport-async", Shape::Down, CpuPerGb, &[0.24]),
            ("floor-shared64k", Shape::Idle, MibAtStart, &[1.5]),
            ("sallyport-async", Shape::Idle, MibAtStart, &[18.0]),
            ("sallyport-async@1000000", Shape::Idle, MibAtStart, &[18.0 + 99.9]),
            ("envoy", Shape::Idle, MibAtStart, &[97.0]),
        ]);
        let want = [
            "| CPU µs per tunnel, saturated, `async` | ≤ 1.35 × floor | 81.0 | 60.0 | 1.35 | yes | squid 130 (2.17) | squid 130, envoy 150 |",
            "| CPU µs per tunnel, saturated, `sync` | ≤ 1.5 × floor | 96.1 | 60.0 | 1.60 | **no** | squid 130 (2.17) | squid 130, envoy 150 |",
            "| CPU s per GB, down | ≤ 1.15 × floor | 0.240 | 0.200 | 1.20 | within noise | – | – |",
            "| MiB at start | ≤ 20 | 18.0 | 1.50 | – | yes | envoy 97.0 | envoy 97.0 |",
            "| bytes per name, with a million | ≤ 120 | 105 | – | – | yes | – | – |",
            "| CPU µs per tunnel, with a million names | ≤ 1.03 × with 1000 names | 83.0 | – | 1.02 | yes | – | – |",
            "| CPU µs per tunnel on two cores, against one | speed-up ≥ 1.8 | 90.0 | 60.0 | 1.11 | **no** | – | – |",
        ];
        let found: Vec<String> = TARGETS.iter().filter_map(|target| row(&results, target)).collect();
        assert_eq!(found, want);
        let section = section(&results);
        for part in [
            &want.join("\n"),
            "sallyport-async@2cores: 2 × 81.0 ÷ 90.0 × 0.90 = 1.62; floor-shared64k@2cores: 2 × 60.0 ÷ 60.0 × 1.00 = 2.00.",
        ] {
            assert!(section.contains(part), "{part}: {section}");
        }
    }

    /// Connects of 100 µs, where the floor needs 60: a limit of 1.35. Each row: ours, which failures, what is said.
    #[test]
    fn what_fails_or_is_missing_reaches_nothing() {
        for (ours, failing, gap, want) in [
            (81.0, None, None, "yes"),
            (86.9, None, None, "within noise"),
            (87.1, None, None, "**no**"),
            (60.0, Some("sallyport-async"), None, "**no**: 2 failures"),
            (60.0, Some("floor-shared64k"), None, "**no**: 2 failures"),
            (60.0, Some("squid"), None, "yes"),
            (60.0, None, Some(("sallyport-async", Some(Shape::Connect))), "**no**: a cell without a result"),
            (60.0, None, Some(("sallyport-async", None)), "**no**: a cell without a result"),
            (60.0, None, Some(("floor-shared64k", Some(Shape::Connect))), "**no**: a cell without a result"),
            (60.0, None, Some(("sallyport-async", Some(Shape::Idle))), "yes"),
            (60.0, None, Some(("squid", None)), "yes"),
        ] {
            let mut results = made_up(&[
                ("floor-shared64k", Shape::Connect, CpuPerTunnel, &[60.0]),
                ("sallyport-async", Shape::Connect, CpuPerTunnel, &[ours]),
            ]);
            if let Some(subject) = failing {
                let failures = [("timeout".to_owned(), 2)].into();
                let sample = Sample { figures: [(CpuPerTunnel, 60.0)].into(), failures };
                let subject = subject.parse().unwrap();
                results.add(Record::Cell(Cell { subject, shape: Shape::Connect, round: 2, foreign: 0.0, sample }));
            }
            if let Some((subject, shape)) = gap {
                let subject = subject.parse().unwrap();
                results.add(Record::Failed(Failed { subject, shape, round: 2, why: "it ended".to_owned() }));
            }
            let row = row(&results, &TARGETS[0]).unwrap();
            assert!(row.contains(&format!(" | {want} | ")), "{ours}, {failing:?}, {gap:?}: {row}");
        }
    }

    #[test]
    fn a_target_whose_only_cell_failed_has_a_row() {
        let mut results = made_up(&[]);
        let subject = "sallyport-async".parse().unwrap();
        results.add(Record::Failed(Failed { subject, shape: None, round: 1, why: "it ended".to_owned() }));
        assert!(section(&results).contains("| – | – | – | **no**: a cell without a result |"), "{}", section(&results));
    }

    #[test]
    fn without_the_product_there_are_no_targets() {
        let results = made_up(&[("squid", Shape::Connect, CpuPerTunnel, &[130.0])]);
        assert_eq!(section(&results), "");
    }
}
