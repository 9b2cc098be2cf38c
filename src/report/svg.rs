//! Plots as SVG text: lines with intervals, points, bars, axes, a legend. No outside resources, no scripts.
//!
//! A plot carries its own background and is readable on light and dark pages: colours stand as attributes for light, and one media query
//! replaces them for dark. Classes begin with `plot-`, and nothing has an id, so that many plots may stand in one HTML page. The same plot gives the
//! same bytes.

mod axis;
mod page;

use page::{Frame, text};

/// A plot under construction. Series are named; a line, a band and points of one name share a colour and an entry of the legend. An empty name
/// stands in no legend. A number that is not finite leaves a gap.
///
/// ```
/// use dreamer_fast::report::svg::Plot;
/// let svg = Plot::new("Recall of the goal", "steps imagined", "recall")
///     .line("posterior", &[(0.0, 0.9), (1.0, 0.8)])
///     .band("posterior", &[(0.0, 0.85, 0.95), (1.0, 0.7, 0.9)])
///     .to_svg();
/// assert!(svg.starts_with("<svg") && svg.contains("Recall of the goal"));
/// ```
#[derive(Debug, Clone)]
pub struct Plot {
    title: String,
    x_label: String,
    y_label: String,
    note: String,
    y_range: Option<(f64, f64)>,
    series: Vec<String>,
    categories: Vec<String>,
    /// What is drawn, in the order of the calls, with its series.
    marks: Vec<(usize, Mark)>,
}

#[derive(Debug, Clone)]
enum Mark {
    Line(Vec<(f64, f64)>),
    Band(Vec<(f64, f64, f64)>),
    Points(Vec<(f64, f64)>),
    /// Categories by index, and heights.
    Bars(Vec<(usize, f64)>),
    Whiskers(Vec<(usize, f64, f64)>),
    Level(f64),
}

impl Plot {
    /// An empty plot.
    pub fn new(title: &str, x_label: &str, y_label: &str) -> Self {
        Plot {
            title: title.into(),
            x_label: x_label.into(),
            y_label: y_label.into(),
            note: String::new(),
            y_range: None,
            series: Vec::new(),
            categories: Vec::new(),
            marks: Vec::new(),
        }
    }

    /// A line through points (x, y), in this order.
    pub fn line(self, name: &str, points: &[(f64, f64)]) -> Self {
        self.mark(name, Mark::Line(points.to_vec()))
    }

    /// A translucent band between the lower and the upper bounds (x, low, high): an interval around the line of the same name.
    pub fn band(self, name: &str, bounds: &[(f64, f64, f64)]) -> Self {
        self.mark(name, Mark::Band(bounds.to_vec()))
    }

    /// Dots at (x, y).
    pub fn points(self, name: &str, points: &[(f64, f64)]) -> Self {
        self.mark(name, Mark::Points(points.to_vec()))
    }

    /// Bars (category, height). Categories stand on the x axis in the order of their first mention, at x = 0, 1, 2 ...; bars of several series
    /// stand side by side.
    pub fn bars<C: AsRef<str>>(mut self, name: &str, bars: &[(C, f64)]) -> Self {
        let bars = bars.iter().map(|(category, y)| (self.category(category.as_ref()), *y)).collect();
        self.mark(name, Mark::Bars(bars))
    }

    /// Intervals (category, low, high) on the bars of the same name.
    pub fn whiskers<C: AsRef<str>>(mut self, name: &str, bounds: &[(C, f64, f64)]) -> Self {
        let bounds = bounds.iter().map(|(category, lo, hi)| (self.category(category.as_ref()), *lo, *hi)).collect();
        self.mark(name, Mark::Whiskers(bounds))
    }

    /// A dashed horizontal line at a height that means something: a threshold, a baseline.
    pub fn level(self, name: &str, y: f64) -> Self {
        self.mark(name, Mark::Level(y))
    }

    /// Fixes the range of the y axis; what lies beyond is drawn at its edge. Without this the range is that of the data, with 0 where there are bars.
    pub fn y_range(mut self, low: f64, high: f64) -> Self {
        assert!(low < high, "plot: a y axis from {low} to {high}");
        self.y_range = Some((low, high));
        self
    }

    /// A small line of text under the title: what was measured, or the command that makes the figure again.
    pub fn note(mut self, text: &str) -> Self {
        self.note = text.into();
        self
    }

    fn category(&mut self, name: &str) -> usize {
        position_or_push(&mut self.categories, name)
    }

    fn mark(mut self, name: &str, mark: Mark) -> Self {
        let series = position_or_push(&mut self.series, name);
        self.marks.push((series, mark));
        self
    }

    /// The plot as a complete SVG document.
    pub fn to_svg(&self) -> String {
        let frame = Frame::of(self);
        let mut out = String::new();
        frame.open(self, &mut out);
        frame.axes(self, &mut out);
        // Bands lie under everything, so that they hide no line.
        let (under, over): (Vec<_>, Vec<_>) = self.marks.iter().partition(|(_, mark)| matches!(mark, Mark::Band(_)));
        under.into_iter().chain(over).for_each(|(series, mark)| frame.draw(self, *series, mark, &mut out));
        frame.legend(self, &mut out);
        if self.marks.is_empty() {
            let (x, y) = (frame.left + page::AREA.0 / 2.0, frame.top + page::AREA.1 / 2.0);
            text(&mut out, (x, y), "middle", 13.0, "", "no data");
        }
        out.push_str("</svg>\n");
        out
    }

