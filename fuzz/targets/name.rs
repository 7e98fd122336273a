//! Names, patterns and targets: what parses has one form, which parses to the same again.
#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use sallyport::name::{Fqdn, HostPattern, Target};

fn one_form<T: FromStr<Err: Display> + Display + PartialEq + Debug>(text: &str) {
    match text.parse::<T>() {
        Ok(value) => assert_eq!(value.to_string().parse::<T>().ok(), Some(value)),
        Err(error) => assert!(!error.to_string().chars().any(char::is_control), "{error}"),
    }
}

libfuzzer_sys::fuzz_target!(|text: &str| {
    one_form::<Fqdn>(text);
    one_form::<HostPattern>(text);
    one_form::<Target>(text);
});
