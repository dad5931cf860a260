//! What writes holds still while it is backed up: no backup is torn, and the quiet ends whatever becomes of the backup.

use hob_tests::home::{Home, Up};
use hob_tests::process::signal_pid;
use hob_tests::until;
use rustix::process::Signal;
use serde_json::{Value as Json, json};

use crate::backup::restic;
use crate::canaries::{Canaries, silent, with_secrets};

/// Writes one number to two files, again and again, unless it is told to hold still. A new life knows nothing of that.
const WRITER: &str = r#"
rm -f hold held; echo $$ > pid; n=$$
while :; do
    if [ -e hold ]; then : > held; sleep 0.02; continue; fi
    n=$((n + 1)); echo $n > data/a; echo $n > data/z; sleep 0.002
done
"#;

/// What is around a backup, in a module of its own. It is not told that it may be done twice.
const AROUND: &str = r#"
fn still(it) {
    let wait = "rm -f held; : > hold; until [ -e held ] && [ ! -e stall-quiesce ]; do sleep 0.02; done; echo still $0 $1 >> story";
    process::run(["sh", "-c", wait, it.kind, it.name]);
}
fn go_on() {
    process::run(["sh", "-c", "while [ -e stall-resume ]; do sleep 0.02; done; echo on >> story; rm -f hold"]);
}
"#;

/// Its dump reads one file, and the other one once the test says so.
const HOMELAB: &str = r#"
import "lib/around" as around;
homelab(#{ name: "house", timezone: "UTC" });
service("writer", #{
    command: ["sh", "writer.sh"], restart: #{ policy: "always", backoff: "50ms" }, stop_timeout: "1s",
    backup: #{
        to: "nas", password: secret("token"), when: false, upkeep: false, verify: false,
        quiesce: |it| around::still(it), resume: || around::go_on(), paths: ["data"], MORE
        dump: || #{ command: ["sh", "-c", "cat data/a; : > begun; until [ -e go ]; do sleep 0.02; done; cat data/z"], name: "pair" },
    },
});
"#;

fn lab(more: &str) -> (Home, Canaries) {
    let canaries = Canaries::new();
    let home = with_secrets(&canaries);
    home.write("writer.sh", WRITER);
    home.write("lib/around.rhai", AROUND);
    home.write("data/a", "0\n");
    home.write("data/z", "0\n");
    home.write("homelab.rhai", HOMELAB.replace("MORE", more));
    (home, canaries)
}

fn begin(home: &Home) -> String {
    let asked = home.ask("POST", "/api/v1/backups/writer/run", Some(&json!({}))).unwrap();
    asked.expects(202).json()["run"].as_str().unwrap().to_owned()
}

/// The run once it has ended.
fn ended(home: &Home, run: &str) -> Json {
    until("the run ends", || {
        let shown = home.json(&["runs", "show", run]);
        ["succeeded", "failed", "cancelled"].iter().any(|it| shown["status"] == **it).then_some(shown)
    })
}

fn is_there(home: &Home, name: &str) -> bool {
    home.path(name).exists()
}

fn remove(home: &Home, name: &str) {
    std::fs::remove_file(home.path(name)).unwrap();
}

/// How often it was told to hold still.
fn stills(home: &Home) -> usize {
    if is_there(home, "story") {
        home.lines("story").iter().filter(|it| it.starts_with("still")).count()
    } else {
        0
    }
}

/// The service writes: nobody has it hold still, or keeps it for themselves.
fn writes_on(home: &Home) {
    assert!(!is_there(home, "hold"), "it still holds still: {}", home.read("story"));
    assert_eq!(home.lines("story").last().map(String::as_str), Some("on"));
    let (service, before) = (home.service("writer"), home.read("data/z"));
    assert_eq!(service["held"], false, "{service}");
    until("it writes", || (home.read("data/z") != before).then_some(()));
}

