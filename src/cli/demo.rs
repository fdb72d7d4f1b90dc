//! `pikou demo`
use super::Failure;
use crate::config::Settings;

#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// How many payers
    #[arg(long, default_value_t = 10_000)]
    payers: u32,
    /// The same seed makes the same day
    #[arg(long, default_value_t = 1)]
    seed: u64,
}
pub async fn demo(_settings: Settings, _args: DemoArgs, _json: bool) -> Result<(), Failure> {
    Ok(())
}
