//! All SQL, and nothing else. Plural nouns: each file is one table or a few that are written together.
//!
//! Functions take the connection of a transaction that a stage opened; none opens or commits one itself.
//! Long statements are `.sql` files under `sql/`, with a comment for each CTE.

pub mod absences;
pub mod accounts;
pub mod agreements;
pub mod amount_settings;
pub mod assessments;
pub mod attempts;
pub mod bill_news;
pub mod bills;
pub mod books;
pub mod day_accounts;
pub mod decided_orders;
pub mod declarations;
pub mod discrepancies;
pub mod discrepancy_decisions;
pub mod enrolments;
pub mod file_decisions;
pub mod file_rows;
pub mod firings;
pub mod gates;
pub mod holds;
pub mod messages;
pub mod online_orders;
pub mod outbox;
pub mod plans;
pub mod quarantine;
pub mod ranges;
pub mod rebuilds;
pub mod request_files;
pub mod result_files;
pub mod results;
pub mod reversals;
pub mod run_decisions;
pub mod runs;
pub mod scratch;
pub mod sealed_values;
pub mod staging;
pub mod stories;
pub mod undo_news;
pub mod undos;
pub mod year_turns;

/// The migrations, in the binary.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// Whether a row is in its table already: one that is not is inserted without a look at what it may replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    Not,
    Before,
}

/// What an error of the database means for the work in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// The world is not ready: connection, lock, shutdown, space. Trying again later helps.
    Later,
    /// These values cannot be stored. Trying again does not help, trying them alone finds the one.
    Data,
    /// Our own book contradicts itself, or the statement is wrong.
    Broken,
}

/// By SQLSTATE class (PostgreSQL, appendix A).
pub fn family(error: &sqlx::Error) -> Family {
    match error {
        // The server has ended a session that was silent for too long inside a transaction: ours was stopped.
        sqlx::Error::Database(error) if error.code().as_deref() == Some("25P03") => Family::Later,
        sqlx::Error::Database(error) => match error.code().as_deref().map(|code| &code[..2]) {
            Some("08" | "40" | "53" | "55" | "57" | "58") => Family::Later,
            Some("22" | "23" | "54") => Family::Data,
            _ => Family::Broken,
        },
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Protocol(_) => Family::Later,
        sqlx::Error::Encode(_) => Family::Data,
        _ => Family::Broken,
    }
}

/// The name of the constraint that refused, if one did.
pub fn violated(error: &sqlx::Error) -> Option<&str> {
    match error {
        sqlx::Error::Database(error) => error.constraint(),
        _ => None,
    }
}
