//! A plot on its page: where everything stands, and the elements that are drawn there.

use std::fmt::Write;

use super::axis::Axis;
use super::{Mark, Plot};

/// Height of the area that data are drawn in, and its width without a legend, in pixels.
pub(super) const AREA: (f64, f64) = (560.0, 300.0);
/// Width of a letter at 12 pixels; fonts differ, so this is an upper estimate.
const LETTER: f64 = 6.7;
/// Colours of series for light pages and dark ones, told apart by most colour-blind readers (after Okabe and Ito).
const COLORS: [(&str, &str); 8] = [
    ("#0072b2", "#5ab4f0"),
    ("#d55e00", "#ff9552"),
    ("#00875f", "#3ddc97"),
    ("#b5528c", "#f2a6cf"),
    ("#9a7400", "#f0c94a"),
    ("#3a8fc4", "#a5deff"),
    ("#6a3d9a", "#bd9cf7"),
    ("#5f6368", "#c4c7cc"),
];

/// Where everything stands on the page, in pixels.
pub(super) struct Frame {
    x: Axis,
    y: Axis,
    pub left: f64,
    pub top: f64,
    width: f64,
    height: f64,
    /// Labels of categories are slanted because they are longer than their slots.
    slanted: bool,
}

impl Frame {
    pub fn of(plot: &Plot) -> Self {
        let (mut xs, ys) = plot.extent();
        let categories = plot.categories.len();
        if categories > 0 {
            xs.extend([-0.5, categories as f64 - 0.5]);
        }
        let y = match plot.y_range {
            Some((low, high)) => Axis { low, high, ..Axis::over(&[low, high], 5.0, false) },
            None => Axis::over(&ys, 5.0, true),
        };
        let widest = |names: &mut dyn Iterator<Item = &String>| {
            names.map(|name| name.chars().count()).max().unwrap_or(0) as f64 * LETTER
        };
        let longest = widest(&mut plot.categories.iter());
        let slanted = categories > 0 && longest > AREA.0 / categories as f64 - 8.0;
        let ticks = y.ticks().map(|t| y.label(t)).collect::<Vec<_>>();
        let mut left = 34.0 + widest(&mut ticks.iter()).max(LETTER * 2.0);
        if slanted {
            // A label ends under the middle of its slot and begins up to 0.85 times its length further left.
            let slot = AREA.0 / categories as f64;
            let starts = plot.categories.iter().enumerate();
            let over = starts.map(|(i, c)| 0.85 * LETTER * c.chars().count() as f64 - slot * (i as f64 + 0.5));
            left = over.fold(left, |left, over| left.max(over + 6.0));
        }
        let legend =
            if plot.series.iter().any(|s| !s.is_empty()) { 52.0 + widest(&mut plot.series.iter()) } else { 16.0 };
        let top = if plot.note.is_empty() { 40.0 } else { 58.0 };
        let below = if slanted { 40.0 + 0.6 * longest } else { 48.0 };
        // The title and the note must fit, too.
        let head = (plot.title.chars().count() as f64 * 8.6).max(plot.note.chars().count() as f64 * 6.0) + 28.0;
        Frame {
            x: Axis::over(&xs, 8.0, false),
            y,
            left,
            top,
            width: (left + AREA.0 + legend).max(head),
            height: top + AREA.1 + below,
            slanted,
        }
    }

    fn px(&self, x: f64) -> f64 {
        self.left + AREA.0 * self.x.at(x)
    }

    fn py(&self, y: f64) -> f64 {
        self.top + AREA.1 * (1.0 - self.y.at(y))
    }

