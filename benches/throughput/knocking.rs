//! Somebody who sends a message all the while, one after the other: how long the longest of them waits is how long
//! intake stands still while a run is planned and sealed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use pikou::stages::Context;
use pikou::stages::intake::{Delivery, take};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::Outcome;

pub struct Knocking {
    longest_ms: Arc<AtomicU64>,
    stop: CancellationToken,
    task: JoinHandle<Outcome<()>>,
}

impl Knocking {
    pub fn begin(ctx: &Context) -> Knocking {
        let (longest_ms, stop) = (Arc::new(AtomicU64::new(0)), CancellationToken::new());
        let task = tokio::spawn({
            let (ctx, longest_ms, stop) = (ctx.clone(), Arc::clone(&longest_ms), stop.clone());
            async move {
                for number in 0.. {
                    if stop.is_cancelled() {
                        break;
                    }
                    let clock = Instant::now();
                    take(&ctx, &[enrolment(number)]).await?;
                    longest_ms.fetch_max(clock.elapsed().as_millis() as u64, Ordering::SeqCst);
                }
                Ok(())
            }
        });
        Knocking { longest_ms, stop, task }
    }

    /// The longest since this was last asked, in milliseconds.
    pub fn longest_ms(&self) -> u64 {
        self.longest_ms.swap(0, Ordering::SeqCst)
    }

    pub async fn end(self) -> Outcome<()> {
        self.stop.cancel();
        self.task.await?
    }
}

/// Of somebody who is in no run.
fn enrolment(number: u32) -> Delivery {
    let message = serde_json::json!({"specversion": "1.0", "id": format!("k{number}"), "source": "//bench",
        "type": "pikou.in.enrolment.changed.v1", "time": "2026-04-15T00:00:00Z", "datacontenttype": "application/json",
        "data": {"payer_id": format!("K{number}"), "insurance_type": "resident_pension", "status": "active",
            "effective_on": "2020-01-01", "name": "王伟", "id_type": "passport", "id_number": format!("E{number}"),
            "division_code": "520100"}});
    Delivery { raw: message.to_string().into_bytes(), headers: vec![], origin: "bench".into() }
}
