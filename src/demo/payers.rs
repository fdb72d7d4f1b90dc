//! Made-up payers and what their systems say of them. The same seed makes the same messages.
//!
//! Identity numbers begin with 99, a division that does not exist, so that none can be a real person's.

use chrono::{DateTime, Duration, Utc};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::contract::envelope::wire_time;
use crate::domain::identity::resident_id_check;

const SOURCE: &str = "//demo";
const TYPE: &str = "resident_pension";
const BANKS: [&str; 6] = ["102", "103", "104", "105", "301", "403"];
const DIVISIONS: [&str; 6] = ["110101", "110102", "110105", "110106", "110108", "110116"];
const CHANNELS: [&str; 4] = ["etax", "alipay_app", "baidu_app", "counter"];
const SURNAMES: [&str; 20] = [
    "王", "李", "张", "刘", "陈", "杨", "赵", "黄", "周", "吴", "徐", "孙", "马", "朱", "胡", "郭", "何", "欧阳",
    "司马", "𠮷田",
];
const GIVEN: [&str; 16] =
    ["伟", "芳", "娜", "敏", "静", "秀英", "丽", "强", "磊", "洋", "艳", "勇", "军", "杰", "龢", "婷婷"];

/// What happens to a payer; of 10,000, how many. The rest are ordinary: enrolled, signed, one amount set.
const STORIES: [(Story, u32); 14] = [
    (Story::Voids, 300),
    (Story::VoidsAndSetsAgain, 50),
    (Story::SetsTwice, 400),
    (Story::Overtaken, 50),
    (Story::NoAgreement, 200),
    (Story::AgreementEnded, 80),
    (Story::AgreementTooSmall, 40),
    (Story::EnrolmentEnded, 120),
    (Story::AsksTooMuch, 60),
    (Story::NothingToVoid, 40),
    (Story::DeclaresItself, 150),
    (Story::EnrolmentComesLate, 60),
    (Story::NeverEnrolled, 20),
    (Story::SecondThoughts, 40),
];
/// Of 10,000: void after the files are sealed; have an account name that no file can carry.
const TOO_LATE: u32 = 20;
const UNWRITABLE: u32 = 5;
/// Of 10,000 messages: sent twice; spoilt on the way.
const REPEATED: u32 = 100;
const SPOILT: u32 = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Story {
    Ordinary,
    /// Voids the amount before the run.
    Voids,
    VoidsAndSetsAgain,
    SetsTwice,
    /// The second amount arrives before the first.
    Overtaken,
    NoAgreement,
    AgreementEnded,
    /// The agreement allows less than the amount.
    AgreementTooSmall,
    EnrolmentEnded,
    /// The amount is out of range.
    AsksTooMuch,
    NothingToVoid,
    /// Files a declaration of their own for the batch to collect.
    DeclaresItself,
    /// The amount arrives before the enrolment.
    EnrolmentComesLate,
    NeverEnrolled,
    /// Voids between planning and sealing.
    SecondThoughts,
    /// Voids after sealing.
    TooLate,
    Unwritable,
}

/// A message as it is sent.
#[derive(Debug, Clone)]
pub struct Message {
    /// Also the routing key.
    pub name: &'static str,
    pub id: String,
    pub body: Vec<u8>,
}

/// All payers, one after the other.
pub struct Payers {
    random: ChaCha8Rng,
    next: u32,
    count: u32,
    day: DateTime<Utc>,
    cards_every: Option<u32>,
    pending: std::vec::IntoIter<Message>,
    /// Voids that are sent when the run is planned, and when its files are sealed.
    pub second_thoughts: Vec<Message>,
    pub too_late: Vec<Message>,
}

impl Payers {
    /// Messages from before `day`; one of so many payers has the agreement with UnionPay.
    pub fn new(count: u32, seed: u64, day: DateTime<Utc>, cards_every: Option<u32>) -> Payers {
        Payers {
            random: ChaCha8Rng::seed_from_u64(seed),
            next: 0,
            count,
            day,
            cards_every,
            pending: Vec::new().into_iter(),
            second_thoughts: Vec::new(),
            too_late: Vec::new(),
        }
    }

