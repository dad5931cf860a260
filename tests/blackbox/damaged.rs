//! Encrypted files that are not what they were, given to the real binary with right and wrong keys: each is refused with
//! its cause, and nothing of it is given, shown or written.

use std::path::Path;

use hob_tests::home::Home;

use crate::home;

const KEYS: &str = "../../stdlib/secrets/tests/fixtures";
/// Stands in each value, and in nothing that is said.
const CANARY: &str = "hunter2-canary";

const YAML: &str = "# hunter2-canary-comment\nuser: hunter2-canary-user\npassword: hunter2-canary\nlist:\n    - hunter2-canary-one\n    - hunter2-canary-two\nport: 5432\n";
const JSON: &str = "{\n\"user\": \"hunter2-canary-user\",\n\"password\": \"hunter2-canary\",\n\"list\": [\n\"hunter2-canary-one\",\n\"hunter2-canary-two\"\n],\n\"port\": 5432\n}\n";
const ENV: &str = "# hunter2-canary-comment\nuser=hunter2-canary-user\npassword=hunter2-canary\nport=5432\n";
const INI: &str = "[top]\nuser = hunter2-canary-user\npassword = hunter2-canary\nport = 5432\n";

/// What is done to the text of an encrypted file.
type Change = fn(&str) -> Vec<u8>;

/// What is changed, in which files (by the ends of their names), and the code and a part of what is said.
const CASES: &[(&str, &str, Change, &str, &str)] = &[
    (
        "a changed value",
        "yaml json env ini",
        |text| flipped(text, "password"),
        "HOB-0702",
        "an encrypted value was changed",
    ),
    ("a changed file", "bin", |text| flipped(text, "data"), "HOB-0702", "an encrypted value was changed"),
    (
        "two values changed places",
        "yaml json env ini",
        |text| swapped(text, "user", "password"),
        "HOB-0702",
        "an encrypted value was changed, or moved",
    ),
    (
        "another key",
        "yaml json env ini",
        |text| text.replacen("password", "passw0rd", 1).into(),
        "HOB-0702",
        "an encrypted value was changed, or moved",
    ),
    ("another order of a list", "yaml json", reordered, "HOB-0702", "its values do not fit its MAC"),
    (
        "a value less",
        "yaml env ini",
        |text| without_line(text, "user"),
        "HOB-0702",
        "its values do not fit its MAC",
    ),
    ("another MAC", "yaml json env ini bin", |text| flipped(text, "mac"), "HOB-0702", "MAC"),
    ("no MAC", "yaml env ini", |text| without_line(text, "mac"), "HOB-0702", "mac"),
    (
        "another time",
        "yaml json env ini bin",
        |text| text.replacen("lastmodified", "lastmodifiee", 1).into(),
        "HOB-0702",
        "lastmodified",
    ),
    ("a damaged data key", "yaml json env ini bin", damaged_key, "HOB-070", ""),
    ("a value in plain", "yaml env ini", in_plain, "HOB-0702", ""),
    ("the first half", "yaml json env ini bin", |text| text[..text.len() / 2].into(), "HOB-070", ""),
    (
        "no metadata",
        "yaml",
        |text| text[..text.find("\nsops:").unwrap() + 1].into(),
        "HOB-0703",
        "not encrypted",
    ),
    ("nothing", "yaml json env ini", |_| Vec::new(), "HOB-070", ""),
    (
        "an unknown type",
        "yaml json env ini",
        |text| text.replacen("type:str", "type:decimal", 1).into(),
        "HOB-070",
        "type",
    ),
    (
        "another type",
        "yaml json env ini",
        |text| text.replacen("type:str", "type:int", 1).into(),
        "HOB-0702",
        "",
    ),
    ("an unknown cipher", "yaml json env ini bin", other_cipher, "HOB-070", ""),
    ("an unknown version", "yaml json env ini bin", other_version, "HOB-0703", "version"),
    ("a key twice", "yaml json env ini", doubled, "HOB-0702", "stands twice"),
    ("deep nesting", "yaml", |text| nested("deep: ", text), "HOB-0702", "deep"),
    ("deep nesting", "json", |text| nested("\"deep\": ", text), "HOB-0702", "deep"),
    ("no UTF-8", "yaml json env ini bin", |text| [text.as_bytes(), b"\xff"].concat(), "HOB-0702", "no UTF-8"),
    (
        "line ends of Windows",
        "env",
        |text| text.replace('\n', "\r\n").into(),
        "HOB-0703",
        "the file has Windows line ends",
    ),
    (
        "an anchor",
        "yaml",
        |text| text.replacen("user: ", "user: &a ", 1).into(),
        "HOB-070",
        "anchors are not supported",
    ),
];

