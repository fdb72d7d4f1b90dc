//! The cases of `fixtures/results`, each held against what is expected of it, by the code behind `pikou fixtures check`.
//! What it says of bad cases is tried on copies of good ones.

use std::fs;
use std::path::{Path, PathBuf};

use pikou::fixtures::{self, FixturesError, Outcome, Premises, Report, Wish};

use crate::support::*;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/results")
}

fn premises() -> Premises {
    let url = ("PIKOU__DATABASE__URL".to_owned(), server_url());
    Premises { settings_file: None, environment: vec![url] }
}

async fn run(folder: &Path, wish: Wish) -> Result<Vec<Report>, FixturesError> {
    fixtures::run(folder, &premises(), wish, |_| ()).await
}

/// A folder with copies of one case, under the given names.
fn copies(of: &str, names: &[&str]) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    fs::copy(folder().join("settings.toml"), copy.path().join("settings.toml")).unwrap();
    for name in names {
        let case = copy.path().join(name);
        fs::create_dir_all(&case).unwrap();
        for file in read_folder(&folder().join(of)) {
            fs::copy(&file, case.join(file.file_name().unwrap())).unwrap();
        }
    }
    copy
}

fn differences(report: &Report) -> &[String] {
    match &report.outcome {
        Outcome::Differs(lines) => lines,
        other => panic!("{}: {other:?}", report.case),
    }
}

fn reason(report: &Report) -> &str {
    match &report.outcome {
        Outcome::Failed(reason) => reason,
        other => panic!("{}: {other:?}", report.case),
    }
}

#[tokio::test]
async fn every_case_comes_out_as_expected() {
    let reports = run(&folder(), Wish::Check).await.unwrap();
    let wrong: Vec<String> = reports
        .iter()
        .filter(|report| !report.is_good())
        .map(|report| format!("{}: {:#?}", report.case, report.outcome))
        .collect();
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), reports.len(), wrong.join("\n"));
    assert!(reports.len() >= 60, "{} cases", reports.len());
}

/// What a preview says is what applying the file does, in every case: to the row and the fen. And whatever the format, the
/// account of its day has no difference that nothing explains.
#[tokio::test]
async fn every_file_of_every_case_does_what_its_preview_has_said_and_is_accounted_for() {
    let reports = run(&folder(), Wish::Foresee).await.unwrap();
    let wrong: Vec<String> = reports
        .iter()
        .filter(|report| !report.is_good())
        .map(|report| format!("{}: {:#?}", report.case, report.outcome))
        .collect();
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), reports.len(), wrong.join("\n"));
    assert!(reports.len() >= 60, "{} cases", reports.len());
}

#[tokio::test]
async fn a_case_whose_expectation_is_wrong_differs_and_all_of_it_is_told() {
    let copy = copies("bank/standard-paid-and-failed", &["bank/right", "bank/wrong", "bank/anew"]);
    for name in ["wrong", "anew"] {
        let path = copy.path().join("bank").join(name).join("expected.json");
        let text = fs::read_to_string(&path).unwrap();
        let changed =
            text.replacen("\"applied\": 4", "\"applied\": 3", 1).replacen("succeeded 1500.00", "failed 1500.00", 1);
        assert_ne!(text, changed);
        fs::write(&path, changed).unwrap();
    }
    let reports = run(copy.path(), Wish::Check).await.unwrap();
    let names: Vec<&str> = reports.iter().map(|report| report.case.as_str()).collect();
    assert_eq!(names, ["bank/anew", "bank/right", "bank/wrong"]);
    assert_eq!(reports[1].outcome, Outcome::AsExpected);
    let expected = [
        "- files.0.applied: 3",
        "+ files.0.applied: 4",
        "- orders.P000000100100000001: failed 1500.00",
        "+ orders.P000000100100000001: succeeded 1500.00",
    ];
    assert_eq!(differences(&reports[2]), expected);

    // Written anew, it is what it was before it was changed.
    let outcomes: Vec<Outcome> =
        run(copy.path(), Wish::Write).await.unwrap().into_iter().map(|of| of.outcome).collect();
    assert_eq!(outcomes, [Outcome::Written, Outcome::AsExpected, Outcome::Written]);
    let text = |name: &str| fs::read_to_string(copy.path().join(name).join("expected.json")).unwrap();
    assert_eq!(text("bank/anew"), text("bank/right"));
}

#[tokio::test]
async fn a_case_that_cannot_be_run_says_why_and_keeps_no_other_from_running() {
    let names = ["bank/ends-in-toml", "bank/folder", "bank/nothing-expected", "bank/right", "bank/slip", "bank/stray"];
    let copy = copies("bank/standard-in-two-files", &names);
    let at = |path: &str| copy.path().join("bank").join(path);
    fs::write(at("ends-in-toml/setings.toml"), "").unwrap();
    fs::create_dir(at("folder/more")).unwrap();
    fs::remove_file(at("nothing-expected/expected.json")).unwrap();
    fs::write(at("slip/expected.json"), "{\"abuot\": \"it\"}").unwrap();
    fs::write(at("stray/R9.txt.md5"), "00000000000000000000000000000000").unwrap();
    fs::create_dir_all(copy.path().join("bank/zero")).unwrap();
    let reports = run(copy.path(), Wish::Check).await.unwrap();
    assert!(reason(&reports[0]).contains("not a result file by its name"), "{:?}", reports[0]);
    assert!(reason(&reports[1]).contains("neither a result file nor one of a case's own"), "{:?}", reports[1]);
    assert!(reason(&reports[2]).contains("there is no expected.json"), "{:?}", reports[2]);
    assert_eq!(reports[3].outcome, Outcome::AsExpected);
    assert!(reason(&reports[4]).contains("unknown field `abuot`"), "{:?}", reports[4]);
    assert!(reason(&reports[5]).contains("lies beside no result file"), "{:?}", reports[5]);
    assert!(reason(&reports[6]).contains("there is no result file"), "{:?}", reports[6]);
}

#[tokio::test]
async fn a_folder_without_cases_or_with_something_else_is_refused_whole() {
    let empty = tempfile::tempdir().unwrap();
    assert!(run(empty.path(), Wish::Check).await.unwrap_err().to_string().contains("no case in it"));
    fs::create_dir_all(empty.path().join("paypal/case")).unwrap();
    assert!(run(empty.path(), Wish::Check).await.unwrap_err().to_string().contains("nor the folder of a gateway"));
}
