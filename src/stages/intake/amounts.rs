//! The rules for the amounts of a year: one refusal a line, in the order in which they are judged.

use super::book::Book;
use super::carried::Carried;
use super::entry::Answer;
use crate::clock::business_date;
use crate::contract::events::{AmountData, Data, EventType, Subject};
use crate::contract::inbound::{AmountSet, AmountVoided};
use crate::contract::refusal::RefusalCode;
use crate::contract::story::words::{IF_FAILED, IF_SUCCEEDED};
use crate::domain::amount_setting::{FactOrder, HoldReason, SetAnswer, Version, VoidAnswer};
use crate::domain::declaration::Kind;
use crate::domain::insurance::Window;
use crate::store::amount_settings::{VoidRow, YearKey};

impl Book<'_> {
    pub fn amount_set(&mut self, m: &AmountSet, order: &FactOrder, cause: &str) -> Answer {
        let (rule, category) = match self.rule(&(m.payer_id.to_string(), m.insurance_type.0.clone()), order) {
            Ok(found) => found,
            Err(answer) => return answer,
        };
        // A contribution base holds from a month of its year on; any other amount holds for all of it.
        let in_year = m.period_from.is_some_and(|month| month.year() == m.valid_year);
        if in_year != rule.amounts.is_base_rate() || m.period_from.is_some() != in_year {
            return Answer::Refused(RefusalCode::PeriodNotOffered);
        }
        match rule.window(m.valid_year, business_date(order.time)) {
            Window::NotYetOffered => return Answer::Refused(RefusalCode::YearNotOpen),
            Window::Closed => return Answer::Refused(RefusalCode::WindowClosed),
            Window::Ahead | Window::Open => {}
        }
        if !rule.amounts.allows(m.amount, category) {
            return Answer::Refused(RefusalCode::AmountOutOfRange);
        }
        let key: YearKey = (m.payer_id.to_string(), m.insurance_type.0.clone(), m.valid_year.0);
        let year = self.years.get_mut(&key).expect("the batch's years are loaded");
        if year.paid && !year.history.is_stale(order) {
            return Answer::Refused(RefusalCode::AlreadyPaid);
        }
        self.touched_years.insert(key.clone());
        match year.history.set(order.clone(), m.amount, m.period_from, m.channel.clone()) {
            SetAnswer::Stale => {
                year.marks.insert(order.clone(), (None, 0));
                // Of a contribution base it may hold for the months before a newer one begins.
                self.moved.push((key.0, cause.to_owned()));
                Answer::Stale
            }
            SetAnswer::Active { superseded } => {
                let mut hold = None;
                if let Some(old) = superseded {
                    year.sequence += 1;
                    hold = year.marks.insert(old.order.clone(), (None, year.sequence)).and_then(|(reason, _)| reason);
                    self.tell_amount(EventType::AmountSuperseded, &key, &old, "superseded", cause);
                }
                let year = self.years.get_mut(&key).expect("just seen");
                year.sequence += 1;
                // What held the old amount holds the new one where only a new agreement mends it.
                let ended =
                    hold.take_if(|reason| HoldReason::parse(reason).is_some_and(HoldReason::ends_with_a_new_amount));
                year.marks.insert(order.clone(), (hold, year.sequence));
                let version = year.history.active().expect("just set").clone();
                self.tell_amount(EventType::AmountSet, &key, &version, "active", cause);
                if ended.is_some() {
                    self.tell_released(&key, cause);
                }
                self.moved.push((key.0.clone(), cause.to_owned()));
                self.carry_on(&key, cause);
                self.expire_if_over(&key, cause);
                Answer::Accepted
            }
        }
    }

    pub fn amount_voided(&mut self, m: &AmountVoided, order: &FactOrder, cause: &str) -> Answer {
        let key: YearKey = (m.payer_id.to_string(), m.insurance_type.0.clone(), m.valid_year.0);
        let year = self.years.get_mut(&key).expect("the batch's years are loaded");
        if year.paid && !year.history.is_stale(order) {
            return Answer::Refused(RefusalCode::AlreadyPaid);
        }
        let answer = year.history.void(order.clone());
        self.touched_years.insert(key.clone());
        self.new_voids.push(VoidRow { key: key.clone(), order: order.clone(), channel: m.channel.clone() });
        match answer {
            VoidAnswer::Stale => {
                // Months before a newer contribution base begins are void.
                self.moved.push((key.0, cause.to_owned()));
                Answer::Stale
            }
            VoidAnswer::NothingToVoid => match self.carry_on(&key, cause) {
                Carried::Otherwise => Answer::Accepted,
                Carried::AsBefore => Answer::Refused(RefusalCode::NothingToVoid),
            },
            VoidAnswer::Voided(version) => {
                self.tell_voided(&key, &version, cause);
                self.carry_on(&key, cause);
                Answer::Accepted
            }
        }
    }

    /// The active amount was voided, in time or after its deduction went out.
    pub fn tell_voided(&mut self, key: &YearKey, version: &Version, cause: &str) {
        let year = self.years.get_mut(key).expect("a year of the batch");
        year.sequence += 1;
        year.marks.insert(version.order.clone(), (None, year.sequence));
        let kind = if year.out.is_some() { EventType::AmountVoidTooLate } else { EventType::AmountVoided };
        self.tell_amount(kind, key, version, "voided", cause);
        self.moved.push((key.0.clone(), cause.to_owned()));
    }

    /// A year that is paid whole through an online order. Returns the sequence of its event, where an amount was active.
    pub fn fulfil(&mut self, declaration_no: &str, cause: &str) -> Option<i64> {
        let known = self.declarations.get(declaration_no)?;
        let period = known.obligation.period;
        if known.obligation.kind != Kind::Normal || period.from == period.to {
            return None;
        }
        let key: YearKey = (known.payer_id.clone(), known.insurance_type.clone(), period.from.year().0);
        let year = self.years.get_mut(&key)?;
        year.paid = true;
        let version = year.history.active()?.clone();
        year.sequence += 1;
        let sequence = year.sequence;
        self.tell_amount(EventType::AmountFulfilled, &key, &version, "fulfilled", cause);
        Some(sequence)
    }

    /// The active amount is not held any more; failed runs are counted from here on.
    pub fn tell_released(&mut self, key: &YearKey, cause: &str) {
        let year = self.years.get_mut(key).expect("a year of the batch");
        let version = year.history.active().expect("an active one was held").clone();
        year.sequence += 1;
        year.marks.insert(version.order.clone(), (None, year.sequence));
        self.tell_amount(EventType::AmountReleased, key, &version, "active", cause);
        self.released.insert((key.0.clone(), key.1.clone()));
    }

    pub fn tell_amount(
        &mut self,
        kind: EventType,
        key: &YearKey,
        version: &Version,
        status: &'static str,
        cause: &str,
    ) {
        let year = &self.years[key];
        let hold = year.marks.get(&version.order).filter(|_| kind == EventType::AmountCarriedOver);
        let late = (kind == EventType::AmountVoidTooLate).then_some(year.out.as_ref()).flatten();
        let data = AmountData {
            payer_id: key.0.clone(),
            insurance_type: key.1.clone(),
            valid_year: key.2,
            amount: version.amount.to_string(),
            status,
            channel: Some(version.channel.clone()),
            hold_reason: hold.and_then(|(reason, _)| reason.clone()),
            order_no: late.map(|(order_no, _)| order_no.clone()),
            file_name: late.and_then(|(_, file_name)| file_name.clone()),
            if_succeeded: late.map(|_| IF_SUCCEEDED.0),
            if_failed: late.map(|_| IF_FAILED.0),
        };
        let subject = Subject::Amount { payer_id: key.0.clone(), insurance_type: key.1.clone(), valid_year: key.2 };
        let sequence = year.sequence;
        self.tell(kind, subject, sequence, cause, Data::Amount(data));
    }
}