/// As [`CASES`], for age files.
type AgeChange = fn(&[u8]) -> Vec<u8>;
const AGE_CASES: &[(&str, &str, AgeChange, &str, &str)] = &[
    ("a changed end", "age armored", |file| changed(file, file.len() - 40), "HOB-070", ""),
    ("a changed header", "age armored", |file| changed(file, 60), "HOB-070", ""),
    ("the first half", "age armored", |file| file[..file.len() / 2].into(), "HOB-070", ""),
    ("a byte less", "age", |file| file[..file.len() - 1].into(), "HOB-0702", "cannot be verified"),
    ("a byte more", "age", |file| [file, b"x"].concat(), "HOB-0702", "cannot be verified"),
    ("another file behind it", "age", |file| [file, file].concat(), "HOB-0702", "cannot be verified"),
    ("nothing", "age armored", |_| Vec::new(), "HOB-070", ""),
    ("an unknown version", "age", |file| replaced(file, b"org/v1", b"org/v9"), "HOB-070", ""),
    ("a mark before it", "age", |file| [b"\xef\xbb\xbf", file].concat(), "HOB-070", ""),
    ("line ends of Windows", "age", |file| replaced(file, b"\n", b"\r\n"), "HOB-070", ""),
];

/// Another character in the first encrypted value behind a key.
fn flipped(text: &str, key: &str) -> Vec<u8> {
    let key = text
        .rfind(&format!("{key}\""))
        .or_else(|| text.find(&format!("{key}: ")))
        .or_else(|| text.find(&format!("{key}=")))
        .or_else(|| text.find(key))
        .unwrap();
    let at = key + text[key..].find("data:").unwrap() + "data:".len();
    let by = if text[at..].starts_with('A') { "B" } else { "A" };
    [&text[..at], by, &text[at + 1..]].concat().into_bytes()
}

/// The encrypted value behind a key.
fn value(text: &str, key: &str) -> std::ops::Range<usize> {
    let key = text.find(key).unwrap();
    let from = key + text[key..].find("ENC[").unwrap();
    from..from + text[from..].find(']').unwrap() + 1
}

fn swapped(text: &str, one: &str, other: &str) -> Vec<u8> {
    let (a, b) = (value(text, one), value(text, other));
    [&text[..a.start], &text[b.clone()], &text[a.end..b.start], &text[a], &text[b.end..]]
        .concat()
        .into_bytes()
}

/// The two items of the list in the other order.
fn reordered(text: &str) -> Vec<u8> {
    let a = value(text, "list");
    let from = a.end + text[a.end..].find("ENC[").unwrap();
    let b = from..from + text[from..].find(']').unwrap() + 1;
    [&text[..a.start], &text[b.clone()], &text[a.end..b.start], &text[a], &text[b.end..]]
        .concat()
        .into_bytes()
}

fn without_line(text: &str, key: &str) -> Vec<u8> {
    let is_it = |line: &&str| line.trim_start().trim_start_matches("sops_").starts_with(key);
    text.split_inclusive('\n').filter(|line| !is_it(line)).collect::<String>().into_bytes()
}

/// Another character in the encrypted data key.
fn damaged_key(text: &str) -> Vec<u8> {
    let at = text.find("YWdlLWVuY3J5cHRpb24").unwrap() + 120;
    let by = if text[at..].starts_with('A') { "B" } else { "A" };
    [&text[..at], by, &text[at + 1..]].concat().into_bytes()
}

fn in_plain(text: &str) -> Vec<u8> {
    let at = value(text, "password");
    [&text[..at.start], CANARY, &text[at.end..]].concat().into_bytes()
}

fn other_version(text: &str) -> Vec<u8> {
    let at = text.rfind("3.").unwrap();
    [&text[..at], "9", &text[at + 1..]].concat().into_bytes()
}

fn other_cipher(text: &str) -> Vec<u8> {
    let key = text.find("user").or_else(|| text.find("data\"")).unwrap();
    let at = key + text[key..].find("AES256_GCM").unwrap();
    [&text[..at], "AES512_XYZ", &text[at + "AES256_GCM".len()..]].concat().into_bytes()
}

