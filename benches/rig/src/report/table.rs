//! One table a shape: every subject's median and spread, as multiples of the floor and of the best peer.
//! Not here: what was to be reached (`targets`).

use super::{nothing, show};
use crate::figure::Figure;
use crate::results::Results;
use crate::shape::Shape;
use crate::subject::{Kind, Subject};

/// The tables of all shapes that have results.
pub fn sections(results: &Results) -> String {
    let measured = Shape::ALL.into_iter().filter(|shape| !results.subjects(*shape).is_empty());
    measured.map(|shape| section(results, shape)).collect()
}

/// The yardstick of a shape.
pub fn yardstick(shape: Shape) -> Subject {
    Subject::usual(if matches!(shape, Shape::Down | Shape::Up) { Kind::FloorSplice } else { Kind::FloorShared64k })
}

fn section(results: &Results, shape: Shape) -> String {
    let floor = yardstick(shape);
    let Some((compared, others)) = shape.figures().split_first() else { return String::new() };
    let times_floor = format!("× {floor}");
    let fixed = ["", "cells", compared.title(), "min–max", &times_floor, "× best peer"];
    let titles: Vec<&str> = fixed.into_iter().chain(others.iter().map(|figure| figure.title())).collect();
    let (head, line) = (titles.join(" | "), "---|".repeat(titles.len()));
    let mut text = format!("### `{}`: {}\n\n| {head} |\n|{line}\n", shape.name(), shape.title());
    for subject in results.subjects(shape) {
        text.push_str(&format!("| {} |\n", row(results, shape, subject).join(" | ")));
    }
    text.push('\n');
    text
}

/// A subject's cells in the order of the titles.
fn row(results: &Results, shape: Shape, subject: Subject) -> Vec<String> {
    let Some((compared, others)) = shape.figures().split_first() else { return Vec::new() };
    let values = results.values(shape, subject, *compared);
    let spread = values.first().zip(values.last()).filter(|_| values.len() > 1);
    let median = |figure: Figure| results.median(shape, subject, figure);
    let floor = |figure: Figure| results.median(shape, yardstick(shape), figure);
    let best = results.best_peer(shape, *compared).map(|(_, best)| best);
    let times = |to: Option<f64>| ratio(median(*compared), to).map_or_else(nothing, |ratio| format!("{ratio:.2}"));
    let own = [
        subject.to_string(),
        cells(results, shape, subject),
        median(*compared).map_or_else(nothing, show),
        spread.map_or_else(nothing, |(least, most)| format!("{}–{}", show(*least), show(*most))),
        times(floor(*compared)),
        times(best),
    ];
    let other = |figure: &Figure| median(*figure).map_or_else(nothing, show);
    own.into_iter().chain(others.iter().map(other)).collect()
}

/// How many cells count; whether all are noisy; how many units failed.
fn cells(results: &Results, shape: Shape, subject: Subject) -> String {
    let (cells, failures) = (results.cells(shape, subject), results.failures(shape, subject));
    let noisy = if cells.first().is_some_and(|cell| cell.is_noisy()) { "*" } else { "" };
    let failed = if failures == 0 { String::new() } else { format!(", {failures} failures") };
    format!("{}{noisy}{failed}", cells.len())
}

/// One as a multiple of the other.
pub fn ratio(value: Option<f64>, to: Option<f64>) -> Option<f64> {
    let (value, to) = value.zip(to)?;
    (to > 0.0).then(|| value / to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Cell, Record, made_up};

    #[test]
    fn a_row_has_median_spread_and_multiples() {
        let results = made_up(&[
            ("floor-shared64k", Shape::Connect, Figure::CpuPerTunnel, &[60.0, 50.0, 70.0]),
            ("squid", Shape::Connect, Figure::CpuPerTunnel, &[120.0]),
            ("envoy", Shape::Connect, Figure::CpuPerTunnel, &[150.0]),
            ("sallyport-async", Shape::Connect, Figure::CpuPerTunnel, &[78.0, 84.0]),
        ]);
        for (subject, want) in [
            ("floor-shared64k", "floor-shared64k | 3 | 60.0 | 50.0–70.0 | 1.00 | 0.50 | – | – | –"),
            ("sallyport-async", "sallyport-async | 2 | 81.0 | 78.0–84.0 | 1.35 | 0.68 | – | – | –"),
            ("squid", "squid | 1 | 120 | – | 2.00 | 1.00 | – | – | –"),
        ] {
            assert_eq!(row(&results, Shape::Connect, subject.parse().unwrap()).join(" | "), want);
        }
        let text = sections(&results);
        assert!(
            text.starts_with("### `connect`: ") && text.contains("| 200 after, p50 µs | p99 µs |\n|---|"),
            "{text}"
        );
        assert_eq!(text.matches("###").count(), 1, "shapes without results have no table");
    }

    #[test]
    fn bulk_is_measured_against_splice() {
        let results = made_up(&[
            ("floor-shared64k", Shape::Down, Figure::CpuPerGb, &[0.3]),
            ("floor-splice", Shape::Down, Figure::CpuPerGb, &[0.15]),
        ]);
        let row = row(&results, Shape::Down, Subject::usual(Kind::FloorShared64k));
        assert_eq!(row, ["floor-shared64k", "1", "0.300", "–", "2.00", "–", "–"]);
    }

    #[test]
    fn failures_and_noise_are_told() {
        let mut results = made_up(&[]);
        let subject = Subject::usual(Kind::Squid);
        let mut cell = Cell { subject, shape: Shape::Up, round: 1, foreign: 0.3, sample: Default::default() };
        cell.sample.failures.insert("timeout".to_owned(), 3);
        results.add(Record::Cell(cell));
        assert_eq!(cells(&results, Shape::Up, subject), "1*, 3 failures");
    }
}
