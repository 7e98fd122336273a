//! What is a PROXY header and what is none, in any split.

use std::net::IpAddr;

use proptest::prelude::*;
use proxy_header::{ProxiedAddress, SslInfo, Tlv};

use super::*;

/// The answer to bytes that come at once, and what is left of them.
fn at_once(bytes: &[u8]) -> (Result<Option<ProxyHeader>, Refused>, Bytes) {
    let mut reader = ProxyHeaderReader::default();
    let answer = reader.push(bytes);
    (answer, reader.into_unread())
}

fn refusal(bytes: &[u8]) -> Option<Refused> {
    at_once(bytes).0.err()
}

/// A header of version 2 that announces what follows it.
fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, rest].concat()
}

/// 192.0.2.7:4711 to 10.0.0.1:443.
const FOUR: &[u8] = &[192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x67, 0x01, 0xbb];

/// 2001:db8::7, port 4711, to 2001:db8::1, port 443.
fn six() -> Vec<u8> {
    let ip = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
    [&ip("2001:db8::7")[..], &ip("2001:db8::1"), &FOUR[8..]].concat()
}

fn extension(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind], &u16::try_from(value.len()).unwrap().to_be_bytes()[..], value].concat()
}

/// A header of version 2 with a checksum between other extensions; it is right if nothing is added to it.
fn summed(added: u32) -> Vec<u8> {
    let front = extension(0x04, &[0; 5]);
    let mut header = binary(0x21, 0x11, &[FOUR, &front, &extension(CRC32C, &[0; 4]), &extension(0xea, b"x")].concat());
    let begin = FIXED + FOUR.len() + front.len() + 3;
    let sum = checksum(&header, &(0..0)).wrapping_add(added);
    header[begin..begin + 4].copy_from_slice(&sum.to_be_bytes());
    header
}

/// Recorded from `send-proxy-v2 proxy-v2-options crc32c,ssl,unique-id`.
fn haproxy() -> Vec<u8> {
    let addresses = [127, 0, 0, 1, 127, 0, 0, 1, 0xd9, 0x32, 0x6a, 0x43];
    let id = extension(0x05, b"76424d3e-b7fa-434b-aa9c-1fe49cdc494c");
    let rest = [&addresses[..], &extension(CRC32C, &[0x3b, 0xa6, 0x95, 0x12]), &id, &extension(0x20, &[0; 5])].concat();
    binary(0x21, 0x11, &rest)
}

