//! Each message from its fields.

use super::fields::{Field, Fields};
use super::{
    AgreementChanged, AmountSet, AmountVoided, AssessmentChanged, DeclarationSubmitted, DeclarationVoidRequested,
    EnrolmentChanged, ORDER_ITEMS_MAX, OrderItem, PaymentReported, PaymentStarted, RunRequested,
};
use crate::contract::envelope::{NotUnderstood, short_text};
use crate::contract::words::{AGREEMENT_STATUSES, ASSESSMENT_STATUSES, ENROLMENT_STATUSES};
use crate::domain::assessment::{Assessment, AssessmentKind};
use crate::domain::declaration::{CollectBy, Kind, Obligation};
use crate::domain::identity::is_resident_id;
use crate::domain::order::{Gateway, Method, ReportOutcome};

impl Fields<'_> {
    pub fn enrolment_changed(&self) -> Field<EnrolmentChanged> {
        let id_type = self.text("id_type")?;
        let id_number = self.text("id_number")?;
        // Only resident identity cards have a check character that we can check.
        if id_type == "resident_id" && !is_resident_id(&id_number) {
            return Err(NotUnderstood::field("id_number", "not a resident identity number (GB 11643)"));
        }
        let division_code = self.text("division_code")?;
        if !(6..=12).contains(&division_code.len()) || !division_code.bytes().all(|b| b.is_ascii_digit()) {
            return Err(NotUnderstood::field("division_code", "not six to twelve digits"));
        }
        Ok(EnrolmentChanged {
            payer_id: self.payer_id()?,
            insurance_type: self.insurance_type()?,
            status: self.one_of("status", &ENROLMENT_STATUSES)?,
            effective_on: self.date("effective_on")?,
            name: self.text("name")?,
            id_type,
            id_number,
            division_code,
            category: self.maybe_text("category")?,
        })
    }

    pub fn agreement_changed(&self) -> Field<AgreementChanged> {
        let not_texts = || NotUnderstood::field("insurance_types", "not a list of texts");
        let types = self.required("insurance_types")?.as_array().ok_or_else(not_texts)?;
        let mut insurance_types = Vec::with_capacity(types.len());
        for value in types {
            let text = value.as_str().ok_or_else(not_texts)?;
            short_text(text).map_err(|reason| NotUnderstood::field("insurance_types", reason))?;
            insurance_types.push(text.to_owned());
        }
        Ok(AgreementChanged {
            agreement_no: self.text("agreement_no")?,
            payer_id: self.payer_id()?,
            gateway: self.word("gateway", &Gateway::ALL, Gateway::as_str)?,
            bank_code: self.text("bank_code")?,
            account_no: self.text("account_no")?,
            account_name: self.text("account_name")?,
            status: self.one_of("status", &AGREEMENT_STATUSES)?,
            batch_enabled: self
                .required("batch_enabled")?
                .as_bool()
                .ok_or_else(|| NotUnderstood::field("batch_enabled", "not true or false"))?,
            insurance_types,
            amount_max: self.maybe_money("amount_max")?,
        })
    }

    pub fn amount_set(&self) -> Field<AmountSet> {
        Ok(AmountSet {
            payer_id: self.payer_id()?,
            insurance_type: self.insurance_type()?,
            valid_year: self.year("valid_year")?,
            amount: self.positive_money("amount")?,
            period_from: self.maybe_month("period_from")?,
            channel: self.text("channel")?,
        })
    }

    pub fn amount_voided(&self) -> Field<AmountVoided> {
        Ok(AmountVoided {
            payer_id: self.payer_id()?,
            insurance_type: self.insurance_type()?,
            valid_year: self.year("valid_year")?,
            channel: self.text("channel")?,
            reason: self.maybe_text("reason")?,
        })
    }

    pub fn assessment_changed(&self) -> Field<AssessmentChanged> {
        Ok(AssessmentChanged {
            assessment_no: self.text("assessment_no")?,
            payer_id: self.payer_id()?,
            assessment: Assessment {
                insurance_type: self.insurance_type()?.0,
                kind: self.word("kind", &AssessmentKind::ALL, AssessmentKind::as_str)?,
                period: self.period()?,
                amount: self.positive_money("amount")?,
                pay_by: self.date("pay_by")?,
                issued: self.one_of("status", &ASSESSMENT_STATUSES)? == "issued",
            },
        })
    }

    pub fn declaration_submitted(&self) -> Field<DeclarationSubmitted> {
        let period = self.period()?;
        let kind = self.word("kind", &Kind::ALL, Kind::as_str)?;
        let assessment_no = self.maybe_text("assessment_no")?.unwrap_or_default();
        if kind == Kind::Normal && !assessment_no.is_empty() {
            return Err(NotUnderstood::field("assessment_no", "a normal declaration has none"));
        }
        let channel = self.text("channel")?;
        if channel == "batch" {
            return Err(NotUnderstood::field("channel", "batch is the channel of runs"));
        }
        Ok(DeclarationSubmitted {
            declaration_no: self.number_not_of_runs("declaration_no", 'D')?,
            payer_id: self.payer_id()?,
            insurance_type: self.insurance_type()?,
            obligation: Obligation { period, kind, assessment_no },
            amount: self.positive_money("amount")?,
            channel,
            collect_by: self.word("collect_by", &CollectBy::ALL, CollectBy::as_str)?,
        })
    }

    pub fn declaration_void_requested(&self) -> Field<DeclarationVoidRequested> {
        Ok(DeclarationVoidRequested {
            declaration_no: self.text("declaration_no")?,
            channel: self.text("channel")?,
            reason: self.maybe_text("reason")?,
        })
    }

    pub fn payment_started(&self) -> Field<PaymentStarted> {
        let items = self.order_items()?;
        let amount = items.iter().map(|item| item.amount).sum();
        Ok(PaymentStarted {
            order_no: self.number_not_of_runs("order_no", 'P')?,
            items,
            amount,
            gateway: self.word("gateway", &Gateway::ALL, Gateway::as_str)?,
            method: self.word("method", &Method::ALL, Method::as_str)?,
            channel: self.text("channel")?,
            acting_payer_id: self.maybe_payer_id("acting_payer_id")?,
            expires_at: self.instant("expires_at")?,
        })
    }

    fn order_items(&self) -> Field<Vec<OrderItem>> {
        let list = self.required("items")?.as_array();
        let list = list.ok_or_else(|| NotUnderstood::field("items", "not a list"))?;
        if !(1..=ORDER_ITEMS_MAX).contains(&list.len()) {
            return Err(NotUnderstood::field("items", format!("not 1 to {ORDER_ITEMS_MAX}")));
        }
        let mut items: Vec<OrderItem> = Vec::with_capacity(list.len());
        for (place, value) in list.iter().enumerate() {
            let inside = |fault: NotUnderstood| NotUnderstood {
                position: format!("items[{place}].{}", fault.position),
                ..fault
            };
            let data = value.as_object().ok_or_else(|| NotUnderstood::field("items", "not a list of objects"))?;
            let fields = Fields { data, insurance_types: self.insurance_types };
            let item = OrderItem {
                declaration_no: fields.text("declaration_no").map_err(inside)?,
                amount: fields.positive_money("amount").map_err(inside)?,
            };
            if items.iter().any(|other| other.declaration_no == item.declaration_no) {
                return Err(NotUnderstood::field("items", "a declaration is named twice"));
            }
            items.push(item);
        }
        Ok(items)
    }

    pub fn payment_reported(&self) -> Field<PaymentReported> {
        Ok(PaymentReported {
            order_no: self.text("order_no")?,
            outcome: self.word("outcome", &ReportOutcome::ALL, ReportOutcome::as_str)?,
            gateway_txn_no: self.maybe_text("gateway_txn_no")?,
            paid_at: self.maybe_instant("paid_at")?,
            code: self.maybe_text("code")?,
            reason: self.maybe_text("reason")?,
        })
    }

    pub fn run_requested(&self) -> Field<RunRequested> {
        Ok(RunRequested {
            schedule: self.text("schedule")?,
            business_date: self.date("business_date")?,
            slot: self.slot("slot")?,
        })
    }
}
