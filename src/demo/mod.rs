//! A day in the life: made-up payers and their messages ([`payers`]), a stand-in for the banks that knows only the
//! files ([`bank`]), and the day itself ([`day`]), which drives the real stages over a real broker or a file.

pub mod bank;
pub mod carrier;
pub mod day;
pub mod payers;
