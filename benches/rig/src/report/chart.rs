//! The chart: what each subject costs as a multiple of the floor, as horizontal bars in SVG. No scripts, no fonts of its own.
//! Not here: absolute figures (`table`). Source: SVG 1.1.

use super::show;
use super::table::{ratio, yardstick};
use crate::figure::Figure;
use crate::results::Results;
use crate::shape::Shape;
use crate::subject::{Kind, Subject};

/// What is drawn: a panel each, by the figure that its shape is compared by.
const PANELS: [(Shape, &str); 7] = [
    (Shape::Connect, "CPU per tunnel, saturated"),
    (Shape::ConnectPaced, "CPU per tunnel, paced"),
    (Shape::Deny, "CPU per refusal"),
    (Shape::Rr64, "CPU per request on open tunnels"),
    (Shape::Down, "CPU per GB down"),
    (Shape::Up, "CPU per GB up"),
    (Shape::Idle, "Memory per idle tunnel"),
];

/// Who is drawn, and in which colour. The floor is the line at 1.
const BARS: [(Kind, &str); 5] = [
    (Kind::SallyportAsync, "#1f5fa8"),
    (Kind::SallyportSync, "#6a9fd4"),
    (Kind::Squid, "#8a8a8a"),
    (Kind::Envoy, "#a3a3a3"),
    (Kind::Tinyproxy, "#bcbcbc"),
];

/// A bar of more multiples is cut off, with a slash across its end; its number stands beside it.
const MOST: f64 = 5.0;

// All lengths are in pixels.
const WIDTH: f64 = 840.0;
/// Where the first panel begins.
const TOP: f64 = 84.0;
/// Where bars begin; names stand left of it.
const LEFT: f64 = 140.0;
/// Length of a bar of 1 × floor.
const UNIT: f64 = 120.0;
const BAR_HEIGHT: f64 = 14.0;
const BAR_STEP: f64 = 18.0;
const HEADING: f64 = 24.0;
const GAP: f64 = 18.0;

/// A name, a colour, a multiple of the floor.
type Bar = (&'static str, &'static str, f64);

/// Draws the chart.
pub fn draw(results: &Results) -> String {
    let (mut body, mut top) = (String::new(), TOP);
    for (shape, title) in PANELS {
        let Some(figure) = shape.figures().first() else { continue };
        let Some(floor) = results.median(shape, yardstick(shape), *figure) else { continue };
        let bars = bars(results, shape, *figure);
        if bars.is_empty() {
            continue;
        }
        let title = format!("{title}: floor {} {}", show(floor), figure.title());
        body.push_str(&text((LEFT, top + 15.0), "start", "font-weight=\"600\"", &title));
        top += HEADING;
        let begin = top;
        for bar in &bars {
            body.push_str(&draw_bar(top, bar));
            top += BAR_STEP;
        }
        body.push_str(&floor_line(begin, top));
        top += GAP;
    }
    let date = results.runs.last().map_or("", |run| run.time.as_str());
    frame(date, &body, top)
}

/// Who has a figure, as a multiple of the floor's.
fn bars(results: &Results, shape: Shape, figure: Figure) -> Vec<Bar> {
    let of = |kind| results.median(shape, Subject::usual(kind), figure);
    let floor = results.median(shape, yardstick(shape), figure);
    BARS.into_iter().filter_map(|(kind, colour)| Some((kind.name(), colour, ratio(of(kind), floor)?))).collect()
}

fn draw_bar(top: f64, (name, colour, multiple): &Bar) -> String {
    let length = multiple.clamp(0.0, MOST) * UNIT;
    let bar =
        format!("<rect x=\"{LEFT}\" y=\"{top}\" width=\"{length:.1}\" height=\"{BAR_HEIGHT}\" fill=\"{colour}\"/>\n");
    let slash = if *multiple > MOST { slash(top, LEFT + length - 2.0 * BAR_HEIGHT) } else { String::new() };
    let baseline = top + 11.5;
    let weight = if name.starts_with("sallyport") { "font-weight=\"600\"" } else { "" };
    let name = text((LEFT - 8.0, baseline), "end", weight, name);
    // Numbers of short bars stand behind the floor's line, not under it.
    let value = text((LEFT + length.max(UNIT) + 6.0, baseline), "start", weight, &format!("{multiple:.2} ×"));
    bar + &slash + &name + &value
}

/// A gap in a bar: it is longer than drawn.
fn slash(top: f64, x: f64) -> String {
    let bottom = top + BAR_HEIGHT;
    let corners =
        [(x + 6.0, top), (x + 11.0, top), (x + 5.0, bottom), (x, bottom)].map(|(x, y)| format!("{x:.1},{y:.1}"));
    format!("<polygon points=\"{}\" fill=\"#ffffff\"/>\n", corners.join(" "))
}

/// The floor, as a line across the bars of a panel.
fn floor_line(top: f64, bottom: f64) -> String {
    let (x, top, bottom) = (LEFT + UNIT, top - 3.0, bottom - 1.0);
    format!("<line x1=\"{x}\" y1=\"{top}\" x2=\"{x}\" y2=\"{bottom}\" stroke=\"#c03030\" stroke-width=\"1.5\"/>\n")
}

fn text((x, y): (f64, f64), anchor: &str, more: &str, text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {more}>{text}</text>\n")
}

fn frame(date: &str, body: &str, height: f64) -> String {
    let title = "What egress proxies cost, as multiples of a bare relay (the floor)";
    let below = format!(
        "Measured {date}, medians. Shorter is better. The red line is the floor of the same run; bars end at {MOST} ×."
    );
    let head = text((20.0, 32.0), "start", "font-size=\"18\" font-weight=\"600\"", title);
    let below = text((20.0, 56.0), "start", "fill=\"#555555\"", &below);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         font-family=\"Helvetica, Arial, 'DejaVu Sans', sans-serif\" font-size=\"13\" fill=\"#222222\">\n<title>{title}</title>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n{head}{below}{body}</svg>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::made_up;

    #[test]
    fn a_bar_is_as_long_as_its_multiple_and_cut_off_at_the_most() {
        let cpu = Figure::CpuPerTunnel;
        let results = made_up(&[
            ("floor-shared64k", Shape::Connect, cpu, &[60.0]),
            ("sallyport-async", Shape::Connect, cpu, &[75.0]),
            ("tinyproxy", Shape::Connect, cpu, &[900.0]),
            ("squid@2cores", Shape::Connect, cpu, &[70.0]),
            ("squid", Shape::Deny, Figure::CpuPerDenial, &[70.0]),
        ]);
        let chart = draw(&results);
        for (what, times) in [
            ("width=\"150.0\" height=\"14\" fill=\"#1f5fa8\"", 1),
            ("width=\"600.0\" height=\"14\"", 1),
            (">1.25 ×<", 1),
            (">15.00 ×<", 1),
            ("<polygon ", 1),
            ("CPU per tunnel, saturated: floor 60.0 CPU µs/tunnel", 1),
            ("<line ", 1),
            ("squid", 0),
            ("CPU per refusal", 0),
            ("<script", 0),
        ] {
            assert_eq!(chart.matches(what).count(), times, "`{what}` in {chart}");
        }
    }

    #[test]
    fn text_is_escaped() {
        assert!(text((0.0, 0.0), "start", "", "a<b>&c").contains("a&lt;b&gt;&amp;c<"));
    }
}
