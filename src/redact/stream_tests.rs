//! Streams: tables, and the law that no split changes what comes out.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;

/// Small, so that a test fills some.
const WINDOW: usize = 1024;

fn redactor() -> Redactor {
    Redactor::new(&["account".parse().unwrap()], &[])
}

/// A text as it comes out, what was found in words, and where.
#[derive(Debug, PartialEq, Eq)]
struct Ended {
    text: Vec<u8>,
    finds: Vec<(Place, String)>,
    counts: Counts,
    marks: u64,
}

fn ended(pieces: &[&[u8]], window: usize) -> Ended {
    let redactor = redactor();
    let mut stream = Stream { window, ..Stream::new(&redactor) };
    let (mut text, mut finds) = (Vec::new(), Vec::new());
    let mut each = |piece: Piece<'_, '_>| match piece {
        Piece::Text(piece) => text.extend_from_slice(piece),
        Piece::Found(find) => {
            text.extend_from_slice(find.mark().as_bytes());
            finds.push((find.place, find.words()));
        }
    };
    for piece in pieces {
        stream.push(piece, &mut each);
        assert!(stream.held.len() <= window && stream.held.capacity() <= 2 * window, "{}", stream.held.len());
    }
    stream.finish(&mut each);
    let (counts, marks) = (stream.counts().clone(), stream.marks());
    Ended { text, finds, counts, marks }
}

fn redacted(text: &str) -> String {
    String::from_utf8(ended(&[text.as_bytes()], MAX_WINDOW).text).unwrap()
}

#[test]
fn texts_by_table() {
    let key = "-----BEGIN RSA PRIVATE KEY-----\nMIIB\r\nAAAA\n-----END RSA PRIVATE KEY-----";
    let one_line = key.replace('\n', "\\n");
    for (text, want, counts) in [
        ("", "", "0"),
        ("\n\n", "\n\n", "0"),
        ("a\tb\r\n\u{1b}[0m\u{202e}", "a\tb\r\n\u{1b}[0m\u{202e}", "0"),
        ("pan=4111111111111111", "pan=[PAN:visa:16]", "1: 1 pan"),
        ("x\n4111111111111111\ny\n", "x\n[PAN:visa:16]\ny\n", "1: 1 pan"),
        ("4111111111111111\n378282246310005", "[PAN:visa:16]\n[PAN:amex:15]", "2: 2 pan"),
        ("4111 1111\n1111 1111", "4111 1111\n1111 1111", "0"),
        ("account=7\n4111111111111111", "account=[private:account]\n[PAN:visa:16]", "2: 1 pan, 1 private_field"),
        ("[PAN:visa:16] account=[private:account]", "[PAN:visa:16] account=[private:account]", "0"),
        (&format!("a\n{key}\nb"), "a\n[erased:secret]\nb", "1: 1 secret"),
        (&format!("{{\"k\": \"{one_line}\\n\"}}"), "{\"k\": \"[erased:secret]\\n\"}", "1: 1 secret"),
        (&format!("{key} 4111111111111111"), "[erased:secret] [PAN:visa:16]", "2: 1 pan, 1 secret"),
        (&format!("{key}\n{key}\n"), "[erased:secret]\n[erased:secret]\n", "2: 2 secret"),
        (&key.replace("RSA ", ""), "[erased:secret]", "1: 1 secret"),
        (
            "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nx\n-----END PGP PRIVATE KEY BLOCK-----\n",
            "[erased:secret]\n",
            "1: 1 secret",
        ),
        (
            "-----BEGIN PRIVATE KEY-----\nx\n-----END CERTIFICATE-----\ny",
            "[erased:secret]\n-----END CERTIFICATE-----\ny",
            "1: 1 secret",
        ),
        (&key.replace("PRIVATE", "PUBLIC"), &key.replace("PRIVATE", "PUBLIC"), "0"),
    ] {
        let got = ended(&[text.as_bytes()], MAX_WINDOW);
        assert_eq!((text_of(&got), got.counts.to_string().as_str()), (want, counts), "`{text}`");
    }
}

fn text_of(ended: &Ended) -> &str {
    str::from_utf8(&ended.text).unwrap()
}

