use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::claims::{Rows, is_sound_refusal};
use super::item::NO_MAX;
use super::mutant::{Dice, spoil};
use super::packing::Blocks;
use super::*;
use crate::gateway::testing::ReadWhole;
use crate::gateway::{Companion, CompanionKind, Covers, FileBytes, ReadError, ResultHead, ResultSource};

/// What all that is made up by chance begins with. A failure names it and the number of the file.
const SEED: u64 = 0x7069_6b6f_7520_2605;

/// Spoilt files of each format, and of companions.
const FILES: usize = 120_000;
/// Of each format that is packed, which takes longer; what is in it is read as that of the others is.
const PACKED_FILES: usize = 40_000;
/// At a time.
const CHUNK: usize = 5_000;

fn read(format: &Format, name: &str, bytes: &[u8]) -> Result<(ResultHead, Vec<ResultRow<'static>>), String> {
    format.reader.read_whole(name, bytes).map_err(|refused| refused.to_string())
}

fn item(kinds: &'static [Kind]) -> impl Strategy<Value = Item> {
    let text = "[\u{4e00}-\u{9fa5}a-zA-Z0-9]{1,12}";
    (1..=NO_MAX, 1..10_000_000_000_u64, 0..kinds.len(), 0..86_400_u32, text)
        .prop_map(move |(no, fen, kind, second, text)| Item { no, fen, kind: kinds[kind], second, text })
}

#[test]
fn what_is_written_is_read_again_in_every_format() {
    for format in formats() {
        // One runner runs its cases once.
        let config = ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() };
        let mut runner = TestRunner::new(config);
        let items = prop::collection::vec(item(format.kinds), 1..12);
        let told = runner.run(&items, |items| {
            let file = format.file(&items, Blocks::Packed);
            let (head, rows) = read(&format, &(format.file_name)(&file), &file).unwrap();
            prop_assert_eq!(&rows, &format.rows(&items));
            let mut told = Rows::new(format.success_code, items.len() as u64);
            rows.iter().for_each(|row| told.take(row));
            told.agree_with(&head);
            Ok(())
        });
        told.unwrap_or_else(|error| panic!("{}: {error}", format.name));
    }
}

#[test]
fn a_file_of_fifty_rows_that_is_cut_off_at_any_byte_is_refused_or_says_the_same() {
    for format in formats() {
        let whole = format.file(&item::some(50, format.kinds), Blocks::Packed);
        let name = (format.file_name)(&whole);
        let (head, rows) = read(&format, &name, &whole).unwrap();
        let cut = (0..whole.len()).filter_map(|length| Some((length, read(&format, &name, &whole[..length]).ok()?)));
        match format.cut {
            Cut::Refused { may_miss_bytes } => {
                let read: Vec<usize> = cut
                    .map(|(length, read)| {
                        assert_eq!(read, (head.clone(), rows.clone()), "{}: {length} bytes", format.name);
                        whole.len() - length
                    })
                    .collect();
                assert_eq!(read, may_miss_bytes, "{}", format.name);
            }
            Cut::BetweenRows { row_bytes } => {
                let read: Vec<usize> = cut
                    .map(|(length, (head, read))| {
                        assert_eq!(head.covers, Covers::Nothing, "{}", format.name);
                        assert_eq!(read, rows[..length / row_bytes], "{}", format.name);
                        length
                    })
                    .collect();
                assert_eq!(read, (1..50).map(|rows| rows * row_bytes).collect::<Vec<_>>(), "{}", format.name);
            }
        }
    }
}

/// The most that a reader may read of what has no end: the longest line, what is read ahead, and what is looked at first.
const ENDLESS_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// A file that goes on with the same byte for ever.
struct Endless<'b> {
    beginning: &'b [u8],
    filling: u8,
    at: u64,
    read_bytes: u64,
}

impl Read for Endless<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = self.beginning.get(self.at as usize..).unwrap_or_default();
        let count = if rest.is_empty() { buffer.len() } else { rest.len().min(buffer.len()) };
        match rest {
            [] => buffer.fill(self.filling),
            rest => buffer[..count].copy_from_slice(&rest[..count]),
        }
        self.at += count as u64;
        self.read_bytes += count as u64;
        assert!(self.read_bytes <= ENDLESS_BYTES_MAX, "reads on and on");
        Ok(count)
    }
}

impl Seek for Endless<'_> {
    fn seek(&mut self, place: SeekFrom) -> io::Result<u64> {
        self.at = match place {
            SeekFrom::Start(at) => at,
            SeekFrom::End(back) | SeekFrom::Current(back) => (u64::MAX / 2).saturating_add_signed(back),
        };
        Ok(self.at)
    }
}

#[test]
fn a_line_without_end_is_refused_after_so_many_bytes_wherever_it_begins() {
    for format in formats() {
        let sound = format.file(&item::some(3, format.kinds), Blocks::Packed);
        let name = (format.file_name)(&sound);
        let line_starts = (1..sound.len()).filter(|at| sound[at - 1] == b'\n');
        for length in line_starts.chain([0, 1, 5, sound.len() / 3, sound.len() - 3]) {
            for filling in *b"x0 ,`\xb3" {
                let mut bytes = Endless { beginning: &sound[..length], filling, at: 0, read_bytes: 0 };
                let _trial = Trial { what: format.name, number: length as u64, bytes: &[filling] };
                let refused = format.reader.read(&mut source(&name, &mut bytes), &mut |_| {});
                is_sound_refusal(&refused.expect_err("it is no file"));
            }
        }
    }
}

fn source<'f>(name: &'f str, bytes: &'f mut dyn FileBytes) -> ResultSource<'f> {
    ResultSource { name, bytes, sha1: None }
}

