//! Reads the repository's files for the tests over them: which there are, and Rust as words, literals and marks.
//! Not here: a parser. It sees no types and expands no macro; what a test over tokens misses for that, the test says.
//! Source: the Rust Reference, "Lexical structure".

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What is no part of the sources: build output, what fuzzing leaves behind, version control.
const SKIPPED: [&str; 7] =
    ["target", ".git", "fuzz/target", "fuzz/corpus", "fuzz/artifacts", "fuzz/coverage", "benches/rig/target"];

/// One text file of the repository.
pub struct File {
    /// Its path from the repository's root, with `/`.
    pub path: String,
    pub text: String,
}

/// One Rust file.
pub struct Source {
    pub path: String,
    pub text: String,
    pub tokens: Vec<Token>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Names, keywords and numbers.
    Word,
    /// What stands between the quotes of a string or character.
    Literal,
    /// Punctuation, of which `::`, `=>`, `->`, `==` and `!=` are one each.
    Mark,
}

#[derive(Clone, Debug)]
pub struct Token {
    pub kind: Kind,
    pub text: String,
    pub line: usize,
    /// Whether it is compiled for tests alone.
    pub is_test: bool,
    /// How many modules with a body stand around it in its file.
    pub nested: usize,
}

/// A path such as `crate::name::Fqdn`; `use a::{b, c}` is two.
pub struct UsedPath {
    pub segments: Vec<String>,
    /// Its first token and the one behind its last.
    pub tokens: std::ops::Range<usize>,
}

