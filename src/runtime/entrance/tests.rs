//! Listeners' files, read from a configuration as it will be checked, and read again.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::*;
use crate::config::{Credential, StaleCrl};
use crate::runtime::client_auth::CertificateFault;
use crate::runtime::client_auth::testing::{Authority, DAY, Terms, files};
use crate::runtime::egress::Pools;
use crate::runtime::{load, testing};
use crate::yaml::{Located, Place};

const POLICY: &str = "version: 1\nsources: [{name: a, subnets: [10.0.0.0/24]}]\n";

/// One listener with all files, another one with none.
struct Fixture {
    folder: tempfile::TempDir,
    config: Config,
    authority: Authority,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("top");
    fs::write(folder.path().join("sallyport.yaml"), CONFIG).unwrap();
    let mut config = load::settings(&folder.path().join("sallyport.yaml"), &|_| None).unwrap();
    let credentials = folder.path().join("credentials.yaml").display().to_string();
    let place = Place { file: 0, line: 7, column: 8 };
    let edge = &mut config.listeners[0];
    edge.tls = Some(files(folder.path(), &authority.pem(), Some(&authority.list_pem(&[], DAY)), StaleCrl::Refuse));
    edge.credentials = Some(Located { value: credentials, place });
    let fixture = Fixture { folder, config, authority };
    fixture.write_credentials(&["batch-1"]);
    fixture
}

const CONFIG: &str = "instance: edge-1
listeners: [{name: edge, address: '127.0.0.1:0'}, {name: plain, address: '127.0.0.1:0'}]
policy: policy.yaml
";

impl Fixture {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write_credentials(&self, names: &[&str]) {
        let line =
            |(number, name): (u8, &&str)| format!("- {}\n", Credential::new(name, &[number; 32], &[7; 16]).unwrap().0);
        let lines: String = (1..).zip(names).map(line).collect();
        fs::write(self.path("credentials.yaml"), format!("credentials:\n{lines}")).unwrap();
    }

    /// What the files hold now, and what is wrong with them.
    fn read_again(&self, entrances: &Entrances) -> (Reread, Vec<String>) {
        let mut reading = Reading::behind("sallyport.yaml".to_owned());
        let read = entrances.read_again(&self.config.listeners, &mut reading);
        (read, reading.end().lines().to_vec())
    }

    fn read(&self) -> Result<Entrances, Vec<String>> {
        let mut reading = Reading::behind("sallyport.yaml".to_owned());
        let entrances = Entrances::read(&self.config, &mut reading);
        if reading.faults.is_empty() { Ok(entrances) } else { Err(reading.end().lines().to_vec()) }
    }
}

fn told(folder: &Path) -> Vec<Value> {
    let records = testing::records(folder).into_iter().filter(|record| record["kind"] == "admin");
    records.map(|record| record["detail"].clone()).collect()
}

#[test]
fn a_listener_has_what_its_files_say() {
    let fixture = fixture();
    let entrances = fixture.read().unwrap();
    let [edge, plain] = entrances.iter().collect::<Vec<_>>()[..] else { panic!("two listeners") };
    assert_eq!((&*edge.name, edge.mode, edge.senders.is_empty()), ("edge", Mode::Connect, true));
    assert!(edge.tls().is_some() && edge.credentials().is_some());
    assert!(plain.tls().is_none() && plain.credentials().is_none());
}

#[test]
fn senders_are_those_of_the_configuration() {
    let mut fixture = fixture();
    fixture.config.listeners[1].proxy_protocol = Box::new(["10.0.0.0/28".parse().unwrap()]);
    let entrances = fixture.read().unwrap();
    let plain = entrances.iter().last().unwrap();
    for (address, want) in [("10.0.0.1", true), ("10.0.0.16", false), ("::ffff:10.0.0.1", true)] {
        assert_eq!(plain.senders.contains(address.parse().unwrap()), want, "{address}");
    }
}

