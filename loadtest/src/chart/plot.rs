//! Charts over time, and bars side by side.

use serde::Deserialize;

use super::axes::{BOTTOM, Canvas, LEFT, RIGHT, TOP, colour, number, step};

/// Lines over a common x axis.
#[derive(Debug, Deserialize)]
pub struct Lines {
    title: String,
    x: String,
    y: String,
    series: Vec<Line>,
}

#[derive(Debug, Deserialize)]
struct Line {
    label: String,
    points: Vec<(f64, f64)>,
}

/// Groups of bars, one bar of each group for each series.
#[derive(Debug, Deserialize)]
pub struct Bars {
    title: String,
    y: String,
    groups: Vec<Group>,
    /// Who the bars of each group belong to.
    series: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Group {
    label: String,
    /// One for each series: median, lowest and highest; none where it was not measured.
    values: Vec<Option<(f64, f64, f64)>>,
}

fn grid(canvas: &mut Canvas, high: f64) {
    let step = step(high, 6.0);
    for index in 0..=(high / step).round() as usize {
        let value = index as f64 * step;
        canvas.grid_y(scale(value, high), &number(value));
    }
}

fn scale(value: f64, high: f64) -> f64 {
    BOTTOM - value / high * (BOTTOM - TOP)
}

/// The least round number at or above all of `values`.
fn ceiling(values: impl Iterator<Item = f64>) -> f64 {
    let high = values.fold(0.0, f64::max).max(1e-9);
    let step = step(high, 6.0);
    (high / step).ceil() * step
}

/// Draws lines.
pub fn lines(lines: &Lines) -> String {
    let points = || lines.series.iter().flat_map(|line| &line.points);
    let high = ceiling(points().map(|point| point.1));
    let last = points().map(|point| point.0).fold(0.0, f64::max).max(1e-9);
    let x = |value: f64| LEFT + value / last * (RIGHT - LEFT);
    let mut canvas = Canvas::new(&lines.title);
    grid(&mut canvas, high);
    let step = step(last, 10.0);
    for index in 0..=(last / step) as usize {
        let value = index as f64 * step;
        canvas.grid_x(x(value), &number(value));
    }
    canvas.axes(&lines.x, &lines.y);
    for (index, line) in lines.series.iter().enumerate() {
        let points = line.points.iter();
        let points: Vec<_> = points.map(|(at, value)| (x(*at), scale(*value, high))).collect();
        canvas.line(&points, colour(index));
    }
    canvas.legend(lines.series.iter().map(|line| line.label.as_str()));
    canvas.finish()
}

/// Draws bars, each with its value on top and its spread as a thin line.
pub fn bars(bars: &Bars) -> String {
    let values = bars.groups.iter().flat_map(|group| group.values.iter().flatten());
    let high = ceiling(values.map(|(_, _, highest)| *highest));
    let mut canvas = Canvas::new(&bars.title);
    grid(&mut canvas, high);
    canvas.axes("", &bars.y);
    let group_width = (RIGHT - LEFT) / bars.groups.len().max(1) as f64;
    let width = group_width * 0.86 / bars.series.len().max(1) as f64;
    for (at, group) in bars.groups.iter().enumerate() {
        let left = LEFT + group_width * (at as f64 + 0.07);
        for (index, value) in group.values.iter().enumerate() {
            let Some((median, lowest, highest)) = *value else {
                continue;
            };
            let x = left + width * index as f64;
            let y = scale(median, high);
            canvas.bar((x + 1.0, y), width - 2.0, BOTTOM - y, colour(index));
            let middle = x + width / 2.0;
            let spread = [(middle, scale(lowest, high)), (middle, scale(highest, high))];
            canvas.line(&spread, "#222222");
            canvas.text(middle, scale(highest, high) - 4.0, "middle", &number(median));
        }
        canvas.text(left + group_width * 0.43, BOTTOM + 18.0, "middle", &group.label);
    }
    canvas.legend(bars.series.iter().map(String::as_str));
    canvas.finish()
}
