//! The admin port's files: certificate and key, and the file of tokens; what `check` says of bad ones, and what SIGHUP takes up.
//! Not here: what each key of the file may say (`config::tokens`). Source: RFC 8446, RFC 8996 (no TLS below 1.2).

use std::fs;
use std::path::Path;
use std::time::Instant;

use tempfile::TempDir;

use super::access::new_token;
use crate::harness::{PATIENCE, Proxy, Setup, eventually, write_setup};
use crate::programs::{Finished, finish, program, sallyport};

const ADMIN: &str = "tls: {certificate: admin.pem, key: admin.key}, tokens: tokens.yaml";

/// A certificate for 127.0.0.1 that is its own authority.
pub fn certify(dir: &Path, name: &str, kind: &str) {
    let mut command = program("openssl");
    command.args([
        "req",
        "-x509",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=admin",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-newkey",
    ]);
    command.args(kind.split(' '));
    let made = finish(
        command.arg("-keyout").arg(dir.join(format!("{name}.key"))).arg("-out").arg(dir.join(format!("{name}.pem"))),
        "",
    );
    assert_eq!(made.code, Some(0), "{made:?}");
}

/// A folder with all files, and its token.
fn setup(kind: &str) -> (TempDir, String) {
    let dir = TempDir::new().unwrap();
    certify(dir.path(), "admin", kind);
    let (token, line) = new_token("qsa", "auditor");
    fs::write(dir.path().join("tokens.yaml"), format!("tokens:\n  {line}\n")).unwrap();
    write_setup(dir.path(), &Setup { policy: "rules: []\n", admin: ADMIN, ..Setup::default() });
    (dir, token)
}

/// What curl says of a URL of the admin port: the status, 0 if there is no answer.
fn status(proxy: &Proxy, token: &str, args: &[&str], path: &str) -> String {
    let authority = proxy.dir.path().join("admin.pem");
    let bearer = format!("Authorization: Bearer {token}");
    let mut curl = program("curl");
    curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "20", "-H", &bearer, "--cacert"])
        .arg(authority);
    finish(curl.args(args).arg(format!("https://{}{path}", proxy.admin)), "").out
}

#[test]
fn tls_from_1_2_on_with_either_kind_of_key() {
    for kind in ["ec -pkeyopt ec_paramgen_curve:P-256", "rsa:2048"] {
        let (dir, token) = setup(kind);
        let proxy = Proxy::start_in(dir);
        for (args, path, want) in [
            (&[][..], "/livez", "200"),
            (&["--tlsv1.3"], "/metrics", "200"),
            (&["--tls-max", "1.2"], "/v1/status", "200"),
            (&["--http1.1"], "/v1/nothing", "404"),
            (&["--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0"], "/livez", "000"),
        ] {
            assert_eq!(status(&proxy, &token, args, path), want, "{kind}: {args:?} {path}");
        }
        assert_eq!(status(&proxy, "x", &[], "/v1/status"), "401", "{kind}");
        let plain = finish(
            program("curl").args(["-s", "-i", "--max-time", "20"]).arg(format!("http://{}/livez", proxy.admin)),
            "",
        );
        assert!(plain.code != Some(0) && !plain.out.contains("200"), "{kind}: in the clear: {plain:?}");
        // Whoever does not finish a handshake keeps nobody out.
        let idle: Vec<_> = (0..20).map(|_| std::net::TcpStream::connect(proxy.admin).unwrap()).collect();
        assert_eq!(status(&proxy, &token, &[], "/readyz"), "200", "{kind}");
        drop(idle);
    }
}

fn check(dir: &TempDir) -> Finished {
    finish(sallyport().args(["check", "-c"]).arg(dir.path().join("sallyport.yaml")), "")
}

