//! Plots as SVG text: lines over linear or logarithmic axes, bars, each with its legend. No script, no font, nothing
//! fetched.

use std::fmt::Write;

use super::tables::number;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 36.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 44.0;
/// The legend: a row's height, and how wide a letter is, more or less.
const LEGEND_ROW: f64 = 17.0;
const LETTER: f64 = 6.6;
/// What a plot looks like, in a page or alone.
pub const STYLE: &str = "svg{background:#fafafa}svg text{font:12px sans-serif;fill:#333}.grid{stroke:#e2e2e2}\
line.event{stroke:#b00;stroke-dasharray:4 3}svg text.event{fill:#b00}svg text.title{font-weight:600}";
const COLOURS: [&str; 8] =
    ["#1b6ca8", "#c8553d", "#3a7d44", "#8e5ea2", "#b8860b", "#4d4d4d", "#d16ba5", "#17a2a2"];

pub fn colour(nth: usize) -> &'static str {
    COLOURS[nth % COLOURS.len()]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    Linear,
    Log,
}

#[derive(Clone, Debug)]
pub struct Line {
    pub name: String,
    pub colour: &'static str,
    pub points: Vec<(f64, f64)>,
    /// Single points without a line between them.
    pub marks_only: bool,
}

#[derive(Clone, Debug)]
pub struct Chart {
    pub x: (&'static str, Scale),
    pub y: (&'static str, Scale),
    pub lines: Vec<Line>,
    /// Vertical marks with a word.
    pub events: Vec<(f64, String)>,
    /// Words for places on the x axis instead of numbers.
    pub ticks: Vec<(f64, &'static str)>,
}

struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn of(scale: Scale, values: impl Iterator<Item = f64>, from: f64, to: f64) -> Option<Axis> {
        let fits = |value: &f64| value.is_finite() && (scale == Scale::Linear || *value > 0.0);
        let (mut low, mut high) = (f64::MAX, f64::MIN);
        values.filter(fits).for_each(|value| (low, high) = (low.min(value), high.max(value)));
        if low > high {
            return None;
        }
        match scale {
            Scale::Linear => {
                low = low.min(0.0);
                high = if high > low { high + (high - low) * 0.05 } else { low + 1.0 };
            }
            Scale::Log => {
                low = 10f64.powf(low.log10().floor());
                high = 10f64.powf((high * 0.999).log10().ceil()).max(low * 10.0);
            }
        }
        Some(Axis { scale, low, high, from, to })
    }

    fn at(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value.max(self.low) / self.low).log10() / (self.high / self.low).log10(),
        };
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }

    fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Log => {
                let (low, high) = (self.low.log10().round() as i32, self.high.log10().round() as i32);
                (low..=high).map(|power| 10f64.powi(power)).collect()
            }
            Scale::Linear => {
                let rough = (self.high - self.low) / 5.0;
                let unit = 10f64.powf(rough.log10().floor());
                let step = [1.0, 2.0, 5.0, 10.0].map(|of| of * unit).into_iter().find(|step| *step >= rough);
                let step = step.unwrap_or(rough);
                let first = (self.low / step).ceil() as i64;
                (first..).map(|nth| nth as f64 * step).take_while(|tick| *tick <= self.high).collect()
            }
        }
    }
}

