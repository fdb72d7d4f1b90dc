//! The day: messages come in, the schedule fires, people change their minds at awkward moments, files go to the
//! banks, the banks answer, and the books are added up.

use std::path::PathBuf;
use std::time::Instant;

use chrono::{Duration, NaiveDate};

use super::bank::{Answer, Bank, Unionpay};
use super::carrier::Carrier;
use super::payers::Payers;
use crate::domain::account::Account;
use crate::gateway::Destination;
use crate::stages::{Context, StageError, deliver, lease, plan, reconcile, seal};
use crate::store::{accounts, request_files};
use crate::worker::relay;

/// The demo's schedule, and the day on which it fires.
pub const SCHEDULE: &str = "beijing_resident_pension";

/// Where UnionPay deducts, one of so many payers has the agreement with it.
const CARDS_EVERY: u32 = 10;

/// 15 April 2026, nine in the morning in Shanghai.
pub fn morning() -> chrono::DateTime<chrono::Utc> {
    let date = NaiveDate::from_ymd_opt(2026, 4, 15).expect("a day");
    date.and_hms_opt(1, 0, 0).expect("an hour").and_utc()
}

/// How long a stage took for how many rows.
#[derive(Debug, Clone)]
pub struct Stage {
    pub name: &'static str,
    pub rows: u64,
    pub seconds: f64,
}

