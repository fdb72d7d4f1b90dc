//! The rules, message by message: one refusal a line, in the order in which they are judged.

use super::book::{Answer, Book, EnrolmentKey, enrolment_key};
use crate::clock::business_date;
use crate::contract::events::{AmountData, Data, Event, EventType, MessageData, Subject};
use crate::contract::inbound::{
    AgreementChanged, AmountSet, AmountVoided, DeclarationSubmitted, EnrolmentChanged, Message,
};
use crate::contract::refusal::RefusalCode;
use crate::crypt::Purpose;
use crate::domain::amount_setting::{FactOrder, SetAnswer, Version, VoidAnswer};
use crate::domain::declaration::{DeclarationState, Kind};
use crate::domain::insurance::{CollectionRule, InsuranceType, Window};
use crate::domain::period::Year;
use crate::stages::telling;
use crate::store::agreements::AgreementRow;
use crate::store::amount_settings::{VoidRow, YearKey};
use crate::store::declarations::{DeclarationRecord, DeclarationRow};
use crate::store::enrolments::{Enrolment, EnrolmentRow};

/// What one message is called in the causation of its events.
fn causation(source: &str, id: &str) -> String {
    format!("message:{source}/{id}")
}

impl Book<'_> {
    /// Judges what came with this batch in the order of arrival, and what had waited when its enrolment comes.
    pub fn judge(&mut self) {
        let fresh = self.entries.iter().take_while(|entry| !entry.waited).count();
        for place in 0..fresh {
            self.judge_entry(place);
        }
        // What waited for an enrolment that turned out to be stale or is still missing goes on waiting.
        for entry in &mut self.entries[fresh..] {
            entry.answer.get_or_insert(Answer::Waiting);
        }
    }

    fn judge_entry(&mut self, place: usize) {
        let entry = &self.entries[place].understood;
        let (message, order) = (entry.message.clone(), entry.order.clone());
        let cause = causation(&entry.source, &entry.id);
        let woken = self.entries[place].waited || self.entries[place].answer == Some(Answer::Waiting);
        let answer = match &message {
            Message::EnrolmentChanged(m) => self.enrolment_changed(m, &order, &cause),
            Message::AgreementChanged(m) => self.agreement_changed(m, &order, &cause),
            Message::AmountSet(m) => self.amount_set(m, &order, &cause),
            Message::AmountVoided(m) => self.amount_voided(m, &order, &cause),
            Message::DeclarationSubmitted(m) => self.declaration_submitted(m, &order, &cause, woken),
        };
        match answer {
            Answer::Waiting => {
                if let Some(key) = enrolment_key(&message) {
                    self.waiting.entry(key).or_default().push(place);
                }
            }
            Answer::Refused(code) => self.tell_answer(place, EventType::MessageRefused, Some(code), &cause),
            Answer::Stale => self.tell_answer(place, EventType::MessageStale, None, &cause),
            Answer::Accepted => {}
        }
        self.entries[place].answer = Some(answer);
        if let (Message::EnrolmentChanged(_), Answer::Accepted) = (&message, answer) {
            self.wake(enrolment_key(&message).expect("an enrolment has its key"));
        }
    }

    /// Judges what waited for this enrolment, in the order of the senders' times.
    fn wake(&mut self, key: EnrolmentKey) {
        let mut places = self.waiting.remove(&key).unwrap_or_default();
        places.sort_by(|a, b| self.entries[*a].understood.order.cmp(&self.entries[*b].understood.order));
        for place in places {
            self.judge_entry(place);
        }
    }

    fn enrolment_changed(&mut self, m: &EnrolmentChanged, order: &FactOrder, cause: &str) -> Answer {
        let key = (m.payer_id.to_string(), m.insurance_type.0.clone());
        if self.enrolments.get(&key).is_some_and(|known| known.order > *order) {
            return Answer::Stale;
        }
        let enrolment = Enrolment { division_code: m.division_code.clone(), order: order.clone() };
        let row = EnrolmentRow {
            payer_id: key.0.clone(),
            insurance_type: key.1.clone(),
            status: m.status.clone(),
            effective_on: m.effective_on,
            name: self.sealer.seal(Purpose::PersonName, m.name.as_bytes()),
            id_type: m.id_type.clone(),
            id_number: self.sealer.seal(Purpose::IdentityNumber, m.id_number.as_bytes()),
            id_number_hash: self.ctx.keys.digest(m.id_number.as_bytes()).to_vec(),
            category: m.category.clone(),
            enrolment: enrolment.clone(),
        };
        self.moved.push((key.0.clone(), cause.to_owned()));
        self.new_enrolments.insert(key.clone(), row);
        self.enrolments.insert(key, enrolment);
        Answer::Accepted
    }

    fn agreement_changed(&mut self, m: &AgreementChanged, order: &FactOrder, cause: &str) -> Answer {
        let key = (m.payer_id.to_string(), m.agreement_no.clone());
        if self.agreements.get(&key).is_some_and(|known| known > order) {
            return Answer::Stale;
        }
        let row = AgreementRow {
            payer_id: key.0.clone(),
            agreement_no: key.1.clone(),
            gateway: m.gateway.clone(),
            bank_code: m.bank_code.clone(),
            account_no: self.sealer.seal(Purpose::AccountNumber, m.account_no.as_bytes()),
            account_name: self.sealer.seal(Purpose::AccountName, m.account_name.as_bytes()),
            status: m.status.clone(),
            batch_enabled: m.batch_enabled,
            insurance_types: m.insurance_types.clone(),
            amount_max: m.amount_max.map(|amount| amount.decimal()),
            order: order.clone(),
        };
        self.moved.push((key.0.clone(), cause.to_owned()));
        self.new_agreements.insert(key.clone(), row);
        self.agreements.insert(key.clone(), order.clone());
        if m.status == "active" && m.batch_enabled {
            self.release_held(&key.0, cause);
            self.signers.insert(key.0);
        }
        Answer::Accepted
    }

    /// A new agreement ends the hold that a final failure put on the payer's amounts.
    fn release_held(&mut self, payer_id: &str, cause: &str) {
        let held: Vec<YearKey> = self
            .years
            .iter()
            .filter(|(key, year)| {
                let hold = year.history.active().and_then(|version| year.marks.get(&version.order));
                key.0 == payer_id && hold.is_some_and(|(reason, _)| reason.as_deref() == Some("no_agreement"))
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in held {
            let year = self.years.get_mut(&key).expect("just found");
            let version = year.history.active().expect("just found").clone();
            year.sequence += 1;
            year.marks.insert(version.order.clone(), (None, year.sequence));
            self.tell_amount(EventType::AmountReleased, &key, &version, "active", cause);
            self.touched.insert(key);
        }
    }

    /// The rule by which a payer's type is collected, or why there is none.
    fn rule(&self, key: &EnrolmentKey) -> Result<&CollectionRule, Answer> {
        let enrolment = self.enrolments.get(key).ok_or(Answer::Waiting)?;
        let region = self.ctx.settings.regions.of(&enrolment.division_code);
        let rule = region.and_then(|region| region.rule(&InsuranceType(key.1.clone())));
        rule.ok_or(Answer::Refused(RefusalCode::RegionNotServed))
    }

    fn amount_set(&mut self, m: &AmountSet, order: &FactOrder, cause: &str) -> Answer {
        let rule = match self.rule(&(m.payer_id.to_string(), m.insurance_type.0.clone())) {
            Ok(rule) => rule,
            Err(answer) => return answer,
        };
        match rule.window(m.valid_year, business_date(order.time)) {
            Window::NotYetOffered => return Answer::Refused(RefusalCode::YearNotOpen),
            Window::Closed => return Answer::Refused(RefusalCode::WindowClosed),
            Window::Ahead | Window::Open => {}
        }
        if !rule.amounts.allows(m.amount) {
            return Answer::Refused(RefusalCode::AmountOutOfRange);
        }
        let key: YearKey = (m.payer_id.to_string(), m.insurance_type.0.clone(), m.valid_year.0);
        let year = self.years.get_mut(&key).expect("the batch's years are loaded");
        if year.paid && !year.history.is_stale(order) {
            return Answer::Refused(RefusalCode::AlreadyPaid);
        }
        self.touched.insert(key.clone());
        match year.history.set(order.clone(), m.amount, m.channel.clone()) {
            SetAnswer::Stale => {
                year.marks.insert(order.clone(), (None, 0));
                Answer::Stale
            }
            SetAnswer::Active { superseded } => {
                let mut hold = None;
                if let Some(old) = superseded {
                    year.sequence += 1;
                    // What held the old amount holds the new one: only a new agreement mends it.
                    hold = year.marks.insert(old.order.clone(), (None, year.sequence)).and_then(|(reason, _)| reason);
                    self.tell_amount(EventType::AmountSuperseded, &key, &old, "superseded", cause);
                }
                let year = self.years.get_mut(&key).expect("just seen");
                year.sequence += 1;
                year.marks.insert(order.clone(), (hold, year.sequence));
                let version = year.history.active().expect("just set").clone();
                self.tell_amount(EventType::AmountSet, &key, &version, "active", cause);
                self.moved.push((key.0, cause.to_owned()));
                Answer::Accepted
            }
        }
    }

    fn amount_voided(&mut self, m: &AmountVoided, order: &FactOrder, cause: &str) -> Answer {
        let key: YearKey = (m.payer_id.to_string(), m.insurance_type.0.clone(), m.valid_year.0);
        let year = self.years.get_mut(&key).expect("the batch's years are loaded");
        if year.paid && !year.history.is_stale(order) {
            return Answer::Refused(RefusalCode::AlreadyPaid);
        }
        let answer = year.history.void(order.clone());
        self.touched.insert(key.clone());
        self.new_voids.push(VoidRow { key: key.clone(), order: order.clone(), channel: m.channel.clone() });
        match answer {
            VoidAnswer::Stale => Answer::Stale,
            VoidAnswer::NothingToVoid => Answer::Refused(RefusalCode::NothingToVoid),
            VoidAnswer::Voided(version) => {
                year.sequence += 1;
                year.marks.insert(version.order.clone(), (None, year.sequence));
                let out = year.out.is_some();
                let kind = if out { EventType::AmountVoidTooLate } else { EventType::AmountVoided };
                self.tell_amount(kind, &key, &version, "voided", cause);
                self.moved.push((key.0, cause.to_owned()));
                Answer::Accepted
            }
        }
    }

    fn declaration_submitted(
        &mut self,
        m: &DeclarationSubmitted,
        order: &FactOrder,
        cause: &str,
        woken: bool,
    ) -> Answer {
        let key = (m.payer_id.to_string(), m.insurance_type.0.clone());
        let obligation = (key.clone(), m.obligation.clone());
        // A declaration that has waited is itself the live one of its obligation.
        if !woken {
            if self.declared.contains_key(&m.declaration_no) {
                return Answer::Refused(RefusalCode::DuplicateObligation);
            }
            match self.obligations.get(&obligation) {
                Some(true) => return Answer::Refused(RefusalCode::AlreadyPaid),
                Some(false) => return Answer::Refused(RefusalCode::DuplicateObligation),
                None => {}
            }
            if m.obligation.kind == Kind::Special && m.obligation.assessment_no.is_empty() {
                return Answer::Refused(RefusalCode::AssessmentRequired);
            }
        }
        let judged = self.judge_declaration(m, order, &key);
        let (state, kind) = match judged {
            Answer::Accepted => (DeclarationState::Payable, EventType::DeclarationAccepted),
            Answer::Waiting => (DeclarationState::AwaitingEnrolment, EventType::DeclarationWaiting),
            Answer::Refused(_) if woken => (DeclarationState::Rejected, EventType::DeclarationRejected),
            Answer::Refused(_) | Answer::Stale => return judged,
        };
        if judged == Answer::Waiting && woken {
            return judged;
        }
        let sequence = self.declared.get(&m.declaration_no).copied().unwrap_or(0) + 1;
        self.declared.insert(m.declaration_no.clone(), sequence);
        self.obligations.insert(obligation, false);
        let row = DeclarationRow {
            declaration_no: m.declaration_no.clone(),
            payer_id: key.0,
            insurance_type: key.1,
            obligation: m.obligation.clone(),
            amount: m.amount.decimal(),
            channel: m.channel.clone(),
            collect_by: m.collect_by.as_str(),
            state,
            submitted_at: order.time,
            sequence,
        };
        let reason = match judged {
            Answer::Refused(code) => code.as_str(),
            Answer::Accepted | Answer::Stale | Answer::Waiting => "",
        };
        let record = DeclarationRecord {
            declaration_no: row.declaration_no.clone(),
            payer_id: row.payer_id.clone(),
            insurance_type: row.insurance_type.clone(),
            kind: row.obligation.kind.as_str().to_owned(),
            period_from: row.obligation.period.from.to_string(),
            period_to: row.obligation.period.to.to_string(),
            amount: row.amount,
            channel: row.channel.clone(),
            sequence,
            reason: reason.to_owned(),
        };
        self.events.push(telling::declaration_changed(kind, &record, cause, self.now));
        self.new_declarations.insert(row.declaration_no.clone(), row);
        judged
    }

    fn judge_declaration(&self, m: &DeclarationSubmitted, order: &FactOrder, key: &EnrolmentKey) -> Answer {
        let rule = match self.rule(key) {
            Ok(rule) => rule,
            Err(answer) => return answer,
        };
        // Its assessment is not among the messages we take yet: it waits, limited, like one whose enrolment is missing.
        if m.obligation.kind == Kind::Special {
            return Answer::Waiting;
        }
        if !m.obligation.period.fits(rule.cycle) {
            return Answer::Refused(RefusalCode::PeriodNotOffered);
        }
        match rule.window(m.obligation.period.from.year(), business_date(order.time)) {
            Window::NotYetOffered => return Answer::Refused(RefusalCode::YearNotOpen),
            Window::Closed => return Answer::Refused(RefusalCode::WindowClosed),
            Window::Ahead | Window::Open => {}
        }
        if !rule.amounts.allows(m.amount) {
            return Answer::Refused(RefusalCode::AmountOutOfRange);
        }
        Answer::Accepted
    }

    fn tell_amount(&mut self, kind: EventType, key: &YearKey, version: &Version, status: &'static str, cause: &str) {
        let year = &self.years[key];
        let late = (kind == EventType::AmountVoidTooLate).then_some(year.out.as_ref()).flatten();
        let data = AmountData {
            payer_id: key.0.clone(),
            insurance_type: key.1.clone(),
            valid_year: key.2,
            amount: version.amount.to_string(),
            status,
            channel: Some(version.channel.clone()),
            hold_reason: None,
            order_no: late.map(|(order_no, _)| order_no.clone()),
            file_name: late.and_then(|(_, file_name)| file_name.clone()),
            if_succeeded: late.map(|_| "扣款成功则缴费有效"),
            if_failed: late.map(|_| "扣款失败则不再扣款"),
        };
        self.events.push(Event {
            kind,
            subject: Subject::Amount {
                payer_id: key.0.clone(),
                insurance_type: key.1.clone(),
                valid_year: Year(key.2).0,
            },
            sequence: year.sequence,
            causation: cause.to_owned(),
            time: self.now,
            data: Data::Amount(data),
        });
    }

    fn tell_answer(&mut self, place: usize, kind: EventType, code: Option<RefusalCode>, cause: &str) {
        let understood = &self.entries[place].understood;
        let (source, id) = (understood.source.as_str(), understood.id.as_str());
        let payer_id = understood.message.payer_id().as_str();
        let data = match code {
            Some(code) => MessageData::refused(source, id, payer_id, code),
            None => MessageData {
                source: Some(source.to_owned()),
                id: Some(id.to_owned()),
                payer_id: Some(payer_id.to_owned()),
                ..MessageData::default()
            },
        };
        self.events.push(Event {
            kind,
            subject: Subject::Message(format!("{source}/{id}")),
            sequence: 1,
            causation: cause.to_owned(),
            time: self.now,
            data: Data::Message(data),
        });
    }
}
