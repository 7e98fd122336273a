//! What a reload takes back from clients that are in, and what it leaves: lists that have ended, credentials that were removed.
//! Not here: certificates that were revoked (`secure_listeners`). Source: the contract's "Reload".

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::certificates::{Client, Dial, REQUIRED, SERIALS, folder};
use super::harness::Proxy;
use super::origins::Origin;
use super::programs::{finish, sallyport};
use super::secure_listeners::{CREDENTIALS, IDENTITIES, close_of, reload};

/// Makes a credential as an operator would, and gives its secret and its line.
fn made(name: &str) -> (String, String) {
    let made = finish(sallyport().args(["keys", "new", "credential", name]), "");
    let (secret, line) = made.out.split_once('\n').unwrap();
    (secret.to_owned(), line.to_owned())
}

/// Writes the file of credentials.
fn write_credentials(dir: &Path, lines: &[&str]) {
    fs::write(dir.join("credentials.yaml"), format!("credentials:\n{}", lines.concat())).unwrap();
}

/// Whom it revokes is not known any more: nobody new comes in, and nobody who is in is cut.
#[test]
fn a_stale_list_refuses_what_is_new_and_cuts_nothing() {
    let origin = Origin::start();
    let (dir, authority) = folder(REQUIRED, &IDENTITIES, origin.port(), "");
    let proxy = Proxy::start_in(dir);
    let mut client = Client::connect(proxy.dir.path(), proxy.edge, &Dial::default());
    let stream = client.open(origin.port());
    let order = json!(["open", format!("api.acme.test:{}", origin.port()), "api.acme.test"]);
    fs::write(proxy.dir.path().join("ca.crl"), authority.list_until(&[], -60)).unwrap();
    for time in ["first", "second"] {
        assert_eq!(reload(&proxy)["detail"]["result"], "in_force");
        let seen = client.order(&order);
        assert_eq!(
            (&seen["status"], &seen["reason"]),
            (&json!(403), &json!("client_certificate_invalid")),
            "the {time} time: {seen}"
        );
        assert!(client.echoes(stream, 100_000), "the {time} time");
    }
    let its = |record: &Value| record["client_port"] == client.port() && record["outcome"] == "deny";
    assert_eq!(proxy.record("its refusal", its)["detail"]["certificate"], "crl_stale");
    fs::write(proxy.dir.path().join("ca.crl"), authority.list_until(&[SERIALS[0]], -60)).unwrap();
    assert_eq!(reload(&proxy)["detail"]["result"], "in_force");
    assert_eq!(close_of(&proxy, client.port())["reason"], "revoked", "a stale list still says who is on it");
}

#[test]
fn a_credential_that_is_removed_or_replaced_cuts_its_tunnels_and_no_others() {
    let origin = Origin::start();
    let names = ["stays", "goes", "changes"];
    let identities = names.map(|name| format!("login:{name}"));
    let (dir, _) = folder(CREDENTIALS, &identities.each_ref().map(String::as_str), origin.port(), "");
    let made_first = names.map(made);
    write_credentials(dir.path(), &made_first.each_ref().map(|(_, line)| line.as_str()));
    let proxy = Proxy::start_in(dir);
    let order = |name: &str, secret: &str| {
        let field = [["proxy-authorization", &format!("Bearer {name}.{secret}")]];
        json!(["open", format!("api.acme.test:{}", origin.port()), "api.acme.test", field])
    };
    let mut clients: Vec<(&str, &str, Client, u64)> = Vec::new();
    for (name, (secret, _)) in names.iter().zip(&made_first) {
        let dial = Dial { certificate: "", ..Dial::default() };
        let mut client = Client::connect(proxy.dir.path(), proxy.edge, &dial);
        let opened = client.order(&order(name, secret));
        assert_eq!((&opened["status"], &opened["end"]), (&json!(200), &Value::Null), "{name}: {opened}");
        clients.push((name, secret, client, opened["stream"].as_u64().unwrap()));
    }
    write_credentials(proxy.dir.path(), &[&made_first[0].1, &made("changes").1]);
    assert_eq!(reload(&proxy)["detail"]["result"], "in_force");
    for (name, secret, client, stream) in &mut clients {
        let seen = client.order(&order(name, secret));
        if *name == "stays" {
            assert!(client.echoes(*stream, 100_000), "{name} lives");
            assert_eq!(seen["status"], 200, "{name}: {seen}");
            continue;
        }
        let close = close_of(&proxy, client.port());
        let told = (&close["reason"], &close["client_identity"]);
        assert_eq!(told, (&json!("revoked"), &json!(format!("login:{name}"))), "{name}: {close}");
        assert_eq!((&seen["status"], &seen["reason"]), (&json!(403), &json!("credentials_wrong")), "{name}: {seen}");
    }
}
