//! For tests: secrets that stand in the wrong place of a file of secrets. Faults go to logs, the status and the records.
//! Not here: what the faults say.

/// What a token or a credential's secret looks like.
const SECRET: &str = "sallyport_AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";

/// Files with it at `@`.
const FILES: &[&str] = &[
    "@",
    "KEY: @",
    "KEY: [@]",
    "KEY:\n  - @\n",
    "@: []",
    "KEY: []\n@: x",
    "KEY: []\n@: x\n@: y",
    "KEY: [{@: x}]",
    "KEY: [{name: @ @}]",
    "KEY: [{name: [@]}]",
    "KEY: [{name: a, role: @}]",
    "KEY: [{name: a, HASH: @}]",
    "KEY: [{name: a, HASH: {@: @}}]",
    "KEY: [{name: a, other: @}]",
    "KEY: [{name: @, HASH: 'GOOD', role: auditor}, {name: @, HASH: 'GOOD', role: auditor}]",
    "KEY: [*@]",
    "KEY: [&@ x]",
    "KEY: [!@ x]",
    "KEY: [!@!x x]",
    "KEY: {@",
    "KEY: '@",
    "%@",
    "@",
];

/// Asserts that each of these files has faults, and that none of them repeats the secret, nor a name. The file has its entries below
/// `key`, each with a `hash` such as the `good` one; `faults` are those of a text.
pub(super) fn is_never_repeated(key: &str, (hash, good): (&str, &str), faults: &dyn Fn(&str) -> Vec<String>) {
    for text in FILES {
        let text = text.replace("KEY", key).replace("HASH", hash).replace("GOOD", good).replace('@', SECRET);
        let faults = faults(&text);
        assert!(!faults.is_empty(), "{text}");
        assert!(!faults.iter().any(|fault| fault.to_lowercase().contains("aqebaqeb")), "{text}: {faults:?}");
    }
    let faults = faults(&format!("{key}: [{{name: 4711, other: true}}]"));
    assert!(!faults.is_empty() && !faults.iter().any(|fault| fault.contains("4711")), "{faults:?}");
}
