//! What the broker itself gives up on comes to the quarantine, and from there back to the intake.

use std::time::Instant;

use lapin::BasicProperties;
use lapin::options::{BasicGetOptions, BasicPublishOptions, BasicRejectOptions};
use serde_json::{Value, json};

use crate::bus::{Bus, amqp_url};
use crate::process::{PATIENCE, stop};
use crate::support::*;

async fn until_dead(bus: &Bus, expected: u32) {
    let start = Instant::now();
    while bus.waiting_in(&bus.settings.dead()).await != expected {
        assert!(start.elapsed() < PATIENCE, "{} dead, not {expected}", bus.waiting_in(&bus.settings.dead()).await);
        tokio::task::yield_now().await;
    }
}

async fn send(bus: &Bus, message: &Value, properties: BasicProperties) {
    let exchange = bus.settings.exchange_in.as_str().into();
    let body = message.to_string();
    let sent = bus.channel().basic_publish(
        exchange,
        "enrolment.changed".into(),
        BasicPublishOptions::default(),
        body.as_bytes(),
        properties.with_delivery_mode(2),
    );
    sent.await.unwrap().await.unwrap();
}

#[tokio::test]
async fn what_expired_or_was_rejected_ends_in_the_quarantine_and_can_be_replayed() {
    let bus = Bus::new(&amqp_url()).await;
    // One whose sender gave it a millisecond while no worker was up, and one that a stranger rejected for good.
    send(&bus, &enrolment("P1"), BasicProperties::default().with_expiration("1".into())).await;
    until_dead(&bus, 1).await;
    send(&bus, &enrolment("P2"), BasicProperties::default()).await;
    let start = Instant::now();
    loop {
        let queue = bus.settings.queue_in.as_str().into();
        if let Some(got) = bus.channel().basic_get(queue, BasicGetOptions { no_ack: false }).await.unwrap() {
            got.delivery.acker.reject(BasicRejectOptions { requeue: false }).await.unwrap();
            break;
        }
        assert!(start.elapsed() < PATIENCE, "the message does not come");
    }
    until_dead(&bus, 2).await;

    let pikou = bus.pikou().await;
    let worker = pikou.serve(&[]);
    pikou.until("SELECT count(*) FROM quarantine", 2).await;
    until_dead(&bus, 0).await;
    stop(&pikou, worker).await;
    until_dead(&bus, 0).await; // acknowledged: nothing went back

    let list = pikou.document(&["messages", "list"], 0).await;
    let found: Vec<Value> = list["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| json!([entry["code"], entry["reason"], entry["origin"]]))
        .collect();
    let (inbox, origin) = (&bus.settings.queue_in, format!("{}#enrolment.changed", bus.settings.dead()));
    let wanted = ["expired", "rejected"]
        .map(|death| json!(["dead_letter", format!("the broker gave it up: {death} in {inbox}"), origin]));
    assert_eq!(found, wanted);
    let shown = pikou.document(&["messages", "show", "1"], 0).await;
    assert!(shown["header_names"].as_array().unwrap().contains(&json!("x-death")), "{shown:#}");

    let replay =
        ["messages", "replay", "--code", "dead_letter", "--by", "Li Lei", "--reason", "the queue was too full"];
    let done = pikou.document(&replay, 0).await;
    assert_eq!((&done["replayed"], &done["not_understood"]), (&json!(2), &json!(0)));
    assert_eq!(pikou.texts("SELECT payer_id FROM enrolments ORDER BY 1").await, ["P1", "P2"]);
    let account = pikou.document(&["account"], 0).await;
    let counts = ["received", "accepted", "quarantined"].map(|name| account["messages"][name].clone());
    assert_eq!((account["balanced"].clone(), counts), (json!(true), [json!(4), json!(2), json!(2)]));
    bus.delete().await;
}

#[tokio::test]
async fn a_worker_that_dies_with_dead_letters_in_hand_loses_none_and_keeps_each_once() {
    let bus = Bus::new(&amqp_url()).await;
    for payer in ["P1", "P2", "P3"] {
        send(&bus, &enrolment(payer), BasicProperties::default().with_expiration("1".into())).await;
    }
    until_dead(&bus, 3).await;
    let pikou = bus.pikou().await;
    let mut worker = pikou.serve(&[("PIKOU_DIE_AT", "quarantine: before commit")]);
    assert!(!crate::process::end_of(&mut worker, &pikou.log()).await.success());
    assert_eq!(pikou.count("SELECT count(*) FROM quarantine").await, 0);
    let mut worker = pikou.serve(&[("PIKOU_DIE_AT", "quarantine: after commit")]);
    assert!(!crate::process::end_of(&mut worker, &pikou.log()).await.success());
    let worker = pikou.serve(&[]);
    pikou.until("SELECT sum(1 + repeated) FROM quarantine", 6).await;
    until_dead(&bus, 0).await;
    stop(&pikou, worker).await;
    assert_eq!(pikou.count("SELECT count(*) FROM quarantine").await, 3);
    assert_eq!(pikou.document(&["account"], 0).await["balanced"], json!(true));
    bus.delete().await;
}
