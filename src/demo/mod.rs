//! A day in the life, with made-up payers.

pub mod bank;
