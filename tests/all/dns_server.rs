//! A name server of the test's own, over UDP and TCP: it answers by a script and keeps every question that it was asked.
//! Not here: recursion, signatures (`signed_zones`), EDNS but for the flag that asks for signatures. Source: RFC 1035 section 4.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};

/// Record types.
pub const A: u16 = 1;
const CNAME: u16 = 5;
pub const AAAA: u16 = 28;

/// Response codes.
pub const SERVFAIL: u8 = 2;
pub const NXDOMAIN: u8 = 3;
pub const REFUSED: u8 = 5;

/// One question, as the script sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Lower case, without the final dot.
    pub name: String,
    pub kind: u16,
    pub tcp: bool,
    /// Whether signatures are wanted (the DO flag of RFC 3225).
    pub signed: bool,
    /// How many times this name and type were asked before, over either transport.
    pub turn: usize,
}

/// What comes back.
pub enum Reply {
    /// These records, in their order; an alias is the owner of those behind it. Empty: the name has no such record.
    Records(Vec<Data>),
    /// An error.
    Code(u8),
    /// A code (0: the name has no such record), and for how many seconds that holds, as an SOA record says it.
    Absent(u8, u32),
    /// Nothing but the truncation flag.
    Truncated,
    /// No answer.
    Silence,
    /// Bytes that are no message.
    Garbage,
    /// A message as it is: its id and its question are the query's.
    Whole(Vec<u8>),
}

pub enum Data {
    Address(IpAddr),
    Alias(&'static str),
}

/// Runs until the test binary ends.
pub struct DnsServer {
    address: SocketAddr,
    book: Book,
}

/// A server's script, and everything that it was asked.
#[derive(Clone)]
pub struct Book {
    script: Arc<dyn Fn(&Question) -> Reply + Send + Sync>,
    asked: Arc<Mutex<Vec<Question>>>,
}

impl DnsServer {
    pub fn start(script: impl Fn(&Question) -> Reply + Send + Sync + 'static) -> Self {
        Self::on(Ipv4Addr::LOCALHOST, script)
    }

    /// The same on an address of the test's own.
    pub fn on(ip: Ipv4Addr, script: impl Fn(&Question) -> Reply + Send + Sync + 'static) -> Self {
        let (udp, tcp) = sockets(ip);
        let address = udp.local_addr().unwrap();
        let book = Book { script: Arc::new(script), asked: Arc::default() };
        let (over_udp, over_tcp) = (book.clone(), book.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok((count, peer)) = udp.recv_from(&mut bytes) {
                if let Some(answer) = over_udp.answer(&bytes[..count], false) {
                    let _ = udp.send_to(&answer, peer);
                }
            }
        });
        std::thread::spawn(move || {
            for socket in tcp.incoming().flatten() {
                let book = over_tcp.clone();
                std::thread::spawn(move || book.serve(socket));
            }
        });
        Self { address, book }
    }

    /// What it answers, for who carries it otherwise.
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// The configuration's `dns` with this server alone, and more of its keys.
    pub fn settings(&self, scheme: &str, more: &str) -> String {
        format!("dns: {{servers: [\"{scheme}://{}\"]{more}}}\n", self.address)
    }

    /// The configuration's `dns` with these servers in their order, and more of its keys.
    pub fn several(servers: &[&Self], more: &str) -> String {
        let servers: Vec<String> = servers.iter().map(|server| format!("\"udp://{}\"", server.address)).collect();
        format!("dns: {{servers: [{}]{more}}}\n", servers.join(", "))
    }

    /// Everything that was asked so far.
    pub fn asked(&self) -> Vec<Question> {
        self.book.asked.lock().unwrap().clone()
    }

    /// How often this name and type were asked.
    pub fn times(&self, name: &str, kind: u16) -> usize {
        self.asked().iter().filter(|question| question.name == name && question.kind == kind).count()
    }
}

/// Both transports on one port.
fn sockets(ip: Ipv4Addr) -> (UdpSocket, TcpListener) {
    loop {
        let udp = UdpSocket::bind((ip, 0)).unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
            return (udp, tcp);
        }
    }
}

impl Book {
    /// Messages with their lengths in front, as over TCP and TLS.
    pub fn serve(&self, mut socket: impl Read + Write) -> io::Result<()> {
        loop {
            let mut length = [0; 2];
            socket.read_exact(&mut length)?;
            let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
            socket.read_exact(&mut query)?;
            if let Some(answer) = self.answer(&query, true) {
                let length = u16::try_from(answer.len()).unwrap();
                socket.write_all(&[&length.to_be_bytes()[..], &answer].concat())?;
                socket.flush()?;
            }
        }
    }

