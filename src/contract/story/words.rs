//! What each word of the contract is called in a sentence, in both languages. Refusals and skips have whole sentences
//! where they are defined ([`RefusalCode`], [`SkipReason`]); here is what has none elsewhere.

use crate::contract::refusal::RefusalCode;
use crate::domain::amount_setting::HoldReason;
use crate::domain::attempt::Withdrawal;
use crate::domain::declaration::{DeclarationState, Kind, PublicStatus};
use crate::domain::discrepancy::{Decision, DiscrepancyKind};
use crate::domain::eligibility::SkipReason;
use crate::domain::outcome::OutcomeClass;
use crate::domain::threshold::RunHoldReason;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Chinese,
    English,
}

impl Language {
    pub const ALL: [Language; 2] = [Language::Chinese, Language::English];

    /// As on the command line.
    pub fn parse(text: &str) -> Option<Language> {
        match text {
            "zh" => Some(Language::Chinese),
            "en" => Some(Language::English),
            _ => None,
        }
    }

    /// That of a locale such as `zh_CN.UTF-8`; English where it says nothing of Chinese.
    pub fn of_locale(locale: &str) -> Language {
        if locale.starts_with("zh") { Language::Chinese } else { Language::English }
    }

    pub(super) fn pick(self, (chinese, english): (&'static str, &'static str)) -> &'static str {
        match self {
            Language::Chinese => chinese,
            Language::English => english,
        }
    }
}

/// What becomes of a deduction that is out when its amount is voided.
pub const IF_SUCCEEDED: (&str, &str) = ("扣款成功则缴费有效", "if it succeeds the payment stands");
pub const IF_FAILED: (&str, &str) = ("扣款失败则不再扣款", "if it fails nothing is tried again");

/// Something that is said in both languages.
pub trait Said {
    fn said(self, language: Language) -> &'static str;
}

macro_rules! said {
    ($($of:ty { $($variant:path = $chinese:literal, $english:literal;)* })*) => {
        $(impl Said for $of {
            fn said(self, language: Language) -> &'static str {
                language.pick(match self { $($variant => ($chinese, $english)),* })
            }
        })*
    };
}

impl Said for RefusalCode {
    fn said(self, language: Language) -> &'static str {
        language.pick((self.chinese(), self.english()))
    }
}

impl Said for SkipReason {
    fn said(self, language: Language) -> &'static str {
        language.pick((self.sentence(), self.english()))
    }
}

