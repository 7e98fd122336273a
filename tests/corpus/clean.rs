//! Lines as logs have them, without anything to find, that look as much like card numbers as real ones do.
//! Not here: device numbers with the same check digit as cards, which no detector can tell from them: [`imei`] and [`iccid`].
//! Source: formats of nginx, envoy and this proxy's own records; RFC 9562, W3C Trace Context, E.164, ITU-T E.118, 3GPP TS 23.003.

use super::chance::Chance;
use super::number;

/// Log lines without an end.
pub struct Clean {
    chance: Chance,
    /// Microseconds since 1970; goes on with each line.
    now: u64,
}

impl Clean {
    pub fn new(seed: u64) -> Self {
        Self { chance: Chance(seed), now: 1_763_800_000_000_000 }
    }

    /// The next line, without its end.
    pub fn line(&mut self) -> String {
        self.now += 1 + self.chance.below(900_000);
        match self.chance.below(12) {
            0 => self.nginx(),
            1 => self.envoy(),
            2 => self.record(),
            3 => self.order(),
            4 => self.trace(),
            5 => self.phone(),
            6 => self.place(),
            7 => self.artefact(),
            8 => self.database(),
            9 => self.query(),
            10 => self.metric(),
            _ => self.prose(),
        }
    }

    fn nginx(&mut self) -> String {
        let (ip, time, path) = (self.ipv4(), self.time(), self.path());
        let (bytes, code, agent) = (self.below(2_000_000), self.status(), self.agent());
        let took = self.seconds();
        format!("{ip} - - [{time}] \"GET {path} HTTP/1.1\" {code} {bytes} \"-\" \"{agent}\" {took}")
    }

    fn envoy(&mut self) -> String {
        let (time, path, code) = (self.time(), self.path(), self.status());
        let (id, upstream, ip) = (self.uuid(), self.ipv4(), self.ipv6());
        let (sent, received, took) = (self.size(), self.size(), self.below(30_000));
        format!(
            "{{\"start_time\":\"{time}\",\"path\":\"{path}\",\"response_code\":{code},\"bytes_sent\":{sent},\"bytes_received\":{received},\
             \"duration\":{took},\"x_request_id\":\"{id}\",\"upstream_host\":\"{upstream}:8443\",\"downstream\":\"[{ip}]:{}\"}}",
            40_000 + self.below(20_000)
        )
    }

    fn record(&mut self) -> String {
        let (seq, time, id) = (self.below(90_000_000_000), self.time(), self.uuid());
        let (ip, host, policy) = (self.ipv4(), self.host(), self.hex(64));
        let (out, back, took) = (self.size(), self.size(), self.below(90_000_000));
        format!(
            "{{\"v\":1,\"seq\":{seq},\"time\":\"{time}\",\"kind\":\"close\",\"id\":\"{id}\",\"outcome\":\"allow\",\"reason\":\"client_closed\",\
             \"policy\":\"{policy}\",\"client_ip\":\"{ip}\",\"client_port\":{},\"host\":\"{host}\",\"port\":443,\"bytes_out\":{out},\
             \"bytes_in\":{back},\"duration_us\":{took}}}",
            1024 + self.below(60_000)
        )
    }

    fn order(&mut self) -> String {
        let (time, order, invoice) = (self.time(), self.digits(10), self.digits(8));
        let (cents, snowflake) = (self.below(10_000_000), self.snowflake());
        format!(
            "{time} INFO order ORD-{order} invoice INV{invoice} amount {}.{:02} EUR event {snowflake} version {}.{}.{}",
            cents / 100,
            cents % 100,
            self.below(30),
            self.below(100),
            self.below(1000)
        )
    }

    fn trace(&mut self) -> String {
        let (trace, span, nanos) = (self.hex(32), self.hex(16), self.now * 1000 + self.below(1000));
        let (millis, object) = (self.now / 1000, self.hex(24));
        format!(
            "traceparent=00-{trace}-{span}-01 start_ns={nanos} ts={millis} object={object} pid={}",
            self.below(99_999)
        )
    }

