//! A message on its way through the intake: what it says, and what is answered.

use std::sync::Arc;

use crate::contract::envelope::{self, Envelope, NotUnderstood};
use crate::contract::inbound::Message;
use crate::contract::refusal::RefusalCode;
use crate::crypt::{Keys, Purpose};
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
    pub personal: Personal,
}

/// What of a message its fact keeps encrypted; sealed here, before the transaction that writes it.
pub(super) enum Personal {
    Nothing,
    Person { name: Vec<u8>, id_number: Vec<u8>, id_number_hash: [u8; 32] },
    Account { number: Vec<u8>, name: Vec<u8> },
}

impl Personal {
    fn of(message: &Message, keys: &Keys) -> Personal {
        match message {
            Message::EnrolmentChanged(m) => Personal::Person {
                name: keys.seal(Purpose::PersonName, m.name.as_bytes()),
                id_number: keys.seal(Purpose::IdentityNumber, m.id_number.as_bytes()),
                id_number_hash: keys.digest(m.id_number.as_bytes()),
            },
            Message::AgreementChanged(m) => Personal::Account {
                number: keys.seal(Purpose::AccountNumber, m.account_no.as_bytes()),
                name: keys.seal(Purpose::AccountName, m.account_name.as_bytes()),
            },
            Message::AmountSet(_)
            | Message::AmountVoided(_)
            | Message::AssessmentChanged(_)
            | Message::DeclarationSubmitted(_)
            | Message::DeclarationVoidRequested(_)
            | Message::PaymentStarted(_)
            | Message::PaymentReported(_)
            | Message::RunRequested(_) => Personal::Nothing,
        }
    }
}

/// Reads one message.
pub(super) fn understand(ctx: &Context, raw: &[u8]) -> Result<Understood, NotUnderstood> {
    let envelope = envelope::read(raw, ctx.settings.intake.message_max_bytes)?;
    let message = Message::read(&envelope, &ctx.settings.insurance_types)?;
    let digest = ctx.keys.digest(envelope.canonical.as_bytes());
    let Envelope { source, id, kind, time, .. } = envelope;
    // A blank is lower than every character of an id, so this sorts by id and then by source.
    let order = FactOrder { time, id: format!("{id} {source}") };
    let personal = Personal::of(&message, &ctx.keys);
    Ok(Understood { source, id, kind, order, message, digest, personal })
}

impl Understood {
    /// What it is called in the causation of its events.
    pub fn causation(&self) -> String {
        format!("message:{}/{}", self.source, self.id)
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
