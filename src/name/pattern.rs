//! `HostPattern`: one name, or the names one label or any labels below it. Pure.
//! Not here: which of two patterns wins (`policy`).
//! Source: the Public Suffix List, private part included, as the crate `psl` carries it.

use std::fmt;
use std::iter;
use std::str::FromStr;

use psl::Psl;

use super::{Fqdn, NameError, shown};

/// Which names a rule is for. Compared label by label, never by the end of the text; a wildcard never holds its base.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// `x`: this name alone.
    Exact(Fqdn),
    /// `*.x`: the names exactly one label below `x`.
    OneLabel(Fqdn),
    /// `**.x`: the names one or more labels below `x`.
    AnyLabels(Fqdn),
}

impl HostPattern {
    /// Whether this pattern holds the name.
    pub fn matches(&self, name: &Fqdn) -> bool {
        match self {
            Self::Exact(base) => name == base,
            Self::OneLabel(base) => name.parent() == Some(base.as_str()),
            Self::AnyLabels(base) => {
                let mut labels = name.labels().rev();
                base.labels().rev().all(|label| labels.next() == Some(label)) && labels.next().is_some()
            }
        }
    }

    /// The name without the wildcard in front of it.
    pub fn base(&self) -> &Fqdn {
        match self {
            Self::Exact(base) | Self::OneLabel(base) | Self::AnyLabels(base) => base,
        }
    }

    /// Whether this is a wildcard right below a public suffix, so that strangers can register names in it.
    /// A top-level label that is in no list counts as a public suffix, as the list's own default rule has it.
    pub fn is_public_suffix_wide(&self) -> bool {
        match self {
            Self::Exact(_) => false,
            Self::OneLabel(base) | Self::AnyLabels(base) => is_open_to_strangers(base),
        }
    }
}

impl FromStr for HostPattern {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (kind, base): (fn(Fqdn) -> Self, &str) = if let Some(base) = text.strip_prefix("**.") {
            (Self::AnyLabels, base)
        } else if let Some(base) = text.strip_prefix("*.") {
            (Self::OneLabel, base)
        } else {
            (Self::Exact, text)
        };
        let is_bare_wildcard = base.is_empty() && !text.is_empty();
        if base.contains('*') || is_bare_wildcard {
            return Err(NameError::Wildcard { pattern: shown(text) });
        }
        base.parse().map(kind)
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(base) => write!(f, "{base}"),
            Self::OneLabel(base) => write!(f, "*.{base}"),
            Self::AnyLabels(base) => write!(f, "**.{base}"),
        }
    }
}

