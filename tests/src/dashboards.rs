//! The chart's dashboards, as far as they are looked at here.
//! **Owns:** panels, queries and their variables. **Never:** Grafana's whole model.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// One dashboard.
#[derive(Debug, Clone)]
pub struct Dashboard {
    /// The name of its file.
    pub name: String,
    /// What people read on top.
    pub title: String,
    /// Its panels, as they stand.
    pub panels: Vec<Panel>,
}

/// One panel.
#[derive(Debug, Clone)]
pub struct Panel {
    /// What people read above it.
    pub title: String,
    /// `stat`, `timeseries`, `bargauge`, `table`, `text`, `row`.
    pub kind: String,
    /// Left, top, width, height, in Grafana's units: 24 a line.
    pub place: [u32; 4],
    /// Grafana's name of the unit.
    pub unit: String,
    /// Colours from a value on.
    pub steps: Vec<(f64, String)>,
    /// Whether lines are stacked.
    pub is_stacked: bool,
    /// What it asks: query, legend.
    pub targets: Vec<(String, String)>,
    /// A table's columns: the name in Grafana, what people read.
    pub columns: Vec<(String, String)>,
    /// Units of columns, by what people read.
    pub units: Vec<(String, String)>,
}

/// What Grafana puts in the place of variables.
#[derive(Debug, Clone)]
pub struct Variables<'s> {
    /// `$namespace`
    pub namespace: &'s str,
    /// `$relay`
    pub relay: &'s str,
    /// `$__rate_interval`
    pub rate: &'s str,
    /// `$__range`
    pub range: &'s str,
}

impl Variables<'_> {
    /// A query as it is asked.
    pub fn fill(&self, query: &str) -> String {
        let pairs = [
            ("$__rate_interval", self.rate),
            ("$__range", self.range),
            ("$namespace", self.namespace),
            ("$relay", self.relay),
            ("$rule", ".*"),
        ];
        pairs.iter().fold(query.to_owned(), |text, (name, value)| text.replace(name, value))
    }
}

/// All dashboards of the chart.
///
/// # Errors
/// One can't be read.
pub fn all(chart: &Path) -> Result<Vec<Dashboard>> {
    let mut files: Vec<_> = std::fs::read_dir(chart.join("dashboards"))?.collect::<Result<_, _>>()?;
    files.sort_by_key(std::fs::DirEntry::file_name);
    files.iter().map(|file| dashboard(&file.path())).collect()
}

fn dashboard(path: &Path) -> Result<Dashboard> {
    let whole: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let panels = whole["panels"].as_array().context("panels")?;
    Ok(Dashboard {
        name: path.file_stem().context("a file")?.to_string_lossy().into_owned(),
        title: text(&whole["title"]),
        panels: panels.iter().map(panel).collect(),
    })
}

fn panel(panel: &Value) -> Panel {
    let (place, defaults) = (&panel["gridPos"], &panel["fieldConfig"]["defaults"]);
    let number = |name: &str| place[name].as_u64().and_then(|number| u32::try_from(number).ok()).unwrap_or(0);
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let steps = list(&defaults["thresholds"]["steps"]);
    let renamed = list(&panel["transformations"]);
    let renamed = renamed.iter().find_map(|one| one["options"]["renameByName"].as_object().cloned());
    let overrides = list(&panel["fieldConfig"]["overrides"]);
    let unit = |one: &Value| {
        let properties = list(&one["properties"]);
        let unit = properties.iter().find(|property| property["id"] == "unit")?;
        Some((text(&one["matcher"]["options"]), text(&unit["value"])))
    };
    Panel {
        title: text(&panel["title"]),
        kind: text(&panel["type"]),
        place: ["x", "y", "w", "h"].map(number),
        unit: text(&defaults["unit"]),
        steps: steps
            .iter()
            .map(|step| (step["value"].as_f64().unwrap_or(f64::MIN), text(&step["color"])))
            .collect(),
        is_stacked: defaults["custom"]["stacking"]["mode"] == "normal",
        targets: list(&panel["targets"])
            .iter()
            .map(|target| (text(&target["expr"]), text(&target["legendFormat"])))
            .collect(),
        units: overrides.iter().filter_map(unit).collect(),
        columns: renamed.into_iter().flatten().map(|(name, shown)| (name, text(&shown))).collect(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
