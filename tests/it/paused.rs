//! A worker is stopped in the middle of a hand-over until another one has taken over, and then goes on: it finds
//! nothing to hand over any more. Real processes, stopped and continued by signals.

use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::process::Child;

use crate::process::{PATIENCE, Pikou};
use crate::support::*;

const RUN: [&str; 4] = ["run", SCHEDULE, "--date", "2026-04-15"];
const NAME: &str = "102_20260415_1_0001.txt";

fn lines(messages: &[serde_json::Value]) -> Vec<u8> {
    messages.iter().map(|message| format!("{message}\n")).collect::<String>().into_bytes()
}

/// A worker that has stopped at a place of the hand-over of P1's file.
struct Paused {
    pikou: Pikou,
    worker: Child,
}

impl Paused {
    async fn at(place: &str) -> Paused {
        let pikou = Pikou::new(&[]).await;
        let messages = pikou.write("messages.jsonl", &lines(&ready("P1", "1500.00")));
        assert_eq!(pikou.run(&["ingest", messages.to_str().unwrap()]).await.code(), 0);
        let mut command = pikou.command(&RUN);
        let worker = command.env("PIKOU_PAUSE_AT", place).stderr(std::process::Stdio::piped()).spawn().unwrap();
        let stat = format!("/proc/{}/stat", worker.id().unwrap());
        let start = Instant::now();
        while !std::fs::read_to_string(&stat).unwrap().contains(") T ") {
            assert!(start.elapsed() < PATIENCE, "it does not stop at {place}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let sql = "UPDATE runs SET lease_until = clock_timestamp() - interval '1 second'";
        sqlx::query(sql).execute(&pikou.pool).await.unwrap();
        Paused { pikou, worker }
    }

    /// Goes on; what it says at its end.
    async fn go_on(&mut self) -> (Option<i32>, String) {
        let pid = rustix::process::Pid::from_raw(self.worker.id().unwrap() as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
        let mut stderr = self.worker.stderr.take().unwrap();
        let mut said = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut stderr, &mut said).await.unwrap();
        let status = tokio::time::timeout(PATIENCE, self.worker.wait()).await.expect("it ends").unwrap();
        (status.code(), said)
    }

    /// The bank takes everything that has its name: each file with its SHA-256. What is still a part it never touches.
    fn bank_takes(&self) -> Vec<String> {
        let folder = self.pikou.data().join("gateways/bank/outbox/102");
        let mut taken = Vec::new();
        for path in read_folder(&folder) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if !name.ends_with(".part") {
                let bytes = std::fs::read(&path).unwrap();
                taken.push(if name.ends_with(".ok") {
                    name
                } else {
                    format!("{name} {}", pikou::crypt::hex(&Sha256::digest(&bytes)))
                });
                std::fs::remove_file(path).unwrap();
            }
        }
        taken
    }

    async fn sealed(&self) -> Vec<String> {
        let hash = self.pikou.texts("SELECT file_name || ' ' || encode(sha256, 'hex') FROM request_files").await;
        vec![hash[0].clone(), format!("{NAME}.ok")]
    }

    /// States of file and run.
    async fn states(&self) -> Vec<String> {
        let sql = "SELECT f.state || COALESCE(' ' || f.held_reason, '') || ', ' || r.state FROM request_files f JOIN runs r USING (run_id)";
        self.pikou.texts(sql).await
    }

    fn told(&self, kind: &str) -> usize {
        let ids: std::collections::BTreeSet<String> = self
            .pikou
            .events()
            .iter()
            .filter(|event| event["type"] == format!("pikou.{kind}.v1"))
            .map(|event| event["id"].to_string())
            .collect();
        ids.len()
    }
}

const LOST: &str = "another worker has taken over run 1";

#[tokio::test]
async fn a_worker_that_was_paused_until_another_took_over_delivers_nothing() {
    for place in [
        "deliver: part written",
        "deliver: delivering",
        "deliver: before the rename",
        "deliver: renamed",
        "deliver: flagged",
    ] {
        let mut paused = Paused::at(place).await;
        let second = paused.pikou.run(&RUN).await;
        assert_eq!(second.code(), 0, "{place}: {}", second.stderr);
        assert_eq!(paused.bank_takes(), paused.sealed().await, "{place}");
        let (code, said) = paused.go_on().await;
        assert!(code == Some(1) && said.contains(LOST), "{place}: {code:?} {said}");
        assert_eq!(paused.bank_takes(), [""; 0], "{place}: once and not again");
        let left = read_folder(&paused.pikou.data().join("gateways/bank/outbox/102"));
        assert_eq!(left.len(), 0, "{place}: nor is anything left lying: {left:?}");
        assert_eq!(paused.states().await, ["delivered, sent"], "{place}");
        assert_eq!((paused.told("request_file.delivered"), paused.told("deduction.sent")), (1, 1), "{place}");
    }
}

#[tokio::test]
async fn what_the_bank_took_from_a_paused_worker_is_not_delivered_by_the_next_one() {
    let mut paused = Paused::at("deliver: renamed").await;
    // The bank does not wait for the flag.
    assert_eq!(paused.bank_takes(), paused.sealed().await[..1]);
    let second = paused.pikou.run(&RUN).await;
    assert_eq!(second.code(), 1, "{}", second.stderr);
    let held = "delivering the hand-over was interrupted, and the bank may have taken the file, sealed";
    assert_eq!(paused.states().await, [held]);
    let (code, said) = paused.go_on().await;
    assert!(code == Some(1) && said.contains(LOST), "{code:?} {said}");
    assert_eq!(paused.bank_takes(), [""; 0], "no flag without its file");
    let marked = paused.pikou.run(&["files", "mark-sent", "1", "--by", "Li Lei", "--reason", "the bank has it"]).await;
    assert_eq!(marked.code(), 0, "{}", marked.stderr);
    assert_eq!(paused.states().await, ["delivered, sent"]);
}

#[tokio::test]
async fn a_decision_takes_the_file_out_of_the_hands_of_a_paused_worker() {
    let decide = |what: &'static str| ["files", what, "1", "--by", "Li Lei", "--reason", "carried it"];
    for place in ["deliver: part written", "deliver: delivering", "deliver: before the rename"] {
        let mut paused = Paused::at(place).await;
        let marked = paused.pikou.run(&decide("mark-sent")).await;
        assert_eq!(marked.code(), 0, "{place}: {}", marked.stderr);
        let (code, said) = paused.go_on().await;
        assert!(code == Some(1) && said.contains(LOST), "{place}: {code:?} {said}");
        assert_eq!(paused.bank_takes(), [""; 0], "{place}: the bank has it by hand, and not twice");
        assert_eq!(paused.states().await, ["delivered, sent"], "{place}");

        if place == "deliver: part written" {
            continue;
        }
        let mut paused = Paused::at(place).await;
        let resent = paused.pikou.run(&decide("resend")).await;
        assert_eq!(resent.code(), 0, "{place}: {}", resent.stderr);
        assert_eq!(paused.bank_takes(), paused.sealed().await, "{place}");
        let (code, said) = paused.go_on().await;
        assert!(code == Some(1) && said.contains(LOST), "{place}: {code:?} {said}");
        assert_eq!(paused.bank_takes(), [""; 0], "{place}: once and not again");
        assert_eq!((paused.told("request_file.delivered"), paused.told("deduction.sent")), (1, 1), "{place}");
    }
}
