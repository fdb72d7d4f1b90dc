use std::io::Cursor;

use encoding_rs::GBK;

use super::zipped::{Entry, Zipped};
use super::*;

const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// The members and what is in them, or the refusal.
fn read(bytes: &[u8]) -> Result<Vec<(String, String)>, String> {
    let mut source = Cursor::new(bytes);
    let mut archive = Archive::open(&mut source, MAX_BYTES).map_err(|error| error.to_string())?;
    let names: Vec<String> = archive.members().iter().map(|member| member.name.clone()).collect();
    let mut found = Vec::new();
    for (at, name) in names.into_iter().enumerate() {
        let mut content = String::new();
        let mut member = archive.unpack(at).map_err(|error| error.to_string())?;
        member.read_to_string(&mut content).map_err(|error| format!("{:?}", error.kind()))?;
        found.push((name, content));
    }
    Ok(found)
}

fn refusal(bytes: &[u8]) -> String {
    read(bytes).unwrap_err()
}

fn of(entry: &Entry<'_>) -> Vec<u8> {
    let mut zipped = Zipped::default();
    zipped.put(entry);
    zipped.bytes()
}

#[test]
fn members_are_listed_in_order_by_names_in_gbk_or_utf_8_and_without_folders() {
    let gbk = GBK.encode("20880_业务明细(汇总).csv").0;
    let bytes = Zipped::default().with(&gbk, "summary").with("账单/", "").with("账单/明细.csv", "detail").bytes();
    let member = |name: &str, content: &str| (name.to_owned(), content.to_owned());
    assert_eq!(read(&bytes), Ok(vec![member("20880_业务明细(汇总).csv", "summary"), member("明细.csv", "detail")]));
    let mut source = Cursor::new(&bytes);
    let archive = Archive::open(&mut source, MAX_BYTES).unwrap();
    assert_eq!(archive.members()[0].raw_name, &*gbk);
}

#[test]
fn one_member_of_a_kind_is_found_and_two_are_refused() {
    let bytes = Zipped::default().with("a.csv", "1").with("b.csv", "2").with("c.txt", "3").bytes();
    let mut source = Cursor::new(&bytes);
    let archive = Archive::open(&mut source, MAX_BYTES).unwrap();
    let only = |end: &'static str| archive.only("table", move |member| member.name.ends_with(end));
    assert_eq!((only(".txt"), only(".xml")), (Ok(Some(2)), Ok(None)));
    assert_eq!(only(".csv").unwrap_err().to_string(), "wrong_file, line 1: more than one table in the archive");
}

#[test]
fn a_name_that_leads_elsewhere_refuses_the_archive() {
    for (name, what) in [
        ("../a.csv", "a step out of its folder"),
        ("x/../../a.csv", "a step out of its folder"),
        ("/etc/a.csv", "an absolute path"),
        ("x\\a.csv", "a backslash"),
        ("C:/a.csv", "a drive"),
        ("a.csv\0.txt", "a NUL"),
        ("", "nothing"),
    ] {
        let bytes = Zipped::default().with("good.csv", "1").with(name, "2").bytes();
        assert_eq!(refusal(&bytes), format!("malformed, line 1: member 2 of the archive has {what} in its name"));
    }
    let neither = Zipped::default().with(b"\xff\xff", "1").bytes();
    let reason = "malformed, line 1: member 1 of the archive has a name that is neither UTF-8 nor GBK";
    assert_eq!(refusal(&neither), reason);
    // The second byte of this character is a backslash.
    let backslash = GBK.encode("誠.csv").0;
    assert!(backslash.contains(&b'\\'));
    assert_eq!(read(&Zipped::default().with(&backslash, "1").bytes()).unwrap().len(), 1);
}

