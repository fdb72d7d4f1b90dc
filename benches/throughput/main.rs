//! Each hot stage against its limit, in one run: what the stage does, and beside it the least that any program would
//! have to do for the same rows on the same machine at the same moment. The ratio is what to compare between two
//! versions; rows per second move with the machine. Where it can be repeated, stage, limits and the loop that is
//! usually written run in turn, and the medians count.
//!
//! `cargo bench --bench throughput [-- intake plan seal reconcile publish] [--json]`, with `PIKOU_BENCH_PAYERS`
//! (default 50000; a run needs no messages, so a million is quick) in `PIKOU_BENCH_ROUNDS` (default 3), `PIKOU_BENCH_BATCH` (default 500) at a time. With `PIKOU_BENCH_INTAKE` set, a message at a time comes in
//! while a run is planned and sealed, and the longest wait is told. The database is pikou's own embedded one, or an
//! empty one of yours in `PIKOU_BENCH_DATABASE_URL`; `intake` and
//! `publish` want a broker in `PIKOU_TEST_AMQP_URL`.

mod bare;
mod book;
mod finished;
mod intake;
mod knocking;
mod loops;
mod publish;
mod runs;
mod table;

use chrono::Duration;
use pikou::app::App;
use pikou::clock::Clock;
use pikou::config;
use pikou::demo::day::morning;
use pikou::demo::payers::{Message, Payers};
use pikou::stages::Context;
use pikou::stages::intake::{Delivery, take};
use table::Table;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Messages in one batch, as configured by default.
const BATCH: usize = 500;

#[tokio::main]
async fn main() -> Outcome<()> {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wants = |stage: &str| wanted.is_empty() || wanted.iter().any(|name| name == stage);
    let json = std::env::args().any(|arg| arg == "--json");
    let payers = number("PIKOU_BENCH_PAYERS", 50_000);
    let rounds = number("PIKOU_BENCH_ROUNDS", 3) as usize;
    let folder = tempfile::tempdir()?;
    let name = format!("pikou.bench.{:08x}", rand::random::<u32>());
    let mut environment = vec![
        ("PIKOU__DATA__FOLDER".to_owned(), folder.path().display().to_string()),
        ("PIKOU__BROKER__EXCHANGE_IN".to_owned(), format!("{name}.in")),
        ("PIKOU__BROKER__QUEUE_IN".to_owned(), format!("{name}.inbox")),
        ("PIKOU__BROKER__EXCHANGE_EVENTS".to_owned(), format!("{name}.events")),
        ("PIKOU__INTAKE__BATCH_MAX".to_owned(), number("PIKOU_BENCH_BATCH", BATCH as u32).to_string()),
    ];
    let broker = std::env::var("PIKOU_TEST_AMQP_URL").ok();
    if let Some(url) = &broker {
        environment.push(("PIKOU__BROKER__URL".to_owned(), url.clone()));
    }
    if let Ok(url) = std::env::var("PIKOU_BENCH_DATABASE_URL") {
        environment.push(("PIKOU__DATABASE__URL".to_owned(), url));
    }
    let settings = config::load(None, environment.into_iter())?;
    let app = App::open(settings, Clock::Fixed(morning())).await?;
    let ctx = &app.ctx;
    let mut table = Table::default();
    let mut messages = Payers::new(payers, 1, morning() - Duration::hours(2), None);
    if broker.is_some() && wants("intake") {
        table.add(intake::measure(ctx, &mut messages, payers as usize * 3, rounds).await?);
    }
    if ["intake", "publish"].into_iter().any(wants) {
        take_rest(ctx, messages).await?;
    } else {
        book::fill(ctx, payers).await?;
    }
    if ["plan", "seal", "reconcile", "publish"].into_iter().any(wants) {
        let measured = runs::measure(ctx).await?;
        measured.into_iter().filter(|measured| wants(measured.stage)).for_each(|measured| table.add(measured));
    }
    if broker.is_some() && wants("publish") {
        table.add(publish::measure(ctx, rounds).await?);
    }
    if broker.is_some() {
        pikou::broker::topology::remove(&pikou::app::broker_settings(&ctx.settings)).await?;
    }
    app.close().await?;
    if json {
        println!("{}", table.json())
    } else {
        print!("{table}")
    }
    Ok(())
}

/// What is not measured is taken as it comes: the later stages want its facts, and its events.
async fn take_rest(ctx: &Context, mut messages: Payers) -> Outcome<()> {
    let delivery = |message: Message| Delivery { raw: message.body, headers: vec![], origin: "bench".into() };
    loop {
        let batch: Vec<Delivery> = messages.by_ref().take(BATCH).map(delivery).collect();
        if batch.is_empty() {
            return Ok(());
        }
        take(ctx, &batch).await?;
    }
}

fn number(name: &str, default: u32) -> u32 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}
