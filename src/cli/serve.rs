//! `pikou serve`

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::Failure;
use crate::stages::Context;
use crate::worker;

/// Works until SIGTERM or SIGINT, then finishes what is in hand.
pub async fn serve(ctx: Context) -> Result<(), Failure> {
    let shutdown = until_told(|| tracing::info!("stopping: finishing what is in hand"))?;
    tracing::info!(
        database = if ctx.settings.database.url == crate::config::EMBEDDED { "embedded" } else { "given" },
        broker = if ctx.settings.is_embedded_broker() { "none" } else { "given" },
        data = %ctx.settings.data_folder.display(),
        "pikou is at work"
    );
    worker::serve(&ctx, shutdown).await?;
    tracing::info!("stopped");
    Ok(())
}

/// Is cancelled by SIGTERM or SIGINT.
pub(super) fn until_told(said: impl FnOnce() + Send + 'static) -> Result<CancellationToken, Failure> {
    let shutdown = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).map_err(anyhow::Error::from)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(anyhow::Error::from)?;
    let stop = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        said();
        stop.cancel();
    });
    Ok(shutdown)
}
