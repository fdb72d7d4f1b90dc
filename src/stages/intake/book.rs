//! The part of the book that a batch touches, in memory: loaded in a few statements (`load.rs`), judged message by
//! message (here, and the rules in `amounts.rs`, `declarations.rs`, `orders.rs`), written back in a few statements
//! (`write.rs`). Nothing can change under it: the caller holds the locks.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::Moved;
use super::entry::{Answer, Entry, Standing};
use crate::contract::events::{Data, Event, EventType, MessageData, Subject};
use crate::contract::inbound::Message;
use crate::contract::refusal::RefusalCode;
use crate::crypt::Ring;
use crate::domain::amount_setting::FactOrder;
use crate::domain::declaration::Obligation;
use crate::domain::insurance::{CollectionRule, InsuranceType};
use crate::domain::money::Money;
use crate::domain::waiting::Awaited;
use crate::stages::Context;
use crate::store::absences::Kept;
use crate::store::agreements::AgreementRow;
use crate::store::amount_settings::{VoidRow, YearKey, YearRecord};
use crate::store::assessments::{AssessmentKey, KnownAssessment};
use crate::store::declarations::Declaration;
use crate::store::discrepancies::ReportedDiscrepancy;
use crate::store::enrolments::{Enrolment, EnrolmentRow};
use crate::store::online_orders::{OnlineOrder, OrderSettlement};
use crate::store::runs::NewRun;

/// (payer, insurance type)
pub(super) type EnrolmentKey = (String, String);

/// What the batch needs to know, and what of it is new.
pub(super) struct Book<'a> {
    pub ctx: &'a Context,
    pub sealer: Arc<Ring>,
    pub now: DateTime<Utc>,
    /// Those of the batch, then those that waited and may be woken by it.
    pub entries: Vec<Entry>,
    /// Entries that wait, by what they wait for.
    pub waiting: HashMap<String, Vec<usize>>,

    /// The newest word on each.
    pub enrolments: HashMap<EnrolmentKey, Enrolment>,
    /// What was known before, oldest first, where a message of this batch is older than the newest word.
    pub earlier_enrolments: HashMap<EnrolmentKey, Vec<Enrolment>>,
    /// The newest word on each (payer, agreement number).
    pub agreements: HashMap<(String, String), FactOrder>,
    pub assessments: HashMap<AssessmentKey, KnownAssessment>,
    pub years: BTreeMap<YearKey, YearRecord>,
    /// Openings of years that have begun, where a message is about a year gone by: (region, insurance type, valid year).
    pub openings: BTreeSet<YearKey>,
    /// And their ends.
    pub ends: BTreeSet<YearKey>,
    /// What was last paid before these years, where that is carried over after a void.
    pub last_paid: BTreeMap<YearKey, Money>,
    pub declarations: BTreeMap<String, Declaration>,
    /// The live declaration of an obligation.
    pub live: HashMap<(EnrolmentKey, Obligation), String>,
    pub orders: BTreeMap<String, OnlineOrder>,
    /// Which order a gateway's transaction has settled, by (gateway, number).
    pub transactions: HashMap<(String, String), String>,
    /// Rows of bills about orders that this batch starts.
    pub kept: Vec<Kept>,

    pub new_enrolments: HashMap<EnrolmentKey, EnrolmentRow>,
    pub new_earlier_enrolments: Vec<(String, String, Enrolment)>,
    pub new_agreements: HashMap<(String, String), AgreementRow>,
    pub new_assessments: BTreeSet<AssessmentKey>,
    /// Payers with a new agreement that allows batches.
    pub signers: BTreeSet<String>,
    pub touched_years: BTreeSet<YearKey>,
    /// Whose amounts are not held any more.
    pub released: BTreeSet<EnrolmentKey>,
    pub new_voids: Vec<VoidRow>,
    pub new_declarations: BTreeSet<String>,
    pub moved_declarations: BTreeSet<String>,
    /// Those of them that waited and are payable since this batch, whatever became of them then.
    pub woken_declarations: BTreeSet<String>,
    pub new_orders: BTreeSet<String>,
    pub moved_orders: BTreeSet<String>,
    pub settlements: Vec<OrderSettlement>,
    /// Orders that a kept row of a bill has settled.
    pub settled_by_bills: Vec<String>,
    /// Discrepancies that are explained, and what explains them.
    pub explained: Vec<(i64, String)>,
    pub discrepancies: Vec<(ReportedDiscrepancy, String)>,
    pub requested_runs: Vec<NewRun>,
    pub moved: Moved,
    pub events: Vec<Event>,
}