    /// The answer to one message. `None`: silence.
    pub fn answer(&self, query: &[u8], tcp: bool) -> Option<Vec<u8>> {
        let (name, end) = name_at(query, 12);
        let kind = u16::from_be_bytes([query[end], query[end + 1]]);
        let question = {
            let mut asked = self.asked.lock().unwrap();
            let turn = asked.iter().filter(|question| question.name == name && question.kind == kind).count();
            // The OPT record begins with the root's name and its type, and has its flags four bytes before its end.
            let signed = query.get(end + 4..end + 7) == Some(&[0, 0, 41]) && query[end + 11] & 0x80 != 0;
            asked.push(Question { name, kind, tcp, signed, turn });
            asked.last().unwrap().clone()
        };
        message(query, end, (self.script)(&question))
    }
}

fn message(query: &[u8], end: usize, reply: Reply) -> Option<Vec<u8>> {
    let soa = if let Reply::Absent(_, minimum) = &reply { soa(*minimum) } else { Vec::new() };
    let (flags, records) = match reply {
        Reply::Records(records) => (0x8180, records),
        Reply::Code(code) | Reply::Absent(code, _) => (0x8180 | u16::from(code), Vec::new()),
        Reply::Truncated => (0x8380, Vec::new()),
        Reply::Silence => return None,
        Reply::Garbage => return Some(vec![0xff; 40]),
        Reply::Whole(message) => {
            return Some([&query[..2], &message[2..12], &query[12..end + 4], &message[end + 4..]].concat());
        }
    };
    let count = u16::try_from(records.len()).unwrap();
    // The question goes back as it came: its case is a guard against forged answers.
    let authorities = [0, u8::from(!soa.is_empty()), 0, 0];
    let head =
        [&query[..2], &u16::to_be_bytes(flags), &[0, 1], &count.to_be_bytes(), &authorities, &query[12..end + 4]];
    let mut owner = vec![0xc0, 12];
    let mut answer = head.concat();
    for record in records {
        let (kind, data, alias) = match record {
            Data::Address(IpAddr::V4(address)) => (A, address.octets().to_vec(), None),
            Data::Address(IpAddr::V6(address)) => (AAAA, address.octets().to_vec(), None),
            Data::Alias(name) => (CNAME, name_bytes(name), Some(name_bytes(name))),
        };
        // Class IN and a TTL of 0: nobody may keep it but for a bound of his own.
        let length = u16::try_from(data.len()).unwrap();
        let fixed = [&kind.to_be_bytes()[..], &[0, 1, 0, 0, 0, 0], &length.to_be_bytes()].concat();
        answer.extend([owner.clone(), fixed, data].concat());
        owner = alias.unwrap_or(owner);
    }
    answer.extend(soa);
    Some(answer)
}

/// An SOA record of the zone `test`, with a long time of its own: RFC 2308 takes the lesser of the two.
fn soa(minimum: u32) -> Vec<u8> {
    let numbers = [1_u32, 7200, 900, 86_400, minimum].map(u32::to_be_bytes).concat();
    let data = [name_bytes("ns.test"), name_bytes("admin.test"), numbers].concat();
    let length = u16::try_from(data.len()).unwrap().to_be_bytes();
    [name_bytes("test"), vec![0, 6, 0, 1], 86_400_u32.to_be_bytes().to_vec(), length.to_vec(), data].concat()
}

/// The name at `place` and where it ends. Queries have no pointers.
fn name_at(query: &[u8], mut place: usize) -> (String, usize) {
    let mut labels = Vec::new();
    while query[place] != 0 {
        let end = place + 1 + usize::from(query[place]);
        labels.push(String::from_utf8_lossy(&query[place + 1..end]).to_ascii_lowercase());
        place = end;
    }
    (labels.join("."), place + 1)
}

fn name_bytes(name: &str) -> Vec<u8> {
    let labels = name.split('.').flat_map(|label| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat());
    labels.chain([0]).collect()
}

/// Answers of fixed addresses: names to addresses of either family. A name that is not there does not exist.
pub fn table(rows: &[(&str, &[&str])]) -> impl Fn(&Question) -> Reply + Send + Sync + 'static {
    let rows: HashMap<String, Vec<IpAddr>> = rows
        .iter()
        .map(|(name, addresses)| {
            ((*name).to_owned(), addresses.iter().map(|address| address.parse().unwrap()).collect())
        })
        .collect();
    move |question| match rows.get(&question.name) {
        Some(addresses) => of_kind(question.kind, addresses),
        None => Reply::Code(NXDOMAIN),
    }
}

/// Those of the addresses that the question is about.
pub fn of_kind(kind: u16, addresses: &[IpAddr]) -> Reply {
    let wanted = addresses.iter().filter(|address| address.is_ipv4() == (kind == A));
    Reply::Records(wanted.map(|address| Data::Address(*address)).collect())
}
