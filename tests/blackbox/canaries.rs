//! Secrets on all ways through hob, and a byte scan of everything that it leaves behind: none is anywhere.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use hob_tests::home::Home;
use hob_tests::process::Ran;
use hob_tests::until;

use crate::home;

const KEY: &str = "../../stdlib/secrets/tests/fixtures/keys.txt";

/// A playbook that has secrets take every way out that a script can think of, and back in.
const PLAYBOOK: &str = include_str!("canaries.rhai");

/// What nobody may find.
pub(crate) struct Canaries(BTreeMap<&'static str, String>);

impl Canaries {
    /// With characters that every escape changes.
    pub(crate) fn new() -> Self {
        let random = || format!("{:016x}", fastrand::u64(..));
        let one = |name| (name, format!("{name}-{}\"\\ /+&={}", random(), random()));
        Self(["token", "app"].map(one).into())
    }

    /// One of the values.
    pub(crate) fn value(&self, name: &str) -> &str {
        &self.0[name]
    }

    /// All forms of all values.
    fn needles(&self) -> Vec<(String, Vec<u8>)> {
        self.0.iter().flat_map(|(name, value)| forms(name, value.as_bytes())).collect()
    }

    /// The first needle in some bytes.
    pub(crate) fn in_bytes(&self, hay: &[u8]) -> Option<String> {
        let found = |needle: &[u8]| hay.windows(needle.len()).any(|window| window == needle);
        self.needles().into_iter().find(|(_, needle)| found(needle)).map(|(what, _)| what)
    }

    #[track_caller]
    fn not_in(&self, what: &str, hay: &[u8]) {
        if let Some(found) = self.in_bytes(hay) {
            panic!("{found} in {what}:\n{}", String::from_utf8_lossy(hay));
        }
    }
}

/// A value as it is and as others write it: base64 at each offset, hexadecimal, percent-encoded, escaped as in JSON.
fn forms(name: &str, value: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut all = vec![("plain", value.to_vec())];
    let base64 = |alphabet: &[u8], before: usize| -> Vec<u8> {
        let padded = [&vec![0; before][..], value].concat();
        let bits: Vec<u8> =
            padded.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)).collect();
        let digit = |six: &[u8]| alphabet[usize::from(six.iter().fold(0, |sum, bit| sum << 1 | bit))];
        let digits: Vec<u8> = bits.chunks_exact(6).map(digit).collect();
        digits[(before * 8).div_ceil(6)..].to_vec()
    };
    let alphabet = |last: &[u8]| {
        [&(b'A'..=b'Z').chain(b'a'..=b'z').chain(b'0'..=b'9').collect::<Vec<u8>>()[..], last].concat()
    };
    for before in 0..3 {
        all.push(("base64", base64(&alphabet(b"+/"), before)));
        all.push(("base64url", base64(&alphabet(b"-_"), before)));
    }
    let text =
        |each: &dyn Fn(u8) -> String| value.iter().map(|byte| each(*byte)).collect::<String>().into_bytes();
    all.push(("hex", text(&|byte| format!("{byte:02x}"))));
    all.push(("HEX", text(&|byte| format!("{byte:02X}"))));
    let url = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    all.push(("percent-encoded", text(&url)));
    let quoted = serde_json::to_vec(std::str::from_utf8(value).unwrap()).unwrap();
    all.push(("JSON", quoted[1..quoted.len() - 1].to_vec()));
    all.into_iter().map(|(form, bytes)| (format!("{name} ({form})"), bytes)).collect()
}

/// A server that tells whoever asks all that it was told, in all forms; `/bad` as an error.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let (mut heard, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                    break;
                }
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                heard.push_str(&line);
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            heard.push_str(&String::from_utf8_lossy(&body));
            let values =
                heard.lines().filter_map(|line| line.split_once(": ").map(|(_, value)| value.trim()));
            let others: Vec<u8> = values
                .flat_map(|value| forms("", value.as_bytes()))
                .flat_map(|(_, bytes)| [bytes, b"\n".to_vec()].concat())
                .collect();
            let told = [heard.as_bytes(), b"\n", &others].concat();
            let status = if heard.contains("/bad") { "400 Bad Request" } else { "200 OK" };
            let head =
                format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", told.len());
            let _ = reader.get_mut().write_all(&[head.as_bytes(), &told].concat());
        }
    });
    address
}

