//! `sallyport demo`: the whole product on loopback, with an origin, a policy and requests of its own.
//! Not here: any special path through the product; the proxy runs from files, as `run` would run it.

mod origin;
mod records;
mod requests;
mod setting;

use std::time::Duration;

use anyhow::Context;
use clap::Args;

use super::output::say;
use super::{Failure, environment, run};
use crate::runtime::listeners::Inherited;
use crate::runtime::load;
use crate::runtime::server::{Begins, Server};
use origin::Origin;
use requests::{Case, Seen};
use setting::Setting;

#[derive(Args)]
pub(super) struct DemoArgs {
    /// Use free ports, exit when done: 0 only if every request came out as expected
    #[arg(long)]
    once: bool,
}

/// How long one request of the demo may take, and its record to be found.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn demo(args: &DemoArgs) -> Result<(), Failure> {
    let outside = |error: anyhow::Error| Failure::Outside(error);
    let origin = Origin::start().context("cannot start the demo's origin").map_err(outside)?;
    let setting = Setting::write(&origin, args.once).context("cannot write the demo's folder").map_err(outside)?;
    say(&format!("folder    {}", setting.folder.display()))?;
    let loaded = load::load(&setting.config, &environment)?;
    let mut server = Server::start(loaded, Begins::Anew(Inherited::default()), environment)?;
    let proxy = server.listeners().first().and_then(|(_, place)| place.tcp());
    let proxy = proxy.context("the demo has no listener").map_err(outside)?;
    say(&format!(
        "proxy     {proxy}\nadmin     http://{}/metrics\norigin    https://127.0.0.1:{}\n",
        server.admin(),
        origin.port
    ))?;

    let cases = requests::cases(origin.port);
    let seen = requests::send_all(proxy, &origin, &cases).map_err(outside)?;
    let good = show(&setting, &cases, &seen)?;
    let log = &setting.log;
    let signed = records::verified(log, PATIENCE).map_err(outside)?;
    let (size, root) = (signed.size, signed.root);
    say(&format!("log       ok {size} {root}: {size} records as they were signed, in {}\n", log.display()))?;
    if !args.once {
        say(&curl_lines(proxy, &origin, &setting))?;
        say("serving; Ctrl-C ends it")?;
        let serving = run::Control::new().and_then(|control| control.serve(&mut server));
        serving.map_err(|error| Failure::Outside(error.into()))?;
    }
    server.finish().map_err(|error| Failure::Outside(error.into()))?;
    if good { Ok(()) } else { Err(Failure::No) }
}

/// Prints what each request came to and whether its record says the same. Whether all is as expected.
fn show(setting: &Setting, cases: &[Case], seen: &[Seen]) -> Result<bool, Failure> {
    let mut good = true;
    for (case, seen) in cases.iter().zip(seen) {
        let record = records::find(&setting.log, seen.client_port, PATIENCE).map_err(Failure::Outside)?;
        let as_expected = record.reason == case.reason && seen.fits(case);
        let id_fits = seen.decision_id.as_ref().is_none_or(|id| *id == record.id);
        good &= as_expected && id_fits;
        let mark = if as_expected && id_fits { "ok " } else { "BAD" };
        say(&format!(
            "{mark} {:<52} {:<6} {:<26} record {} {}",
            case.what, record.outcome, record.reason, record.seq, record.id
        ))?;
    }
    let count = seen.len();
    say(&format!("\n{count} requests, {count} records found by client and id in {}", setting.log.display()))?;
    Ok(good)
}

fn curl_lines(proxy: std::net::SocketAddr, origin: &Origin, setting: &Setting) -> String {
    let ca = setting.folder.join("origin-ca.pem");
    let port = origin.port;
    format!(
        "try:\n  curl -x http://{proxy} --cacert {} https://api.acme.test:{port}/\n  curl -x http://{proxy} http://api.acme.test/\n  \
         curl -v -x http://{proxy} https://unlisted.example/\n  {sallyport} audit query {log}\n  {sallyport} audit verify {log}\n",
        ca.display(),
        sallyport = std::env::current_exe().map_or("sallyport".to_owned(), |path| path.display().to_string()),
        log = setting.log.display(),
    )
}