impl Chart {
    /// `None`: there is nothing to draw.
    pub fn svg(&self) -> Option<String> {
        let all = || self.lines.iter().flat_map(|line| &line.points);
        let x = Axis::of(self.x.1, all().map(|point| point.0), LEFT, WIDTH - RIGHT)?;
        let y = Axis::of(self.y.1, all().map(|point| point.1), HEIGHT - BOTTOM, TOP)?;
        let (legend, rows) = self.legend();
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"{} against {}\">\n",
            HEIGHT + rows as f64 * LEGEND_ROW,
            self.y.0,
            self.x.0
        );
        self.draw_axes(&x, &y, &mut svg);
        for (nth, (at, word)) in self.events.iter().enumerate() {
            let at = x.at(*at);
            let _ = writeln!(
                svg,
                "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{:.1}\" class=\"event\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" class=\"event\">{}</text>",
                HEIGHT - BOTTOM,
                at + 4.0,
                TOP + 12.0 + nth as f64 * 14.0,
                escape(word)
            );
        }
        for line in &self.lines {
            let points: Vec<(f64, f64)> =
                line.points.iter().map(|point| (x.at(point.0), y.at(point.1))).collect();
            if !line.marks_only && points.len() > 1 {
                let list: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
                let _ = writeln!(
                    svg,
                    "<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"2\" points=\"{}\"/>",
                    line.colour,
                    list.join(" ")
                );
            }
            if line.marks_only || points.len() < 24 {
                for (x, y) in points {
                    let _ = writeln!(
                        svg,
                        "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{}\" fill=\"{}\"/>",
                        if line.marks_only { 5 } else { 3 },
                        line.colour
                    );
                }
            }
        }
        svg.push_str(&legend);
        svg.push_str("</svg>\n");
        Some(svg)
    }

    /// The lines' names below the plot, and in how many rows they stand.
    fn legend(&self) -> (String, usize) {
        let (mut text, mut left, mut row) = (String::new(), LEFT, 0);
        for line in &self.lines {
            let width = 28.0 + line.name.chars().count() as f64 * LETTER;
            if left > LEFT && left + width > WIDTH {
                (left, row) = (LEFT, row + 1);
            }
            let top = HEIGHT + row as f64 * LEGEND_ROW;
            let _ = writeln!(
                text,
                "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"10\" height=\"10\" fill=\"{}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                line.colour,
                left + 15.0,
                top + 9.5,
                escape(&line.name)
            );
            left += width;
        }
        (text, row + 1)
    }

    fn draw_axes(&self, x: &Axis, y: &Axis, svg: &mut String) {
        let bottom = HEIGHT - BOTTOM;
        let words: Vec<(f64, String)> = if self.ticks.is_empty() {
            x.ticks().into_iter().map(|tick| (tick, number(tick))).collect()
        } else {
            self.ticks.iter().map(|(tick, word)| (*tick, (*word).to_string())).collect()
        };
        for (tick, word) in words.iter().filter(|(tick, _)| (x.low..=x.high).contains(tick)) {
            let at = x.at(*tick);
            let _ = writeln!(
                svg,
                "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom}\" class=\"grid\"/>\
                 <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{word}</text>",
                bottom + 16.0
            );
        }
        for tick in y.ticks() {
            let at = y.at(tick);
            let _ = writeln!(
                svg,
                "<line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\" class=\"grid\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                at + 4.0,
                number(tick)
            );
        }
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
             <text transform=\"translate(14 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            (LEFT + WIDTH - RIGHT) / 2.0,
            HEIGHT - 8.0,
            escape(self.x.0),
            (TOP + bottom) / 2.0,
            escape(self.y.0)
        );
    }
}

/// One bar for each name, with its value in words.
pub fn bars(rows: &[(String, f64, &'static str)], unit: &str) -> String {
    const ROW: f64 = 22.0;
    let most = rows.iter().map(|(_, value, _)| *value).fold(0.0, f64::max);
    let height = rows.len() as f64 * ROW + 6.0;
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{unit}\">\n");
    for (nth, (name, value, colour)) in rows.iter().enumerate() {
        let top = nth as f64 * ROW + 4.0;
        let width = if most > 0.0 { value / most * (WIDTH - 300.0) } else { 0.0 };
        let _ = writeln!(
            svg,
            "<text x=\"130\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <rect x=\"138\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"14\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{} {}</text>",
            top + 11.0,
            escape(name),
            144.0 + width,
            top + 11.0,
            number(*value),
            escape(unit)
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// The same plot as a file of its own.
pub fn alone(svg: &str, title: &str) -> String {
    let (head, body) = svg.split_once('>').unwrap_or((svg, ""));
    let open = head.replacen("<svg", "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"960\"", 1);
    format!("{open}>\n<title>{}</title>\n<style>{STYLE}</style>{body}", escape(title))
}

pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_hold_what_is_drawn_on_them() {
        let axis = Axis::of(Scale::Log, [3.0, 0.0, 4000.0].into_iter(), 0.0, 100.0).expect("values");
        assert_eq!(axis.ticks(), [1.0, 10.0, 100.0, 1000.0, 10_000.0]);
        assert!((axis.at(100.0) - 50.0).abs() < 1e-9);
        let axis = Axis::of(Scale::Linear, [0.0, 87_000.0].into_iter(), 0.0, 100.0).expect("values");
        assert_eq!(axis.ticks(), [0.0, 20_000.0, 40_000.0, 60_000.0, 80_000.0]);
        assert!(Axis::of(Scale::Log, [0.0].into_iter(), 0.0, 1.0).is_none());
    }

    #[test]
    fn an_empty_chart_is_none() {
        let mut chart = Chart {
            x: ("s", Scale::Linear),
            y: ("ops", Scale::Linear),
            lines: Vec::new(),
            events: Vec::new(),
            ticks: Vec::new(),
        };
        assert!(chart.svg().is_none());
        let points = vec![(0.0, 1.0), (1.0, 2.0)];
        chart.lines.push(Line { name: "a<b".into(), colour: colour(0), points, marks_only: false });
        let svg = chart.svg().expect("drawn");
        assert!(svg.contains("<polyline") && svg.contains("a&lt;b"), "{svg}");
        let file = alone(&svg, "a & b");
        assert!(file.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""), "{file}");
        assert!(file.contains("<title>a &amp; b</title>") && file.ends_with("</svg>\n"), "{file}");
    }
}
