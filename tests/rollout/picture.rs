//! Draws the dashboard as SVG: its panels, with the results of their queries from Prometheus.

use serde_json::Value;
use std::fmt::Write;

/// Width and height of a cell of Grafana's grid, which has 24 columns.
const CELL: [u64; 2] = [42, 22];
const COLOURS: [&str; 6] = [
    "#3c8d40", "#1f5fa8", "#b0413e", "#c9a227", "#7a4fa3", "#5f6a72",
];

/// Runs a query: at the end of the displayed time range, or over the whole range.
pub type Ask<'a> = &'a dyn Fn(&str, bool) -> Vec<Value>;

/// Draws the dashboard for the time range that starts at `start` and lasts `seconds`.
pub fn draw(dashboard: &Value, start: f64, seconds: f64, ask: Ask) -> String {
    let panels = dashboard["panels"].as_array().unwrap();
    let place = |panel: &Value, key: &str| panel["gridPos"][key].as_u64().unwrap();
    let rows = panels
        .iter()
        .map(|panel| place(panel, "y") + place(panel, "h"));
    let (width, height) = (24 * CELL[0], rows.max().unwrap() * CELL[1]);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#eee\"/>\n"
    );
    for panel in panels {
        let [x, w] = ["x", "w"].map(|key| place(panel, key) * CELL[0]);
        let [y, h] = ["y", "h"].map(|key| place(panel, key) * CELL[1]);
        let _ = write!(
            svg,
            "<svg x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\"><rect x=\"2\" y=\"2\" width=\"{}\" height=\"{}\" fill=\"white\"/>",
            w - 4,
            h - 4
        );
        text(&mut svg, [10, 18], "font-weight=\"bold\"", &panel["title"]);
        let over_time = panel["type"] == "timeseries";
        let results: Vec<(String, Value)> = panel["targets"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|target| {
                let results = ask(target["expr"].as_str().unwrap(), over_time);
                results
                    .into_iter()
                    .map(|result| (legend(target, &result), result))
            })
            .collect();
        let size = [w, h];
        match panel["type"].as_str().unwrap() {
            "timeseries" => lines(&mut svg, size, &results, start, seconds),
            "table" => table(&mut svg, panel, size, &results),
            "bargauge" => bars(&mut svg, size, &results),
            _ => number(&mut svg, panel, size, &results),
        }
        svg += "</svg>\n";
    }
    svg + "</svg>\n"
}

/// The legend of a result.
fn legend(target: &Value, result: &Value) -> String {
    let mut name = target["legendFormat"]
        .as_str()
        .unwrap_or_default()
        .to_string();
    for (label, value) in result["metric"].as_object().unwrap() {
        name = name.replace(&format!("{{{{{label}}}}}"), value.as_str().unwrap());
    }
    name
}

fn value(sample: &Value) -> f64 {
    sample[1].as_str().unwrap().parse().unwrap()
}

fn number(svg: &mut String, panel: &Value, [w, h]: [u64; 2], results: &[(String, Value)]) {
    let (name, result) = &results[0];
    let unit = panel["fieldConfig"]["defaults"]["unit"].as_str();
    let number = value(&result["value"]);
    let shown = match unit {
        Some("percentunit") => format!("{:.0} %", number * 100.0),
        Some(_) => format!("{number} %"),
        None => number.to_string(),
    };
    let steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        .as_array()
        .unwrap();
    let is_bad = steps
        .get(1)
        .is_some_and(|step| number >= step["value"].as_f64().unwrap());
    let colour = COLOURS[if is_bad { 2 } else { 0 }];
    let style = format!("text-anchor=\"middle\" font-size=\"30\" fill=\"{colour}\"");
    text(svg, [w / 2, h / 2 + 14], &style, &shown.into());
    text(
        svg,
        [w / 2, h - 10],
        "text-anchor=\"middle\"",
        &name.as_str().into(),
    );
}

