//! What is refused, the whole file or a row of it.

use super::*;

fn zipped(members: &[(&str, &[u8])]) -> Vec<u8> {
    members.iter().fold(Zipped::default(), |zip, (name, content)| zip.with(name, content)).bytes()
}

/// The refusal of a sound row with one change, or what has become of it.
fn changed(at: usize, to: &[u8]) -> Told {
    let mut bytes = file(&transactions());
    bytes[at..at + to.len()].copy_from_slice(to);
    read(ZM, &bytes).unwrap().1.remove(0)
}

#[test]
fn a_file_that_is_cut_off_within_a_row_is_refused() {
    let bytes = file(&transactions());
    for cut in (0..bytes.len()).filter(|cut| cut % 609 != 0 || *cut == 0) {
        assert!(read(ZM, &bytes[..cut]).is_err(), "cut at {cut}");
    }
    let reason = "cut off, or saved again by another program: not a line of 607 bytes that ends with CR LF";
    assert_eq!(refusal(ZM, &bytes[..700]), format!("malformed, line 2: {reason}"));
    assert_eq!(refusal(ZM, &bytes[..bytes.len() - 1]), format!("malformed, line 3: {reason}"));
    // Between two rows nothing shows: that is why such a file proves no absence.
    assert_eq!(read(ZM, &bytes[..609]).unwrap().0.covers, Covers::Nothing);
}

#[test]
fn a_zip_that_is_cut_off_anywhere_is_refused_in_either_form() {
    for bytes in [zip(), packed(&zip())] {
        for cut in 0..bytes.len() {
            assert!(read(ZIP, &bytes[..cut]).is_err(), "cut at {cut}");
        }
    }
}

#[test]
fn a_file_that_was_saved_again_is_refused() {
    let bytes = file(&transactions());
    let reason = "cut off, or saved again by another program: not a line of 607 bytes that ends with CR LF";
    let unix = String::from_utf8_lossy(&bytes).replace("\r\n", "\n");
    assert_eq!(refusal(ZM, unix.as_bytes()), format!("malformed, line 1: {reason}"));
    let utf8 = GBK.decode(&bytes).0.into_owned();
    assert_eq!(refusal(ZM, utf8.as_bytes()), format!("malformed, line 1: {reason}"));
    let marked = "malformed, line 1: begins with a UTF-8 byte order mark: probably saved again by another program";
    assert_eq!(refusal(ZM, &[b"\xef\xbb\xbf", &bytes[..]].concat()), marked);
    let shapeless = [vec![b'1'; 607], b"\r\n".to_vec()].concat();
    assert_eq!(refusal(ZM, &shapeless), "malformed, line 1: no row has the fields of ZM");
}

#[test]
fn the_file_of_another_merchant_is_refused() {
    let theirs = "898340183980105";
    let name = format!("INN26041288ZM_{theirs}");
    let by_name = "wrong_file, line 1: by its name the file of another merchant";
    assert_eq!(refusal(&name, &file(&transactions())), by_name);
    assert_eq!(refusal("a.zip", &zipped(&[(&name, b"")])), by_name);
    let mut transactions = transactions();
    transactions[1].merchant_id = theirs;
    let by_row = "wrong_file, line 2, column 28: a transaction of another merchant";
    assert_eq!(refusal(ZM, &file(&transactions)), by_row);
    let in_zip = "wrong_file, line 2, column 28: ZM: a transaction of another merchant";
    assert_eq!(refusal(ZIP, &zipped(&[(ZM, &file(&transactions))])), in_zip);
}

#[test]
fn names_that_disagree_are_refused() {
    let reason = "wrong_file, line 1: the names of the archive and of its members are of different merchants or days";
    assert_eq!(refusal("777290058110097_20260413.zip", &zip()), reason);
    let other_day = "INN26041388ZME_777290058110097";
    assert_eq!(refusal("a.zip", &zipped(&[(ZM, b""), (other_day, b"")])), reason);
    let twice = zipped(&[(ZM, b""), ("INN26041388ZM_777290058110097", b"")]);
    assert_eq!(refusal("a.zip", &twice), "wrong_file, line 1: more than one ZM in the archive");
}