    fn story(&mut self) -> Story {
        let mut draw = self.random.random_range(0..10_000_u32);
        for (story, share) in STORIES.into_iter().chain([(Story::TooLate, TOO_LATE), (Story::Unwritable, UNWRITABLE)]) {
            if draw < share {
                return story;
            }
            draw -= share;
        }
        Story::Ordinary
    }

    fn payer(&mut self) -> Vec<Message> {
        let number = self.next;
        self.next += 1;
        let story = self.story();
        let mut payer = Payer::make(number, &mut self.random, self.day);
        if self.cards_every.is_some_and(|every| number.is_multiple_of(every)) {
            payer.gateway = "unionpay";
        }
        let amount = 1000 + 100 * self.random.random_range(0..=80_u32);
        let set = payer.amount_set("1", 0, amount);
        let (enrolled, signed) = (payer.enrolment("active", "1"), payer.agreement("1", story, None));
        let messages = match story {
            Story::Ordinary | Story::Unwritable => vec![enrolled, signed, set],
            Story::Voids => vec![enrolled, signed, set, payer.void("1", 60)],
            Story::VoidsAndSetsAgain => {
                vec![enrolled, signed, set, payer.void("1", 60), payer.amount_set("2", 120, amount)]
            }
            Story::SetsTwice => vec![enrolled, signed, set, payer.amount_set("2", 60, amount + 500)],
            Story::Overtaken => vec![enrolled, signed, payer.amount_set("2", 60, amount), set],
            Story::NoAgreement => vec![enrolled, set],
            Story::AgreementEnded => vec![enrolled, signed, set, payer.agreement_ended()],
            Story::AgreementTooSmall => vec![enrolled, payer.agreement("1", story, Some(900)), set],
            Story::EnrolmentEnded => vec![enrolled, signed, set, payer.enrolment("ended", "2")],
            Story::AsksTooMuch => vec![enrolled, signed, payer.amount_set("1", 0, 99_999)],
            Story::NothingToVoid => vec![enrolled, signed, payer.void("1", 60)],
            Story::DeclaresItself => vec![enrolled, signed, payer.declaration(amount)],
            Story::EnrolmentComesLate => vec![set, signed, enrolled],
            Story::NeverEnrolled => vec![set, signed],
            Story::SecondThoughts => {
                self.second_thoughts.push(payer.void("late", 3600));
                vec![enrolled, signed, set]
            }
            Story::TooLate => {
                self.too_late.push(payer.void("late", 7200));
                vec![enrolled, signed, set]
            }
        };
        self.disturb(messages)
    }

    /// What networks and people do to messages.
    fn disturb(&mut self, messages: Vec<Message>) -> Vec<Message> {
        let mut out = Vec::with_capacity(messages.len() + 1);
        for message in messages {
            let draw = self.random.random_range(0..10_000_u32);
            if draw < REPEATED {
                out.push(message.clone());
            } else if draw < REPEATED + SPOILT {
                out.push(spoil(&message, draw));
            }
            out.push(message);
        }
        out
    }
}

impl Iterator for Payers {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.pending.next() {
                return Some(message);
            }
            if self.next == self.count {
                return None;
            }
            self.pending = self.payer().into_iter();
        }
    }
}

/// A message that cannot be understood, beside the good one.
fn spoil(message: &Message, draw: u32) -> Message {
    let mut body = message.body.clone();
    match draw % 4 {
        0 => body.truncate(body.len() / 2),
        1 => body = b"<html>502 Bad Gateway</html>".to_vec(),
        2 => body = String::from_utf8_lossy(&body).replace("\"payer_id\"", "\"payer\"").into_bytes(),
        _ => body = String::from_utf8_lossy(&body).replace(".v1\"", ".v9\"").into_bytes(),
    }
    Message { name: message.name, id: format!("{}-spoilt", message.id), body }
}

struct Payer {
    id: String,
    name: String,
    identity_number: String,
    division: &'static str,
    gateway: &'static str,
    bank: &'static str,
    channel: &'static str,
    account: String,
    /// When the amount was set.
    time: DateTime<Utc>,
}

