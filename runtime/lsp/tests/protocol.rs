//! The language server, driven by a scripted client over the whole protocol.

use std::sync::Arc;

use hob_check::Catalog;
use hob_lsp::{Files, serve};
use hob_primitive::Registry;
use lsp_server::{Connection, Message, Notification, Request, RequestId, Response};
use serde_json::{Value, json};

struct Disk;

impl Files for Disk {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        match path {
            "/lab/lib/tidy.rhai" => Ok(b"fn tidy(days) {\n    days * 2\n}\n".to_vec()),
            _ => Err("no such file".to_owned()),
        }
    }
}

/// A client whose server runs beside it.
struct Client {
    connection: Connection,
    server: Option<std::thread::JoinHandle<Result<(), String>>>,
    last: i32,
}

const FILE: &str = "file:///lab/play.rhai";

impl Client {
    fn start() -> Self {
        let (client, server) = Connection::memory();
        let serve = move || {
            let registry = Registry::new(hob_stdlib::primitives()).expect("the standard library is complete");
            serve(&server, &Catalog::new(Arc::new(registry)), &Disk, "1.2.3")
        };
        let builder = std::thread::Builder::new().stack_size(hob_engine::SCRIPT_STACK_BYTES);
        let server = builder.spawn(serve).expect("a thread can be started");
        Self { connection: client, server: Some(server), last: 0 }
    }

    fn request(&mut self, method: &str, params: Value) -> Response {
        self.last += 1;
        let id = RequestId::from(self.last);
        let request = Request { id: id.clone(), method: method.to_owned(), params };
        self.connection.sender.send(Message::Request(request)).expect("the server listens");
        loop {
            match self.connection.receiver.recv().expect("the server answers") {
                Message::Response(response) if response.id == id => return response,
                _ => {}
            }
        }
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        let response = self.request(method, params);
        assert!(response.error.is_none(), "{method}: {:?}", response.error);
        response.result.unwrap_or_default()
    }

    fn tell(&self, method: &str, params: Value) {
        let notification = Notification { method: method.to_owned(), params };
        self.connection.sender.send(Message::Notification(notification)).expect("the server listens");
    }

    /// The next diagnostics that the server publishes.
    fn diagnostics(&self) -> Value {
        loop {
            match self.connection.receiver.recv().expect("the server publishes") {
                Message::Notification(it) if it.method == "textDocument/publishDiagnostics" => {
                    return it.params;
                }
                _ => {}
            }
        }
    }

    fn initialize(&mut self) -> Value {
        let answer =
            self.ask("initialize", json!({ "capabilities": {}, "processId": null, "rootUri": null }));
        self.tell("initialized", json!({}));
        answer
    }

    fn open(&self, text: &str) -> Value {
        let document = json!({ "uri": FILE, "languageId": "rhai", "version": 1, "text": text });
        self.tell("textDocument/didOpen", json!({ "textDocument": document }));
        self.diagnostics()
    }

    fn change(&self, text: &str) -> Value {
        let params =
            json!({ "textDocument": { "uri": FILE, "version": 2 }, "contentChanges": [{ "text": text }] });
        self.tell("textDocument/didChange", params);
        self.diagnostics()
    }

    fn at(&mut self, method: &str, line: u32, character: u32) -> Value {
        let params =
            json!({ "textDocument": { "uri": FILE }, "position": { "line": line, "character": character } });
        self.ask(method, params)
    }

    fn leave(mut self) {
        let _ = self.ask("shutdown", Value::Null);
        self.tell("exit", Value::Null);
        let server = self.server.take().expect("it was started");
        assert_eq!(server.join().expect("the server does not panic"), Ok(()));
    }
}

#[test]
fn a_session_from_start_to_end() {
    let mut client = Client::start();
    let answer = client.initialize();
    assert_eq!(answer["serverInfo"], json!({ "name": "hob", "version": "1.2.3" }));
    for what in ["completionProvider", "hoverProvider", "signatureHelpProvider", "definitionProvider"] {
        assert!(!answer["capabilities"][what].is_null(), "{what}");
    }
    assert_eq!(answer["capabilities"]["documentSymbolProvider"], true);

    // Columns are counted in UTF-16 units.
    let found = client.open("print(\"😀\" + files::raed(\"a\"));\n");
    let first = &found["diagnostics"][0];
    assert_eq!(found["uri"], FILE);
    assert_eq!(
        (&first["code"], &first["severity"], &first["source"]),
        (&json!("HOB-0102"), &json!(1), &json!("hob"))
    );
    assert_eq!(first["range"]["start"], json!({ "line": 0, "character": 20 }));
    assert_eq!(first["range"]["end"], json!({ "line": 0, "character": 24 }));
    assert!(first["message"].as_str().unwrap_or_default().contains("files::read"));
    assert_eq!(client.change("print(files::read(\"a\"));\n")["diagnostics"], json!([]));
    client.tell("textDocument/didSave", json!({ "textDocument": { "uri": FILE } }));
    assert_eq!(client.diagnostics()["diagnostics"], json!([]));

    client.tell("textDocument/didClose", json!({ "textDocument": { "uri": FILE } }));
    assert_eq!(client.diagnostics()["diagnostics"], json!([]));
    client.leave();
}