    fn phone(&mut self) -> String {
        let (time, phone) = (self.time(), self.telephone());
        let (calls, took) = (self.uuid(), self.seconds());
        format!(
            "{time} call={calls} to=\"{phone}\" duration={took}s codec=opus/48000 rtp={}",
            16_000 + self.below(16_000)
        )
    }

    fn place(&mut self) -> String {
        let at = |chance: &mut Chance, most: u64| {
            let whole = chance.below(most);
            format!("{whole}.{:07}", chance.below(10_000_000))
        };
        let (latitude, longitude) = (at(&mut self.chance, 90), at(&mut self.chance, 180));
        let (date, far) = (self.date(), self.below(90_000));
        format!("{date};{latitude};-{longitude};{far}.{:06};[{longitude},{latitude}]", self.below(1_000_000))
    }

    fn artefact(&mut self) -> String {
        let (sha1, md5, sha256) = (self.hex(40), self.hex(32).to_ascii_uppercase(), self.hash());
        let (size, serial) = (self.size(), self.hex(20));
        format!(
            "pushed app@{} md5={md5} integrity=sha256-{sha256} size={size} serial={serial} commit {sha1}",
            self.below(999)
        )
    }

    fn database(&mut self) -> String {
        let (micros, transaction) = (self.now, self.below(4_000_000_000));
        let (rows, cost) = (self.below(10_000_000), self.below(10_000_000));
        format!(
            "LOG: {micros} xid {transaction} lsn {}/{} cost={}.{:02}..{}.{:02} rows={rows} width={}",
            self.hex(2).to_ascii_uppercase(),
            self.hex(8).to_ascii_uppercase(),
            cost / 100,
            cost % 100,
            cost / 90,
            cost % 90,
            self.below(4000)
        )
    }

    fn query(&mut self) -> String {
        let (host, path, time) = (self.host(), self.path(), self.now / 1_000_000);
        let (nonce, page, id) = (self.hash(), self.below(1000), self.uuid());
        format!(
            "https%3A%2F%2F{host}{path}?t={time}&state={}&page={page}&id={id}",
            nonce.replace('/', "%2F").replace('+', "%2B")
        )
    }

    fn metric(&mut self) -> String {
        let (host, seconds) = (self.host(), self.now / 1_000_000);
        let value = self.below(1_000_000_000_000_000);
        format!(
            "http_requests_total{{host=\"{host}\",le=\"0.{}\"}} {}e+{:02} {seconds}",
            self.below(1000),
            value as f64 / 1e14,
            self.below(12)
        )
    }

    fn prose(&mut self) -> String {
        let (date, room, count) = (self.date(), self.below(900), self.below(100_000));
        let words = ["restarted", "could not reach", "is waiting for", "has rotated", "dropped", "replayed"];
        let word = words[self.index(words.len())];
        format!(
            "{date} worker-{room} {word} {count} messages; see ticket CHG-{} and page {}.",
            self.digits(4),
            self.below(600)
        )
    }
}

