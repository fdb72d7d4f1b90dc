//! The banks of one deployment: settings come in, a layout and a code table per bank go out, or all mistakes.
//! Called by `config` when the program starts; the stages ask it for a bank's file.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::hand_over::{HandOver, ITEMS_LIMIT};
use super::layout::{Layout, LayoutMistake, note};
use super::lines::Lines;
use super::result::FileEnds;
use super::settings::{BankSettings, CodeSettings};
use super::text::NUMBER_BYTES_MAX;
use super::{Answers, Destination, FileBytes, ReadError, Refused, ResultHead, ResultRow, ResultSource, recognise};
use crate::domain::order::Gateway;
use crate::domain::outcome::{CodeMeaning, CodeTable, OutcomeClass};

#[derive(Debug, Clone)]
pub struct BankGateway {
    /// With the folders above those of the banks.
    hand_over: HandOver,
    banks: BTreeMap<String, BankFile>,
    codes: Arc<CodeTable>,
}

/// The file format of one bank.
#[derive(Debug, Clone)]
pub struct BankFile {
    pub(super) bank_code: String,
    pub(super) bank_name: String,
    pub(super) layout: Arc<Layout>,
    pub(super) codes: Arc<CodeTable>,
    hand_over: HandOver,
}

impl BankGateway {
    pub fn from_settings(settings: &BankSettings) -> Result<BankGateway, Vec<LayoutMistake>> {
        let mut mistakes = Vec::new();
        let hand_over = HandOver {
            outbox: settings.outbox.clone(),
            inbox: settings.inbox.clone(),
            refuses_repeated_names: settings.refuses_repeated_names,
            items_max: settings.items_max,
        };
        hand_over.check("", ITEMS_LIMIT, &mut mistakes);

        let layouts = settings.layouts.iter().map(|(name, layout)| {
            let parsed = Layout::parse(&format!("layouts.{name}"), layout, &mut mistakes);
            (name.as_str(), parsed.map(Arc::new))
        });
        let layouts: BTreeMap<&str, Option<Arc<Layout>>> = layouts.collect();
        let tables = settings.code_tables.iter().map(|(name, table)| {
            (name.as_str(), Arc::new(code_table(&format!("code_tables.{name}"), table, &mut mistakes)))
        });
        let tables: BTreeMap<&str, Arc<CodeTable>> = tables.collect();

        let known = layouts.contains_key(settings.layout.as_str());
        note(&mut mistakes, "layout", !known, format_args!("there is no layout '{}'", settings.layout));
        let known = tables.contains_key(settings.code_table.as_str());
        note(&mut mistakes, "code_table", !known, format_args!("there is no code table '{}'", settings.code_table));
        note(&mut mistakes, "banks", settings.banks.is_empty(), "no bank is configured");

        let mut banks = BTreeMap::new();
        for (bank_code, bank) in &settings.banks {
            let key = format!("banks.{bank_code}");
            let plain = (1..=16).contains(&bank_code.len()) && bank_code.bytes().all(|b| b.is_ascii_alphanumeric());
            note(&mut mistakes, &key, !plain, "a bank code is 1 to 16 letters and digits");
            note(&mut mistakes, &key, bank.name.is_empty(), "the name is empty");
            if let Some(own) = &bank.layout {
                note(
                    &mut mistakes,
                    &key,
                    !layouts.contains_key(own.as_str()),
                    format_args!("there is no layout '{own}'"),
                );
            }
            if let Some(own) = &bank.code_table {
                let known = tables.contains_key(own.as_str());
                note(&mut mistakes, &key, !known, format_args!("there is no code table '{own}'"));
            }
            let layout = layouts.get(bank.layout.as_deref().unwrap_or(&settings.layout));
            let codes = tables.get(bank.code_table.as_deref().unwrap_or(&settings.code_table));
            if let (Some(Some(layout)), Some(codes)) = (layout, codes) {
                let (layout, codes) = (Arc::clone(layout), Arc::clone(codes));
                layout.check_room(&key, bank_code, settings.items_max, &mut mistakes);
                let (bank_code, bank_name) = (bank_code.clone(), bank.name.clone());
                let hand_over = hand_over.of(&bank_code);
                banks.insert(bank_code.clone(), BankFile { bank_code, bank_name, layout, codes, hand_over });
            }
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        Ok(BankGateway {
            hand_over,
            codes: tables.get(settings.code_table.as_str()).map(Arc::clone).unwrap_or_default(),
            banks,
        })
    }

    /// The banks in the order of their codes.
    pub fn banks(&self) -> impl Iterator<Item = &BankFile> {
        self.banks.values()
    }

    pub fn bank(&self, bank_code: &str) -> Option<&BankFile> {
        self.banks.get(bank_code)
    }

    /// Of every bank that has none of its own, and of online payments by agreement.
    pub fn common_codes(&self) -> &CodeTable {
        &self.codes
    }

    /// Below the data folder; request files go to `<outbox>/<bank code>/`.
    pub fn outbox(&self) -> &Path {
        &self.hand_over.outbox
    }

    /// Below the data folder; result files come to `<inbox>/<bank code>/`.
    pub fn inbox(&self) -> &Path {
        &self.hand_over.inbox
    }

    /// The bank whose result file this says it is: for files that come without a folder.
    pub fn bank_of_result(&self, ends: &FileEnds) -> Result<&BankFile, Refused> {
        if let Some(bank) = self.banks().find(|bank| bank.claims(ends)) {
            return Ok(bank);
        }
        let foreign = self.banks().find_map(|bank| recognise::foreign(&ends.beginning, &bank.layout));
        Err(foreign
            .unwrap_or_else(|| Refused::wrong_file(1, None, "the header is not of a result file of a configured bank")))
    }
}

impl BankFile {
    pub fn bank_name(&self) -> &str {
        &self.bank_name
    }
}

impl Answers for BankFile {
    fn gateway(&self) -> &'static str {
        Gateway::Bank.as_str()
    }

