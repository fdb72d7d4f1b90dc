//! Online payments: what a channel may offer, and what its report on an order means. A pure table: the order as it stands
//! and the report come in, what to do goes out.

use std::collections::BTreeMap;

use super::outcome::{CodeTable, OutcomeClass};

/// 支付渠道: who moves the money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gateway {
    Bank,
    Alipay,
    WechatPay,
    Unionpay,
}

impl Gateway {
    pub const ALL: [Gateway; 4] = [Gateway::Bank, Gateway::Alipay, Gateway::WechatPay, Gateway::Unionpay];

    pub fn as_str(self) -> &'static str {
        match self {
            Gateway::Bank => "bank",
            Gateway::Alipay => "alipay",
            Gateway::WechatPay => "wechat_pay",
            Gateway::Unionpay => "unionpay",
        }
    }

    pub fn parse(text: &str) -> Option<Gateway> {
        Gateway::ALL.into_iter().find(|gateway| gateway.as_str() == text)
    }
}

/// How the payer pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// By the withholding agreement (协议扣款), at once instead of in a run.
    Agreement,
    Alipay,
    WechatPay,
    Unionpay,
}

impl Method {
    pub const ALL: [Method; 4] = [Method::Agreement, Method::Alipay, Method::WechatPay, Method::Unionpay];

    pub fn as_str(self) -> &'static str {
        match self {
            Method::Agreement => "agreement",
            Method::Alipay => "alipay",
            Method::WechatPay => "wechat_pay",
            Method::Unionpay => "unionpay",
        }
    }

    pub fn parse(text: &str) -> Option<Method> {
        Method::ALL.into_iter().find(|method| method.as_str() == text)
    }

    /// Whether a gateway can move money this way.
    pub fn goes_by(self, gateway: Gateway) -> bool {
        match self {
            Method::Agreement => matches!(gateway, Gateway::Bank | Gateway::Unionpay),
            Method::Alipay => gateway == Gateway::Alipay,
            Method::WechatPay => gateway == Gateway::WechatPay,
            Method::Unionpay => gateway == Gateway::Unionpay,
        }
    }
}

/// 申报渠道: what it offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// 仅支持本人缴费: nobody pays for somebody else here.
    pub self_only: bool,
    pub methods: Vec<Method>,
}

/// By name.
pub type Channels = BTreeMap<String, Channel>;

/// What a channel heard at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportOutcome {
    Succeeded,
    Failed,
    /// The order was closed unpaid: it can no longer be paid.
    Closed,
    Unknown,
}

impl ReportOutcome {
    pub const ALL: [ReportOutcome; 4] =
        [ReportOutcome::Succeeded, ReportOutcome::Failed, ReportOutcome::Closed, ReportOutcome::Unknown];

    pub fn as_str(self) -> &'static str {
        match self {
            ReportOutcome::Succeeded => "succeeded",
            ReportOutcome::Failed => "failed",
            ReportOutcome::Closed => "closed",
            ReportOutcome::Unknown => "unknown",
        }
    }

    pub fn parse(text: &str) -> Option<ReportOutcome> {
        ReportOutcome::ALL.into_iter().find(|outcome| outcome.as_str() == text)
    }
}

/// An order as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderState {
    /// Never taken; no money should move.
    Refused,
    Sent,
    Unknown,
    Failed,
    Succeeded,
    /// It succeeded, and the money went back.
    Reversed,
}

/// What a report does to an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportEffect {
    /// Said before, or less than is known.
    None,
    Settle,
    /// The declarations may be paid again.
    Fail,
    /// Nobody knows; the declarations stay locked.
    Doubt,
    /// Nobody knows, and the code has no meaning that we know.
    DoubtUnknownCode,
    /// The opposite of what is booked: a person decides.
    Contradict,
    /// Money moved that was not to move.
    UnexpectedMoney,
}

