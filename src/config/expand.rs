//! `${NAME}` in values becomes that environment variable. Pure: a closure knows the environment.
//! Not here: keys, which stay as written. What a variable holds is not expanded again.
//! Source: the contract: unset is an error.

use crate::yaml::{Entry, Faults, Node, Style, Value, shown};

/// Expands every text below `node`; one that cannot be is a fault and becomes [`Value::Refused`].
pub fn expand(node: &mut Node, env: &dyn Fn(&str) -> Option<String>, faults: &mut Faults) {
    match &mut node.value {
        Value::Text(text, _) if text.contains("${") => {
            node.value = match expanded(text, env) {
                Ok(text) => Value::Text(text.into(), Style::Expanded),
                Err(error) => {
                    faults.at(node.place, error.to_string());
                    Value::Refused
                }
            };
        }
        Value::List(items) => items.iter_mut().for_each(|item| expand(item, env, faults)),
        Value::Map(entries) => entries.iter_mut().for_each(|Entry { node, .. }| expand(node, env, faults)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(..) | Value::Refused => {}
    }
}

/// Why a text cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum ExpandError {
    #[error("`${{` without `}}` in {}; write `${{NAME}}`", shown(text))]
    Open { text: String },
    #[error("{} names no environment variable; write letters, digits and `_` between `${{` and `}}`", shown(name))]
    Name { name: String },
    #[error("the environment variable `{name}` is not set; set it, or write the value itself")]
    Unset { name: String },
}

fn expanded(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, ExpandError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, behind) = after.split_once('}').ok_or_else(|| ExpandError::Open { text: text.to_owned() })?;
        if !is_variable(name) {
            return Err(ExpandError::Name { name: name.to_owned() });
        }
        out.push_str(before);
        out.push_str(&env(name).ok_or_else(|| ExpandError::Unset { name: name.to_owned() })?);
        rest = behind;
    }
    out.push_str(rest);
    Ok(out)
}

/// POSIX, XBD 8.1: letters, digits and `_`, not a digit first.
fn is_variable(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    name.bytes().all(plain) && name.bytes().next().is_some_and(|b| !b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "A" => Some("alpha".to_owned()),
            "B_2" => Some("${A}".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn texts() {
        let open = |text: &str| Err(ExpandError::Open { text: text.to_owned() });
        let name = |name: &str| Err(ExpandError::Name { name: name.to_owned() });
        for (text, want) in [
            ("${A}", Ok("alpha".to_owned())),
            ("x${A}y${A}$", Ok("xalphayalpha$".to_owned())),
            ("${B_2}", Ok("${A}".to_owned())),
            ("${EMPTY}", Ok(String::new())),
            ("$A $$ $", Ok("$A $$ $".to_owned())),
            ("${A", open("${A")),
            ("${A}${", open("${A}${")),
            ("${}", name("")),
            ("${A-b}", name("A-b")),
            ("${A:-x}", name("A:-x")),
            ("${2}", name("2")),
            ("${${A}}", name("${A")),
            ("${C}", Err(ExpandError::Unset { name: "C".to_owned() })),
        ] {
            assert_eq!(expanded(text, &env), want, "`{text}`");
        }
    }

    #[test]
    fn values_and_not_keys() {
        let mut faults = Faults::new();
        let mut node = crate::yaml::parse("${A}: [1, '${A}', {b: \"${C}\"}]\n", 0, &mut faults).unwrap();
        expand(&mut node, &env, &mut faults);
        let faults: Vec<String> = faults.iter().map(|fault| fault.line(&["f"])).collect();
        let want = "f:1:23: the environment variable `C` is not set; set it, or write the value itself";
        assert_eq!(faults, [want]);
        let Value::Map(entries) = &node.value else { panic!("{node:?}") };
        assert_eq!(&*entries[0].key.value, "${A}");
        let Value::List(items) = &entries[0].node.value else { panic!("{node:?}") };
        assert_eq!(items[1].value, Value::Text("alpha".into(), Style::Expanded));
    }

    proptest! {
        #[test]
        fn any_text_is_safe(text in r"[${}A_ é]{0,20}") {
            let _ = expanded(&text, &env);
        }

        #[test]
        fn a_text_without_a_brace_stays(text in "[^{]*") {
            prop_assert_eq!(expanded(&text, &env), Ok(text));
        }
    }
}
