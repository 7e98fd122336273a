//! A listener's files, and certificates that are looked at again later.

use std::fs;

use super::super::testing::*;
use super::*;
use crate::runtime::clock;

fn shown(tls: &ListenerTls, client: &Client) -> ClientCertificate {
    tls.certificate(&client.chain, clock::now()).unwrap()
}

fn after(seconds: i64) -> Timestamp {
    clock::now() + jiff::SignedDuration::from_secs(seconds)
}

#[test]
fn a_certificate_is_judged_by_what_is_in_force_now() {
    let (top, other) = (Authority::new("top"), Authority::new("other"));
    let client = top.client(&[], &Terms { serial: 13, ..Terms::default() });
    let with = |authority: &Authority, revoked: &[u64]| {
        listener(&authority.pem(), Some(&authority.list_pem(revoked, 2 * DAY)), StaleCrl::Refuse)
    };
    let (good, revoking, forgetting) = (with(&top, &[]), with(&top, &[13]), with(&other, &[]));
    let shown = shown(&good, &client);
    for (row, tls, want) in [
        ("as it was", &good, Ok(())),
        ("once more", &good, Ok(())),
        ("revoked since", &revoking, Err(CertificateFault::Revoked)),
        ("its authority is gone", &forgetting, Err(CertificateFault::UnknownIssuer)),
        ("all taken back", &good, Ok(())),
    ] {
        assert_eq!(tls.still_holds(&shown, clock::now()), want, "{row}");
    }
    assert_eq!(anonymous().still_holds(&shown, clock::now()), Ok(()), "nobody is asked for one any more");
}

#[test]
fn what_ends_while_a_client_is_there_ends_it() {
    let (long, short) = ((-DAY, 10 * DAY), (-DAY, 3600));
    let client = |authority: &Authority, span| authority.client(&[], &Terms { span, ..Terms::default() });
    let top = |span| Authority::with(Authority::params("top", span));
    let (expired, crl_stale) = (Err(CertificateFault::Expired), Err(CertificateFault::CrlStale));
    for (row, top_span, between_span, own_span, list, stale, want) in [
        ("nothing", long, long, long, 10 * DAY, StaleCrl::Refuse, Ok(())),
        ("its own", long, long, short, 10 * DAY, StaleCrl::Refuse, expired),
        ("one between", long, short, long, 10 * DAY, StaleCrl::Refuse, expired),
        ("the top", short, long, long, 10 * DAY, StaleCrl::Refuse, expired),
        ("a list", long, long, long, 3600, StaleCrl::Refuse, crl_stale),
        ("a list that counts on", long, long, long, 3600, StaleCrl::Warn, Ok(())),
    ] {
        let top = top(top_span);
        let between = top.below_with(Authority::params("between", between_span));
        let lists = [top.list_pem(&[], list), between.list_pem(&[], list)].concat();
        let tls = listener(&[top.pem(), between.pem()].concat(), Some(&lists), stale);
        let shown = shown(&tls, &client(&between, own_span));
        assert_eq!(tls.still_holds(&shown, clock::now()), Ok(()), "{row}, now");
        assert_eq!(tls.still_holds(&shown, after(3599 - 60)), Ok(()), "{row}, before its end");
        assert_eq!(tls.still_holds(&shown, after(3601)), want, "{row}, an hour later");
        assert!(!tls.has_revoked(&shown, after(3601)), "{row}: what is open is not cut");
        assert_eq!(tls.still_holds(&shown, clock::now()), Ok(()), "{row}, by a clock that was set back");
    }
}

