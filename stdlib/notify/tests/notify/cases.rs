//! What each service gets.

use serde_json::{Value as Json, json};

use crate::world::{World, everywhere, text};

/// Channels of all services over HTTP, at one server.
fn all(url: &str) -> Json {
    let place = url.strip_prefix("http://").unwrap();
    json!({
        "ntfy": { "url": format!("ntfy://{place}/house"), "token": "SECRET" },
        "gotify": { "url": format!("gotify://{place}/sub"), "token": "SECRET" },
        "mattermost": { "url": format!("mmost://{place}/hook1?channel=ops") },
        "slack": { "url": "slack://T1/B2/C3", "server": url },
        "discord": { "url": "discord://12/tok", "server": url },
        "telegram": { "url": "tgram://-100", "token": "SECRET", "server": url },
        "webhook": { "url": format!("{url}/hook?a=b"), "headers": { "X-Api-Key": "k" } },
        "templated": {
            "url": format!("json://ada:pw@{place}/t"),
            "template": "{{ title }}|{{ message | tojson }}|{{ priority }}|{{ tags | join('+') }}",
            "content_type": "text/plain",
        },
    })
}

fn message() -> Json {
    json!({
        "title": "Dïsk", "body": "a <b> & c", "severity": "critical", "tags": ["disk"], "click": "https://c.example/",
        "actions": [{ "label": "Open", "url": "https://a.example/", "post": true }],
    })
}

fn sent(w: &World, channel: &str, message: Json) {
    let result = w.send(channel, message).unwrap_or_else(|error| panic!("{} {channel}: {error}", w.name));
    let told = (text(&result, "state"), text(&result, "channel"), text(&result, "key"));
    assert_eq!(told, ("sent".to_owned(), channel.to_owned(), "k1".to_owned()), "{}", w.name);
}

#[test]
fn each_service_gets_what_it_understands() {
    everywhere(all, |w| {
        sent(w, "ntfy", message());
        let seen = w.seen();
        assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/"), "{}", w.name);
        assert_eq!(seen.headers["authorization"], "Bearer hunter2");
        assert_eq!(seen.headers["idempotency-key"], "k1");
        let action = json!({ "action": "http", "label": "Open", "url": "https://a.example/", "method": "POST", "clear": true });
        assert_eq!(
            seen.json(),
            json!({
                "topic": "house", "message": "a <b> & c", "title": "Dïsk", "tags": ["disk"], "priority": 5,
                "actions": [action], "sequence_id": "k1", "click": "https://c.example/",
            })
        );

        sent(w, "gotify", message());
        let seen = w.seen();
        assert_eq!((seen.path.as_str(), seen.headers["x-gotify-key"].as_str()), ("/sub/message", "hunter2"));
        assert_eq!((&seen.json()["priority"], &seen.json()["title"]), (&json!(10), &json!("Dïsk")));

        sent(w, "mattermost", message());
        let seen = w.seen();
        assert_eq!((seen.path.as_str(), &seen.json()["channel"]), ("/hooks/hook1", &json!("ops")));
        let text = "**Dïsk**\na <b> & c\n[https://c.example/](https://c.example/)\n[Open](https://a.example/)\n_disk_";
        assert_eq!(seen.json()["text"], text);

        sent(w, "slack", message());
        let seen = w.seen();
        assert_eq!(seen.path, "/services/T1/B2/C3");
        let text = "*Dïsk*\na &lt;b&gt; &amp; c\n<https://c.example/|https://c.example/>\n<https://a.example/|Open>\n_disk_";
        assert_eq!(seen.json(), json!({ "text": text }));

        sent(w, "discord", message());
        let seen = w.seen();
        assert_eq!(seen.path, "/api/webhooks/12/tok");
        assert_eq!(seen.json()["allowed_mentions"], json!({ "parse": [] }));

        sent(w, "telegram", message());
        let seen = w.seen();
        assert_eq!(
            (seen.path.as_str(), &seen.json()["chat_id"]),
            ("/bothunter2/sendMessage", &json!("-100"))
        );
        assert_eq!(seen.json()["reply_markup"]["inline_keyboard"][0][0]["text"], "Open");

        sent(w, "webhook", message());
        let seen = w.seen();
        assert_eq!((seen.path.as_str(), seen.headers["x-api-key"].as_str()), ("/hook?a=b", "k"));
        assert_eq!((&seen.json()["message"], &seen.json()["key"]), (&json!("a <b> & c"), &json!("k1")));

        sent(w, "templated", message());
        let seen = w.seen();
        assert_eq!(seen.headers["authorization"], "Basic YWRhOnB3");
        assert_eq!(
            (seen.text().as_str(), seen.headers["content-type"].as_str()),
            ("Dïsk|\"a <b> & c\"|urgent|disk", "text/plain")
        );
    });
}

