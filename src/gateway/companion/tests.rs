use super::*;

const FILE: &[u8] = b"abc";
const MD5: &str = "900150983cd24fb0d6963f7d28e17f72";
const SHA1: &str = "a9993e364706816aba3e25717850c26c9cd0d89d";
const SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn read(kind: CompanionKind, text: &str) -> Result<Companion, String> {
    kind.read("R.txt", text.as_bytes()).map_err(|refused| refused.to_string())
}

fn check(companion: Companion, mut file: &[u8]) -> Result<(), String> {
    companion.check(&mut file).map_err(|refused| refused.to_string())
}

#[test]
fn a_companion_is_told_by_its_name() {
    let of = CompanionKind::of;
    assert_eq!(of("a.txt.ok"), Some(("a.txt", CompanionKind::Ok)));
    assert_eq!(of("a.txt.md5"), Some(("a.txt", CompanionKind::Md5)));
    assert_eq!(of("a.txt.sha256"), Some(("a.txt", CompanionKind::Sha256)));
    assert_eq!(of("a.txt.sha1"), Some(("a.txt", CompanionKind::Sha1)));
    assert_eq!((of("a.txt"), of(".ok"), of("a.txt.OK")), (None, None, None));
}

#[test]
fn a_digest_comes_alone_or_as_the_programs_write_it_and_is_compared_with_the_file() {
    let sha256 = hex(SHA256).unwrap();
    for text in [
        MD5.to_owned(),
        format!("{MD5}\n"),
        format!("{MD5}  R.txt\r\n"),
        format!("{MD5} *R.txt\n"),
        format!("{MD5}\tout/R.txt\n"),
        MD5.to_uppercase(),
    ] {
        let companion = read(CompanionKind::Md5, &text).unwrap();
        assert_eq!(companion, Companion::Md5(hex(MD5).unwrap()), "{text:?}");
        assert_eq!(check(companion, FILE), Ok(()));
    }
    assert_eq!(read(CompanionKind::Sha256, &format!("{SHA256}  R.txt")), Ok(Companion::Sha256(sha256)));
    assert_eq!(read(CompanionKind::Ok, &format!("{SHA256} 3\n")), Ok(Companion::Ok { sha256, count: 3 }));
    assert_eq!(read(CompanionKind::Ok, " \n"), Ok(Companion::Complete));
    let sha1 = read(CompanionKind::Sha1, SHA1).unwrap();
    assert_eq!((sha1.unpacked_sha1(), sha1.count()), (hex(SHA1), None));
    assert_eq!(Companion::Ok { sha256, count: 3 }.count(), Some(3));
    for companion in [Companion::Ok { sha256, count: 3 }, Companion::Sha256(sha256), Companion::Complete, sha1] {
        assert_eq!(check(companion, FILE), Ok(()));
    }
}

#[test]
fn other_bytes_than_those_of_the_digest_are_refused() {
    let reason = "malformed, line 1: not the bytes that the file beside it has the digest of: cut off, changed, or \
                  another file";
    let sha256 = hex(SHA256).unwrap();
    for companion in [Companion::Md5(hex(MD5).unwrap()), Companion::Sha256(sha256), Companion::Ok { sha256, count: 1 }]
    {
        assert_eq!(check(companion, b"ab"), Err(reason.to_owned()));
    }
}

#[test]
fn a_companion_that_cannot_be_understood_is_refused() {
    use CompanionKind::*;
    let two_lines = format!("{MD5}  R.txt\n{MD5}  S.txt\n");
    let cases = [
        (Md5, "", ".md5: no MD5 in 32 hex digits"),
        (Md5, &MD5[1..], ".md5: no MD5 in 32 hex digits"),
        (Md5, SHA1, ".md5: no MD5 in 32 hex digits"),
        (Sha1, MD5, ".sha1: no SHA-1 in 40 hex digits"),
        (
            Sha256,
            "zz7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ".sha256: no SHA-256 in 64 hex digits",
        ),
        (Md5, &format!("{MD5}  S.txt"), ".md5: the digest of another file"),
        (Md5, &two_lines, ".md5: more than one line"),
        (Ok, SHA256, ".ok: no count behind the hash"),
        (Ok, &format!("{SHA256} +3"), ".ok: no count behind the hash"),
        (Ok, "done", ".ok: no SHA-256 in 64 hex digits"),
        (Ok, &"x".repeat(1025), ".ok: longer than a digest and a name"),
    ];
    for (kind, text, reason) in cases {
        assert_eq!(read(kind, text), Err(format!("malformed, line 1: {reason}")), "{text:?}");
    }
    let text = Md5.read("R.txt", b"\xff\xfe").unwrap_err().to_string();
    assert_eq!(text, "malformed, line 1: .md5: not plain text");
}

#[test]
fn any_bytes_are_read_without_panic() {
    bolero::check!().with_iterations(5_000).for_each(|bytes: &[u8]| {
        for kind in CompanionKind::ALL {
            let _ = kind.read("R.txt", bytes);
        }
    });
}
