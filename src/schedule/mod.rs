//! When schedules fire: expressions, days and a business calendar come in, firings go out, and what becomes of those that
//! are due. No clock of its own; asked by the settings, by the stage that fires, by requests for a run and by
//! `pikou schedule list`.
//!
//! A run is known by the nominal date of its firing, which no calendar ever moves. [`cron`] says on which days, and
//! [`timetable`] where the calendar moves them; [`due`] what is done about those that have come or were missed.

pub mod cron;
pub mod due;
pub mod timetable;

pub use self::cron::Cron;
pub use due::{CatchUp, Decision, Missed};
pub use timetable::{Ambiguous, Firing, Timetable};