impl Payer {
    fn make(number: u32, random: &mut ChaCha8Rng, day: DateTime<Utc>) -> Payer {
        let mut pick = |length: usize| random.random_range(0..length);
        let name = format!("{}{}", SURNAMES[pick(SURNAMES.len())], GIVEN[pick(GIVEN.len())]);
        let (division, bank) = (DIVISIONS[pick(DIVISIONS.len())], BANKS[pick(BANKS.len())]);
        let channel = CHANNELS[pick(CHANNELS.len())];
        let (year, month, of_month) = (1960 + pick(45), 1 + pick(12), 1 + pick(28));
        let digits = format!("9901{:02}{year}{month:02}{of_month:02}{:03}", number % 100, pick(1000));
        let check = char::from(resident_id_check(digits.as_bytes()));
        let days = i64::try_from(pick(12)).unwrap_or(0);
        Payer {
            id: format!("1011{number:016}"),
            name,
            identity_number: format!("{digits}{check}"),
            division,
            gateway: "bank",
            bank,
            channel,
            account: format!("6222{number:015}"),
            time: day - Duration::days(1 + days) + Duration::seconds(i64::from(number % 40_000)),
        }
    }

    fn message(&self, name: &'static str, id: &str, time: DateTime<Utc>, data: Value) -> Message {
        let id = format!("{name}-{}-{id}", self.id);
        let body = json!({"specversion": "1.0", "id": id, "source": SOURCE, "type": format!("pikou.in.{name}.v1"),
            "time": wire_time(time), "subject": self.id, "datacontenttype": "application/json", "data": data});
        Message { name, id, body: body.to_string().into_bytes() }
    }

    fn enrolment(&self, status: &str, id: &str) -> Message {
        let ended = status == "ended";
        let (effective_on, time) = if ended {
            ("2026-03-31", self.time + Duration::seconds(30))
        } else {
            ("2020-01-01", self.time - Duration::days(60))
        };
        let data = json!({"payer_id": self.id, "insurance_type": TYPE, "status": status, "effective_on": effective_on,
            "name": self.name, "id_type": "resident_id", "id_number": self.identity_number,
            "division_code": self.division});
        self.message("enrolment.changed", id, time, data)
    }

    fn agreement(&self, id: &str, story: Story, amount_max: Option<u32>) -> Message {
        let name = if story == Story::Unwritable { format!("{},", self.name) } else { self.name.clone() };
        let mut data = json!({"agreement_no": format!("A{}", &self.id[4..]), "payer_id": self.id, "gateway": self.gateway,
            "bank_code": self.bank, "account_no": self.account, "account_name": name, "status": "active",
            "batch_enabled": true, "insurance_types": [TYPE]});
        if let Some(amount_max) = amount_max {
            data["amount_max"] = json!(format!("{amount_max}.00"));
        }
        self.message("agreement.changed", id, self.time - Duration::days(30), data)
    }

    fn agreement_ended(&self) -> Message {
        let data = json!({"agreement_no": format!("A{}", &self.id[4..]), "payer_id": self.id, "gateway": self.gateway,
            "bank_code": self.bank, "account_no": self.account, "account_name": self.name, "status": "ended",
            "batch_enabled": true, "insurance_types": [TYPE]});
        self.message("agreement.changed", "2", self.time + Duration::seconds(30), data)
    }

    fn amount_set(&self, id: &str, after: i64, yuan: u32) -> Message {
        let data = json!({"payer_id": self.id, "insurance_type": TYPE, "valid_year": 2026,
            "amount": format!("{yuan}.00"), "channel": self.channel});
        self.message("amount.set", id, self.time + Duration::seconds(after), data)
    }

    fn void(&self, id: &str, after: i64) -> Message {
        let data = json!({"payer_id": self.id, "insurance_type": TYPE, "valid_year": 2026, "channel": self.channel});
        self.message("amount.voided", id, self.time + Duration::seconds(after), data)
    }

    fn declaration(&self, yuan: u32) -> Message {
        let data = json!({"declaration_no": format!("E{}", &self.id[4..]), "payer_id": self.id, "insurance_type": TYPE,
            "kind": "normal", "period_from": "202601", "period_to": "202612", "amount": format!("{yuan}.00"),
            "channel": self.channel, "collect_by": "batch"});
        self.message("declaration.submitted", "1", self.time, data)
    }
}
