//! Rows of the table: what was to be measured, the figure, and whether it is good enough. Pure.

use std::fmt;

use serde::Serialize;

use crate::measure::Samples;

/// What a figure has to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// This or less.
    AtMost(f64),
    /// This or more.
    AtLeast(f64),
    /// Anything: it is to be known.
    None,
}

impl Goal {
    fn is_met(self, value: f64) -> Option<bool> {
        match self {
            Self::AtMost(most) => Some(value <= most),
            Self::AtLeast(least) => Some(value >= least),
            Self::None => None,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "≤ {most}"),
            Self::AtLeast(least) => write!(f, "≥ {least}"),
            Self::None => f.write_str("–"),
        }
    }
}

/// A row before it is measured.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    name: &'static str,
    unit: &'static str,
    goal: Goal,
}

/// A row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    name: &'static str,
    /// The figure that is held against the goal.
    value: Option<f64>,
    unit: &'static str,
    p50: Option<f64>,
    p99: Option<f64>,
    /// How many were measured.
    pairs: usize,
    goal: String,
    met: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl Line {
    /// A row of this name.
    pub const fn new(name: &'static str, unit: &'static str, goal: Goal) -> Self {
        Self { name, unit, goal }
    }

    /// Judged by its p50.
    pub fn of(&self, samples: &Samples) -> Row {
        self.judged(samples, samples.percentile(50))
    }

    /// Judged by another figure.
    pub fn judged(&self, samples: &Samples, value: f64) -> Row {
        Row {
            name: self.name,
            value: Some(rounded(value)),
            unit: self.unit,
            p50: Some(rounded(samples.percentile(50))),
            p99: Some(rounded(samples.percentile(99))),
            pairs: samples.count(),
            goal: self.goal.to_string(),
            met: self.goal.is_met(value),
            note: None,
        }
    }

    /// One figure alone.
    pub fn is(&self, value: f64) -> Row {
        self.of(&Samples::from_iter([value]))
    }

    /// Not measured.
    pub fn missing(&self, why: &str) -> Row {
        let (name, unit, goal) = (self.name, self.unit, self.goal.to_string());
        Row { name, value: None, unit, p50: None, p99: None, pairs: 0, goal, met: None, note: Some(why.to_owned()) }
    }
}

impl Row {
    /// With what has to be known to read it.
    pub fn with(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }
}

/// To four digits; whole numbers stay.
fn rounded(value: f64) -> f64 {
    let digits = value.abs().max(1e-6).log10().floor() as i32;
    let factor = 10_f64.powi((3 - digits).max(0));
    (value * factor).round() / factor
}

/// The rows as a table for people; notes stand below it.
pub fn table(rows: &[Row]) -> String {
    let figure = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| value.to_string());
    let head = ["", "value", "p50", "p99", "n", "goal", "met"].map(str::to_owned);
    let cells = |row: &Row| {
        let met = row.met.map_or("–", |met| if met { "yes" } else { "NO" });
        [
            format!("{} ({})", row.name, row.unit),
            figure(row.value),
            figure(row.p50),
            figure(row.p99),
            row.pairs.to_string(),
            row.goal.clone(),
            met.to_owned(),
        ]
    };
    let lines: Vec<[String; 7]> = [head].into_iter().chain(rows.iter().map(cells)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..7).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let padded = line.iter().zip(&widths).enumerate();
        let padded = padded.map(|(column, (cell, &width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        text.push_str(padded.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    for row in rows {
        if let Some(note) = &row.note {
            text.push_str(&format!("\n{}: {note}", row.name));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LINE: Line = Line::new("one resource", "ratio", Goal::AtMost(1.5));

    #[test]
    fn a_row_is_judged_by_its_p50_or_by_what_is_said() {
        let samples: Samples = [1.4, 1.2, 9.0].into_iter().collect();
        let row = LINE.of(&samples).with("warm");
        let expect = json!({
            "name": "one resource", "value": 1.4, "unit": "ratio", "p50": 1.4, "p99": 9.0, "pairs": 3,
            "goal": "≤ 1.5", "met": true, "note": "warm",
        });
        assert_eq!(json!(row), expect);
        let worst = LINE.judged(&samples, samples.max());
        assert_eq!((worst.value, worst.met), (Some(9.0), Some(false)));
        let fast = Line::new("simulation", "schedules/s", Goal::AtLeast(1000.0)).is(1234.5);
        assert_eq!((fast.value, fast.goal.as_str(), fast.met), (Some(1235.0), "≥ 1000", Some(true)));
        let known = Line::new("1,024 MB", "s", Goal::None).is(2.0);
        assert_eq!((known.value, known.goal.as_str(), known.met), (Some(2.0), "–", None));
    }

    #[test]
    fn what_was_not_measured_says_why() {
        let expect = json!({
            "name": "one resource", "value": null, "unit": "ratio", "p50": null, "p99": null, "pairs": 0,
            "goal": "≤ 1.5", "met": null, "note": "there is no AWS provider",
        });
        assert_eq!(json!(LINE.missing("there is no AWS provider")), expect);
    }

    #[test]
    fn figures_have_four_digits() {
        let figures = [0.123_456, 12.345_6, 123_456.7, 0.0, 5.0].map(rounded);
        assert_eq!(figures, [0.1235, 12.35, 123_457.0, 0.0, 5.0]);
    }

    #[test]
    fn a_table_has_its_columns_below_each_other() {
        let rows = [LINE.is(1.0), LINE.missing("none")];
        let expect = concat!(
            "                      value  p50  p99  n   goal  met\n",
            "one resource (ratio)      1    1    1  1  ≤ 1.5  yes\n",
            "one resource (ratio)      –    –    –  0  ≤ 1.5    –\n",
            "\none resource: none",
        );
        assert_eq!(table(&rows), expect);
    }
}
