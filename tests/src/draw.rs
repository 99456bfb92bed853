//! A dashboard as a picture, for people who want to see what they get; bars that compare, in [`pairs`].
//! **Owns:** layout after Grafana's grid, lines, numbers, tables, as SVG. **Never:** asks for data.

pub mod pairs;

use std::collections::BTreeMap;

use anyhow::Result;
use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::{
    dashboards::{Dashboard, Panel},
    prometheus::Series,
};

/// A column of the grid, and a unit of height, in pixels.
const UNIT: [u32; 2] = [50, 30];
const COLUMNS: u32 = 24;
const BACKGROUND: RGBColor = RGBColor(244, 245, 245);
const BORDER: RGBColor = RGBColor(220, 222, 226);
const INK: RGBColor = RGBColor(36, 41, 46);
const FAINT: RGBColor = RGBColor(120, 126, 134);
/// Colours of lines, in turn.
const LINES: [RGBColor; 8] = [
    RGBColor(86, 166, 75),
    RGBColor(50, 116, 217),
    RGBColor(224, 180, 0),
    RGBColor(224, 47, 68),
    RGBColor(143, 59, 184),
    RGBColor(255, 120, 10),
    RGBColor(0, 150, 160),
    RGBColor(130, 130, 130),
];

type Area<'s> = DrawingArea<SVGBackend<'s>, Shift>;

/// Draws a dashboard. `data` has an entry for each panel, and in it one for each of its queries.
///
/// # Errors
/// None that a string would give.
pub fn dashboard(dashboard: &Dashboard, data: &[Vec<Vec<Series>>]) -> Result<String> {
    let lines = dashboard.panels.iter().map(|panel| panel.place[1] + panel.place[3]).max().unwrap_or(1);
    let mut svg = String::new();
    {
        let size = (COLUMNS * UNIT[0], lines * UNIT[1] + 40);
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&BACKGROUND)?;
        text(&root, &dashboard.title, (14, 22), 20.0, INK, HPos::Left)?;
        for (panel, data) in dashboard.panels.iter().zip(data) {
            let [x, y, width, height] = panel.place;
            let corner = (x * UNIT[0] + 3, y * UNIT[1] + 43);
            let area = root.clone().shrink(corner, (width * UNIT[0] - 6, height * UNIT[1] - 6));
            draw(&area, panel, data)?;
        }
        root.present()?;
    }
    Ok(svg)
}

fn draw(area: &Area<'_>, panel: &Panel, data: &[Vec<Series>]) -> Result<()> {
    let (width, height) = area.dim_in_pixel();
    if panel.kind == "row" {
        return text(area, &panel.title, (10, pixels(height) / 2), 15.0, INK, HPos::Left);
    }
    let frame = |style: ShapeStyle| Rectangle::new([(0, 0), (pixels(width) - 1, pixels(height) - 1)], style);
    area.draw(&frame(WHITE.filled()))?;
    area.draw(&frame(BORDER.stroke_width(1)))?;
    text(area, &panel.title, (10, 14), 13.0, INK, HPos::Left)?;
    let inner = area.clone().shrink((8, 28), (width.saturating_sub(16), height.saturating_sub(34)));
    match panel.kind.as_str() {
        "stat" => stat(&inner, panel, data),
        "timeseries" => lines(&inner, panel, data),
        "bargauge" => bars(&inner, panel, data),
        "table" => table(&inner, panel, data),
        _ => text(&inner, "(words)", (10, 12), 12.0, FAINT, HPos::Left),
    }
}

/// One number, in the colour of its threshold.
fn stat(area: &Area<'_>, panel: &Panel, data: &[Vec<Series>]) -> Result<()> {
    let value = data.iter().flatten().find_map(last);
    let shown = value.map_or_else(|| "–".to_owned(), |value| format(value, &panel.unit));
    let (width, height) = area.dim_in_pixel();
    let at = (pixels(width) / 2, pixels(height) / 2);
    text(area, &shown, at, 28.0, colour(panel, value.unwrap_or(f64::NAN)), HPos::Center)
}

