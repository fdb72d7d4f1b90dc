//! `pikou discrepancies` as a shell sees it: lists, the story of one, and sheets that go out and come back.

use serde_json::{Value, json};

use crate::discrepancies::*;
use crate::process::Pikou;
use crate::support::*;

/// A strange order that names a formula, an unknown code of P1, and too little of P2; another worker by the command line.
async fn disputed() -> (Place, Pikou) {
    let place = sent_with(&[]).await;
    let strange = Row { txn_no: "T9".into(), ..Row::paid("=HYPERLINK(0)", "7.00") };
    let less = Row { amount: "300.00".into(), ..paid(2) };
    apply(&place, &[&[failed(1, "7777"), less, strange]]).await;
    let pikou = Pikou::on(place.url.clone(), &[("PIKOU__LOG__LEVEL", "warn")]).await;
    (place, pikou)
}

fn cells(text: &str) -> Vec<Vec<String>> {
    let text = text.strip_prefix('\u{feff}').expect("a mark");
    text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

#[tokio::test]
async fn lists_are_narrowed_and_turned_page_by_page_and_one_is_told_whole() {
    let (_place, pikou) = disputed().await;
    let ids = |document: &Value| {
        let all = document["discrepancies"].as_array().unwrap().iter();
        all.map(|one| format!("{} {}", one["discrepancy_id"], one["kind"].as_str().unwrap())).collect::<Vec<_>>()
    };
    let all = ["1 unknown_code", "2 amount_differs", "3 unknown_order"];
    for (arguments, wanted, next) in [
        (&[][..], &all[..], json!(null)),
        (&["--kind", "unknown_code"], &all[..1], json!(null)),
        (&["--gateway", "bank", "--limit", "2"], &all[..2], json!(2)),
        (&["--limit", "2", "--after", "2"], &all[2..], json!(null)),
        (&["--gateway", "alipay"], &[], json!(null)),
        (&["--state", "resolved"], &[], json!(null)),
        (&["--state", "all", "--payer", "P2"], &all[1..2], json!(null)),
        (&["--file", "1", "--older-than", "1"], &all[..], json!(null)),
        (&["--file", "2"], &[], json!(null)),
        (&["--older-than", "9999"], &[], json!(null)),
    ] {
        let listed = pikou.document(&[&["discrepancies", "list"], arguments].concat(), 0).await;
        assert_eq!(
            (ids(&listed), &listed["next_after"]),
            (wanted.iter().map(|id| (*id).to_owned()).collect(), &next),
            "{arguments:?}"
        );
        // They were opened in April, by the test's clock.
        assert!(listed["discrepancies"].as_array().unwrap().iter().all(|one| one["old"] == json!(true)));
    }
    for arguments in [&["list", "--kind", "lost"][..], &["resolve", "1"], &["show", "x"]] {
        assert_eq!(pikou.run(&[&["discrepancies"], arguments].concat()).await.code(), 2, "{arguments:?}");
    }
    let ended = pikou.run(&["discrepancies", "show", "1"]).await;
    let lines: Vec<&str> = ended.stdout.lines().filter(|line| !line.starts_with("opened")).collect();
    let wanted = [
        "id          1",
        "kind        unknown_code",
        "state       open, for too long",
        "they        bank 102",
        "            in result file 1, R1.txt, line 2",
        "            of order P000000100100000001",
        "            1500.00 yuan",
        "            code 7777, of no meaning that we know",
        "we          order P000000100100000001 of payer P1 is unknown, 1500.00 yuan",
        "            declaration D000000100100000001 is paying: resident_pension 202601 to 202612",
        "            run 1, request file 102_20260415_1_0001.txt",
        "may decide  accept_success: the order has succeeded: its declaration is paid",
        "may decide  accept_failure: the order has failed: its declaration may be collected again, or our payment is reversed",
        "may decide  keep_waiting: the attempt stays as it is; the next row about it is judged anew",
    ];
    assert_eq!(lines, wanted);
    let shown = pikou.document(&["discrepancies", "show", "3"], 0).await;
    assert_eq!(
        (&shown["order"], &shown["code_class"], &shown["order_no"]),
        (&json!([]), &json!("success"), &json!("=HYPERLINK(0)"))
    );
    assert_eq!(pikou.run(&["discrepancies", "show", "4"]).await.code(), 2);
}

#[tokio::test]
async fn one_is_resolved_and_reopened_with_the_exit_code_of_what_came_of_it() {
    let (place, pikou) = disputed().await;
    let by = ["--by", "Li Lei", "--reason", "why"];
    let resolve = |more: &[&'static str]| [&["discrepancies", "resolve", "2"], more, &by[..]].concat();
    let done = pikou.document(&resolve(&["--decision", "failed"]), 0).await;
    assert_eq!(
        done,
        json!({"discrepancy_id": 2, "decision": "failed", "outcome": "done", "resolved": [2], "events_published": done["events_published"]})
    );
    assert_eq!(pikou.document(&resolve(&["--decision", "failed"]), 0).await["outcome"], "repeated");
    let refused = pikou.document(&resolve(&["--decision", "accept_gateway"]), 3).await;
    assert_eq!(
        refused,
        json!({"refused": "decided", "reason": "it was resolved before, by failed: reopen it first; nothing happened",
            "discrepancy_id": 2, "decision": "accept_gateway"})
    );
    assert_eq!(pikou.document(&[&["discrepancies", "reopen", "2"], &by[..]].concat(), 0).await["outcome"], "done");
    assert_eq!(
        pikou.document(&[&["discrepancies", "reopen", "9"], &by[..]].concat(), 3).await["refused"],
        "unknown_discrepancy"
    );
    let keep = resolve(&["--decision", "keep"]);
    let said = pikou.run(&keep).await;
    let wanted = "pikou: refused as does_not_fit: keep is not for amount_differs; what may be decided: accept_gateway, failed, \
                  keep_waiting; nothing happened\n";
    assert_eq!((said.code(), said.stderr.as_str()), (3, wanted));
    let nobody = ["discrepancies", "resolve", "2", "--decision", "failed", "--by", " ", "--reason", "x"];
    assert_eq!(pikou.run(&nobody).await.code(), 2);
    place.account().await;
}

#[tokio::test]
async fn a_sheet_goes_out_is_filled_in_and_comes_back_with_an_outcome_for_each_row() {
    let (place, pikou) = disputed().await;
    let path = pikou.folder.path().join("d.csv");
    let sheet = path.to_str().unwrap();
    let exported = pikou.document(&["discrepancies", "export", "--csv", sheet], 0).await;
    assert_eq!(exported, json!({"csv": sheet, "discrepancies": 3}));
    assert_eq!(pikou.run(&["discrepancies", "export", "--csv", sheet]).await.code(), 2, "nothing is overwritten");
    let mut rows = cells(&std::fs::read_to_string(&path).unwrap());
    assert_eq!(
        rows[0].join(","),
        "discrepancy_id,kind,gateway,bank_code,file_name,line_no,order_no,payer_id,amount_ours,amount_theirs,\
                                   code,gateway_txn_no,opened_at,may_decide,decision,attach_order_no,reason"
    );
    let short: Vec<String> =
        rows[1..].iter().map(|row| format!("{} {} {} {}", row[0], row[1], row[6], row[13])).collect();
    let wanted = [
        "1 unknown_code P000000100100000001 accept_success accept_failure keep_waiting",
        "2 amount_differs P000000100100000002 accept_gateway failed keep_waiting",
        "3 unknown_order '=HYPERLINK(0) attach refund write_off",
    ];
    assert_eq!(short, wanted);

    // Filled in by somebody whose spreadsheet writes other line ends: one is right, one wrong, one left; and rows of theirs.
    let fill = |row: &mut Vec<String>, decision: &str, order: &str, reason: &str| {
        (row[14], row[15], row[16]) = (decision.into(), order.into(), reason.into());
    };
    fill(&mut rows[1], "accept_success", "", "\"they said \"\"paid\"\", twice\"");
    fill(&mut rows[3], "attach", "P000000100100000002", "");
    let mut again = rows[1].clone();
    again[0] = "1".into();
    let mut unknown = rows[1].clone();
    unknown[0] = "77".into();
    let mut strange = rows[1].clone();
    strange[14] = "=cmd".into();
    rows.extend([again, unknown, strange, vec!["2".into(), "failed".into()]]);
    let text: String = rows.iter().map(|row| format!("{}\n", row.join(","))).collect();
    let filled = pikou.write("filled.csv", text.as_bytes());
    let filled = filled.to_str().unwrap();
    let resolve = ["discrepancies", "resolve", "--csv", filled, "--by", "Li Lei", "--reason", "the list of the bank"];
    let answer = pikou.document(&resolve, 3).await;
    assert_eq!(answer["outcomes"], json!({"rows": 7, "done": 1, "repeated": 1, "refused": 4, "left": 1}));
    let answers = format!("{filled}.answers.csv");
    assert_eq!(answer["answers"], json!(answers));
    let outcome = |line: &String| line.rsplit_once(",").unwrap().1.trim_matches('"').to_owned();
    let lines: Vec<String> = std::fs::read_to_string(&answers).unwrap().lines().map(str::to_owned).collect();
    let wanted = [
        "outcome",
        "done",
        "",
        "refused: they say 7.00, the order is of 2000.00: no partial payment is booked",
        "repeated",
        "refused: there is no discrepancy 77",
    ];
    // A comma in the answer would have cut it.
    let found: Vec<String> = lines.iter().take(6).map(outcome).collect();
    assert_eq!(found[0..3], wanted[0..3]);
    assert!(
        lines[3].ends_with("\"refused: they say 7.00, the order is of 2000.00: no partial payment is booked\""),
        "{}",
        lines[3]
    );
    assert_eq!(found[4..], wanted[4..]);
    assert!(lines[6].contains("refused: one of attach, refund"), "{}", lines[6]);
    assert!(lines[7].ends_with(",refused: 2 cells instead of 17"), "{}", lines[7]);
    assert!(lines[3].contains("'=HYPERLINK(0)"), "no cell of the answer is a formula");
    let decided =
        "SELECT discrepancy_id || ' ' || what || ' ' || reason FROM discrepancy_decisions ORDER BY decision_id";
    assert_eq!(place.texts(decided).await, ["1 accept_success they said \"paid\", twice"]);
    assert_eq!(place.attempts().await, ["P1 succeeded", "P2 unknown"]);
    place.account().await;

    assert_eq!(pikou.run(&resolve).await.code(), 2, "an answer is never overwritten");
    let other = ["discrepancies", "resolve", "--csv", sheet, "--by", "Li Lei"];
    assert_eq!(
        pikou.document(&other, 0).await["outcomes"],
        json!({"rows": 3, "done": 0, "repeated": 0, "refused": 0, "left": 3})
    );
    let headless = pikou.write("h.csv", b"1,accept_success\n");
    let other = ["discrepancies", "resolve", "--csv", headless.to_str().unwrap(), "--by", "Li Lei"];
    assert_eq!(pikou.run(&other).await.code(), 3);
}