impl<'a> Book<'a> {
    pub fn new(ctx: &'a Context, sealer: Arc<Ring>, entries: Vec<Entry>, now: DateTime<Utc>) -> Book<'a> {
        Book {
            ctx,
            sealer,
            now,
            entries,
            waiting: HashMap::new(),
            enrolments: HashMap::new(),
            earlier_enrolments: HashMap::new(),
            agreements: HashMap::new(),
            assessments: HashMap::new(),
            years: BTreeMap::new(),
            openings: BTreeSet::new(),
            ends: BTreeSet::new(),
            last_paid: BTreeMap::new(),
            declarations: BTreeMap::new(),
            live: HashMap::new(),
            orders: BTreeMap::new(),
            transactions: HashMap::new(),
            kept: Vec::new(),
            new_enrolments: HashMap::new(),
            new_earlier_enrolments: Vec::new(),
            new_agreements: HashMap::new(),
            new_assessments: BTreeSet::new(),
            signers: BTreeSet::new(),
            touched_years: BTreeSet::new(),
            released: BTreeSet::new(),
            new_voids: Vec::new(),
            new_declarations: BTreeSet::new(),
            moved_declarations: BTreeSet::new(),
            woken_declarations: BTreeSet::new(),
            new_orders: BTreeSet::new(),
            moved_orders: BTreeSet::new(),
            settlements: Vec::new(),
            settled_by_bills: Vec::new(),
            explained: Vec::new(),
            discrepancies: Vec::new(),
            requested_runs: Vec::new(),
            moved: Vec::new(),
            events: Vec::new(),
        }
    }

    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        self.entries.iter().map(|entry| &entry.understood.message)
    }

    /// Judges what came with this batch in the order of arrival, and what has waited when what it waits for comes.
    pub fn judge(&mut self) {
        for place in 0..self.entries.len() {
            let waits = matches!(self.entries[place].standing, Standing::Waited(_));
            if !waits && self.entries[place].answer.is_none() {
                self.judge_entry(place);
            }
        }
    }

    fn judge_entry(&mut self, place: usize) {
        let understood = self.entries[place].understood.clone();
        let ended = matches!(self.entries[place].standing, Standing::Ended(_));
        let cause = if ended { "time".to_owned() } else { understood.causation() };
        let order = &understood.order;
        let woken = self.entries[place].is_woken();
        let answer = match &understood.message {
            Message::EnrolmentChanged(m) => self.enrolment_changed(m, order, &cause),
            Message::AgreementChanged(m) => self.agreement_changed(m, order, &cause),
            Message::AmountSet(m) => self.amount_set(m, order, &cause),
            Message::AmountVoided(m) => self.amount_voided(m, order, &cause),
            Message::AssessmentChanged(m) => self.assessment_changed(m, order, &cause),
            Message::DeclarationSubmitted(m) if woken => self.declaration_woken(m, order),
            Message::DeclarationSubmitted(m) => self.declaration_submitted(m, order),
            Message::DeclarationVoidRequested(m) => self.declaration_void_requested(m, &cause),
            Message::PaymentStarted(m) => self.payment_started(m, order),
            Message::PaymentReported(m) => self.payment_reported(m, &understood, &cause),
            Message::RunRequested(m) => self.run_requested(m),
        };
        let answer = match answer {
            Answer::Waiting(_, code) if ended => Answer::Refused(code),
            answer => answer,
        };
        // What an answer leaves in the book besides the answer itself.
        match &understood.message {
            Message::DeclarationSubmitted(m) => self.file(m, order, &answer, woken, &cause),
            Message::PaymentStarted(m) => self.keep_order(m, order, &answer, &cause),
            _ => {}
        }
        match &answer {
            Answer::Waiting(awaited, _) => self.waiting.entry(awaited.to_string()).or_default().push(place),
            Answer::Refused(code) => self.tell_answer(place, EventType::MessageRefused, Some(*code), &cause),
            Answer::Stale => self.tell_answer(place, EventType::MessageStale, None, &cause),
            Answer::Accepted => {}
        }
        let brought = brings(&understood.message);
        let heard = answer != Answer::Stale;
        self.entries[place].answer = Some(answer);
        if let Some(brought) = brought.filter(|_| heard) {
            self.wake(&brought);
        }
    }

    /// Judges what waited for this, in the order of the senders' times.
    fn wake(&mut self, brought: &Awaited) {
        let mut places = self.waiting.remove(&brought.to_string()).unwrap_or_default();
        places.sort_by(|a, b| self.entries[*a].understood.order.cmp(&self.entries[*b].understood.order));
        for place in places {
            self.judge_entry(place);
        }
    }

