//! A message on its way through the intake: what it says, and what is answered.

use std::sync::Arc;

use crate::contract::binary::{self, Mode};
use crate::contract::envelope::{Envelope, NotUnderstood};
use crate::contract::inbound::Message;
use crate::contract::refusal::RefusalCode;
use crate::domain::amount_setting::FactOrder;
use crate::domain::waiting::Awaited;
use crate::stages::Context;

/// A message that is understood.
pub(super) struct Understood {
    pub source: String,
    pub id: String,
    pub kind: String,
    pub order: FactOrder,
    pub message: Message,
    pub digest: [u8; 32],
    /// The message in structured mode, where it came in binary mode: everything behind the intake knows only one.
    structured: Option<String>,
}

/// Reads one message, in whichever mode it came.
pub(super) fn understand(ctx: &Context, raw: &[u8], headers: &[(String, String)]) -> Result<Understood, NotUnderstood> {
    let (envelope, mode) = binary::read(raw, headers, ctx.settings.intake.message_max_bytes)?;
    let message = Message::read(&envelope, &ctx.settings.insurance_types)?;
    let digest = ctx.keys.digest(envelope.canonical.as_bytes());
    let Envelope { source, id, kind, time, canonical, .. } = envelope;
    let structured = match mode {
        Mode::Structured => None,
        Mode::Binary => Some(canonical),
    };
    // A blank is lower than every character of an id, so this sorts by id and then by source.
    let order = FactOrder { time, id: format!("{id} {source}") };
    Ok(Understood { source, id, kind, order, message, digest, structured })
}

impl Understood {
    /// What it is called in the causation of its events.
    pub fn causation(&self) -> String {
        format!("message:{}/{}", self.source, self.id)
    }

    /// The bytes that the log keeps of a message that came as `raw`: always a structured event.
    pub fn logged<'m>(&'m self, raw: &'m [u8]) -> &'m [u8] {
        self.structured.as_deref().map_or(raw, str::as_bytes)
    }
}

/// What is answered to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Accepted,
    Refused(RefusalCode),
    Stale,
    /// For something that has not come, and the refusal if it does not come in time.
    Waiting(Awaited, RefusalCode),
}

impl Answer {
    pub fn outcome(&self) -> &'static str {
        match self {
            Answer::Accepted => "accepted",
            Answer::Refused(_) => "refused",
            Answer::Stale => "stale",
            Answer::Waiting(..) => "waiting",
        }
    }

    pub fn code(&self) -> Option<&'static str> {
        match self {
            Answer::Refused(code) => Some(code.as_str()),
            Answer::Accepted | Answer::Stale | Answer::Waiting(..) => None,
        }
    }
}

/// Where a message stands when it is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// It came with this batch.
    Fresh,
    /// It came before and has waited for this since.
    Waited(String),
    /// It has waited long enough: what it waits for now is refused.
    Ended(String),
}

/// A message and its answer.
pub(super) struct Entry {
    pub understood: Arc<Understood>,
    pub standing: Standing,
    pub answer: Option<Answer>,
}

impl Entry {
    pub fn new(understood: Arc<Understood>, standing: Standing) -> Entry {
        Entry { understood, standing, answer: None }
    }

    /// Judged before and found waiting: what it did then is in the book.
    pub fn is_woken(&self) -> bool {
        self.standing != Standing::Fresh || matches!(self.answer, Some(Answer::Waiting(..)))
    }
}
