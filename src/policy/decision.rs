//! What comes out of a decision: its outcome, a refusal as a value, and how an allowed tunnel ended.
//! Not here: what follows from a reason (`reason`), and the stages that refuse.
//! Source: the contract's words on decisions and its closed list of reasons.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::block::Block;
use super::reason::{Reason, UnknownWord};
use super::rule::Rule;

/// What kind of decision it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Let through.
    Allow,
    /// Refused by the policy or a limit.
    Deny,
    /// Would have been refused; let through in report mode.
    Observe,
    /// Allowed, but the upstream or the proxy failed.
    Error,
}

impl Outcome {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Allow, Self::Deny, Self::Observe, Self::Error];

    /// Its word, as in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Observe => "observe",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Outcome {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.iter().copied().find(|outcome| outcome.as_str() == text);
        found.ok_or(UnknownWord { what: "outcome" })
    }
}

/// What was decided, as records and metrics tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decided {
    /// What kind of decision.
    pub outcome: Outcome,
    /// Why; of what was only observed, why it would have been refused.
    pub reason: Reason,
}

impl Decided {
    /// A rule lets it through.
    pub const ALLOWED: Self = Self { outcome: Outcome::Allow, reason: Reason::Allowed };

    /// Let through in report mode, though `reason` would have refused it.
    pub fn observed(reason: Reason) -> Self {
        Self { outcome: Outcome::Observe, reason }
    }
}

impl From<Reason> for Decided {
    /// With the outcome that the reason has where the policy is enforced.
    fn from(reason: Reason) -> Self {
        Self { outcome: reason.outcome(), reason }
    }
}

/// A refusal: why, and by which rule if one was chosen. The only early exit of a request.
#[derive(Clone, Debug)]
pub struct Denial {
    reason: Reason,
    rule: Option<Arc<Rule>>,
    block: Option<Arc<Block>>,
}

impl Denial {
    /// A refusal before a rule was chosen. `allowed` refuses nothing, so it counts as `internal`.
    pub fn new(reason: Reason) -> Self {
        Self { reason: refusing(reason), rule: None, block: None }
    }

    /// A refusal of what `rule` would have let through.
    pub fn by(rule: &Arc<Rule>, reason: Reason) -> Self {
        Self::of(Some(rule), reason)
    }

    /// A refusal of what `rule`, if there is one, would have let through.
    pub(super) fn of(rule: Option<&Arc<Rule>>, reason: Reason) -> Self {
        Self { reason: refusing(reason), rule: rule.cloned(), block: None }
    }

    /// The same, for what an emergency block hits.
    pub(super) fn by_block(self, block: &Arc<Block>) -> Self {
        Self { block: Some(Arc::clone(block)), ..self }
    }

    /// Why.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The rule that was chosen before the refusal.
    pub fn rule(&self) -> Option<&Arc<Rule>> {
        self.rule.as_ref()
    }

    /// The emergency block that refuses it, if one does.
    pub fn block(&self) -> Option<&Arc<Block>> {
        self.block.as_ref()
    }
}

/// Whatever called for a refusal gets one.
fn refusing(reason: Reason) -> Reason {
    match reason.outcome() {
        Outcome::Allow => Reason::Internal,
        Outcome::Deny | Outcome::Observe | Outcome::Error => reason,
    }
}

/// How an allowed tunnel ended: the `reason` of a `close` record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// The client closed first.
    ClientClosed,
    /// The server closed first.
    ServerClosed,
    /// One side reset the connection.
    Reset,
    /// Nothing moved for the idle time.
    IdleTimeout,
    /// The tunnel's lifetime was over.
    LifetimeExceeded,
    /// The rule's bytes for the day were used up.
    ByteBudgetSpent,
    /// A reload or a block took the permission back.
    Revoked,
    /// The proxy stopped.
    Shutdown,
    /// What was seen inside the tunnel was refused.
    Refused(InTunnel),
}

/// A reason that can end a tunnel after it was allowed: those of TLS and of inspection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InTunnel(Reason);

impl InTunnel {
    /// The reasons of TLS and of inspection, in the contract's order.
    const ALL: &[Reason] = &[
        Reason::NotTls,
        Reason::HelloTimeout,
        Reason::HelloMalformed,
        Reason::SniMissing,
        Reason::SniMismatch,
        Reason::EchPresent,
        Reason::TlsVersionTooLow,
        Reason::AlpnNotAllowed,
        Reason::ServerNotTls,
        Reason::ServerTlsVersionTooLow,
        Reason::ServerCipherWeak,
        Reason::SecondHelloMismatch,
        Reason::CertificateUntrusted,
        Reason::HttpHostMismatch,
        Reason::HttpMethodNotAllowed,
        Reason::HttpPathNotAllowed,
        Reason::SensitiveDataNotAllowed,
        Reason::TestCardInProduction,
    ];

    /// `reason`, if it can end a tunnel.
    pub fn new(reason: Reason) -> Option<Self> {
        Self::ALL.contains(&reason).then_some(Self(reason))
    }

    /// The reason.
    pub fn reason(self) -> Reason {
        self.0
    }
}

impl Ending {
    /// The ending words of their own.
    pub const WORDS: &[Self] = &[
        Self::ClientClosed,
        Self::ServerClosed,
        Self::Reset,
        Self::IdleTimeout,
        Self::LifetimeExceeded,
        Self::ByteBudgetSpent,
        Self::Revoked,
        Self::Shutdown,
    ];

    /// Its word, as in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientClosed => "client_closed",
            Self::ServerClosed => "server_closed",
            Self::Reset => "reset",
            Self::IdleTimeout => "idle_timeout",
            Self::LifetimeExceeded => "lifetime_exceeded",
            Self::ByteBudgetSpent => "byte_budget_spent",
            Self::Revoked => "revoked",
            Self::Shutdown => "shutdown",
            Self::Refused(InTunnel(reason)) => reason.as_str(),
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Ending {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let word = Self::WORDS.iter().copied().find(|ending| ending.as_str() == text);
        let refused = || text.parse().ok().and_then(InTunnel::new).map(Self::Refused);
        word.or_else(refused).ok_or(UnknownWord { what: "ending" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back() {
        for outcome in Outcome::ALL {
            assert_eq!(outcome.to_string().parse(), Ok(*outcome), "{outcome}");
        }
        let refused = InTunnel::ALL.iter().filter_map(|r| InTunnel::new(*r)).map(Ending::Refused);
        for ending in Ending::WORDS.iter().copied().chain(refused) {
            assert_eq!(ending.to_string().parse(), Ok(ending), "{ending}");
        }
    }

    #[test]
    fn a_tunnel_ends_by_its_own_words_tls_or_inspection_alone() {
        for (word, ends) in [
            ("client_closed", true),
            ("second_hello_mismatch", true),
            ("test_card_in_production", true),
            ("byte_budget_spent", true),
            ("destination_denied", false),
            ("dns_failure", false),
            ("allowed", false),
            ("", false),
        ] {
            assert_eq!(word.parse::<Ending>().is_ok(), ends, "{word}");
        }
        assert_eq!(InTunnel::new(Reason::SniMissing).map(InTunnel::reason), Some(Reason::SniMissing));
        assert_eq!(InTunnel::new(Reason::Draining), None);
    }

    #[test]
    fn a_denial_is_never_an_allowance() {
        for reason in Reason::ALL {
            let made = Denial::new(*reason);
            assert_ne!(made.reason().outcome(), Outcome::Allow, "{reason}");
            assert!(made.rule().is_none(), "{reason}");
        }
        assert_eq!(Denial::new(Reason::Allowed).reason(), Reason::Internal);
    }
}
