//! `profile: pci`: settings of `sallyport.yaml` that a requirement of PCI DSS forbids. Each is a fault that names the requirement.
//! Not here: what it forbids in policy files (`policy`), keys and files that are not there (`runtime`).
//! Source: PCI DSS 4.0.1, in our words; the table in docs/auditors.md has the same rows.

use crate::yaml::{self, Faults, MapReader, Node};

/// Which settings are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// What can't work, and nothing else.
    #[default]
    Standard,
    /// What a requirement of PCI DSS forbids as well.
    Pci,
}

/// Their words.
pub(super) const PROFILES: &[(&str, Profile)] = &[("standard", Profile::Standard), ("pci", Profile::Pci)];

/// Where a word of the configuration is forbidden, and what to write instead.
struct Rule {
    /// The keys that lead to it, lists passed through.
    path: &'static [&'static str],
    /// The word.
    word: &'static str,
    /// The requirement.
    requirement: &'static str,
    /// What it asks for, in our words.
    asks: &'static str,
    /// What to write.
    instead: &'static str,
}

/// All of them, in the order of docs/auditors.md.
const FORBIDDEN: &[Rule] = &[
    Rule {
        path: &["decision_log", "durability"],
        word: "async",
        requirement: "10.2.1",
        asks: "a record of every access, also of the last ones before a crash",
        instead: "write `sync`",
    },
    Rule {
        path: &["listeners", "tls", "stale_crl"],
        word: "warn",
        requirement: "8.2.5",
        asks: "access that was taken back ends at once",
        instead: "write `refuse`",
    },
];

/// Reports what `profile: pci` forbids in a configuration that says another one, for a proxy that runs under it. What else is wrong there,
/// [`super::load`] has said.
pub fn judge_as_pci(text: &str, file: u32, env: &dyn Fn(&str) -> Option<String>, faults: &mut Faults) {
    let mut said = Faults::new();
    let Some(mut root) = yaml::parse(text, file, &mut said) else { return };
    super::expand::expand(&mut root, env, &mut said);
    judge(&root, faults);
}

/// Reports what the profile forbids in the configuration `root`, which was read and checked before.
pub(super) fn judge(root: &Node, faults: &mut Faults) {
    // What is no mapping has its own fault.
    let Some(mut map) = MapReader::new(root, "the configuration", &mut Faults::new()) else { return };
    if map.take("environment").is_none() {
        let place = map.place();
        faults.at(
            place,
            forbidden(
                "a configuration without `environment`",
                ("6.5.3", "production is kept apart from what is not"),
                "add it",
            ),
        );
    }
    for rule in FORBIDDEN {
        find(root, rule.path, rule, faults);
    }
}

fn find(node: &Node, path: &[&'static str], rule: &Rule, faults: &mut Faults) {
    let Some((key, rest)) = path.split_first() else { return };
    let Some(mut map) = MapReader::new(node, "a mapping", &mut Faults::new()) else { return };
    let Some(field) = map.take(key) else { return };
    if rest.is_empty() {
        if field.text(&mut Faults::new()) == Some(rule.word) {
            let what = format!("`{key}: {}`", rule.word);
            field.fault(forbidden(&what, (rule.requirement, rule.asks), rule.instead), faults);
        }
        return;
    }
    match field.list(&mut Faults::new()) {
        Some(items) => items.for_each(|item| find(item.node(), rest, rule, faults)),
        None => find(field.node(), rest, rule, faults),
    }
}

fn forbidden(what: &str, (requirement, asks): (&str, &str), instead: &str) -> String {
    format!("{what} is not for `profile: pci` (PCI DSS {requirement}: {asks}); {instead}")
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;
    use super::*;

    const TLS: &str = "tls: {certificate: c, key: k, client_auth: required, client_ca: a, crl: l, stale_crl";

    fn faults(rest: &str) -> Vec<String> {
        read(&format!("policy: p\nprofile: pci\n{rest}\n")).1
    }

    #[test]
    fn a_configuration_of_another_profile_is_judged_where_that_runs() {
        for (profile, count) in [("", 1), ("profile: standard\n", 1), ("profile: standard\nenvironment: e\n", 0)] {
            let mut faults = Faults::new();
            judge_as_pci(&format!("policy: p\n{profile}"), 0, &|_| None, &mut faults);
            assert_eq!(faults.len(), count, "{profile}: {faults:?}");
        }
    }

    #[test]
    fn what_a_requirement_forbids_is_told_with_it_and_all_at_once() {
        let listener = |crl: &str| format!("listeners: [{{name: a, address: '127.0.0.1:1', {TLS}: {crl}}}}}]");
        assert_eq!(
            faults(&format!("environment: e\n{}\ndecision_log: {{durability: sync}}", listener("refuse"))),
            [""; 0]
        );
        let found = faults(&format!("{}\ndecision_log: {{durability: async}}", listener("warn")));
        let want = [
            "f:1:1: a configuration without `environment` is not for `profile: pci` (PCI DSS 6.5.3: production is kept apart from what is not); add it",
            "f:3:133: `stale_crl: warn` is not for `profile: pci` (PCI DSS 8.2.5: access that was taken back ends at once); write `refuse`",
            "f:4:28: `durability: async` is not for `profile: pci` (PCI DSS 10.2.1: a record of every access, also of the last ones before a \
             crash); write `sync`",
        ];
        assert_eq!(found, want);
        let standard = format!("policy: p\n{}\ndecision_log: {{durability: async}}\n", listener("warn"));
        assert_eq!(read(&standard).1, [""; 0]);
    }

    #[test]
    fn what_is_no_setting_has_its_own_fault_alone() {
        for rest in ["listeners: 7", "listeners: [7]", "listeners: [{name: a, address: '127.0.0.1:1', tls: warn}]"] {
            let found = faults(&format!("environment: e\n{rest}"));
            assert!(found.iter().all(|fault| !fault.contains("PCI")) && !found.is_empty(), "{rest}: {found:?}");
        }
    }
}