/// Every text file of the repository, in the order of paths.
pub fn repository() -> Vec<File> {
    let mut files = Vec::new();
    walk(Path::new(env!("CARGO_MANIFEST_DIR")), "", &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn walk(root: &Path, below: &str, files: &mut Vec<File>) {
    for entry in fs::read_dir(root.join(below)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        if SKIPPED.contains(&path.as_str()) {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            walk(root, &path, files);
        } else if let Ok(text) = fs::read_to_string(entry.path()) {
            files.push(File { path, text });
        }
    }
}

/// Every Rust file whose path begins with `below`.
pub fn rust(below: &str) -> Vec<Source> {
    let files = repository().into_iter().filter(|file| file.path.starts_with(below) && file.path.ends_with(".rs"));
    let mut sources: Vec<Source> =
        files.map(|File { path, text }| Source { tokens: tokens(&text), path, text }).collect();
    let tests: BTreeSet<String> = sources.iter().flat_map(test_modules).collect();
    for source in &mut sources {
        let stem = source.path.trim_end_matches(".rs").trim_end_matches("/mod");
        let is_test = stem.split('/').any(|part| part.ends_with("tests")) || tests.contains(stem);
        source.tokens.iter_mut().for_each(|token| token.is_test |= is_test);
    }
    sources
}

/// The files, without `.rs`, that `#[cfg(test)] mod NAME;` declares.
fn test_modules(source: &Source) -> Vec<String> {
    let folder = match source.path.trim_end_matches(".rs").trim_end_matches("/mod") {
        "src/lib" | "src/main" => "src",
        folder => folder,
    };
    let declared = source.tokens.windows(3).filter(|three| three[0].is_test && three[0].is("mod") && three[2].is(";"));
    declared.map(|three| format!("{folder}/{}", three[1].text)).collect()
}

impl Token {
    /// Whether it is this word or mark.
    pub fn is(&self, text: &str) -> bool {
        self.kind != Kind::Literal && self.text == text
    }
}

impl Source {
    /// `FILE:LINE` of a token.
    pub fn at(&self, token: usize) -> String {
        format!("{}:{}", self.path, self.tokens[token].line)
    }

    /// Its place among modules: `src/policy/tests/laws.rs` is `policy tests laws`, the crate's root nothing.
    pub fn module(&self) -> Vec<&str> {
        let path = self.path.trim_end_matches(".rs").trim_end_matches("/mod");
        path.split('/').skip(1).filter(|part| !matches!(*part, "lib" | "main")).collect()
    }

    /// Whether the token at `index` is this word or mark.
    pub fn is(&self, index: usize, text: &str) -> bool {
        self.tokens.get(index).is_some_and(|token| token.is(text))
    }

    /// Every path in the file, words that stand alone included.
    pub fn paths(&self) -> Vec<UsedPath> {
        let (mut found, mut index) = (Vec::new(), 0);
        while index < self.tokens.len() {
            index = match self.tokens[index].kind {
                Kind::Word => self.path_from(index, &[], &mut found),
                Kind::Literal | Kind::Mark => index + 1,
            };
        }
        found
    }

    /// Reads the path that begins at `start`, below `prefix`; returns where to go on.
    fn path_from(&self, start: usize, prefix: &[String], found: &mut Vec<UsedPath>) -> usize {
        let is_word = |index: usize| self.tokens.get(index).is_some_and(|token| token.kind == Kind::Word);
        let mut segments = [prefix, &[self.tokens[start].text.clone()]].concat();
        let mut index = start + 1;
        while self.is(index, "::") && is_word(index + 1) {
            segments.push(self.tokens[index + 1].text.clone());
            index += 2;
        }
        if !(self.is(index, "::") && self.is(index + 1, "{")) {
            found.push(UsedPath { segments, tokens: start..index });
            return index;
        }
        index += 2;
        while index < self.tokens.len() && !self.is(index, "}") {
            index = if is_word(index) { self.path_from(index, &segments, found) } else { index + 1 };
        }
        index + 1
    }

    /// The index of the bracket that closes the one at `open`.
    pub fn close_of(&self, open: usize) -> usize {
        let mut depth = 0_usize;
        for (index, token) in self.tokens.iter().enumerate().skip(open) {
            if ["(", "[", "{"].iter().any(|mark| token.is(mark)) {
                depth += 1;
            } else if [")", "]", "}"].iter().any(|mark| token.is(mark)) {
                depth -= 1;
                if depth == 0 {
                    return index;
                }
            }
        }
        panic!("{}: no closing bracket", self.at(open));
    }
}

/// Rust as tokens, comments left out, with what is for tests marked.
fn tokens(text: &str) -> Vec<Token> {
    let mut source = Source { path: String::new(), text: String::new(), tokens: split(text) };
    for index in 0..source.tokens.len() {
        let is_cfg = ["#", "[", "cfg", "(", "test", ")", "]"].iter().zip(index..).all(|(mark, at)| source.is(at, mark));
        if is_cfg {
            let end = item_end(&source, index);
            source.tokens[index..=end].iter_mut().for_each(|token| token.is_test = true);
        }
        if source.is(index, "mod") && source.is(index + 2, "{") {
            let end = source.close_of(index + 2);
            source.tokens[index + 2..end].iter_mut().for_each(|token| token.nested += 1);
        }
    }
    source.tokens
}

/// The last token of the item whose first attribute begins at `index`.
fn item_end(source: &Source, mut index: usize) -> usize {
    while source.is(index, "#") {
        index = source.close_of(index + 1) + 1;
    }
    while !source.is(index, ";") && !source.is(index, "{") {
        index = if source.is(index, "(") { source.close_of(index) + 1 } else { index + 1 };
    }
    if source.is(index, "{") { source.close_of(index) } else { index }
}

fn split(text: &str) -> Vec<Token> {
    let (mut tokens, mut rest, mut line) = (Vec::new(), text, 1);
    while !rest.is_empty() {
        let (kind, shown, length) = next(rest);
        if let Some(kind) = kind {
            tokens.push(Token { kind, text: shown.to_owned(), line, is_test: false, nested: 0 });
        }
        let (read, left) = rest.split_at(length);
        line += read.matches('\n').count();
        rest = left;
    }
    tokens
}

/// The kind of what `rest` begins with (none: space or comment), what to keep of it, and its length.
fn next(rest: &str) -> (Option<Kind>, &str, usize) {
    let first = rest.chars().next().unwrap();
    let (word, behind) = rest.split_at(rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len()));
    if first.is_whitespace() {
        return (None, "", first.len_utf8());
    }
    if rest.starts_with("//") {
        return (None, "", rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (None, "", rest.find("*/").map_or(rest.len(), |end| end + 2));
    }
    let literal = match word {
        "" | "b" | "c" => quoted(behind),
        "r" | "br" | "cr" => raw(behind),
        _ => None,
    };
    if let Some((content, length)) = literal {
        return (Some(Kind::Literal), content, word.len() + length);
    }
    if !word.is_empty() {
        return (Some(Kind::Word), word, word.len());
    }
    let double = ["::", "=>", "->", "==", "!="].into_iter().find(|mark| rest.starts_with(mark));
    let length = double.map_or(first.len_utf8(), str::len);
    (Some(Kind::Mark), rest.split_at(length).0, length)
}

/// The content and the whole length of the raw string that `rest` begins with, behind its `r`.
fn raw(rest: &str) -> Option<(&str, usize)> {
    let hashes = "#".repeat(rest.len() - rest.trim_start_matches('#').len());
    let (content, _) = rest.trim_start_matches('#').strip_prefix('"')?.split_once(&format!("\"{hashes}"))?;
    Some((content, 2 * hashes.len() + 2 + content.len()))
}

/// The content and the whole length of the string or character that `rest` begins with. A lifetime is none.
fn quoted(rest: &str) -> Option<(&str, usize)> {
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let (_, body) = rest.split_at(1);
    let mut escaped = false;
    let end = body.find(|c: char| {
        let ends = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })?;
    let is_character = body.starts_with('\\') || body.chars().nth(1) == Some('\'');
    (quote == '"' || is_character).then(|| (body.split_at(end).0, end + 2))
}

#[test]
fn rust_is_read() {
    let read = |text: &str| split(text).into_iter().map(|token| token.text).collect::<Vec<_>>().join(" ");
    for (name, text, want) in [
        ("paths", "a::b=>c", "a :: b => c"),
        ("comments", "a // b\n/* c */ d", "a d"),
        ("strings", r#"f("a\"b", b"c")"#, r#"f ( a\"b , c )"#),
        ("raw strings", r###"r"a" r#"b"c"# br##"d"##"###, "a b\"c d"),
        ("characters and lifetimes", r"'a' '\'' '\u{7f}' &'a T", r"a \' \u{7f} & ' a T"),
        ("numbers", "0x1f..=1_000u64", "0x1f . . = 1_000u64"),
    ] {
        assert_eq!(read(text), want, "{name}");
    }
}

#[test]
fn what_is_for_tests_is_marked() {
    let text = "fn a() {}\n#[cfg(test)]\n#[path = \"x\"]\nmod b;\nuse c::{d, e::f};\n#[cfg(test)]\nmod g { fn h() { i(); } }\nfn j() {}";
    let source = Source { path: "src/k.rs".into(), text: String::new(), tokens: tokens(text) };
    let tests: Vec<&str> = source
        .tokens
        .iter()
        .filter(|token| token.is_test && token.kind == Kind::Word)
        .map(|token| &*token.text)
        .collect();
    assert_eq!(tests, ["cfg", "test", "path", "mod", "b", "cfg", "test", "mod", "g", "fn", "h", "i"]);
    assert_eq!(test_modules(&source), ["src/k/b"]);
    let long: Vec<String> =
        source.paths().iter().filter(|path| path.segments.len() > 1).map(|path| path.segments.join("::")).collect();
    assert_eq!(long, ["c::d", "c::e::f"]);
    let nested: Vec<&str> = source.tokens.iter().filter(|token| token.nested == 1).map(|token| &*token.text).collect();
    assert_eq!(nested.join(" "), "{ fn h ( ) { i ( ) ; }");
}
