//! What is true, whoever asks: no I/O, no clock, no async, no wire format.
//!
//! Read in this order: [`money`], [`period`] and [`identity`] are the words; [`insurance`] says what may be
//! set and when; [`amount_setting`], [`declaration`] and [`attempt`] are the three state machines;
//! [`assessment`] fixes what special ones owe, [`order`] says what an online payment's report means, [`waiting`] what
//! a message may wait for; [`eligibility`] says why somebody is skipped; [`outcome`] what a gateway's code means; [`discrepancy`]
//! where our book and theirs disagree; [`account`] which sums must agree at the end of a day, [`day_account`] the same of a
//! gateway and its files; [`calendar`] knows the
//! workdays, [`threshold`] which run a person has to look at first.

pub mod account;
pub mod amount_setting;
pub mod assessment;
pub mod attempt;
pub mod calendar;
pub mod day_account;
pub mod declaration;
pub mod discrepancy;
pub mod eligibility;
pub mod identity;
pub mod insurance;
pub mod money;
pub mod order;
pub mod outcome;
pub mod period;
pub mod rows;
pub mod threshold;
pub mod undoing;
pub mod waiting;