/// How many snapshots there are; none of them is torn.
fn whole(home: &Home, canaries: &Canaries) -> usize {
    let all = restic(home, canaries, "nas", &["snapshots", "--json"]);
    let all: Vec<Json> = serde_json::from_str(&all).unwrap();
    for it in &all {
        let (id, path) = (it["id"].as_str().unwrap(), it["paths"][0].as_str().unwrap());
        let dump = |path: &str| restic(home, canaries, "nas", &["dump", id, path]);
        let told = match path {
            "/writer/pair" => dump(path),
            dir => dump(&format!("{dir}/a")) + &dump(&format!("{dir}/z")),
        };
        let numbers: Vec<&str> = told.lines().collect();
        assert!(numbers.len() == 2 && numbers[0] == numbers[1], "{path} is torn: {told}");
    }
    all.len()
}

fn ready(home: &Home) -> Up {
    let up = home.up(".", &["-v"]);
    until("it writes", || {
        (home.service("writer")["state"] == "ready" && is_there(home, "pid")).then_some(())
    });
    up
}

#[test]
fn what_writes_holds_still_and_goes_on_whatever_becomes_of_the_backup() {
    let (home, canaries) = lab(r#"timeout: "2s","#);
    let mut up = ready(&home);
    // There is no repository: the quiet ends all the same.
    let failed = ended(&home, &begin(&home));
    assert!(failed["error"]["message"].to_string().contains("no repository"), "{failed}");
    writes_on(&home);
    let _made = home.hob(&["backup", "init", "writer"]).exits(0);

    // It is over in time, or is ended.
    let failed = ended(&home, &begin(&home));
    assert_eq!(failed["error"]["kind"], "timeout", "{failed}");
    writes_on(&home);
    home.write("go", "");
    let done = ended(&home, &begin(&home));
    assert_eq!(
        (&done["status"], &done["output"]["done"][0]["files"]),
        (&json!("succeeded"), &json!(3)),
        "{done}"
    );
    writes_on(&home);
    assert!(home.lines("story").contains(&"still service writer".to_owned()));
    let _back = home.hob(&["backup", "restore", "writer", "--to", "back"]).exits(0);
    assert_eq!(home.read("back/writer/pair").lines().count(), 2);

    // Cancelled while it is told to hold still, and while it is copied.
    for (stall, begun) in [("stall-quiesce", "held"), ("", "begun")] {
        if stall.is_empty() {
            remove(&home, "go");
            remove(&home, "begun");
        } else {
            home.write(stall, "");
        }
        let run = begin(&home);
        until("it is at work", || is_there(&home, begun).then_some(()));
        let _asked = home.hob(&["runs", "cancel", &run]).exits(0);
        if !stall.is_empty() {
            remove(&home, stall);
        }
        assert_eq!(ended(&home, &run)["status"], "cancelled");
        writes_on(&home);
    }
    // One whose end of the quiet fails says so.
    home.write("lib/around.rhai", AROUND.replace("echo on >> story;", "[ -e go ] || exit 7;"));
    silent(&canaries, "the daemon", &up.stop());
    let mut up = ready(&home);
    let failed = ended(&home, &begin(&home));
    assert!(failed["error"]["message"].to_string().contains("may still hold still"), "{failed}");
    silent(&canaries, "the daemon", &up.stop());
    assert!(whole(&home, &canaries) >= 2);
}

#[test]
fn killed_while_all_holds_still_the_next_hob_ends_the_quiet_and_no_backup_is_torn() {
    let (home, canaries) = lab("");
    let _made = home.hob(&["backup", "init", "writer"]).exits(0);
    let mut up = ready(&home);
    let snapshots = || home.path("nas/snapshots").read_dir().unwrap().count();
    // What holds hob up, how one sees that it is there, and whether the service ends meanwhile, too.
    let moments = [
        ("stall-quiesce", "held", false),
        ("", "begun", false),
        ("", "begun", true),
        ("stall-resume", "resuming", false),
    ];
    for (stall, sign, ends) in moments {
        for file in ["go", "begun"] {
            let _gone = std::fs::remove_file(home.path(file));
        }
        if stall == "stall-resume" {
            home.write("go", "");
        }
        if !stall.is_empty() {
            home.write(stall, "");
        }
        let (before, told) = (snapshots(), stills(&home));
        let run = begin(&home);
        until(&format!("it is at {sign}"), || match sign {
            "resuming" => (snapshots() == before + 2).then_some(()),
            file => is_there(&home, file).then_some(()),
        });
        assert!(is_there(&home, "hold"));
        assert!(up.process.kill());
        silent(&canaries, "the killed one", &up.process.end());
        if ends {
            let pid = home.read("pid").trim().parse().unwrap();
            signal_pid(pid, Signal::KILL);
        }
        // A life that ended takes the quiet with it; whoever goes on must see that.
        up = home.up(".", &["-v"]);
        if !stall.is_empty() {
            remove(&home, stall);
        }
        home.write("go", "");
        let done = ended(&home, &run);
        assert_eq!(done["status"], "succeeded", "{done}");
        writes_on(&home);
        assert!(!ends || stills(&home) == told + 2, "nobody told the new life: {}", home.read("story"));
    }
    // The service ends while it is copied, and hob does not: what was copied until then is no backup.
    remove(&home, "go");
    remove(&home, "begun");
    let told = stills(&home);
    let run = begin(&home);
    until("it is copied", || is_there(&home, "begun").then_some(()));
    let pid = home.read("pid").trim().parse().unwrap();
    signal_pid(pid, Signal::KILL);
    until("hob sees it", || (home.service("writer")["state"] != "ready").then_some(()));
    home.write("go", "");
    let done = ended(&home, &run);
    assert_eq!(done["status"], "succeeded", "{done}");
    assert_ne!(home.read("pid").trim().parse(), Ok(pid), "it lives again");
    writes_on(&home);
    assert_eq!(stills(&home), told + 2, "nobody told the new life: {}", home.read("story"));
    assert!(whole(&home, &canaries) >= 2 * (moments.len() + 1));
    silent(&canaries, "the daemon", &up.stop());
    restic(&home, &canaries, "nas", &["check", "--read-data"]);
}

#[test]
fn a_dataset_holds_still_by_commands_and_a_hob_that_comes_later_ends_the_quiet() {
    let canaries = Canaries::new();
    let home = with_secrets(&canaries);
    home.write("photos/one", "one");
    home.write("homelab.rhai", r#"
        homelab(#{ name: "house", timezone: "UTC" });
        dataset("photos", #{ path: "photos", backup: #{
            to: "nas", password: secret("token"), when: false, upkeep: false, verify: false, retry: #{ attempts: 1 },
            quiesce: ["sh", "-c", "echo still >> story; while [ -e stall ]; do sleep 0.02; done"], resume: ["sh", "-c", "echo on >> story"],
        } });"#);
    // Nobody serves; and nothing is told to hold still that is not let go again.
    let _failed = home.hob(&["backup", "run", "photos"]).exits(1).saying("hob backup init photos");
    assert_eq!(home.lines("story"), ["still", "on"]);
    let _made = home.hob(&["backup", "init", "photos"]).exits(0);
    let _done = home.hob(&["backup", "run", "photos"]).exits(0).printing("of 1 files");
    assert_eq!(home.lines("story").len(), 4);
    home.write("stall", "");
    let mut killed = home.start(&["backup", "run", "photos"]);
    until("it is told to hold still", || (home.lines("story").len() == 5).then_some(()));
    assert!(killed.kill());
    silent(&canaries, "the killed one", &killed.end());
    let mut up = home.up(".", &["-v"]);
    remove(&home, "stall");
    until("it goes on", || (home.lines("story").last()? == "on").then_some(()));
    until("it has a backup", || {
        let listed = restic(&home, &canaries, "nas", &["snapshots", "--json"]);
        (serde_json::from_str::<Vec<Json>>(&listed).unwrap().len() == 2).then_some(())
    });
    silent(&canaries, "the daemon", &up.stop());
}
