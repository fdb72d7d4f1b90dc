//! Batches in line: the next one is read while the one before is written, and written only when that is committed.

use std::time::Instant;

use pikou::stages::StageError;
use pikou::stages::intake::{self, Line, Taken};
use serde_json::Value;
use sqlx::{Acquire, Connection, PgConnection};
use tokio::task::JoinHandle;

use crate::process::PATIENCE;
use crate::support::*;

/// Batches that were put in line and cannot write yet: somebody else has the log of messages to itself.
struct Held {
    place: Place,
    holder: PgConnection,
    line: Line,
}

impl Held {
    async fn new() -> Held {
        let place = Place::new().await;
        let mut holder = PgConnection::connect(&place.url).await.unwrap();
        sqlx::raw_sql("BEGIN; LOCK TABLE messages IN SHARE ROW EXCLUSIVE MODE").execute(&mut holder).await.unwrap();
        Held { place, holder, line: Line::default() }
    }

    fn put(&mut self, messages: &[Value]) -> JoinHandle<Result<Taken, StageError>> {
        let (ctx, deliveries, turn) = (self.place.ctx.clone(), deliveries(messages), self.line.turn());
        tokio::spawn(async move { intake::commit(&ctx, &intake::prepare(&ctx, deliveries), turn).await })
    }

    /// Until so many sessions hold locks of payers: their batches are being read or are read.
    async fn until_locked(&self, sessions: i64) {
        self.until(
            "SELECT count(DISTINCT pid) FROM pg_locks WHERE locktype = 'advisory' AND classid = 28777 AND granted
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            sessions,
        )
        .await;
    }

    /// Until so many sessions wait for the table.
    async fn until_writing(&self, sessions: i64) {
        self.until(
            "SELECT count(*) FROM pg_locks WHERE relation = 'messages'::regclass AND NOT granted
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            sessions,
        )
        .await;
    }

    async fn until(&self, sql: &'static str, expected: i64) {
        let start = Instant::now();
        while self.place.count(sql).await != expected {
            assert!(start.elapsed() < PATIENCE, "never {expected}: {sql}");
            tokio::task::yield_now().await;
        }
    }

    async fn let_go(&mut self) {
        sqlx::raw_sql("COMMIT").execute(self.holder.acquire().await.unwrap()).await.unwrap();
    }

    /// Ids in the order in which they were taken.
    async fn log(&self) -> Vec<String> {
        self.place.texts("SELECT id FROM messages ORDER BY seq").await
    }
}

fn ids(messages: &[Value]) -> Vec<String> {
    messages.iter().map(|message| message["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_next_batch_is_read_while_the_one_before_is_written_and_written_after_it() {
    let mut held = Held::new().await;
    let (first, second) = (ready("A", "1000.00"), ready("B", "1000.00"));
    let one = held.put(&first);
    held.until_writing(1).await;
    let two = held.put(&second);
    held.until_locked(2).await;
    held.until_writing(1).await;
    held.let_go().await;
    assert_eq!((one.await.unwrap().unwrap().accepted, two.await.unwrap().unwrap().accepted), (3, 3));
    assert_eq!(held.log().await, [ids(&first), ids(&second)].concat());
    held.place.account().await;
}

#[tokio::test]
async fn what_the_next_batch_says_of_the_same_payer_is_read_when_the_one_before_is_committed() {
    let mut held = Held::new().await;
    let void = amount_voided("A", "void", "2026-04-02T09:00:00+08:00");
    let one = held.put(&ready("A", "1000.00"));
    held.until_writing(1).await;
    let two = held.put(&[void]);
    let three = held.put(&ready("A", "1000.00"));
    held.let_go().await;
    assert_eq!(one.await.unwrap().unwrap(), Taken { accepted: 3, ..Taken::default() });
    assert_eq!(two.await.unwrap().unwrap(), Taken { accepted: 1, ..Taken::default() });
    assert_eq!(three.await.unwrap().unwrap(), Taken { repeated: 3, ..Taken::default() });
    assert_eq!(held.place.count("SELECT count(*) FROM amount_settings WHERE state = 'voided'").await, 1);
    held.place.account().await;
}

#[tokio::test]
async fn a_batch_behind_one_that_failed_writes_nothing() {
    let mut held = Held::new().await;
    let one = held.put(&ready("A", "1000.00"));
    held.until_writing(1).await;
    let two = held.put(&ready("B", "1000.00"));
    held.until_locked(2).await;
    // The session of the first batch ends as if the server had.
    held.place
        .count(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE relation = 'messages'::regclass AND NOT granted
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        )
        .await;
    assert!(one.await.unwrap().unwrap_err().helps_later());
    assert!(two.await.unwrap().unwrap_err().helps_later());
    let three = held.put(&ready("C", "1000.00"));
    assert!(three.await.unwrap().unwrap_err().helps_later(), "nor does any behind that");
    held.let_go().await;
    assert_eq!(held.log().await, Vec::<String>::new());
    // A new line begins anew.
    held.line = Line::default();
    assert_eq!(held.put(&ready("B", "1000.00")).await.unwrap().unwrap().accepted, 3);
}

#[tokio::test]
async fn a_batch_that_has_to_begin_again_in_parts_goes_before_the_one_behind_it() {
    let mut held = Held::new().await;
    sqlx::query("ALTER TABLE amount_settings ADD CHECK (amount <> 4321)").execute(&held.place.ctx.pool).await.unwrap();
    let first = [ready("A", "1500.00"), ready("B", "4321.00"), ready("C", "1500.00")].concat();
    let one = held.put(&first);
    held.until_writing(1).await;
    // Of the same payers, and of one more.
    let second: Vec<Value> =
        ["A", "C"].map(|payer| amount_voided(payer, &format!("void {payer}"), "2026-04-02T09:00:00+08:00")).to_vec();
    let two = held.put(&[second.clone(), ready("D", "1500.00")].concat());
    let third =
        [vec![amount_set("A", "again", "2026-04-03T09:00:00+08:00", "2000.00")], ready("E", "1500.00")].concat();
    let three = held.put(&third);
    held.let_go().await;
    assert_eq!(one.await.unwrap().unwrap(), Taken { accepted: 8, quarantined: 1, ..Taken::default() });
    assert_eq!(two.await.unwrap().unwrap(), Taken { accepted: 5, ..Taken::default() });
    assert_eq!(three.await.unwrap().unwrap(), Taken { accepted: 4, ..Taken::default() });
    let log = held.log().await;
    assert_eq!(log[8..10], ids(&second));
    assert_eq!(log[13..], ids(&third));
    assert_eq!(held.place.texts("SELECT code FROM quarantine").await, ["unstorable"]);
    held.place.account().await;
}

#[tokio::test]
async fn a_message_that_comes_again_is_recognised_also_when_nobody_looked_for_it() {
    let mut held = Held::new().await;
    held.let_go().await;
    for n in 0..20 {
        let taken = held.put(&ready(&format!("P{n:02}"), "1000.00")).await.unwrap().unwrap();
        assert_eq!(taken, Taken { accepted: 3, ..Taken::default() });
    }
    let again = held.put(&[ready("P03", "1000.00"), ready("Q", "1000.00")].concat());
    let behind = held.put(&ready("R", "1000.00"));
    assert_eq!(again.await.unwrap().unwrap(), Taken { accepted: 3, repeated: 3, ..Taken::default() });
    assert_eq!(behind.await.unwrap().unwrap(), Taken { accepted: 3, ..Taken::default() });
    assert_eq!(held.place.count("SELECT sum(repeated)::bigint FROM messages").await, 3);
    held.place.account().await;
}
