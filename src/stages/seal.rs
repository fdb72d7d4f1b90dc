//! A planned run becomes request files.
//!
//! In: a run that is `planned`. Out: a run that is `sealed`, and its files with their bytes in the database.
//! *Commits:* first the decision, under the gate: the run is cut into files and sealed. A void is either before that, and
//! in time: it has withdrawn what was planned in its own transaction; or after it, and is told the file. Deciding takes
//! as long as there are files, not items, because all that time nothing can come in.
//! Then once for each file: rendered, read back, compared in count and sum, hashed.
//! *If it dies:* files that are still `open` are rendered by the next worker; nothing has left the house yet.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::NaiveDate;
use sha2::{Digest, Sha256};

use super::abreast::{FILES_ABREAST, abreast};
use super::lease::Lease;
use super::{Context, StageError, crash_point, telling};
use crate::contract::events::EventType;
use crate::crypt::Purpose;
use crate::domain::attempt::Withdrawal;
use crate::domain::money::Money;
use crate::gateway::{Destination, Rendered, RequestHead, RequestItem};
use crate::store::amount_settings::decode_money;
use crate::store::request_files::{self, Item, Limit, RequestFile};
use crate::store::runs::Run;
use crate::store::{attempts, gates, outbox, runs};

/// Seals a run that is `planned`, and renders the files of one that is `sealed`. `progress` hears of each file's items.
pub async fn seal(ctx: &Context, lease: Lease, progress: impl FnMut(i64)) -> Result<(), StageError> {
    let run = decide(ctx, lease).await?;
    crash_point("seal: run sealed");
    let mut connection = ctx.pool.acquire().await?;
    let open = request_files::in_states(&mut connection, run.run_id, &["open"]).await?;
    drop(connection);
    let run = Arc::new(run);
    let one = |file| {
        let (ctx, run) = (ctx.clone(), Arc::clone(&run));
        async move {
            let items = seal_file(&ctx, lease, &run, file).await?;
            crash_point("seal: file sealed");
            Ok(items)
        }
    };
    abreast(open, FILES_ABREAST, one, progress).await
}

/// The point after which a void is too late.
async fn decide(ctx: &Context, lease: Lease) -> Result<Run, StageError> {
    let now = ctx.clock.now();
    let mut tx = ctx.begin().await?;
    gates::own(&mut tx).await?;
    let run = lease.lock(ctx, &mut tx).await?;
    // One that is being cancelled is not sealed any more.
    if run.state != "planned" || run.cancellation.is_some() {
        return Ok(run);
    }
    let causation = format!("run:{}", run.run_id);
    let destinations = request_files::destinations(&mut tx, run.run_id).await?;
    let limits: Result<Vec<Limit<'_>>, StageError> = destinations
        .iter()
        .map(|(gateway, bank_code)| {
            let items_max = i64::from(destination(ctx, gateway, bank_code)?.hand_over().items_max);
            Ok(Limit { gateway, bank_code, items_max })
        })
        .collect();
    let batch_date = ctx.clock.business_date();
    let mut parts = Vec::new();
    for part in request_files::cut(&mut tx, run.run_id, &limits?, batch_date).await? {
        let head = head(&run, part.part, batch_date, part.batch_no);
        let file_name = destination(ctx, &part.gateway, &part.bank_code)?.file_name(&head);
        parts.push((part, file_name));
    }
    request_files::insert_open(&mut tx, run.run_id, batch_date, &parts).await?;
    let run = runs::set_sealed(&mut tx, run.run_id, now).await?;
    let event = telling::run_changed(EventType::RunSealed, &run, parts.len() as i64, &causation, now);
    outbox::append(&mut tx, &ctx.settings.events.source, now, &[event]).await?;
    crash_point("seal: before commit");
    tx.commit().await?;
    Ok(run)
}

