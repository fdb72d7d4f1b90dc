//! The part of the book that a batch touches, in memory: loaded in a few statements, judged message by message
//! (`judge.rs`), written back in a few statements. Nothing can change under it: the caller holds the payers' locks.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Delivery, Moved, Understood, distinct, understand};
use crate::contract::events::Event;
use crate::contract::inbound::Message;
use crate::contract::refusal::RefusalCode;
use crate::crypt::Purpose;
use crate::domain::amount_setting::FactOrder;
use crate::domain::declaration::Obligation;
use crate::stages::{Context, StageError};
use crate::store::agreements::{self, AgreementRow};
use crate::store::amount_settings::{self, SettingRow, VoidRow, YearKey, YearRecord};
use crate::store::declarations::{self, DeclarationRow};
use crate::store::enrolments::{self, Enrolment, EnrolmentRow};
use crate::store::messages::{self, NewMessage};

/// (payer, insurance type)
pub(super) type EnrolmentKey = (String, String);

/// What is answered to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Accepted,
    Refused(RefusalCode),
    Stale,
    /// For the enrolment of its payer and type.
    Waiting,
}

impl Answer {
    fn outcome(self) -> &'static str {
        match self {
            Answer::Accepted => "accepted",
            Answer::Refused(_) => "refused",
            Answer::Stale => "stale",
            Answer::Waiting => "waiting",
        }
    }

    fn code(self) -> Option<&'static str> {
        match self {
            Answer::Refused(code) => Some(code.as_str()),
            Answer::Accepted | Answer::Stale | Answer::Waiting => None,
        }
    }
}

/// A message and its answer.
pub(super) struct Entry {
    pub understood: Understood,
    /// It came in an earlier batch and has waited since.
    pub waited: bool,
    pub answer: Option<Answer>,
}

pub(super) struct Book<'a> {
    pub ctx: &'a Context,
    pub now: DateTime<Utc>,
    pub entries: Vec<Entry>,
    /// Entries that wait, by what they wait for.
    pub waiting: HashMap<EnrolmentKey, Vec<usize>>,
    pub enrolments: HashMap<EnrolmentKey, Enrolment>,
    /// The newest word on each (payer, agreement number).
    pub agreements: HashMap<(String, String), FactOrder>,
    pub years: BTreeMap<YearKey, YearRecord>,
    /// Years touched by this batch, and what in them is new.
    pub touched: BTreeSet<YearKey>,
    /// Declaration numbers that exist, with their sequence.
    pub declared: HashMap<String, i64>,
    /// Obligations with a live declaration, and whether it is paid.
    pub obligations: HashMap<(EnrolmentKey, Obligation), bool>,
    pub new_enrolments: HashMap<EnrolmentKey, EnrolmentRow>,
    pub new_agreements: HashMap<(String, String), AgreementRow>,
    /// Payers with a new agreement that allows batches.
    pub signers: BTreeSet<String>,
    pub new_voids: Vec<VoidRow>,
    pub new_declarations: BTreeMap<String, DeclarationRow>,
    pub moved: Moved,
    pub events: Vec<Event>,
}