#[test]
fn other_bytes_stay_as_they_are() {
    let bytes: Vec<u8> = (0..=255).chain([0xff, b'\n', 0xc3]).collect();
    assert_eq!(ended(&[&bytes], MAX_WINDOW).text, bytes);
}

#[test]
fn finds_have_their_places() {
    let text = "a 4111111111111111\n\nb\u{e9}: 378282246310005, account=1\n";
    let place = |offset, line, column| Place { offset, line, column };
    let got = ended(&[text.as_bytes()], MAX_WINDOW).finds;
    let want = [
        (place(2, 1, 3), "pan visa 16 digits"),
        (place(25, 3, 6), "pan amex 15 digits"),
        (place(50, 3, 31), "private_field account"),
    ];
    assert_eq!(got.iter().map(|(place, words)| (*place, words.as_str())).collect::<Vec<_>>(), want);
}

#[test]
fn a_number_is_found_wherever_it_stands_in_a_line_of_any_length() {
    for at in (0..WINDOW * 3).step_by(7) {
        let mut line = vec![b'.'; WINDOW * 3 + 40];
        line[at..at + 19].copy_from_slice(b"5555-5555-5555-4444");
        let got = ended(&[&line], WINDOW);
        let offset = u64::try_from(at).unwrap();
        let place = Place { offset, line: 1, column: offset + 1 };
        assert_eq!(got.finds, [(place, "pan mastercard 16 digits".to_owned())], "{at}");
        assert_eq!(got.text.len(), line.len() - 19 + "[PAN:mastercard:16]".len(), "{at}");
    }
}

#[test]
fn a_value_without_an_end_is_one_find() {
    for length in [10, WINDOW - 30, WINDOW, WINDOW + 1, WINDOW * 2, WINDOW * 50 + 3] {
        for (before, open, close) in
            [("", "account=", "&x=1"), (&*"-".repeat(900), "account: \"", "\" 4111111111111111")]
        {
            let text = format!("{before}{open}{}{close}\nz", "v".repeat(length));
            let want = format!("{before}{open}[private:account]{}\nz", redacted(close));
            let got = ended(&[text.as_bytes()], WINDOW);
            assert_eq!(text_of(&got), want, "{length} {open}");
            assert_eq!(got.counts.total(), if close.contains('4') { 2 } else { 1 }, "{length} {open}");
        }
    }
}

#[test]
fn a_name_and_its_value_are_found_wherever_an_edge_is_between_them() {
    for at in 0..WINDOW + 200 {
        let text = format!("{}account: 7&{}", ".".repeat(at), "-".repeat(WINDOW));
        let want = format!("{}account: [private:account]&{}", ".".repeat(at), "-".repeat(WINDOW));
        assert_eq!(text_of(&ended(&[text.as_bytes()], WINDOW)), want, "{at}");
    }
}

#[test]
fn a_word_that_says_a_number_is_erased_to_its_end() {
    for (before, after) in [(0, 5000), (700, 1000), (30, 900)] {
        let json = format!("{}{{\"pan\":\"4111111111111111\"}}{}", "x".repeat(before), "y".repeat(after));
        let word = STANDARD.encode(json);
        let text = format!("a={word}, b=1\n");
        assert_eq!(text_of(&ended(&[text.as_bytes()], WINDOW)), "a=[PAN:visa:16], b=1\n", "{before} {after}");
    }
    // What of it was given before is not called back; what is left is decoded as it was encoded.
    for before in 2000..2012 {
        let text = format!("{}4111 1111 1111 1111", "x".repeat(before));
        let hex = text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
        for word in [STANDARD.encode(&text), hex.clone(), format!("f{hex}")] {
            let got = ended(&[word.as_bytes()], WINDOW);
            assert_eq!(got.counts.to_string(), "1: 1 pan", "{before} {word:.20}");
            assert!(text_of(&got).ends_with("[PAN:visa:16]"), "{before} {word:.20}");
        }
    }
}

