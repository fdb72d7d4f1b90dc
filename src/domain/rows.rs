//! How many rows, and what they come to.

use rust_decimal::Decimal;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rows {
    pub count: i64,
    /// In yuan; a difference may be negative.
    pub total: Decimal,
}

impl Rows {
    pub fn is_nothing(self) -> bool {
        self.count == 0 && self.total.is_zero()
    }
}

impl std::ops::AddAssign for Rows {
    fn add_assign(&mut self, more: Rows) {
        self.count += more.count;
        self.total += more.total;
    }
}

impl std::ops::Sub for Rows {
    type Output = Rows;

    fn sub(self, less: Rows) -> Rows {
        Rows { count: self.count - less.count, total: self.total - less.total }
    }
}

impl std::iter::Sum for Rows {
    fn sum<I: Iterator<Item = Rows>>(all: I) -> Rows {
        let mut sum = Rows::default();
        all.for_each(|rows| sum += rows);
        sum
    }
}
