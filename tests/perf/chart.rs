//! Line charts as SVG, with time across.

use std::fmt::Write;
use std::fs;
use std::path::Path;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 340.0;
/// Left, top, right, bottom.
const MARGIN: [f64; 4] = [70.0, 40.0, 20.0, 50.0];
const COLOURS: [&str; 3] = ["#b0413e", "#1f5fa8", "#3c8d40"];

/// A chart.
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// What the hours or days across are.
    pub across: String,
    /// What goes up.
    pub up: String,
    /// The hour or day of the first point.
    pub start: f64,
    /// What is drawn.
    pub lines: Vec<Line>,
}

/// A line of a chart.
pub struct Line {
    /// What it is.
    pub name: String,
    /// A value a minute; or, where days are counted across, for every sixtieth of a day.
    pub points: Vec<f64>,
}

impl Chart {
    /// Writes the file.
    pub fn write(&self, file: &Path) {
        fs::write(file, self.svg()).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }

    fn svg(&self) -> String {
        let most = self
            .lines
            .iter()
            .flat_map(|line| &line.points)
            .copied()
            .fold(0.0, f64::max);
        let step = step(most);
        let top = (most / step).ceil() * step;
        let count = self
            .lines
            .iter()
            .map(|line| line.points.len())
            .max()
            .unwrap_or(1) as f64;
        let x = |minute: f64| MARGIN[0] + minute / count * (WIDTH - MARGIN[0] - MARGIN[2]);
        let y = |value: f64| HEIGHT - MARGIN[3] - value / top * (HEIGHT - MARGIN[1] - MARGIN[3]);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n<text x=\"{}\" y=\"22\" font-size=\"15\">{}</text>\n",
            MARGIN[0], self.title
        );
        let mut value = 0.0;
        while value <= top {
            let height = y(value);
            let _ = writeln!(
                svg,
                "<path d=\"M{} {height:.1}H{}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>",
                MARGIN[0],
                WIDTH - MARGIN[2],
                MARGIN[0] - 6.0,
                height + 4.0
            );
            value += step;
        }
        let hours = if count > 12.0 * 60.0 { 2.0 } else { 1.0 };
        let mut hour = 0.0;
        while hour * 60.0 <= count {
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                x(hour * 60.0),
                HEIGHT - MARGIN[3] + 18.0,
                (self.start + hour) % 24.0
            );
            hour += hours;
        }
        let middle = f64::midpoint(MARGIN[1], HEIGHT - MARGIN[3]);
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n<text transform=\"translate(16 {middle}) rotate(-90)\" \
             text-anchor=\"middle\">{}</text>\n",
            WIDTH / 2.0,
            HEIGHT - 12.0,
            self.across,
            self.up
        );
        for (index, (line, colour)) in self.lines.iter().zip(COLOURS).enumerate() {
            let path: Vec<String> = line
                .points
                .iter()
                .enumerate()
                .map(|(minute, value)| format!("{:.1} {:.1}", x(minute as f64), y(*value)))
                .collect();
            let row = MARGIN[1] + 16.0 * index as f64 + 8.0;
            let _ = write!(
                svg,
                "<path d=\"M{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>\n\
                 <path d=\"M{} {row}h24\" stroke=\"{colour}\" stroke-width=\"3\"/><text x=\"{}\" y=\"{}\">{}</text>\n",
                path.join("L"),
                WIDTH / 3.0,
                WIDTH / 3.0 + 30.0,
                row + 4.0,
                line.name
            );
        }
        svg + "</svg>\n"
    }
}

/// A round number of which five or so make `most`.
fn step(most: f64) -> f64 {
    let rough = (most / 5.0).max(1e-9);
    let power = 10f64.powf(rough.log10().floor());
    power
        * [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .find(|round| round * power >= rough)
            .unwrap_or(10.0)
}