#[test]
fn a_private_key_without_an_end_takes_so_many_lines_and_no_more() {
    let lines = usize::try_from(MAX_KEY_LINES).unwrap();
    let text = format!("a\n-----BEGIN PRIVATE KEY-----\n{}b\nc\n", "x\n".repeat(lines));
    assert_eq!(redacted(&text), "a\n[erased:secret]\nb\nc\n");
    let long =
        format!("-----BEGIN PRIVATE KEY-----\n{}-----END PRIVATE KEY-----4111111111111111", "x".repeat(WINDOW * 5));
    let got = ended(&[long.as_bytes()], WINDOW);
    assert_eq!(text_of(&got), "[erased:secret][PAN:visa:16]");
    let offset = u64::try_from(long.len() - 16).unwrap();
    assert_eq!(got.finds[1].0, Place { offset, line: 2, column: offset + 1 - 28 });
}

#[test]
fn a_line_that_is_no_keys_ends_one_and_what_stands_in_one_is_told() {
    let begin = "-----BEGIN PRIVATE KEY-----";
    for (text, want, counts) in [
        (format!("{begin} is missing\nno key here\nx=1"), "[erased:secret]\nno key here\nx=1", "1: 1 secret"),
        (
            format!("{begin}\nMIIB\n\ncard 4111111111111111\ny"),
            "[erased:secret]\ncard [PAN:visa:16]\ny",
            "2: 1 pan, 1 secret",
        ),
        (format!("{begin}\n4111111111111111\n"), "[erased:secret][PAN:visa:16]", "2: 1 pan, 1 secret"),
        (format!("{begin}\nX-Y: 4111111111111111\nab cd"), "[erased:secret][PAN:visa:16]\nab cd", "2: 1 pan, 1 secret"),
        (
            format!(
                "> {begin}\n> DEK-Info: AES-256-CBC,00\n>\n> MIIB\n12:00 app {}\n\"MIIB\\n\" +\nno key",
                "A".repeat(64)
            ),
            "> [erased:secret]\nno key",
            "1: 1 secret",
        ),
    ] {
        let got = ended(&[text.as_bytes()], MAX_WINDOW);
        assert_eq!((text_of(&got), got.counts.to_string().as_str()), (want, counts), "`{text}`");
    }
    let long = format!("{begin}\n{} 4111111111111111\n", "x y ".repeat(WINDOW));
    assert_eq!(ended(&[long.as_bytes()], WINDOW).counts.to_string(), "2: 1 pan, 1 secret");
}

#[test]
fn values_are_found_on_the_lines_behind_their_names() {
    for (text, want) in [
        (
            "--b\r\nContent-Disposition: form-data; name=\"cvv\"\r\n\r\n739\r\n--b\r\n",
            "--b\r\nContent-Disposition: form-data; name=\"cvv\"\r\n\r\n[erased:security_code]\r\n--b\r\n",
        ),
        (
            "Content-Disposition: form-data; name=\"password\"\nContent-Type: text/plain\n\nhunter2\n--b\n",
            "Content-Disposition: form-data; name=\"password\"\nContent-Type: text/plain\n\n[erased:secret]\n--b\n",
        ),
        ("{\n \"password\":\n  \"x y\",\n \"a\": 1\n}\n", "{\n \"password\":\n  \"[erased:secret]\",\n \"a\": 1\n}\n"),
        ("{\n \"account\":\n  \"x y\"\n}", "{\n \"account\":\n  \"[private:account]\"\n}"),
        (
            "{\n \"name\": \"cvv\",\n \"value\": \"739\"\n}\n",
            "{\n \"name\": \"cvv\",\n \"value\": \"[erased:security_code]\"\n}\n",
        ),
        ("<cvv>\n 739\n</cvv>\n", "<cvv>\n [erased:security_code]\n</cvv>\n"),
        (
            "{\n \"authorization\": [\n  \"x\"\n ],\n \"a\": 1\n}\n",
            "{\n \"authorization\": \"[erased:credential]\",\n \"a\": 1\n}\n",
        ),
        ("\"name\": \"cvv\",\n4111111111111111\n378282246310005", "\"name\": \"cvv\",\n[PAN:visa:16]\n[PAN:amex:15]"),
    ] {
        assert_eq!(redacted(text), want, "`{text}`");
    }
    let cookies = format!("\"cookie\": {{\n{} \"z\": \"SECRET\"\n}},\n\"a\": 1\n", " \"y\": \"x\",\n".repeat(50));
    assert_eq!(redacted(&cookies), "\"cookie\": \"[erased:cookie]\",\n\"a\": 1\n");
}

