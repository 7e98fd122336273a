//! What nginx leaves to a program: events that wait for the test, an echo over WebSocket, bodies that are kept, Git's own server.
//! Behind nginx, on a socket of the file system; one request a connection. Not here: TLS and HTTP/2, which are nginx's.
//! Source: RFC 6455 (WebSocket), RFC 3875 (CGI), the HTML standard's "Server-sent events".

use std::fs::{self, Permissions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::prelude::{BASE64_STANDARD, Engine};

use crate::harness::PATIENCE;

/// The two events of `/live/events`: the second one is sent once somebody has seen the first one.
pub const EVENTS: [&str; 2] = ["the first event", "the second event"];

/// What is appended to a client's key (RFC 6455 section 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Opcodes of frames (RFC 6455 section 5.2).
const TEXT: u8 = 1;
const CLOSE: u8 = 8;

/// A server whose threads end with the process.
pub struct Live(Arc<Shared>);

struct Shared {
    /// Holds the repositories.
    www: PathBuf,
    /// Where the last body that came is kept.
    uploaded: PathBuf,
    seen: Mutex<bool>,
    told: Condvar,
}

/// A request: its method and path, and its fields with lower-case names.
struct Request {
    method: String,
    path: String,
    fields: Vec<(String, String)>,
}

impl Request {
    fn read(stream: &mut impl BufRead) -> io::Result<Self> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let first = lines.first().ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut words = first.split(' ').map(str::to_owned);
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let fields = lines.iter().skip(1).filter_map(|line| line.split_once(": "));
        let fields = fields.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        Ok(Self { method, path, fields })
    }

    fn field(&self, name: &str) -> &str {
        self.fields.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// nginx has read it whole and says its length.
    fn body(&self, stream: impl Read) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        stream.take(self.field("content-length").parse().unwrap_or(0)).read_to_end(&mut body)?;
        Ok(body)
    }
}

impl Live {
    /// Starts it on a `socket`, in the folder of nginx.
    pub fn start(socket: &Path) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        // nginx may have become nobody.
        fs::set_permissions(socket, Permissions::from_mode(0o777)).unwrap();
        let folder = socket.parent().unwrap();
        let (www, uploaded) = (folder.join("www"), folder.join("uploaded"));
        let shared = Arc::new(Shared { www, uploaded, seen: Mutex::default(), told: Condvar::new() });
        let kept = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&kept);
                // What a client does not take, it does not miss.
                std::thread::spawn(move || shared.answer(stream).ok());
            }
        });
        Self(shared)
    }

    /// Says whether somebody has seen the first event.
    pub fn seen(&self, seen: bool) {
        *self.0.seen.lock().unwrap() = seen;
        self.0.told.notify_all();
    }
}

impl Shared {
    fn answer(&self, stream: UnixStream) -> io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let request = Request::read(&mut reader)?;
        match request.path.as_str() {
            "/live/events" => self.tell(stream),
            "/live/echo" => echo(&request, reader, stream),
            path if path.starts_with("/git/") => self.git(&request, request.body(reader)?, stream),
            _ => {
                fs::write(&self.uploaded, request.body(reader)?)?;
                let answer = "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 3\r\nConnection: close\r\n\r\n{}\n";
                (&stream).write_all(answer.as_bytes())
            }
        }
    }

    fn tell(&self, mut stream: UnixStream) -> io::Result<()> {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
        write!(stream, "{head}data: {}\n\n", EVENTS[0])?;
        let seen = self.seen.lock().unwrap();
        let (seen, _) = self.told.wait_timeout_while(seen, PATIENCE, |seen| !*seen).unwrap();
        if *seen { write!(stream, "data: {}\n\n", EVENTS[1]) } else { Ok(()) }
    }

    /// Git's server as RFC 3875 has it.
    fn git(&self, request: &Request, body: Vec<u8>, mut stream: UnixStream) -> io::Result<()> {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let mut child = Command::new("git")
            .arg("http-backend")
            .env("GIT_PROJECT_ROOT", &self.www)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            // The folder's owner is whoever runs the tests, or root.
            .envs([("GIT_CONFIG_COUNT", "1"), ("GIT_CONFIG_KEY_0", "safe.directory"), ("GIT_CONFIG_VALUE_0", "*")])
            .envs([("REQUEST_METHOD", &*request.method), ("PATH_INFO", path), ("QUERY_STRING", query)])
            .env("CONTENT_TYPE", request.field("content-type"))
            .env("CONTENT_LENGTH", body.len().to_string())
            .env("HTTP_CONTENT_ENCODING", request.field("content-encoding"))
            .env("GIT_PROTOCOL", request.field("git-protocol"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut stdin = child.stdin.take().unwrap();
        let writing = std::thread::spawn(move || stdin.write_all(&body));
        let output = child.wait_with_output()?;
        let _ = writing.join();
        let text = String::from_utf8_lossy(&output.stdout);
        let status = text.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK");
        write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\n")?;
        stream.write_all(&output.stdout)
    }
}

/// Takes one text and says it back, then closes.
fn echo(request: &Request, mut reader: impl Read, mut stream: UnixStream) -> io::Result<()> {
    let key = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{}{GUID}", request.field("sec-websocket-key")).as_bytes());
    let accept = BASE64_STANDARD.encode(key);
    let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    write!(stream, "{head}Sec-WebSocket-Accept: {accept}\r\n\r\n")?;
    loop {
        let (opcode, text) = frame(&mut reader)?;
        if !matches!(opcode, TEXT | CLOSE) {
            continue;
        }
        stream.write_all(&[0x80 | opcode, u8::try_from(text.len()).unwrap()])?;
        stream.write_all(&text)?;
        if opcode == CLOSE {
            return Ok(());
        }
    }
}

/// One short frame of a client, unmasked.
fn frame(reader: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 6];
    reader.read_exact(&mut head)?;
    let mut text = vec![0; usize::from(head[1] & 0x7f)];
    reader.read_exact(&mut text)?;
    text.iter_mut().zip(head[2..].iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Ok((head[0] & 0x0f, text))
}