    /// The rule by which a payer's type is collected and their category, or why there is none: by the enrolment as of the
    /// sender's time, else by the earliest known.
    pub fn rule(&self, key: &EnrolmentKey, at: &FactOrder) -> Result<(&CollectionRule, Option<&str>), Answer> {
        let Some(newest) = self.enrolments.get(key) else {
            let awaited = Awaited::Enrolment { payer_id: key.0.clone(), insurance_type: key.1.clone() };
            return Err(Answer::Waiting(awaited, RefusalCode::NotEnrolled));
        };
        let earlier = self.earlier_enrolments.get(key).filter(|_| at.time < newest.order.time);
        let enrolment = earlier.and_then(|earlier| {
            let then = earlier.iter().rev().find(|known| known.order.time <= at.time);
            then.or(earlier.first())
        });
        let enrolment = enrolment.unwrap_or(newest);
        let region = self.ctx.settings.regions.of(&enrolment.division_code);
        let rule = region.and_then(|region| region.rule(&InsuranceType(key.1.clone())));
        let rule = rule.ok_or(Answer::Refused(RefusalCode::RegionNotServed))?;
        Ok((rule, enrolment.category.as_deref()))
    }

    /// Keeps a word on an enrolment that is not the newest.
    pub fn keep_earlier(&mut self, key: &EnrolmentKey, enrolment: Enrolment) {
        let known = self.earlier_enrolments.entry(key.clone()).or_default();
        let place = known.partition_point(|other| other.order < enrolment.order);
        known.insert(place, enrolment.clone());
        self.new_earlier_enrolments.push((key.0.clone(), key.1.clone(), enrolment));
    }

    /// Whom a message is about, as far as it says so or the book knows.
    pub fn payer_of(&self, message: &Message) -> Option<String> {
        let of_declaration = |number: &str| self.declarations.get(number).map(|known| known.payer_id.clone());
        let of_order = |number: &str| self.orders.get(number).map(|known| known.payer_id.clone());
        let payer = match message {
            Message::DeclarationVoidRequested(m) => of_declaration(&m.declaration_no),
            Message::PaymentStarted(m) => of_declaration(&m.items[0].declaration_no),
            Message::PaymentReported(m) => of_order(&m.order_no),
            Message::EnrolmentChanged(_)
            | Message::AgreementChanged(_)
            | Message::AmountSet(_)
            | Message::AmountVoided(_)
            | Message::AssessmentChanged(_)
            | Message::DeclarationSubmitted(_)
            | Message::RunRequested(_) => message.payer_id().map(str::to_owned),
        };
        payer.filter(|payer| !payer.is_empty())
    }

    fn tell_answer(&mut self, place: usize, kind: EventType, code: Option<RefusalCode>, cause: &str) {
        let understood = self.entries[place].understood.clone();
        let (source, id) = (understood.source.as_str(), understood.id.as_str());
        let payer_id = self.payer_of(&understood.message);
        let data = match code {
            Some(code) => MessageData::refused(source, id, payer_id, code),
            None => MessageData {
                source: Some(source.to_owned()),
                id: Some(id.to_owned()),
                payer_id,
                ..MessageData::default()
            },
        };
        self.tell(kind, Subject::message(source, id), 1, cause, Data::Message(data));
    }

    pub fn tell(&mut self, kind: EventType, subject: Subject, sequence: i64, cause: &str, data: Data) {
        let event = Event { kind, subject, sequence, causation: cause.to_owned(), time: self.now, data };
        self.events.push(event);
    }
}

/// What others may be waiting for and this message brings.
pub(super) fn brings(message: &Message) -> Option<Awaited> {
    match message {
        Message::EnrolmentChanged(m) => {
            Some(Awaited::Enrolment { payer_id: m.payer_id.to_string(), insurance_type: m.insurance_type.0.clone() })
        }
        Message::AssessmentChanged(m) => {
            Some(Awaited::Assessment { payer_id: m.payer_id.to_string(), assessment_no: m.assessment_no.clone() })
        }
        Message::DeclarationSubmitted(m) => Some(Awaited::Declaration(m.declaration_no.clone())),
        Message::PaymentStarted(m) => Some(Awaited::Order(m.order_no.clone())),
        Message::AgreementChanged(_)
        | Message::AmountSet(_)
        | Message::AmountVoided(_)
        | Message::DeclarationVoidRequested(_)
        | Message::PaymentReported(_)
        | Message::RunRequested(_) => None,
    }
}