#[test]
fn every_fault_is_told_at_its_place_and_nothing_is_in_force() {
    let fixture = fixture();
    fs::write(fixture.path("clients.pem"), "").unwrap();
    fs::write(fixture.path("proxy.pem"), "").unwrap();
    fs::write(fixture.path("credentials.yaml"), "credentials: []").unwrap();
    let said = fixture.read().err().unwrap();
    for want in [
        "sallyport.yaml:1:1: ",
        "clients.pem: no certificate",
        "proxy.pem: not a certificate",
        "credentials.yaml:1:14: ",
    ] {
        assert!(said.iter().any(|line| line.contains(want)), "{want}: {said:?}");
    }
    assert_eq!(said.len(), 3, "{said:?}");
}

#[test]
fn a_reload_is_whole_or_nothing_and_on_record() {
    let fixture = fixture();
    let folder = tempfile::tempdir().unwrap();
    let (shared, _) = testing::shared(folder.path(), POLICY, Pools::default());
    let entrances = fixture.read().unwrap();
    entrances.begin(&shared);
    let edge = entrances.iter().next().unwrap();
    let (tls, credentials) = (edge.tls().unwrap(), edge.credentials().unwrap());
    let client = fixture.authority.client(&[], &Terms { serial: 13, ..Terms::default() });
    let shown = tls.certificate(&client.chain, clock::now()).unwrap();
    assert_eq!(edge.tls().unwrap().still_holds(&shown, clock::now()), Ok(()));

    fixture.write_credentials(&["batch-1", "mail"]);
    fs::write(fixture.path("clients.crl"), "").unwrap();
    let (_, faults) = fixture.read_again(&entrances);
    assert!(faults.iter().any(|fault| fault.contains("clients.crl: no list of revoked certificates")), "{faults:?}");
    assert!(Arc::ptr_eq(&edge.tls().unwrap(), &tls) && Arc::ptr_eq(&edge.credentials().unwrap(), &credentials));

    fs::write(fixture.path("clients.crl"), fixture.authority.list_pem(&[13], DAY)).unwrap();
    fixture.write_credentials(&["other", "mail"]);
    let (read, faults) = fixture.read_again(&entrances);
    assert_eq!(faults, [""; 0]);
    entrances.reloaded(&shared, read);
    let revoked = Err(CertificateFault::Revoked);
    assert_eq!(edge.tls().unwrap().still_holds(&shown, clock::now()), revoked);

    assert!(!shared.journal().shutdown().any());
    let told = told(folder.path());
    let [begun, taken] = told.as_slice() else { panic!("{told:?}") };
    let in_force = |count: u64, added: &[&str], removed: &[&str]| json!({"what": "listener_files", "listener": "edge", "result": "in_force", "credentials": count, "added": added, "removed": removed});
    assert_eq!(*begun, in_force(1, &["batch-1"], &[]));
    assert_eq!(*taken, in_force(2, &["other", "mail"], &["batch-1"]));
}

#[test]
fn the_ends_of_certificate_and_list_are_metrics() {
    let fixture = fixture();
    let folder = tempfile::tempdir().unwrap();
    let (shared, _) = testing::shared(folder.path(), POLICY, Pools::default());
    let entrances = fixture.read().unwrap();
    entrances.begin(&shared);
    let tls = entrances.iter().next().unwrap().tls().unwrap();
    let page = String::from_utf8(shared.metrics_page().unwrap()).unwrap();
    for (name, at) in [
        ("sallyport_certificate_expiry_timestamp_seconds{name=\"listener:edge\"}", tls.expires()),
        ("sallyport_crl_next_update_timestamp_seconds{listener=\"edge\"}", tls.next_update().unwrap().0),
    ] {
        let line = format!("{name} {}", at.as_second());
        assert!(page.lines().any(|other| other == line), "{line}");
    }
    assert!(!page.contains("plain"), "a listener without files has none");
    assert!(!shared.journal().shutdown().any());
}
