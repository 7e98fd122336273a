//! `sallyport firewall`: the kernel's rules that go with a configuration, to be loaded by whoever may.
//! Not here: the rules (`firewall`). Nothing is asked of the host, and nothing is changed.

use std::path::Path;

use clap::{Args, ValueEnum};
use ipnet::IpNet;
use serde::Serialize;

use super::output::complain;
use super::{Failure, Output, environment};
use crate::address::{PrefixError, parse_prefix};
use crate::firewall::{self, Format, Mode, User, Wanted};
use crate::runtime::load;

#[derive(Args)]
pub(super) struct FirewallArgs {
    /// What the rules are for
    #[arg(long, value_enum)]
    mode: ModeArg,
    /// Whose language they are written in
    #[arg(long, value_enum, default_value_t = FormatArg::Nft)]
    format: FormatArg,
    /// The proxy's own user, by name or number: its connections are not captured, and may leave
    #[arg(long, value_name = "USER", default_value = "sallyport")]
    user: User,
    /// A destination that is left alone, such as `10.0.0.53/32`; may be given several times
    #[arg(long, value_name = "PREFIX", value_parser = prefix)]
    exclude: Vec<IpNet>,
    /// The transparent listener to bring connections to, if there are several; one of IPv4 and one of IPv6 may be given
    #[arg(long = "listener", value_name = "NAME")]
    listeners: Vec<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum ModeArg {
    /// Bring TCP connections to a listener with `capture: redirect`, by NAT
    Redirect,
    /// Bring them to a listener with `capture: tproxy`, as they are
    Tproxy,
    /// Let nothing out but the proxy
    OnlyWayOut,
}

#[derive(Clone, Copy, ValueEnum)]
enum FormatArg {
    /// For `nft -f`
    Nft,
    /// For `iptables-restore` and `ip6tables-restore`, one file for both
    Iptables,
}

/// The rules, as JSON.
#[derive(Serialize)]
struct Rules {
    mode: &'static str,
    rules: String,
}

pub(super) fn firewall(config: &Path, args: &FirewallArgs, output: Output) -> Result<(), Failure> {
    let config = load::settings(config, &environment)?;
    let mode = match args.mode {
        ModeArg::Redirect => Mode::Redirect,
        ModeArg::Tproxy => Mode::Tproxy,
        ModeArg::OnlyWayOut => Mode::OnlyWayOut,
    };
    let format = match args.format {
        FormatArg::Nft => Format::Nft,
        FormatArg::Iptables => Format::Iptables,
    };
    let (user, exclude, listeners) = (args.user.clone(), args.exclude.clone(), args.listeners.clone());
    let rules = firewall::rules(&config, &Wanted { mode, user, exclude, listeners }, format);
    let rules = rules.map_err(|error| Failure::Usage(error.into()))?;
    args.user.warning().into_iter().for_each(complain);
    output.print(&Rules { mode: mode.word(), rules }, |printed| printed.rules.trim_end().to_owned())
}

fn prefix(text: &str) -> Result<IpNet, PrefixError> {
    parse_prefix(text)
}
