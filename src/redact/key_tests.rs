//! Which values are found behind which names and signs, by tables.

use super::*;
use crate::redact::testing::told;

static PLAIN: Fields = Fields::NONE;

/// The finds in `text`: each mark, and what it stands for.
fn found(text: &str) -> Vec<String> {
    let mut hits = Vec::new();
    find(text.as_bytes(), &PLAIN, &mut hits);
    hits.sort_by_key(|hit| hit.start);
    told(text, &hits)
}

/// Every row: a text, and what is found in it.
fn check(rows: &[(&str, &[&str])]) {
    for (text, want) in rows {
        assert_eq!(found(text), *want, "`{text}`");
        let mut marked = (*text).to_owned();
        let mut hits = Vec::new();
        find(text.as_bytes(), &PLAIN, &mut hits);
        hits.sort_by_key(|hit| hit.start);
        for hit in hits.iter().rev() {
            marked.replace_range(hit.start..hit.end, &hit.kind.to_string());
        }
        assert!(found(&marked).is_empty(), "`{marked}` is found again: {:?}", found(&marked));
    }
}

#[test]
fn names_are_read_in_every_spelling() {
    for name in [
        "cvv",
        "CVV2",
        "cvc",
        "Cvc2",
        "x_cvv2",
        "card.cvv",
        "cardCvv",
        "security_code",
        "security-code",
        "SecurityCode",
        "card security code",
        "cardVerificationValue",
        "CARD_VERIFICATION_CODE",
    ] {
        assert_eq!(found(&format!("a=1&{name}=123&b=2")), ["[erased:security_code]123"], "`{name}`");
    }
    for name in ["cid", "csc", "verification_code"] {
        assert!(found(&format!("a=1&{name}=123&b=2")).is_empty(), "`{name}`");
        let beside = ["pan=4111111111111112", "exp=12/27", "cvv2=123", "cardholder=a"];
        for field in beside {
            let found = found(&format!("{field}&{name}=123"));
            assert!(found.contains(&"[erased:security_code]123".to_owned()), "`{name}` beside `{field}`: {found:?}");
        }
    }
    for name in ["pin", "PIN", "new_pin", "newPin", "pin_code", "pin-number", "old.pin"] {
        assert_eq!(found(&format!("{name}=4711")), ["[erased:pin]4711"], "`{name}`");
    }
    for (name, kind) in [
        ("pin_block", "pin"),
        ("encryptedPinBlock", "pin"),
        ("track1", "track"),
        ("track2_data", "track"),
        ("magstripe", "track"),
        ("emv57", "track"),
        ("cardholder", "holder"),
        ("cardholder_name", "holder"),
        ("name_on_card", "holder"),
        ("password", "secret"),
        ("PGPASSWORD", "secret"),
        ("db_passwd", "secret"),
        ("pwd", "secret"),
        ("client_secret", "secret"),
        ("apiKey", "secret"),
        ("x-api-key", "secret"),
        ("access_token", "secret"),
        ("refreshToken", "secret"),
        ("id_token", "secret"),
        ("private_key", "secret"),
        ("session", "secret"),
        ("JSESSIONID", "secret"),
        ("passphrase", "secret"),
    ] {
        assert_eq!(found(&format!("{name}=4aB,b")), [format!("[erased:{kind}]4aB")], "`{name}`");
    }
    assert_eq!(found("AccountKey=abc==;EndpointSuffix=x"), ["[key:azure]abc=="]);
}

#[test]
fn other_names_are_left() {
    let names = "pinned spin ping shipping cvvresult cvv_check xcvv decision session_count tokens max_tokens bypass \
        obsession policy code status_code country_code request_id racid key_id pincode_check expires_in \
        soundtrack backtrack username author cookie_count ssnx panel spandex authorizationx";
    for name in names.split_whitespace() {
        for text in [format!("{name}=1234"), format!("{{\"{name}\":1234}}"), format!("{name}: 1234")] {
            assert!(found(&text).is_empty(), "`{text}`: {:?}", found(&text));
        }
    }
    for text in [
        "cvv",
        "cvv=",
        "cvv: ",
        "{\"cvv\":null,\"pin\":true,\"token\":\"false\",\"secret\":\"\"}",
        "token::Kind",
        "a=cvv",
        "=123",
        ": 123",
        "cvv 123",
        "</cvv>123",
        "cvv>123",
    ] {
        assert!(found(text).is_empty(), "`{text}`: {:?}", found(text));
    }
}