#[test]
fn lines_that_are_held_together_have_their_places_and_their_end() {
    let text = "a\n\"password\":\n \"x\"\n4111111111111111\nb\nc\nd\n";
    let place = |offset, line, column| Place { offset, line, column };
    let got = ended(&[text.as_bytes()], MAX_WINDOW).finds;
    assert_eq!(got.iter().map(|(place, _)| *place).collect::<Vec<_>>(), [place(16, 3, 3), place(19, 4, 1)]);
    let redactor = redactor();
    let mut stream = Stream::new(&redactor);
    let mut came = 0;
    let each: &mut dyn FnMut(Piece<'_, '_>) = &mut |piece| came += usize::from(matches!(piece, Piece::Text(b"\n")));
    stream.push(b"\"password\":\n1\n2\n3\n", each);
    assert_eq!(stream.held.len(), 18, "four lines may follow");
    stream.push(b"4\n", each);
    assert!(stream.held.is_empty() && came == 1, "the fourth has come: {came}");
}

#[test]
fn marks_that_were_there_are_counted_apart() {
    for (text, marks) in
        [("[PAN:visa:16][JWT] [x] [PAN:visa:5]\n[erased:pin]", 3), ("[PAN:visa:16", 0), (&"[SSN] ".repeat(1000), 1000)]
    {
        let got = ended(&[text.as_bytes()], WINDOW);
        assert_eq!((got.marks, got.counts.total()), (marks, 0), "`{text:.50}`");
    }
}

/// What matters to what is found in one line.
const WORDS: [&str; 18] = [
    "4111111111111111",
    "4111 1111 1111 1111",
    "4111%201111%201111%201111",
    "account=",
    "account: \"",
    "\"",
    "\\",
    "\n",
    "\r\n",
    " ",
    "&",
    "-",
    "[PAN:visa:16]",
    "[private:account]",
    "deadbeefdeadbeef",
    "378282246310005",
    "\u{ff14}",
    "é",
];

/// And in more than one.
const KEYS: [&str; 4] = ["-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----", "<account>\r\n", "\"account\":\n"];

/// Text made of these, in lines that fill windows or do not.
fn texts(words: Vec<&'static str>) -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        6 => prop::sample::select(words).prop_map(|word| word.as_bytes().to_vec()),
        1 => (any::<u8>(), 1_usize..400).prop_map(|(byte, count)| vec![byte; count]),
        1 => prop::collection::vec(any::<u8>(), 1..20),
    ];
    prop::collection::vec(word, 0..60).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn no_split_changes_what_comes_out(
        text in texts([&WORDS[..], &KEYS].concat()), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|ends| &text[ends[0]..ends[1]]).collect();
        let singles: Vec<&[u8]> = text.chunks(1).collect();
        let whole = ended(&[&text], WINDOW);
        prop_assert_eq!(&ended(&pieces, WINDOW), &whole);
        prop_assert_eq!(&ended(&singles, WINDOW), &whole);
        prop_assert_eq!(whole.counts.total(), u64::try_from(whole.finds.len()).unwrap());
    }

    #[test]
    fn what_comes_out_has_nothing_to_find(text in texts(WORDS.to_vec())) {
        let once = ended(&[&text], MAX_WINDOW);
        let twice = ended(&[&once.text], MAX_WINDOW);
        prop_assert_eq!(&twice.text, &once.text);
        prop_assert_eq!(twice.counts.total(), 0);
    }

    #[test]
    fn small_windows_find_what_large_ones_find(text in "([a-z ,:]{0,30}|4111111111111111|account=[a-z]{1,9}&|\n){0,200}") {
        prop_assert_eq!(ended(&[text.as_bytes()], WINDOW), ended(&[text.as_bytes()], MAX_WINDOW));
    }
}