    pub fn open(&self, plot: &Plot, out: &mut String) {
        let (w, h) = (self.width.ceil(), self.height.ceil());
        let title = escape(&plot.title);
        let _ = write!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w} {h}\" width=\"{w}\" height=\"{h}\" role=\"img\" \
             aria-label=\"{title}\" font-family=\"system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif\">\n\
             <style>@media (prefers-color-scheme: dark) {{ .plot-back {{ fill: #16181d }} .plot-ink {{ fill: #d5d8dd }} \
             .plot-grid {{ stroke: #32363e }} .plot-axis {{ stroke: #868b94 }} .plot-whisker {{ stroke: #f1f3f4 }}"
        );
        for (i, (_, dark)) in COLORS.iter().enumerate() {
            let _ = write!(out, " .plot-s{i} {{ stroke: {dark} }} .plot-f{i} {{ fill: {dark} }}");
        }
        let _ = write!(
            out,
            " }}</style>\n<rect class=\"plot-back\" width=\"{w}\" height=\"{h}\" rx=\"6\" fill=\"#ffffff\"/>\n"
        );
        text(out, (14.0, 24.0), "start", 15.0, " font-weight=\"600\"", &plot.title);
        text(out, (14.0, 43.0), "start", 11.0, " opacity=\"0.75\"", &plot.note);
    }

    pub fn axes(&self, plot: &Plot, out: &mut String) {
        let (left, right, top, bottom) = (self.left, self.left + AREA.0, self.top, self.top + AREA.1);
        for tick in self.y.ticks() {
            let y = self.py(tick);
            let _ = writeln!(
                out,
                "<path class=\"plot-grid\" d=\"M{left:.1} {y:.1}H{right:.1}\" stroke=\"#e3e5e8\" stroke-width=\"1\"/>"
            );
            text(out, (left - 7.0, y + 4.0), "end", 12.0, "", &self.y.label(tick));
        }
        let _ = writeln!(
            out,
            "<path class=\"plot-axis\" d=\"M{left:.1} {top:.1}V{bottom:.1}H{right:.1}\" fill=\"none\" stroke=\"#80868b\" \
             stroke-width=\"1\"/>"
        );
        if plot.categories.is_empty() {
            for tick in self.x.ticks() {
                let x = self.px(tick);
                let _ = writeln!(
                    out,
                    "<path class=\"plot-axis\" d=\"M{x:.1} {bottom:.1}v5\" stroke=\"#80868b\" stroke-width=\"1\"/>"
                );
                text(out, (x, bottom + 19.0), "middle", 12.0, "", &self.x.label(tick));
            }
        }
        for (i, name) in plot.categories.iter().enumerate() {
            let (x, y) = (self.px(i as f64), bottom + 18.0);
            if self.slanted {
                let turned = format!(" transform=\"rotate(-32 {x:.1} {y:.1})\"");
                text(out, (x + 4.0, y - 2.0), "end", 12.0, &turned, name);
            } else {
                text(out, (x, y), "middle", 12.0, "", name);
            }
        }
        text(out, ((left + right) / 2.0, self.height - 9.0), "middle", 12.5, "", &plot.x_label);
        let (x, y) = (17.0, (top + bottom) / 2.0);
        let turned = format!(" transform=\"rotate(-90 {x} {y})\"");
        text(out, (x, y), "middle", 12.5, &turned, &plot.y_label);
    }

    pub fn draw(&self, plot: &Plot, series: usize, mark: &Mark, out: &mut String) {
        let (class, color) = (series % COLORS.len(), COLORS[series % COLORS.len()].0);
        match mark {
            Mark::Line(points) => {
                // Every run of finite points is a path of its own.
                let finite = |p: &(f64, f64)| p.0.is_finite() && p.1.is_finite();
                for run in points.chunk_by(|a, b| finite(a) == finite(b)).filter(|run| finite(&run[0])) {
                    if let &[(x, y)] = run {
                        self.dot(class, color, x, y, 3.0, 1.0, out);
                        continue;
                    }
                    let path = self.path(run.iter().copied());
                    let dashes = dashes(series);
                    let _ = writeln!(
                        out,
                        "<path class=\"plot-s{class}\" d=\"{path}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\" \
                         stroke-linejoin=\"round\" stroke-linecap=\"round\"{dashes}/>"
                    );
                }
            }
            Mark::Band(bounds) => {
                let finite = |b: &(f64, f64, f64)| (b.0 + b.1 + b.2).is_finite();
                for run in bounds.chunk_by(|a, b| finite(a) == finite(b)).filter(|run| finite(&run[0])) {
                    let upper = run.iter().map(|b| (b.0, b.2));
                    let lower = run.iter().rev().map(|b| (b.0, b.1));
                    let path = self.path(upper.chain(lower));
                    let _ = writeln!(
                        out,
                        "<path class=\"plot-f{class}\" d=\"{path}Z\" fill=\"{color}\" fill-opacity=\"0.17\"/>"
                    );
                }
            }
            Mark::Points(points) => {
                for &(x, y) in points.iter().filter(|(x, y)| x.is_finite() && y.is_finite()) {
                    self.dot(class, color, x, y, 2.2, 0.5, out);
                }
            }
            Mark::Bars(bars) => {
                for &(category, height) in bars.iter().filter(|(_, height)| height.is_finite()) {
                    let (x, width) = self.slot(plot, series, category);
                    let (zero, end) = (self.py(0.0), self.py(height));
                    let (y, tall) = (zero.min(end), (zero - end).abs().max(0.8));
                    let _ = writeln!(
                        out,
                        "<rect class=\"plot-f{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{tall:.1}\" \
                         fill=\"{color}\" fill-opacity=\"0.85\"><title>{}: {height}</title></rect>",
                        escape(&plot.categories[category])
                    );
                }
            }
            Mark::Whiskers(bounds) => {
                for &(category, low, high) in bounds.iter().filter(|b| (b.1 + b.2).is_finite()) {
                    let (x, width) = self.slot(plot, series, category);
                    let (x, low, high) = (x + width / 2.0, self.py(low), self.py(high));
                    let (from, to) = (x - 4.0, x + 4.0);
                    let _ = writeln!(
                        out,
                        "<path class=\"plot-whisker\" d=\"M{x:.1} {low:.1}V{high:.1}M{from:.1} {low:.1}H{to:.1}M{from:.1} \
                         {high:.1}H{to:.1}\" fill=\"none\" stroke=\"#3c4043\" stroke-width=\"1.4\"/>"
                    );
                }
            }
            Mark::Level(height) if height.is_finite() => {
                let (left, right, y) = (self.left, self.left + AREA.0, self.py(*height));
                let _ = writeln!(
                    out,
                    "<path class=\"plot-s{class}\" d=\"M{left:.1} {y:.1}H{right:.1}\" stroke=\"{color}\" stroke-width=\"1.5\" \
                     stroke-dasharray=\"6 4\"/>"
                );
            }
            Mark::Level(_) => {}
        }
    }

    fn path(&self, points: impl Iterator<Item = (f64, f64)>) -> String {
        let mut path = String::new();
        for (i, (x, y)) in points.enumerate() {
            let _ = write!(path, "{}{:.1} {:.1}", if i == 0 { 'M' } else { 'L' }, self.px(x), self.py(y));
        }
        path
    }

    fn dot(&self, class: usize, color: &str, x: f64, y: f64, radius: f64, opacity: f64, out: &mut String) {
        let (x, y) = (self.px(x), self.py(y));
        let _ = writeln!(
            out,
            "<circle class=\"plot-f{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{color}\" fill-opacity=\"{opacity}\"/>"
        );
    }

    /// Left edge and width of a series' bar within its category.
    fn slot(&self, plot: &Plot, series: usize, category: usize) -> (f64, f64) {
        let mut owners: Vec<usize> =
            plot.marks.iter().filter(|(_, m)| matches!(m, Mark::Bars(_))).map(|(series, _)| *series).collect();
        owners.sort_unstable();
        owners.dedup();
        let count = owners.len().max(1) as f64;
        let rank = owners.iter().position(|&s| s == series).unwrap_or(0) as f64;
        let room = 0.76 * AREA.0 / plot.categories.len() as f64;
        let width = (room / count).min(54.0);
        (self.px(category as f64) + (rank - count / 2.0) * width + 1.0, width - 2.0)
    }

    pub fn legend(&self, plot: &Plot, out: &mut String) {
        let x = self.left + AREA.0 + 14.0;
        for (row, (series, name)) in plot.series.iter().enumerate().filter(|(_, name)| !name.is_empty()).enumerate() {
            let y = self.top + 8.0 + 18.0 * row as f64;
            let (class, color) = (series % COLORS.len(), COLORS[series % COLORS.len()].0);
            let mut marks = plot.marks.iter().filter(|(s, _)| *s == series).map(|(_, mark)| mark);
            let solid = marks.clone().any(|m| matches!(m, Mark::Bars(_) | Mark::Points(_)));
            let dashes =
                if marks.all(|m| matches!(m, Mark::Level(_))) { " stroke-dasharray=\"4 3\"" } else { dashes(series) };
            let _ = if solid {
                writeln!(
                    out,
                    "<rect class=\"plot-f{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"10\" height=\"10\" rx=\"2\" fill=\"{color}\"/>",
                    x + 3.0,
                    y - 5.0
                )
            } else {
                writeln!(
                    out,
                    "<path class=\"plot-s{class}\" d=\"M{x:.1} {y:.1}h16\" stroke=\"{color}\" stroke-width=\"2.4\"{dashes}/>"
                )
            };
            text(out, (x + 22.0, y + 4.0), "start", 12.0, "", name);
        }
    }
}

/// Series beyond the colours are told apart by their dashes.
fn dashes(series: usize) -> &'static str {
    ["", " stroke-dasharray=\"7 3\"", " stroke-dasharray=\"2 3\""][(series / COLORS.len()) % 3]
}

/// A line of text; `more` holds further attributes.
pub(super) fn text(out: &mut String, (x, y): (f64, f64), anchor: &str, size: f64, more: &str, words: &str) {
    if !words.is_empty() {
        let words = escape(words);
        let _ = writeln!(
            out,
            "<text class=\"plot-ink\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\" \
             fill=\"#202124\"{more}>{words}</text>"
        );
    }
}

/// Text for an element or an attribute. Control characters have no place in XML.
fn escape(words: &str) -> String {
    let mut out = String::new();
    for letter in words.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            letter if letter.is_control() => out.push(' '),
            letter => out.push(letter),
        }
    }
    out
}
