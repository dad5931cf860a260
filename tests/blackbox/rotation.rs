//! A secret gets a new value while six services use it: each has the old or the new one, whatever ends when.

mod every_kind;

use std::path::{Path, PathBuf};
use std::time::Duration;

use hob_tests::home::{Home, Up};
use hob_tests::process::Background;
use hob_tests::{long, until};

use crate::home;

const KEY: &str = "../../stdlib/secrets/tests/fixtures/keys.txt";
const SERVICES: [&str; 6] = ["api", "cache", "db", "proxy", "web", "worker"];
const OLD: &str = "the-old-value-5c1f";

/// Six services that write down what they were handed; `web` needs `db`, and `proxy` reads its file again when told to.
const HOMELAB: &str = r#"
let take = |name, how| ["sh", "-c", `BREAKS${how} > seen/${name}.new && mv seen/${name}.new seen/${name}; echo taken; exec sleep 1000`];
service("proxy", #{
    command: ["sh", "-c", `take() { BREAKScat "$CONF" > seen/proxy.new && mv seen/proxy.new seen/proxy; }; trap take USR1; echo $$ >> lives; take; while :; do sleep 0.05; done`],
    env: #{ CONF: secret_file("proxy.conf", #{ content: secrets::fill("@TOKEN@", #{ TOKEN: secret("token") }) }) },
    reload: "SIGUSR1", ready: exec(["sh", "-c", "cmp -s seen/proxy RUNTIME/hob-*/*/proxy/current/proxy.conf"]), stop_timeout: "1s", restart: "never",
});
for name in ["api", "cache", "db", "worker"] {
    service(name, #{
        command: take.call(name, "cat \"$TOKEN_FILE\""), env: #{ TOKEN_FILE: secret_file("token") }, stop_timeout: "1s",
        ready: log("taken"), ready_timeout: "10s", restart: "never",
    });
}
service("web", #{
    command: take.call("web", "printf %s \"$TOKEN\""), env: #{ TOKEN: secret("token") }, needs: ["db"], stop_timeout: "1s",
    ready: log("taken"), ready_timeout: "10s", restart: "never",
});
workflow("rotate", |input| secrets::rotate("token", #{ length: 40 }).services);
"#;

struct Lab {
    home: Home,
    /// Where secrets lie in memory.
    runtime: PathBuf,
    _memory: Option<tempfile::TempDir>,
    /// Each writes what it has into a file of its name.
    services: [&'static str; 6],
    /// What declares them, but for `BREAKS` and `RUNTIME`.
    homelab: String,
}

impl Lab {
    fn new() -> Self {
        Self::with(home())
    }

    fn with(home: Home) -> Self {
        let memory = tempfile::Builder::new().prefix("hob-test-").tempdir_in("/dev/shm").unwrap();
        let lab = Self::of(home, memory.path().to_path_buf(), SERVICES, HOMELAB.to_owned());
        Self { _memory: Some(memory), ..lab }
    }

    fn of(home: Home, runtime: PathBuf, services: [&'static str; 6], homelab: String) -> Self {
        let key = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(KEY)).unwrap();
        let public = key.split_once("public key: ").unwrap().1.lines().next().unwrap().to_owned();
        let file = home.write("key.txt", &key);
        let home = home.with_env("SOPS_AGE_KEY_FILE", file).with_env("HOB_RUNTIME", &runtime);
        home.write("lab/seen/.keep", "");
        let rules = format!("{{ \"token.age\".publicKeys = [ \"{public}\" ]; }}\n");
        home.write("lab/secrets/secrets.nix", rules);
        let lab = Self { home, runtime, _memory: None, services, homelab };
        lab.seal(OLD);
        lab.write("");
        lab
    }

    /// Encrypts a value as the secret `token`.
    fn seal(&self, value: &str) {
        let token = self.home.path("lab/secrets/token.age");
        let args = ["secrets", "encrypt", "/dev/stdin", "-o", token.to_str().unwrap()];
        let _sealed = self.home.hob_with(&args, value).exits(0);
    }

    /// Writes the homelab; a service does `breaks` before it takes what it was handed.
    fn write(&self, breaks: &str) {
        let text = self.homelab.replace("RUNTIME", self.runtime.to_str().unwrap());
        self.home.write("lab/homelab.rhai", text.replace("BREAKS", breaks));
    }

    /// How often `proxy` was started.
    fn lives(&self) -> usize {
        self.home.read("lab/lives").lines().count()
    }

    fn up(&self) -> Up {
        self.home.up("lab", &["--on-exit", "keep"])
    }

    fn seen(&self) -> Vec<String> {
        self.services.iter().map(|name| self.home.read(&format!("lab/seen/{name}"))).collect()
    }

    /// What is current now.
    fn current(&self) -> String {
        let ran = self.home.hob(&["secrets", "decrypt", "lab/secrets/token.age"]).exits(0);
        ran.stdout.trim_end().to_owned()
    }

    fn rotate(&self) -> Background {
        self.home.start(&["secrets", "rotate", "token", "--homelab", "lab"])
    }

    /// Whatever has happened, there is a working set: the current value can be had, and who has another one has the one
    /// that is kept.
    #[track_caller]
    fn works(&self) {
        let current = self.current();
        let kept = self.home.path("lab/secrets/.token.previous.age");
        let old = kept.exists().then(|| {
            let ran = self.home.hob(&["secrets", "decrypt", kept.to_str().unwrap()]).exits(0);
            ran.stdout.trim_end().to_owned()
        });
        for (name, seen) in self.services.iter().zip(self.seen()) {
            assert!(
                seen == current || Some(&seen) == old.as_ref(),
                "{name} has {seen}, current is {current}, kept {old:?}"
            );
        }
    }

    /// How many have another value than this.
    fn switched_from(&self, before: &str) -> usize {
        self.seen().iter().filter(|seen| *seen != before).count()
    }

    /// Whether a rotation away from `before` has come to a step: the old value is kept, the new one is stored, and one
    /// service after the other has it.
    fn has_come_to(&self, step: usize, before: &str) -> bool {
        match step {
            0 => self.home.path("lab/secrets/.token.previous.age").exists(),
            1 => self.current() != before,
            more => self.switched_from(before) >= more - 1,
        }
    }

    /// The rotation is finished: all have the new value, and the old one is nowhere.
    #[track_caller]
    fn finished(&self, before: &str) -> String {
        let current = self.current();
        assert_ne!(current, before);
        assert_eq!(self.seen(), vec![current.clone(); self.services.len()]);
        assert!(!self.home.path("lab/secrets/.token.previous.age").exists());
        let mut left = vec![self.runtime.clone()];
        while let Some(path) = left.pop() {
            if path.is_dir() {
                left.extend(std::fs::read_dir(&path).unwrap().flatten().map(|entry| entry.path()));
            } else {
                // Digests beside the values say which they are.
                if path.ends_with(".held") {
                    continue;
                }
                let content = std::fs::read_to_string(&path).unwrap();
                assert!(content.contains(&current), "{}: an old generation is left", path.display());
            }
        }
        current
    }
}

#[test]
fn a_rotation_that_is_killed_at_any_step_goes_on() {
    let lab = Lab::new();
    let mut up = lab.up();
    assert_eq!(lab.seen(), vec![OLD.to_owned(); SERVICES.len()]);
    let listed = lab.home.json(&["secrets", "list", "--homelab", "lab"]);
    assert_eq!(listed[0]["consumers"].as_array().map(Vec::len), Some(SERVICES.len()), "{listed}");
    let mut before = OLD.to_owned();
    // Steps: the old value is kept; the new one is stored; each of six services has it; the old one is dropped.
    let steps = SERVICES.len() + 2;
    for step in (0..steps).step_by(if long() { 1 } else { 2 }) {
        let mut rotation = lab.rotate();
        until(&format!("the rotation comes to step {step}"), || {
            (lab.has_come_to(step, &before) || rotation.has_ended()).then_some(())
        });
        rotation.kill();
        lab.works();
        let _again = lab.rotate().end().exits(0);
        before = lab.finished(&before);
    }
    let plan = lab.home.hob(&["plan", "lab"]);
    assert_eq!(plan.code, Some(0), "nothing is left to do: {}", plan.stdout);
    assert_eq!(lab.lives(), 1, "who reads a file again is not started anew");
    let _said = up.stop();
    let _down = lab.home.hob(&["down", "lab"]);
}

#[test]
fn a_daemon_that_is_killed_in_a_rotation_brings_the_rest_to_the_new_value() {
    let lab = Lab::new();
    let mut up = lab.up();
    let mut before = OLD.to_owned();
    // After how many services have switched it is killed.
    for switched in if long() { 1..=SERVICES.len() } else { 2..=2 } {
        let mut rotation = lab.rotate();
        until("services have switched", || {
            (lab.switched_from(&before) >= switched || rotation.has_ended()).then_some(())
        });
        up.process.kill();
        let _failed = rotation.end();
        lab.works();
        up = lab.up();
        let _again = lab.rotate().end().exits(0);
        before = lab.finished(&before);
    }
    let _said = up.stop();
    let _down = lab.home.hob(&["down", "lab"]);
}

#[test]
fn a_rotation_waits_for_a_service_that_another_one_has_stopped() {
    let slow = r#"service("worker", #{
        command: ["sh", "-c", `trap "touch stopping" TERM; cat "$TOKEN_FILE" > seen/worker; echo taken; while :; do sleep 0.05; done`],
        env: #{ TOKEN_FILE: secret_file("token") }, stop_timeout: "1s",
        ready: log("taken"), ready_timeout: "10s", restart: "never",
    });"#;
    let mut lab = Lab::new();
    lab.homelab = lab.homelab.replace(r#""db", "worker"]"#, r#""db"]"#) + slow;
    lab.write("");
    let mut up = lab.up();
    let mut rotation = lab.rotate();
    let stopping = lab.home.path("lab/stopping");
    until("it is stopped to take the new value", || stopping.exists().then_some(()));
    rotation.kill();
    let _again = lab.rotate().end().exits(0);
    lab.finished(OLD);
    let _said = up.stop();
    let _down = lab.home.hob(&["down", "lab"]);
}

#[test]
fn a_service_that_reads_again_is_not_started_anew_because_others_wait_for_that() {
    let mut lab = Lab::new();
    let held = "take() { touch reading; while test -e hold; do sleep 0.05; done; ";
    lab.homelab = lab.homelab.replace("take() { BREAKS", held);
    lab.write("");
    let mut up = lab.up();
    let (hold, reading) = (lab.home.write("lab/hold", ""), lab.home.path("lab/reading"));
    std::fs::remove_file(&reading).unwrap();
    let mut rotation = lab.rotate();
    until("it is told to read again", || reading.exists().then_some(()));
    rotation.kill();
    // Two more rotations go on with it, of which one is nobody's any more. What waits in hob cannot be seen: it is given time.
    let mut another = lab.rotate();
    std::thread::sleep(Duration::from_millis(500));
    another.kill();
    let mut last = lab.rotate();
    std::thread::sleep(Duration::from_millis(500));
    std::fs::remove_file(hold).unwrap();
    let _ended = last.end().exits(0);
    lab.finished(OLD);
    assert_eq!(lab.lives(), 1);
    let _said = up.stop();
    let _down = lab.home.hob(&["down", "lab"]);
}

#[test]
fn the_old_value_is_kept_while_services_have_it_that_nobody_keeps() {
    let place = home();
    let secrets = place.path("lab/secrets");
    let lab = Lab::with(place.with_env("HOB_SECRETS", secrets));
    let mut up = lab.up();
    up.process.kill();
    let refused = lab.rotate().end().exits(1).saying("the old value is kept");
    let _named =
        refused.saying("these services have another value of `token` than the current one: `api`, `cache`");
    lab.works();
    assert_eq!(lab.seen(), vec![OLD.to_owned(); SERVICES.len()]);
    // A run that keeps no services neither.
    let run = ["run", "lab/rotate.rhai", "--env", "HOB_SECRETS"];
    lab.home.write("lab/rotate.rhai", "secrets::rotate(\"token\")");
    let _refused = lab.home.hob(&run).exits(1).saying("these services have another value of `token`");
    lab.works();
    // It can be taken back; and those who come back take the new value, after which the old one may go.
    let _back = lab.home.hob(&["secrets", "rotate", "token", "--homelab", "lab", "--undo"]).exits(0);
    assert_eq!(lab.current(), OLD);
    let _again = lab.rotate().end().exits(1);
    let mut up = lab.up();
    lab.works();
    let _again = lab.rotate().end().exits(0);
    lab.finished(OLD);
    // Stopped services have no value.
    let _said = up.stop();
    let _down = lab.home.hob(&["down", "lab"]).exits(0);
    let before = lab.current();
    let _rotated = lab.rotate().end().exits(0);
    assert_ne!(lab.current(), before);
}

#[test]
fn a_value_that_breaks_a_service_stops_the_rotation_and_can_be_taken_back() {
    let lab = Lab::new();
    let breaks = r#"grep -qs broken "$TOKEN_FILE" && exit 1; "#;
    lab.write(breaks);
    let mut up = lab.up();
    lab.home.write("value", "a-broken-value");
    let args = ["secrets", "rotate", "token", "--homelab", "lab", "--value-file", "value"];
    let ran = lab.home.hob(&args).exits(1).saying("the old value is kept");
    assert!(!ran.stderr.contains("a-broken-value"));
    let old = lab.seen().iter().filter(|seen| **seen == OLD).count();
    assert!(old >= SERVICES.len() - 2, "only the first was touched: {:?}", lab.seen());
    let _back = lab.home.hob(&["secrets", "rotate", "token", "--homelab", "lab", "--undo"]).exits(0);
    assert_eq!(lab.current(), OLD);
    assert_eq!(lab.seen(), vec![OLD.to_owned(); SERVICES.len()]);
    let _said = up.stop();
    let _down = lab.home.hob(&["down", "lab"]);
}

#[test]
fn a_secret_that_was_edited_is_taken_with_the_next_up() {
    let lab = Lab::new();
    let _said = lab.up().stop();
    lab.seal("an-edited-value");
    let plan = lab.home.hob(&["plan", "lab"]);
    assert!(
        plan.stdout.contains("~ update    proxy") && plan.stdout.contains("secret token"),
        "{}",
        plan.stdout
    );
    assert!(!plan.stdout.contains("an-edited-value"));
    let mut up = lab.up();
    assert_eq!(lab.seen(), vec!["an-edited-value".to_owned(); SERVICES.len()]);
    assert_eq!(lab.lives(), 1);
    assert_eq!(lab.home.hob(&["plan", "lab"]).code, Some(0));
    let _said = up.stop();
    let _down = lab.home.hob(&["down", "lab"]);
}

#[test]
fn a_run_rotates_as_the_command_does_and_goes_on_after_a_crash() {
    let lab = Lab::new();
    let up = lab.up();
    let run = lab.home.hob(&["run", "rotate", "--detach"]).exits(0).out().trim().to_owned();
    until("two services have switched", || (lab.switched_from(OLD) >= 2).then_some(()));
    let mut process = up.process;
    process.kill();
    lab.works();
    let mut up = lab.up();
    until("the run has ended", || {
        let shown = lab.home.json(&["runs", "show", &run]);
        (shown["status"] == "succeeded").then_some(())
    });
    let current = lab.finished(OLD);
    assert_eq!(current.len(), 40);
    let shown = lab.home.hob(&["runs", "show", &run, "--json"]);
    let services = shown.json()["output"].as_array().map(Vec::len);
    assert_eq!(services, Some(SERVICES.len()), "{shown:?}");
    assert!(!shown.stdout.contains(&current) && !shown.stdout.contains(OLD));
    let _said = up.stop();
    let _down = lab.home.hob(&["down", "lab"]);
}
