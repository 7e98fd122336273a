//! What sallyport is to reach, and whether it does: one row a target, measured beside floor and peers.
//! Not here: all the other figures (`table`).

use super::table::{ratio, yardstick};
use super::{nothing, show};
use crate::figure::Figure::{self, CpuPerDenial, CpuPerGb, CpuPerRequest, CpuPerTunnel};
use crate::figure::Figure::{KibPerTunnel, MibAtStart, RequestP99, TunnelP50};
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
    /// At least so many times the tunnels a second on two cores.
    TwoCores(f64),
}

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
    ("tunnels a second on two cores", Shape::Connect, CpuPerTunnel, ASYNC, Bound::TwoCores(1.8)),
    ("µs to the 200, p50, paced, `async`", Shape::ConnectPaced, TunnelP50, ASYNC, Bound::Floor(1.3)),
];

/// What was measured for a target.
struct Measured {
    ours: Option<f64>,
    floor: Option<f64>,
    ratio: Option<f64>,
    reached: Option<bool>,
}

/// The table of targets. Nothing, if the product was not measured.
pub fn section(results: &Results) -> String {
    let rows: Vec<String> = TARGETS.iter().filter_map(|target| row(results, target)).collect();
    if rows.is_empty() {
        return String::new();
    }
    format!(
        "### Targets\n\n| | target | sallyport | floor | ratio | reached | best peer | peers |\n|---|---|---|---|---|---|---|---|\n\
         {}\n\nThe floor is `floor-shared64k`, for bulk `floor-splice`, in the same run. With two cores for the subject, the load runs \
         beside it and the rate would be the load's: \"tunnels a second on two cores\" is 2 × CPU per tunnel on one core ÷ CPU per \
         tunnel on two.\n\n",
        rows.join("\n")
    )
}

/// `None`: nothing was measured for it.
fn row(results: &Results, target: &Target) -> Option<String> {
    let (what, shape, figure, _, bound) = *target;
    let Measured { ours, floor, ratio, reached } = measure(results, target);
    let ours = ours?;
    let limit = match bound {
        Bound::Floor(limit) => format!("≤ {limit} × floor"),
        Bound::Most(limit) | Bound::BytesPerName(limit) => format!("≤ {limit}"),
        Bound::Names(limit) => format!("≤ {limit} × with {USUAL_NAMES} names"),
        Bound::TwoCores(least) => format!("≥ {least} × on one"),
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
        show(ours),
        floor.map_or_else(nothing, show),
        ratio.map_or_else(nothing, |ratio| format!("{ratio:.2}")),
        reached.map_or_else(nothing, |reached| if reached { "yes" } else { "**no**" }.to_owned()),
        best.unwrap_or_else(nothing),
        if peers.is_empty() { nothing() } else { peers.join(", ") },
    ];
    Some(format!("| {} |", cells.join(" | ")))
}

fn measure(results: &Results, target: &Target) -> Measured {
    let (_, shape, figure, kind, bound) = *target;
    let of = |subject: Subject| results.median(shape, subject, figure);
    let (usual, floor) = (of(Subject::usual(kind)), of(yardstick(shape)));
    let many = of(Subject::with_names(kind, MANY));
    let scaled = |kind: Kind| ratio(of(Subject::usual(kind)).map(|one| 2.0 * one), of(Subject::on_two_cores(kind)));
    let (ours, floor, ratio) = match bound {
        Bound::Floor(_) => (usual, floor, ratio(usual, floor)),
        Bound::Most(_) => (usual, floor, None),
        Bound::Names(_) => (many, None, ratio(many, usual)),
        Bound::BytesPerName(_) => (many.zip(usual).map(bytes_per_name), None, None),
        Bound::TwoCores(_) => (scaled(kind), scaled(Kind::FloorShared64k), None),
    };
    let reached = match bound {
        Bound::Floor(limit) | Bound::Names(limit) => ratio.map(|ratio| ratio <= limit),
        Bound::Most(limit) | Bound::BytesPerName(limit) => ours.map(|ours| ours <= limit),
        Bound::TwoCores(least) => ours.map(|ours| ours >= least),
    };
    Measured { ours, floor, ratio, reached }
}

/// From MiB with many names and with the usual number.
fn bytes_per_name((many, usual): (f64, f64)) -> f64 {
    let names = u64::try_from(MANY.saturating_sub(USUAL_NAMES)).unwrap_or(u64::MAX);
    (many - usual) * 1024.0 * 1024.0 / count(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::made_up;

    #[test]
    fn every_kind_of_bound_is_held_against_its_measure() {
        let results = made_up(&[
            ("floor-shared64k", Shape::Connect, CpuPerTunnel, &[60.0]),
            ("floor-shared64k@2cores", Shape::Connect, CpuPerTunnel, &[60.0]),
            ("sallyport-async", Shape::Connect, CpuPerTunnel, &[81.0]),
            ("sallyport-sync", Shape::Connect, CpuPerTunnel, &[90.1]),
            ("sallyport-async@2cores", Shape::Connect, CpuPerTunnel, &[81.0 / 0.85]),
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
            "| CPU µs per tunnel, saturated, `sync` | ≤ 1.5 × floor | 90.1 | 60.0 | 1.50 | **no** | squid 130 (2.17) | squid 130, envoy 150 |",
            "| CPU s per GB, down | ≤ 1.15 × floor | 0.240 | 0.200 | 1.20 | **no** | – | – |",
            "| MiB at start | ≤ 20 | 18.0 | 1.50 | – | yes | envoy 97.0 | envoy 97.0 |",
            "| bytes per name, with a million | ≤ 120 | 105 | – | – | yes | – | – |",
            "| CPU µs per tunnel, with a million names | ≤ 1.03 × with 1000 names | 83.0 | – | 1.02 | yes | – | – |",
            "| tunnels a second on two cores | ≥ 1.8 × on one | 1.70 | 2.00 | – | **no** | – | – |",
        ];
        let found: Vec<String> = TARGETS.iter().filter_map(|target| row(&results, target)).collect();
        assert_eq!(found, want);
        assert!(section(&results).contains(&want.join("\n")), "{}", section(&results));
    }

    #[test]
    fn without_the_product_there_are_no_targets() {
        let results = made_up(&[("squid", Shape::Connect, CpuPerTunnel, &[130.0])]);
        assert_eq!(section(&results), "");
    }
}
