//! Every kind of client certificate, with TLS 1.2 and 1.3: what the listener makes of it, and the alert that the client gets.

use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa};

use super::*;

const ID: &str = "spiffe://voice.example/ivr/east";

const NAME: &str = "ivr-1.voice.example";

/// Authorities, those of `client_ca` first.
struct Pki {
    top: Authority,
    east: Authority,
    withdrawn: Authority,
    narrow: Authority,
    other: Authority,
    namesake: Authority,
    deep: Authority,
}

/// What is tried, the client, identities or the reason with its detail, and the alert.
type Row = (&'static str, Option<Client>, &'static str, Option<AlertDescription>);

impl Pki {
    fn new() -> Self {
        let top = Authority::new("top");
        let mut params = Authority::params("narrow", TODAY);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let deep =
            (30..34).fold(Authority::new("deep"), |above, serial| above.below(&format!("level {serial}"), serial));
        Self {
            east: top.below("east", 20),
            withdrawn: top.below("withdrawn", 21),
            narrow: top.below_with(params),
            other: Authority::new("other"),
            namesake: Authority::new("top"),
            deep,
            top,
        }
    }

    fn listener(&self) -> Arc<ListenerTls> {
        let Self { top, east, withdrawn, narrow, .. } = self;
        let authorities: String = [top, east, withdrawn, narrow].map(Authority::pem).concat();
        let lists = [(top, &[13, 21][..]), (east, &[14]), (withdrawn, &[]), (narrow, &[])];
        let lists: String = lists.map(|(authority, revoked)| authority.list_pem(revoked, DAY)).concat();
        listener(&authorities, Some(&lists), StaleCrl::Refuse)
    }

    /// Good certificates, and who their clients are.
    fn good(&self) -> Vec<Row> {
        let client = |names: &[rcgen::SanType]| Some(self.top.client(names, &Terms::default()));
        let below = || self.east.client(&[uri(ID)], &Terms::default());
        let any_purpose = Terms { purposes: vec![], ..Terms::default() };
        let alone = |mut client: Client| {
            client.chain.truncate(1);
            client
        };
        vec![
            ("SPIFFE", client(&[uri(ID)]), ID, None),
            ("DNS", client(&[dns(NAME)]), NAME, None),
            (
                "two DNS names",
                client(&[dns("A.voice.example"), dns(NAME)]),
                "a.voice.example ivr-1.voice.example",
                None,
            ),
            ("a wildcard", client(&[dns("*.voice.example"), dns(NAME)]), NAME, None),
            ("a CN alone", client(&[]), "", None),
            ("two URIs", client(&[uri(ID), uri("spiffe://voice.example/b")]), "", None),
            ("two URIs and a name", client(&[uri(ID), uri("https://b.example"), dns(NAME)]), "", None),
            ("a SPIFFE ID and a name", client(&[uri(ID), dns(NAME)]), ID, None),
            ("another URI and a name", client(&[uri("https://b.example/"), dns(NAME)]), NAME, None),
            ("any purpose", Some(self.top.client(&[uri(ID)], &any_purpose)), ID, None),
            ("of an authority between", Some(below()), ID, None),
            ("of one between that it does not show", Some(alone(below())), ID, None),
        ]
    }

    /// Certificates that lists speak of, or none does.
    fn listed(&self) -> Vec<Row> {
        use AlertDescription::*;
        let of =
            |authority: &Authority, serial| Some(authority.client(&[uri(ID)], &Terms { serial, ..Terms::default() }));
        let revoked = |row, client| (row, client, "client_certificate_revoked revoked", Some(CertificateRevoked));
        let unlisted = of(&self.top.below("unlisted", 22), 7);
        vec![
            revoked("revoked", of(&self.top, 13)),
            revoked("revoked below", of(&self.east, 14)),
            revoked("of a revoked authority", of(&self.withdrawn, 7)),
            ("of one without a list", unlisted, "client_certificate_invalid revocation_unknown", Some(UnknownCA)),
            ("another authority's revoked number", of(&self.east, 13), ID, None),
        ]
    }

