//! Name servers asked over TLS and HTTPS, with an authority of the test's own: what is trusted, what is not, and that there is no way back to
//! clear text. Not here: what becomes of an answer (`names`).
//! Source: RFC 7858, RFC 8484, RFC 8310 section 8; IDs such as C5 are those of `docs/attacks.md`.

use std::convert::Infallible;
use std::fs;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

use super::dns_server::{Book, DnsServer, Question, Reply, of_kind, table};
use super::ends::{Origin, Tunnel, finish, refusal};
use super::harness::{Proxy, Setup, write_setup};
use super::programs::{self, sallyport};

/// What the servers' certificates name.
const NAME: &str = "dns.example";

/// Who signs the servers' certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A server's side of TLS, for whoever speaks `protocol` inside.
    fn server(&self, protocol: &[u8]) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new([NAME.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = config.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key).unwrap();
        config.alpn_protocols = vec![protocol.to_vec()];
        config
    }

    /// Carries what `dns` says over TLS. Where it listens.
    fn over_tls(&self, dns: &DnsServer) -> SocketAddr {
        let (config, book) = (Arc::new(self.server(b"dot")), dns.book().clone());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (session, book) = (ServerConnection::new(Arc::clone(&config)).unwrap(), book.clone());
                std::thread::spawn(move || book.serve(StreamOwned::new(session, socket)));
            }
        });
        address
    }

    /// Carries what `dns` says over HTTP/2, at `/dns-query` alone. Where it listens.
    fn over_https(&self, dns: &DnsServer) -> SocketAddr {
        let (config, book) = (Arc::new(self.server(b"h2")), dns.book().clone());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let acceptor = TlsAcceptor::from(config);
                while let Ok((socket, _)) = listener.accept().await {
                    let (acceptor, book) = (acceptor.clone(), book.clone());
                    tokio::spawn(async move {
                        let socket = acceptor.accept(socket).await?;
                        let answers = service_fn(move |request| answer(book.clone(), request));
                        let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                        let _ = http.serve_connection(TokioIo::new(socket), answers).await;
                        std::io::Result::Ok(())
                    });
                }
            });
        });
        address
    }

    /// Starts the proxy; it trusts this authority alone.
    fn start(&self, port: u16, servers: &str) -> Proxy {
        let policy = format!(
            "rules:\n  - {{id: here, customer: acme, sources: [tests], hosts: [\"*.here.test\"], ports: [{port}], \
             addresses: [127.0.0.0/25]}}\n"
        );
        let dir = TempDir::new().unwrap();
        let more = format!("dns: {{servers: [{servers}], timeout: 4s}}\n");
        write_setup(dir.path(), &Setup { policy: &policy, more: &more, ..Setup::default() });
        let authority = dir.path().join("ca.pem");
        fs::write(&authority, self.0.pem()).unwrap();
        Proxy::start_with(dir, &[("SSL_CERT_FILE", &authority)])
    }
}

/// RFC 8484 section 4.1: a POST of one message.
async fn answer(book: Book, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_query = request.method() == "POST"
        && request.uri().path() == "/dns-query"
        && request.headers().get("content-type").is_some_and(|kind| kind == "application/dns-message");
    let query = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let reply = if is_query { book.answer(&query, true) } else { None };
    let status = if reply.is_some() { 200 } else { 404 };
    let response = Response::builder().status(status).header("content-type", "application/dns-message");
    Ok(response.body(Full::new(reply.unwrap_or_default().into())).unwrap())
}

fn here(question: &Question) -> Reply {
    of_kind(question.kind, &[IpAddr::from([127, 0, 0, 1])])
}

