//! Bars as SVG, with a logarithmic scale across, in groups.

use std::fmt::Write;
use std::fs;
use std::path::Path;

const WIDTH: f64 = 900.0;
const LEFT: f64 = 300.0;
const ROW: f64 = 18.0;
const COLOURS: [&str; 4] = ["#b0413e", "#c9a227", "#1f5fa8", "#3c8d40"];

/// A chart of bars.
pub struct Bars {
    title: String,
    /// By group: its name, and the bars with their names.
    groups: Vec<(String, Vec<(String, f64)>)>,
}

impl Bars {
    /// One without bars.
    pub fn new(title: &str) -> Bars {
        Bars {
            title: title.into(),
            groups: Vec::new(),
        }
    }

    /// Adds a bar to the last group, or to a new one.
    pub fn add(&mut self, group: &str, name: &str, value: f64) {
        if self.groups.last().is_none_or(|(last, _)| last != group) {
            self.groups.push((group.into(), Vec::new()));
        }
        if let Some((_, bars)) = self.groups.last_mut() {
            bars.push((name.into(), value));
        }
    }

    /// Writes the file.
    pub fn write(&self, file: &Path) {
        fs::write(file, self.svg()).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }

    fn svg(&self) -> String {
        let rows: f64 = self
            .groups
            .iter()
            .map(|(_, bars)| bars.iter().map(|_| 1.0).sum::<f64>() + 1.5)
            .sum();
        let height = 60.0 + rows * ROW + 20.0;
        let most = self
            .groups
            .iter()
            .flat_map(|(_, bars)| bars)
            .map(|(_, value)| *value)
            .fold(10.0, f64::max);
        let decades = most.log10().ceil();
        // From a tenth of a host on.
        let x = |value: f64| {
            LEFT + (value.max(0.1).log10() + 1.0) / (decades + 1.0) * (WIDTH - LEFT - 90.0)
        };
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n<text x=\"20\" y=\"22\" font-size=\"15\">{}</text>\n",
            self.title
        );
        let mut decade = 0.0;
        while decade <= decades {
            let at = x(10f64.powf(decade));
            let _ = writeln!(
                svg,
                "<path d=\"M{at:.1} 40V{:.1}\" stroke=\"#ddd\"/><text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                height - 25.0,
                height - 8.0,
                10f64.powf(decade)
            );
            decade += 1.0;
        }
        let mut row = 52.0;
        for (group, bars) in &self.groups {
            let _ = writeln!(
                svg,
                "<text x=\"20\" y=\"{row:.1}\" font-weight=\"bold\">{group}</text>"
            );
            row += ROW;
            for ((name, value), colour) in bars.iter().zip(COLOURS) {
                let end = x(*value);
                let rounded = if *value < 10.0 {
                    format!("{value:.1}")
                } else {
                    format!("{value:.0}")
                };
                let _ = writeln!(
                    svg,
                    "<text x=\"{}\" y=\"{row:.1}\" text-anchor=\"end\">{name}</text><rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" \
                     height=\"13\" fill=\"{colour}\"/><text x=\"{:.1}\" y=\"{row:.1}\">{rounded}</text>",
                    LEFT - 6.0,
                    row - 10.5,
                    end - LEFT,
                    end + 5.0
                );
                row += ROW;
            }
            row += ROW / 2.0;
        }
        svg + "</svg>\n"
    }
}
