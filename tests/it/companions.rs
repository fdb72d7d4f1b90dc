//! Small files beside a result file: they are compared before anything is applied, and put aside with it.

use md5::Md5;
use pikou::crypt::hex;
use pikou::gateway::{Beside, CompanionKind};
use pikou::stages::reconcile::{Outcome, reconcile_with};
use pikou::worker::inboxes::Inboxes;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::support::*;

fn beside(kind: CompanionKind, text: &str) -> Beside {
    Beside { kind, bytes: text.as_bytes().to_vec() }
}

/// P1 is sent to the bank; the answer says that it has paid.
async fn sent() -> (Place, Vec<u8>) {
    let place = Place::new().await;
    place.take(&ready("P1", "1500.00")).await;
    place.run().await;
    let rows = [Row::paid("P000000100100000001", "1500.00")];
    (place, result_file("102_20260415_1_0001.txt", &rows))
}

async fn given(place: &Place, bytes: &[u8], beside: &[Beside]) -> String {
    let bank = place.ctx.settings.bank.bank("102").unwrap();
    let outcome = reconcile_with(&place.ctx, bank, "R1.txt", bytes, beside).await.unwrap();
    let file = outcome.file();
    match &outcome {
        Outcome::Applied(_) | Outcome::Repeated(_) => outcome.as_str().to_owned(),
        Outcome::Refused(_) => {
            format!("{}: {}", file.refused_as.as_deref().unwrap(), file.refused_reason.as_deref().unwrap())
        }
    }
}

#[tokio::test]
async fn a_file_that_is_not_what_lies_beside_it_is_refused_until_it_is() {
    let (place, answer) = sent().await;
    let (kind, other) = (CompanionKind::Md5, "other bytes");
    let cases = [
        beside(kind, &hex(&Md5::digest(other))),
        beside(CompanionKind::Sha256, &hex(&Sha256::digest(other))),
        beside(CompanionKind::Sha1, &hex(&Sha1::digest(other))),
        beside(CompanionKind::Ok, &format!("{} 2", hex(&Sha256::digest(&answer)))),
        beside(kind, "digest"),
    ];
    let mut found = Vec::new();
    for case in cases {
        found.push(given(&place, &answer, &[case]).await);
    }
    let differs =
        "totals_differ: not the bytes that the file beside it has the digest of: cut off, changed, or another file";
    let wanted = [
        differs,
        differs,
        "totals_differ: .sha1: not the hash of the file",
        "totals_differ: .ok: other than the 1 rows of the file",
        "totals_differ: .md5: no MD5 in 32 hex digits",
    ];
    assert_eq!(found, wanted);
    assert_eq!(place.attempts().await, ["P1 sent"], "nothing of it is applied");
    let right = [
        beside(kind, &format!("{}  R1.txt\n", hex(&Md5::digest(&answer)))),
        beside(CompanionKind::Sha1, &hex(&Sha1::digest(&answer))),
        beside(CompanionKind::Ok, &format!("{} 1", hex(&Sha256::digest(&answer)))),
    ];
    assert_eq!(given(&place, &answer, &right).await, "applied");
    assert_eq!(place.attempts().await, ["P1 succeeded"]);
    // What is applied is applied, whatever lies beside it later.
    assert_eq!(given(&place, &answer, &[beside(kind, "digest")]).await, "repeated");
}

#[tokio::test]
async fn a_kept_file_is_refused_for_its_companion_also_by_whoever_goes_on_with_it() {
    let (place, answer) = sent().await;
    given(&place, &answer, &[beside(CompanionKind::Md5, &hex(&Md5::digest("other bytes")))]).await;
    // As if the worker had died between keeping the bytes and looking at them.
    let sql = "ALTER TABLE result_files DISABLE TRIGGER move_forward;
               UPDATE result_files SET state = 'received', refused_as = NULL, refused_line = NULL, refused_reason = NULL;
               ALTER TABLE result_files ENABLE TRIGGER move_forward";
    sqlx::raw_sql(sql).execute(&place.ctx.pool).await.unwrap();
    let outcomes = pikou::stages::reconcile::resume(&place.ctx).await.unwrap();
    assert_eq!(outcomes.iter().map(Outcome::as_str).collect::<Vec<_>>(), ["refused"]);
    assert_eq!(place.attempts().await, ["P1 sent"]);
}

#[tokio::test]
async fn an_inbox_takes_a_file_with_what_lies_beside_it() {
    let (place, answer) = sent().await;
    let inbox = place.ctx.settings.inbox(place.ctx.settings.bank.bank("102").unwrap());
    std::fs::create_dir_all(&inbox).unwrap();
    std::fs::write(inbox.join("R1.txt"), &answer).unwrap();
    std::fs::write(inbox.join("R1.txt.md5"), hex(&Md5::digest(&answer))).unwrap();
    let mut inboxes = Inboxes::default();
    for _ in 0..2 {
        inboxes.look(&place.ctx).await.unwrap();
    }
    assert_eq!(place.attempts().await, ["P1 succeeded"]);
    let done = inbox.join("done");
    assert_eq!(read_folder(&inbox), std::slice::from_ref(&done));
    assert_eq!(read_folder(&done), [done.join("1-R1.txt"), done.join("1-R1.txt.md5")]);
}
