//! The parts all charts share: a frame, axes, a legend, and text that is safe in SVG.

use std::fmt::Write;

/// Size of a chart in pixels.
pub const WIDTH: f64 = 860.0;
/// Size of a chart in pixels.
pub const HEIGHT: f64 = 460.0;
/// Where the plot begins and ends.
pub const LEFT: f64 = 78.0;
/// Right end of the plot.
pub const RIGHT: f64 = WIDTH - 24.0;
/// Upper end of the plot.
pub const TOP: f64 = 84.0;
/// Lower end of the plot.
pub const BOTTOM: f64 = HEIGHT - 56.0;

/// Colours that people who see few colours can tell apart.
const COLOURS: [&str; 8] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#7f7f7f"];

/// The colour of a series.
pub fn colour(index: usize) -> &'static str {
    COLOURS[index % COLOURS.len()]
}

/// `text` with what means something in SVG made harmless.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A chart being drawn.
pub struct Canvas {
    svg: String,
}

impl Canvas {
    /// An empty chart with its title.
    pub fn new(title: &str) -> Self {
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"system-ui, sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
        );
        let _ =
            writeln!(svg, "<text x=\"{LEFT}\" y=\"26\" font-size=\"16\" font-weight=\"600\">{}</text>", escape(title));
        Self { svg }
    }

    /// A line of the grid at height `y`, labelled at the left.
    pub fn grid_y(&mut self, y: f64, label: &str) {
        let _ = writeln!(
            self.svg,
            "<path d=\"M{LEFT} {y:.1}H{RIGHT}\" stroke=\"#e0e0e0\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#444\">{}</text>",
            LEFT - 8.0,
            y + 4.0,
            escape(label)
        );
    }

    /// A line of the grid at `x`, labelled below.
    pub fn grid_x(&mut self, x: f64, label: &str) {
        let _ = writeln!(self.svg, "<path d=\"M{x:.1} {TOP}V{BOTTOM}\" stroke=\"#efefef\"/>");
        self.text(x, BOTTOM + 18.0, "middle", label);
    }

    /// Text in the colour of labels.
    pub fn text(&mut self, x: f64, y: f64, anchor: &str, text: &str) {
        let _ = writeln!(
            self.svg,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"#444\">{}</text>",
            escape(text)
        );
    }

    /// What the axes show.
    pub fn axes(&mut self, x: &str, y: &str) {
        self.text((LEFT + RIGHT) / 2.0, HEIGHT - 14.0, "middle", x);
        let middle = (TOP + BOTTOM) / 2.0;
        let _ = writeln!(
            self.svg,
            "<text transform=\"translate(16 {middle:.1}) rotate(-90)\" text-anchor=\"middle\" \
             fill=\"#444\">{}</text>",
            escape(y)
        );
    }

    /// A line through points in pixels.
    pub fn line(&mut self, points: &[(f64, f64)], colour: &str) {
        let _ = write!(
            self.svg,
            "<path fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" \
             stroke-linejoin=\"round\" d=\""
        );
        for (index, (x, y)) in points.iter().enumerate() {
            let step = if index == 0 { 'M' } else { 'L' };
            let _ = write!(self.svg, "{step}{x:.1} {y:.1}");
        }
        self.svg.push_str("\"/>\n");
    }

    /// A filled rectangle.
    pub fn bar(&mut self, (x, y): (f64, f64), width: f64, height: f64, colour: &str) {
        let _ = writeln!(
            self.svg,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>"
        );
    }

    /// The names of the series, each beside its colour.
    pub fn legend<'a>(&mut self, labels: impl Iterator<Item = &'a str>) {
        let (mut x, mut y) = (LEFT, 46.0);
        for (index, label) in labels.enumerate() {
            let width = 30.0 + 7.2 * label.chars().count() as f64;
            if x + width > RIGHT {
                (x, y) = (LEFT, y + 18.0);
            }
            self.bar((x, y - 8.0), 14.0, 8.0, colour(index));
            self.text(x + 19.0, y, "start", label);
            x += width;
        }
    }

    /// The finished chart.
    pub fn finish(mut self) -> String {
        self.svg.push_str("</svg>\n");
        self.svg
    }
}

/// A step of 1, 2 or 5 times a power of ten that divides `span` into at most about `parts`.
pub fn step(span: f64, parts: f64) -> f64 {
    let raw = (span / parts).max(f64::MIN_POSITIVE);
    let magnitude = 10f64.powf(raw.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * magnitude >= raw * 0.999);
    factor.unwrap_or(10.0) * magnitude
}

/// A number with no more digits than it needs.
pub fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 1e9 => format!("{:.1}G", value / 1e9),
        v if v >= 1e6 => format!("{:.1}M", value / 1e6),
        v if v >= 1e4 => format!("{:.0}k", value / 1e3),
        v if v >= 100.0 || (v - v.round()).abs() < 1e-9 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