/// Lines over time, or areas on top of each other, with a legend below.
fn lines(area: &Area<'_>, panel: &Panel, data: &[Vec<Series>]) -> Result<()> {
    let mut all: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
    for ((_, legend), found) in panel.targets.iter().zip(data) {
        for series in found {
            let points: Vec<_> =
                series.points.iter().copied().filter(|(_, value)| value.is_finite()).collect();
            if !points.is_empty() {
                all.push((named(legend, series), points));
            }
        }
    }
    // Of many, those that say nothing would take the legend's place.
    let says = |(_, points): &(String, Vec<(f64, f64)>)| points.iter().any(|(_, value)| *value != 0.0);
    if all.len() > 4 && all.iter().any(says) {
        all.retain(says);
    }
    all.truncate(LINES.len() * 2);
    if panel.is_stacked {
        stack(&mut all);
    }
    let points = || all.iter().flat_map(|(_, points)| points);
    let start = points().map(|(at, _)| *at).fold(f64::INFINITY, f64::min);
    let end = points().map(|(at, _)| *at).fold(start + 1.0, f64::max);
    let top = points().map(|(_, value)| *value).fold(0.0, f64::max);
    let bottom = points().map(|(_, value)| *value).fold(0.0, f64::min);
    let (width, height) = area.dim_in_pixel();
    if !start.is_finite() {
        return text(area, "no data", (pixels(width) / 2, pixels(height) / 2), 12.0, FAINT, HPos::Center);
    }
    let (graph, legend) = area.split_vertically(height.saturating_sub(22));
    let top = if top > bottom { top * 1.1 } else { bottom + 1.0 };
    let mut chart = ChartBuilder::on(&graph)
        .x_label_area_size(20)
        .y_label_area_size(54)
        .build_cartesian_2d(0.0..end - start, bottom..top)?;
    let clock = |seconds: &f64| format!("{}:{:02}", *seconds as u64 / 60, *seconds as u64 % 60);
    let value = |value: &f64| format(*value, &panel.unit);
    let font = ("sans-serif", 10).into_font().color(&FAINT);
    let mut mesh = chart.configure_mesh();
    mesh.x_labels(6).y_labels(5).x_label_formatter(&clock).y_label_formatter(&value);
    mesh.label_style(font).axis_style(BORDER).bold_line_style(BORDER.mix(0.6)).light_line_style(TRANSPARENT);
    mesh.draw()?;
    for (number, (_, points)) in all.iter().enumerate() {
        let line = LINES[number % LINES.len()];
        let points = points.iter().map(|(at, value)| (at - start, *value));
        if panel.is_stacked {
            // Opaque: the next one is drawn over its lower part.
            chart.draw_series(AreaSeries::new(points, 0.0, lighter(line)).border_style(line))?;
        } else {
            chart.draw_series(LineSeries::new(points, line.stroke_width(2)))?;
        }
    }
    let mut x = 8;
    for (number, (name, _)) in all.iter().enumerate() {
        let wide = 24 + i32::try_from(name.chars().count() * 6).unwrap_or(0);
        if x + wide > pixels(width) {
            break;
        }
        let line = LINES[number % LINES.len()];
        legend.draw(&Rectangle::new([(x, 9), (x + 10, 13)], line.filled()))?;
        text(&legend, name, (x + 14, 11), 11.0, INK, HPos::Left)?;
        x += wide;
    }
    Ok(())
}

/// Each on top of those behind it, so that the first is drawn first and is the highest.
fn stack(all: &mut [(String, Vec<(f64, f64)>)]) {
    let mut sums: BTreeMap<u64, f64> = BTreeMap::new();
    for (_, points) in all.iter_mut().rev() {
        for (at, value) in points {
            let sum = sums.entry(at.to_bits()).or_default();
            *sum += *value;
            *value = *sum;
        }
    }
}

/// A bar for each series.
fn bars(area: &Area<'_>, panel: &Panel, data: &[Vec<Series>]) -> Result<()> {
    let mut all: Vec<(String, f64)> = Vec::new();
    for ((_, legend), found) in panel.targets.iter().zip(data) {
        all.extend(found.iter().filter_map(|series| Some((named(legend, series), last(series)?))));
    }
    let most = all.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
    let (width, height) = area.dim_in_pixel();
    let room = i32::try_from(all.len()).unwrap_or(1).max(1);
    let step = (pixels(height) / room).clamp(14, 34);
    for (number, (name, value)) in all.iter().enumerate() {
        let y = i32::try_from(number).unwrap_or(0) * step;
        let long = (value / most).clamp(0.0, 1.0) * f64::from(width) * 0.45;
        let x = pixels(width) / 3;
        text(area, name, (x - 6, y + step / 2), 11.0, INK, HPos::Right)?;
        let bar = [(x, y + 2), (x + long as i32, y + step - 3)];
        area.draw(&Rectangle::new(bar, colour(panel, *value).mix(0.7).filled()))?;
        let shown = format(*value, &panel.unit);
        text(area, &shown, (x + long as i32 + 6, y + step / 2), 11.0, INK, HPos::Left)?;
    }
    Ok(())
}

