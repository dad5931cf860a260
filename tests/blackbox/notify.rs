//! Messages of the real binary: none is lost and each has one key, wherever the process is killed; what goes wrong is told; a
//! link in a message answers an approval.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hob_tests::client::Target;
use hob_tests::home::{Home, listening};
use hob_tests::until;
use serde_json::{Value as Json, json};

use crate::home;

/// How often the process is killed, and after how long at most.
const KILLS: usize = 8;
const KILLS_LONG: usize = 80;
const KILL_AFTER_MAX_MS: u64 = 500;

/// What a server does with a message.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Mood {
    Takes,
    /// Says that it comes too often, and to come again in a second.
    Busy,
    /// Takes it and hangs up without a word.
    HangsUp,
}

/// A server such as ntfy that records the messages that it took.
pub(crate) struct Ntfy {
    pub(crate) address: SocketAddr,
    taken: Arc<Mutex<Vec<Json>>>,
}

impl Ntfy {
    /// One whose mood `mood` tells, request by request.
    pub(crate) fn start(mood: impl FnMut() -> Mood + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (taken, mood) = (Arc::<Mutex<Vec<Json>>>::default(), Arc::new(Mutex::new(mood)));
        let record = Arc::clone(&taken);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (record, mood) = (Arc::clone(&record), Arc::clone(&mood));
                std::thread::spawn(move || serve(stream, &record, &*mood));
            }
        });
        Self { address, taken }
    }

    pub(crate) fn taken(&self) -> Vec<Json> {
        self.taken.lock().unwrap().clone()
    }

    /// The message with this title, once it is there.
    pub(crate) fn message(&self, title: &str) -> Json {
        until(title, || self.taken().into_iter().find(|message| message["title"] == title))
    }
}

fn serve(stream: TcpStream, taken: &Mutex<Vec<Json>>, mood: &Mutex<impl FnMut() -> Mood>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
            if line.trim_end().is_empty() {
                break;
            }
            if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = text.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let mood = (mood.lock().unwrap())();
        if mood != Mood::Busy {
            taken.lock().unwrap().push(serde_json::from_slice(&body).ok()?);
        }
        let answer = match mood {
            Mood::Takes => "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
            Mood::Busy => "HTTP/1.1 429 Too Many\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n",
            Mood::HangsUp => return None,
        };
        stream.write_all(answer.as_bytes()).ok()?;
    }
}