/// Judges a report. `codes` is the gateway's table; a failure frees the declarations only with a code that it calls final.
pub fn judge_report(
    state: OrderState,
    outcome: ReportOutcome,
    code: Option<&str>,
    same_transaction: bool,
    codes: &CodeTable,
) -> ReportEffect {
    match (state, outcome) {
        (OrderState::Refused, ReportOutcome::Succeeded) => ReportEffect::UnexpectedMoney,
        (OrderState::Refused, _) => ReportEffect::None,
        (OrderState::Succeeded | OrderState::Reversed, ReportOutcome::Succeeded) if same_transaction => {
            ReportEffect::None
        }
        (OrderState::Succeeded | OrderState::Reversed, ReportOutcome::Succeeded) => ReportEffect::UnexpectedMoney,
        (OrderState::Succeeded, ReportOutcome::Failed | ReportOutcome::Closed) => ReportEffect::Contradict,
        (OrderState::Failed, ReportOutcome::Succeeded) => ReportEffect::Contradict,
        (OrderState::Succeeded | OrderState::Failed | OrderState::Reversed, _) => ReportEffect::None,
        (OrderState::Sent | OrderState::Unknown, ReportOutcome::Succeeded) => ReportEffect::Settle,
        (OrderState::Sent | OrderState::Unknown, ReportOutcome::Closed) => ReportEffect::Fail,
        (OrderState::Sent | OrderState::Unknown, ReportOutcome::Unknown) => ReportEffect::Doubt,
        (OrderState::Sent | OrderState::Unknown, ReportOutcome::Failed) => match code.map(|code| codes.meaning(code)) {
            Some(Some(meaning)) if meaning.class == OutcomeClass::Final => ReportEffect::Fail,
            Some(Some(_)) | None => ReportEffect::Doubt,
            Some(None) => ReportEffect::DoubtUnknownCode,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::outcome::CodeMeaning;
    use super::*;

    #[test]
    fn a_method_goes_by_its_own_gateway_only() {
        let pairs: Vec<String> = Method::ALL
            .into_iter()
            .flat_map(|method| Gateway::ALL.into_iter().map(move |gateway| (method, gateway)))
            .filter(|(method, gateway)| method.goes_by(*gateway))
            .map(|(method, gateway)| format!("{} by {}", method.as_str(), gateway.as_str()))
            .collect();
        let wanted = [
            "agreement by bank",
            "agreement by unionpay",
            "alipay by alipay",
            "wechat_pay by wechat_pay",
            "unionpay by unionpay",
        ];
        assert_eq!(pairs, wanted);
    }

    #[test]
    fn a_report_does_to_an_order_what_the_table_says() {
        let meaning = |class| CodeMeaning { class, reason: "r".into(), next_step: String::new() };
        let codes =
            CodeTable(OutcomeClass::ALL.into_iter().map(|class| (class.as_str().to_owned(), meaning(class))).collect());
        let judged = |state, outcome, code| judge_report(state, outcome, code, true, &codes);
        use {OrderState as S, ReportEffect as E, ReportOutcome as R};
        let by_outcome =
            |state| R::ALL.map(|outcome| judged(state, outcome, (outcome == R::Failed).then_some("final")));
        assert_eq!(by_outcome(S::Refused), [E::UnexpectedMoney, E::None, E::None, E::None]);
        assert_eq!(by_outcome(S::Sent), [E::Settle, E::Fail, E::Fail, E::Doubt]);
        assert_eq!(by_outcome(S::Unknown), [E::Settle, E::Fail, E::Fail, E::Doubt]);
        assert_eq!(by_outcome(S::Failed), [E::Contradict, E::None, E::None, E::None]);
        assert_eq!(by_outcome(S::Succeeded), [E::None, E::Contradict, E::Contradict, E::None]);
        assert_eq!(by_outcome(S::Reversed), [E::None, E::None, E::None, E::None]);
        let by_code = [None, Some("final"), Some("retryable"), Some("unknown"), Some("success"), Some("unheard of")]
            .map(|code| judged(S::Sent, R::Failed, code));
        assert_eq!(by_code, [E::Doubt, E::Fail, E::Doubt, E::Doubt, E::Doubt, E::DoubtUnknownCode]);
        for state in [S::Succeeded, S::Reversed] {
            assert_eq!(judge_report(state, R::Succeeded, None, false, &codes), E::UnexpectedMoney);
        }
    }
}
