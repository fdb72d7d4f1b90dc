//! What the rules need to know for a batch, in a few statements. Those about declarations, orders and assessments are
//! asked only for batches with messages about them.

use std::collections::BTreeSet;
use std::sync::Arc;

use sqlx::PgConnection;

use super::book::{Book, EnrolmentKey, brings};
use super::entry::{Entry, Standing, understand};
use crate::contract::inbound::Message;
use crate::crypt::Purpose;
use crate::domain::declaration::{Kind, Obligation};
use crate::domain::order::OrderState;
use crate::stages::{Context, StageError};
use crate::store::amount_settings::{self, YearKey};
use crate::store::messages::Waiting;
use crate::store::year_turns::What;
use crate::store::{
    absences, agreements, assessments, declarations, enrolments, gates, messages, online_orders, year_turns,
};

/// Locks what messages are about: numbers first, then the payers, also those that only the book knows.
pub(super) async fn lock<'m>(
    tx: &mut PgConnection,
    of: impl Iterator<Item = &'m Message> + Clone,
) -> Result<(), StageError> {
    let declaration_nos: Vec<&str> = of.clone().flat_map(Message::declaration_nos).collect();
    let order_nos: Vec<&str> = of.clone().filter_map(Message::order_no).collect();
    let numbers = declaration_nos.iter().chain(&order_nos).copied();
    gates::keys(tx, gates::Keys::Numbers, numbers).await?;
    let mut payers: BTreeSet<String> = of.clone().filter_map(Message::payer_id).map(str::to_owned).collect();
    let unnamed = of.filter(|message| message.payer_id().is_none());
    let unnamed: Vec<&str> = unnamed.flat_map(Message::declaration_nos).collect();
    if !unnamed.is_empty() {
        payers.extend(declarations::payers(tx, &unnamed).await?);
    }
    if !order_nos.is_empty() {
        payers.extend(online_orders::payers(tx, &order_nos).await?);
    }
    Ok(gates::keys(tx, gates::Keys::Payers, payers.iter().map(String::as_str)).await?)
}

/// A waiting message as it came.
pub(super) fn understand_waiting(ctx: &Context, waiting: &Waiting, standing: Standing) -> Result<Entry, StageError> {
    let raw = ctx.keys.open(Purpose::RawMessage, &waiting.raw)?;
    let understood = understand(ctx, &raw, &[])
        .map_err(|fault| StageError::broken(format!("a waiting message is not understood: {}", fault.reason)))?;
    Ok(Entry::new(Arc::new(understood), standing))
}

