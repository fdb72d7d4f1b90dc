//! The files of the demo's banks, each in its bank's own hand: most write the standard layout, 301 cells of fixed width
//! in GBK, 403 lines of UTF-8 with bars and without headers. Bytes come in or go out; nothing is looked up in the
//! worker's settings, so that a mistake on either side shows.

use encoding_rs::{Encoding, GB18030, GBK, UTF_8};

use super::answer::{AnswerFile, yuan};
use super::{Order, Request};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Standard,
    Fixed,
    Bars,
}

impl Format {
    pub fn of(bank_code: &str) -> Format {
        match bank_code {
            "301" => Format::Fixed,
            "403" => Format::Bars,
            _ => Format::Standard,
        }
    }

    fn encoding(self) -> &'static Encoding {
        match self {
            Format::Standard => GB18030,
            Format::Fixed => GBK,
            Format::Bars => UTF_8,
        }
    }

    /// Reads a request file as strictly as a bank does, or says what is wrong with it.
    pub fn read(self, bytes: &[u8], file_name: &str) -> Result<Request, &'static str> {
        let decoded = self.encoding().decode_without_bom_handling_and_without_replacement(bytes);
        let text = decoded.ok_or("not in the bank's encoding")?;
        match self {
            Format::Standard => read_standard(&text, file_name),
            Format::Fixed => read_fixed(bytes, file_name),
            Format::Bars => read_bars(&text),
        }
    }

    /// The whole answer.
    pub fn write(self, file: &AnswerFile) -> Vec<u8> {
        match self {
            Format::Standard => self.encoding().encode(&standard(file)).0.into_owned(),
            Format::Fixed => fixed(file),
            Format::Bars => bars(file).into_bytes(),
        }
    }
}

fn read_standard(text: &str, file_name: &str) -> Result<Request, &'static str> {
    let text = text.strip_suffix("\r\n").ok_or("the last line has no end")?;
    let lines: Vec<Vec<&str>> = text.split("\r\n").map(|line| line.split(',').collect()).collect();
    let [header, items @ .., trailer] = &lines[..] else { return Err("no header or no trailer") };
    let ["H", bank_code, business_date, name, count, total] = header[..] else { return Err("bad header") };
    let mut orders = Vec::with_capacity(items.len());
    for (item, line_no) in items.iter().zip(1..) {
        let ["D", number, order_no, agreement_no, account_no, account_name, amount] = item[..] else {
            return Err("bad item");
        };
        if number != line_no.to_string() || account_no.is_empty() || account_name.is_empty() {
            return Err("an item without its number, account or name");
        }
        let amount_fen = fen(amount).ok_or("bad amount")?;
        let (order_no, agreement_no) = (order_no.to_owned(), agreement_no.to_owned());
        orders.push(Order { line_no, order_no, agreement_no, amount_fen });
    }
    let found = [orders.len().to_string(), yuan(orders.iter().map(|order| order.amount_fen).sum())];
    if found != [count, total] || trailer[..] != ["T", count, total] {
        return Err("count or total differ from the items");
    }
    if name != file_name {
        return Err("its header names another file");
    }
    Ok(Request { bank_code: bank_code.to_owned(), business_date: business_date.to_owned(), orders })
}

/// By the offsets of the bank's own page: every cell is where it is.
fn read_fixed(bytes: &[u8], file_name: &str) -> Result<Request, &'static str> {
    let bytes = bytes.strip_suffix(b"\r\n").ok_or("the last line has no end")?;
    let lines: Vec<&[u8]> =
        bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect();
    let [header, items @ .., trailer] = &lines[..] else { return Err("no header or no trailer") };
    let cell = |line: &[u8], from: usize, end: usize| {
        GBK.decode_without_bom_handling(&line[from..end]).0.trim_end_matches(' ').to_owned()
    };
    if header.len() != 81 || header[0] != b'F' || trailer.len() != 27 || trailer[0] != b'T' {
        return Err("bad header or trailer");
    }
    let mut orders = Vec::with_capacity(items.len());
    for (item, line_no) in items.iter().zip(1..) {
        if item.len() != 201 || item[0] != b'D' || item[191..] != [b' '; 10] {
            return Err("bad item");
        }
        if cell(item, 1, 9) != format!("{line_no:08}")
            || cell(item, 81, 116).is_empty()
            || cell(item, 116, 176).is_empty()
        {
            return Err("an item without its number, account or name");
        }
        let amount_fen = cell(item, 176, 191).parse().map_err(|_| "bad amount")?;
        orders.push(Order { line_no, order_no: cell(item, 9, 41), agreement_no: cell(item, 41, 81), amount_fen });
    }
    let total: u64 = orders.iter().map(|order| order.amount_fen).sum();
    if cell(trailer, 1, 27) != format!("{:010}{total:016}", orders.len()) {
        return Err("count or total differ from the items");
    }
    if cell(header, 21, 81) != file_name {
        return Err("its header names another file");
    }
    Ok(Request { bank_code: cell(header, 1, 13), business_date: cell(header, 13, 21), orders })
}