/// Whether a name one label below `base` has `base`, or the whole of itself, as its public suffix.
/// Asked with a label that no list spells out, so that wildcard rules such as `*.ck` answer too.
fn is_open_to_strangers(base: &Fqdn) -> bool {
    let below = base.labels().rev().chain(iter::once("*")).map(str::as_bytes);
    psl::List.find(below).len >= base.as_str().len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> HostPattern {
        text.parse().expect(text)
    }

    #[test]
    fn matches_by_label() {
        for (text, name, want) in [
            ("api.acme.example", "api.acme.example", true),
            ("api.acme.example", "x.api.acme.example", false),
            ("api.acme.example", "evilapi.acme.example", false),
            ("api.acme.example", "api.acme.example.evil.com", false),
            ("*.pay.example", "x.pay.example", true),
            ("*.pay.example", "pay.example", false),
            ("*.pay.example", "notpay.example", false),
            ("*.pay.example", "x.notpay.example", false),
            ("*.pay.example", "a.b.pay.example", false),
            ("*.pay.example", "x.pay.example.evil", false),
            ("**.pay.example", "x.pay.example", true),
            ("**.pay.example", "a.b.c.pay.example", true),
            ("**.pay.example", "pay.example", false),
            ("**.pay.example", "notpay.example", false),
            ("**.pay.example", "a.notpay.example", false),
            ("**.pay.example", "example", false),
            ("**.PAY.example.", "X.pay.EXAMPLE.", true),
        ] {
            let got = pattern(text).matches(&name.parse().expect(name));
            assert_eq!(got, want, "`{text}` on `{name}`");
        }
    }

    #[test]
    fn wildcards_stand_alone_in_front() {
        for text in
            ["*", "**", "*.", "**.", "***.x", "x*.acme.example", "*x.acme.example", "*.*.x", "**.*.x", "a.*.x", "x.*"]
        {
            let error = text.parse::<HostPattern>().expect_err(text);
            assert!(matches!(error, NameError::Wildcard { .. }), "`{text}`: {error:?}");
        }
        for (text, want) in [
            ("", NameError::Empty),
            ("*..", NameError::Empty),
            ("*..x", NameError::EmptyLabel { name: ".x".into() }),
            ("*.10", NameError::Number { name: "10".into() }),
            ("10.0.0.1", NameError::Number { name: "10.0.0.1".into() }),
            ("*acme.ex/ample", NameError::Wildcard { pattern: "*acme.ex/ample".into() }),
        ] {
            assert_eq!(text.parse::<HostPattern>(), Err(want), "`{text}`");
        }
    }

    #[test]
    fn public_suffixes() {
        for (text, want) in [
            ("*.com", true),
            ("**.com", true),
            ("*.co.uk", true),
            ("*.github.io", true),
            ("*.s3.amazonaws.com", true),
            ("*.cloudfront.net", true),
            ("*.ck", true),
            ("*.kawasaki.jp", true),
            ("*.city.kawasaki.jp", false),
            ("*.x.kawasaki.jp", true),
            ("*.test", true),
            ("**.test", true),
            ("*.xn--p1ai", true),
            ("*.xn--55qx5d.cn", true),
            ("*.acme.test", false),
            ("*.acme.com", false),
            ("**.acme.co.uk", false),
            ("*.acme.github.io", false),
            ("*.amazonaws.com", false),
            ("co.uk", false),
            ("com", false),
        ] {
            assert_eq!(pattern(text).is_public_suffix_wide(), want, "`{text}`");
        }
    }

    #[test]
    fn base_is_the_name_without_wildcard() {
        for text in ["acme.example", "*.acme.example", "**.acme.example"] {
            assert_eq!(pattern(text).base().as_str(), "acme.example", "`{text}`");
        }
    }

    proptest! {
        #[test]
        fn parse_of_display_is_identity(text in r"(\*\.|\*\*\.)?[a-zA-Z0-9_]{1,9}(\.[a-zA-Z]{1,9}){1,3}\.?") {
            let once = pattern(&text);
            prop_assert_eq!(&once.to_string().parse::<HostPattern>().unwrap(), &once);
        }

        #[test]
        fn any_labels_is_wider_than_one_label(base in "[a-c]{1,2}(\\.[a-c]{1,2}){0,2}", name in "[a-c]{1,2}(\\.[a-c]{1,2}){0,4}") {
            let name: Fqdn = name.parse().unwrap();
            let (one, any) = (pattern(&format!("*.{base}")), pattern(&format!("**.{base}")));
            prop_assert!(!one.matches(&name) || any.matches(&name));
            let below: Fqdn = format!("{name}.{base}").parse().unwrap();
            prop_assert!(any.matches(&below), "`{}` on `{}`", any, below);
        }

        #[test]
        fn a_wildcard_never_matches_its_base(base in "[a-c]{1,2}(\\.[a-c]{1,2}){0,3}") {
            for text in [format!("*.{base}"), format!("**.{base}")] {
                let wildcard = pattern(&text);
                prop_assert!(!wildcard.matches(wildcard.base()), "`{}`", text);
            }
        }

        #[test]
        fn no_input_panics(text in ".{0,80}") {
            let _ = text.parse::<HostPattern>().map(|pattern| pattern.is_public_suffix_wide());
        }
    }
}