/// What came of the day.
pub struct Day {
    pub carrier: &'static str,
    pub account: Account,
    pub equations: Vec<(&'static str, bool)>,
    pub stages: Vec<Stage>,
    pub files: Vec<PathBuf>,
    /// Largest resident memory of this process in MiB, where the system tells.
    pub memory_peak_mib: Option<u64>,
}

/// Hears of progress: the stage, rows expected (0: unknown), rows done since.
pub type Progress<'p> = &'p mut dyn FnMut(&'static str, u64, u64);

/// Lives through the day.
pub async fn live(ctx: &Context, payers: u32, seed: u64, progress: Progress<'_>) -> Result<Day, StageError> {
    let mut carrier = Carrier::open(ctx).await?;
    let done = with(ctx, &mut carrier, payers, seed, progress).await;
    let name = carrier.name();
    let closed = carrier.close(ctx).await;
    let mut day = done?;
    closed?;
    day.carrier = name;
    Ok(day)
}

async fn with(
    ctx: &Context,
    carrier: &mut Carrier,
    count: u32,
    seed: u64,
    progress: Progress<'_>,
) -> Result<Day, StageError> {
    let mut stages = Stages(Vec::new());
    let expected = u64::from(count) * 31 / 10;

    let cards_every = ctx.settings.unionpay.as_ref().map(|_| CARDS_EVERY);
    let mut payers = Payers::new(count, seed, morning() - Duration::hours(2), cards_every);
    let clock = Instant::now();
    let sent = carrier.send(ctx, payers.by_ref(), |more| progress("send messages", expected, more)).await?;
    stages.note("send messages", sent, clock);

    let clock = Instant::now();
    carrier.take(ctx, sent, |more| progress("intake", sent, more)).await?;
    stages.note("intake", sent, clock);

    let clock = Instant::now();
    let run_id = plan::fire(ctx, SCHEDULE, ctx.clock.business_date()).await?;
    let lease = lease::take(ctx, run_id).await?;
    let lease = lease.ok_or_else(|| StageError::broken("another worker has the demo's run"))?;
    let mut candidates = 0;
    plan::plan(ctx, lease, |judged| {
        progress("plan", u64::from(count), (judged - candidates) as u64);
        candidates = judged;
    })
    .await?;
    stages.note("plan", candidates as u64, clock);

    // Voids that come between planning and sealing are in time; those after it are told which file they missed.
    let second_thoughts = std::mem::take(&mut payers.second_thoughts);
    let sent = sent + carrier.send(ctx, second_thoughts.into_iter(), |_| ()).await?;
    carrier.take(ctx, sent, |_| ()).await?;

    let clock = Instant::now();
    let mut items = 0;
    seal::seal(ctx, lease, |more| {
        progress("seal", candidates as u64, more as u64);
        items += more;
    })
    .await?;
    stages.note("seal", items as u64, clock);

    let too_late = std::mem::take(&mut payers.too_late);
    let sent = sent + carrier.send(ctx, too_late.into_iter(), |_| ()).await?;
    carrier.take(ctx, sent, |_| ()).await?;

    let clock = Instant::now();
    deliver::deliver(ctx, lease).await?;
    lease.release(ctx).await?;
    stages.note("deliver", items as u64, clock);

    let clock = Instant::now();
    let answers = answer(ctx, seed)?;
    let rows: u64 = answers.iter().map(|answer| answer.rows).sum();
    stages.note("bank answers", rows, clock);

    let clock = Instant::now();
    for answer in &answers {
        let from = sender(ctx, answer)?;
        let bytes = std::fs::File::open(&answer.path).map_err(|error| StageError::later("reading an answer", error))?;
        let name = answer.path.file_name().unwrap_or_default().to_string_lossy();
        reconcile::reconcile(ctx, from, &name, bytes).await?;
        progress("reconcile", rows, answer.rows);
    }
    stages.note("reconcile", rows, clock);

    let clock = Instant::now();
    let outbox = account(ctx).await?.events.outbox as u64;
    let published = relay::drain_with(ctx, |more| progress("publish events", outbox, more as u64)).await?;
    stages.note("publish events", published as u64, clock);
    let heard = carrier.heard(ctx, outbox).await?;

    let account = account(ctx).await?;
    let mut equations = account.equations();
    equations.extend(account.closing_equations());
    equations.push(("every message sent was taken", account.messages.received as u64 == sent));
    equations.push(("every event in the outbox was heard outside", heard == outbox));
    let mut files: Vec<PathBuf> = request_paths(ctx, run_id).await?;
    files.extend(answers.into_iter().map(|answer| answer.path));
    let memory_peak_mib = memory_peak_mib();
    Ok(Day { carrier: "", account, equations, stages: stages.0, files, memory_peak_mib })
}

struct Stages(Vec<Stage>);

impl Stages {
    fn note(&mut self, name: &'static str, rows: u64, clock: Instant) {
        self.0.push(Stage { name, rows, seconds: clock.elapsed().as_secs_f64() });
    }
}

/// The banks answer the next day, and UnionPay where there are cards.
fn answer(ctx: &Context, seed: u64) -> Result<Vec<Answer>, StageError> {
    let settings = &ctx.settings;
    let folder = |below: &std::path::Path| settings.data_folder.join(below);
    let later = |error| StageError::later("the answers", error);
    let settled_at = morning() + Duration::hours(25);
    let mut bank = Bank::new(&folder(settings.bank.outbox()), &folder(settings.bank.inbox()), seed);
    let mut answers = bank.answer_all(settled_at).map_err(later)?;
    if let Some(to) = &settings.unionpay {
        let mut unionpay = Unionpay::new(&settings.outbox(to), &settings.inbox(to), to.encoding(), seed);
        answers.extend(unionpay.answer_all(settled_at).map_err(later)?);
    }
    Ok(answers)
}

/// Whose answer it is, by the inbox it lies in.
fn sender<'c>(ctx: &'c Context, answer: &Answer) -> Result<&'c dyn Destination, StageError> {
    let folder = answer.path.parent().unwrap_or(&answer.path);
    let from = ctx.settings.destinations().find(|from| ctx.settings.inbox(*from) == folder);
    from.ok_or_else(|| StageError::broken(format!("nobody's inbox is {}", folder.display())))
}

async fn account(ctx: &Context) -> Result<Account, StageError> {
    Ok(accounts::count(&mut *ctx.pool.acquire().await?).await?)
}

async fn request_paths(ctx: &Context, run_id: i64) -> Result<Vec<PathBuf>, StageError> {
    let files = request_files::in_states(&mut *ctx.pool.acquire().await?, run_id, &["delivered"]).await?;
    let path = |file: request_files::RequestFile| {
        let to = ctx.settings.destination(&file.gateway, &file.bank_code)?;
        Some(ctx.settings.outbox(to).join(file.file_name))
    };
    Ok(files.into_iter().filter_map(path).collect())
}

/// `VmHWM` of /proc/self/status.
fn memory_peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? / 1024)
}
