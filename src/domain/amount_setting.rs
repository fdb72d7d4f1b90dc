//! The amount a payer set for a valid year, all its versions, and what a void does to them.
//!
//! A year's history is the set of its facts, ordered by the sender's time and then by the message's id, never
//! by arrival. The state of each version follows from the fact after it alone, so any permutation of the same
//! messages ends in the same history.

use chrono::{DateTime, TimeDelta, Utc};

use super::money::Money;
use super::period::Month;

/// The place of a fact in its history.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FactOrder {
    pub time: DateTime<Utc>,
    /// The message's `id`; decides between facts of one instant.
    pub id: String,
}

/// What is carried over has no sender: its facts are numbered from here on, before any word of a payer, as messages are
/// of 2000 or later. The first of a year is what its opening carries.
const CARRIED_SINCE: DateTime<Utc> = DateTime::from_timestamp(-2_208_988_800, 0).expect("1900 is a year");
pub const CARRIED_OVER: &str = "carried_over";

impl FactOrder {
    fn carried(number: i64) -> FactOrder {
        FactOrder { time: CARRIED_SINCE + TimeDelta::seconds(number), id: CARRIED_OVER.into() }
    }

    fn is_carried(&self) -> bool {
        self.id == CARRIED_OVER
    }
}

/// `fulfilled` is not among them: it follows from the payment, not from this record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingState {
    Active,
    Superseded,
    Voided,
    Expired,
}

impl SettingState {
    pub fn as_str(self) -> &'static str {
        match self {
            SettingState::Active => "active",
            SettingState::Superseded => "superseded",
            SettingState::Voided => "voided",
            SettingState::Expired => "expired",
        }
    }

    pub const ALL: [SettingState; 4] =
        [SettingState::Active, SettingState::Superseded, SettingState::Voided, SettingState::Expired];

    pub fn parse(text: &str) -> Option<SettingState> {
        SettingState::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// Why the active amount is not collected for the time being.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldReason {
    /// A final failure; until a new agreement comes.
    NoAgreement,
    /// Carried over, and not within this year's rule; until the payer sets an amount.
    AmountOutOfRange,
    /// Too many failed runs, or an operator's hold; until the payer sets an amount or an operator releases it.
    Suspended,
}

impl HoldReason {
    pub const ALL: [HoldReason; 3] = [HoldReason::NoAgreement, HoldReason::AmountOutOfRange, HoldReason::Suspended];

    pub fn as_str(self) -> &'static str {
        match self {
            HoldReason::NoAgreement => "no_agreement",
            HoldReason::AmountOutOfRange => "amount_out_of_range",
            HoldReason::Suspended => "suspended",
        }
    }

    pub fn parse(text: &str) -> Option<HoldReason> {
        HoldReason::ALL.into_iter().find(|reason| reason.as_str() == text)
    }

    /// Whether an amount that the payer sets anew ends it.
    pub fn ends_with_a_new_amount(self) -> bool {
        match self {
            HoldReason::NoAgreement => false,
            HoldReason::AmountOutOfRange | HoldReason::Suspended => true,
        }
    }
}

/// One version of the amount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    pub order: FactOrder,
    /// For base-rate types the contribution base.
    pub amount: Money,
    /// For base-rate types the first month it holds for.
    pub period_from: Option<Month>,
    pub channel: String,
    pub state: SettingState,
}

/// Everything known of one (payer, insurance type, valid year).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct YearHistory {
    /// Ascending by order.
    pub versions: Vec<Version>,
    /// Ascending. A void that found nothing to void is kept too: an older amount may still be on its way.
    pub voids: Vec<FactOrder>,
}

/// What a year ends with, and what is carried over from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastWord<'h> {
    /// Nobody has ever set an amount.
    Nothing,
    /// Active, fulfilled or expired.
    Amount(&'h Version),
    Void,
}

/// What a newly arrived amount did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetAnswer {
    /// It is the active one now; `superseded` was active before.
    Active { superseded: Option<Version> },
    /// Something newer was known. Kept as a version, changes nothing.
    Stale,
}

/// What a newly arrived void did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VoidAnswer {
    Voided(Version),
    /// Nothing was active; the mark is kept at its time.
    NothingToVoid,
    /// A newer amount or void was known.
    Stale,
}

impl YearHistory {
    pub fn active(&self) -> Option<&Version> {
        self.versions.iter().find(|version| version.state == SettingState::Active)
    }

    /// Whether something newer than `order` is known.
    pub fn is_stale(&self, order: &FactOrder) -> bool {
        self.newest().is_some_and(|newest| newest > order)
    }

    pub fn set(&mut self, order: FactOrder, amount: Money, period_from: Option<Month>, channel: String) -> SetAnswer {
        let stale = self.is_stale(&order);
        let superseded = self.active().cloned();
        let version = Version { order, amount, period_from, channel, state: SettingState::Active };
        let place = self.versions.partition_point(|known| known.order < version.order);
        self.versions.insert(place, version);
        self.derive_states();
        if stale { SetAnswer::Stale } else { SetAnswer::Active { superseded } }
    }

    pub fn void(&mut self, order: FactOrder) -> VoidAnswer {
        let stale = self.is_stale(&order);
        let active = self.active().cloned();
        let place = self.voids.partition_point(|known| *known < order);
        self.voids.insert(place, order);
        self.derive_states();
        match active {
            _ if stale => VoidAnswer::Stale,
            Some(version) => VoidAnswer::Voided(version),
            None => VoidAnswer::NothingToVoid,
        }
    }