/// A home with both secrets encrypted: one as an age file, one in a SOPS file.
pub(crate) fn with_secrets(canaries: &Canaries) -> Home {
    let home = home();
    let key = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(KEY)).unwrap();
    let text = String::from_utf8_lossy(&key).into_owned();
    let public = text.split_once("public key: ").unwrap().1.lines().next().unwrap();
    home.write("key.txt", &key);
    let home = {
        let key = home.path("key.txt");
        home.with_env("SOPS_AGE_KEY_FILE", key)
    };
    home.write("secrets/.sops.yaml", format!("creation_rules:\n  - age: {public}\n"));
    let token = home.path("secrets/token.age");
    let sealed = home.hob_with(
        &["secrets", "encrypt", "/dev/stdin", "-r", public, "-o", token.to_str().unwrap()],
        &canaries.0["token"],
    );
    let _done = sealed.exits(0);
    let app = serde_json::json!({ "key": canaries.0["app"], "port": 80 });
    home.write("secrets/app.json", app.to_string());
    let _done = home.hob(&["secrets", "encrypt", "-i", "secrets/app.json"]).exits(0);
    home
}

/// All files below a directory, by path.
pub(crate) fn files(dir: &Path, out: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, out);
        } else if path.is_file() {
            let name = path.as_os_str().as_bytes().to_vec();
            out.push((path.display().to_string(), [name, std::fs::read(&path).unwrap_or_default()].concat()));
        }
    }
}

/// Scans a home but for the directory that secrets were meant to go to.
#[track_caller]
pub(crate) fn scan(home: &Home, canaries: &Canaries) {
    let mut all = Vec::new();
    files(home.dir(), &mut all);
    assert!(all.len() > 5, "there is a state to scan");
    for (name, content) in all.iter().filter(|(name, _)| !name.contains("/meant/")) {
        canaries.not_in(name, content);
    }
}

#[track_caller]
pub(crate) fn silent(canaries: &Canaries, what: &str, ran: &Ran) {
    canaries.not_in(what, ran.stdout.as_bytes());
    canaries.not_in(what, ran.stderr.as_bytes());
}

#[test]
fn no_secret_is_anywhere() {
    let canaries = Canaries::new();
    let home = with_secrets(&canaries);
    home.write("play.rhai", PLAYBOOK);
    let input = format!("{{\"url\": \"http://{}\"}}", echo());
    let dry = home.hob(&["run", "play.rhai", "--dry-run", "--input", &input]);
    silent(&canaries, "the dry run", &dry);
    let ran = home.hob(&["run", "play.rhai", "--input", &input, "-v"]);
    silent(&canaries, "the run", &ran);
    let ran = ran.exits(1);
    assert!(ran.says("in the end «secret token»"), "{}", ran.stderr);
    // What was meant to have it has it.
    assert_eq!(home.read("meant/token"), canaries.0["token"]);
    assert_eq!(home.read("meant/copy"), format!("k={}", canaries.0["token"]));
    assert_eq!(home.read("meant/both"), format!("[{}]\napi = {}\n", canaries.0["token"], canaries.0["app"]));
    let run = home.json(&["runs", "list"])[0]["run"].as_str().unwrap().to_owned();
    for args in [
        &["runs", "show", &run, "--json"][..],
        &["runs", "show", &run],
        &["replay", &run],
        &["logs", &run],
        &["journal", "export", &run],
        &["events", "list", "--json"],
        &["state", "backup", "copy"],
        &["secrets", "list"],
        &["secrets", "list", "--json"],
    ] {
        let ran = home.hob(args);
        silent(&canaries, &args.join(" "), &ran);
    }
    scan(&home, &canaries);
}