fn doubled(text: &str) -> Vec<u8> {
    let at = text.find("password").unwrap();
    let from = text[..at].rfind('\n').unwrap() + 1;
    let to = at + text[at..].find('\n').unwrap() + 1;
    [&text[..to], &text[from..]].concat().into_bytes()
}

/// A value that is a list in a list in a list, and so on, before all others.
fn nested(key: &str, text: &str) -> Vec<u8> {
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    match text.strip_prefix('{') {
        Some(rest) => format!("{{{key}{deep},{rest}").into_bytes(),
        None => format!("{key}{deep}\n{text}").into_bytes(),
    }
}

fn changed(file: &[u8], at: usize) -> Vec<u8> {
    let mut file = file.to_vec();
    file[at] ^= 1;
    file
}

fn replaced(file: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = file.windows(from.len()).position(|window| window == from).unwrap();
    [&file[..at], to, &file[at + from.len()..]].concat()
}

/// A home with two keys, and an encrypted file of each kind for the first.
struct Lab {
    home: Home,
    files: Vec<(&'static str, Vec<u8>)>,
}

impl Lab {
    fn new() -> Self {
        let home = home();
        let key = |name: &str| {
            std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(KEYS).join(name)).unwrap()
        };
        let public = key("keys.txt").split_once("public key: ").unwrap().1.lines().next().unwrap().to_owned();
        home.write("key.txt", key("keys.txt"));
        home.write("other.txt", key("other.txt"));
        home.write(".sops.yaml", format!("creation_rules:\n  - age: {public}\n"));
        home.write("secrets.nix", format!("{{ \"x.age\".publicKeys = [ \"{public}\" ]; \"y.age\" = {{ publicKeys = [ \"{public}\" ]; armor = true; }}; }}"));
        let mut files = Vec::new();
        for (kind, said, plain) in [
            ("yaml", "yaml", YAML),
            ("json", "json", JSON),
            ("env", "dotenv", ENV),
            ("ini", "ini", INI),
            ("bin", "binary", YAML),
            ("age", "age", YAML),
            ("armored", "age", YAML),
        ] {
            let name = Self::name(kind);
            let args = ["secrets", "encrypt", "/dev/stdin", "--as", said, "-o", name];
            let _sealed = home.hob_with(&args, plain).exits(0);
            files.push((kind, std::fs::read(home.path(name)).unwrap()));
        }
        home.write("editor", "#!/bin/sh\necho edited > edited\n");
        crate::set_mode(home.path("editor"), 0o700);
        Self { home, files }
    }

    fn name(kind: &str) -> &'static str {
        match kind {
            "yaml" => "x.yaml",
            "json" => "x.json",
            "env" => "x.env",
            "ini" => "x.ini",
            "bin" => "x.bin",
            "age" => "x.age",
            _ => "y.age",
        }
    }

    /// All ways to open a file say why not, and do nothing.
    #[track_caller]
    fn refuses(&self, what: &str, file: &str, key: &[&str], code: &str, says: &str) {
        let before = std::fs::read(self.home.path(file)).unwrap();
        let listed = || {
            std::fs::read_dir(self.home.dir())
                .unwrap()
                .flatten()
                .map(|it| it.file_name())
                .collect::<std::collections::BTreeSet<_>>()
        };
        let there = listed();
        for args in
            [&["decrypt", file][..], &["decrypt", file, "-o", "out", "--format", "json"], &["edit", file]]
        {
            let editor = self.home.path("editor");
            let mut command = self.home.command(&[&["secrets"], args, key].concat());
            command.env("EDITOR", editor);
            let ran = hob_tests::process::Background::start(&mut command, None).end();
            assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{what}: {file}: {args:?}: {ran:?}");
            assert!(
                ran.stderr.starts_with(&format!("error[{code}")) && ran.stderr.contains(says),
                "{what}: {file}: {args:?}: {}",
                ran.stderr
            );
            assert!(ran.stderr.contains(file), "the file is named: {}", ran.stderr);
            assert!(!ran.stderr.contains(CANARY), "{what}: {file}: {args:?}: {}", ran.stderr);
        }
        assert_eq!(std::fs::read(self.home.path(file)).unwrap(), before, "{what}: {file} is as it was");
        assert_eq!(listed(), there, "{what}: {file}: nothing was written");
    }
}