#[test]
fn writing_is_helped() {
    let mut client = Client::start();
    client.initialize();
    client.open("files::wr\nprocess::run([\"ls\"], #{ timeout: \"1s\" });\n");

    let items = client.at("textDocument/completion", 0, 9);
    let write = items.as_array().and_then(|items| items.iter().find(|item| item["label"] == "write"));
    let write = write.expect("write is offered");
    assert_eq!(write["textEdit"]["range"]["start"], json!({ "line": 0, "character": 7 }));
    assert!(write["detail"].as_str().unwrap_or_default().starts_with("files::write(path: string"));
    assert!(write["documentation"]["value"].as_str().is_some_and(|text| !text.is_empty()));

    let hover = client.at("textDocument/hover", 1, 10);
    let text = hover["contents"]["value"].as_str().unwrap_or_default();
    assert!(text.starts_with("```rhai\nprocess::run(") && text.contains("class once"), "{text}");
    assert_eq!(hover["range"]["start"], json!({ "line": 1, "character": 0 }));
    let option = client.at("textDocument/hover", 1, 26);
    assert!(option["contents"]["value"].as_str().is_some_and(|text| text.contains("timeout")), "{option}");
    assert_eq!(client.at("textDocument/hover", 1, 40), Value::Null);

    let help = client.at("textDocument/signatureHelp", 1, 21);
    assert_eq!(help["activeParameter"], 1);
    assert!(help["signatures"][0]["label"].as_str().is_some_and(|label| label.starts_with("process::run(")));
    client.leave();
}

#[test]
fn names_lead_to_their_places() {
    let mut client = Client::start();
    client.initialize();
    let script = "import \"lib/tidy\" as tidy;\nfn twice(n) { n * 2 }\nlet days = 7;\nprint(twice(days) + tidy::tidy(days));\nservice(\"web\", #{});\n";
    client.open(script);
    let symbols = client.ask("textDocument/documentSymbol", json!({ "textDocument": { "uri": FILE } }));
    let names: Vec<(&str, &str)> = symbols
        .as_array()
        .into_iter()
        .flatten()
        .map(|it| (it["name"].as_str().unwrap_or_default(), it["detail"].as_str().unwrap_or_default()))
        .collect();
    assert_eq!(names, [("tidy", ""), ("twice", "(n)"), ("days", ""), ("web", "service")]);

    let place = |it: &Value| (it["uri"].clone(), it["range"]["start"].clone());
    for (line, character, uri, start) in [
        (3, 8, FILE, (1, 3)),
        (3, 14, FILE, (2, 4)),
        (1, 14, FILE, (1, 9)),
        (3, 28, "file:///lab/lib/tidy.rhai", (0, 3)),
        (0, 10, "file:///lab/lib/tidy.rhai", (0, 0)),
    ] {
        let found = client.at("textDocument/definition", line, character);
        let start = json!({ "line": start.0, "character": start.1 });
        assert_eq!(place(&found), (json!(uri), start), "{line}:{character}");
    }
    assert_eq!(client.at("textDocument/definition", 2, 12), Value::Null);
    client.leave();
}

#[test]
fn what_is_wrong_is_answered() {
    let mut client = Client::start();
    client.initialize();
    let unknown = client.request("workspace/symbol", json!({}));
    assert_eq!(unknown.error.map(|error| error.code), Some(-32601));
    let malformed = client.request("textDocument/hover", json!({ "position": 1 }));
    assert_eq!(malformed.error.map(|error| error.code), Some(-32602));
    // A document that is not open, and one that is no file.
    assert_eq!(client.at("textDocument/hover", 0, 0), Value::Null);
    client.tell("textDocument/didOpen", json!({ "nothing": true }));
    client.tell("$/cancelRequest", json!({ "id": 1 }));
    client.leave();
}

#[test]
fn a_client_that_goes_away_ends_the_server() {
    let mut client = Client::start();
    client.initialize();
    let Client { connection, server, .. } = client;
    drop(connection);
    let ended = server.expect("it was started").join().expect("the server does not panic");
    assert!(ended.is_err());
}