    /// Every finite x and y that must be visible.
    fn extent(&self) -> (Vec<f64>, Vec<f64>) {
        let (mut xs, mut ys) = (Vec::new(), Vec::new());
        for (_, mark) in &self.marks {
            match mark {
                Mark::Line(points) | Mark::Points(points) => {
                    for (x, y) in points.iter().filter(|(x, y)| (x + y).is_finite()) {
                        xs.push(*x);
                        ys.push(*y);
                    }
                }
                Mark::Band(bounds) => {
                    for (x, low, high) in bounds.iter().filter(|(x, low, high)| (x + low + high).is_finite()) {
                        xs.push(*x);
                        ys.extend([*low, *high]);
                    }
                }
                Mark::Bars(bars) => ys.extend(bars.iter().map(|b| b.1).chain([0.0])),
                Mark::Whiskers(bounds) => ys.extend(bounds.iter().flat_map(|b| [b.1, b.2])),
                Mark::Level(y) => ys.push(*y),
            }
        }
        ys.retain(|y| y.is_finite());
        (xs, ys)
    }
}

fn position_or_push(names: &mut Vec<String>, name: &str) -> usize {
    names.iter().position(|known| known == name).unwrap_or_else(|| {
        names.push(name.into());
        names.len() - 1
    })
}

#[cfg(test)]
mod tests {
    use super::page::AREA;
    use super::*;

    /// The numbers of a path or an attribute.
    fn numbers(text: &str) -> Vec<f64> {
        text.split(|c: char| !c.is_ascii_digit() && c != '.' && c != '-').filter_map(|n| n.parse().ok()).collect()
    }

    fn attribute<'a>(svg: &'a str, element: &str, name: &str) -> Vec<&'a str> {
        let elements = svg.lines().filter(|line| line.starts_with(element));
        elements.map(|line| line.split(&format!(" {name}=\"")).nth(1).unwrap().split('"').next().unwrap()).collect()
    }

    #[test]
    fn a_line_runs_from_corner_to_corner_and_breaks_at_a_gap() {
        let points = [(0.0, 0.0), (1.0, 1.0), (2.0, f64::NAN), (3.0, 1.0), (4.0, 0.0)];
        let plot = Plot::new("t", "x", "y").line("a", &points);
        let frame = Frame::of(&plot);
        let svg = plot.to_svg();
        let paths = attribute(&svg, "<path class=\"plot-s0\"", "d");
        assert_eq!(paths.len(), 3, "two runs and the legend: {paths:?}");
        let (left, right, top, bottom) = (frame.left, frame.left + AREA.0, frame.top, frame.top + AREA.1);
        let quarter = AREA.0 / 4.0;
        for (path, want) in [(0, [left, bottom, left + quarter, top]), (1, [right - quarter, top, right, bottom])] {
            let drawn = numbers(paths[path]);
            assert!(drawn.iter().zip(want).all(|(a, b)| (a - b).abs() < 0.06), "{drawn:?} is not {want:?}");
        }
    }

    #[test]
    fn bars_stand_on_zero_side_by_side() {
        let bars = |high: f64| [("first", 1.0), ("second", high)];
        let plot = Plot::new("t", "x", "y").bars("a", &bars(-1.0)).bars("b", &bars(0.5)).y_range(-1.0, 1.0);
        let frame = Frame::of(&plot);
        let svg = plot.to_svg();
        let parse = |name| -> Vec<f64> {
            attribute(&svg, "<rect class=\"plot-f", name).iter().map(|v| v.parse().unwrap()).collect()
        };
        let (x, y, width, height) = (parse("x"), parse("y"), parse("width"), parse("height"));
        let middle = frame.top + AREA.1 / 2.0;
        // The order of drawing: a first, a second, b first, b second.
        assert_eq!(y[..4], [frame.top, middle, frame.top, middle - AREA.1 / 4.0]);
        assert_eq!(height[..4], [1.0, 1.0, 1.0, 0.5].map(|h| h * AREA.1 / 2.0));
        assert!(x[0] + width[0] < x[2] && x[2] + width[2] < x[1] && x[1] + width[1] < x[3], "{x:?} {width:?}");
    }

    #[test]
    fn names_are_escaped_and_a_name_stands_in_the_legend_once() {
        let plot = Plot::new("a < b & \"c\"", "x", "y").line("p&q", &[(0.0, 1.0)]).band("p&q", &[(0.0, 0.5, 1.5)]);
        let svg = plot.clone().level("", 0.7).to_svg();
        assert_eq!(svg.matches(">p&amp;q</text>").count(), 1);
        assert!(svg.contains(">a &lt; b &amp; &quot;c&quot;</text>") && !svg.contains("a < b"));
        assert_eq!(plot.to_svg(), plot.to_svg());
    }

    #[test]
    fn nothing_and_infinities_are_drawn_without_panics_or_nan() {
        let empty = Plot::new("t", "", "").to_svg();
        assert!(empty.contains("no data") && !empty.contains("NaN"));
        let odd = Plot::new("t", "x", "y")
            .line("a", &[(0.0, f64::INFINITY), (f64::NAN, 2.0)])
            .band("a", &[(1.0, f64::NEG_INFINITY, 2.0)])
            .bars("b", &[("c", f64::NAN)])
            .whiskers("b", &[("c", 0.0, f64::NAN)])
            .level("d", f64::NAN)
            .to_svg();
        assert!(!odd.contains("NaN") && !odd.contains("inf"), "{odd}");
    }

    #[test]
    fn beyond_a_fixed_range_lines_keep_to_the_edge() {
        let plot = Plot::new("t", "x", "y").line("", &[(0.0, -5.0), (1.0, 5.0)]).y_range(0.0, 1.0);
        let frame = Frame::of(&plot);
        let svg = plot.to_svg();
        let drawn = numbers(attribute(&svg, "<path class=\"plot-s0\"", "d")[0]);
        assert_eq!((drawn[1], drawn[3]), (frame.top + AREA.1, frame.top));
    }
}