/// Whatever else of it has ended or begun: the client's own certificate, a list, or its authority's, renewed with the same key.
#[test]
fn only_what_is_taken_back_cuts_what_is_open() {
    let (top, other, namesake) = (Authority::new("top"), Authority::new("other"), Authority::new("top"));
    let client = top.client(&[], &Terms { serial: 13, span: (-DAY, 60), ..Terms::default() });
    let renewed = |span| top.renewed(Authority::params("top", span)).pem();
    let (begun, ends) = (renewed((0, DAY)), renewed((-DAY, 120)));
    let with = |authority: &str, list: &str, stale| listener(authority, Some(list), stale);
    let (no, long, short) = (top.list_pem(&[], 10 * DAY), top.list_pem(&[13], 10 * DAY), top.list_pem(&[13], -60));
    let shown = shown(&with(&top.pem(), &no, StaleCrl::Refuse), &client);
    for (row, tls, cut) in [
        ("nothing", with(&top.pem(), &no, StaleCrl::Refuse), false),
        ("no list", listener(&top.pem(), None, StaleCrl::Refuse), false),
        ("nobody is asked", anonymous(), false),
        ("the authority's has begun since", with(&begun, &no, StaleCrl::Refuse), false),
        ("the authority's has ended since", with(&ends, &no, StaleCrl::Refuse), false),
        ("revoked", with(&top.pem(), &long, StaleCrl::Refuse), true),
        ("revoked by a list that is stale", with(&top.pem(), &short, StaleCrl::Refuse), true),
        ("revoked by one that counts on", with(&top.pem(), &short, StaleCrl::Warn), true),
        ("revoked, and the authority's has ended", with(&ends, &long, StaleCrl::Refuse), true),
        ("another authority", with(&other.pem(), &other.list_pem(&[], DAY), StaleCrl::Refuse), true),
        ("another one of its name", with(&namesake.pem(), &namesake.list_pem(&[], DAY), StaleCrl::Refuse), true),
    ] {
        for time in ["first", "second"] {
            assert_eq!(tls.has_revoked(&shown, after(3600)), cut, "{row}, the {time} time");
        }
    }
}

/// One between that the client did not show held neither when it came nor for ever.
#[test]
fn one_between_that_was_renewed_since_hides_nothing() {
    let top = Authority::new("top");
    let between = top.below_with(Authority::params("between", (-60, DAY)));
    let client = between.client(&[], &Terms { serial: 13, ..Terms::default() });
    for (row, revoked, want) in [("good", &[][..], false), ("revoked", &[13], true)] {
        let lists = [top.list_pem(&[], DAY), between.list_pem(revoked, DAY)].concat();
        let tls = listener(&[top.pem(), between.pem()].concat(), Some(&lists), StaleCrl::Refuse);
        let shown = tls.certificate(&client.chain[..1], after(-3600)).unwrap();
        assert_eq!(tls.has_revoked(&shown, clock::now()), want, "{row}");
    }
}

/// The chain is taken away behind the first look: whoever looked at it again would find nothing.
#[test]
fn another_look_checks_nothing_until_something_may_have_changed() {
    let top = Authority::new("top");
    let list = top.list_pem(&[], DAY);
    let (tls, read_again) =
        (listener(&top.pem(), Some(&list), StaleCrl::Refuse), listener(&top.pem(), Some(&list), StaleCrl::Refuse));
    let mut shown = shown(&tls, &top.client(&[], &Terms::default()));
    let invalid = Err(CertificateFault::Malformed);
    let now = clock::now();
    assert_eq!(tls.still_holds(&shown, now), Ok(()));
    shown.chain.clear();
    for (row, tls, at, want) in [
        ("once more", &tls, now, Ok(())),
        ("later", &tls, now + jiff::SignedDuration::from_hours(23), Ok(())),
        ("when something has ended", &tls, now + jiff::SignedDuration::from_hours(25), invalid),
        ("by a clock that was set back", &tls, now - jiff::SignedDuration::from_secs(1), invalid),
        ("when files were read again", &read_again, now, invalid),
    ] {
        assert_eq!(tls.still_holds(&shown, at), want, "{row}");
        assert_eq!(tls.has_revoked(&shown, at), std::ptr::eq(tls, &raw const read_again), "{row}, of what is open");
    }
}