/// What a failing test was about.
struct Trial<'t> {
    what: &'t str,
    number: u64,
    bytes: &'t [u8],
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}, number {} of seed {SEED:#x}: {}", self.what, self.number, self.bytes.escape_ascii());
        }
    }
}

/// A sound file of which spoilt ones are made.
struct Sound {
    format: Format,
    members: Vec<packing::Member>,
    packed: Vec<u8>,
    told: Told,
}

/// How many files were read, read with rows that could not be, and refused.
#[derive(Default)]
struct Told {
    read: AtomicU64,
    with_bad_rows: AtomicU64,
    refused: AtomicU64,
}

impl Sound {
    fn of(format: Format) -> Sound {
        let members = (format.members)(&item::some(3, format.kinds));
        let packed = format.packing.pack(&members, Blocks::Packed);
        Sound { format, members, packed, told: Told::default() }
    }

    fn count(&self) -> usize {
        if self.format.packing == Packing::Plain { FILES } else { PACKED_FILES }
    }

    /// The spoilt file of that number, and how many lines it has at most. Of what is packed either the archive is
    /// spoilt or what is in it.
    fn spoilt(&self, number: u64) -> (Vec<u8>, u64) {
        let mut dice = Dice::of(SEED, number);
        let packing = self.format.packing;
        if packing != Packing::Plain && dice.below(2) == 0 {
            let mut bytes = self.packed.clone();
            spoil(&mut bytes, &mut dice);
            return (bytes, UNPACKED_MAX_BYTES);
        }
        let mut members = self.members.clone();
        let at = dice.below(members.len());
        spoil(&mut members[at].bytes, &mut dice);
        let lines = members.iter().map(|member| memchr::memchr_iter(b'\n', &member.bytes).count() as u64 + 1).sum();
        (packing.pack(&members, Blocks::Plain), lines)
    }

    fn hold(&self, number: u64) {
        let format = &self.format;
        let (bytes, lines_max) = self.spoilt(number);
        let _trial = Trial { what: format.name, number, bytes: &bytes };
        let (name, mut rows) = ((format.file_name)(&bytes), Rows::new(format.success_code, lines_max));
        let read = format.reader.read(&mut source(&name, &mut Cursor::new(&bytes)), &mut |row| rows.take(&row));
        let counter = match read {
            Ok(head) => {
                rows.agree_with(&head);
                if rows.bad > 0 { &self.told.with_bad_rows } else { &self.told.read }
            }
            Err(error) => {
                is_sound_refusal(&error);
                &self.told.refused
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// The spoilt companion of that number is understood or refused.
fn companion_holds(number: u64) {
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let mut dice = Dice::of(SEED, number);
    let kind = CompanionKind::ALL[dice.below(4)];
    let mut bytes = match kind {
        CompanionKind::Ok => format!("{digest} 12\n"),
        CompanionKind::Md5 => format!("{} *R.txt\n", &digest[..32]),
        CompanionKind::Sha256 => format!("{digest}  R.txt\n"),
        CompanionKind::Sha1 => digest[..40].to_owned(),
    }
    .into_bytes();
    spoil(&mut bytes, &mut dice);
    let _trial = Trial { what: kind.ending(), number, bytes: &bytes };
    match kind.read("R.txt", &bytes) {
        Ok(Companion::Complete) => {
            let is_blank = |byte: &u8| byte.is_ascii_whitespace() || b"\xef\xbb\xbf".contains(byte);
            assert!(kind == CompanionKind::Ok && bytes.iter().all(is_blank));
        }
        Ok(Companion::Ok { sha256, .. } | Companion::Sha256(sha256)) => are_digits_of(&sha256, &bytes),
        Ok(Companion::Md5(md5)) => are_digits_of(&md5, &bytes),
        Ok(Companion::Sha1(sha1)) => are_digits_of(&sha1, &bytes),
        Err(refused) => is_sound_refusal(&ReadError::Refused(refused)),
    }
}

/// Whether a digest stands in these bytes, in hex digits.
fn are_digits_of(digest: &[u8], bytes: &[u8]) {
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(memchr::memmem::find(&bytes.to_ascii_lowercase(), digits.as_bytes()).is_some(), "{digits}");
}

#[test]
fn two_million_spoilt_files_are_refused_or_read_with_totals_that_are_those_of_their_rows() {
    let sounds: Vec<Sound> = formats().into_iter().map(Sound::of).collect();
    let counts = sounds.iter().map(|sound| (Some(sound), sound.count())).chain([(None, FILES)]);
    let chunks: Vec<(Option<&Sound>, usize)> =
        counts.flat_map(|(sound, count)| (0..count).step_by(CHUNK).map(move |first| (sound, first))).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some((sound, first)) = chunks.get(next.fetch_add(1, Ordering::Relaxed)) {
            for number in (*first as u64..).take(CHUNK) {
                sound.map_or_else(|| companion_holds(number), |sound| sound.hold(number));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let mut told = vec!["format: read, read with bad rows, refused".to_owned()];
    let mut count = FILES as u64;
    for sound in &sounds {
        let Told { read, with_bad_rows, refused } = &sound.told;
        let of_each = [read, with_bad_rows, refused].map(|count| count.load(Ordering::Relaxed));
        let [read, with_bad_rows, refused] = of_each;
        told.push(format!("{}: {read}, {with_bad_rows}, {refused}", sound.format.name));
        // Files that are all refused at their first byte would show nothing.
        let few = sound.count() as u64 / 20;
        assert!(refused > few && read + with_bad_rows > few, "{told:?}");
        count += of_each.iter().sum::<u64>();
    }
    assert_eq!(count, 2_000_000);
    println!("{count} files. {}", told.join("\n"));
}
