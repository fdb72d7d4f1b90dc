//! The rules for online orders: one order pays one or more declarations of one payer, all or none.

use super::book::Book;
use super::entry::{Answer, Understood};
use crate::clock::business_date;
use crate::contract::envelope::wire_time;
use crate::contract::events::{Data, EventType, OrderData, PaymentData, Subject};
use crate::contract::inbound::{PaymentReported, PaymentStarted};
use crate::contract::refusal::RefusalCode;
use crate::domain::amount_setting::FactOrder;
use crate::domain::declaration::{DeclarationState, Kind};
use crate::domain::discrepancy::DiscrepancyKind;
use crate::domain::insurance::Window;
use crate::domain::order::{OrderState, ReportEffect, ReportOutcome, judge_report};
use crate::domain::waiting::Awaited;
use crate::stages::telling::order_data;
use crate::store::declarations::Declaration;
use crate::store::discrepancies::ReportedDiscrepancy;
use crate::store::online_orders::{OnlineOrder, OrderAttempt, OrderSettlement, Paid, SettledBy};

impl Book<'_> {
    pub fn payment_started(&self, m: &PaymentStarted, order: &FactOrder) -> Answer {
        if self.orders.contains_key(&m.order_no) {
            return Answer::Refused(RefusalCode::OrderExists);
        }
        let mut declared = Vec::with_capacity(m.items.len());
        for item in &m.items {
            match self.declarations.get(&item.declaration_no) {
                Some(known) => declared.push((known, item)),
                None => {
                    let awaited = Awaited::Declaration(item.declaration_no.clone());
                    return Answer::Waiting(awaited, RefusalCode::UnknownDeclaration);
                }
            }
        }
        let payer_id = &declared[0].0.payer_id;
        if declared.iter().any(|(known, _)| known.payer_id != *payer_id) {
            return Answer::Refused(RefusalCode::SeveralPayers);
        }
        let channel = self.ctx.settings.channels.get(&m.channel);
        let acts_for_another = m.acting_payer_id.as_ref().is_some_and(|acting| acting.as_str() != payer_id);
        if acts_for_another && channel.is_some_and(|channel| channel.self_only) {
            return Answer::Refused(RefusalCode::SelfOnly);
        }
        let offered = channel.is_some_and(|channel| channel.methods.contains(&m.method));
        if !offered || !m.method.goes_by(m.gateway) {
            return Answer::Refused(RefusalCode::MethodNotOffered);
        }
        for (known, _) in &declared {
            match known.state {
                _ if known.paid => return Answer::Refused(RefusalCode::AlreadyPaid),
                DeclarationState::Voided => return Answer::Refused(RefusalCode::AlreadyVoided),
                DeclarationState::Reversed => return Answer::Refused(RefusalCode::AlreadyReversed),
                DeclarationState::Rejected => return Answer::Refused(RefusalCode::UnknownDeclaration),
                DeclarationState::AwaitingEnrolment => {
                    let awaited = Awaited::Declaration(known.declaration_no.clone());
                    return Answer::Waiting(awaited, RefusalCode::WaitedTooLong);
                }
                DeclarationState::Paying => return Answer::Refused(RefusalCode::AttemptInFlight),
                // Money may have moved for it, whatever its attempts say.
                DeclarationState::Payable if known.disputed => {
                    return Answer::Refused(RefusalCode::AttemptInFlight);
                }
                DeclarationState::Payable => {}
            }
        }
        if declared.iter().any(|(known, item)| known.amount != item.amount) {
            return Answer::Refused(RefusalCode::AmountMismatch);
        }
        let closed = declared.iter().find_map(|(known, _)| self.cannot_be_paid(known, order));
        closed.unwrap_or(Answer::Accepted)
    }

    fn cannot_be_paid(&self, known: &Declaration, order: &FactOrder) -> Option<Answer> {
        let day = business_date(order.time);
        let closed = match known.obligation.kind {
            Kind::Normal => {
                let rule = self.rule(&(known.payer_id.clone(), known.insurance_type.clone()), order);
                let year = known.obligation.period.from.year();
                match rule {
                    Ok((rule, _)) => rule.window(year, day) == Window::Closed,
                    Err(answer) => return Some(answer),
                }
            }
            Kind::Special => {
                let key = (known.payer_id.clone(), known.obligation.assessment_no.clone());
                let assessed = self.assessments.get(&key).map(|known| &known.assessment);
                // It was out when its assessment changed, came back unpaid, and no plan has voided it yet.
                if !assessed.is_some_and(|assessed| assessed.issued) {
                    return Some(Answer::Refused(RefusalCode::AssessmentRequired));
                }
                if !assessed.is_some_and(|a| a.covers(&known.insurance_type, &known.obligation, known.amount)) {
                    return Some(Answer::Refused(RefusalCode::AssessmentMismatch));
                }
                assessed.is_some_and(|assessed| day > assessed.pay_by)
            }
        };
        closed.then_some(Answer::Refused(RefusalCode::WindowClosed))
    }

    /// An accepted order takes its declarations. A refused one is kept, so that its money is recognised if it comes.
    pub fn keep_order(&mut self, m: &PaymentStarted, order: &FactOrder, answer: &Answer, cause: &str) {
        let refused = match answer {
            Answer::Accepted => None,
            Answer::Refused(RefusalCode::OrderExists) | Answer::Waiting(..) | Answer::Stale => return,
            Answer::Refused(code) => Some(code.as_str().to_owned()),
        };
        let mut payers = m.items.iter().map(|item| Some(&self.declarations.get(&item.declaration_no)?.payer_id));
        let first = payers.next().flatten().cloned();
        let payer_id = first.filter(|first| payers.all(|payer| payer == Some(first))).unwrap_or_default();
        let mut new = OnlineOrder {
            order_no: m.order_no.clone(),
            payer_id,
            gateway: m.gateway,
            method: m.method,
            channel: m.channel.clone(),
            acting_payer_id: m.acting_payer_id.as_ref().map(ToString::to_string),
            items: m.items.len() as i16,
            amount: m.amount,
            state: if refused.is_some() { OrderState::Refused } else { OrderState::Sent },
            refused,
            started_at: order.time,
            expires_at: m.expires_at,
            sequence: 0,
            attempts: Vec::new(),
            gateway_txn_no: None,
        };
        self.new_orders.insert(m.order_no.clone());
        if new.state == OrderState::Refused {
            self.orders.insert(m.order_no.clone(), new);
            return;
        }
        for (place, item) in m.items.iter().enumerate() {
            new.attempts.push(OrderAttempt {
                item: place as i16 + 1,
                declaration_no: item.declaration_no.clone(),
                amount: item.amount,
                declaration_sequence: self.declarations[&item.declaration_no].sequence + 1,
            });
        }
        self.orders.insert(m.order_no.clone(), new);
        self.tell_order(EventType::PaymentStarted, &m.order_no, cause, |_| ());
        for item in &m.items {
            let paying = DeclarationState::Paying;
            self.move_declaration(&item.declaration_no, paying, EventType::DeclarationPaying, "", cause);
        }
        self.settle_kept(&m.order_no, cause);
    }

    pub fn payment_reported(&mut self, m: &PaymentReported, understood: &Understood, cause: &str) -> Answer {
        let Some(order) = self.orders.get(&m.order_no) else {
            return Answer::Waiting(Awaited::Order(m.order_no.clone()), RefusalCode::UnknownOrder);
        };
        let same_transaction = m.gateway_txn_no.is_none() || m.gateway_txn_no == order.gateway_txn_no;
        let codes = self.ctx.settings.codes(order.gateway);
        let mut effect = judge_report(order.state, m.outcome, m.code.as_deref(), same_transaction, codes);
        let of_another = m.gateway_txn_no.as_ref().is_some_and(|number| {
            let settled = self.transactions.get(&(order.gateway.as_str().to_owned(), number.clone()));
            settled.is_some_and(|order_no| *order_no != m.order_no)
        });
        if effect == ReportEffect::Settle && of_another {
            // The same money cannot pay two orders.
            effect = ReportEffect::Contradict;
            self.order_mut(&m.order_no).state = OrderState::Unknown;
        }
        if effect == ReportEffect::None {
            return Answer::Accepted;
        }
        if self.orders[&m.order_no].state != OrderState::Refused {
            self.tell_reported(m, cause);
        }
        match effect {
            ReportEffect::None => {}
            ReportEffect::Settle => self.settle(m, understood, cause),
            ReportEffect::Fail => self.fail(m, cause),
            ReportEffect::Doubt => self.order_mut(&m.order_no).state = OrderState::Unknown,
            ReportEffect::DoubtUnknownCode => {
                self.order_mut(&m.order_no).state = OrderState::Unknown;
                self.dispute(DiscrepancyKind::UnknownCode, m, understood, cause);
            }
            ReportEffect::Contradict => self.dispute(DiscrepancyKind::Contradiction, m, understood, cause),
            ReportEffect::UnexpectedMoney => {
                let refused = self.orders[&m.order_no].refused.as_deref();
                let twice = [RefusalCode::AlreadyPaid, RefusalCode::AttemptInFlight].map(RefusalCode::as_str);
                let twice = refused.is_none_or(|code| twice.contains(&code));
                let kind = if twice { DiscrepancyKind::DoublePayment } else { DiscrepancyKind::UnknownOrder };
                self.dispute(kind, m, understood, cause);
            }
        }
        Answer::Accepted
    }

    /// The report is the settlement's evidence until the gateway's bill confirms it.
    fn settle(&mut self, m: &PaymentReported, understood: &Understood, cause: &str) {
        let paid = Paid {
            gateway_txn_no: m.gateway_txn_no.clone(),
            settled_at: m.paid_at.unwrap_or(understood.order.time),
            by: SettledBy::Report { source: understood.source.clone(), id: understood.id.clone() },
        };
        self.pay(&m.order_no, &paid, cause);
    }

    /// Settles an order whole: all its declarations are paid.
    pub fn pay(&mut self, order_no: &str, paid: &Paid, cause: &str) {
        let order = self.order_mut(order_no);
        order.state = OrderState::Succeeded;
        order.gateway_txn_no.clone_from(&paid.gateway_txn_no);
        let order = order.clone();
        if let Some(number) = &paid.gateway_txn_no {
            self.transactions.insert((order.gateway.as_str().to_owned(), number.clone()), order_no.to_owned());
        }
        for attempt in &order.attempts {
            let before = self.orders[order_no].sequence;
            self.tell_recorded(&order, attempt, paid, cause);
            let number = &attempt.declaration_no;
            if let Some(known) = self.declarations.get_mut(number) {
                known.paid = true;
            }
            self.move_declaration(number, DeclarationState::Paying, EventType::DeclarationPaid, "", cause);
            let amount_sequence = self.fulfil(number, cause);
            self.settlements.push(OrderSettlement {
                order_no: order_no.to_owned(),
                payer_id: order.payer_id.clone(),
                item: attempt.item,
                declaration_no: number.clone(),
                gateway: order.gateway,
                amount: attempt.amount,
                paid: paid.clone(),
                // As of a deduction: payment.recorded has the next one.
                sequence: before,
                declaration_sequence: self.declarations.get(number).map_or(0, |known| known.sequence),
                amount_sequence,
            });
        }
    }

    fn fail(&mut self, m: &PaymentReported, cause: &str) {
        self.order_mut(&m.order_no).state = OrderState::Failed;
        let order = &self.orders[&m.order_no];
        let meaning = m.code.as_deref().and_then(|code| self.ctx.settings.codes(order.gateway).meaning(code)).cloned();
        let declaration_nos: Vec<String> = order.attempts.iter().map(|at| at.declaration_no.clone()).collect();
        self.tell_order(EventType::PaymentFailed, &m.order_no, cause, |data| {
            data.code = m.code.clone();
            if m.outcome == ReportOutcome::Closed {
                data.code = Some("not_paid".to_owned());
            }
            data.class = meaning.as_ref().map(|meaning| meaning.class.as_str());
            data.reason = meaning.as_ref().map(|meaning| meaning.reason.clone());
            data.next_step = meaning.map(|meaning| meaning.next_step).filter(|step| !step.is_empty());
        });
        for number in declaration_nos {
            let payable = DeclarationState::Payable;
            self.move_declaration(&number, payable, EventType::DeclarationPayableAgain, "payment_failed", cause);
        }
    }

    /// One discrepancy for each declaration of the order, so that none of them is collected before a person has decided.
    fn dispute(&mut self, kind: DiscrepancyKind, m: &PaymentReported, understood: &Understood, cause: &str) {
        let order = &self.orders[&m.order_no];
        let whole = ReportedDiscrepancy {
            kind,
            gateway: order.gateway,
            message_source: understood.source.clone(),
            message_id: understood.id.clone(),
            order_no: order.order_no.clone(),
            payer_id: (!order.payer_id.is_empty()).then(|| order.payer_id.clone()),
            declaration_no: None,
            amount: order.amount,
            code: m.code.clone(),
            gateway_txn_no: m.gateway_txn_no.clone(),
            settled_at: m.paid_at,
        };
        if !order.payer_id.is_empty() {
            // What a run has planned meanwhile is withdrawn, as long as it may be.
            self.moved.push((order.payer_id.clone(), cause.to_owned()));
        }
        let mut opened: Vec<ReportedDiscrepancy> = Vec::new();
        for attempt in &order.attempts {
            let declaration_no = Some(attempt.declaration_no.clone());
            opened.push(ReportedDiscrepancy { declaration_no, amount: attempt.amount, ..whole.clone() });
            if let Some(known) = self.declarations.get_mut(&attempt.declaration_no) {
                known.disputed = true;
            }
        }
        if opened.is_empty() {
            opened.push(whole);
        }
        self.discrepancies.extend(opened.into_iter().map(|one| (one, cause.to_owned())));
    }

    fn order_mut(&mut self, order_no: &str) -> &mut OnlineOrder {
        if !self.new_orders.contains(order_no) {
            self.moved_orders.insert(order_no.to_owned());
        }
        self.orders.get_mut(order_no).expect("the order was just found")
    }

    fn tell_reported(&mut self, m: &PaymentReported, cause: &str) {
        let codes = self.ctx.settings.codes(self.orders[&m.order_no].gateway);
        let class = m.code.as_deref().and_then(|code| codes.meaning(code)).map(|meaning| meaning.class.as_str());
        self.tell_order(EventType::PaymentReported, &m.order_no, cause, |data| {
            data.outcome = Some(m.outcome.as_str());
            data.gateway_txn_no.clone_from(&m.gateway_txn_no);
            data.paid_at = m.paid_at.map(wire_time);
            data.code.clone_from(&m.code);
            data.class = class;
        });
    }

    fn tell_order(&mut self, kind: EventType, order_no: &str, cause: &str, more: impl FnOnce(&mut OrderData)) {
        let order = self.order_mut(order_no);
        order.sequence += 1;
        let mut data = order_data(order);
        more(&mut data);
        let sequence = order.sequence;
        self.tell(kind, Subject::Order(order_no.to_owned()), sequence, cause, Data::Order(data));
    }

    fn tell_recorded(&mut self, order: &OnlineOrder, attempt: &OrderAttempt, paid: &Paid, cause: &str) {
        let Some(known) = self.declarations.get(&attempt.declaration_no) else { return };
        let data = PaymentData {
            order_no: order.order_no.clone(),
            payer_id: order.payer_id.clone(),
            declaration_no: attempt.declaration_no.clone(),
            insurance_type: known.insurance_type.clone(),
            kind: known.obligation.kind.as_str().to_owned(),
            period_from: known.obligation.period.from.to_string(),
            period_to: known.obligation.period.to.to_string(),
            amount: attempt.amount.to_string(),
            gateway: order.gateway.as_str().to_owned(),
            bank_code: None,
            gateway_txn_no: order.gateway_txn_no.clone(),
            settled_at: wire_time(paid.settled_at),
            channel: known.channel.clone(),
            confirmed: matches!(paid.by, SettledBy::Line { .. }),
            reversed_at: None,
            reason: None,
        };
        let kept = self.order_mut(&order.order_no);
        kept.sequence += 1;
        let sequence = kept.sequence;
        let subject = Subject::Order(order.order_no.clone());
        self.tell(EventType::PaymentRecorded, subject, sequence, cause, Data::Payment(data));
    }
}