impl Book<'_> {
    pub async fn load(&mut self, tx: &mut PgConnection) -> Result<(), StageError> {
        self.load_waiting(tx).await?;
        self.load_orders(tx).await?;
        self.load_declarations(tx).await?;
        self.load_enrolments(tx).await?;
        self.load_assessments(tx).await?;
        self.load_agreements(tx).await?;
        self.load_years(tx).await
    }

    /// What waits for something that this batch brings, and what waits for that.
    async fn load_waiting(&mut self, tx: &mut PgConnection) -> Result<(), StageError> {
        let mut looked = BTreeSet::new();
        let mut from = 0;
        loop {
            let brought: BTreeSet<String> = self.entries[from..]
                .iter()
                .filter_map(|entry| brings(&entry.understood.message))
                .map(|b| b.to_string())
                .collect();
            let new: Vec<String> = brought.into_iter().filter(|key| looked.insert(key.clone())).collect();
            if new.is_empty() {
                break;
            }
            from = self.entries.len();
            for waiting in messages::waiting(tx, &new).await? {
                let entry = understand_waiting(self.ctx, &waiting, Standing::Waited(waiting.wait_for.clone()))?;
                let same = |known: &Entry| {
                    (&known.understood.source, &known.understood.id) == (&entry.understood.source, &entry.understood.id)
                };
                if !self.entries.iter().any(same) {
                    self.waiting.entry(waiting.wait_for).or_default().push(self.entries.len());
                    self.entries.push(entry);
                }
            }
        }
        let woken = self.entries.iter().filter(|entry| matches!(entry.standing, Standing::Waited(_)));
        if woken.clone().next().is_some() {
            lock(tx, woken.map(|entry| &entry.understood.message)).await?;
        }
        Ok(())
    }

    async fn load_orders(&mut self, tx: &mut PgConnection) -> Result<(), StageError> {
        let numbers: BTreeSet<&str> = self.messages().filter_map(Message::order_no).collect();
        if numbers.is_empty() {
            return Ok(());
        }
        let numbers: Vec<&str> = numbers.into_iter().collect();
        let orders = online_orders::load(tx, &numbers).await?;
        let started: Vec<&str> = self
            .messages()
            .filter_map(|message| match message {
                Message::PaymentStarted(m) => Some(m.order_no.as_str()),
                _ => None,
            })
            .collect();
        let kept = if started.is_empty() { Vec::new() } else { absences::kept(tx, &started).await? };
        let mut reported: Vec<&str> = self
            .messages()
            .filter_map(|message| match message {
                Message::PaymentReported(m) => m.gateway_txn_no.as_deref(),
                _ => None,
            })
            .collect();
        reported.extend(kept.iter().filter_map(|row| row.gateway_txn_no.as_deref()));
        let mut settled = Vec::new();
        if !reported.is_empty() {
            let (gateways, numbers): (Vec<&str>, Vec<&str>) = crate::domain::order::Gateway::ALL
                .iter()
                .flat_map(|gateway| reported.iter().map(|number| (gateway.as_str(), *number)))
                .unzip();
            settled = online_orders::settled_by(tx, &gateways, &numbers).await?;
        }
        self.orders = orders.into_iter().map(|order| (order.order_no.clone(), order)).collect();
        self.transactions = settled.into_iter().map(|(gateway, number, order)| ((gateway, number), order)).collect();
        self.kept = kept;
        Ok(())
    }

    async fn load_declarations(&mut self, tx: &mut PgConnection) -> Result<(), StageError> {
        let mut numbers: BTreeSet<&str> = self.messages().flat_map(Message::declaration_nos).collect();
        let open = self.orders.values().filter(|order| order.state != OrderState::Refused);
        numbers.extend(open.flat_map(|order| order.attempts.iter().map(|attempt| attempt.declaration_no.as_str())));
        let mut obligations: BTreeSet<(&str, &str, &Obligation)> = BTreeSet::new();
        let mut assessed: BTreeSet<(&str, &str)> = BTreeSet::new();
        for message in self.messages() {
            match message {
                Message::DeclarationSubmitted(m) => {
                    obligations.insert((m.payer_id.as_str(), &m.insurance_type.0, &m.obligation));
                }
                Message::AssessmentChanged(m) => {
                    assessed.insert((m.payer_id.as_str(), &m.assessment_no));
                }
                _ => {}
            }
        }
        let mut known = Vec::new();
        if !numbers.is_empty() {
            known.extend(declarations::by_number(tx, &numbers.into_iter().collect::<Vec<_>>()).await?);
        }
        if !obligations.is_empty() {
            known.extend(declarations::live(tx, &obligations.into_iter().collect::<Vec<_>>()).await?);
        }
        if !assessed.is_empty() {
            let (payers, numbers): (Vec<&str>, Vec<&str>) = assessed.into_iter().unzip();
            known.extend(declarations::under(tx, &payers, &numbers).await?);
        }
        for one in known {
            if one.state.is_live() {
                let key = ((one.payer_id.clone(), one.insurance_type.clone()), one.obligation.clone());
                self.live.insert(key, one.declaration_no.clone());
            }
            self.declarations.insert(one.declaration_no.clone(), one);
        }
        Ok(())
    }

    async fn load_enrolments(&mut self, tx: &mut PgConnection) -> Result<(), StageError> {
        let mut keys: BTreeSet<EnrolmentKey> = self.messages().filter_map(enrolment_key).collect();
        keys.extend(self.declarations.values().map(|known| (known.payer_id.clone(), known.insurance_type.clone())));
        let gone_by = self.messages().filter_map(|message| self.year_gone_by(message));
        keys.extend(gone_by.map(|(payer_id, insurance_type, _)| (payer_id, insurance_type)));
        if keys.is_empty() {
            return Ok(());
        }
        let (payers, types): (Vec<&str>, Vec<&str>) = keys.iter().map(|(p, t)| (p.as_str(), t.as_str())).unzip();
        let rows = enrolments::load(tx, &payers, &types).await?;
        self.enrolments = rows.into_iter().map(|(payer, kind, row)| ((payer, kind), row)).collect();
        // Few are older than the newest word on where their payer is insured.
        let oldest = self.entries.iter().map(|entry| entry.understood.order.time).min();
        let late = keys.iter().filter(|key| {
            let newest = self.enrolments.get(*key).map(|newest| newest.order.time);
            newest.zip(oldest).is_some_and(|(newest, oldest)| oldest < newest)
        });
        let (payers, types): (Vec<&str>, Vec<&str>) = late.map(|(p, t)| (p.as_str(), t.as_str())).unzip();
        if !payers.is_empty() {
            for (payer, kind, row) in enrolments::earlier(tx, &payers, &types).await? {
                self.earlier_enrolments.entry((payer, kind)).or_default().push(row);
            }
        }
        Ok(())
    }

    async fn load_assessments(&mut self, tx: &mut PgConnection) -> Result<(), StageError> {
        let special = self.declarations.values().filter(|known| known.obligation.kind == Kind::Special);
        let mut keys: BTreeSet<(&str, &str)> =
            special.map(|known| (known.payer_id.as_str(), known.obligation.assessment_no.as_str())).collect();
        keys.extend(self.messages().filter_map(|message| match message {
            Message::AssessmentChanged(m) => Some((m.payer_id.as_str(), m.assessment_no.as_str())),
            Message::DeclarationSubmitted(m) if m.obligation.kind == Kind::Special => {
                Some((m.payer_id.as_str(), m.obligation.assessment_no.as_str()))
            }
            _ => None,
        }));
        if keys.is_empty() {
            return Ok(());
        }
        let (payers, numbers): (Vec<&str>, Vec<&str>) = keys.into_iter().unzip();
        self.assessments = assessments::load(tx, &payers, &numbers).await?.into_iter().collect();
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
        if keys.is_empty() {
            return Ok(());
        }
        let (payers, numbers): (Vec<&str>, Vec<&str>) = keys.into_iter().unzip();
        let rows = agreements::load(tx, &payers, &numbers).await?;
        self.agreements = rows.into_iter().map(|(payer, number, order)| ((payer, number), order)).collect();
        Ok(())
    }

    async fn load_years(&mut self, tx: &mut PgConnection) -> Result<(), StageError> {
        let mut keys: BTreeSet<YearKey> = BTreeSet::new();
        let (mut signers, mut pays): (BTreeSet<&str>, bool) = (BTreeSet::new(), false);
        for message in self.messages() {
            match message {
                Message::AmountSet(m) => {
                    keys.insert((m.payer_id.to_string(), m.insurance_type.0.clone(), m.valid_year.0));
                }
                Message::AmountVoided(m) => {
                    keys.insert((m.payer_id.to_string(), m.insurance_type.0.clone(), m.valid_year.0));
                }
                Message::AgreementChanged(m) => {
                    signers.insert(m.payer_id.as_str());
                }
                // What it pays may be a whole year.
                Message::PaymentReported(_) => pays = true,
                Message::PaymentStarted(m) => pays |= self.kept.iter().any(|row| row.order_no == m.order_no),
                _ => {}
            }
        }
        if pays {
            let normal = self.declarations.values().filter(|known| known.obligation.kind == Kind::Normal);
            keys.extend(normal.map(|known| {
                let year = known.obligation.period.from.year().0;
                (known.payer_id.clone(), known.insurance_type.clone(), year)
            }));
        }
        if !signers.is_empty() {
            let signers: Vec<&str> = signers.into_iter().collect();
            keys.extend(amount_settings::held_for_agreement(tx, &signers).await?);
        }
        let gone_by: Vec<YearKey> = self.messages().filter_map(|message| self.year_gone_by(message)).collect();
        if !gone_by.is_empty() || self.messages().any(|message| self.is_of_a_year_over(message)) {
            self.ends = year_turns::begun(tx, What::Expiry).await?.into_iter().collect();
        }
        if !gone_by.is_empty() {
            self.openings = year_turns::begun(tx, What::Opening).await?.into_iter().collect();
            let after: BTreeSet<YearKey> = gone_by.iter().flat_map(|key| self.opened_after(key)).collect();
            let last_paid: Vec<YearKey> = after.iter().filter(|key| self.carries_last_paid(key)).cloned().collect();
            keys.extend(after);
            if !last_paid.is_empty() {
                self.last_paid = amount_settings::last_paid(tx, &last_paid).await?;
            }
        }
        let keys: Vec<YearKey> = keys.into_iter().collect();
        self.years = amount_settings::load(tx, &keys).await?;
        Ok(())
    }
}

/// The enrolment that a message names.
fn enrolment_key(message: &Message) -> Option<EnrolmentKey> {
    let (payer_id, insurance_type) = match message {
        Message::EnrolmentChanged(m) => (&m.payer_id, &m.insurance_type),
        Message::AmountSet(m) => (&m.payer_id, &m.insurance_type),
        Message::DeclarationSubmitted(m) => (&m.payer_id, &m.insurance_type),
        Message::AgreementChanged(_)
        | Message::AmountVoided(_)
        | Message::AssessmentChanged(_)
        | Message::DeclarationVoidRequested(_)
        | Message::PaymentStarted(_)
        | Message::PaymentReported(_)
        | Message::RunRequested(_) => return None,
    };
    Some((payer_id.to_string(), insurance_type.0.clone()))
}