#[test]
fn who_the_client_is() {
    let long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 107 - 16], b"\r\n"].concat();
    let ssl = [&six()[..], &extension(0x20, &[1, 0, 0, 0, 0]), &extension(0x02, b"\xff")].concat();
    let full = [FOUR, &extension(0x04, &[0; 512 - 12 - 3])].concat();
    let mapped = [&[0; 10][..], &[0xff; 2], &FOUR[..4], &[0; 16], &FOUR[8..]].concat();
    for (name, header, want) in [
        ("v1, IPv4", b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n".to_vec(), Some("192.0.2.7:4711")),
        ("v1, IPv6", b"PROXY TCP6 2001:DB8:0::7 ::1 4711 443\r\n".to_vec(), Some("[2001:db8::7]:4711")),
        ("v1, mapped", b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:10.0.0.1 4711 443\r\n".to_vec(), Some("192.0.2.7:4711")),
        (
            "v1, the longest IPv6",
            b"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"
                .to_vec(),
            Some("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"),
        ),
        ("v1, ports that section 2.1 allows", b"PROXY TCP4 192.0.2.7 10.0.0.1 0 0\r\n".to_vec(), Some("192.0.2.7:0")),
        ("v1, unknown", b"PROXY UNKNOWN\r\n".to_vec(), None),
        ("v1, unknown with addresses", b"PROXY UNKNOWN 192.0.2.7 10.0.0.1 4711 443\r\n".to_vec(), None),
        ("v1, unknown with anything, of the greatest length", long, None),
        ("v2, IPv4", binary(0x21, 0x11, FOUR), Some("192.0.2.7:4711")),
        ("v2, IPv6", binary(0x21, 0x21, &six()), Some("[2001:db8::7]:4711")),
        ("v2, mapped", binary(0x21, 0x21, &mapped), Some("192.0.2.7:4711")),
        ("v2, extensions, one of them nonsense in itself", binary(0x21, 0x21, &ssl), Some("[2001:db8::7]:4711")),
        ("v2, of the greatest length", binary(0x21, 0x11, &full), Some("192.0.2.7:4711")),
        ("v2, a checksum", summed(0), Some("192.0.2.7:4711")),
        ("v2, as HAProxy 2.6 sends it with a checksum, an id and TLS", haproxy(), Some("127.0.0.1:55602")),
        ("v2, local", binary(0x20, 0x00, b""), None),
        ("v2, local with addresses", binary(0x20, 0x11, FOUR), None),
        ("v2, local with anything", binary(0x20, 0x7f, b"\x03\xff"), None),
        ("v2, unspecified", binary(0x21, 0x00, b""), None),
        ("v2, unspecified with anything", binary(0x21, 0x00, b"\x03\xff"), None),
        ("v2, a Unix socket", binary(0x21, 0x31, &[b'/'; 216]), None),
        ("v2, a Unix socket with extensions", binary(0x21, 0x31, &[&[b'/'; 216][..], &extension(5, b"id")].concat()), None),
    ] {
        let client = want.map(|text| text.parse().expect(text));
        for behind in [&b""[..], b"CONNECT a:443 HTTP/1.1\r\n\r\n", b"\r\n", &header] {
            let (answer, unread) = at_once(&[&header, behind].concat());
            assert_eq!(answer, Ok(Some(ProxyHeader { client })), "{name}");
            assert_eq!(unread, behind, "{name}");
        }
        let (all_but_the_last, _) = header.split_at(header.len() - 1);
        assert_eq!(at_once(all_but_the_last).0, Ok(None), "{name}: too early");
        assert_eq!(looks_like_header(&header), Looks::Yes, "{name}");
    }
}

#[test]
fn lines_that_are_refused() {
    use Refused::{Family, Malformed, Missing, TooLong};
    for (line, want) in [
        ("CONNECT a:443 HTTP/1.1\r\n", Missing),
        ("proxy TCP4 192.0.2.7 10.0.0.1 4711 443\r\n", Missing),
        ("PROXY\tTCP4 192.0.2.7 10.0.0.1 4711 443\r\n", Missing),
        ("PROXYTCP4 192.0.2.7 10.0.0.1 4711 443\r\n", Missing),
        (" PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n", Missing),
        ("PROXY \r\n", Family),
        ("PROXY  TCP4 192.0.2.7 10.0.0.1 4711 443\r\n", Family),
        ("PROXY UNKNOWNS\r\n", Family),
        ("PROXY unknown\r\n", Family),
        ("PROXY UDP4 192.0.2.7 10.0.0.1 4711 443\r\n", Family),
        ("PROXY TCP5 192.0.2.7 10.0.0.1 4711 443\r\n", Family),
        ("PROXY tcp4 192.0.2.7 10.0.0.1 4711 443\r\n", Family),
        ("PROXY TCP4\r\n", Malformed),
        ("PROXY TCP4 192.0.2.7 10.0.0.1 4711\r\n", Malformed),
        ("PROXY TCP4 192.0.2.7 10.0.0.1 4711 443 \r\n", Malformed),
        ("PROXY TCP4 192.0.2.7  10.0.0.1 4711 443\r\n", Malformed),
        ("PROXY TCP4 192.0.2.7 10.0.0.1 4711 443 1\r\n", Malformed),
        ("PROXY TCP4 192.0.2.7\t10.0.0.1 4711 443\r\n", Malformed),
        ("PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\n", Malformed),
        ("PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\rx", Malformed),
        ("PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\r\n", Malformed),
        ("PROXY TCP4 192.0.2.7 10.0.0.1 04711 443\r\n", Malformed),
        ("PROXY TCP4 192.0.2.7 10.0.0.1 +4711 443\r\n", Malformed),
        ("PROXY TCP4 192.0.2.7 10.0.0.1 -1 443\r\n", Malformed),
        ("PROXY TCP4 192.0.2.7 10.0.0.1 65536 443\r\n", Malformed),
        ("PROXY TCP4 192.0.2.7 10.0.0.1 4711 00\r\n", Malformed),
        ("PROXY TCP4 192.0.2.7 10.0.0.1 4711 +443\r\n", Malformed),
        ("PROXY TCP4 192.0.2.7 10.0.0.1 4711 \r\n", Malformed),
        ("PROXY TCP4 192.0.2.007 10.0.0.1 4711 443\r\n", Malformed),
        ("PROXY TCP4 192.0.2 10.0.0.1 4711 443\r\n", Malformed),
        ("PROXY TCP4 192.0.2.256 10.0.0.1 4711 443\r\n", Malformed),
        ("PROXY TCP4 0xc0.0.2.7 10.0.0.1 4711 443\r\n", Malformed),
        ("PROXY TCP4 192.0.2.7 ::1 4711 443\r\n", Malformed),
        ("PROXY TCP4 2001:db8::7 ::1 4711 443\r\n", Malformed),
        ("PROXY TCP6 192.0.2.7 10.0.0.1 4711 443\r\n", Malformed),
        ("PROXY TCP6 fe80::1%eth0 ::1 4711 443\r\n", Malformed),
        ("PROXY TCP6 [2001:db8::7] ::1 4711 443\r\n", Malformed),
        ("PROXY TCP6 2001::db8::7 ::1 4711 443\r\n", Malformed),
        ("PROXY TCP6 02001:db8::7 ::1 4711 443\r\n", Malformed),
        ("PROXY TCP4 192.0.2.7\0 10.0.0.1 4711 443\r\n", Malformed),
        (&format!("PROXY UNKNOWN {}\r\n", "x".repeat(107 - 15)), TooLong),
        (&format!("PROXY UNKNOWN {}", "x".repeat(107 - 14)), TooLong),
        (&format!("PROXY {}", " ".repeat(200)), TooLong),
    ] {
        assert_eq!(refusal(line.as_bytes()), Some(want), "{line:?}");
    }
}

#[test]
fn binary_headers_that_are_refused() {
    use Refused::{Checksum, Command, Family, Malformed, Missing, TooLong};
    let own_length = |bytes: &[u8], length: u16| {
        let mut header = binary(0x21, 0x11, bytes);
        header[14..16].copy_from_slice(&length.to_be_bytes());
        header
    };
    let of_local_length = [SIGNATURE, &[0x20, 0x00, 0x02, 0x01]].concat();
    for (name, header, want) in [
        ("another signature", [b"\r\n\r\n\0\r\nQUIT\r".as_slice(), &binary(0x21, 0x11, FOUR)[12..]].concat(), Missing),
        ("version 1 in binary", binary(0x11, 0x11, FOUR), Command),
        ("version 3", binary(0x31, 0x11, FOUR), Command),
        ("an unknown command", binary(0x22, 0x11, FOUR), Command),
        ("datagrams over IPv4", binary(0x21, 0x12, FOUR), Family),
        ("datagrams over IPv6", binary(0x21, 0x22, &six()), Family),
        ("datagrams over Unix", binary(0x21, 0x32, &[0; 216]), Family),
        ("no protocol", binary(0x21, 0x10, FOUR), Family),
        ("no family", binary(0x21, 0x01, FOUR), Family),
        ("an unknown family", binary(0x21, 0x41, FOUR), Family),
        ("an unknown protocol", binary(0x21, 0x13, FOUR), Family),
        ("no room for the addresses", own_length(FOUR, 11), Malformed),
        ("no addresses", binary(0x21, 0x11, b""), Malformed),
        ("IPv6 without room", binary(0x21, 0x21, &six()[..35]), Malformed),
        ("a Unix socket without room", binary(0x21, 0x31, &[0; 215]), Malformed),
        ("half an extension's length", binary(0x21, 0x11, &[FOUR, &[0x04, 0]].concat()), Malformed),
        ("half an extension", binary(0x21, 0x11, &[FOUR, &[0x04, 0, 2, 0]].concat()), Malformed),
        ("a byte too many", binary(0x21, 0x11, &[FOUR, &[0x04]].concat()), Malformed),
        ("a checksum of two bytes", binary(0x21, 0x11, &[FOUR, &extension(CRC32C, b"ab")].concat()), Malformed),
        ("a wrong checksum", summed(1), Checksum),
        ("a byte too long", own_length(FOUR, 513), TooLong),
        ("as long as can be", own_length(FOUR, u16::MAX), TooLong),
        ("local and too long", of_local_length, TooLong),
    ] {
        assert_eq!(refusal(&header), Some(want), "{name}");
    }
}

#[test]
fn a_checksum_shows_every_bit_that_was_changed() {
    let right = summed(0);
    let kind = FIXED + FOUR.len() + extension(0x04, &[0; 5]).len();
    // Without its kind there is no checksum, which is no fault.
    for bit in (FIXED * 8..right.len() * 8).filter(|bit| bit / 8 != kind) {
        let mut header = right.clone();
        header[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(refusal(&header), Some(Refused::Checksum | Refused::Malformed)), "bit {bit}");
    }
}

#[test]
fn the_checksum_is_that_of_the_standard() {
    assert_eq!(checksum(b"123456789", &(0..0)), 0xe306_9283);
    assert_eq!(checksum(&[0xff; 32], &(0..32)), 0x8a91_36aa, "RFC 3720, B.4: 32 bytes of zeros");
}

#[test]
fn what_looks_like_a_header() {
    for (bytes, want) in [
        (&b""[..], Looks::More),
        (b"P", Looks::More),
        (b"PROXY", Looks::More),
        (b"PROXY ", Looks::Yes),
        (b"PROXY anything", Looks::Yes),
        (b"PROXY/", Looks::No),
        (b"PROPFIND / HTTP/1.1", Looks::No),
        (b"PRI * HTTP/2.0", Looks::No),
        (b"CONNECT a:443", Looks::No),
        (b"\r\n", Looks::More),
        (b"\r\nCONNECT", Looks::No),
        (b"\r\n\r\n\0\r\nQUIT", Looks::More),
        (b"\r\n\r\n\0\r\nQUIT\n", Looks::Yes),
        (b"\x16\x03\x01", Looks::No),
    ] {
        assert_eq!(looks_like_header(bytes), want, "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn no_split_changes_the_answer(
        line in "(PROXY |PROXY|\r\n)(UNKNOWN|TCP4|TCP6|)( |)(1\\.2\\.3\\.4 |::1 |x){0,2}(0|00|443| ){0,4}(\r\n|\r|\n)?.{0,3}",
        command in prop::sample::select(vec![0x20, 0x21, 0x22]),
        family in prop::sample::select(vec![0x00, 0x11, 0x12, 0x21, 0x31, 0x41]),
        rest in prop::collection::vec(prop::sample::select(vec![0, 1, 3, 4, 12]), 0..64),
        length in prop::option::of(0..600_u16),
    ) {
        fuzz_proxy_header(line.as_bytes());
        let mut header = binary(command, family, &rest);
        if let Some(length) = length {
            header[14..16].copy_from_slice(&length.to_be_bytes());
        }
        fuzz_proxy_header(&header);
    }

    #[test]
    fn what_others_write_is_read(ip: IpAddr, port: u16, own_port: u16, unique in prop::collection::vec(any::<u8>(), 0..128)) {
        let own: IpAddr = if ip.is_ipv4() { [10, 0, 0, 1].into() } else { [0; 16].into() };
        let address = ProxiedAddress::stream((ip, port).into(), (own, own_port).into());
        let extensions = [Tlv::UniqueId(unique.into()), Tlv::Ssl(SslInfo::new(true, true, false, 0))];
        let (mut line, mut binary) = (Vec::new(), Vec::new());
        Parsed::with_address(address.clone()).encode_v1(&mut line).unwrap();
        Parsed::with_tlvs(Some(address), extensions).encode_v2(&mut binary).unwrap();
        let want = Ok(Some(ProxyHeader { client: Some((canonical(ip), port).into()) }));
        prop_assert_eq!(at_once(&line).0, want);
        prop_assert_eq!(at_once(&binary).0, want);
    }
}
