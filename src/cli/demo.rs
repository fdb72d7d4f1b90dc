//! `pikou demo`: sets the stage in a database and folder of its own, and shows the account.

use std::collections::BTreeMap;

use indicatif::ProgressBar;
use serde::Serialize;

use super::account::{AccountReport, print_account, print_equations};
use super::print::grouped;
use super::{Failure, print};
use crate::app::App;
use crate::clock::Clock;
use crate::config::{EMBEDDED, Settings};
use crate::demo::day::{self, Day};

/// More would need more than seven digits in made-up numbers, and more than a coffee break.
const PAYERS_MAX: u32 = 5_000_000;

#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// How many payers
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=i64::from(PAYERS_MAX)))]
    payers: u32,
    /// The same seed makes the same day
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Serialize)]
struct StageReport {
    rows: u64,
    seconds: f64,
}

#[derive(Serialize)]
struct DemoReport<'d> {
    #[serde(flatten)]
    account: AccountReport,
    payers: u32,
    seed: u64,
    carrier: &'static str,
    stages: BTreeMap<&'static str, StageReport>,
    files: Vec<String>,
    folder: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_peak_mib: &'d Option<u64>,
}

pub async fn demo(mut settings: Settings, args: DemoArgs, json: bool) -> Result<(), Failure> {
    // A folder of its own each time: nothing of an installation is touched, and nothing of an earlier demo.
    let stamp = Clock::System.now().format("%Y%m%d-%H%M%S");
    let folder = settings.data_folder.join(format!("demo-{stamp}-{}", std::process::id()));
    settings.keys_file = folder.join("keys.toml");
    settings.data_folder = folder.clone();
    // Likewise at the broker: real messages stay in their queue.
    settings.broker.exchange_in = format!("pikou.demo.{stamp}.in");
    settings.broker.queue_in = format!("pikou.demo.{stamp}.inbox");
    settings.broker.exchange_events = format!("pikou.demo.{stamp}.events");
    let given_database = settings.database.url != EMBEDDED;

    let app = App::open(settings, Clock::Fixed(day::morning())).await?;
    let lived = live(&app, &args, given_database).await;
    let closed = app.close().await;
    let day = lived?;
    closed?;

    let report = DemoReport {
        account: AccountReport::new(&day.account, day.equations.clone()),
        payers: args.payers,
        seed: args.seed,
        carrier: day.carrier,
        stages: day
            .stages
            .iter()
            .map(|stage| (stage.name, StageReport { rows: stage.rows, seconds: stage.seconds }))
            .collect(),
        files: day.files.iter().map(|path| path.display().to_string()).collect(),
        folder: folder.display().to_string(),
        memory_peak_mib: &day.memory_peak_mib,
    };
    if json {
        print::document(&report);
    } else {
        print_day(&day, &args, &report.folder);
    }
    if report.account.balanced { Ok(()) } else { Err(Failure::Bad) }
}

async fn live(app: &App, args: &DemoArgs, given_database: bool) -> Result<Day, Failure> {
    if given_database {
        let used: bool = crate::store::runs::is_used(&mut *app.ctx.pool.acquire().await.map_err(anyhow::Error::from)?)
            .await
            .map_err(anyhow::Error::from)?;
        if used {
            return Err(Failure::Usage(
                "the database at database.url is in use; the demo wants an empty one, or \"embedded\"".into(),
            ));
        }
    }
    let mut bars: BTreeMap<&'static str, ProgressBar> = BTreeMap::new();
    let mut current = "";
    let day = day::live(&app.ctx, args.payers, args.seed, &mut |stage, expected, more| {
        if stage != current {
            if let Some(bar) = bars.get(current) {
                bar.finish();
            }
            current = stage;
        }
        bars.entry(stage).or_insert_with(|| print::bar(stage, expected)).inc(more);
    })
    .await?;
    bars.values().for_each(ProgressBar::finish);
    Ok(day)
}

fn print_day(day: &Day, args: &DemoArgs, folder: &str) {
    println!(
        "\nA day in the life of {} payers (seed {}), by {}: 15 April 2026\n",
        grouped(i64::from(args.payers)),
        args.seed,
        day.carrier
    );
    print_account(&day.account);
    println!("\nStage                             rows    seconds        rows/s");
    for stage in &day.stages {
        let rate = stage.rows as f64 / stage.seconds.max(0.000_001);
        println!(
            "  {:<24}{:>12}{:>11.2}{:>14}",
            stage.name,
            grouped(stage.rows as i64),
            stage.seconds,
            grouped(rate as i64)
        );
    }
    if let Some(peak) = day.memory_peak_mib {
        println!("  largest memory of the worker: {peak} MiB");
    }
    print_equations(&day.equations);
    println!("\nFiles below {folder}");
    for path in &day.files {
        println!("  {}", path.strip_prefix(folder).unwrap_or(path).display());
    }
    let balanced = day.equations.iter().all(|(_, holds)| *holds);
    println!("\n{}", if balanced { "The books balance." } else { "THE BOOKS DO NOT BALANCE." });
}