    /// The year is over and nothing is out: what is active expires.
    pub fn expire(&mut self) -> Option<&Version> {
        let version = self.versions.iter_mut().find(|version| version.state == SettingState::Active)?;
        version.state = SettingState::Expired;
        Some(version)
    }

    pub fn last_word(&self) -> LastWord<'_> {
        match self.versions.last() {
            None => LastWord::Nothing,
            Some(version) => match version.state {
                SettingState::Voided => LastWord::Void,
                SettingState::Active | SettingState::Expired | SettingState::Superseded => LastWord::Amount(version),
            },
        }
    }

    /// Whether the payer has said anything of the year, be it an amount or a void: that beats what is carried over.
    pub fn is_spoken_of(&self) -> bool {
        let mut facts = self.versions.iter().map(|version| &version.order).chain(&self.voids);
        facts.any(|order| !order.is_carried())
    }

    /// The place of the next fact that is carried over.
    pub fn next_carried(&self) -> FactOrder {
        let facts = self.versions.iter().map(|version| &version.order).chain(&self.voids);
        FactOrder::carried(facts.filter(|order| order.is_carried()).count() as i64)
    }

    fn newest(&self) -> Option<&FactOrder> {
        self.versions.last().map(|version| &version.order).max(self.voids.last())
    }

    /// A version is what the fact after it makes of it. An expired one stays expired: time, not a fact, ended it.
    fn derive_states(&mut self) {
        for index in 0..self.versions.len() {
            let order = &self.versions[index].order;
            let next_set = self.versions.get(index + 1).map(|version| &version.order);
            let next_void = self.voids.iter().find(|void| *void > order);
            let state = match (next_set, next_void) {
                (None, None) if self.versions[index].state == SettingState::Expired => SettingState::Expired,
                (None, None) => SettingState::Active,
                (Some(set), Some(void)) if set < void => SettingState::Superseded,
                (Some(_), None) => SettingState::Superseded,
                (_, Some(_)) => SettingState::Voided,
            };
            self.versions[index].state = state;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Fact {
        Set(i64, u8),
        Void(i64),
    }

    fn order(time: i64, id: usize) -> FactOrder {
        FactOrder { time: DateTime::from_timestamp(time, 0).unwrap(), id: format!("{id:04}") }
    }

    fn fold(facts: &[(usize, Fact)]) -> YearHistory {
        let mut history = YearHistory::default();
        for (id, fact) in facts {
            match fact {
                Fact::Set(time, hundreds) => {
                    let amount = Money::from_fen(i128::from(*hundreds) * 10_000).unwrap();
                    history.set(order(*time, *id), amount, None, "etax".into());
                }
                Fact::Void(time) => {
                    history.void(order(*time, *id));
                }
            }
        }
        history
    }

    fn facts() -> impl Strategy<Value = Vec<(usize, Fact)>> {
        let fact = prop_oneof![
            (0i64..20, 1u8..90).prop_map(|(time, amount)| Fact::Set(time, amount)),
            (0i64..20).prop_map(Fact::Void),
        ];
        prop::collection::vec(fact, 0..24).prop_map(|facts| facts.into_iter().enumerate().collect())
    }

    proptest! {
        #[test]
        fn any_order_of_arrival_ends_in_the_same_history(sent in facts(), seed in any::<u64>()) {
            let mut arrived = sent.clone();
            // A shuffle that proptest can shrink: sort by a keyed hash.
            arrived.sort_by_key(|(id, _)| (*id as u64).wrapping_mul(seed | 1).rotate_left(17));
            prop_assert_eq!(fold(&arrived), fold(&sent));
        }

        #[test]
        fn at_most_one_version_is_active_and_it_is_the_newest_fact(sent in facts()) {
            let history = fold(&sent);
            let active: Vec<_> = history.versions.iter().filter(|v| v.state == SettingState::Active).collect();
            prop_assert!(active.len() <= 1);
            if let Some(version) = active.first() {
                prop_assert_eq!(Some(&version.order), history.newest());
            }
        }
    }

    #[test]
    fn a_void_that_overtook_its_amount_still_stops_it() {
        let mut history = YearHistory::default();
        assert_eq!(history.void(order(10, 2)), VoidAnswer::NothingToVoid);
        assert_eq!(history.set(order(5, 1), Money::from_fen(100_000).unwrap(), None, "etax".into()), SetAnswer::Stale);
        assert_eq!(history.versions[0].state, SettingState::Voided);
    }

    #[test]
    fn an_amount_set_anew_after_a_void_is_active_again() {
        let history = fold(&[(1, Fact::Set(1, 10)), (2, Fact::Void(2)), (3, Fact::Set(3, 20))]);
        let states: Vec<_> = history.versions.iter().map(|version| version.state).collect();
        assert_eq!(states, [SettingState::Voided, SettingState::Active]);
    }

    #[test]
    fn a_second_void_finds_nothing() {
        let mut history = fold(&[(1, Fact::Set(1, 10)), (2, Fact::Void(2))]);
        assert_eq!(history.void(order(3, 3)), VoidAnswer::NothingToVoid);
    }
}
