//! Answers whose cells have a fixed width in bytes.

use super::*;

/// An answer of bank 301: cells of fixed width.
fn fixed_answer() -> Vec<u8> {
    let head = format!(
        "F301         20260415{:<60}{:010}{:016}{:010}{:016}\r\n",
        "3012026041570001.txt", 2, 300_000, 1, 100_000
    );
    let mut file = head.into_bytes();
    for (number, order, fen, code, reason, txn, time) in [
        (1, "P1", 100_000, "0000", "扣款成功", "T1", "20260415093000"),
        (2, "P2", 200_000, "1001", "余额 不足", "", ""),
    ] {
        file.extend_from_slice(format!("D{number:08}{order:<32}{fen:015}{code:<8}").as_bytes());
        let reason = bytes(reason);
        file.extend_from_slice(&reason);
        file.resize(file.len() + 60 - reason.len(), b' ');
        file.extend_from_slice(format!("{txn:<32}{time:<14}\r\n").as_bytes());
    }
    file.extend_from_slice(format!("T{:010}{:016}\r\n", 2, 300_000).as_bytes());
    file
}

#[test]
fn cells_of_fixed_width_are_cut_by_bytes_and_their_padding_taken_off() {
    let gateway = gateway(|_| ());
    let (bank, file) = (gateway.bank("301").unwrap(), fixed_answer());
    let head = bank.open(&file).unwrap();
    assert_eq!(
        (head.count, head.total, head.success_count, head.success_total),
        (2, yuan("3000"), Some(1), Some(yuan("1000")))
    );
    assert_eq!(
        (head.bank_code.as_deref(), head.request_file_name.as_deref()),
        (Some("301"), Some("3012026041570001.txt"))
    );
    let rows: Vec<ResultRow<'_>> = bank.rows(&file).collect();
    let success = ResultRow::Read {
        line_no: 2,
        order_no: "P1",
        amount: yuan("1000"),
        code: "0000",
        reason: "扣款成功".into(),
        gateway_txn_no: Some("T1"),
        settled_at: Some(Utc.with_ymd_and_hms(2026, 4, 15, 1, 30, 0).unwrap()),
    };
    let failure = ResultRow::Read {
        line_no: 3,
        order_no: "P2",
        amount: yuan("2000"),
        code: "1001",
        reason: "余额 不足".into(),
        gateway_txn_no: None,
        settled_at: None,
    };
    assert_eq!(rows, [success, failure]);
    for cut in 0..file.len() - 2 {
        assert!(bank.open(&file[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn a_row_that_is_not_as_wide_as_its_columns_is_one_bad_row() {
    let gateway = gateway(|_| ());
    let (bank, mut file) = (gateway.bank("301").unwrap(), fixed_answer());
    // Trailing blanks of the second row are lost: its amount cannot be read any more.
    let end = file.len() - 29;
    file.drain(end - 12..end - 2);
    assert_eq!(bank.open(&file).unwrap().count, 2);
    let rows: Vec<ResultRow<'_>> = bank.rows(&file).collect();
    let bad = ResultRow::Unparsable { line_no: 3, column: None, reason: "170 bytes expected, 160 found".into() };
    assert_eq!(rows[1], bad);
    let text = b"H,301,20260415,x,0,0.00,0,0.00\r\nT,0,0.00\r\n";
    assert_eq!(bank.open(text).unwrap_err().to_string(), "malformed, line 1: 133 bytes expected, 30 found");
}

proptest! {
    #[test]
    fn a_damaged_file_of_fixed_width_is_refused_or_read_and_never_a_panic(at in 0..600usize, byte in any::<u8>()) {
        let gateway = gateway(|_| ());
        let (bank, mut file) = (gateway.bank("301").unwrap(), fixed_answer());
        let at = at % file.len();
        file[at] = byte;
        let rows = bank.rows(&file).count();
        if let Ok(head) = bank.open(&file) {
            prop_assert_eq!((head.count, head.total, rows), (2, yuan("3000"), 2));
        }
    }
}