/// What `read` says of a listener's files.
fn faults(authorities: &str, lists: Option<&str>) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let said = read(&files(folder.path(), authorities, lists, StaleCrl::Refuse)).err().unwrap_or_default();
    said.into_iter().map(|line| line.replace(&format!("{}/", folder.path().display()), "")).collect()
}

#[test]
fn faults_of_authorities() {
    let (top, namesake) = (Authority::new("top"), Authority::new("top"));
    let with = |change: &dyn Fn(&mut rcgen::CertificateParams)| {
        let mut params = Authority::params("changed", TODAY);
        change(&mut params);
        Authority::with(params)
    };
    let client = Client::self_signed(&[]);
    let client = pem("CERTIFICATE", &client.chain[0]);
    let ended = Authority::with(Authority::params("ended", (-2 * DAY, -1)));
    let later = Authority::with(Authority::params("later", (DAY, 2 * DAY)));
    let signs_nothing = with(&|params| params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature]);
    let (east, list) = (top.below("east", 2), top.list_pem(&[], DAY));
    for (row, authorities, lists, want) in [
        ("good", top.pem(), None, vec![]),
        ("good with a list", top.pem(), Some(list.clone()), vec![]),
        ("nothing", String::new(), None, vec!["no certificate in PEM; write one that"]),
        ("no PEM", "top".to_owned(), None, vec!["no certificate in PEM; write one that"]),
        ("half a PEM", top.pem().replace("-----END", ""), None, vec!["no certificate in PEM"]),
        ("no certificate in it", pem("CERTIFICATE", b"0"), None, vec!["certificate 1 cannot be read;"]),
        (
            "something behind it",
            pem("CERTIFICATE", &[&*top.der(), b"0"].concat()),
            None,
            vec!["certificate 1 cannot be read;"],
        ),
        ("a client's", top.pem() + &client, None, vec!["certificate 2 is no authority's"]),
        ("one that may not sign", signs_nothing.pem(), None, vec!["certificate 1 is no authority's"]),
        ("ended", top.pem() + &ended.pem(), None, vec!["certificate 2 has ended;"]),
        ("not begun", later.pem(), None, vec!["certificate 1 has not begun yet;"]),
        ("twice", top.pem() + &namesake.pem() + &top.pem(), None, vec!["certificate 3 is certificate 1 again;"]),
        ("many", top.pem().repeat(65), None, vec!["65 certificates; write at most 64"]),
        (
            "two faults",
            ended.pem() + &client,
            None,
            vec!["certificate 1 has ended;", "certificate 2 is no authority's"],
        ),
        ("one between alone", east.pem(), None, vec![]),
    ] {
        let said = faults(&authorities, lists.as_deref());
        let said: Vec<&String> = said.iter().filter(|line| row != "many" || !line.contains("again")).collect();
        assert_eq!(said.len(), want.len(), "{row}: {said:?}");
        for want in want {
            let want = format!("sallyport.yaml:1:1: clients.pem: {want}");
            assert!(said.iter().any(|line| line.starts_with(&want)), "{row}: {said:?}");
        }
    }
}