#[test]
fn a_trusted_server_is_asked_over_tls_and_https() {
    let origin = Origin::new();
    let authority = Authority::new("ours");
    for scheme in ["tls", "https"] {
        let dns = DnsServer::start(here);
        let server = match scheme {
            "tls" => format!("\"tls://{NAME}@{}\"", authority.over_tls(&dns)),
            _ => format!("\"https://{NAME}@{}/dns-query\"", authority.over_https(&dns)),
        };
        let proxy = authority.start(origin.port(), &server);
        for name in ["one.here.test", "two.here.test", "three.here.test"] {
            let begin = Instant::now();
            finish(Tunnel::open(&proxy, name, &origin));
            assert!(begin.elapsed() < Duration::from_secs(2), "{scheme}: {name} took {:?}", begin.elapsed());
        }
        assert_eq!(dns.asked().len(), 6, "{scheme}: {:?}", dns.asked());
    }
}

/// C5: a certificate of somebody else, or for another name, is no server: nothing is asked there, and not in clear text either.
#[test]
fn what_is_not_trusted_is_not_asked_and_the_log_says_why() {
    let origin = Origin::new();
    let (authority, other) = (Authority::new("ours"), Authority::new("a stranger"));
    for (what, signer, name, why) in [
        ("a stranger's", &other, NAME, "UnknownIssuer"),
        ("another name", &authority, "other.example", "not valid for name"),
    ] {
        let dns = DnsServer::start(here);
        for server in [
            format!("tls://{name}@{}", signer.over_tls(&dns)),
            format!("https://{name}@{}/dns-query", signer.over_https(&dns)),
        ] {
            let proxy = authority.start(origin.port(), &format!("\"{server}\""));
            for number in 0..5 {
                let (status, reason, _) = refusal(&proxy, &format!("n{number}.here.test:{}", origin.port()));
                assert_eq!((status, reason.as_str()), (502, "dns_failure"), "{what}: {server}");
            }
            assert_eq!(dns.asked(), [], "{what}: {server}");
            let told: Vec<String> = proxy.log().into_iter().filter(|line| line.contains(&server)).collect();
            assert_eq!(told.len(), 1, "once, not with each request: {:#?}", proxy.log());
            assert!(told[0].contains(why) && told[0].contains("WARN"), "{what}: {}", told[0]);
        }
    }
}

#[test]
fn the_next_server_is_asked_if_it_was_given() {
    let origin = Origin::new();
    let (authority, other) = (Authority::new("ours"), Authority::new("a stranger"));
    let (untrusted, trusted) = (DnsServer::start(here), DnsServer::start(here));
    let servers = [(&other, &untrusted), (&authority, &trusted)]
        .map(|(signer, dns)| format!("\"tls://{NAME}@{}\"", signer.over_tls(dns)));
    let proxy = authority.start(origin.port(), &servers.join(", "));
    finish(Tunnel::open(&proxy, "api.here.test", &origin));
    assert_eq!((untrusted.asked().len(), trusted.asked().len()), (0, 2));
}

#[test]
fn a_host_that_trusts_nobody_does_not_start() {
    let dir = TempDir::new().unwrap();
    let more = "dns: {servers: [\"tls://dns.example@192.0.2.1\"]}\n";
    let policy = "rules: []\n";
    write_setup(dir.path(), &Setup { more, policy, ..Setup::default() });
    let empty = dir.path().join("empty.pem");
    fs::write(&empty, "").unwrap();
    let mut run = sallyport();
    run.args(["run", "-c"])
        .arg(dir.path().join("sallyport.yaml"))
        .env("SSL_CERT_FILE", &empty)
        .env_remove("SSL_CERT_DIR");
    let finished = programs::finish(&mut run, "");
    assert_eq!(finished.code, Some(3), "{}", finished.err);
    assert!(finished.err.contains("this host trusts no certificate authority"), "{}", finished.err);
    // Without such a server none is needed.
    let dns = DnsServer::start(table(&[]));
    write_setup(dir.path(), &Setup { more: &dns.settings("udp", ""), policy, ..Setup::default() });
    drop(Proxy::start_with(dir, &[("SSL_CERT_FILE", &empty)]));
}
