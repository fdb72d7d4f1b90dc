//! Each hot stage against its limit, in one run: what the stage does, and beside it the least that any program would
//! have to do for the same rows on the same machine at the same moment. The ratio is what to compare between two
//! versions; rows per second move with the machine.
//!
//! `cargo bench --bench throughput [-- intake plan seal reconcile publish]`, `PIKOU_BENCH_PAYERS` (default 50000).
//! The database is pikou's own embedded one; `publish` wants a broker in `PIKOU_TEST_AMQP_URL`.

use std::time::Instant;

use chrono::Duration;
use pikou::app::{App, broker_settings};
use pikou::broker::{Outgoing, Publisher};
use pikou::clock::Clock;
use pikou::config;
use pikou::demo::bank::Bank;
use pikou::demo::day::{SCHEDULE, morning};
use pikou::demo::payers::Payers;
use pikou::stages::intake::{self, Delivery};
use pikou::stages::{Context, deliver, lease, plan, reconcile, seal};
use pikou::worker::relay;
use tokio_util::sync::CancellationToken;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Messages in one batch, as configured by default.
const BATCH: usize = 500;

#[tokio::main]
async fn main() -> Outcome<()> {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wants = |stage: &str| wanted.is_empty() || wanted.iter().any(|name| name == stage);
    let payers: u32 = std::env::var("PIKOU_BENCH_PAYERS").ok().and_then(|n| n.parse().ok()).unwrap_or(50_000);
    let folder = tempfile::tempdir()?;
    let mut environment = vec![
        ("PIKOU__DATA__FOLDER".to_owned(), folder.path().display().to_string()),
        ("PIKOU__BROKER__EXCHANGE_EVENTS".to_owned(), format!("pikou.bench.{:08x}", rand::random::<u32>())),
    ];
    let broker = std::env::var("PIKOU_TEST_AMQP_URL").ok();
    if let Some(url) = &broker {
        environment.push(("PIKOU__BROKER__URL".to_owned(), url.clone()));
    }
    let settings = config::load(None, environment.into_iter())?;
    let app = App::open(settings, Clock::Fixed(morning())).await?;
    let ctx = &app.ctx;
    println!("{payers} payers, batches of {BATCH}\n");
    println!("{:<12}{:>12}{:>12}{:>14}{:>8}  limit", "stage", "rows", "rows/s", "limit rows/s", "ratio");

    let deliveries: Vec<Delivery> = Payers::new(payers, 1, morning() - Duration::hours(2))
        .map(|message| Delivery { raw: message.body, headers: vec![], origin: "bench".into() })
        .collect();
    let clock = Instant::now();
    for batch in deliveries.chunks(BATCH) {
        intake::take(ctx, batch).await?;
    }
    let took = clock.elapsed().as_secs_f64();
    if wants("intake") {
        let limit = bare_inserts(ctx, &deliveries).await?;
        row("intake", deliveries.len(), took, limit, "bare set inserts into log, fact and outbox");
    }

    let run_id = plan::fire(ctx, SCHEDULE, ctx.clock.business_date()).await?;
    let lease = lease::take(ctx, run_id).await?.ok_or("the lease is free")?;
    let clock = Instant::now();
    let mut candidates = 0;
    plan::plan(ctx, lease, |judged| candidates = judged as usize).await?;
    let took = clock.elapsed().as_secs_f64();
    if wants("plan") {
        let limit = timed(
            ctx,
            &[
                "CREATE TABLE bench_attempts AS SELECT * FROM attempts",
                "CREATE TABLE bench_declarations AS SELECT * FROM declarations",
            ],
        )
        .await?;
        row("plan", candidates, took, limit, "the same rows into tables without a key");
    }

    let clock = Instant::now();
    let mut items = 0;
    seal::seal(ctx, lease, |more| items += more as usize).await?;
    deliver::deliver(ctx, lease).await?;
    let took = clock.elapsed().as_secs_f64();
    if wants("seal") {
        let limit = timed(ctx, &["SELECT sum(length(a::text) + length(g::text)) FROM attempts a JOIN agreements g USING (payer_id, agreement_no)"]).await?;
        row("seal", items, took, limit, "one select that writes the rows as text");
    }

    let settings = &ctx.settings;
    let (outbox, inbox) =
        (settings.data_folder.join(settings.bank.outbox()), settings.data_folder.join(settings.bank.inbox()));
    let answers = Bank::new(&outbox, &inbox, 1).answer_all(morning() + Duration::hours(25))?;
    let clock = Instant::now();
    for answer in &answers {
        let code = answer.path.parent().and_then(|folder| folder.file_name()?.to_str()).ok_or("a bank's folder")?;
        let bank = settings.bank.bank(code).ok_or("a configured bank")?;
        reconcile::reconcile(ctx, bank, "answer", &std::fs::read(&answer.path)?).await?;
    }
    let took = clock.elapsed().as_secs_f64();
    if wants("reconcile") {
        let limit = timed(
            ctx,
            &[
                "CREATE TABLE bench_settlements AS SELECT * FROM settlements",
                "CREATE TABLE bench_outcomes AS SELECT * FROM attempt_outcomes",
            ],
        )
        .await?;
        let rows = answers.iter().map(|answer| answer.rows as usize).sum();
        row("reconcile", rows, took, limit, "the same rows into tables without a key");
    }
    if wants("publish") && broker.is_some() {
        publish(ctx).await?;
    }
    app.close().await?;
    Ok(())
}