    /// Certificates that are no good.
    fn bad(&self) -> Vec<Row> {
        use AlertDescription::*;
        let of = |authority: &Authority| Some(authority.client(&[uri(ID)], &Terms::default()));
        let with = |terms: Terms| Some(self.top.client(&[uri(ID)], &terms));
        let good = Terms::default;
        let stolen = of(&self.top).zip(of(&self.top)).map(|(shown, own)| Client { key: own.key, ..shown });
        let deeper = self.deep.below("level 34", 34);
        let for_servers = vec![ExtendedKeyUsagePurpose::ServerAuth];
        vec![
            ("none", None, "identity_required", Some(CertificateRequired)),
            (
                "ended",
                with(Terms { span: (-2 * DAY, -1), ..good() }),
                "client_certificate_invalid expired",
                Some(CertificateExpired),
            ),
            (
                "not begun",
                with(Terms { span: (DAY, 2 * DAY), ..good() }),
                "client_certificate_invalid not_yet_valid",
                Some(CertificateExpired),
            ),
            ("another authority", of(&self.other), "client_certificate_invalid unknown_issuer", Some(UnknownCA)),
            (
                "another authority of the name",
                of(&self.namesake),
                "client_certificate_invalid bad_signature",
                Some(DecryptError),
            ),
            (
                "signed by itself",
                Some(Client::self_signed(&[uri(ID)])),
                "client_certificate_invalid unknown_issuer",
                Some(UnknownCA),
            ),
            (
                "for servers",
                with(Terms { purposes: for_servers, ..good() }),
                "client_certificate_invalid not_for_clients",
                Some(UnsupportedCertificate),
            ),
            ("too long", of(&deeper), "client_certificate_invalid chain_too_long", Some(CertificateUnknown)),
            (
                "an authority's own",
                with(Terms { is_authority: true, ..good() }),
                "client_certificate_invalid not_permitted",
                Some(CertificateUnknown),
            ),
            (
                "below the last",
                of(&self.narrow.below("lower", 23)),
                "client_certificate_invalid not_permitted",
                Some(CertificateUnknown),
            ),
            ("without its key", stolen, "client_certificate_invalid bad_signature", Some(DecryptError)),
        ]
    }
}

fn told(shaken: &Result<Shaken<TcpStream>, HandshakeFailure>) -> String {
    match shaken {
        Ok(shaken) => {
            let identities = shaken.certificate.as_ref().map(|shown| shown.identities().to_vec()).unwrap_or_default();
            identities.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        }
        Err(failure) => {
            let reason = failure.denial().map(|denial| denial.reason().as_str());
            let fault = failure.certificate().map(CertificateFault::as_str);
            [reason, fault].into_iter().flatten().collect::<Vec<_>>().join(" ")
        }
    }
}

#[tokio::test]
async fn every_kind_of_certificate_by_table() {
    let pki = Pki::new();
    let tls = pki.listener();
    for (row, client, want, alert) in [pki.good(), pki.listed(), pki.bad()].into_iter().flatten() {
        for version in [&TLS12, &TLS13] {
            let (shaken, heard) = meet(client_config(client.as_ref(), version, &[]), &tls).await;
            assert_eq!(told(&shaken), want, "{row}, {version:?}");
            assert_eq!(heard, alert, "{row}, {version:?}");
        }
    }
}

/// Five certificates are looked at: the client's, three between and one at the top.
#[tokio::test]
async fn a_chain_may_have_five_certificates() {
    let top = Authority::new("top");
    let low = top.below("a", 2).below("b", 3).below("c", 4);
    let tls = listener(&top.pem(), None, StaleCrl::Refuse);
    let mut client = low.client(&[uri(ID)], &Terms::default());
    client.chain.push(top.der());
    for (count, want) in [(5, ID), (6, "client_certificate_invalid chain_too_long")] {
        client.chain.resize(count, top.der());
        let (shaken, _) = meet(client_config(Some(&client), &TLS13, &[]), &tls).await;
        assert_eq!(told(&shaken), want, "{count} certificates");
    }
}

#[tokio::test]
async fn a_stale_list_refuses_or_counts_as_is_set() {
    let top = Authority::new("top");
    for (stale, next_update, serial, want) in [
        (StaleCrl::Refuse, DAY, 7, ID),
        (StaleCrl::Refuse, -1, 7, "client_certificate_invalid crl_stale"),
        (StaleCrl::Refuse, -1, 13, "client_certificate_invalid crl_stale"),
        (StaleCrl::Warn, DAY, 7, ID),
        (StaleCrl::Warn, -1, 7, ID),
        (StaleCrl::Warn, -1, 13, "client_certificate_revoked revoked"),
    ] {
        let tls = listener(&top.pem(), Some(&top.list_pem(&[13], next_update)), stale);
        let client = top.client(&[uri(ID)], &Terms { serial, ..Terms::default() });
        let (shaken, _) = meet(client_config(Some(&client), &TLS13, &[]), &tls).await;
        assert_eq!(told(&shaken), want, "{stale:?}, {next_update}, {serial}");
    }
}

#[tokio::test]
async fn without_lists_nobody_is_revoked() {
    let top = Authority::new("top");
    let tls = listener(&top.pem(), None, StaleCrl::Refuse);
    let client = top.client(&[uri(ID)], &Terms { serial: 13, ..Terms::default() });
    let (shaken, _) = meet(client_config(Some(&client), &TLS13, &[]), &tls).await;
    assert_eq!(told(&shaken), ID);
}
