//! Latency by percentile: the x axis stretches towards the slowest, one decade for each nine.

use super::axes::{BOTTOM, Canvas, LEFT, RIGHT, TOP, colour};
use crate::load::result::{Series, human};

/// The quantiles that get a line of the grid.
const TICKS: [(f64, &str); 8] = [
    (0.0, "0"),
    (0.5, "50 %"),
    (0.9, "90 %"),
    (0.99, "99 %"),
    (0.999, "99.9 %"),
    (0.9999, "99.99 %"),
    (0.99999, "99.999 %"),
    (0.999_999, "99.9999 %"),
];

/// How many nines a quantile has: 0.9 one, 0.99 two.
fn nines(quantile: f64) -> f64 {
    -(1.0 - quantile.min(1.0 - 1e-9)).log10()
}

/// The chart of several series, as SVG.
pub fn draw(title: &str, series: &[Series]) -> String {
    let points = || {
        let all = series.iter().flat_map(|series| &series.percentiles);
        all.filter(|(quantile, us)| *quantile < 1.0 && *us > 0.0)
    };
    let right = points().map(|(quantile, _)| nines(*quantile)).fold(2.0, f64::max);
    let low = points().map(|(_, us)| us.log10()).fold(f64::MAX, f64::min).min(9.0).floor();
    let high = points().map(|(_, us)| us.log10()).fold(low + 1.0, f64::max).ceil();
    let x = |quantile: f64| LEFT + nines(quantile) / right * (RIGHT - LEFT);
    let y = |us: f64| BOTTOM - (us.log10() - low) / (high - low) * (BOTTOM - TOP);
    let mut canvas = Canvas::new(title);
    for decade in low as i32..=high as i32 {
        for factor in [1.0, 2.0, 5.0] {
            let us = factor * 10f64.powi(decade);
            if us.log10() <= high + 1e-9 {
                let label = if us < 1.0 { format!("{us} µs") } else { human(us) };
                canvas.grid_y(y(us), &label);
            }
        }
    }
    for (quantile, label) in TICKS {
        if nines(quantile) <= right + 1e-9 {
            canvas.grid_x(x(quantile), label);
        }
    }
    canvas.axes("percentile", "latency");
    for (index, one) in series.iter().enumerate() {
        let line = one.percentiles.iter();
        let line = line.filter(|(quantile, us)| *quantile < 1.0 && *us > 0.0);
        let line: Vec<_> = line.map(|(quantile, us)| (x(*quantile), y(*us))).collect();
        canvas.line(&line, colour(index));
    }
    canvas.legend(series.iter().map(|series| series.label.as_str()));
    canvas.finish()
}
