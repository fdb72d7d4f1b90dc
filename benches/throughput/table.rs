//! What was measured, as a table or as one JSON document.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

/// One turn: rows per second of the stage, of its limits and of the loop that is usually written.
#[derive(Debug, Clone, Default)]
pub struct Turn {
    pub rows: usize,
    pub rate: f64,
    pub limits: Vec<(&'static str, f64)>,
    pub naive: Option<f64>,
    /// Most memory held while the stage worked.
    pub peak_rss_mib: Option<u64>,
    /// How long the longest message waited that came meanwhile.
    pub stall_ms: Option<u64>,
}

/// A stage and its turns.
pub struct Measured {
    pub stage: &'static str,
    pub turns: Vec<Turn>,
}

impl Turn {
    pub fn one(rows: usize, seconds: f64, limit: &'static str, limit_seconds: f64) -> Turn {
        let rate = |seconds: f64| rows as f64 / seconds;
        Turn { rows, rate: rate(seconds), limits: vec![(limit, rate(limit_seconds))], ..Turn::default() }
    }

    /// Against the slowest limit of the same turn.
    fn ratio(&self) -> f64 {
        self.rate / self.limits.iter().map(|(_, rate)| *rate).fold(f64::INFINITY, f64::min)
    }
}

impl Measured {
    fn rows(&self) -> usize {
        self.turns.iter().map(|turn| turn.rows).sum()
    }

    fn median(&self, of: impl Fn(&Turn) -> Option<f64>) -> Option<f64> {
        let mut all: Vec<f64> = self.turns.iter().filter_map(of).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied()
    }

    fn limits(&self) -> BTreeMap<&'static str, f64> {
        let names = self.turns.first().into_iter().flat_map(|turn| turn.limits.iter().map(|(name, _)| *name));
        let of = |name| move |turn: &Turn| turn.limits.iter().find(|(other, _)| *other == name).map(|(_, rate)| *rate);
        names.map(|name| (name, self.median(of(name)).unwrap_or(0.0))).collect()
    }

    fn stall(&self) -> Option<u64> {
        self.turns.iter().filter_map(|turn| turn.stall_ms).max()
    }

    fn peak(&self) -> Option<u64> {
        self.turns.iter().filter_map(|turn| turn.peak_rss_mib).max()
    }
}

#[derive(Default)]
pub struct Table(Vec<Measured>);

impl Table {
    pub fn add(&mut self, measured: Measured) {
        self.0.push(measured);
    }

    pub fn json(&self) -> Value {
        let stage = |of: &Measured| {
            let value = json!({
                "rows": of.rows(),
                "rows_per_s": of.median(|turn| Some(turn.rate)),
                "limits": of.limits(),
                "ratio": of.median(|turn| Some(turn.ratio())),
                "naive_rows_per_s": of.median(|turn| turn.naive),
                "peak_rss_mib": of.peak(),
                "longest_intake_stall_ms": of.stall(),
                "runs": of.turns.len(),
            });
            (of.stage.to_owned(), value)
        };
        Value::Object(self.0.iter().map(stage).collect())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<10}{:>10}{:>6}{:>10}{:>7}{:>9}  limits",
            "stage", "rows", "runs", "rows/s", "ratio", "rss MiB"
        )?;
        for of in &self.0 {
            let peak = of.peak().map_or_else(String::new, |mib| mib.to_string());
            let median = |of: Option<f64>| of.unwrap_or(0.0);
            let (rate, ratio) = (median(of.median(|turn| Some(turn.rate))), median(of.median(|t| Some(t.ratio()))));
            write!(f, "{:<10}{:>10}{:>6}{rate:>10.0}{ratio:>7.2}{peak:>9}  ", of.stage, of.rows(), of.turns.len())?;
            let limits: Vec<String> = of.limits().iter().map(|(name, rate)| format!("{name} {rate:.0}")).collect();
            write!(f, "{}", limits.join("; "))?;
            if let Some(naive) = of.median(|turn| turn.naive) {
                write!(f, "; one by one {naive:.0} ({:.0} times slower)", rate / naive)?;
            }
            if let Some(stall_ms) = of.stall() {
                write!(f, "; intake stood still for {stall_ms} ms at most")?;
            }
            writeln!(f)?;
            for turn in of.turns.iter().filter(|_| of.turns.len() > 1) {
                let limits: Vec<String> = turn.limits.iter().map(|(_, rate)| format!("{rate:.0}")).collect();
                writeln!(f, "{:<26}{:>10.0}{:>7.2}{:>9}  {}", "", turn.rate, turn.ratio(), "", limits.join("; "))?;
            }
        }
        Ok(())
    }
}

/// From here on the peak is counted anew.
pub fn forget_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// `VmHWM` of /proc/self/status, where there is such a thing.
pub fn peak_rss_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? / 1024)
}