#[test]
fn damaged_files_of_sops_are_refused_with_their_cause() {
    let lab = Lab::new();
    for (what, kinds, change, code, says) in CASES {
        for (kind, file) in lab.files.iter().filter(|(kind, _)| kinds.split(' ').any(|it| it == *kind)) {
            let name = Lab::name(kind);
            let text = std::str::from_utf8(file).unwrap();
            let changed = change(text);
            assert_ne!(&changed, file, "{what}: {name}");
            lab.home.write(name, changed);
            lab.refuses(what, name, &["-k", "key.txt"], code, says);
            lab.home.write(name, file);
        }
    }
}

#[test]
fn damaged_age_files_are_refused_with_their_cause() {
    let lab = Lab::new();
    for (what, kinds, change, code, says) in AGE_CASES {
        for (kind, file) in lab.files.iter().filter(|(kind, _)| kinds.split(' ').any(|it| it == *kind)) {
            let name = Lab::name(kind);
            lab.home.write(name, change(file));
            lab.refuses(what, name, &["-k", "key.txt"], code, says);
            lab.home.write(name, file);
        }
    }
}

#[test]
fn files_are_refused_without_the_right_key_and_when_they_are_huge() {
    const HUGE_BYTES: u64 = 65 << 20;
    let lab = Lab::new();
    for (kind, file) in &lab.files {
        let name = Lab::name(kind);
        lab.refuses("another key", name, &["-k", "other.txt"], "HOB-0701", "does not open");
        lab.refuses("no key", name, &[], "HOB-0701", "there is no identity");
        std::fs::File::options().write(true).open(lab.home.path(name)).unwrap().set_len(HUGE_BYTES).unwrap();
        lab.refuses("a huge file", name, &["-k", "key.txt"], "HOB-0702", "larger than");
        lab.home.write(name, file);
        let ran = lab.home.hob(&["secrets", "decrypt", name, "-k", "key.txt"]).exits(0);
        assert!(ran.stdout.contains(CANARY));
    }
}

#[test]
fn marks_and_line_ends_of_other_systems_change_nothing() {
    let lab = Lab::new();
    for (kind, file) in
        lab.files.iter().filter(|(kind, _)| matches!(*kind, "yaml" | "json" | "ini" | "bin" | "armored"))
    {
        let name = Lab::name(kind);
        let json = |what: &str, content: &[u8]| {
            lab.home.write(name, content);
            let ran = lab.home.hob(&["secrets", "decrypt", name, "-k", "key.txt", "--format", "json"]);
            assert_eq!(ran.code, Some(0), "{what}: {name}: {}", ran.stderr);
            ran.stdout
        };
        let as_it_was = json("as it was", file);
        let windows = String::from_utf8_lossy(file).replace('\n', "\r\n");
        assert_eq!(json("line ends of Windows", windows.as_bytes()), as_it_was);
        if *kind != "armored" {
            assert_eq!(json("with a mark", &[b"\xef\xbb\xbf", &file[..]].concat()), as_it_was);
        }
    }
}

#[test]
fn a_run_gets_nothing_of_a_damaged_file() {
    let lab = Lab::new();
    let key = lab.home.path("key.txt");
    let home = lab.home.with_env("SOPS_AGE_KEY_FILE", key);
    home.write("play.rhai", "files::write(\"got\", secret(\"x/user\"), #{ mode: \"0600\" });");
    for (kind, file) in lab.files.iter().filter(|(kind, _)| matches!(*kind, "yaml" | "json" | "env")) {
        let text = std::str::from_utf8(file).unwrap();
        let name = format!("secrets/{}", Lab::name(kind));
        for (what, content) in [
            ("a changed value", flipped(text, "password")),
            ("the first half", text[..text.len() / 2].into()),
            ("a key twice", doubled(text)),
        ] {
            home.write(&name, content);
            let ran = home.hob(&["run", "play.rhai"]).exits(1);
            assert!(ran.stderr.contains("secret `x/user`"), "{what}: {}", ran.stderr);
            assert!(!ran.stderr.contains(CANARY) && !home.path("got").exists(), "{what}: {}", ran.stderr);
        }
        std::fs::remove_file(home.path(&name)).unwrap();
    }
}
