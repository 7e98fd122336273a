//! The tables of the bench, and their place on the page.
//! Not here: the figures.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;

use super::{CLEAN_LINES, Figures, Texts};

/// Between these the page is the bench's.
const BEGIN: &str = "<!-- redaction:begin -->\n";
const END: &str = "<!-- redaction:end -->";

/// What every recogniser of card numbers is written for.
const USUAL: [&str; 3] = ["bare", "blank", "dash"];

/// The tables as Markdown.
pub fn tables(texts: &Texts, figures: &[Figures], devices: &[(&str, usize)]) -> String {
    let mut given = BTreeMap::<&str, u64>::new();
    for positive in &texts.positives {
        *given.entry(positive.form).or_default() += 1;
    }
    let all: u64 = given.values().sum();
    let brands: BTreeSet<&str> = texts.positives.iter().map(|positive| positive.brand).collect();
    let contexts: BTreeSet<&str> = texts.positives.iter().map(|positive| positive.context).collect();
    let usual: u64 = USUAL.iter().map(|form| given[form]).sum();
    let mut page = format!(
        "| | recall, all {all} of {} brands in {} surroundings | recall, bare and in groups with blanks or dashes ({usual}) | false hits in {CLEAN_LINES} clean lines | \
         MB/s, JSON lines, one core | ns a record |\n|---|---|---|---|---|---|\n",
        brands.len(),
        contexts.len()
    );
    for Figures { name, found, false_hits, mb_per_s, ns_per_record } in figures {
        let of = |forms: &[&str]| forms.iter().filter_map(|form| found.get(*form)).sum::<u64>();
        let every: Vec<&str> = given.keys().copied().collect();
        let [all, usual] = [(of(&every), all), (of(&USUAL), usual)].map(|(found, given)| found as f64 / given as f64);
        writeln!(page, "| {name} | {all:.3} | {usual:.3} | {false_hits} | {mb_per_s:.0} | {ns_per_record:.0} |")
            .expect("a string takes everything");
    }
    let devices: Vec<String> = devices.iter().map(|(name, hits)| format!("{name} {hits}")).collect();
    let names: Vec<&str> = figures.iter().map(|figures| figures.name.as_str()).collect();
    write!(
        page,
        "\nNumbers of devices that have a card's check digit and are taken for a card's, of 10,000 each, sallyport: {}.\n\n\
         | form | given | {} |\n|---|---|{}\n",
        devices.join(", "),
        names.join(" | "),
        "---|".repeat(names.len())
    )
    .expect("a string takes everything");
    for (form, given) in &given {
        let found = figures.iter().map(|figures| figures.found.get(*form).copied().unwrap_or_default().to_string());
        writeln!(page, "| `{form}` | {given} | {} |", found.collect::<Vec<_>>().join(" | "))
            .expect("a string takes everything");
    }
    page
}

/// Puts them where the page has its marks.
pub fn write(path: &str, tables: &str) {
    let page = fs::read_to_string(path).expect("the page");
    let (before, rest) = page.split_once(BEGIN).expect("the page's mark");
    let (_, after) = rest.split_once(END).expect("the page's second mark");
    fs::write(path, format!("{before}{BEGIN}{tables}{END}{after}")).expect("a page that can be written");
}