#[test]
fn files_of_other_kinds_are_refused_by_name() {
    let report = report(3, "1500.50", "200.00");
    let unnamed = "the name is not INN, yymmdd, 88ZM or 88ZME and the merchant id, nor that of a zip";
    let message = "a message of the interface, not a file; where it has a fileContent, that alone is the file";
    let batch = "by its name a file of the batch, not of a day; it has a folder of its own";
    let cases: [(&str, &[u8], &str); 10] = [
        (REPORT, &report, "the printed report (RD2010), not the transactions"),
        (ZIP, &zipped(&[(REPORT, &report)]), "the archive has neither ZM nor ZME in it"),
        (ZM, b"<html><body>404</body></html>", "an HTML or XML document, probably an error page"),
        (ZM, b"{\"respCode\":\"98\"}", "a JSON document, probably an error message"),
        (ZM, b"merId=777290058110097&respCode=98&respMsg=no", message),
        (ZM, b"%PDF-1.7", "a PDF document"),
        ("bill.txt", &file(&transactions()), unnamed),
        ("DK00000000777290058110097202604120001O.txt", b"", batch),
        (ZIP, b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "an empty zip archive"),
        ("a.zip", &zipped(&[("../INN26041288ZM_777290058110097", b"")]), ""),
    ];
    for (name, bytes, reason) in &cases[..9] {
        assert_eq!(refusal(name, bytes), format!("wrong_file, line 1: {reason}"));
    }
    let (name, bytes, _) = cases[9];
    let trick = "malformed, line 1: member 1 of the archive has a step out of its folder in its name";
    assert_eq!(refusal(name, bytes), trick);
    let answer = "wrong_file, line 1, column 1: no result but an answer for the whole file: respCode 98";
    assert_eq!(refusal(ZM, "98|文件不存在".as_bytes()), answer);
    assert_eq!(refusal(ZM, b""), "malformed, line 1: the file is empty");
}

#[test]
fn what_the_report_says_otherwise_refuses_the_zip() {
    let settled = file(&transactions());
    let fewer = zipped(&[(ZM, &settled[..1218]), (REPORT, &report(3, "1500.50", "200.00"))]);
    let count = "totals_differ, line 4, column 1: RD2010: 3 transactions declared, 2 found";
    assert_eq!(refusal(ZIP, &fewer), count);
    let other = zipped(&[(ZM, &settled), (REPORT, &report(3, "1500.51", "200.00"))]);
    let amount = "totals_differ, line 4, column 2: RD2010: other amounts declared than the rows come to, 1500.50 yuan \
                  in and 200.00 out";
    assert_eq!(refusal(ZIP, &other), amount);
    let unread = "malformed, line 1: RD2010: no row 总计 with a count and an amount";
    assert_eq!(refusal(ZIP, &zipped(&[(ZM, &settled), (REPORT, b"nothing")])), unread);
}

#[test]
fn packed_content_that_is_not_what_it_should_be_is_refused() {
    let refused = |bytes: &[u8]| refusal("fileContent", bytes);
    assert_eq!(refused(b"eJwA"), "malformed, line 1: the packed content is cut off");
    assert_eq!(
        refused(b"eJw%"),
        "wrong_file, line 1: the name is not INN, yymmdd, 88ZM or 88ZME and the merchant id, nor that of a zip"
    );
    let more = [&packed(&zip())[..], b"AAAA"].concat();
    assert!(read("fileContent", &more).is_err());
    let bare = packed(&file(&transactions()));
    let directory = "malformed, line 1: not a whole zip archive: its directory is missing or cut off";
    assert_eq!(refused(&bare), directory);
    let bomb = packed(&vec![0; 17 * 1024 * 1024]);
    assert_eq!(refused(&bomb), "malformed, line 1: unpacks to more than 16777216 bytes");
}

#[test]
fn a_bad_row_is_told_by_its_field_and_the_others_are_read() {
    let bad = |field, reason: &str| Told::Bad(1, Some(field), reason.into());
    assert_eq!(changed(66, b"            "), bad(7, "not a sum of money in whole fen"));
    assert_eq!(changed(66, b"-00000100000"), bad(7, "not a sum of money in whole fen"));
    assert_eq!(changed(87, &[b' '; 21]), bad(10, "not a transaction number"));
    assert_eq!(changed(112, &[b' '; 32]), bad(12, "not an order number"));
    assert_eq!(changed(113, b" "), bad(12, "not an order number"));
    assert_eq!(changed(35, b"0431101530"), bad(5, "not a time MMDDhhmmss"));
    assert_eq!(changed(180, b"D"), bad(17, "a payment that the merchant is debited for"));
    assert_eq!(changed(180, b"X"), bad(17, "not a signed sum of money in whole fen"));
    assert_eq!(changed(215, b"99"), bad(20, "a kind of transaction that is not known here"));
    let both_ways = "money paid back or out that the merchant is credited with";
    assert_eq!(changed(215, b"04"), bad(17, both_ways));
    assert_eq!(changed(3, b"x"), Told::Bad(1, None, "not the fields of ZM: no blank where one ends".into()));
    // It may be a payment of any order: so nothing is proved by what is not in the file.
    let mut unreadable = file(&transactions());
    unreadable[112..144].fill(b' ');
    let zip = zipped(&[(ZM, &unreadable), (REPORT, &report(3, "1500.50", "200.00"))]);
    assert_eq!(read(ZIP, &zip).unwrap().0, super::head(3, Covers::Nothing));
    let mut unlinked = transactions();
    (unlinked[2].original_query_id, unlinked[2].original_order_no) = (String::new(), String::new());
    let rows = read(ZM, &file(&unlinked)).unwrap().1;
    let lost = Told::Bad(3, Some(27), "a refund that does not say of which payment".into());
    assert_eq!(rows, [super::rows().remove(0), super::rows().remove(1), lost]);
}
