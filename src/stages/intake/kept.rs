//! Money that a gateway's bill had for an order before the order's start arrived. The row was kept as a discrepancy
//! (`unknown_order`); the start says whose it is, and the row settles the order as it would have done behind it.

use super::book::Book;
use crate::domain::money::Money;
use crate::domain::order::OrderState;
use crate::domain::outcome::OutcomeClass;
use crate::store::absences::Kept;
use crate::store::online_orders::{Paid, SettledBy};

/// As bills and ledgers write it of money that went back whole, and of a movement.
const REFUNDED: &str = "succeeded";
const MOVED_IN: &str = "in";

impl Book<'_> {
    /// Settles an order that has just been started with what was kept of it, if that is one payment of its very sum. What
    /// is anything else waits on for a person.
    pub fn settle_kept(&mut self, order_no: &str, cause: &str) {
        let Some(order) = self.orders.get(order_no).filter(|order| order.state == OrderState::Sent) else { return };
        let (gateway, amount) = (order.gateway, order.amount);
        let kept: Vec<Kept> = self.kept.iter().filter(|row| row.order_no == order_no).cloned().collect();
        let kept: Vec<Kept> = kept.into_iter().filter(|row| row.gateway == gateway.as_str()).collect();
        let codes = self.ctx.settings.codes(gateway);
        let of_payments = |row: &&Kept| codes.meaning(&row.code).is_some_and(|m| m.class == OutcomeClass::Success);
        let mut explained: Vec<&Kept> = kept.iter().filter(|row| row.code == MOVED_IN).collect();
        let mut payments = kept.iter().filter(of_payments);
        if let (Some(row), None) = (payments.next(), payments.next())
            && Money::from_decimal(row.amount).is_ok_and(|theirs| theirs == amount)
            && self.is_unused(row)
        {
            explained.push(row);
            explained.extend(kept.iter().filter(|refund| refund.code == REFUNDED && refund.amount == row.amount));
            let paid = Paid {
                gateway_txn_no: row.gateway_txn_no.clone(),
                settled_at: row.settled_at.unwrap_or(self.now),
                by: SettledBy::Line { result_file_id: row.result_file_id, line_no: row.line_no },
            };
            self.pay(order_no, &paid, &format!("result_file:{}#{}", row.result_file_id, row.line_no));
            self.settled_by_bills.push(order_no.to_owned());
        }
        self.explained.extend(explained.iter().map(|row| (row.discrepancy_id, cause.to_owned())));
    }

    fn is_unused(&self, row: &Kept) -> bool {
        let number = row.gateway_txn_no.clone().unwrap_or_default();
        !self.transactions.contains_key(&(row.gateway.clone(), number))
    }
}
