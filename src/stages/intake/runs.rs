//! An external scheduler asks for a run.

use super::book::Book;
use super::entry::Answer;
use crate::clock::business_date;
use crate::contract::inbound::RunRequested;
use crate::contract::refusal::RefusalCode;
use crate::domain::insurance::Window;
use crate::domain::period::Year;
use crate::stages::firing::{self, NotARunDate};

impl Book<'_> {
    /// The run is found or made with this batch; a worker plans it like any other. Asked again, by its nominal date or
    /// by the one that the calendar shifts it to, it is the same run.
    pub fn run_requested(&mut self, m: &RunRequested) -> Answer {
        let settings = &self.ctx.settings;
        let today = business_date(self.now);
        let Some(as_named) = firing::run_of(settings, &m.schedule, m.business_date, m.slot) else {
            return Answer::Refused(RefusalCode::UnknownSchedule);
        };
        // A slip of the pen in the date must not collect what is not due yet, or not any more.
        let rule = firing::rule(settings, &m.schedule);
        if rule.is_some_and(|(_, rule)| rule.window(Year(as_named.valid_year), today) == Window::Closed) {
            return Answer::Refused(RefusalCode::WindowClosed);
        }
        let nominal = match firing::asked_for(settings, &m.schedule, m.business_date, today) {
            Ok(firing) => firing.nominal,
            Err(NotARunDate::NotDue(_)) => return Answer::Refused(RefusalCode::NotDue),
            Err(NotARunDate::NotADate(_) | NotARunDate::Several(_)) => {
                return Answer::Refused(RefusalCode::NotARunDate);
            }
            Err(NotARunDate::NoCalendar(_)) => return Answer::Refused(RefusalCode::CalendarMissing),
        };
        self.requested_runs.extend(firing::run_of(settings, &m.schedule, nominal, m.slot));
        Answer::Accepted
    }
}