#[test]
fn a_daemon_tells_no_secret() {
    let canaries = Canaries::new();
    let home = with_secrets(&canaries);
    home.write("play.rhai", PLAYBOOK);
    let echo = echo();
    let homelab = format!(
        "workflow(\"leak\", |input| {{ import \"play\" as play; }});
         service(\"idle\", #{{ command: [\"sleep\", \"1000\"], stop_timeout: \"1s\" }});
         channel(\"ops\", #{{ url: \"ntfy://{echo}/house\", token: secret(\"token\"), default: true }});
         channel(\"bad\", #{{ url: \"gotify://{echo}/bad\", token: secret(\"token\") }});
         workflow(\"tells\", || notify::send(\"bad\", #{{ title: \"a\", body: \"b\" }}));"
    );
    home.write("homelab.rhai", homelab);
    // With all that is traced.
    let mut up = home.up(".", &["-vv"]);
    let input = format!("{{\"url\": \"http://{echo}\"}}");
    silent(&canaries, "a message", &home.hob(&["notify", "test", "ops"]).exits(0));
    silent(&canaries, "a message that is refused", &home.hob(&["notify", "test", "bad"]).exits(1));
    silent(&canaries, "a run that tells", &home.hob(&["run", "tells"]));
    silent(&canaries, "the run", &home.hob(&["run", "play.rhai", "--input", &input]));
    let run = home.json(&["runs", "list"])[0]["run"].as_str().unwrap().to_owned();
    let ask = |method: &str, path: &str, body: Option<&serde_json::Value>| {
        let answer = home.ask(method, path, body).unwrap().expects(200);
        canaries.not_in(path, answer.body.as_bytes());
        answer
    };
    // Everything that can be asked for, as the API itself tells.
    let api = ask("GET", "/api/v1/openapi.json", None).json();
    let paths = api["paths"].as_object().unwrap().iter().filter(|(_, methods)| methods.get("get").is_some());
    let paths: Vec<_> =
        paths.map(|(path, _)| path.replace("{run}", &run).replace("{service}", "idle")).collect();
    assert!(paths.iter().any(|path| path.ends_with("/logs")), "{paths:?}");
    for path in paths.iter().map(String::as_str).chain(["/metrics"]) {
        ask("GET", path, None);
    }
    ask("POST", &format!("/api/v1/runs/{run}/check"), Some(&serde_json::json!({})));
    let said = up.stop();
    silent(&canaries, "the daemon", &said);
    scan(&home, &canaries);
}

#[test]
fn a_leak_that_was_put_in_is_found() {
    let canaries = Canaries::new();
    for (what, needle) in canaries.needles() {
        let home = home();
        let text = String::from_utf8(needle.clone()).unwrap();
        home.write("leak.rhai", format!("log::info({});", serde_json::to_string(&text).unwrap()));
        std::fs::create_dir_all(home.state()).unwrap();
        std::fs::write(home.state().join("leak"), &needle).unwrap();
        let mut all = Vec::new();
        files(home.dir(), &mut all);
        assert!(all.iter().any(|(_, content)| canaries.in_bytes(content).is_some()), "{what}");
    }
    // And where hob itself would leave it: a value that is no secret to it.
    let home = home();
    home.write("leak.rhai", format!("log::info({});", serde_json::to_string(&canaries.0["token"]).unwrap()));
    let ran = home.hob(&["run", "leak.rhai"]).exits(0);
    assert!(canaries.in_bytes(ran.stderr.as_bytes()).is_some());
    let mut all = Vec::new();
    files(home.state(), &mut all);
    assert!(all.iter().any(|(_, content)| canaries.in_bytes(content).is_some()), "the journal has it");
}

#[test]
fn a_run_with_secrets_goes_on_after_a_kill_and_a_new_encryption() {
    let canaries = Canaries::new();
    let home = with_secrets(&canaries);
    home.write(
        "wait.rhai",
        r#"
        let token = secrets::get("token");
        files::write("meant/first", token, #{ mkdir: true, mode: "0600" });
        let same = secrets::equal(token, files::read("meant/first"));
        process::run(["sh", "-c", "echo up > up; while [ ! -e go ]; do sleep 0.05; done"], #{ idempotent: true });
        files::write("meant/second", `${token}!`);
        same
        "#,
    );
    let mut running = home.start(&["run", "wait.rhai"]);
    until("the run is on its way", || home.path("up").exists().then_some(()));
    running.kill();
    let plain = home.hob(&["secrets", "decrypt", "secrets/token.age"]).exits(0);
    let key = home.read("key.txt");
    let public = key.split_once("public key: ").unwrap().1.lines().next().unwrap();
    let again = home.hob_with(
        &["secrets", "encrypt", "/dev/stdin", "-r", public, "-o", "secrets/token.age"],
        plain.stdout.as_bytes(),
    );
    let _done = again.exits(0);
    home.write("go", "");
    let run = home.json(&["runs", "list"])[0]["run"].as_str().unwrap().to_owned();
    let ran = home.hob(&["runs", "resume", &run]);
    silent(&canaries, "the resumed run", &ran);
    let _ended = ran.exits(0);
    let shown = home.json(&["runs", "show", &run]);
    assert_eq!(shown["output"], true, "{shown}");
    assert_eq!(home.read("meant/second"), format!("{}!", canaries.0["token"]));
    scan(&home, &canaries);
}