fn homelab(home: &Home, channels: &str) {
    let script = r#"
homelab(#{ name: "told", timezone: "UTC" });
CHANNELS
workflow("tell", #{ on: webhook("POST /tell/:n") }, |r| {
    notify::send("ops", #{ title: r.params.n, body: "hello" });
});
workflow("breaks", #{ on: webhook("POST /breaks") }, |r| { fail("it broke"); });
workflow("asks", #{ on: webhook("POST /asks") }, |r| {
    approve("Delete <3> snapshots?", #{ notify: "ops" })
});
"#;
    home.write("lab/homelab.rhai", script.replace("CHANNELS", channels));
}

#[test]
fn no_message_is_lost_and_each_has_one_key_over_kills() {
    let home = home();
    let mut chance = fastrand::Rng::with_seed(20_261_121);
    let mut moods = fastrand::Rng::with_seed(7);
    let mut hung_up = 0;
    let ntfy = Ntfy::start(move || match moods.u8(..10) {
        0..3 => Mood::Busy,
        // Each of these waits for ten seconds until it is sent again.
        3 if hung_up < 3 => {
            hung_up += 1;
            Mood::HangsUp
        }
        _ => Mood::Takes,
    });
    homelab(&home, &format!("channel(\"ops\", #{{ url: \"ntfy://{}/house\" }});", ntfy.address));
    let kills = if hob_tests::long() { KILLS_LONG } else { KILLS };
    let mut answered = BTreeSet::new();
    for _ in 0..kills {
        let mut process = home.start(&["up", "lab", "--listen", "127.0.0.1:0"]);
        let begun = Instant::now();
        let limit = Duration::from_millis(chance.u64(..KILL_AFTER_MAX_MS));
        let mut serving = None;
        while serving.is_none_or(|since: Instant| since.elapsed() < limit) {
            assert!(begun.elapsed() < hob_tests::DEADLINE, "it does not serve: {}", process.stderr());
            let Some(address) = listening(&process.stderr()) else {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            };
            let n = format!("m{}", answered.len());
            match Target::Tcp(address).ask("POST", &format!("/hooks/tell/{n}"), &[], Some(&json!({}))) {
                Ok(answer) if answer.status == 202 => {
                    answered.insert(n);
                    serving.get_or_insert_with(Instant::now);
                }
                _ => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        assert!(process.kill());
    }
    let mut up = home.up("lab", &[]);
    let mut by_title: BTreeMap<String, Vec<String>> = BTreeMap::new();
    until("all messages arrive and no run is left", || {
        by_title.clear();
        for message in ntfy.taken() {
            let text = |key: &str| message[key].as_str().unwrap().to_owned();
            by_title.entry(text("title")).or_default().push(text("sequence_id"));
        }
        let live =
            home.json(&["runs", "list", "--status", "queued", "--status", "running", "--status", "waiting"]);
        (answered.iter().all(|n| by_title.contains_key(n)) && live.as_array().unwrap().is_empty())
            .then_some(())
    });
    // What came twice came with the same key: whoever goes by it has each message once.
    let mut twice = 0;
    for (title, keys) in &by_title {
        twice += keys.len() - 1;
        assert!(keys.iter().all(|key| key == &keys[0]), "{title} has several keys: {keys:?}");
    }
    let keys: BTreeSet<&String> = by_title.values().flatten().collect();
    assert_eq!(keys.len(), by_title.len(), "two messages have one key");
    assert!(answered.len() > kills, "{} messages in {kills} kills", answered.len());
    let _ = up.stop().exits(0);
    println!("{} messages over {kills} kills, {twice} came twice, none was lost", answered.len());
}

/// What a test of the script that delivers messages tells it: for an hour nobody takes one.
const HOUR: &str = r#"
test("a server that is down for an hour gets it when it is back", #{
    run: "deliver",
    input: #{ channel: "ops", message: #{ title: "the disk is full" }, key: "k1", not_before: (), on_doubt: "retry" },
    mocks: #{
        "notify::deliver": |channel, message, options| {
            let minute = 5 * (options.earlier + 1);
            if minute > 60 { return #{ state: "sent" }; }
            let at = if minute == 60 { "01:00" } else if minute < 10 { `00:0${minute}` } else { `00:${minute}` };
            #{ state: "held", why: "connection refused", not_before: `2026-01-01T${at}:00Z` }
        },
    },
}, |run| {
    run.status == "succeeded" && run.output.state == "sent" && run.now == "2026-01-01T01:00:00Z" && run.calls.len() == 13
        && run.calls.all(|it| it.args[2].key == "k1" && it.args[1].title == "the disk is full")
});
"#;

#[test]
fn a_server_that_is_down_for_an_hour_gets_it_when_it_is_back() {
    let home = home();
    let deliver = include_str!("../../runtime/daemon/src/notices/deliver.rhai");
    let homelab = format!("workflow(\"deliver\", #{{ on: manual() }}, |input| {{\n{deliver}\n}});");
    home.write("lab/homelab.rhai", homelab);
    home.write("lab/tests/hour.rhai", HOUR);
    let _ = home.hob(&["test", "lab"]).exits(0).saying("1 test, 0 failed");
}

#[test]
fn what_goes_wrong_reaches_the_default_channel() {
    let (home, ntfy) = (home(), Ntfy::start(|| Mood::Takes));
    let channels = format!(
        "channel(\"other\", #{{ url: \"ntfy://127.0.0.1:1/x\" }});
         channel(\"ops\", #{{ url: \"ntfy://{}/house\", default: true }});
         service(\"lame\", #{{ command: [\"false\"], restart: \"never\" }});",
        ntfy.address
    );
    homelab(&home, &channels);
    let mut up = home.up("lab", &[]);
    let down = ntfy.message("service lame cannot be kept");
    assert_eq!(down["priority"], 5, "{down}");
    let _ = up.ask("POST", "/hooks/breaks", &[], Some(&json!({}))).expects(202);
    let failed = ntfy.message("workflow breaks failed");
    assert!(failed["message"].as_str().unwrap().starts_with("it broke"), "{failed}");
    // A person tries the channels.
    let _ = home.hob(&["notify", "test"]).exits(0);
    ntfy.message("hob");
    let refused = home.hob(&["notify", "test", "other"]).exits(1);
    assert!(refused.says("127.0.0.1"), "{refused:#?}");
    let _ = home
        .hob(&["notify", "test", "opps"])
        .exits(1)
        .saying("there is no channel `opps`")
        .saying("did you mean `ops`?");
    assert!(!home.state().join("motd").exists());
    let _ = up.stop().exits(0);
}

#[test]
fn what_is_in_doubt_and_what_was_missed_reach_the_default_channel() {
    let (home, ntfy) = (home(), Ntfy::start(|| Mood::Takes));
    // Takes connections, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let declared = format!(
        "channel(\"ops\", #{{ url: \"ntfy://{}/house\", default: true }});
         schedule(\"slow\", every(\"1s\"), #{{ deadline: \"1s\" }}, |slot| {{ wait_signal(\"never\"); }});
         workflow(\"acts\", #{{ on: manual() }}, || {{ http::post(\"http://{}/\"); }});",
        ntfy.address,
        silent.local_addr().unwrap()
    );
    homelab(&home, &declared);
    let mut up = home.up("lab", &[]);
    ntfy.message("schedule slow was missed");
    let run = home.hob(&["run", "acts", "--detach"]).exits(0).out().trim().to_owned();
    until("the effect is under way", || {
        let shown = home.json(&["runs", "show", &run]);
        (shown["entries"][0]["status"] == "pending").then_some(())
    });
    assert!(up.process.kill());
    let mut up = home.up("lab", &[]);
    let doubt = ntfy.message("workflow acts waits for a decision");
    assert!(doubt["message"].as_str().unwrap().contains(&format!("hob runs show {run}")), "{doubt}");
    let _ = up.stop().exits(0);
}

#[test]
fn without_a_channel_a_line_at_login_says_what_went_wrong() {
    let home = home();
    homelab(&home, "");
    let mut up = home.up("lab", &[]);
    let _ = up.ask("POST", "/hooks/breaks", &[], Some(&json!({}))).expects(202);
    let motd = home.state().join("motd");
    until("the line", || {
        std::fs::read_to_string(&motd).ok().filter(|text| text.contains("workflow breaks failed: it broke"))
    });
    let listed = home.json(&["notify", "list"]);
    assert_eq!(listed["lines"].as_array().unwrap().len(), 1, "{listed}");
    // It is there again after a restart: such files are often on a file system in memory.
    let _ = up.stop().exits(0);
    std::fs::remove_file(&motd).unwrap();
    let mut up = home.up("lab", &[]);
    assert!(std::fs::read_to_string(&motd).unwrap().contains("it broke"));
    let _ = home.hob(&["notify", "clear"]).exits(0);
    assert!(!motd.exists());
    let _ = up.stop().exits(0);
}

#[test]
fn a_link_in_a_message_answers_an_approval_once() {
    let (home, ntfy) = (home(), Ntfy::start(|| Mood::Takes));
    homelab(&home, &format!("channel(\"ops\", #{{ url: \"ntfy://{}/house\" }});", ntfy.address));
    let mut up = home.up("lab", &[]);
    let run = up.ask("POST", "/hooks/asks", &[], Some(&json!({}))).expects(202).json()["run"].clone();
    let run = run.as_str().unwrap();
    let message = ntfy.message("asks asks");
    assert_eq!(message["message"], "Delete <3> snapshots?");
    let link = message["actions"][0]["url"].as_str().unwrap();
    let link = link.strip_prefix(&format!("http://{}", up.address)).unwrap().to_owned();
    let page = link.strip_suffix("?answer=approve").unwrap();
    // A preview fetches it from another page, and nothing happens.
    let from_elsewhere = [("sec-fetch-site", "cross-site")];
    let shown = up.ask("GET", &link, &from_elsewhere, None).expects(200);
    assert!(shown.body.contains("Delete &lt;3&gt; snapshots?"), "{shown:#?}");
    assert_eq!(home.json(&["runs", "show", run])["status"], "waiting");
    let _ = up.ask("POST", page, &[], None).expects(400);
    let mut forged = page.to_owned();
    let last = forged.pop().unwrap();
    forged.push(if last == 'A' { 'B' } else { 'A' });
    let _ = up.ask("POST", &format!("{forged}?answer=approve"), &[], None).expects(404);
    let _ = up.ask("POST", &link, &[], None).expects(200);
    until("the run ends", || (home.json(&["runs", "show", run])["status"] == "succeeded").then_some(()));
    assert_eq!(home.json(&["runs", "show", run])["output"], true);
    for _ in 0..2 {
        let _ = up.ask("POST", &link, &[], None).expects(410);
        let _ = up.ask("GET", page, &[], None).expects(410);
    }
    // The link is nowhere in the journal: it is made when the message is sent.
    let _ = up.stop().exits(0);
    let token = page.rsplit('/').next().unwrap();
    let journal = std::fs::read(home.state().join("journal.db")).unwrap();
    assert!(!journal.windows(token.len()).any(|window| window == token.as_bytes()));
}

#[test]
fn mistakes_in_channels_are_named() {
    let home = home();
    let channels = r#"
channel("a", #{ url: "pager://x" });
channel("b", #{ url: "ntfys://n.example/house", fallback: "nowhere" });
channel("c", #{ url: "ntfys://n.example/house", quiet: #{ from: "25:00", to: "07:00" } });
channel("d", #{ url: "ntfys://n.example/house", rate: "many" });
channel("e", #{ url: "https://n.example/hook", template: "{{ title", default: true });
channel("f", #{ urk: "ntfys://n.example/house", default: true });
channel("good", #{ url: secret("ntfy-url"), rate: "30/1h" });
"#;
    homelab(&home, channels);
    let checked = home.hob(&["check", "lab"]).exits(1);
    for part in [
        "channel `a`: the address of a channel: `pager` is none of",
        "channel `b`: `fallback`: there is no channel `nowhere`",
        "channel `c`: option `quiet`: `from`: \"25:00\" is no time of day",
        "channel `d`: option `rate`: \"many\" is no rate",
        "channel `e`: option `template`",
        "unknown option `urk`",
        "channel `f`: `default`: another channel is it already",
    ] {
        assert!(checked.says(part), "{part} is missing in {checked:#?}");
    }
    assert!(!checked.says("channel `good`"), "{checked:#?}");
}
