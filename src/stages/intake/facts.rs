//! Facts that others own: enrolments and agreements. The newest word by the sender's time counts.

use super::book::Book;
use super::entry::Answer;
use crate::contract::inbound::{AgreementChanged, EnrolmentChanged};
use crate::crypt::Purpose;
use crate::domain::amount_setting::{FactOrder, HoldReason};
use crate::store::Stored;
use crate::store::agreements::AgreementRow;
use crate::store::amount_settings::YearKey;
use crate::store::enrolments::{Enrolment, EnrolmentRow};

impl Book<'_> {
    pub fn enrolment_changed(&mut self, m: &EnrolmentChanged, order: &FactOrder, cause: &str) -> Answer {
        let key = (m.payer_id.to_string(), m.insurance_type.0.clone());
        let enrolment =
            Enrolment { division_code: m.division_code.clone(), category: m.category.clone(), order: order.clone() };
        // Of two words in one batch the first has not reached the table.
        let stored = match (self.new_enrolments.get(&key), self.enrolments.get(&key)) {
            (Some(row), _) => row.stored,
            (None, Some(_)) => Stored::Before,
            (None, None) => Stored::Not,
        };
        match self.enrolments.get(&key).cloned() {
            Some(newest) if newest.order > *order => {
                self.keep_earlier(&key, enrolment);
                return Answer::Stale;
            }
            Some(before) => self.keep_earlier(&key, before),
            None => {}
        }
        let row = EnrolmentRow {
            payer_id: key.0.clone(),
            insurance_type: key.1.clone(),
            status: m.status.clone(),
            effective_on: m.effective_on,
            name: self.sealer.seal(Purpose::PersonName, m.name.as_bytes()),
            id_type: m.id_type.clone(),
            id_number: self.sealer.seal(Purpose::IdentityNumber, m.id_number.as_bytes()),
            id_number_hash: self.ctx.keys.digest(m.id_number.as_bytes()).to_vec(),
            enrolment: enrolment.clone(),
            stored,
        };
        self.moved.push((key.0.clone(), cause.to_owned()));
        self.new_enrolments.insert(key.clone(), row);
        self.enrolments.insert(key, enrolment);
        Answer::Accepted
    }

    pub fn agreement_changed(&mut self, m: &AgreementChanged, order: &FactOrder, cause: &str) -> Answer {
        let key = (m.payer_id.to_string(), m.agreement_no.clone());
        if self.agreements.get(&key).is_some_and(|known| known > order) {
            return Answer::Stale;
        }
        let stored = match (self.new_agreements.get(&key), self.agreements.get(&key)) {
            (Some(row), _) => row.stored,
            (None, Some(_)) => Stored::Before,
            (None, None) => Stored::Not,
        };
        let row = AgreementRow {
            payer_id: key.0.clone(),
            agreement_no: key.1.clone(),
            gateway: m.gateway.as_str().to_owned(),
            bank_code: m.bank_code.clone(),
            account_no: self.sealer.seal(Purpose::AccountNumber, m.account_no.as_bytes()),
            account_name: self.sealer.seal(Purpose::AccountName, m.account_name.as_bytes()),
            status: m.status.clone(),
            batch_enabled: m.batch_enabled,
            insurance_types: m.insurance_types.clone(),
            amount_max: m.amount_max.map(|amount| amount.decimal()),
            order: order.clone(),
            stored,
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
                key.0 == payer_id
                    && hold.is_some_and(|(reason, _)| reason.as_deref() == Some(HoldReason::NoAgreement.as_str()))
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in held {
            self.tell_released(&key, cause);
            self.touched_years.insert(key);
        }
    }
}