    fn bank_code(&self) -> &str {
        &self.bank_code
    }

    fn codes(&self) -> &CodeTable {
        &self.codes
    }

    fn inbox(&self) -> &Path {
        &self.hand_over.inbox
    }

    /// A bank may answer in several files, and leave orders for a later one.
    fn answers_in_full(&self) -> bool {
        false
    }

    /// By what it holds, whatever it is called; only its length may stand in its name.
    fn read(&self, file: &mut ResultSource<'_>, each: &mut dyn FnMut(ResultRow<'_>)) -> Result<ResultHead, ReadError> {
        self.layout.result.check_name(file)?;
        let mut bytes: &mut dyn FileBytes = file.bytes;
        self.read_result(&mut Lines::of(&mut bytes), each)
    }
}

impl Destination for BankFile {
    fn hand_over(&self) -> &HandOver {
        &self.hand_over
    }
}

/// What a gateway's codes mean, as configured below `key`.
pub fn code_table(
    key: &str,
    settings: &BTreeMap<String, CodeSettings>,
    mistakes: &mut Vec<LayoutMistake>,
) -> CodeTable {
    let mut table = CodeTable::default();
    for (code, settings) in settings {
        let key = format!("{key}.{code}");
        // Alipay's bills have words for codes, in Chinese.
        let plain =
            (1..=NUMBER_BYTES_MAX).contains(&code.len()) && !code.chars().any(|c| c.is_control() || c.is_whitespace());
        note(mistakes, &key, !plain, "a code is 1 to 64 bytes without blanks");
        note(mistakes, &key, settings.reason.is_empty(), "the reason is empty");
        let class = OutcomeClass::parse(&settings.class);
        note(mistakes, &key, class.is_none(), "class must be success, retryable, final or unknown");
        if let Some(class) = class {
            let (reason, next_step) = (settings.reason.clone(), settings.next_step.clone());
            table.0.insert(code.clone(), CodeMeaning { class, reason, next_step });
        }
    }
    let succeeds = settings.values().any(|code| code.class == OutcomeClass::Success.as_str());
    note(mistakes, key, !succeeds, "no code means success");
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../config/gateways/bank.toml");

    fn settings() -> BankSettings {
        toml::from_str(SHIPPED).unwrap()
    }

    #[test]
    fn the_shipped_settings_are_six_banks_with_three_layouts() {
        let gateway = BankGateway::from_settings(&settings()).unwrap();
        let banks: Vec<&str> = gateway.banks().map(BankFile::bank_code).collect();
        assert_eq!(banks, ["102", "103", "104", "105", "301", "403"]);
        let layout = |code: &str| gateway.bank(code).unwrap().layout.as_ref().clone();
        assert_eq!(layout("102"), layout("105"));
        assert!(layout("102") != layout("301") && layout("102") != layout("403") && layout("301") != layout("403"));
        let bank = gateway.bank("102").unwrap();
        let classes: Vec<(&str, &str)> = bank.codes().0.iter().map(|(c, m)| (&**c, m.class.as_str())).collect();
        let expected = [
            ("0000", "success"),
            ("1001", "retryable"),
            ("1002", "retryable"),
            ("2001", "final"),
            ("2002", "final"),
            ("2003", "final"),
            ("2004", "final"),
            ("9001", "unknown"),
            ("9002", "unknown"),
        ];
        assert_eq!(classes, expected);
        let hand_over = bank.hand_over();
        assert_eq!((hand_over.items_max, hand_over.refuses_repeated_names), (50_000, false));
        assert_eq!(hand_over.outbox, Path::new("gateways/bank/outbox/102"));
        assert!(gateway.bank("999").is_none());
    }

    #[test]
    fn a_bank_may_have_a_layout_and_codes_of_its_own() {
        let mut settings = settings();
        let mut own = settings.layouts["standard"].clone();
        own.separator = "|".into();
        settings.layouts.insert("pipes".into(), own);
        settings
            .code_tables
            .insert("short".into(), BTreeMap::from([("0".into(), settings.code_tables["standard"]["0000"].clone())]));
        let bank = settings.banks.get_mut("403").unwrap();
        (bank.layout, bank.code_table) = (Some("pipes".into()), Some("short".into()));
        let gateway = BankGateway::from_settings(&settings).unwrap();
        assert_ne!(gateway.bank("403").unwrap().layout, gateway.bank("102").unwrap().layout);
        assert_eq!(gateway.bank("403").unwrap().codes().0.len(), 1);
    }

    #[test]
    fn all_mistakes_are_reported_at_once() {
        let mut settings = settings();
        settings.outbox = "../elsewhere".into();
        settings.items_max = 0;
        settings.code_table = "none".into();
        settings.banks.insert("../1".into(), settings.banks["102"].clone());
        settings.banks.get_mut("103").unwrap().layout = Some("missing".into());
        settings.code_tables.get_mut("standard").unwrap().get_mut("0000").unwrap().class = "fine".into();
        let layout = settings.layouts.get_mut("standard").unwrap();
        layout.encoding = "latin1".into();
        layout.file_name = "{bank}/{day}_{run}.ok".into();
        layout.request.header = vec!["=H,".into()];
        layout.request.trailer = vec!["=T".into(), "count".into()];
        layout.request.item = vec!["order_no".into(), "order_no".into(), "name".into()];
        layout.result.item = vec!["amount_yuan".into(), "amount_fen".into(), "ignored".into(), "ignored".into()];
        let mistakes = BankGateway::from_settings(&settings).unwrap_err();
        let mistakes: Vec<String> = mistakes.iter().map(LayoutMistake::to_string).collect();
        let expected = [
            "outbox: must be a folder without '..'",
            "items_max: must be 1 to 1000000",
            "layouts.standard.encoding: must be gb18030, gbk or utf-8",
            "layouts.standard.file_name: may hold letters, digits, '.', '_', '-' and placeholders only",
            "layouts.standard.file_name: the placeholders are {bank}, {date}, {run} and {part}",
            "layouts.standard.file_name: needs {run} and {part}, or two files would have one name",
            "layouts.standard.file_name: must not begin with '.' nor end with .part or .ok",
            "layouts.standard.request.header: the file cannot carry '=H,': separator",
            "layouts.standard.request.item: 'order_no' is there twice",
            "layouts.standard.request.item: unknown field 'name'; known here: line_no, order_no, agreement_no, \
             account_no, account_name, amount_yuan, amount_fen",
            "layouts.standard.request: total_yuan or total_fen is in neither header nor trailer",
            "layouts.standard.request.item: amount_yuan or amount_fen is missing",
            "layouts.standard.request.item: account_no and agreement_no are both missing",
            "layouts.standard.result.item: 'amount_fen' is there twice",
            "layouts.standard.result.item: order_no is missing",
            "layouts.standard.result.item: code is missing",
            "code_tables.standard.0000: class must be success, retryable, final or unknown",
            "code_tables.standard: no code means success",
            "code_table: there is no code table 'none'",
            "banks.../1: a bank code is 1 to 16 letters and digits",
            "banks.103: there is no layout 'missing'",
        ];
        assert_eq!(mistakes, expected);
    }

    #[test]
    fn every_mistake_in_a_layout_of_fixed_width_is_named() {
        let mut settings = settings();
        settings.items_max = 1_000_000;
        let layout = settings.layouts.get_mut("fixed").unwrap();
        layout.request.header =
            ["=", "=F 1", "bank_code 2", "business_date 8", "file_name 20"].map(String::from).into();
        layout.request.item =
            ["order_no", "amount_fen 15 left pad 0", "account_no 0", "account_name 60 middle", "name 5"]
                .map(String::from)
                .into();
        layout.request.trailer = ["count 3", "total_yuan 3", "business_date 6"].map(String::from).into();
        layout.result.item = [
            "order_no 32",
            "amount_fen 15",
            "code 8",
            "settled_at 8",
            "reason 1024",
            "ignored 1024",
            "ignored 1024",
            "ignored 1024",
        ]
        .map(String::from)
        .into();
        settings.layouts.get_mut("bars").unwrap().request.item[1] = "order_no 32".into();
        let mistakes: Vec<String> =
            BankGateway::from_settings(&settings).unwrap_err().iter().map(LayoutMistake::to_string).collect();
        let pads = "behind the width come left or right, and pad with space, 0 or one of !\"#$%&'()*+,-./";
        let fields = "line_no, order_no, agreement_no, account_no, account_name, amount_yuan, amount_fen";
        let expected = [
            "layouts.bars.request.item: 'order_no 32' has a width, but the cells are separated".to_owned(),
            "layouts.bars.request.item: order_no is missing".into(),
            "layouts.fixed.request.header: '=' needs a width in bytes".into(),
            "layouts.fixed.request.item: 'order_no' needs a width in bytes: the cells are not separated".into(),
            "layouts.fixed.request.item: 'amount_fen 15 left pad 0': a number is padded with blanks, or with 0 on its left".into(),
            "layouts.fixed.request.item: 'account_no 0': a width is 1 to 1024 bytes".into(),
            format!("layouts.fixed.request.item: 'account_name 60 middle': {pads}"),
            format!("layouts.fixed.request.item: unknown field 'name'; known here: {fields}"),
            "layouts.fixed.request.trailer: 'business_date' needs 8 bytes, not 6".into(),
            "layouts.fixed.request.item: order_no is missing".into(),
            "layouts.fixed.request.item: amount_yuan or amount_fen is missing".into(),
            "layouts.fixed.request.item: account_no and agreement_no are both missing".into(),
            "layouts.fixed.result.item: 'settled_at' needs 14 bytes, not 8".into(),
            "layouts.fixed.result.item: is wider than 4096 bytes".into(),
        ];
        assert_eq!(mistakes, expected);
    }

    #[test]
    fn what_a_header_or_trailer_must_have_room_for_is_asked_of_every_bank() {
        let mut settings = settings();
        settings.items_max = 100_000;
        let layout = settings.layouts.get_mut("fixed").unwrap();
        layout.request.header = ["=F", "bank_code 2", "business_date 8", "file_name 20"].map(String::from).into();
        layout.request.trailer = ["=T", "count 5", "total_yuan 3"].map(String::from).into();
        let mistakes: Vec<String> =
            BankGateway::from_settings(&settings).unwrap_err().iter().map(LayoutMistake::to_string).collect();
        let expected = [
            "banks.301: its layout gives 'bank_code' 2 bytes of 3",
            "banks.301: its layout gives 'file_name' 20 bytes of 29",
            "banks.301: its layout gives 'count' 5 bytes of 6",
            "banks.301: its layout gives 'total_yuan' 3 bytes of 4",
        ];
        assert_eq!(mistakes, expected);
    }

    #[test]
    fn an_unknown_key_is_an_error() {
        let error = toml::from_str::<BankSettings>(&SHIPPED.replace("line_end =", "line_ending =")).unwrap_err();
        assert!(error.to_string().contains("line_ending"), "{error}");
    }
}
