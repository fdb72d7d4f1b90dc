//! What configuration says of the daily files.

use super::*;

fn mistakes(change: impl Fn(&mut UnionpaySettings)) -> Vec<String> {
    let mut settings: UnionpaySettings = toml::from_str(SHIPPED).unwrap();
    settings.bill.merchant_ids = vec![MERCHANT.to_owned()];
    change(&mut settings);
    let codes = crate::gateway::code_table("codes", &settings.codes, &mut Vec::new());
    let wrong = UnionpayBills::from_settings(&settings, codes).unwrap_err();
    wrong.iter().map(LayoutMistake::to_string).collect()
}

#[test]
fn without_a_merchant_no_daily_file_is_taken() {
    let shipped: UnionpaySettings = toml::from_str(SHIPPED).unwrap();
    assert!(UnionpayBills::from_settings(&shipped, CodeTable::default()).unwrap().is_none());
    let bills = &*BILLS;
    assert_eq!((bills.gateway(), bills.bank_code()), ("unionpay", ""));
    assert_eq!((bills.inbox(), bills.answers_in_full()), (Path::new("gateways/unionpay/bills"), false));
    assert!(bills.claims(ZM) && bills.claims(ZIP) && bills.claims(&format!("7-{ZME}")));
    assert!(!bills.claims("DK00000000777290058110097202604120001O.txt"));
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let wrong = mistakes(|settings| {
        settings.bill.merchant_ids.push("short".into());
        settings.bill.inbox = "../elsewhere".into();
        settings.bill.unpacked_max_bytes = 0;
        settings.codes.remove("00");
    });
    let expected = [
        "bill.merchant_ids: each must be 15 letters and digits",
        "bill.inbox: must be a folder without '..'",
        "bill.unpacked_max_bytes: must be at least 1",
        "codes.00: must be a success, as all of the daily files is",
    ];
    assert_eq!(wrong, expected);
    let wrong = mistakes(|settings| settings.bill.inbox = settings.batch.inbox.clone());
    assert_eq!(wrong, ["bill.inbox: must not be a folder of the batch"]);
}