#[test]
fn files_go_along_or_are_named() {
    everywhere(all, |w| {
        let (one, two) = (w.harness.dir().join("one.png"), w.harness.dir().join("two.txt"));
        for (path, content) in [(&one, "PNG"), (&two, "text")] {
            std::fs::write(path, content).unwrap();
            w.mails.put(path, content);
        }
        let message = json!({ "title": "T", "body": "B", "attach": ["one.png", "two.txt", "gone.txt"] });
        sent(w, "ntfy", message.clone());
        let seen = w.seen();
        let head = |name: &str| seen.headers.get(name).cloned().unwrap_or_default();
        assert_eq!((seen.method.as_str(), seen.path.as_str(), &*seen.body), ("PUT", "/house", &b"PNG"[..]));
        assert_eq!(
            (head("x-filename"), head("x-title"), head("x-sequence-id")),
            ("one.png".into(), "T".into(), "k1".into())
        );
        assert!(head("x-message").starts_with("=?UTF-8?B?"), "{}", head("x-message"));

        for (channel, path) in [("discord", "/api/webhooks/12/tok"), ("telegram", "/bothunter2/sendDocument")]
        {
            sent(w, channel, message.clone());
            let seen = w.seen();
            assert_eq!(seen.path, path);
            assert!(
                seen.headers["content-type"].starts_with("multipart/form-data; boundary=hob-k1"),
                "{channel}"
            );
            assert!(
                seen.text().contains("filename=\"one.png\"\r\nContent-Type: image/png\r\n\r\nPNG\r\n"),
                "{channel}"
            );
            assert!(seen.text().contains("gone.txt could not be attached"), "{channel}");
        }
        sent(w, "webhook", message.clone());
        let file = json!({ "filename": "one.png", "mimetype": "image/png", "base64": "UE5H" });
        assert_eq!(w.seen().json()["attachments"][0], file);
        sent(w, "slack", message);
        let text = w.seen().json()["text"].to_string();
        assert!(text.contains("one.png, 3 bytes, is not carried"), "{text}");
    });
}

#[test]
fn an_approval_is_asked_for_with_links_that_answer_it() {
    everywhere(all, |w| {
        sent(w, "ntfy", json!({ "body": "Delete?", "approve": { "run": "r1", "position": "3" } }));
        let actions = w.seen().json()["actions"].clone();
        let link = |at: usize| {
            (actions[at]["label"].clone(), actions[at]["url"].clone(), actions[at]["method"].clone())
        };
        let url = "https://hob.example/links/r1-3?answer=";
        assert_eq!(link(0), (json!("Approve"), json!(format!("{url}approve")), json!("POST")), "{}", w.name);
        assert_eq!(link(1), (json!("Refuse"), json!(format!("{url}refuse")), json!("POST")), "{}", w.name);
    });
}

#[test]
fn wrong_messages_are_refused_and_nothing_is_sent() {
    everywhere(all, |w| {
        for (message, part) in [
            (json!({}), "a `title` or a `body`"),
            (json!({ "body": "x", "priority": "huge" }), "is none of"),
            (json!({ "body": "x", "priority": "low", "severity": "info" }), "not both"),
            (json!({ "body": "x", "tags": ["a,b"] }), "a tag is a word"),
            (json!({ "body": "x", "click": "nowhere" }), "is no address"),
            (json!({ "body": "x", "actions": [{ "label": "a" }] }), "`url` is missing"),
            (json!({ "body": "x", "bdy": 1 }), "unknown option `bdy`"),
            (json!({ "body": "x", "attach": vec!["a"; 11] }), "11 are more than 10"),
        ] {
            let error = w.send("ntfy", message).unwrap_err();
            assert!(error.message.contains(part), "{}: {error}", w.name);
        }
        assert!(w.server.seen().is_empty());
    });
}