/// Draws step lines. A line ends where its series ends.
fn lines(
    svg: &mut String,
    [w, h]: [u64; 2],
    results: &[(String, Value)],
    start: f64,
    seconds: f64,
) {
    let samples = |result: &Value| -> Vec<(f64, f64)> {
        let samples = result["values"].as_array().unwrap().iter();
        samples
            .map(|sample| (sample[0].as_f64().unwrap() - start, value(sample)))
            .collect()
    };
    let all: Vec<_> = results.iter().map(|(_, result)| samples(result)).collect();
    let most = all
        .iter()
        .flatten()
        .map(|(_, value)| *value)
        .fold(1.0, f64::max);
    let (left, top, bottom) = (34.0, 28.0, h as f64 - 44.0);
    let x = |time: f64| (left + time / seconds * (w as f64 - left - 20.0)).round();
    let y = |value: f64| (bottom - value / most * (bottom - top)).round();
    for part in [0.0, 0.5, 1.0] {
        let (value, at) = (most * part, y(most * part));
        let _ = write!(svg, "<path d=\"M{left} {at}H{}\" stroke=\"#ddd\"/>", w - 20);
        text(
            svg,
            [30, at as u64 + 4],
            "text-anchor=\"end\"",
            &value.to_string().into(),
        );
    }
    for part in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let time = (seconds * part) as u64;
        let shown = format!("{}:{:02}", time / 60, time % 60);
        text(
            svg,
            [x(seconds * part) as u64, h - 30],
            "text-anchor=\"middle\" fill=\"#555\"",
            &shown.into(),
        );
    }
    let mut at = 34;
    for (index, ((name, _), samples)) in results.iter().zip(&all).enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let Some(((time, first), rest)) = samples.split_first() else {
            continue;
        };
        let (mut path, mut last) = (format!("M{} {}", x(*time), y(*first)), *first);
        for (time, value) in rest {
            if *value != last {
                let _ = write!(path, "H{}V{}", x(*time), y(*value));
                last = *value;
            }
        }
        let end = samples[samples.len() - 1].0;
        let _ = write!(
            svg,
            "<path d=\"{path}H{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/><path d=\"M{at} {}h14\" stroke=\"{colour}\" stroke-width=\"4\"/>",
            x(end),
            h - 14
        );
        text(svg, [at + 18, h - 10], "", &name.as_str().into());
        at += 36 + 6 * name.len() as u64;
    }
}

fn table(svg: &mut String, panel: &Value, [w, h]: [u64; 2], results: &[(String, Value)]) {
    let options = &panel["transformations"][0]["options"];
    let hidden = |name: &str| options["excludeByName"][name] == true;
    let mut columns: Vec<(&str, u64)> = Vec::new();
    for (_, result) in results {
        for name in result["metric"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .chain(["Value"])
        {
            if !hidden(name) && columns.iter().all(|(have, _)| *have != name) {
                columns.push((name, options["indexByName"][name].as_u64().unwrap_or(99)));
            }
        }
    }
    columns.sort_by_key(|(_, place)| *place);
    let unit = &panel["fieldConfig"]["overrides"][0]["properties"];
    let title = |name| match unit[1]["value"].as_str() {
        Some(title) if name == "Value" => title,
        _ => name,
    };
    // The last column, with the reasons, gets the remaining width.
    let column = if w > 600 { 120 } else { 150 };
    for (index, (name, _)) in columns.iter().enumerate() {
        text(
            svg,
            [10 + column * index as u64, 38],
            "fill=\"#555\"",
            &title(*name).into(),
        );
    }
    for (row, (_, result)) in (1..(h - 50) / 18).zip(results) {
        for (index, (name, _)) in columns.iter().enumerate() {
            let number = value(&result["value"]);
            let shown = match *name {
                "Value" if unit[0]["value"] == "dateTimeAsIso" => {
                    let time = chrono::DateTime::from_timestamp_millis(number as i64).unwrap();
                    time.format("%H:%M:%S").to_string()
                }
                "Value" => number.to_string(),
                label => result["metric"][label].as_str().unwrap_or_default().into(),
            };
            text(
                svg,
                [10 + column * index as u64, 38 + 18 * row],
                "",
                &shown.into(),
            );
        }
    }
    if results.is_empty() {
        text(
            svg,
            [w / 2, h / 2],
            "text-anchor=\"middle\" fill=\"#555\"",
            &"No data".into(),
        );
    }
}

fn bars(svg: &mut String, [w, h]: [u64; 2], results: &[(String, Value)]) {
    let most = results
        .iter()
        .map(|(_, result)| value(&result["value"]))
        .fold(1.0, f64::max);
    let step = (h - 34) / results.len() as u64;
    for (index, (name, result)) in results.iter().enumerate() {
        let (number, y) = (value(&result["value"]), 30 + step * index as u64);
        let width = number / most * (w as f64 - 90.0);
        let _ = write!(
            svg,
            "<rect x=\"44\" y=\"{y}\" width=\"{width:.0}\" height=\"{}\" fill=\"{}\"/>",
            step - 8,
            COLOURS[1]
        );
        text(svg, [10, y + step / 2], "", &name.as_str().into());
        text(
            svg,
            [50 + width as u64, y + step / 2],
            "",
            &number.to_string().into(),
        );
    }
}

fn text(svg: &mut String, [x, y]: [u64; 2], style: &str, text: &Value) {
    let text = text
        .as_str()
        .unwrap()
        .replace('&', "&amp;")
        .replace('<', "&lt;");
    if !text.is_empty() {
        let _ = write!(svg, "<text x=\"{x}\" y=\"{y}\" {style}>{text}</text>");
    }
}
