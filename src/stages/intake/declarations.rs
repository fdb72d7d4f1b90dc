//! The rules for assessments and declarations.

use super::book::{Book, EnrolmentKey};
use super::entry::Answer;
use crate::clock::business_date;
use crate::contract::events::EventType;
use crate::contract::inbound::{AssessmentChanged, DeclarationSubmitted, DeclarationVoidRequested};
use crate::contract::refusal::RefusalCode;
use crate::domain::amount_setting::FactOrder;
use crate::domain::declaration::{DeclarationState, Kind};
use crate::domain::insurance::Window;
use crate::domain::waiting::Awaited;
use crate::stages::telling;
use crate::store::assessments::KnownAssessment;
use crate::store::declarations::{Declaration, DeclarationRecord};

impl Book<'_> {
    /// A declaration that is no longer what was assessed cannot be paid any more; one that is being paid goes on.
    pub fn assessment_changed(&mut self, m: &AssessmentChanged, order: &FactOrder, cause: &str) -> Answer {
        let key = (m.payer_id.to_string(), m.assessment_no.clone());
        if self.assessments.get(&key).is_some_and(|known| known.order > *order) {
            return Answer::Stale;
        }
        let no_longer: Vec<String> = self
            .declarations
            .values()
            .filter(|known| {
                let of_it = (&known.payer_id, &known.obligation.assessment_no) == (&key.0, &key.1);
                let covers = m.assessment.covers(&known.insurance_type, &known.obligation, known.amount);
                of_it && known.state == DeclarationState::Payable && !(m.assessment.issued && covers)
            })
            .map(|known| known.declaration_no.clone())
            .collect();
        let reason = if m.assessment.issued { "assessment_changed" } else { "assessment_withdrawn" };
        for number in no_longer {
            self.move_declaration(&number, DeclarationState::Voided, EventType::DeclarationVoided, reason, cause);
        }
        let known = KnownAssessment { assessment: m.assessment.clone(), order: order.clone() };
        self.assessments.insert(key.clone(), known);
        // What a run has planned on it is withdrawn, as long as it may be.
        self.moved.push((key.0.clone(), cause.to_owned()));
        self.new_assessments.insert(key);
        Answer::Accepted
    }

    pub fn declaration_submitted(&self, m: &DeclarationSubmitted, order: &FactOrder) -> Answer {
        let key = (m.payer_id.to_string(), m.insurance_type.0.clone());
        if self.declarations.contains_key(&m.declaration_no) {
            return Answer::Refused(RefusalCode::DuplicateObligation);
        }
        let live = self.live.get(&(key.clone(), m.obligation.clone()));
        match live.and_then(|number| self.declarations.get(number)) {
            Some(known) if known.paid => return Answer::Refused(RefusalCode::AlreadyPaid),
            Some(_) => return Answer::Refused(RefusalCode::DuplicateObligation),
            None => {}
        }
        if m.obligation.kind == Kind::Special && m.obligation.assessment_no.is_empty() {
            return Answer::Refused(RefusalCode::AssessmentRequired);
        }
        self.judge_declaration(m, order, &key)
    }

    /// One that has waited is itself the live one of its obligation.
    pub fn declaration_woken(&self, m: &DeclarationSubmitted, order: &FactOrder) -> Answer {
        let known = self.declarations.get(&m.declaration_no);
        if known.is_some_and(|known| known.state != DeclarationState::AwaitingEnrolment) {
            // Voided while it waited.
            return Answer::Accepted;
        }
        self.judge_declaration(m, order, &(m.payer_id.to_string(), m.insurance_type.0.clone()))
    }

    fn judge_declaration(&self, m: &DeclarationSubmitted, order: &FactOrder, key: &EnrolmentKey) -> Answer {
        let (rule, category) = match self.rule(key, order) {
            Ok(found) => found,
            Err(answer) => return answer,
        };
        let day = business_date(order.time);
        if m.obligation.kind == Kind::Special {
            let (payer_id, assessment_no) = (key.0.clone(), m.obligation.assessment_no.clone());
            let Some(known) = self.assessments.get(&(payer_id.clone(), assessment_no.clone())) else {
                return Answer::Waiting(
                    Awaited::Assessment { payer_id, assessment_no },
                    RefusalCode::AssessmentRequired,
                );
            };
            if !known.assessment.issued {
                return Answer::Refused(RefusalCode::AssessmentRequired);
            }
            if !known.assessment.covers(&key.1, &m.obligation, m.amount) {
                return Answer::Refused(RefusalCode::AssessmentMismatch);
            }
            if day > known.assessment.pay_by {
                return Answer::Refused(RefusalCode::WindowClosed);
            }
            return Answer::Accepted;
        }
        if !m.obligation.period.fits(rule.cycle) {
            return Answer::Refused(RefusalCode::PeriodNotOffered);
        }
        match rule.window(m.obligation.period.from.year(), day) {
            Window::NotYetOffered => return Answer::Refused(RefusalCode::YearNotOpen),
            Window::Closed => return Answer::Refused(RefusalCode::WindowClosed),
            Window::Ahead | Window::Open => {}
        }
        if !rule.amounts.allows_declared(m.amount, category) {
            return Answer::Refused(RefusalCode::AmountOutOfRange);
        }
        Answer::Accepted
    }

    /// Writes down what an answer makes of a declaration. One that is refused at once never becomes public.
    pub fn file(&mut self, m: &DeclarationSubmitted, order: &FactOrder, answer: &Answer, woken: bool, cause: &str) {
        let waits = self.declarations.get(&m.declaration_no);
        let waits = waits.is_some_and(|known| known.state == DeclarationState::AwaitingEnrolment);
        let number = &m.declaration_no;
        match (answer, woken) {
            (Answer::Accepted, true) if waits => {
                let payable = DeclarationState::Payable;
                self.move_declaration(number, payable, EventType::DeclarationAccepted, "", cause);
                self.woken_declarations.insert(number.clone());
            }
            (Answer::Refused(code), true) if waits => {
                let rejected = DeclarationState::Rejected;
                self.move_declaration(number, rejected, EventType::DeclarationRejected, code.as_str(), cause);
            }
            (_, true) | (Answer::Refused(_) | Answer::Stale, false) => {}
            (Answer::Accepted, false) => {
                self.file_new(m, order, DeclarationState::Payable, EventType::DeclarationAccepted, cause);
            }
            (Answer::Waiting(..), false) => {
                self.file_new(m, order, DeclarationState::AwaitingEnrolment, EventType::DeclarationWaiting, cause);
            }
        }
    }

    fn file_new(
        &mut self,
        m: &DeclarationSubmitted,
        order: &FactOrder,
        state: DeclarationState,
        kind: EventType,
        cause: &str,
    ) {
        let new = Declaration {
            declaration_no: m.declaration_no.clone(),
            payer_id: m.payer_id.to_string(),
            insurance_type: m.insurance_type.0.clone(),
            obligation: m.obligation.clone(),
            amount: m.amount,
            channel: m.channel.clone(),
            collect_by: m.collect_by,
            state,
            submitted_at: order.time,
            sequence: 0,
            paid: false,
            disputed: false,
        };
        let key = (new.payer_id.clone(), new.insurance_type.clone());
        self.live.insert((key, new.obligation.clone()), new.declaration_no.clone());
        self.new_declarations.insert(new.declaration_no.clone());
        self.declarations.insert(new.declaration_no.clone(), new);
        self.move_declaration(&m.declaration_no, state, kind, "", cause);
    }

    pub fn declaration_void_requested(&mut self, m: &DeclarationVoidRequested, cause: &str) -> Answer {
        let Some(known) = self.declarations.get(&m.declaration_no) else {
            let awaited = Awaited::Declaration(m.declaration_no.clone());
            return Answer::Waiting(awaited, RefusalCode::UnknownDeclaration);
        };
        match known.state {
            _ if known.paid => return Answer::Refused(RefusalCode::AlreadyPaid),
            // Money may be moving, or may have moved.
            DeclarationState::Paying => return Answer::Refused(RefusalCode::AttemptInFlight),
            _ if known.disputed => return Answer::Refused(RefusalCode::AttemptInFlight),
            DeclarationState::Voided => return Answer::Refused(RefusalCode::AlreadyVoided),
            DeclarationState::Reversed => return Answer::Refused(RefusalCode::AlreadyReversed),
            // It never became public.
            DeclarationState::Rejected => return Answer::Refused(RefusalCode::UnknownDeclaration),
            DeclarationState::AwaitingEnrolment | DeclarationState::Payable => {}
        }
        let number = m.declaration_no.clone();
        self.move_declaration(&number, DeclarationState::Voided, EventType::DeclarationVoided, "requested", cause);
        Answer::Accepted
    }

    /// Moves a declaration on, and tells it.
    pub fn move_declaration(
        &mut self,
        number: &str,
        state: DeclarationState,
        kind: EventType,
        reason: &str,
        cause: &str,
    ) {
        let Some(known) = self.declarations.get_mut(number) else { return };
        known.state = state;
        known.sequence += 1;
        let record = record(known, reason);
        if !state.is_live() {
            let key = (known.payer_id.clone(), known.insurance_type.clone());
            self.live.remove(&(key, known.obligation.clone()));
        }
        // Of a paid one the settlement keeps the sequence.
        if !self.new_declarations.contains(number) && kind != EventType::DeclarationPaid {
            self.moved_declarations.insert(number.to_owned());
        }
        self.events.push(telling::declaration_changed(kind, &record, cause, self.now));
    }
}

fn record(known: &Declaration, reason: &str) -> DeclarationRecord {
    DeclarationRecord {
        declaration_no: known.declaration_no.clone(),
        payer_id: known.payer_id.clone(),
        insurance_type: known.insurance_type.clone(),
        kind: known.obligation.kind.as_str().to_owned(),
        period_from: known.obligation.period.from.to_string(),
        period_to: known.obligation.period.to.to_string(),
        amount: known.amount.decimal(),
        channel: known.channel.clone(),
        sequence: known.sequence,
        reason: reason.to_owned(),
    }
}