/// Renders one file outside any transaction, then seals it in one. Returns its items.
async fn seal_file(ctx: &Context, lease: Lease, run: &Arc<Run>, file: RequestFile) -> Result<i64, StageError> {
    let (items, elsewhere) = open_items(ctx, &file).await?;
    let rendering = tokio::task::spawn_blocking({
        let (ctx, run, file) = (ctx.clone(), Arc::clone(run), file.clone());
        move || render(&ctx, &run, &file, &items)
    });
    let rendered = rendering.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
    if rendered.file_name != file.file_name {
        return Err(StageError::broken(format!("{}: the layout gives it another name now", file.file_name)));
    }

    let now = ctx.clock.now();
    let mut tx = ctx.begin().await?;
    let sealer = ctx.sealer(&mut tx).await?;
    lease.lock(ctx, &mut tx).await?;
    if request_files::lock(&mut tx, file.file_id).await?.state != "open" {
        return Ok(0);
    }
    let causation = format!("run:{}", run.run_id);
    let unencodable: Vec<String> = rendered.held_back.iter().map(|held| held.order_no.clone()).collect();
    for (order_nos, reason) in [(unencodable, Withdrawal::Unencodable), (elsewhere, Withdrawal::NoAgreement)] {
        if order_nos.is_empty() {
            continue;
        }
        let withdrawn = attempts::withdraw_items(&mut tx, &order_nos, reason).await?;
        runs::count_withdrawn(&mut tx, run.run_id, withdrawn.len() as i64).await?;
        let events: Vec<_> = withdrawn.iter().flat_map(|row| telling::withdrawn(row, &causation, now)).collect();
        outbox::append(&mut tx, &ctx.settings.events.source, now, &events).await?;
    }
    let (count, total) = request_files::count_and_sum(&mut tx, &file).await?;
    if (count as u64, decode_money(total)?) != (rendered.count, rendered.total) {
        return Err(StageError::broken(format!(
            "{}: {} items of {} are rendered, {count} of {total} are planned",
            file.file_name, rendered.count, rendered.total
        )));
    }
    if count == 0 {
        request_files::set_empty(&mut tx, file.file_id).await?;
    } else {
        let sha256 = Sha256::digest(&rendered.bytes);
        let content = sealer.seal(Purpose::FileContent, &rendered.bytes);
        request_files::set_sealed(&mut tx, file.file_id, count, total, &sha256, &content, now).await?;
    }
    tx.commit().await?;
    Ok(count)
}

/// A deduction of a file, its account opened.
struct Opened {
    order_no: String,
    agreement_no: String,
    account_no: String,
    account_name: String,
    amount: Money,
}

impl Opened {
    fn item(&self) -> RequestItem<'_> {
        let Opened { order_no, agreement_no, account_no, account_name, amount } = self;
        RequestItem { order_no, agreement_no, account_no, account_name, amount: *amount }
    }
}

/// The items of a file; and those whose agreement went to another bank since the decision, which must not be written into
/// this bank's file.
async fn open_items(ctx: &Context, file: &RequestFile) -> Result<(Vec<Opened>, Vec<String>), StageError> {
    let (mut items, mut elsewhere) = (Vec::new(), Vec::new());
    let mut tx = ctx.begin().await?;
    let open = |item: Item<'_>| -> Result<(), StageError> {
        let Some((account_no, account_name)) = item.account else {
            elsewhere.push(item.order_no.to_owned());
            return Ok(());
        };
        items.push(Opened {
            order_no: item.order_no.to_owned(),
            agreement_no: item.agreement_no.to_owned(),
            account_no: ctx.keys.open_text(Purpose::AccountNumber, account_no)?,
            account_name: ctx.keys.open_text(Purpose::AccountName, account_name)?,
            amount: decode_money(item.amount)?,
        });
        Ok(())
    };
    request_files::each_item(&mut tx, file, open).await?;
    tx.rollback().await?;
    Ok((items, elsewhere))
}

/// Writes the file and reads it again by another way: what is sealed says what was meant.
fn render(ctx: &Context, run: &Run, file: &RequestFile, opened: &[Opened]) -> Result<Rendered, StageError> {
    let to = destination(ctx, &file.gateway, &file.bank_code)?;
    // The first versions did not number a day's files; their formats do not ask for it.
    let (batch_date, batch_no) = (file.batch_date.unwrap_or(run.business_date), file.batch_no.unwrap_or(file.part));
    let head = head(run, file.part, batch_date, batch_no);
    let items: Vec<RequestItem<'_>> = opened.iter().map(Opened::item).collect();
    let rendered = to.render(&head, &items);
    let read = to
        .parse_back(&rendered.bytes)
        .map_err(|refused| StageError::broken(format!("{}: does not read back: {refused}", rendered.file_name)))?;
    let held: HashSet<&str> = rendered.held_back.iter().map(|held| held.order_no.as_str()).collect();
    let meant = items.iter().filter(|item| !held.contains(item.order_no)).map(|item| (item.order_no, item.amount));
    let says = read.orders.iter().map(|(order_no, amount)| (order_no.as_str(), *amount));
    if (read.count, read.total) != (rendered.count, rendered.total) || !says.eq(meant) {
        return Err(StageError::broken(format!("{}: reads back as something else", rendered.file_name)));
    }
    Ok(rendered)
}

fn head(run: &Run, part: i32, batch_date: NaiveDate, batch_no: i32) -> RequestHead {
    let (part, batch_no) = (part as u32, batch_no as u32);
    RequestHead { business_date: run.business_date, run_id: run.run_id, part, batch_date, batch_no }
}

fn destination<'c>(ctx: &'c Context, gateway: &str, bank_code: &str) -> Result<&'c dyn Destination, StageError> {
    let missing =
        || StageError::broken(format!("{gateway} {bank_code} is no longer configured, but has files to be made"));
    ctx.settings.destination(gateway, bank_code).ok_or_else(missing)
}
