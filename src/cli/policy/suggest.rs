//! `sallyport policy suggest`: a policy file out of what report mode observed.
//! Not here: the rules (`foresight`), reading the log (`swept`).

use std::path::Path;

use clap::Args;

use super::swept::{Swept, WindowArgs};
use super::{Failure, Output};
use crate::cli::output::complain;
use crate::decision_log::Criteria;
use crate::foresight::{Observed, Suggestion};
use crate::runtime::archive::Gather;

#[derive(Args)]
pub(in crate::cli) struct SuggestArgs {
    #[command(flatten)]
    window: WindowArgs,
}

pub(super) fn suggest(config: &Path, args: &SuggestArgs, output: Output) -> Result<(), Failure> {
    let swept = Swept::open(config, &args.window)?;
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let criteria = Criteria {
        since: swept.since,
        kind: words(&["decision", "close"]),
        outcome: words(&["observe"]),
        ..Criteria::default()
    };
    let gather = Gather { begin: &Observed::default, take: &|observed: &mut Observed, found| observed.add(found) };
    let mut all = Observed::default();
    swept.all(criteria, &gather)?.into_iter().for_each(|part| all.merge(part));
    let suggestion = Suggestion::new(all);
    output.print(&suggestion, |suggestion| suggestion.to_string().trim_end().to_owned())?;
    if suggestion.window.records == 0 {
        complain("report mode observed nothing; a source in report mode has `mode: report`");
        return Err(Failure::No);
    }
    complain("no hash was checked; `sallyport audit verify` proves the log");
    Ok(())
}
