//! What a batch has made of the book, written back in a few statements.

use sqlx::PgConnection;

use super::Moved;
use super::book::Book;
use super::entry::{Answer, Entry, Standing};
use crate::contract::events::{Data, DiscrepancyData, Event, EventType, Subject};
use crate::domain::declaration::DeclarationState;
use crate::stages::{StageError, telling};
use crate::store::agreements::AgreementRow;
use crate::store::amount_settings::SettingRow;
use crate::store::declarations::Declaration;
use crate::store::discrepancies::ReportedDiscrepancy;
use crate::store::enrolments::EnrolmentRow;
use crate::store::messages::NewMessage;
use crate::store::online_orders::OnlineOrder;
use crate::store::{
    Stored, absences, agreements, amount_settings, assessments, bills, declarations, discrepancies, enrolments, holds,
    messages, online_orders, reversals, runs,
};

impl Book<'_> {
    /// Writes what is new. Returns the payers whose standing has changed.
    pub async fn write(&mut self, tx: &mut PgConnection) -> Result<Moved, StageError> {
        self.write_facts(tx).await?;
        self.write_declarations_and_orders(tx).await?;
        self.open_discrepancies(tx).await?;
        for run in &self.requested_runs {
            runs::find_or_make(tx, run, self.now).await?;
        }
        self.answer_waiting(tx).await?;
        Ok(std::mem::take(&mut self.moved))
    }

    async fn write_facts(&mut self, tx: &mut PgConnection) -> Result<(), StageError> {
        // In the order of their keys: the pages of an index are then written one after the other.
        for stored in [Stored::Not, Stored::Before] {
            let mut rows: Vec<&EnrolmentRow> =
                self.new_enrolments.values().filter(|row| row.stored == stored).collect();
            rows.sort_unstable_by(|a, b| a.payer_id.cmp(&b.payer_id));
            if !rows.is_empty() {
                enrolments::write(tx, &rows, stored).await?;
            }
            let mut rows: Vec<&AgreementRow> =
                self.new_agreements.values().filter(|row| row.stored == stored).collect();
            rows.sort_unstable_by(|a, b| a.payer_id.cmp(&b.payer_id));
            if !rows.is_empty() {
                agreements::write(tx, &rows, stored).await?;
            }
        }
        if !self.new_earlier_enrolments.is_empty() {
            enrolments::insert_earlier(tx, &self.new_earlier_enrolments).await?;
        }
        if !self.new_assessments.is_empty() {
            let rows: Vec<_> = self.new_assessments.iter().map(|key| (key, &self.assessments[key])).collect();
            assessments::upsert(tx, &rows).await?;
        }
        let signers: Vec<&str> = self.signers.iter().map(String::as_str).collect();
        if !signers.is_empty() && declarations::any_held(tx, &signers).await? {
            declarations::release_held(tx, &signers).await?;
        }
        let (mut new, mut changed) = (Vec::new(), Vec::new());
        for key in &self.touched_years {
            let year = &self.years[key];
            for version in &year.history.versions {
                let (hold_reason, sequence) = year.marks.get(&version.order).cloned().unwrap_or_default();
                let rows = match year.stored.get(&version.order) {
                    None => &mut new,
                    Some((state, hold, at)) if (state, hold, at) != (&version.state, &hold_reason, &sequence) => {
                        &mut changed
                    }
                    Some(_) => continue,
                };
                rows.push(SettingRow { key: key.clone(), version: version.clone(), hold_reason, sequence });
            }
        }
        // What a new one supersedes before it: one amount is active at a time.
        for (rows, stored) in [(changed, Stored::Before), (new, Stored::Not)] {
            if !rows.is_empty() {
                amount_settings::write(tx, &rows, stored).await?;
            }
        }
        if !self.released.is_empty() {
            holds::end_streaks(tx, self.released.iter().map(|(p, t)| (p.as_str(), t.as_str()))).await?;
        }
        if !self.new_voids.is_empty() {
            amount_settings::insert_voids(tx, &self.new_voids).await?;
        }
        Ok(())
    }

    /// Attempts that end before those that begin, and declarations are freed only when their attempts have ended: the
    /// guards look at every statement.
    async fn write_declarations_and_orders(&mut self, tx: &mut PgConnection) -> Result<(), StageError> {
        let new: Vec<&Declaration> = self.new_declarations.iter().map(|number| &self.declarations[number]).collect();
        if !new.is_empty() {
            declarations::insert(tx, &new).await?;
        }
        // One step at a time: nothing is paid that was not payable.
        let woken = self.woken_declarations.intersection(&self.moved_declarations);
        let woken: Vec<Declaration> = woken
            .map(|number| Declaration { state: DeclarationState::Payable, ..self.declarations[number].clone() })
            .collect();
        if !woken.is_empty() {
            declarations::update(tx, &woken.iter().collect::<Vec<_>>()).await?;
        }
        let moved: Vec<&OnlineOrder> = self.moved_orders.iter().map(|number| &self.orders[number]).collect();
        if !moved.is_empty() {
            online_orders::update(tx, &moved).await?;
        }
        let new: Vec<&OnlineOrder> = self.new_orders.iter().map(|number| &self.orders[number]).collect();
        if !new.is_empty() {
            online_orders::insert(tx, &new).await?;
        }
        let moved: Vec<&Declaration> =
            self.moved_declarations.iter().map(|number| &self.declarations[number]).collect();
        if !moved.is_empty() {
            declarations::update(tx, &moved).await?;
        }
        if !self.settlements.is_empty() {
            online_orders::settle(tx, self.now, &self.settlements).await?;
        }
        self.write_kept(tx).await
    }

    /// What a bill had before its order was started: it is explained, and where the money has gone back since, it is
    /// reversed.
    async fn write_kept(&mut self, tx: &mut PgConnection) -> Result<(), StageError> {
        if !self.settled_by_bills.is_empty() {
            let refunded = bills::refunded(tx, &self.settled_by_bills, self.now).await?;
            let rows: Vec<_> = refunded.iter().map(bills::ToReverse::reversal).collect();
            for row in reversals::reverse(tx, self.now, &rows).await? {
                let cause = refunded.iter().find(|refund| refund.key() == (row.order_no.as_str(), row.item));
                let cause = cause.map(bills::ToReverse::causation).unwrap_or_default();
                self.events.extend(telling::reversed(&row, &cause, self.now));
            }
        }
        if !self.explained.is_empty() {
            let rows: Vec<(i64, &str)> = self.explained.iter().map(|(id, cause)| (*id, cause.as_str())).collect();
            let explained = absences::explain_kept(tx, &rows).await?;
            self.events.extend(explained.iter().map(|row| telling::explained(row, self.now)));
        }
        Ok(())
    }

    async fn open_discrepancies(&mut self, tx: &mut PgConnection) -> Result<(), StageError> {
        if self.discrepancies.is_empty() {
            return Ok(());
        }
        let rows: Vec<&ReportedDiscrepancy> = self.discrepancies.iter().map(|(row, _)| row).collect();
        for (discrepancy_id, place) in discrepancies::open(tx, self.now, &rows).await? {
            let (row, cause) = &self.discrepancies[place as usize - 1];
            self.events.push(Event {
                kind: EventType::DiscrepancyOpened,
                subject: Subject::Discrepancy(discrepancy_id),
                sequence: 1,
                causation: cause.clone(),
                time: self.now,
                data: Data::Discrepancy(DiscrepancyData {
                    discrepancy_id,
                    kind: row.kind.as_str().to_owned(),
                    gateway: row.gateway.as_str().to_owned(),
                    order_no: Some(row.order_no.clone()),
                    payer_id: row.payer_id.clone(),
                    amount_ours: Some(row.amount.to_string()),
                    amount_theirs: Some(row.amount.to_string()),
                    code: row.code.clone(),
                    ..DiscrepancyData::default()
                }),
            });
        }
        Ok(())
    }

    /// The answers to messages that had waited, or what they wait for now.
    async fn answer_waiting(&self, tx: &mut PgConnection) -> Result<(), StageError> {
        let mut answered: Vec<(&str, &str, &str, Option<&str>)> = Vec::new();
        let mut waiting_on = Vec::new();
        for Entry { understood, standing, answer } in &self.entries {
            let (source, id) = (understood.source.as_str(), understood.id.as_str());
            match (standing, answer) {
                (Standing::Fresh, _) | (_, None) => {}
                (Standing::Waited(before), Some(Answer::Waiting(awaited, _))) => {
                    let now = awaited.to_string();
                    if now != *before {
                        waiting_on.push((source, id, now));
                    }
                }
                (_, Some(answer)) => answered.push((source, id, answer.outcome(), answer.code())),
            }
        }
        if !answered.is_empty() {
            messages::answer_waiting(tx, &answered).await?;
        }
        if !waiting_on.is_empty() {
            messages::wait_on(tx, &waiting_on).await?;
        }
        Ok(())
    }

    /// The log rows of the messages that came with this batch, with their encrypted bytes given in the same order.
    pub fn message_rows<'b>(&'b self, payers: &'b [String], sealed: &[&'b [u8]]) -> Vec<NewMessage<'b>> {
        let fresh = self.entries.iter().filter(|entry| entry.standing == Standing::Fresh);
        let wait_until = self.now + self.ctx.settings.intake.wait();
        fresh
            .zip(sealed.iter().zip(payers))
            .map(|(entry, (raw, payer_id))| {
                let understood = &entry.understood;
                let answer = entry.answer.as_ref().expect("every entry is judged");
                let wait_for = match answer {
                    Answer::Waiting(awaited, _) => Some(awaited.to_string()),
                    Answer::Accepted | Answer::Refused(_) | Answer::Stale => None,
                };
                NewMessage {
                    source: &understood.source,
                    id: &understood.id,
                    kind: &understood.kind,
                    payer_id,
                    sent_at: understood.order.time,
                    digest: &understood.digest,
                    raw,
                    outcome: answer.outcome(),
                    code: answer.code(),
                    wait_until: wait_for.is_some().then_some(wait_until),
                    wait_for,
                }
            })
            .collect()
    }

    /// Whom each message of this batch is about; empty where nobody knows.
    pub fn payers(&self) -> Vec<String> {
        let fresh = self.entries.iter().filter(|entry| entry.standing == Standing::Fresh);
        fresh.map(|entry| self.payer_of(&entry.understood.message).unwrap_or_default()).collect()
    }
}
