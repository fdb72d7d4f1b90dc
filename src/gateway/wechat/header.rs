//! The two lines of a bill that name columns, the first one and the one before the last: a line comes in, places by
//! name go out. Merchants' bills differ in their columns, so nothing is found by its place.

use super::foreign;
use crate::gateway::Refused;
use crate::gateway::text::COLUMNS_MAX;

#[derive(Debug)]
pub(super) struct Header {
    line_no: u64,
    names: Vec<String>,
}

impl Header {
    pub fn parse(line_no: u64, bytes: &[u8]) -> Result<Header, Refused> {
        let text = std::str::from_utf8(bytes).map_err(|_| foreign::misencoded(line_no, bytes))?;
        let names: Vec<String> = text.split(',').map(|name| without_unit(name).to_owned()).collect();
        if names.len() > 1 && names.last().is_some_and(String::is_empty) {
            return Err(foreign::saved_again(line_no, "the line is padded with empty columns"));
        }
        if names.len() > COLUMNS_MAX {
            return Err(Refused::malformed(line_no, None, format!("more than {COLUMNS_MAX} columns")));
        }
        if let Some(twice) = (1..names.len()).find(|place| names[..*place].contains(&names[*place])) {
            return Err(Refused::malformed(line_no, Some(twice as u64 + 1), "the same column twice"));
        }
        Ok(Header { line_no, names })
    }

    pub fn count(&self) -> usize {
        self.names.len()
    }

    pub fn at(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|other| other == name)
    }

    pub fn at_any(&self, names: [&str; 2]) -> Option<usize> {
        names.into_iter().find_map(|name| self.at(name))
    }

    pub fn has(&self, name: &str) -> bool {
        self.at(name).is_some()
    }

    pub fn needed(&self, name: &str) -> Result<usize, Refused> {
        self.at(name).ok_or_else(|| Refused::malformed(self.line_no, None, format!("column {name} is missing")))
    }
}

/// A name without `(元)`, of whichever width its parentheses are.
fn without_unit(name: &str) -> &str {
    let name = name.trim();
    let bare = name.strip_suffix(['）', ')']).and_then(|name| name.strip_suffix('元'));
    bare.and_then(|name| name.strip_suffix(['（', '('])).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_same_with_and_without_its_unit() {
        let header = Header::parse(1, "收支金额(元),账户结余（元）,收入金额".as_bytes()).unwrap();
        assert_eq!(header.names, ["收支金额", "账户结余", "收入金额"]);
        assert_eq!(without_unit("收支金额（元)"), "收支金额");
        assert_eq!(without_unit("美元"), "美元");
    }

    #[test]
    fn a_column_that_is_there_twice_or_not_at_all_is_named() {
        let told = |text: &str| Header::parse(1, text.as_bytes()).unwrap_err().to_string();
        assert_eq!(told("费率,费率"), "malformed, line 1, column 2: the same column twice");
        assert_eq!(told("a(元),a"), "malformed, line 1, column 2: the same column twice");
        let names: Vec<_> = (0..33).map(|n| n.to_string()).collect();
        assert_eq!(told(&names.join(",")), "malformed, line 1: more than 32 columns");
        let needed = Header::parse(4, b"a").unwrap().needed("手续费").unwrap_err().to_string();
        assert_eq!(needed, "malformed, line 4: column 手续费 is missing");
    }
}