/// The parts of lines.
impl Clean {
    fn below(&mut self, bound: u64) -> u64 {
        self.chance.below(bound)
    }

    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(u64::try_from(length).unwrap())).unwrap()
    }

    fn of(&mut self, alphabet: &str, length: usize) -> String {
        let alphabet = alphabet.as_bytes();
        (0..length).map(|_| char::from(alphabet[self.index(alphabet.len())])).collect()
    }

    fn digits(&mut self, length: usize) -> String {
        self.of("0123456789", length)
    }

    fn hex(&mut self, length: usize) -> String {
        self.of("0123456789abcdef", length)
    }

    /// SHA-256 in base64.
    fn hash(&mut self) -> String {
        self.of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", 43) + "="
    }

    fn uuid(&mut self) -> String {
        let variant = self.of("89ab", 1);
        format!("{}-{}-4{}-{variant}{}-{}", self.hex(8), self.hex(4), self.hex(3), self.hex(3), self.hex(12))
    }

    /// Milliseconds since 2010, worker, number: as Twitter makes them.
    fn snowflake(&mut self) -> u64 {
        ((self.now / 1000 - 1_288_834_974_657) << 22) | self.below(1 << 22)
    }

    fn ipv4(&mut self) -> String {
        [(); 4].map(|()| self.below(256).to_string()).join(".")
    }

    fn ipv6(&mut self) -> String {
        let groups = [(); 6].map(|()| format!("{:x}", self.below(0x1_0000)));
        format!("2001:db8:{}", groups.join(":"))
    }

    /// Bytes: as often a few as many, up to 100 GB.
    fn size(&mut self) -> u64 {
        let digits = 1 + u32::try_from(self.below(11)).unwrap();
        self.below(10_u64.pow(digits))
    }

    fn seconds(&mut self) -> String {
        format!("{}.{:03}", self.below(60), self.below(1000))
    }

    fn date(&mut self) -> String {
        format!("20{:02}-{:02}-{:02}", 20 + self.below(10), 1 + self.below(12), 1 + self.below(28))
    }

    fn time(&mut self) -> String {
        let clock = format!("{:02}:{:02}:{:02}", self.below(24), self.below(60), self.below(60));
        match self.below(4) {
            0 => format!("{}T{clock}.{:06}Z", self.date(), self.below(1_000_000)),
            1 => format!("{:02}/Nov/2026:{clock} +0000", 1 + self.below(28)),
            2 => format!("{} {clock},{:03}", self.date(), self.below(1000)),
            _ => format!("{}{}{}", self.date().replace('-', ""), clock.replace(':', ""), self.digits(3)),
        }
    }

    fn status(&mut self) -> u64 {
        let codes = [200, 201, 204, 301, 304, 400, 403, 404, 500, 502, 503];
        codes[self.index(codes.len())]
    }

    fn host(&mut self) -> String {
        let names = ["api", "pay", "gw-7", "eu-west-1", "ip-10-20-3-77", "node04"];
        let name = names[self.index(names.len())];
        format!("{name}.{}.example", self.of("abcdefghijklmnop", 6))
    }

    fn path(&mut self) -> String {
        match self.below(4) {
            0 => format!("/v1/orders/{}", self.digits(10)),
            1 => format!("/static/app.{}.js", self.hex(20)),
            2 => format!("/objects/{}/{}", self.uuid(), self.below(1000)),
            _ => format!("/tiles/{}/{}/{}.png", self.below(20), self.below(100_000), self.below(100_000)),
        }
    }

    fn agent(&mut self) -> String {
        let (major, build) = (self.below(140), self.below(9999));
        match self.below(3) {
            0 => format!(
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{major}.0.{build}.{} Safari/537.36",
                self.below(200)
            ),
            1 => format!("curl/8.{major}.0"),
            _ => format!("okhttp/4.{major}.{build} (Linux; Android 1{}; build {})", self.below(6), self.digits(8)),
        }
    }

    /// As dialled, as printed and as stored (E.164), of several countries.
    fn telephone(&mut self) -> String {
        let (country, length) =
            [("1", 10), ("44", 10), ("49", 10), ("49", 11), ("33", 9), ("86", 11), ("55", 11), ("61", 9)]
                [self.index(8)];
        let national = self.digits(length);
        let (area, rest) = national.split_at(3);
        match self.below(4) {
            0 => format!("+{country}{national}"),
            1 => format!("+{country} {area} {rest}"),
            2 => format!("(0{area}) {rest}"),
            _ => format!("00{country}-{area}-{rest}"),
        }
    }
}

/// The number of a mobile device: 15 digits with a check digit, as cards have it.
pub fn imei(chance: &mut Chance) -> String {
    let first = ["35", "86", "01", "99"][usize::try_from(chance.below(4)).unwrap()];
    format!("imei={} rat=lte", number::valid(first, 15, chance))
}

/// The number of a SIM card: 19 or 20 digits that begin with 89, with the same check digit.
pub fn iccid(chance: &mut Chance) -> String {
    let length = 19 + usize::try_from(chance.below(2)).unwrap();
    format!("iccid={} state=active", number::valid("89", length, chance))
}
