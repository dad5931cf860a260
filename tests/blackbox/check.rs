//! `hob check` and `hob lsp`, as programs use them: JSON, SARIF, and the protocol over standard input and output.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use serde_json::{Value as Json, json};

use crate::home;

#[test]
fn findings_are_read_by_programs() {
    let home = home();
    home.write("bad.rhai", "let unused = 1;\nfiles::raed(\"a\");\n");
    home.write("good.rhai", "files::remove(\"cache\");\nsecrets::get(\"token\");\n");

    let found = home.hob(&["check", "--format", "json", "bad.rhai"]).exits(1).json();
    let findings = found[0]["findings"].as_array().expect("findings are a list");
    let codes: Vec<&Json> = findings.iter().map(|finding| &finding["code"]).collect();
    assert_eq!(codes, ["HOB-0801", "HOB-0102"], "{found:#}");
    let levels: Vec<&Json> = findings.iter().map(|finding| &finding["level"]).collect();
    assert_eq!(levels, ["warning", "error"], "{found:#}");
    let place = &findings[1]["spans"][0];
    let at = (&place["file"], &place["line"], &place["column"]);
    assert_eq!(at, (&json!("bad.rhai"), &json!(2), &json!(8)), "{found:#}");

    let found = home.hob(&["--json", "check", "good.rhai"]).exits(0).json();
    assert_eq!(found[0]["findings"], json!([]), "{found:#}");
    assert!(found[0]["reach"].to_string().contains("files::remove"), "{found:#}");
    assert!(found[0]["reach"]["secrets"].to_string().contains("token"), "{found:#}");

    // Of a homelab also what its schedules come to.
    home.write(
        "lab/homelab.rhai",
        "homelab(#{ name: \"lab\" });\nschedule(\"tidy\", \"0 4 * * *\", || 1);\n",
    );
    let found = home.hob(&["--json", "check", "lab"]).exits(0).json();
    let schedule = &found[0]["schedules"][0];
    assert_eq!(schedule["name"], "tidy", "{found:#}");
    assert!(schedule["next"].as_str().is_some_and(|next| next.contains("T04:00:00")), "{found:#}");

    // And where its backups go, and by what: hob does them by itself.
    let lab = r#"
        let nas = #{ to: ["/mnt/nas", #{ repository: "rclone:away:house", password: secret("away") }], password: secret("restic") };
        dataset("photos", #{ path: "/srv/photos", backup: nas + #{ quiesce: ["sync"], verify: #{ command: ["exiftool", "-r", "."] } } });
        service("db", #{ command: ["sleep", "1"], backup: nas + #{ to: "/mnt/nas", dump: #{ postgres: #{ password: secret("pg") } } } });
        service("app", #{ command: ["sleep", "1"], backup: nas + #{ quiesce: || process::run(["sync"]), resume: |it| secrets::get("wake") } });"#;
    home.write("lab/homelab.rhai", lab);
    let found = home.hob(&["--json", "check", "lab"]).exits(0).json();
    let of = |at: usize| found[0]["backups"][at].clone();
    let photos = json!({ "name": "photos", "to": ["/mnt/nas", "rclone:away:house"], "programs": ["exiftool", "rclone", "sync"],
                         "secrets": ["away", "restic"] });
    let db = json!({ "name": "db", "to": ["/mnt/nas"], "programs": ["pg_dump", "pg_dumpall", "pg_restore", "psql"],
                     "secrets": ["pg", "restic"] });
    assert_eq!((of(0), of(1)), (photos, db), "{found:#}");
    assert!(found[0]["reach"].to_string().contains("process:sync"), "functions are looked into: {found:#}");
    assert!(found[0]["reach"]["secrets"].to_string().contains("wake"), "{found:#}");
    assert_eq!(found[0]["files"], json!(["homelab.rhai"]), "{found:#}");
    let _shown = home
        .hob(&["check", "lab"])
        .exits(0)
        .printing("photos  /mnt/nas rclone:away:house  exiftool rclone sync");

    // Warnings alone let it pass, unless they are to count.
    home.write("warned.rhai", "let unused = 1;\n");
    let _ = home.hob(&["check", "warned.rhai"]).exits(0);
    let _ = home.hob(&["check", "--strict", "warned.rhai"]).exits(1);
    assert!(home.hob(&["check", "nowhere.rhai"]).exits(1).says("nowhere.rhai"));
}

/// SARIF 2.1.0 (<https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>): what code hosts ask for.
#[test]
fn findings_are_sarif() {
    let home = home();
    home.write("scripts/bad.rhai", "let unused = 1;\nfiles::raed(\"a\");\n");
    let log = home.hob(&["check", "--format", "sarif", "scripts/bad.rhai"]).exits(1).json();
    assert_eq!(log["version"], "2.1.0");
    assert!(log["$schema"].as_str().is_some_and(|it| it.contains("sarif")), "{log:#}");
    let run = &log["runs"][0];
    assert_eq!(run["tool"]["driver"]["name"], "hob");
    let rules: Vec<&Json> =
        run["tool"]["driver"]["rules"].as_array().expect("rules").iter().map(|rule| &rule["id"]).collect();
    let results = run["results"].as_array().expect("results");
    assert_eq!(results.len(), 2, "{log:#}");
    for result in results {
        assert!(rules.contains(&&result["ruleId"]), "{log:#}");
        assert!(["error", "warning", "note"].contains(&result["level"].as_str().expect("a level")));
        assert!(result["message"]["text"].as_str().is_some_and(|it| !it.is_empty()));
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "scripts/bad.rhai");
        assert!(place["region"]["startLine"].as_u64().is_some_and(|it| it >= 1), "{log:#}");
    }
}

/// An editor: `hob lsp` as its child, spoken to as the base protocol says
/// (<https://microsoft.github.io/language-server-protocol/specifications/base/0.9/specification/>).
struct Editor {
    server: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    last: u64,
}

impl Editor {
    fn start(home: &hob_tests::home::Home) -> Self {
        let mut command = home.command(&["lsp"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut server = command.spawn().unwrap();
        let output = BufReader::new(server.stdout.take().unwrap());
        Self { input: server.stdin.take(), server, output, last: 0 }
    }

    fn write(&mut self, bytes: &[u8]) {
        let input = self.input.as_mut().expect("it is open");
        input.write_all(bytes).and_then(|()| input.flush()).unwrap();
    }

    fn send(&mut self, message: &Json) {
        let body = message.to_string();
        self.write(format!("Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
    }

    fn tell(&mut self, method: &str, params: Json) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    /// The next message of the server.
    fn hear(&mut self) -> Json {
        let mut length = 0;
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the server has gone");
            match line.trim_end().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.parse().unwrap();
                }
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        self.output.read_exact(&mut body).unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    /// The answer to a request; what the server tells meanwhile is passed over.
    fn ask(&mut self, method: &str, params: Json) -> Json {
        self.last += 1;
        let id = self.last;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        loop {
            let heard = self.hear();
            if heard["id"] == id {
                return heard;
            }
        }
    }

    fn diagnostics(&mut self) -> Json {
        loop {
            let heard = self.hear();
            if heard["method"] == "textDocument/publishDiagnostics" {
                return heard["params"].clone();
            }
        }
    }

    fn initialize(&mut self) -> Json {
        let answer =
            self.ask("initialize", json!({ "processId": null, "rootUri": null, "capabilities": {} }));
        self.tell("initialized", json!({}));
        answer["result"]["capabilities"].clone()
    }

    fn at(&mut self, method: &str, uri: &str, line: u32, character: u32) -> Json {
        let position = json!({ "line": line, "character": character });
        let answer = self.ask(method, json!({ "textDocument": { "uri": uri }, "position": position }));
        assert!(answer.get("error").is_none(), "{method}: {answer:#}");
        answer["result"].clone()
    }

    /// The exit code, and what it complained of.
    fn ends(mut self) -> (Option<i32>, String) {
        drop(self.input.take());
        let mut said = String::new();
        self.server.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.server.wait().unwrap().code(), said)
    }
}

#[test]
fn an_editor_is_served() {
    let home = home();
    home.write("lib.rhai", "fn tidy(days) { days * 2 }\n");
    let uri = format!("file://{}", home.path("play.rhai").display());
    let mut editor = Editor::start(&home);
    let offered = editor.initialize();
    for provider in [
        "completionProvider",
        "hoverProvider",
        "signatureHelpProvider",
        "definitionProvider",
        "documentSymbolProvider",
    ] {
        assert!(!offered[provider].is_null(), "{offered:#}");
    }

    let text = "import \"lib\" as lib;\nlet kept = lib::tidy(1);\nfiles::raed(`${kept}`);\n";
    let document = json!({ "uri": uri, "languageId": "rhai", "version": 1, "text": text });
    editor.tell("textDocument/didOpen", json!({ "textDocument": document }));
    let found = editor.diagnostics();
    assert_eq!(found["uri"], uri);
    assert_eq!(found["diagnostics"][0]["code"], "HOB-0102", "{found:#}");
    assert_eq!(found["diagnostics"][0]["range"]["start"], json!({ "line": 2, "character": 7 }));

    let text = text.replace("raed", "read");
    let change =
        json!({ "textDocument": { "uri": uri, "version": 2 }, "contentChanges": [{ "text": text }] });
    editor.tell("textDocument/didChange", change);
    assert_eq!(editor.diagnostics()["diagnostics"], json!([]));

    let items = editor.at("textDocument/completion", &uri, 2, 9);
    assert!(items.to_string().contains("\"read\""), "{items:#}");
    let hover = editor.at("textDocument/hover", &uri, 2, 9);
    assert!(hover["contents"]["value"].to_string().contains("files::read("), "{hover:#}");
    let signature = editor.at("textDocument/signatureHelp", &uri, 2, 12);
    assert!(signature["signatures"][0]["label"].to_string().contains("files::read("), "{signature:#}");
    let definition = editor.at("textDocument/definition", &uri, 1, 17);
    assert!(definition["uri"].as_str().is_some_and(|it| it.ends_with("/lib.rhai")), "{definition:#}");
    let symbols = editor.ask("textDocument/documentSymbol", json!({ "textDocument": { "uri": uri } }));
    assert!(symbols["result"].to_string().contains("kept"), "{symbols:#}");

    editor.tell("textDocument/didSave", json!({ "textDocument": { "uri": uri } }));
    assert_eq!(editor.diagnostics()["diagnostics"], json!([]));
    editor.tell("textDocument/didClose", json!({ "textDocument": { "uri": uri } }));
    assert_eq!(editor.diagnostics()["diagnostics"], json!([]));

    assert!(editor.ask("shutdown", Json::Null).get("error").is_none());
    editor.tell("exit", Json::Null);
    assert_eq!(editor.ends(), (Some(0), String::new()));
}

#[test]
fn an_editor_makes_mistakes() {
    let home = home();
    let mut editor = Editor::start(&home);
    let _ = editor.initialize();
    // What is not offered, and what is malformed, is answered; the server goes on.
    assert_eq!(editor.ask("textDocument/rename", json!({}))["error"]["code"], -32601);
    assert_eq!(editor.ask("textDocument/hover", json!({ "where": 1 }))["error"]["code"], -32602);
    editor.tell("textDocument/didOpen", json!({ "nothing": true }));
    editor.tell("$/unheardOf", json!([]));
    let nowhere = json!({ "textDocument": { "uri": "file:///nowhere.rhai" }, "position": { "line": 9, "character": 9 } });
    assert_eq!(editor.ask("textDocument/hover", nowhere)["result"], Json::Null);
    assert!(editor.ask("shutdown", Json::Null).get("error").is_none());
    editor.tell("exit", Json::Null);
    assert_eq!(editor.ends().0, Some(0));

    // What is no message at all ends it, with a word to whoever started it.
    for nonsense in [
        "Content-Length: 5\r\n\r\nhello",
        "Content-Length: many\r\n\r\n{}",
        "hello\r\n\r\n",
        "Content-Length: 99\r\n\r\n{",
    ] {
        let mut editor = Editor::start(&home);
        editor.write(nonsense.as_bytes());
        let (code, said) = editor.ends();
        assert!(
            code == Some(2) && said.contains("protocol") && !said.contains("channel"),
            "{nonsense:?}: {code:?} {said}"
        );
    }
    // So does an editor that goes away without a word.
    let mut editor = Editor::start(&home);
    let _ = editor.initialize();
    assert_eq!(editor.ends().0, Some(2));
}
