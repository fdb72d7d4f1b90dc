//! A run over all payers, once: plan, seal, reconcile.

use std::time::Instant;

use futures::StreamExt;
use pikou::demo::bank::Bank;
use pikou::demo::day::{SCHEDULE, morning};
use pikou::stages::{Context, deliver, lease, plan, reconcile, seal};

use sha2::{Digest, Sha256};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgPoolCopyExt;

use crate::Outcome;
use crate::finished;
use crate::knocking::Knocking;
use crate::table::{Measured, Turn, forget_peak, peak_rss_mib};

pub async fn measure(ctx: &Context) -> Outcome<Vec<Measured>> {
    let run_id = plan::fire(ctx, SCHEDULE, ctx.clock.business_date()).await?;
    let lease = lease::take(ctx, run_id).await?.ok_or("the lease is free")?;
    // Beside the run a message comes in at a time, where that is wanted: it costs the run a little.
    let knocking = std::env::var_os("PIKOU_BENCH_INTAKE").map(|_| Knocking::begin(ctx));
    let stall_ms = || knocking.as_ref().map(Knocking::longest_ms);
    forget_peak();
    let clock = Instant::now();
    let mut candidates = 0;
    plan::plan(ctx, lease, |judged| candidates = judged as usize).await?;
    let took = clock.elapsed().as_secs_f64();
    let seen = (peak_rss_mib(), stall_ms());
    let limit = inserted(ctx).await?;
    let planned = Turn::one(candidates, took, "bare INSERT … SELECT of the same rows", limit);
    let planned = Turn { peak_rss_mib: seen.0, stall_ms: seen.1, ..planned };

    forget_peak();
    let _ = stall_ms();
    let clock = Instant::now();
    let mut items = 0;
    seal::seal(ctx, lease, |more| items += more as usize).await?;
    deliver::deliver(ctx, lease).await?;
    let took = clock.elapsed().as_secs_f64();
    let seen = (peak_rss_mib(), stall_ms());
    if let Some(knocking) = knocking {
        knocking.end().await?;
    }
    let limit = copied(ctx, run_id).await?;
    let sealed = Turn::one(items, took, "COPY TO of the same rows, and hashing", limit);
    let sealed = Turn { peak_rss_mib: seen.0, stall_ms: seen.1, ..sealed };

    let settings = &ctx.settings;
    let (outbox, inbox) =
        (settings.data_folder.join(settings.bank.outbox()), settings.data_folder.join(settings.bank.inbox()));
    let answers = Bank::new(&outbox, &inbox, 1).answer_all(morning() + chrono::Duration::hours(25))?;
    forget_peak();
    let clock = Instant::now();
    for answer in &answers {
        let code = answer.path.parent().and_then(|folder| folder.file_name()?.to_str()).ok_or("a bank's folder")?;
        let bank = settings.bank.bank(code).ok_or("a configured bank")?;
        reconcile::reconcile(ctx, bank, "answer", std::fs::File::open(&answer.path)?).await?;
    }
    let took = clock.elapsed().as_secs_f64();
    let seen = peak_rss_mib();
    let limit = finished::copied(ctx).await?;
    let rows = answers.iter().map(|answer| answer.rows as usize).sum();
    let reconciled = Turn::one(rows, took, "COPY of the finished rows, with keys", limit);
    let reconciled = Turn { peak_rss_mib: seen, ..reconciled };
    let stage = |stage, turn| Measured { stage, turns: vec![turn] };
    Ok(vec![stage("plan", planned), stage("seal", sealed), stage("reconcile", reconciled)])
}

/// Seconds for the rows of a plan into copies of their tables, with all keys, indexes and checks.
async fn inserted(ctx: &Context) -> Outcome<f64> {
    let tables = ["declarations", "attempts", "run_skips"];
    for table in tables {
        let sql = format!("CREATE TABLE bench_{table} (LIKE {table} INCLUDING ALL)");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&ctx.pool).await?;
    }
    let mut connection = ctx.pool.acquire().await?;
    let clock = Instant::now();
    for table in tables {
        let sql = format!("INSERT INTO bench_{table} SELECT * FROM {table}");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await?;
    }
    Ok(clock.elapsed().as_secs_f64())
}

/// Seconds for the least that anybody has to do who writes the items of a run: read them in the order of the files, as
/// text, and hash that.
async fn copied(ctx: &Context, run_id: i64) -> Outcome<f64> {
    let sql = format!(
        "COPY (SELECT a.order_no, a.agreement_no, g.account_no, g.account_name, a.amount
               FROM attempts a JOIN agreements g USING (payer_id, agreement_no)
               WHERE a.run_id = {run_id} AND a.state = 'planned' ORDER BY a.order_no) TO STDOUT (FORMAT csv)"
    );
    let clock = Instant::now();
    let mut rows = ctx.pool.copy_out_raw(&sql).await?;
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    while let Some(some) = rows.next().await {
        let some = some?;
        bytes += some.len();
        hash.update(some);
    }
    let seconds = clock.elapsed().as_secs_f64();
    if bytes == 0 || hash.finalize()[..] == [0; 32] {
        return Err("nothing was copied".into());
    }
    Ok(seconds)
}
