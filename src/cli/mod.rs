//! What people type. Each file is a group of commands: it asks, shows progress and prints; rules are elsewhere.
//!
//! Documents go to stdout, everything else to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration,
//! 3 input refused, 4 the run waits for a person, 5 the run is cancelled, 6 an account has a difference that nothing explains.

mod account;
mod by;
mod commands;
mod demo;
mod discrepancies;
mod events;
mod explain;
mod files;
mod fixtures;
mod hold;
mod keys;
mod messages;
mod plan;
mod print;
mod publish;
mod rebuild;
mod reconcile;
mod report;
mod runs;
mod schedule;
mod serve;
mod undo;
mod year;

use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::app::{App, AppError};
use crate::clock::Clock;
use crate::config::{self, ConfigError, Settings};
use crate::contract::binary::Mode;
use crate::fixtures::{FixturesError, Premises};
use crate::stages::{Context, StageError};
use crate::telemetry;
use hold::HoldCommand;
use keys::KeysCommand;
use year::YearCommand;

/// The worker behind batch deduction (批扣) of social-insurance contributions.
#[derive(Debug, Parser)]
#[command(name = "pikou", version, propagate_version = true)]
struct Cli {
    /// Settings file [default: PIKOU_CONFIG, else ./pikou.toml if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One JSON document on stdout instead of text
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Work: take messages, fire schedules, watch for result files, publish events; until SIGTERM
    Serve,
    /// Take messages from a file of JSON lines, or from stdin (`-`)
    Ingest { file: String },
    /// Send messages from a file of JSON lines, or from stdin (`-`), to RabbitMQ, as an upstream system would
    Publish {
        file: String,
        /// Attributes in headers and data in the body, instead of one JSON document
        #[arg(long)]
        binary: bool,
    },
    /// What pikou tells the world
    #[command(subcommand)]
    Events(events::EventsCommand),
    /// Show what a run would do: counts, sums, reasons, and how that differs from the last run; nothing is written
    Plan {
        schedule: String,
        /// Nominal business date, yyyy-mm-dd [default: today in Asia/Shanghai]
        #[arg(long)]
        date: Option<chrono::NaiveDate>,
    },
    /// Fire a schedule for a day and hand its request files over; firing again finds the same run. Or look at runs, and
    /// decide on them
    Run(runs::RunArgs),
    /// When schedules fire
    #[command(subcommand)]
    Schedule(schedule::ScheduleCommand),
    /// Apply a result file of a bank or gateway, or show what it would do; or put an applied one back
    Reconcile(reconcile::ReconcileArgs),
    /// Where our book and the gateways' disagree: look, decide, reopen
    #[command(subcommand)]
    Discrepancies(discrepancies::Discrepancies),
    /// Request files: look, hand over again, mark as sent
    #[command(subcommand)]
    Files(files::Files),
    /// What could not be understood: look, replay, discard
    #[command(subcommand)]
    Messages(messages::Messages),
    /// Amounts that no run selects: list, hold, release
    #[command(subcommand)]
    Hold(HoldCommand),
    /// Turns of a valid year: open it by hand
    #[command(subcommand)]
    Year(YearCommand),
    /// The whole story of a payer in order of time: what came, what was decided and why, what was paid
    Explain(explain::ExplainArgs),
    /// The books as they stand, and whether they add up
    Account,
    /// Accounts of a day
    #[command(subcommand)]
    Report(report::Report),
    /// Take the whole message log of another database into the empty one of the settings; publishes nothing
    Rebuild {
        /// That database; it is only read. Leave the password to PGPASSWORD
        #[arg(long, value_name = "DATABASE_URL")]
        from: String,
    },
    /// The settings in force, passwords masked
    Config,
    /// The keys of what is encrypted in the database
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Cases of result files, a folder each (docs/FIXTURES.md): hold them against what is expected
    #[command(subcommand)]
    Fixtures(fixtures::FixturesCommand),
    /// A day in the life, from messages to paid records, with made-up payers in a database of its own
    Demo(demo::DemoArgs),
}

/// Why a command ends without having done its work.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    App(#[from] AppError),
    #[error(transparent)]
    Stage(#[from] StageError),
    #[error(transparent)]
    Fixtures(#[from] FixturesError),
    #[error("{0}")]
    Usage(String),
    /// The input was refused; what is to be said about it has been printed.
    #[error("refused")]
    Refused,
    /// The run waits for a person; that has been printed.
    #[error("held")]
    Held,
    /// The run is cancelled, and so is its slot; that has been printed.
    #[error("cancelled")]
    Cancelled,
    /// The account has a difference that nothing explains; it has been printed.
    #[error("not explained")]
    Unexplained,
    /// The work was done and the result is bad; it has been printed.
    #[error("failed")]
    Bad,
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

impl Failure {
    fn exit_code(&self) -> u8 {
        match self {
            Failure::Config(_) | Failure::Usage(_) => 2,
            Failure::Fixtures(FixturesError::Unusable { .. } | FixturesError::Config(_)) => 2,
            Failure::Stage(StageError::Refused(_)) => 2,
            Failure::Refused => 3,
            Failure::Held => 4,
            Failure::Cancelled => 5,
            Failure::Unexplained => 6,
            Failure::App(_) | Failure::Stage(_) | Failure::Fixtures(_) | Failure::Bad | Failure::Other(_) => 1,
        }
    }

    fn is_said(&self) -> bool {
        matches!(self, Failure::Refused | Failure::Held | Failure::Cancelled | Failure::Unexplained | Failure::Bad)
    }
}

/// Runs the command of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("pikou: cannot start: {error}");
            return ExitCode::from(1);
        }
    };
    match runtime.block_on(dispatch(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.is_said() {
                eprintln!("pikou: {}", chain(&failure));
            }
            ExitCode::from(failure.exit_code())
        }
    }
}