#[test]
fn check_names_what_is_wrong_with_each_file() {
    for (name, spoil, code, says) in [
        ("all is well", "true", 0, ""),
        ("no certificate", "rm admin.pem", 3, "5:52: admin.pem: No such file"),
        ("no key", "rm admin.key", 3, "5:68: admin.key: No such file"),
        ("no tokens", "rm tokens.yaml", 3, "5:88: tokens.yaml: No such file"),
        ("a key as certificate", "cat admin.key > admin.pem", 2, "5:52: admin.pem: not a certificate in PEM;"),
        ("a certificate as key", "cat admin.pem > admin.key", 2, "5:68: admin.key: not a private key in PEM;"),
        ("half a key", "sed -i 3d admin.key", 2, "5:52: admin.pem: it cannot be used with the key"),
        (
            "another's key",
            "openssl genpkey -algorithm ed25519 > admin.key",
            2,
            "5:52: admin.pem: it cannot be used with the key",
        ),
        ("a key for everybody", "chmod 604 admin.key", 2, "5:68: admin.key: everybody may read or write the key;"),
        ("a key for a group", "chmod 640 admin.key", 0, ""),
        ("tokens by everybody", "chmod 666 tokens.yaml", 2, "5:88: tokens.yaml: everybody may write it,"),
        ("tokens for everybody to read", "chmod 644 tokens.yaml", 0, ""),
        (
            "a token for its hash",
            "sed -i s/sha256:.*/sha256:\\ sallyport_x}/ tokens.yaml",
            2,
            "tokens.yaml:2:42: `sha256` is no SHA-256;",
        ),
    ] {
        let (dir, _) = setup("ec -pkeyopt ec_paramgen_curve:P-256");
        let spoilt = finish(program("sh").args(["-c", spoil]).current_dir(&dir), "");
        assert_eq!(spoilt.code, Some(0), "{name}: {spoilt:?}");
        let key = fs::read_to_string(dir.path().join("admin.key")).unwrap_or_default();
        let checked = check(&dir);
        let said = checked.err.replace(&format!("{}/", dir.path().display()), "");
        assert_eq!(checked.code, Some(code), "{name}: {said}");
        assert!(said.contains(says) && said.lines().count() == usize::from(code != 0), "{name}: {said}");
        let repeats = key
            .lines()
            .chain(["sallyport_x"])
            .find(|line| line.len() > 10 && !line.starts_with('-') && said.contains(line));
        assert_eq!(repeats, None, "{name}: {said}");
    }
}

#[test]
fn tokens_are_refused_where_they_would_be_overheard() {
    let (dir, _) = setup("rsa:2048");
    let config = fs::read_to_string(dir.path().join("sallyport.yaml")).unwrap();
    let files = "tls: {certificate: admin.pem, key: admin.key}, ";
    for (address, tls, code) in [("0.0.0.0:0", "", 2), ("127.0.0.2:0", "", 0), ("0.0.0.0:0", files, 0)] {
        let config = config
            .replace("address: \"127.0.0.1:0\", tls", &format!("address: \"{address}\", tls"))
            .replace(files, tls);
        fs::write(dir.path().join("sallyport.yaml"), config).unwrap();
        let checked = check(&dir);
        assert_eq!(checked.code, Some(code), "{address}: {checked:?}");
        let says = "`tokens` would cross the network in the clear to `0.0.0.0:0`;";
        assert_eq!(checked.err.contains(says), code == 2, "{address}: {checked:?}");
    }
}

#[test]
fn a_reload_takes_tokens_and_certificate_up_or_keeps_the_old_ones() {
    let (dir, old) = setup("rsa:2048");
    let proxy = Proxy::start_in(dir);
    let named = |result: &'static str, added: usize| {
        move |record: &serde_json::Value| {
            let detail = &record["detail"];
            detail["what"] == "admin_tokens"
                && detail["result"] == result
                && detail["added"].as_array().map_or(0, Vec::len) == added
        }
    };
    let first = proxy.record("the tokens at the start", named("in_force", 1));
    assert_eq!(
        (&first["detail"]["added"][0], first["detail"]["removed"].as_array().unwrap().len()),
        (&"qsa".into(), 0),
        "{first}"
    );
    let (new, line) = new_token("next", "operator");
    let file = proxy.dir.path().join("tokens.yaml");
    fs::write(&file, "tokens: [{name: a}]\n").unwrap();
    proxy.signal("HUP");
    let refused = proxy.record("the refused ones", |record| record["detail"]["result"] == "refused");
    assert!(refused["detail"]["error"].as_str().unwrap().contains("a token lacks `role`"), "{refused}");
    assert_eq!(
        (status(&proxy, &old, &[], "/v1/status"), status(&proxy, &new, &[], "/v1/status")),
        ("200".into(), "401".into())
    );

    fs::write(&file, format!("tokens:\n{line}\n")).unwrap();
    certify(proxy.dir.path(), "admin", "ec -pkeyopt ec_paramgen_curve:P-256");
    proxy.signal("HUP");
    let taken = eventually("the new ones", Instant::now() + PATIENCE, || {
        proxy
            .records()
            .into_iter()
            .rev()
            .find(named("in_force", 1))
            .filter(|record| record["detail"]["added"][0] == "next")
    });
    assert_eq!(taken["detail"]["removed"][0], "qsa", "{taken}");
    // The certificate that curl trusts is the new one alone.
    assert_eq!(
        (status(&proxy, &old, &[], "/v1/policy/reload"), status(&proxy, &new, &["-X", "POST"], "/v1/policy/reload")),
        ("401".into(), "200".into())
    );
}