fn read_bars(text: &str) -> Result<Request, &'static str> {
    let text = text.strip_suffix('\n').ok_or("the last line has no end")?;
    let lines: Vec<Vec<&str>> = text.split('\n').map(|line| line.split('|').collect()).collect();
    let [items @ .., trailer] = &lines[..] else { return Err("no trailer") };
    let ["END", bank_code, business_date, count, total] = trailer[..] else { return Err("bad trailer") };
    let mut orders = Vec::with_capacity(items.len());
    for (item, line_no) in items.iter().zip(1..) {
        let ["REQ", order_no, account_no, account_name, amount, agreement_no, ""] = item[..] else {
            return Err("bad item");
        };
        if account_no.is_empty() || account_name.is_empty() {
            return Err("an item without its account or name");
        }
        let amount_fen = fen(amount).ok_or("bad amount")?;
        let (order_no, agreement_no) = (order_no.to_owned(), agreement_no.to_owned());
        orders.push(Order { line_no, order_no, agreement_no, amount_fen });
    }
    if [orders.len().to_string(), yuan(orders.iter().map(|order| order.amount_fen).sum())] != [count, total] {
        return Err("count or total differ from the items");
    }
    Ok(Request { bank_code: bank_code.to_owned(), business_date: business_date.to_owned(), orders })
}

fn standard(file: &AnswerFile) -> String {
    let (count, total) = (file.rows.len(), yuan(file.total_fen()));
    let (success, success_total) = file.success();
    let AnswerFile { bank_code, business_date, request_file_name, .. } = file;
    let success_total = yuan(success_total);
    let mut text =
        format!("H,{bank_code},{business_date},{request_file_name},{count},{total},{success},{success_total}\r\n");
    for row in &file.rows {
        let (number, amount) = (row.line_no.to_string(), yuan(row.amount_fen));
        let cells = ["D", &number, &row.order_no, &amount, &row.code, &row.reason, &row.txn_no, &row.settled_at];
        text.push_str(&cells.join(","));
        text.push_str("\r\n");
    }
    text.push_str(&format!("T,{count},{total}\r\n"));
    text
}

fn fixed(file: &AnswerFile) -> Vec<u8> {
    let (count, total) = (file.rows.len(), file.total_fen());
    let (success, success_total) = file.success();
    let mut bytes = Vec::new();
    let mut put = |cell: &str, width: usize| {
        let cell = GBK.encode(cell).0;
        assert!(cell.len() <= width, "the bank's own words fit into its cells");
        bytes.extend_from_slice(&cell);
        bytes.resize(bytes.len() + width - cell.len(), b' ');
    };
    put("F", 1);
    put(&file.bank_code, 12);
    put(&file.business_date, 8);
    put(&file.request_file_name, 60);
    put(&format!("{count:010}{total:016}{success:010}{success_total:016}\r\n"), 54);
    for row in &file.rows {
        put("D", 1);
        put(&format!("{:08}", row.line_no), 8);
        put(&row.order_no, 32);
        put(&format!("{:015}", row.amount_fen), 15);
        put(&row.code, 8);
        put(&row.reason, 60);
        put(&row.txn_no, 32);
        put(&row.settled_at, 14);
        put("\r\n", 2);
    }
    put(&format!("T{count:010}{total:016}\r\n"), 29);
    bytes
}

fn bars(file: &AnswerFile) -> String {
    let (count, total) = (file.rows.len(), yuan(file.total_fen()));
    let (success, success_total) = file.success();
    let mut text = String::new();
    for row in &file.rows {
        let amount = yuan(row.amount_fen);
        let cells = ["RES", &row.order_no, &row.code, &amount, &row.txn_no, &row.settled_at, &row.reason];
        text.push_str(&cells.join("|"));
        text.push('\n');
    }
    let AnswerFile { bank_code, business_date, request_file_name, .. } = file;
    let success_total = yuan(success_total);
    text.push_str(&format!(
        "END|{bank_code}|{business_date}|{request_file_name}|{count}|{total}|{success}|{success_total}\n"
    ));
    text
}

fn fen(yuan: &str) -> Option<u64> {
    let (whole, decimals) = yuan.split_once('.')?;
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    if decimals.len() != 2 { None } else { digits(whole)?.checked_mul(100)?.checked_add(digits(decimals)?) }
}