async fn dispatch(cli: Cli) -> Result<(), Failure> {
    let file = cli.config.or_else(|| std::env::var_os("PIKOU_CONFIG").map(PathBuf::from)).or_else(|| {
        let beside = PathBuf::from("pikou.toml");
        beside.is_file().then_some(beside)
    });
    // Settings are texts; a variable that is none cannot be one of ours.
    let environment =
        std::env::vars_os().filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)));
    let environment: Vec<(String, String)> = environment.collect();
    let settings = config::load(file.as_deref(), environment.iter().cloned())?;
    // Of cases that are refused on purpose their reports say enough.
    if !matches!(cli.command, Command::Fixtures(_)) {
        telemetry::start(&settings.log);
    }
    let json = cli.json;
    match cli.command {
        Command::Serve => with_app(settings, async |ctx| serve::serve(ctx).await).await,
        Command::Ingest { file } => with_app(settings, async |ctx| commands::ingest(ctx, &file, json).await).await,
        Command::Publish { file, binary } => {
            let mode = if binary { Mode::Binary } else { Mode::Structured };
            publish::publish(&settings, &file, mode, json).await
        }
        Command::Events(command) => events::events(&settings, command, json).await,
        Command::Plan { schedule, date } => {
            with_app(settings, async |ctx| plan::plan(ctx, &schedule, date, json).await).await
        }
        Command::Run(args) => with_app(settings, async |ctx| runs::runs(ctx, args, json).await).await,
        Command::Schedule(what) => with_app(settings, async |ctx| schedule::schedule(ctx, &what, json).await).await,
        Command::Reconcile(args) => with_app(settings, async |ctx| reconcile::reconcile(ctx, args, json).await).await,
        Command::Discrepancies(what) => {
            with_app(settings, async |ctx| discrepancies::discrepancies(ctx, what, json).await).await
        }
        Command::Files(what) => with_app(settings, async |ctx| files::files(ctx, what, json).await).await,
        Command::Messages(what) => with_app(settings, async |ctx| messages::messages(ctx, what, json).await).await,
        Command::Rebuild { from } => rebuild::rebuild(settings, &from, json).await,
        Command::Hold(what) => with_app(settings, async |ctx| hold::hold(ctx, what, json).await).await,
        Command::Year(what) => with_app(settings, async |ctx| year::year(ctx, what, json).await).await,
        Command::Explain(args) => {
            let language = args.language(&environment);
            with_app(settings, async |ctx| explain::explain(ctx, &args, language, json).await).await
        }
        Command::Account => with_app(settings, async |ctx| account::account(ctx, json).await).await,
        Command::Report(what) => with_app(settings, async |ctx| report::report(ctx, what, json).await).await,
        Command::Config => {
            if json {
                print::document(&settings.in_force);
            } else {
                print!("{}", toml::to_string(&settings.in_force).map_err(anyhow::Error::from)?);
            }
            Ok(())
        }
        Command::Keys(KeysCommand::Rotate) => keys::rotate(&settings, json),
        Command::Keys(KeysCommand::Status) => with_app(settings, async |ctx| keys::status(ctx, json).await).await,
        Command::Keys(KeysCommand::Reencrypt) => with_app(settings, async |ctx| keys::reencrypt(ctx, json).await).await,
        Command::Keys(KeysCommand::Remove { id }) => {
            with_app(settings, async |ctx| keys::remove(ctx, &id, json).await).await
        }
        Command::Fixtures(command) => {
            fixtures::fixtures(command, Premises { settings_file: file, environment }, json).await
        }
        Command::Demo(args) => demo::demo(settings, args, json).await,
    }
}

/// Opens the installation, does the work, and closes it again whatever came of it.
async fn with_app<W, F>(settings: Settings, work: W) -> Result<(), Failure>
where
    W: FnOnce(Context) -> F,
    F: Future<Output = Result<(), Failure>>,
{
    let app = App::open(settings, Clock::System).await?;
    let done = work(app.ctx.clone()).await;
    let closed = app.close().await;
    done?;
    Ok(closed?)
}

/// An error and its causes in one line.
fn chain(failure: &Failure) -> String {
    let mut text = failure.to_string();
    let mut cause = std::error::Error::source(failure);
    while let Some(error) = cause {
        let more = error.to_string();
        // Transparent errors say what their cause says.
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
