//! `pikou hold`: amounts that no run selects, and the people who decide about them.

use clap::Subcommand;
use serde::Serialize;

use super::commands::publish;
use super::{Failure, print};
use crate::contract::envelope::wire_time;
use crate::domain::amount_setting::HoldReason;
use crate::stages::Context;
use crate::stages::hold::{self, Decision, Wish};
use crate::store::amount_settings::YearKey;
use crate::store::holds;

/// Rows read at a time.
const PAGE_MAX: i64 = 500;

#[derive(Debug, Subcommand)]
pub enum HoldCommand {
    /// Amounts that are held, with the reason
    List,
    /// Hold the active amount of a year: no run selects it until it is released or set anew
    Set(About),
    /// End a suspension: the next run selects the amount again
    Release(About),
}

#[derive(Debug, clap::Args)]
pub struct About {
    payer: String,
    insurance_type: String,
    valid_year: i16,
    /// Who decides
    #[arg(long)]
    by: String,
    /// Why
    #[arg(long)]
    reason: String,
}

#[derive(Serialize)]
struct HeldReport {
    payer_id: String,
    insurance_type: String,
    valid_year: i16,
    amount: String,
    hold_reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

pub async fn hold(ctx: Context, command: HoldCommand, json: bool) -> Result<(), Failure> {
    match command {
        HoldCommand::List => list(ctx, json).await,
        HoldCommand::Set(about) => decide(ctx, about, Wish::Set, json).await,
        HoldCommand::Release(about) => decide(ctx, about, Wish::Release, json).await,
    }
}

async fn list(ctx: Context, json: bool) -> Result<(), Failure> {
    let mut connection = ctx.pool.acquire().await.map_err(anyhow::Error::from)?;
    let mut reports = Vec::new();
    let mut after: Option<YearKey> = None;
    loop {
        let page = holds::list(&mut connection, after.as_ref(), PAGE_MAX).await.map_err(anyhow::Error::from)?;
        let Some(last) = page.last() else { break };
        after = Some((last.payer_id.clone(), last.insurance_type.clone(), last.valid_year));
        reports.extend(page.into_iter().map(|row| HeldReport {
            payer_id: row.payer_id,
            insurance_type: row.insurance_type,
            valid_year: row.valid_year,
            amount: row.amount.to_string(),
            hold_reason: row.hold_reason,
            decided_by: row.decided_by,
            decided_at: row.decided_at.map(wire_time),
            reason: row.reason,
        }));
    }
    if json {
        print::document(&reports);
        return Ok(());
    }
    let rows: Vec<Vec<String>> = reports
        .into_iter()
        .map(|row| {
            let why = row.reason.as_deref().map(print::harmless).unwrap_or_default();
            let by = row.decided_by.as_deref().map(print::harmless).unwrap_or_default();
            vec![row.payer_id, row.insurance_type, row.valid_year.to_string(), row.amount, row.hold_reason, by, why]
        })
        .collect();
    print::table(&["payer", "type", "year", "amount", "held", "by", "why"], &rows);
    Ok(())
}

async fn decide(ctx: Context, about: About, wish: Wish, json: bool) -> Result<(), Failure> {
    let key: YearKey = (about.payer, about.insurance_type, about.valid_year);
    hold::decide(&ctx, &key, wish, &Decision { by: about.by, reason: about.reason }).await?;
    let events_published = publish(&ctx).await;
    let (payer_id, insurance_type, valid_year) = key;
    let held = (wish == Wish::Set).then(|| HoldReason::Suspended.as_str());
    if json {
        print::document(&serde_json::json!({"payer_id": payer_id, "insurance_type": insurance_type,
            "valid_year": valid_year, "hold_reason": held, "events_published": events_published}));
    } else {
        let now = if held.is_some() { "held" } else { "released" };
        println!("the amount of {payer_id} for {insurance_type} {valid_year} is {now}");
    }
    Ok(())
}
