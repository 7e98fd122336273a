//! What is planted, and how it is looked for afterwards: as it was sent, in every encoding of it, and with its digits drawn together.
//! Not here: where it is planted (`places`). Source: the brands' published test cards; ISO/IEC 7813 (tracks); RFC 7519 (JWT).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Something that must be nowhere.
#[derive(Clone, Copy, Debug)]
pub struct Secret {
    pub kind: &'static str,
    /// As a client sends it.
    pub text: &'static str,
    /// What of it must not be found.
    pub needle: &'static str,
    /// Whether redaction finds it within a name as well, as in `{s}.evil.example`. What it finds by itself alone is not planted there.
    pub within: bool,
}

impl Secret {
    /// Whether what is looked for is a card number.
    pub fn is_card(&self) -> bool {
        self.needle.bytes().all(|byte| byte.is_ascii_digit())
    }
}

const fn secret(kind: &'static str, text: &'static str, needle: &'static str) -> Secret {
    Secret { kind, text, needle, within: true }
}

const fn alone(kind: &'static str, text: &'static str, needle: &'static str) -> Secret {
    Secret { kind, text, needle, within: false }
}

const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJwbGFudGVkLW9uZSJ9.aW1hZ2luYXJ5LXNpZ25hdHVyZQ";
const TRACK_1: &str = "%B4012888888881881^PLANTED/CARD^29122011234567890?";

pub const SECRETS: [Secret; 27] = [
    secret("visa", "4012888888881881", "4012888888881881"),
    secret("visa in groups", "4012 8888 8888 1881", "4012888888881881"),
    secret("visa with hyphens", "4012-8888-8888-1881", "4012888888881881"),
    secret("visa in percent", "4012%208888%208888%201881", "4012888888881881"),
    secret("visa in percent throughout", "%34%30%31%32%38%38%38%38%38%38%38%38%31%38%38%31", "4012888888881881"),
    secret("visa in base64", "NDAxMjg4ODg4ODg4MTg4MQ==", "4012888888881881"),
    secret("visa in hexadecimal", "34303132383838383838383831383831", "4012888888881881"),
    secret("visa with its code", "4012888888881881-cvv-7391", "4012888888881881"),
    secret("amex", "378282246310005", "378282246310005"),
    secret("amex in groups", "3782-822463-10005", "378282246310005"),
    secret("mastercard of the 2 series", "2223003122003222", "2223003122003222"),
    secret("discover", "6011000990139424", "6011000990139424"),
    secret("jcb", "3530111333300000", "3530111333300000"),
    secret("diners", "30569309025904", "30569309025904"),
    secret("within a word", "pan4012888888881881x", "4012888888881881"),
    secret("private field", "account_number=PLANTED-77-XK", "PLANTED-77-XK"),
    secret("security code", "cvv=7391", "cvv=7391"),
    alone("pin", "pin=80731", "pin=80731"),
    secret("track 1", TRACK_1, "PLANTED/CARD"),
    secret("track 2", ";4012888888881881=29122011234567890?", "29122011234567890"),
    secret("jwt", JWT, "eyJzdWIiOiJwbGFudGVkLW9uZSJ9"),
    alone("password", "Basic cGxhbnRlZDpwYXNzd29yZA==", "cGxhbnRlZDpwYXNzd29yZA"),
    secret("bearer", "Bearer planted-bearer-1b7e", "planted-bearer-1b7e"),
    secret("cookie", "session=planted-cookie-93ac", "planted-cookie-93ac"),
    secret("api key", "AKIAPLANTED7KEYS42QX", "AKIAPLANTED7KEYS42QX"),
    alone("social security number", "ssn=536-22-8726", "536-22-8726"),
    secret("bank account", "GB82WEST12345698765432", "GB82WEST12345698765432"),
];

/// Which secrets `text` holds, in whatever form. Case counts: a token in lower case, as names of hosts are written, is another one.
pub fn held(text: &[u8]) -> Vec<&'static str> {
    let text = String::from_utf8_lossy(text);
    let lower = text.to_lowercase();
    let digits = squeezed(&lower);
    let holds = |secret: &&Secret| {
        text.contains(secret.needle)
            || lower.contains(&in_percent(secret.needle))
            || lower.contains(&in_hex(secret.needle))
            || in_base64(secret.needle).iter().any(|form| text.contains(form))
            || (secret.is_card() && digits.contains(secret.needle))
    };
    SECRETS.iter().filter(holds).map(|secret| secret.kind).collect()
}

/// Without what stands between the groups of a number.
fn squeezed(text: &str) -> String {
    let text = ["%20", "%2d", "%2e", "\\u0020"].iter().fold(text.to_owned(), |text, mark| text.replace(mark, ""));
    text.replace([' ', '-', '.', '_', '+', '\u{a0}'], "")
}

pub fn in_percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

fn in_hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// What is the same of it whatever stands around, by where in a group of three it begins.
fn in_base64(text: &str) -> [String; 3] {
    ["", "x", "xx"].map(|before| {
        let whole = STANDARD.encode(format!("{before}{text}"));
        // Four characters are three bytes: the first and the last of them may be of what stands around.
        let first = if before.is_empty() { 0 } else { 4 };
        whole.get(first..whole.len() - 4).unwrap().to_owned()
    })
}

#[test]
fn a_secret_is_found_in_every_form() {
    for secret in SECRETS {
        let base64 = |before: &str| STANDARD.encode(format!("{before}{} and more", secret.needle));
        let forms = [secret.text.to_owned(), in_percent(secret.needle), in_hex(secret.needle).to_uppercase()];
        for form in forms.into_iter().chain(["", "x", "xx", "xxx"].map(base64)) {
            let text = [b"{\"host\":\"\xff", form.as_bytes(), b"\"}"].concat();
            assert!(held(&text).contains(&secret.kind), "{}: not found in {form}", secret.kind);
        }
    }
    assert_eq!(held(b"{\"host\":\"[PAN:visa:16].evil.example\",\"time\":\"2026-11-22T13:54:33.123456Z\"}"), [""; 0]);
}