/// A line for each set of labels, a column for each label and each query.
fn table(area: &Area<'_>, panel: &Panel, data: &[Vec<Series>]) -> Result<()> {
    let mut rows: BTreeMap<String, (Vec<String>, Vec<Option<f64>>)> = BTreeMap::new();
    let mut heads = Vec::new();
    for (number, found) in data.iter().enumerate() {
        for series in found {
            let labels = series.labels.iter().filter(|(name, _)| *name != "__name__");
            let labels: Vec<_> = labels.collect();
            heads = labels.iter().map(|(name, _)| (*name).clone()).collect();
            let values: Vec<_> =
                labels.iter().map(|(_, value)| value.as_str().unwrap_or_default().to_owned()).collect();
            let row = rows.entry(values.join("\u{1f}")).or_insert((values, vec![None; data.len()]));
            row.1[number] = last(series);
        }
    }
    let shown = |name: &str| {
        panel
            .columns
            .iter()
            .find(|(of, _)| of == name)
            .map_or_else(|| name.to_owned(), |(_, shown)| shown.clone())
    };
    let letters = ('A'..='Z').take(data.len());
    let of_values = letters.map(|letter| {
        let name = if data.len() == 1 { "Value".to_owned() } else { format!("Value #{letter}") };
        shown(&name)
    });
    let heads: Vec<String> = heads.iter().map(|name| shown(name)).chain(of_values).collect();
    let (width, height) = area.dim_in_pixel();
    let column = pixels(width) / i32::try_from(heads.len()).unwrap_or(1).max(1);
    let x = |number: usize| 4 + i32::try_from(number).unwrap_or(0) * column;
    for (number, head) in heads.iter().enumerate() {
        text(area, head, (x(number), 8), 11.0, FAINT, HPos::Left)?;
    }
    for (line, (labels, values)) in rows.values().enumerate() {
        let y = 28 + i32::try_from(line).unwrap_or(0) * 18;
        if y > pixels(height) - 6 {
            break;
        }
        let of_column = |head: &String| {
            panel.units.iter().find(|(of, _)| of == head).map_or(&panel.unit, |(_, unit)| unit).clone()
        };
        let units = heads.iter().skip(labels.len()).map(of_column);
        let values = values.iter().zip(units);
        let values =
            values.map(|(value, unit)| value.map_or_else(|| "–".to_owned(), |value| format(value, &unit)));
        for (number, cell) in labels.iter().cloned().chain(values).enumerate() {
            text(area, &cell, (x(number), y), 11.0, INK, HPos::Left)?;
        }
    }
    Ok(())
}

fn text(area: &Area<'_>, words: &str, at: (i32, i32), size: f64, ink: RGBColor, side: HPos) -> Result<()> {
    let style = ("sans-serif", size).into_font().color(&ink).pos(Pos::new(side, VPos::Center));
    Ok(area.draw(&Text::new(words.to_owned(), at, style))?)
}

fn last(series: &Series) -> Option<f64> {
    series.points.last().map(|(_, value)| *value).filter(|value| !value.is_nan())
}

/// A legend with its labels' values.
fn named(legend: &str, series: &Series) -> String {
    let name = series.labels.iter().fold(legend.to_owned(), |text, (label, value)| {
        text.replace(&format!("{{{{{label}}}}}"), value.as_str().unwrap_or_default())
    });
    // An empty class is all of them.
    if name.is_empty() { "all".to_owned() } else { name }
}

fn colour(panel: &Panel, value: f64) -> RGBColor {
    let step = panel.steps.iter().rev().find(|(from, _)| value >= *from);
    match step.map_or("", |(_, colour)| colour.as_str()) {
        "green" => LINES[0],
        "blue" => LINES[1],
        "yellow" => LINES[2],
        "red" => LINES[3],
        "orange" => LINES[5],
        _ => FAINT,
    }
}

/// A value as Grafana writes it, about.
fn format(value: f64, unit: &str) -> String {
    let short = |value: f64| match value.abs() {
        size if size >= 1e6 => format!("{:.1} M", value / 1e6),
        size if size >= 1e4 => format!("{:.1} k", value / 1e3),
        size if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    };
    match unit {
        "percentunit" => format!("{} %", short((value * 1000.0).round() / 10.0)),
        "s" => match value.abs() {
            0.0 => "0 s".to_owned(),
            size if size < 1e-3 => format!("{:.0} µs", value * 1e6),
            size if size < 1.0 => format!("{:.1} ms", value * 1e3),
            size if size < 120.0 => format!("{} s", short(value)),
            size if size < 7200.0 => format!("{} min", short(value / 60.0)),
            size if size < 172_800.0 => format!("{} h", short(value / 3600.0)),
            size if size < 63_115_200.0 => format!("{} d", short(value / 86_400.0)),
            _ => format!("{} years", short(value / 31_557_600.0)),
        },
        "bytes" => match value {
            size if size >= 1024.0 * 1024.0 => format!("{:.1} MiB", value / 1024.0 / 1024.0),
            size if size >= 1024.0 => format!("{:.1} KiB", value / 1024.0),
            _ => format!("{value:.0} B"),
        },
        "mps" => format!("{}/s", short(value)),
        _ => match unit.strip_prefix("suffix:") {
            Some(suffix) => format!("{}{suffix}", short(value)),
            None => short(value),
        },
    }
}

fn lighter(colour: RGBColor) -> RGBColor {
    let mix = |part: u8| 255 - (255 - part) / 2;
    RGBColor(mix(colour.0), mix(colour.1), mix(colour.2))
}

fn pixels(size: u32) -> i32 {
    i32::try_from(size).unwrap_or(i32::MAX)
}