#[test]
fn names_of_few_letters_need_a_value_of_their_shape() {
    check(&[
        ("cid=550e8400-e29b-41d4-a716-446655440000", &[]),
        ("cid: 12", &[]),
        ("cid=12345", &[]),
        (r#"{"cid":1234}"#, &[]),
        (r#"{"cid":1234,"pin":4711}"#, &["[erased:security_code]1234", "[erased:pin]4711"]),
        ("cve: CVE-2026-1234", &[]),
        ("pin=123", &[]),
        ("pin=GPIO17", &[]),
        ("pin=1234567890123", &[]),
        ("pin=041234FFFFFFFFFF", &["[erased:pin]041234FFFFFFFFFF"]),
        ("pin: 1234.", &["[erased:pin]1234"]),
        ("(pin: 1234)", &["[erased:pin]1234"]),
        ("pan=4111111111111112", &["[erased:secret]4111111111111112"]),
        ("card_number: \"1234 5678 9012 3456\"", &["[erased:secret]1234 5678 9012 3456"]),
        ("pan=411111", &[]),
        ("pan=411111******1111", &[]),
        ("pan=41111111111111111111", &[]),
        ("ssn=536-22-1234", &["[SSN]536-22-1234"]),
        ("ssn=\"536221234\"", &["[SSN]536221234"]),
        ("ssn=12345678", &[]),
        ("expiry=12/27", &["[erased:holder]12/27"]),
        ("exp_date: 2027-12", &["[erased:holder]2027-12"]),
        ("expiration=1227", &[]),
        ("exp=1224&pan=4111111111111112", &["[erased:holder]1224", "[erased:secret]4111111111111112"]),
        ("expiration: 2027-01-01T00:00:00Z", &[]),
        ("exp: 1763763412", &[]),
        ("expiry=3600", &[]),
        ("exp_month=12&exp_year=2027", &["[erased:holder]12", "[erased:holder]2027"]),
        ("exp_month=13&exp_year=20270", &[]),
    ]);
}

#[test]
fn values_end_where_their_form_ends() {
    check(&[
        ("a?cvv=123&b=2", &["[erased:security_code]123"]),
        ("cvv=123;pin=4711,b", &["[erased:security_code]123", "[erased:pin]4711"]),
        ("password = hunter2 rest", &["[erased:secret]hunter2"]),
        ("password=\"a b\" c", &["[erased:secret]a b"]),
        (r#"{"cvv":123}"#, &["[erased:security_code]123"]),
        (r#"{"cvv" : "123", "x":1}"#, &["[erased:security_code]123"]),
        ("{\"cvv\":\n  123\n}", &["[erased:security_code]123"]),
        (r#"{"password":"a\"b\\","x":1}"#, &[r#"[erased:secret]a\"b\\"#]),
        (r#"{\"password\":\"a\\\"b\",\"x\":1}"#, &[r#"[erased:secret]a\\\"b"#]),
        (r#"{\\\"password\\\":\\\"a b\\\",\\\"x\\\":1}"#, &["[erased:secret]a b"]),
        ("{'password': 'a\"b'}", &["[erased:secret]a\"b"]),
        ("{\"password\" => \"a\"}", &["[erased:secret]a"]),
        ("password := a", &["[erased:secret]a"]),
        ("password == 'a'", &["[erased:secret]a"]),
        (r#"{"secret":{"a":[1,"}"],"b":2},"x":1}"#, &[r#"[erased:secret]{"a":[1,"}"],"b":2}"#]),
        (r#"{"token":["a","b"],"x":1}"#, &[r#"[erased:secret]["a","b"]"#]),
        ("secret: {open\nx: 1", &["[erased:secret]{open"]),
        ("secret: [open\\u{a}x: 1", &["[erased:secret][open"]),
        ("password:\nx: 1", &[]),
        ("password: a\\u{d}\\u{a}b", &["[erased:secret]a"]),
        ("password:\u{a0}a\u{2003}b", &["[erased:secret]a\u{2003}b"]),
        ("card[cvv]=123&card['pin'] = '4711'", &["[erased:security_code]123", "[erased:pin]4711"]),
        ("<cvv>123</cvv>", &["[erased:security_code]123"]),
        ("<p:cvv> 123 </p:cvv>", &["[erased:security_code]123"]),
        ("<password><![CDATA[a<b]]></password>", &["[erased:secret]a<b"]),
        ("<card cvv=\"123\" pin='4711'/>", &["[erased:security_code]123", "[erased:pin]4711"]),
        ("form-data; name=\"cvv\"\r\n\r\n123\r\n--b", &["[erased:security_code]123"]),
        ("form-data; name=\"token\"; filename=\"a\"\r\nA: b\r\n\r\nx y\r\n--b", &["[erased:secret]x y"]),
        ("<input name=\"cvv\" value=\"123\">", &["[erased:security_code]123"]),
        (r#"{"name":"password","value":"a b"}"#, &["[erased:secret]a b"]),
        (r#"{"name":"colour","value":"a b"}"#, &[]),
        (r#"{"name":"password","size":"3"}"#, &[]),
    ]);
}

#[test]
fn what_stands_around_a_name_is_left() {
    check(&[
        (r#"{"msg":"invalid token:","token_count":5,"a":"b"}"#, &[]),
        (r#"{"msg":"x password=","a":"b"}"#, &[]),
        (r#"{"msg":"authorization: ","a":"b"}"#, &[]),
        (r#"{"msg":"the cookie:","a":"b"}"#, &[]),
        ("{'msg': 'the cookie:', 'a': 'b'}", &[]),
        (r#"{"msg":"authorization: Digest x=","a":"b"}"#, &["[erased:credential]x="]),
        (r#"{"msg":"<password>","a":"b"}"#, &[]),
        (r#"{"msg":"<password>abc","a":"b"}"#, &["[erased:secret]abc"]),
        (r#"{"msg":"unexpected token: {","a":"b"}"#, &[]),
        (r#"{"msg":"secret: {a b","a":"b"}"#, &["[erased:secret]{a b"]),
        (r#"{"msg":"{\"msg\":\"the secret:\",\"a\":1}","a":"b"}"#, &[]),
        (r#"5" of secret: {"a":"b","c":1} x"#, &[r#"[erased:secret]{"a":"b","c":1}"#]),
        (r#"5" of password="a, b" c"#, &["[erased:secret]a, b"]),
        (r#"{"password":", a","x":1}"#, &["[erased:secret], a"]),
        (r#"{"password":"a\\","a":"b"}"#, &[r"[erased:secret]a\\"]),
        (r#"{"authorization":null,"cookie":5,"a":[true]}"#, &["[erased:cookie]5"]),
        (r#"{"authorization":[1,2],"cookie":false}"#, &["[erased:credential][1,2]"]),
        ("{authorization: null, a: b}", &[]),
        (r#""cookie": {"#, &[]),
        (r#""secret": [ "#, &[]),
        ("{password: a}", &["[erased:secret]a"]),
        ("[secret=[a]]", &["[erased:secret][a]"]),
        ("(password=a(b))", &["[erased:secret]a(b)"]),
        ("{{password=}}", &[]),
    ]);
}

#[test]
fn values_are_found_in_tags_lists_and_names_of_hosts() {
    check(&[
        ("<cvv type=\"x\">123</cvv>", &["[erased:security_code]123"]),
        ("<pay:pin xsi:type='s' >4821</pay:pin>", &["[erased:pin]4821"]),
        ("<field name=\"cvv\">123</field>", &["[erased:security_code]123"]),
        ("<field name=\"password\" type='a'>b c</field>", &["[erased:secret]b c"]),
        ("<cvv type=\"x\"/>123", &[]),
        ("<a cvv>123", &[]),
        ("<a b=\"c\">123", &[]),
        ("a name=\"cvv\" > 123", &[]),
        (r#"{"card[cvv]":"123","card['pin']":"4711"}"#, &["[erased:security_code]123", "[erased:pin]4711"]),
        (r#"{"pin":["4711",4712],"a":[1234]}"#, &["[erased:pin]4711", "[erased:pin]4712"]),
        (r#"{"cvv":"1","cid":["123"]}"#, &["[erased:security_code]1", "[erased:security_code]123"]),
        (r#"{"cvv":"1","csc":{"value":"123"}}"#, &["[erased:security_code]1", "[erased:security_code]123"]),
        ("pin_block: 12 34 56 78 90 AB CD EF x", &["[erased:pin]12 34 56 78 90 AB CD EF"]),
        ("pin=80731:443", &["[erased:pin]80731"]),
        ("pin=4711.acme.example", &["[erased:pin]4711"]),
        ("xn--ssn=536-22-8726-gva.evil.example", &["[SSN]536-22-8726"]),
        ("pin=2026-11-22", &[]),
        ("tokens=[\"a\"]", &["[erased:secret][\"a\"]"]),
        ("passwords=a1", &["[erased:secret]a1"]),
        ("pass=12 fail=3", &[]),
        ("DB_PASS=hunter2", &["[erased:secret]hunter2"]),
    ]);
    for name in
        ["ccv", "cvvNum", "cvv2Code", "cvc3", "cvNumber", "cardcvn", "cardSecurity", "CardVerificationData", "cvvInput"]
    {
        assert_eq!(found(&format!("{name}=123")), ["[erased:security_code]123"], "`{name}`");
    }
    for name in ["pinValue", "mpin", "tpin", "repin", "pinConfirmation", "pins"] {
        assert_eq!(found(&format!("{name}=4711")), ["[erased:pin]4711"], "`{name}`");
    }
    for name in ["secret_key_base", "X-Functions-Key", "Ocp-Apim-Subscription-Key", "X-Signature", "db_pw"] {
        assert_eq!(found(&format!("{name}=a1")), ["[erased:secret]a1"], "`{name}`");
    }
}

#[test]
fn prose_and_counts_are_left() {
    check(&[
        ("unexpected token: foo", &[]),
        ("unexpected token: Foo at line 3", &[]),
        ("Invalid password: too short", &[]),
        ("Session: started", &[]),
        ("authorization: denied for bob", &[]),
        ("csrf: off", &[]),
        ("dbus-user-session:amd64 1.14", &[]),
        (r#"{"max_token":500,"token":null}"#, &[]),
        ("erlang/otp:26 OTP: 26 otp=28.0.1", &[]),
        ("otp=482193", &["[erased:secret]482193"]),
        ("bad token: a1b2", &["[erased:secret]a1b2"]),
        ("token: abcdefghijklmnopq", &["[erased:secret]abcdefghijklmnopq"]),
        ("token=foo", &["[erased:secret]foo"]),
        ("token: \"foo\"", &["[erased:secret]foo"]),
        ("Invalid password: hunter", &["[erased:secret]hunter"]),
        ("the password: hunter2 too short", &["[erased:secret]hunter2"]),
        ("password: correct horse X\nb", &["[erased:secret]correct horse X"]),
        ("a:\n  - db_password: correct horse\n", &["[erased:secret]correct horse"]),
        ("Authorization: denied x1", &["[erased:credential]denied x1"]),
    ]);
}

#[test]
fn of_authorization_the_scheme_stays() {
    check(&[
        ("Authorization: Bearer abc.def\r\nHost: x", &["[erased:credential]abc.def"]),
        ("authorization: bearer abc\nx", &["[erased:credential]abc"]),
        ("Proxy-Authorization: Basic dXNlcjpwYXNz", &["[erased:credential]dXNlcjpwYXNz"]),
        ("X-Authorization: Negotiate YII=\\u{d}\\u{a}Host: x", &["[erased:credential]YII="]),
        (
            "Authorization: Digest username=\"a, b\", response=\"c\"\r\nHost: x",
            &["[erased:credential]username=\"a, b\", response=\"c\""],
        ),
        (
            "Authorization: AWS4-HMAC-SHA256 Credential=A/b, SignedHeaders=a;b, Signature=f",
            &["[erased:credential]Credential=A/b, SignedHeaders=a;b, Signature=f"],
        ),
        ("Authorization: hunter2 x\n", &["[erased:credential]hunter2 x"]),
        ("Authorization: bearer\n", &[]),
        (r#"{"authorization":"Basic abc","x":1}"#, &["[erased:credential]abc"]),
        (r#"{\"authorization\":\"Basic abc\",\"x\":1}"#, &["[erased:credential]abc"]),
        (r#"{"authorization":["Basic abc"],"x":1}"#, &[r#"[erased:credential]["Basic abc"]"#]),
        ("curl -H 'Authorization: Bearer abc' https://x", &["[erased:credential]abc"]),
        ("authorization=Bearer abc&x=1", &["[erased:credential]abc"]),
        (r#"{"name":"Authorization","value":"Basic abc"}"#, &["[erased:credential]Basic abc"]),
        ("Authorization: \r\nHost: x", &[]),
    ]);
}

#[test]
fn of_cookies_the_names_stay() {
    check(&[
        ("Cookie: a=b; c=\"d e\"\r\nHost: x", &["[erased:cookie]b", "[erased:cookie]\"d e\""]),
        ("Set-Cookie: a=b; Path=/; HttpOnly; Secure", &["[erased:cookie]b", "[erased:cookie]/"]),
        ("set-cookie2: a=b==", &["[erased:cookie]b=="]),
        ("Cookie: abc1", &["[erased:cookie]abc1"]),
        ("Cookie: a=; b", &["[erased:cookie]b"]),
        ("Set-Cookie: dropped", &[]),
        (r#"{"cookie":"a=b; c=d","x":1}"#, &["[erased:cookie]b", "[erased:cookie]d"]),
        (r#"{"set-cookie":["a=b","c=d"],"x":1}"#, &[r#"[erased:cookie]["a=b","c=d"]"#]),
    ]);
}

#[test]
fn marks_are_no_fields_and_no_values() {
    for text in [
        "password=[erased:secret]",
        "password=[erased:secret]…",
        "password=…",
        "password=\"…",
        "\"password\":\"[PAN:visa:16]\"",
        "{\"password\":[erased:secret]}",
        "Authorization: Bearer [erased:credential]",
        "Cookie: a=[erased:cookie]; b=[erased:cookie]",
        "<cvv>[erased:security_code]</cvv>",
        "[SSN]=536221234",
        "[PAN:visa:16] and more",
        "[private:x-password]=5",
        "[erased:pin]: 4711",
        "[key:aws]:a",
    ] {
        assert!(found(text).is_empty(), "`{text}`: {:?}", found(text));
    }
}

#[test]
fn stays_linear_on_long_texts() {
    for unit in [
        "a=",
        "cid=",
        "cvv=",
        "password:",
        "secret:{",
        "secret:[\"",
        "secret:{\n",
        "secret:\"{",
        "Cookie: ",
        "name=\"cvv\" ",
        "name=\"cvv\";",
        "<cvv>",
        "<x:cvv>",
        "authorization: Digest a=\"",
        "[[[[",
        "\\\"cvv\\\":",
        "cvv]=",
        "a.b-c_d ",
        "password=[erased:secret]",
        "pin: ",
        "\\\\\\\\\"token",
    ] {
        let text = unit.repeat(300_000 / unit.len());
        assert!(found(&text).len() <= text.len(), "`{unit}`");
    }
}
