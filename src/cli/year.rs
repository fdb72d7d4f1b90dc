//! `pikou year`: turns of a valid year, by hand.

use clap::Subcommand;

use super::commands::publish;
use super::{Failure, print};
use crate::stages::Context;
use crate::stages::turning;
use crate::store::year_turns::TurnKey;

#[derive(Debug, Subcommand)]
pub enum YearCommand {
    /// Carry last year's amounts over, as it happens when the window opens; again, it does nothing
    Open { region: String, insurance_type: String, valid_year: i16 },
}

pub async fn year(ctx: Context, command: YearCommand, json: bool) -> Result<(), Failure> {
    let YearCommand::Open { region, insurance_type, valid_year } = command;
    let key = TurnKey { region, insurance_type, valid_year };
    let (amounts, held) = turning::open(&ctx, &key, ctx.clock.business_date()).await?;
    let events_published = publish(&ctx).await;
    if json {
        print::document(&serde_json::json!({"region": key.region, "insurance_type": key.insurance_type,
            "valid_year": key.valid_year, "amounts": amounts, "held": held, "events_published": events_published}));
    } else {
        println!(
            "{} {} of {} is open: {amounts} amounts carried over, {held} of them held",
            key.insurance_type, key.valid_year, key.region
        );
    }
    Ok(())
}
