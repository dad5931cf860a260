//! Mail: what the fake records, and a real server that records.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use hob_std_notify::port::MailError;
use serde_json::{Value as Json, json};

use crate::world::{World, everywhere, text};

/// How long a mail may take; a loaded machine is slow.
const ARRIVES_WITHIN: Duration = Duration::from_secs(60);

/// aiosmtpd, the mail server of Debian's `python3-aiosmtpd`. It ends when its input does.
struct MailServer {
    child: Child,
    port: u16,
    lines: Receiver<String>,
}

impl Drop for MailServer {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

impl MailServer {
    /// `None`, where that is allowed, when there is no aiosmtpd.
    fn start(tls: Option<(&Path, &Path)>) -> Option<Self> {
        let there = Path::new("/usr/bin/aiosmtpd").exists();
        assert!(there || std::env::var("CI").is_err(), "python3-aiosmtpd is missing");
        if !there {
            eprintln!("skipped: python3-aiosmtpd is missing");
            return None;
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/notify/smtp.py");
        let mut command = Command::new("/usr/bin/python3");
        command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some((cert, key)) = tls {
            command.arg(cert).arg(key);
        }
        let mut child = command.spawn().unwrap();
        let (told, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| told.send(line)));
        let port = lines.recv_timeout(ARRIVES_WITHIN).unwrap().parse().unwrap();
        Some(Self { child, port, lines })
    }

    fn mail(&self) -> Json {
        serde_json::from_str(&self.lines.recv_timeout(ARRIVES_WITHIN).unwrap()).unwrap()
    }

    fn is_idle(&self) -> bool {
        self.lines.try_recv().is_err()
    }
}

/// Does the case in the world with the live adapters.
fn live(case: impl Fn(&World)) {
    everywhere(
        |_| json!({}),
        |w| {
            if w.name == "live" {
                case(w)
            }
        },
    );
}

fn letter() -> Json {
    json!({
        "title": "Plätze frei", "body": "Zeile eins\nZeile zwei", "priority": "high", "tags": ["disk"],
        "actions": [{ "label": "Open", "url": "https://a.example/" }],
    })
}

#[test]
fn a_mail_says_who_it_is_and_what_it_wants() {
    let channels = |_: &str| {
        json!({ "mail": {
            "url": "mailtos://ada@mail.example?from=hob@house.example&to=ada@x.example,bob@x.example", "password": "SECRET",
        } })
    };
    everywhere(channels, |w| {
        if w.name == "live" {
            return;
        }
        w.mails.put(w.harness.dir().join("log.txt"), "log");
        let mut message = letter();
        message["attach"] = json!(["log.txt"]);
        w.send("mail", message).unwrap();
        let mail = w.mails.mails().remove(0);
        assert_eq!(
            (mail.from.as_str(), mail.to.as_slice()),
            ("hob@house.example", &["ada@x.example".to_owned(), "bob@x.example".to_owned()][..])
        );
        let (user, password) = mail.server.credentials.unwrap();
        assert_eq!((user.as_str(), password.as_str(), mail.server.port), ("ada", "hunter2", 587));
        let content = String::from_utf8(mail.content).unwrap();
        for line in [
            "Message-ID: <k1.hob@house.example>",
            "X-Priority: 2 (High)",
            "Auto-Submitted: auto-generated",
            "Date: Fri, 02 Jan 2026 03:04:05 +0000",
            "filename=\"log.txt\"",
            "Open: https://a.example/",
        ] {
            assert!(content.contains(line), "{line} is missing in\n{content}");
        }
        // What a failure means.
        let failure = |passing, certain| MailError { message: "no".to_owned(), passing, certain };
        w.mails.fail(failure(true, true), false);
        assert_eq!(text(&w.send("mail", letter()).unwrap(), "state"), "held");
        w.mails.fail(failure(false, true), false);
        assert!(!w.send("mail", letter()).unwrap_err().retryable);
    });
}

#[test]
fn a_real_server_takes_mail() {
    let Some(server) = MailServer::start(None) else { return };
    live(|w| {
        let to = |who: &str| {
            format!("mailto://127.0.0.1:{}?from=hob@house.example&to={who}@x.example", server.port)
        };
        w.send(&to("ada"), letter()).unwrap();
        let mail = server.mail();
        assert_eq!((&mail["from"], &mail["to"]), (&json!("hob@house.example"), &json!(["ada@x.example"])));
        let data = mail["data"].as_str().unwrap();
        assert!(data.contains("Message-ID: <k1.hob@house.example>") && data.contains("Zeile zwei"), "{data}");
        // It says no, for now and for good; it hangs up after it took one; it is not there.
        let error = |who: &str| w.send(&to(who), letter()).unwrap_err();
        assert!(error("busy").message.contains("451"), "{}", error("busy"));
        let never = error("never");
        assert!(never.message.contains("550") && !never.retryable, "{never}");
        let lost = w.doubting(hob_model::OnDoubt::Skip).send(&to("lost"), letter()).unwrap_err();
        assert!(lost.hint.unwrap().contains("may have arrived"));
        assert!(server.mail()["to"][0] == "lost@x.example" && server.is_idle());
        let nobody = w.send("mailto://127.0.0.1:1?from=a@b.example", letter()).unwrap_err();
        assert_eq!(nobody.kind, hob_model::ErrorKind::Unavailable, "{nobody}");
    });
}

#[test]
fn a_real_server_with_tls_and_a_password() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let Some(server) = MailServer::start(Some((&cert, &key))) else { return };
    let channel = |password: &str, ca: bool| {
        let mut options = json!({
            "url": format!("mailtos://ada@localhost:{}?from=hob@house.example&to=ada@x.example", server.port),
            "password": password,
        });
        if ca {
            options["ca"] = json!(cert.display().to_string());
        }
        options
    };
    let channels = |_: &str| json!({ "good": channel("p@ss:/", true), "wrong": channel("other", true), "stranger": channel("p@ss:/", false) });
    everywhere(channels, |w| {
        if w.name == "fake" {
            return;
        }
        assert_eq!(text(&w.send("good", letter()).unwrap(), "state"), "sent");
        assert_eq!(server.mail()["tls"], true);
        for name in ["wrong", "stranger"] {
            let error = w.send(name, letter()).unwrap_err();
            assert!(!error.retryable && !error.message.contains("p@ss"), "{name}: {error}");
        }
        assert!(server.is_idle());
    });
}