#[test]
fn faults_of_lists() {
    let (top, namesake, other) = (Authority::new("top"), Authority::new("top"), Authority::new("other"));
    let east = top.below("east", 2);
    let mut params = Authority::params("mute", TODAY);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    let (mute, lists_of_mute) = (Authority::with(params), Authority::new("mute").list_pem(&[], DAY));
    let (both, list, of_east) = (top.pem() + &east.pem(), top.list_pem(&[], DAY), east.list_pem(&[], DAY));
    for (row, authorities, lists, want) in [
        ("good", &both, list.clone() + &of_east, vec![]),
        ("stale, which is no fault", &top.pem(), top.list_pem(&[], -1), vec![]),
        ("nothing", &top.pem(), String::new(), vec!["clients.crl: no list of revoked certificates; write one that"]),
        ("a certificate", &top.pem(), top.pem(), vec!["clients.crl: no list of revoked certificates;"]),
        ("no list in it", &top.pem(), pem("X509 CRL", b"0"), vec!["clients.crl: list 1 cannot be read;"]),
        (
            "a stranger's",
            &top.pem(),
            list.clone() + &other.list_pem(&[], DAY),
            vec!["clients.crl: list 2 comes from none"],
        ),
        ("a namesake's", &top.pem(), namesake.list_pem(&[], DAY), vec!["clients.crl: list 1 has a wrong signature;"]),
        (
            "two of one",
            &top.pem(),
            list.clone() + &top.list_pem(&[1], DAY),
            vec!["clients.crl: list 2 speaks of the same certificates as list 1;"],
        ),
        ("none of one", &both, list.clone(), vec!["clients.crl: no list comes from certificate 2 of `client_ca`;"]),
        (
            "of one that may sign none",
            &mute.pem(),
            lists_of_mute,
            vec!["clients.pem: certificate 1 may not sign lists", "clients.crl: list 1 has a wrong signature;"],
        ),
        ("many", &top.pem(), list.repeat(257), vec!["clients.crl: 257 lists of"]),
    ] {
        let said = faults(authorities, Some(&lists));
        assert_eq!(said.len(), want.len(), "{row}: {said:?}");
        for want in want {
            let want = format!("sallyport.yaml:1:1: {want}");
            assert!(said.iter().any(|line| line.starts_with(&want)), "{row}: {said:?}");
        }
    }
}

/// Two that signed each other's certificates, and none of them its own.
#[test]
fn authorities_that_only_lead_to_one_another_are_none() {
    let (a, b) = (Authority::new("a"), Authority::new("b"));
    let (under_b, under_a) = (b.below("a", 2), a.below("b", 3));
    assert_eq!(faults(&(under_b.pem() + &under_a.pem()), None).len(), 1);
    assert_eq!(faults(&(under_b.pem() + &under_a.pem() + &a.pem()), None), Vec::<String>::new());
}

#[test]
fn a_list_may_be_as_authorities_publish_it() {
    let top = Authority::new("top");
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path(), &top.pem(), Some(""), StaleCrl::Refuse);
    fs::write(folder.path().join("clients.crl"), top.list_der(&[13], DAY)).unwrap();
    let tls = read(&files).unwrap();
    let client = top.client(&[], &Terms { serial: 13, ..Terms::default() });
    let shown = shown(&tls, &client);
    assert_eq!(tls.still_holds(&shown, clock::now()), Err(CertificateFault::Revoked));
}

#[test]
fn files_that_are_not_there_are_all_told() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path(), "", Some(""), StaleCrl::Refuse);
    fs::read_dir(folder.path()).unwrap().for_each(|entry| fs::remove_file(entry.unwrap().path()).unwrap());
    let said = read(&files).err().unwrap();
    for name in ["proxy.pem", "proxy.key", "clients.pem", "clients.crl"] {
        assert!(said.iter().any(|line| line.contains(&format!("{name}: "))), "{name}: {said:?}");
    }
}

/// What the listener tells of itself.
#[test]
fn its_own_end_and_that_of_its_lists_are_known() {
    let top = Authority::new("top");
    let before = clock::now().as_second();
    let tls = listener(&top.pem(), Some(&top.list_pem(&[], DAY)), StaleCrl::Warn);
    let (next_update, stale) = tls.next_update().unwrap();
    assert!((before + DAY..=clock::now().as_second() + DAY).contains(&next_update.as_second()), "{next_update}");
    assert_eq!(stale, StaleCrl::Warn);
    assert!(tls.expires() > after(DAY));
    assert_eq!(listener(&top.pem(), None, StaleCrl::Warn).next_update(), None);
    assert_eq!(anonymous().next_update(), None);
}
