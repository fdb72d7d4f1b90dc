//! A word on a year that comes when the next one is open already: what was carried over follows it.
//!
//! In: a year whose history has just changed. Out: the same in the years after it as if they were opened now, as long as
//! the payer has said nothing of those and has not paid them. Called by the rules for amounts, in any order of arrival.

use chrono::{Datelike, Days};

use super::book::Book;
use crate::clock::business_date;
use crate::contract::events::EventType;
use crate::contract::inbound::Message;
use crate::domain::amount_setting::{CARRIED_OVER, HoldReason, LastWord, SetAnswer, VoidAnswer};
use crate::domain::insurance::{AfterVoid, CollectionRule, InsuranceType, Region, Window};
use crate::domain::money::Money;
use crate::domain::period::Month;
use crate::store::amount_settings::{VoidRow, YearKey};

/// Whether a word on a year has changed what is carried over from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carried {
    AsBefore,
    Otherwise,
}

impl Book<'_> {
    /// Carries the last word on a year over into those after it that are open, one by one, until one stays as it is.
    pub fn carry_on(&mut self, key: &YearKey, cause: &str) -> Carried {
        let mut from = key.clone();
        let mut carried = Carried::AsBefore;
        loop {
            let to = (from.0.clone(), from.1.clone(), from.2 + 1);
            match self.carry_into(&from, &to, cause) {
                Carried::AsBefore => return carried,
                Carried::Otherwise => carried = Carried::Otherwise,
            }
            from = to;
        }
    }

    fn carry_into(&mut self, from: &YearKey, to: &YearKey, cause: &str) -> Carried {
        let Some(target) = self.years.get(to).filter(|year| !year.paid && !year.history.is_spoken_of()) else {
            return Carried::AsBefore;
        };
        let source = &self.years[from];
        let amount = match source.history.last_word() {
            LastWord::Amount(version) => Some(version.amount),
            LastWord::Void => self.last_paid.get(to).copied(),
            LastWord::Nothing => None,
        };
        match (target.history.last_word(), amount) {
            (LastWord::Amount(standing), Some(amount)) if standing.amount == amount => Carried::AsBefore,
            (_, Some(amount)) => self.carry(from, to, amount, cause),
            (LastWord::Amount(_), None) => self.carry_nothing(to, cause),
            (LastWord::Nothing | LastWord::Void, None) => Carried::AsBefore,
        }
    }

    /// Who said stop is not debited again by what was carried over before that was known.
    fn carry_nothing(&mut self, to: &YearKey, cause: &str) -> Carried {
        let year = self.years.get_mut(to).expect("just seen");
        let order = year.history.next_carried();
        let answer = year.history.void(order.clone());
        self.touched_years.insert(to.clone());
        self.new_voids.push(VoidRow { key: to.clone(), order, channel: CARRIED_OVER.into() });
        match answer {
            VoidAnswer::Voided(version) => self.tell_voided(to, &version, cause),
            // It had expired.
            VoidAnswer::NothingToVoid | VoidAnswer::Stale => {}
        }
        Carried::Otherwise
    }

    fn carry(&mut self, from: &YearKey, to: &YearKey, amount: Money, cause: &str) -> Carried {
        let Some((region, rule, category)) = self.newest_rule(to) else { return Carried::AsBefore };
        if !self.openings.contains(&(region.name.clone(), to.1.clone(), to.2)) {
            return Carried::AsBefore;
        }
        let allowed = rule.amounts.allows(amount, category);
        let january = rule.amounts.is_base_rate().then(|| Month::parse(&format!("{}01", to.2))).flatten();
        let held_there = |year: &YearKey| {
            let year = &self.years[year];
            let marks = year.history.active().and_then(|version| year.marks.get(&version.order));
            let reason = marks.and_then(|(reason, _)| reason.as_deref()).and_then(HoldReason::parse);
            reason.filter(|reason| *reason != HoldReason::AmountOutOfRange)
        };
        // What held it holds it still; never clamped to the rule.
        let hold = held_there(to).or(held_there(from)).or((!allowed).then_some(HoldReason::AmountOutOfRange));
        let year = self.years.get_mut(to).expect("just seen");
        let order = year.history.next_carried();
        let answer = year.history.set(order.clone(), amount, january, CARRIED_OVER.into());
        self.touched_years.insert(to.clone());
        if let SetAnswer::Active { superseded: Some(old) } = answer {
            year.sequence += 1;
            year.marks.insert(old.order.clone(), (None, year.sequence));
            self.tell_amount(EventType::AmountSuperseded, to, &old, "superseded", cause);
        }
        let year = self.years.get_mut(to).expect("just seen");
        year.sequence += 1;
        year.marks.insert(order, (hold.map(|reason| reason.as_str().to_owned()), year.sequence));
        let version = year.history.active().expect("just carried").clone();
        let status = if hold.is_some() { "held" } else { "active" };
        self.tell_amount(EventType::AmountCarriedOver, to, &version, status, cause);
        self.moved.push((to.0.clone(), cause.to_owned()));
        self.expire_if_over(to, cause);
        Carried::Otherwise
    }

    /// The end of its year has been dealt with, or is at this moment: the amount expires at once. What is out is waited for
    /// by that end.
    pub fn expire_if_over(&mut self, key: &YearKey, cause: &str) {
        let region = self.newest_rule(key).map(|(region, _, _)| region.name.clone());
        let ended = region.is_some_and(|region| self.ends.contains(&(region, key.1.clone(), key.2)));
        let year = self.years.get_mut(key).expect("a year of the batch");
        if !ended || year.out.is_some() || year.paid {
            return;
        }
        let Some(version) = year.history.expire().cloned() else { return };
        year.sequence += 1;
        year.marks.insert(version.order.clone(), (None, year.sequence));
        self.tell_amount(EventType::AmountExpired, key, &version, "expired", cause);
    }

    /// Whether a message is about a year that is over by now, where its payer is insured.
    pub(super) fn is_of_a_year_over(&self, message: &Message) -> bool {
        let Message::AmountSet(m) = message else { return false };
        let rule = self.newest_rule(&(m.payer_id.to_string(), m.insurance_type.0.clone(), m.valid_year.0));
        rule.is_some_and(|(_, rule, _)| rule.window(m.valid_year, business_date(self.now)) == Window::Closed)
    }

    /// Where the payer is insured now, by the newest word on it.
    fn newest_rule(&self, key: &YearKey) -> Option<(&Region, &CollectionRule, Option<&str>)> {
        let enrolment = self.enrolments.get(&(key.0.clone(), key.1.clone()))?;
        let region = self.ctx.settings.regions.of(&enrolment.division_code)?;
        let rule = region.rule(&InsuranceType(key.1.clone()))?;
        Some((region, rule, enrolment.category.as_deref()))
    }

    /// The year of an amount that others may have followed, whatever the clocks of other workers say. Few messages are
    /// about one.
    pub(super) fn year_gone_by(&self, message: &Message) -> Option<YearKey> {
        let (payer_id, insurance_type, year) = match message {
            Message::AmountSet(m) => (&m.payer_id, &m.insurance_type, m.valid_year),
            Message::AmountVoided(m) => (&m.payer_id, &m.insurance_type, m.valid_year),
            Message::EnrolmentChanged(_)
            | Message::AgreementChanged(_)
            | Message::AssessmentChanged(_)
            | Message::DeclarationSubmitted(_)
            | Message::DeclarationVoidRequested(_)
            | Message::PaymentStarted(_)
            | Message::PaymentReported(_)
            | Message::RunRequested(_) => return None,
        };
        let tomorrow = business_date(self.now) + Days::new(1);
        let is_gone_by = i32::from(year.0) < tomorrow.year();
        is_gone_by.then(|| (payer_id.to_string(), insurance_type.0.clone(), year.0))
    }

    /// The years after it that are open or were.
    pub(super) fn opened_after(&self, key: &YearKey) -> Vec<YearKey> {
        let of_type = self.openings.iter().filter(|(_, kind, year)| *kind == key.1 && *year > key.2);
        of_type.map(|(_, _, year)| (key.0.clone(), key.1.clone(), *year)).collect()
    }

    /// Whether what was last paid is carried over after a void.
    pub(super) fn carries_last_paid(&self, key: &YearKey) -> bool {
        let carry_over = self.newest_rule(key).and_then(|(_, rule, _)| rule.carry_over);
        carry_over.is_some_and(|carry_over| carry_over.after_void == AfterVoid::LastPaid)
    }
}