fn row(stage: &str, rows: usize, took: f64, limit: f64, what: &str) {
    let rate = |seconds: f64| rows as f64 / seconds;
    println!("{stage:<12}{rows:>12}{:>12.0}{:>14.0}{:>8.2}  {what}", rate(took), rate(limit), limit / took);
}

async fn timed(ctx: &Context, statements: &[&'static str]) -> Outcome<f64> {
    let clock = Instant::now();
    for statement in statements {
        sqlx::raw_sql(*statement).execute(&ctx.pool).await?;
    }
    Ok(clock.elapsed().as_secs_f64())
}

/// One transaction a batch with three set inserts, and nothing understood, encrypted or looked up.
async fn bare_inserts(ctx: &Context, deliveries: &[Delivery]) -> Outcome<f64> {
    sqlx::raw_sql(
        "CREATE TABLE bench_log (id text PRIMARY KEY, raw bytea); CREATE TABLE bench_facts (id text PRIMARY KEY, amount numeric(14,2));
         CREATE TABLE bench_outbox (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text)",
    )
    .execute(&ctx.pool)
    .await?;
    let clock = Instant::now();
    for (number, batch) in deliveries.chunks(BATCH).enumerate() {
        let ids: Vec<String> = (0..batch.len()).map(|place| format!("{number}-{place}")).collect();
        let raws: Vec<&[u8]> = batch.iter().map(|delivery| delivery.raw.as_slice()).collect();
        let bodies: Vec<String> =
            batch.iter().map(|delivery| String::from_utf8_lossy(&delivery.raw).into_owned()).collect();
        let mut tx = ctx.begin().await?;
        sqlx::query("INSERT INTO bench_log SELECT * FROM unnest($1::text[], $2::bytea[]) ON CONFLICT DO NOTHING")
            .bind(&ids)
            .bind(&raws)
            .execute(&mut *tx)
            .await?;
        sqlx::query("INSERT INTO bench_facts SELECT id, 1 FROM unnest($1::text[]) AS i (id) ON CONFLICT (id) DO UPDATE SET amount = 2")
            .bind(&ids)
            .execute(&mut *tx)
            .await?;
        sqlx::query("INSERT INTO bench_outbox (body) SELECT * FROM unnest($1::text[])")
            .bind(&bodies)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
    }
    Ok(clock.elapsed().as_secs_f64())
}

/// The relay against a publisher that has its messages in hand.
async fn publish(ctx: &Context) -> Outcome<()> {
    let settings = broker_settings(&ctx.settings);
    let mut audience = settings.clone();
    audience.exchange_in.clone_from(&settings.exchange_events);
    audience.queue_in = format!("{}.audience", settings.exchange_events);
    let stop = CancellationToken::new();
    let listener = tokio::spawn({
        let (audience, stop) = (audience.clone(), stop.clone());
        async move { pikou::broker::consume(&audience, stop, |_| async { Ok(()) }).await }
    });
    // The audience is there when its queue is: a publish that finds none is an error.
    let publisher = loop {
        let publisher = Publisher::connect(&settings).await?;
        let probe = Outgoing { routing_key: "probe".into(), message_id: "probe".into(), body: b"{}".to_vec() };
        match publisher.publish(&settings.exchange_events, [probe]).await {
            Ok(_) => break publisher,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let clock = Instant::now();
    let events = relay::drain(ctx).await?;
    let took = clock.elapsed().as_secs_f64();
    let body = vec![b'x'; 500];
    let plain = (0..events).map(|number| Outgoing {
        routing_key: "plain".into(),
        message_id: number.to_string(),
        body: body.clone(),
    });
    let clock = Instant::now();
    publisher.publish(&settings.exchange_events, plain).await?;
    let limit = clock.elapsed().as_secs_f64();
    row("publish", events, took, limit, "confirmed publishing of ready bodies of 500 bytes");
    publisher.close().await;
    stop.cancel();
    listener.await??;
    pikou::broker::topology::remove(&audience).await?;
    pikou::broker::topology::remove(&settings).await?;
    Ok(())
}
