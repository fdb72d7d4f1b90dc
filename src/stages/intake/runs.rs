//! An external scheduler asks for a run.

use super::book::Book;
use super::entry::Answer;
use crate::clock::business_date;
use crate::contract::inbound::RunRequested;
use crate::contract::refusal::RefusalCode;
use crate::domain::insurance::Window;
use crate::domain::period::Year;
use crate::stages::firing;

impl Book<'_> {
    /// The run is found or made with this batch; a worker plans it like any other. Asked again, it is the same run.
    pub fn run_requested(&mut self, m: &RunRequested) -> Answer {
        let Some(run) = firing::run_of(&self.ctx.settings, &m.schedule, m.business_date, m.slot) else {
            return Answer::Refused(RefusalCode::UnknownSchedule);
        };
        // A slip of the pen in the date must not collect what is not due yet, or not any more.
        let today = business_date(self.now);
        if m.business_date > today {
            return Answer::Refused(RefusalCode::NotDue);
        }
        let rule = firing::rule(&self.ctx.settings, &m.schedule);
        if rule.is_some_and(|(_, rule)| rule.window(Year(run.valid_year), today) == Window::Closed) {
            return Answer::Refused(RefusalCode::WindowClosed);
        }
        self.requested_runs.push(run);
        Answer::Accepted
    }
}
