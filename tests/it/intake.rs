//! Messages become facts: once, in the sender's order, or with a clear answer.

use crate::support::*;

#[tokio::test]
async fn the_same_message_twice_has_one_effect() {
    let place = Place::new().await;
    let messages = ready("P1", "1500.00");
    let first = place.take(&messages).await;
    let second = place.take(&messages).await;
    assert_eq!((first.accepted, first.repeated), (3, 0));
    assert_eq!((second.accepted, second.repeated), (0, 3));
    assert_eq!(place.account().await.messages.repeated, 3);
    assert_eq!(place.told().await, [("amount.set".into(), "P1/resident_pension/2026".into(), 1)]);
}