said! {
    Withdrawal {
        Withdrawal::Voided = "缴费金额已作废", "the amount was voided";
        Withdrawal::SettingChanged = "缴费金额已变更,新金额进入下一批次", "the amount was changed; the new one is for the next run";
        Withdrawal::NoAgreement = "委托扣款协议已终止或取消批扣", "the withholding agreement has ended, or allows no batch deduction";
        Withdrawal::EnrolmentClosed = "参保关系已暂停或终止", "the enrolment is suspended or has ended";
        Withdrawal::AttemptInFlight = "另一笔订单是否扣款成功尚待核实", "whether another order has moved the money is being looked into";
        Withdrawal::Unencodable = "户名或账号含有银行文件无法表示的字符", "the name or account cannot be written in the bank's file";
        Withdrawal::Cancelled = "该批次已取消", "the run was cancelled";
    }
    HoldReason {
        HoldReason::NoAgreement = "扣款最终失败,重新签订协议后恢复", "a deduction failed for good; a new agreement ends it";
        HoldReason::AmountOutOfRange = "沿用的金额不在本年度规定范围内,重新设置金额后恢复", "the amount carried over is outside what may be chosen this year; a new amount ends it";
        HoldReason::Suspended = "批量扣款已暂停,重新设置金额或由工作人员解除后恢复", "batch deduction is suspended; a new amount or an operator ends it";
    }
    RunHoldReason {
        RunHoldReason::CountDeviates = "笔数与上一批次相差过大", "its count differs too much from the last run";
        RunHoldReason::SumDeviates = "总额与上一批次相差过大", "its sum differs too much from the last run";
        RunHoldReason::FirstOfYear = "本年度第一个批次", "it is the first one of the year";
    }
    OutcomeClass {
        OutcomeClass::Success = "扣款成功", "the money was taken";
        OutcomeClass::Retryable = "扣款失败", "the deduction failed";
        OutcomeClass::Final = "扣款失败,再次扣款也不会成功", "the deduction failed, and trying again does not help";
        OutcomeClass::Unknown = "扣款结果不明,不视为失败,也不重复扣款", "the result is unknown: not taken as failed, and not tried again";
    }
    DiscrepancyKind {
        DiscrepancyKind::UnknownOrder = "对方文件中的订单我方没有发出", "a result for an order that was never sent";
        DiscrepancyKind::AmountDiffers = "金额与订单不一致", "another amount than was asked for";
        DiscrepancyKind::Contradiction = "前后结果互相矛盾", "results that contradict each other";
        DiscrepancyKind::UnknownCode = "结果代码无法识别", "a result code that is in no table";
        DiscrepancyKind::DoublePayment = "同一费款收到两笔款项", "money came twice";
        DiscrepancyKind::PaidAfterVoid = "作废之后仍被扣款", "money was taken after the year was voided";
        DiscrepancyKind::UnparsableRow = "文件中该行无法读取", "a row that cannot be read";
        DiscrepancyKind::NameReused = "文件名重复而内容不同", "a known file name came with other bytes";
        DiscrepancyKind::PartialRefund = "只退回部分款项", "a part of the payment went back";
        DiscrepancyKind::RefundAbnormal = "退款异常", "a refund that the gateway could not carry out";
        DiscrepancyKind::ResultMissing = "逾期未收到扣款结果", "no result has come in time";
        DiscrepancyKind::NotInBill = "渠道报告已支付,但对账单中没有", "reported as paid, but in no bill";
        DiscrepancyKind::FileMissing = "对账文件未按时收到", "a file has not come in time";
    }
    Decision {
        Decision::Attach = "款项归入指定订单", "the money settles the order named";
        Decision::Refund = "提请退款,我方记录不变", "a refund is proposed; nothing of ours changes";
        Decision::WriteOff = "核销,不再处理", "written off; nothing follows";
        Decision::AcceptGateway = "以对方金额为准", "the gateway's amount is accepted";
        Decision::Failed = "认定未缴费成功", "it counts as failed";
        Decision::KeepWaiting = "继续等待结果", "the result is waited for";
        Decision::AcceptSuccess = "认定缴费成功", "it counts as succeeded";
        Decision::AcceptFailure = "认定扣款失败", "it counts as failed";
        Decision::Keep = "款项保留,我方记录不变", "the money stays where it is; nothing of ours changes";
        Decision::Corrected = "后续文件已更正", "a later file has put it right";
    }
    Kind {
        Kind::Normal = "正常缴费", "normal";
        Kind::Special = "特殊缴费", "special";
    }
    PublicStatus {
        PublicStatus::Processing = "申报处理中", "being processed";
        PublicStatus::Accepted = "申报成功", "accepted";
        PublicStatus::Voided = "已作废", "voided";
    }
    DeclarationState {
        DeclarationState::AwaitingEnrolment = "等待参保信息或核定", "waits for its enrolment or assessment";
        DeclarationState::Payable = "待缴费", "payable";
        DeclarationState::Paying = "扣款或支付中", "being collected or paid";
        DeclarationState::Voided = "已作废", "voided";
        DeclarationState::Rejected = "未受理", "rejected";
        DeclarationState::Reversed = "已缴款项已退回", "its money went back";
    }
}

/// Words that are not an enum of ours, or that the settings may add to: those we have no name for are told as they are.
const NAMES: [(&str, &str, &str); 35] = [
    ("resident_pension", "城乡居民基本养老保险", "resident pension"),
    ("resident_medical", "城乡居民基本医疗保险", "resident medical insurance"),
    ("flex_pension", "灵活就业养老保险", "freelancers' pension"),
    ("flex_medical", "灵活就业医疗保险", "freelancers' medical insurance"),
    ("flex_unemployment", "灵活就业失业保险", "freelancers' unemployment insurance"),
    ("bank", "银行", "bank"),
    ("alipay", "支付宝", "Alipay"),
    ("wechat_pay", "微信支付", "WeChat Pay"),
    ("unionpay", "银联", "UnionPay"),
    ("alipay_app", "支付宝应用", "the Alipay app"),
    ("baidu_app", "百度应用", "the Baidu app"),
    ("etax", "电子税务局", "etax"),
    ("counter", "办税服务厅", "the counter"),
    ("batch", "批扣", "batch"),
    ("carried_over", "沿用", "carried over"),
    ("enrolment", "参保信息", "the enrolment"),
    ("assessment", "特殊缴费核定", "the assessment"),
    ("declaration", "申报", "the declaration"),
    ("order", "订单", "the order"),
    ("back_payment", "补缴", "back payment"),
    ("lump_sum", "趸缴", "lump sum"),
    ("paid_on_behalf", "代缴", "paid on behalf"),
    ("succeeded", "支付成功", "succeeded"),
    ("failed", "支付失败", "failed"),
    ("closed", "订单已关闭,未支付", "closed unpaid"),
    ("unknown", "结果不明", "unknown"),
    ("open", "待处理", "waits for a person"),
    ("replayed", "已重新受理", "replayed"),
    ("discarded", "已放弃", "discarded"),
    ("active", "有效", "active"),
    ("suspended", "暂停", "suspended"),
    ("ended", "终止", "ended"),
    ("fulfilled", "已缴费", "paid"),
    ("expired", "年度已过,未缴费", "expired"),
    ("voided", "已作废", "voided"),
];

/// A word of a table, a message or the settings as it is called.
pub fn name(word: &str, language: Language) -> &str {
    let known = NAMES.iter().find(|(name, ..)| *name == word);
    known.map_or(word, |(_, chinese, english)| language.pick((chinese, english)))
}