impl<'a> Book<'a> {
    pub async fn load(
        ctx: &'a Context,
        tx: &mut PgConnection,
        fresh: Vec<Understood>,
        now: DateTime<Utc>,
    ) -> Result<Book<'a>, StageError> {
        let fresh = fresh.into_iter().map(|understood| Entry { understood, waited: false, answer: None }).collect();
        let mut book = Book {
            ctx,
            now,
            entries: fresh,
            waiting: HashMap::new(),
            enrolments: HashMap::new(),
            agreements: HashMap::new(),
            years: BTreeMap::new(),
            touched: BTreeSet::new(),
            declared: HashMap::new(),
            obligations: HashMap::new(),
            new_enrolments: HashMap::new(),
            new_agreements: HashMap::new(),
            signers: BTreeSet::new(),
            new_voids: Vec::new(),
            new_declarations: BTreeMap::new(),
            moved: Vec::new(),
            events: Vec::new(),
        };
        book.load_waiting(tx).await?;
        book.load_enrolments(tx).await?;
        book.load_agreements(tx).await?;
        book.load_years(tx).await?;
        book.load_declarations(tx).await?;
        Ok(book)
    }

    fn messages(&self) -> impl Iterator<Item = &Message> {
        self.entries.iter().map(|entry| &entry.understood.message)
    }

    /// What waits for an enrolment that this batch brings.
    async fn load_waiting(&mut self, tx: &mut PgConnection) -> Result<(), StageError> {
        let keys: BTreeSet<EnrolmentKey> = self
            .messages()
            .filter_map(|message| match message {
                Message::EnrolmentChanged(m) => Some((m.payer_id.to_string(), m.insurance_type.0.clone())),
                _ => None,
            })
            .collect();
        if keys.is_empty() {
            return Ok(());
        }
        let (payers, types): (Vec<&str>, Vec<&str>) = keys.iter().map(|(p, t)| (p.as_str(), t.as_str())).unzip();
        for waiting in messages::waiting(tx, &payers, &types).await? {
            let raw = self.ctx.keys.open(Purpose::RawMessage, &waiting.raw)?;
            let understood = understand(self.ctx, &raw, &[]).map_err(|fault| {
                StageError::broken(format!("a waiting message is not understood: {}", fault.reason))
            })?;
            let place = self.entries.len();
            if let Some(key) = enrolment_key(&understood.message) {
                self.waiting.entry(key).or_default().push(place);
            }
            self.entries.push(Entry { understood, waited: true, answer: None });
        }
        Ok(())
    }

    async fn load_enrolments(&mut self, tx: &mut PgConnection) -> Result<(), StageError> {
        let keys: BTreeSet<EnrolmentKey> = self.messages().filter_map(enrolment_key).collect();
        let (payers, types): (Vec<&str>, Vec<&str>) = keys.iter().map(|(p, t)| (p.as_str(), t.as_str())).unzip();
        if !payers.is_empty() {
            let rows = enrolments::load(tx, &payers, &types).await?;
            self.enrolments = rows.into_iter().map(|(payer, kind, row)| ((payer, kind), row)).collect();
        }
        Ok(())
    }

    async fn load_agreements(&mut self, tx: &mut PgConnection) -> Result<(), StageError> {
        let keys: BTreeSet<(&str, &str)> = self
            .messages()
            .filter_map(|message| match message {
                Message::AgreementChanged(m) => Some((m.payer_id.as_str(), m.agreement_no.as_str())),
                _ => None,
            })
            .collect();
        if !keys.is_empty() {
            let (payers, numbers): (Vec<&str>, Vec<&str>) = keys.into_iter().unzip();
            let rows = agreements::load(tx, &payers, &numbers).await?;
            self.agreements = rows.into_iter().map(|(payer, number, order)| ((payer, number), order)).collect();
        }
        Ok(())
    }

    async fn load_years(&mut self, tx: &mut PgConnection) -> Result<(), StageError> {
        let mut keys: BTreeSet<YearKey> = BTreeSet::new();
        let mut signers = Vec::new();
        for message in self.messages() {
            match message {
                Message::AmountSet(m) => {
                    keys.insert((m.payer_id.to_string(), m.insurance_type.0.clone(), m.valid_year.0));
                }
                Message::AmountVoided(m) => {
                    keys.insert((m.payer_id.to_string(), m.insurance_type.0.clone(), m.valid_year.0));
                }
                Message::AgreementChanged(m) => signers.push(m.payer_id.as_str()),
                Message::EnrolmentChanged(_) | Message::DeclarationSubmitted(_) => {}
            }
        }
        let signers = distinct(signers.into_iter());
        if !signers.is_empty() {
            keys.extend(amount_settings::held_for_agreement(tx, &signers).await?);
        }
        let keys: Vec<YearKey> = keys.into_iter().collect();
        self.years = amount_settings::load(tx, &keys).await?;
        Ok(())
    }

    async fn load_declarations(&mut self, tx: &mut PgConnection) -> Result<(), StageError> {
        let submitted: Vec<_> = self
            .messages()
            .filter_map(|message| match message {
                Message::DeclarationSubmitted(m) => Some(m),
                _ => None,
            })
            .collect();
        if submitted.is_empty() {
            return Ok(());
        }
        let numbers = distinct(submitted.iter().map(|m| m.declaration_no.as_str()));
        let declared = declarations::known(tx, &numbers).await?.into_iter().collect();
        let keys: BTreeSet<(&str, &str, &Obligation)> =
            submitted.iter().map(|m| (m.payer_id.as_str(), m.insurance_type.0.as_str(), &m.obligation)).collect();
        let keys: Vec<_> = keys.into_iter().collect();
        let live = declarations::live(tx, &keys).await?;
        let obligations = live
            .into_iter()
            .map(|(place, paid)| {
                let (payer, kind, obligation) = keys[place as usize - 1];
                (((payer.to_owned(), kind.to_owned()), obligation.clone()), paid)
            })
            .collect();
        (self.declared, self.obligations) = (declared, obligations);
        Ok(())
    }

    /// The log rows of the messages that came with this batch, in their order.
    pub fn message_rows(&self, deliveries: &[&Delivery], seal: impl Fn(&[u8]) -> Vec<u8>) -> Vec<NewMessage> {
        let fresh = self.entries.iter().filter(|entry| !entry.waited);
        let wait_until = self.now + self.ctx.settings.intake.enrolment_wait();
        fresh
            .zip(deliveries)
            .map(|(entry, delivery)| {
                let understood = &entry.understood;
                let answer = entry.answer.expect("every entry is judged");
                let waits = answer == Answer::Waiting;
                NewMessage {
                    source: understood.source.clone(),
                    id: understood.id.clone(),
                    kind: understood.kind.clone(),
                    payer_id: understood.message.payer_id().to_string(),
                    sent_at: understood.order.time,
                    digest: understood.digest.to_vec(),
                    raw: seal(understood.structured.as_deref().map_or(&delivery.raw[..], str::as_bytes)),
                    outcome: answer.outcome(),
                    code: answer.code(),
                    wait_for: waits.then(|| enrolment_key(&understood.message).expect("waits for one").1),
                    wait_until: waits.then_some(wait_until),
                }
            })
            .collect()
    }

    /// Writes what is new. Returns the payers whose standing has changed.
    pub async fn write(&mut self, tx: &mut PgConnection) -> Result<Moved, StageError> {
        let enrolments: Vec<EnrolmentRow> = self.new_enrolments.drain().map(|(_, row)| row).collect();
        if !enrolments.is_empty() {
            enrolments::upsert(tx, &enrolments).await?;
        }
        let agreements: Vec<AgreementRow> = self.new_agreements.drain().map(|(_, row)| row).collect();
        if !agreements.is_empty() {
            agreements::upsert(tx, &agreements).await?;
        }
        if !self.signers.is_empty() {
            let signers: Vec<&str> = self.signers.iter().map(String::as_str).collect();
            declarations::release_held(tx, &signers).await?;
        }
        let settings: Vec<SettingRow> = self
            .touched
            .iter()
            .flat_map(|key| {
                let year = &self.years[key];
                year.history.versions.iter().map(move |version| {
                    let (hold_reason, sequence) = year.marks.get(&version.order).cloned().unwrap_or_default();
                    SettingRow { key: key.clone(), version: version.clone(), hold_reason, sequence }
                })
            })
            .collect();
        if !settings.is_empty() {
            amount_settings::upsert(tx, &settings).await?;
        }
        if !self.new_voids.is_empty() {
            amount_settings::insert_voids(tx, &self.new_voids).await?;
        }
        let declarations: Vec<DeclarationRow> = self.new_declarations.values().cloned().collect();
        if !declarations.is_empty() {
            declarations::upsert(tx, &declarations).await?;
        }
        let answered: Vec<(&str, &str, &str, Option<&str>)> = self
            .entries
            .iter()
            .filter(|entry| entry.waited)
            .filter_map(|entry| {
                let answer = entry.answer.filter(|answer| *answer != Answer::Waiting)?;
                Some((entry.understood.source.as_str(), entry.understood.id.as_str(), answer.outcome(), answer.code()))
            })
            .collect();
        if !answered.is_empty() {
            messages::answer_waiting(tx, &answered).await?;
        }
        Ok(std::mem::take(&mut self.moved))
    }

    pub fn into_events(self) -> Vec<Event> {
        self.events
    }
}

/// The enrolment that a message depends on, or brings.
pub(super) fn enrolment_key(message: &Message) -> Option<EnrolmentKey> {
    let (payer_id, insurance_type) = match message {
        Message::EnrolmentChanged(m) => (&m.payer_id, &m.insurance_type),
        Message::AmountSet(m) => (&m.payer_id, &m.insurance_type),
        Message::DeclarationSubmitted(m) => (&m.payer_id, &m.insurance_type),
        Message::AgreementChanged(_) | Message::AmountVoided(_) => return None,
    };
    Some((payer_id.to_string(), insurance_type.0.clone()))
}