#[test]
fn what_may_not_be_unpacked_is_named() {
    let nested = Zipped::default().with("a.csv", "1").bytes();
    let large = vec![b'x'; 2 * 1024 * 1024];
    let noise: Vec<u8> =
        (0..MAX_BYTES / 4 + 1).flat_map(|n| (n as u32).wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let many = (0..=MEMBERS_MAX).fold(Zipped::default(), |zipped, n| zipped.with(n.to_string(), "1"));
    for (bytes, reason) in [
        (of(&Entry::new(b"a", b"1").encrypted()), "malformed, line 1: member 1 of the archive is encrypted"),
        (
            of(&Entry { mode: 0o120_777, ..Entry::new(b"a", b"1") }),
            "malformed, line 1: member 1 of the archive is a link",
        ),
        (of(&Entry::new(b"a", &nested)), "wrong_file, line 1: member 1 of the archive is an archive itself"),
        (of(&Entry::new(b"a", b"\x1f\x8b\x08")), "wrong_file, line 1: member 1 of the archive is an archive itself"),
        (
            of(&Entry::new(b"a", &large)),
            "malformed, line 1: member 1 of the archive unpacks to more than 200 times its packed size",
        ),
        (
            of(&Entry::new(b"a", &noise)),
            "malformed, line 1: member 1 of the archive unpacks to more than 4194304 bytes",
        ),
        (
            Zipped::default().with("a", "1").with("a", "2").bytes(),
            "malformed, line 1: two members of the archive have the same name",
        ),
        (many.bytes(), "malformed, line 1: more than 16 members in the archive"),
        (Zipped::default().bytes(), "wrong_file, line 1: an empty zip archive"),
        (b"a,b\n1,2\n".to_vec(), "malformed, line 1: not a whole zip archive: its directory is missing or cut off"),
    ] {
        assert_eq!(refusal(&bytes), reason);
    }
}

#[test]
fn content_that_is_not_what_the_directory_says_is_an_error_of_the_stream() {
    let content = b"0123456789".repeat(1000);
    let crc = Entry { crc_declared: Some(1), ..Entry::new(b"a", &content) };
    assert_eq!(refusal(&of(&crc)), "InvalidData");
    let longer = Entry { size_declared: Some(9_999), ..Entry::new(b"a", &content) };
    assert_eq!(refusal(&of(&longer)), "InvalidData");
}

#[test]
fn members_that_share_their_bytes_are_refused() {
    let mut bytes = Zipped::default().with("a", "same").with("b", "same").bytes();
    // Where the second member begins stands before its name of one byte, the last of the directory.
    let place = bytes.len() - 22 - 1 - 4;
    bytes[place..place + 4].copy_from_slice(&[0; 4]);
    assert_eq!(refusal(&bytes), "malformed, line 1: members of the archive overlap");
}

#[test]
fn an_archive_that_is_cut_off_anywhere_is_refused() {
    let bytes = Zipped::default().with("a.csv", "1,2,3\n".repeat(50)).with("b.csv", "4\n").bytes();
    assert_eq!(read(&bytes).unwrap().len(), 2);
    for length in 0..bytes.len() {
        let reason = refusal(&bytes[..length]);
        assert_eq!(reason, "malformed, line 1: not a whole zip archive: its directory is missing or cut off");
    }
    let mut more = bytes;
    more.push(b'\n');
    assert_eq!(refusal(&more), "malformed, line 1: not a whole zip archive: its directory is missing or cut off");
}

#[test]
fn no_byte_of_an_archive_can_be_changed_into_a_panic_or_another_content() {
    let bytes = Zipped::default().with("a.csv", "1,2,3\n".repeat(50)).bytes();
    let whole = read(&bytes).unwrap();
    for place in 0..bytes.len() {
        for flip in [1, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[place] ^= flip;
            if let Ok(found) = read(&changed) {
                assert_eq!(found[0].1, whole[0].1, "byte {place}");
            }
        }
    }
}

#[test]
fn any_bytes_are_read_without_panic() {
    bolero::check!().with_type::<Vec<u8>>().with_iterations(2_000).for_each(|bytes| {
        let mut zipped = Zipped::default().with("a.csv", "1,2,3\n".repeat(9)).bytes();
        // At the end of what comes before the directory, so that some of it is read as one.
        let place = bytes.first().map_or(0, |byte| usize::from(*byte) % zipped.len());
        let end = (place + bytes.len()).min(zipped.len());
        zipped[place..end].copy_from_slice(&bytes[..end - place]);
        let _ = read(&zipped);
        let _ = read(bytes);
    });
}
