//! Services on a NAS that comes, goes and hangs. FUSE stands in for NFS, of which kernels for tests know nothing: its program
//! ends, and what it had mounted is stale; it stops, and who asks it waits.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hob_lab::systemd::Systemd;
use hob_tests::home::Home;
use hob_tests::process::signal_pid;
use hob_tests::until;
use rustix::process::Signal;
use serde_json::{Value as Json, json};

use crate::engines::is_there;
use crate::{home, is_root};

const CONFIG: &str = include_str!("../../examples/family/config.rhai");
const PLACES: &str = include_str!("../../examples/family/places.rhai");

/// What stands on the places of the family: one that reads a film and goes on, one that writes all the time, and one that
/// has nothing to do with them.
const FAMILY: &str = r#"
import "config" as config;
import "places" as places;
homelab(#{ name: "family" });
tier("storage");
tier("media", #{ after: "storage" });
let data = `${places::declare(config::STORAGE, config::OWNER).media}/data`;
let again = #{ policy: "always", backoff: "50ms", max: "50ms" };
service("jellyfin", #{ tier: "media", workdir: data, restart: again, stop_timeout: "1s",
    command: ["sh", "-c", `cat media/movies/film >> '${at}/seen'; echo >> '${at}/seen'; exec sleep 1000`] });
service("sonarr", #{ tier: "media", workdir: data, restart: again, stop_timeout: "1s",
    command: ["sh", "-c", "while echo part >> torrents/tv/show && sleep 0.05; do :; done"] });
service("vaultwarden", #{ tier: "media", command: ["sleep", "1000"], stop_timeout: "1s" });
workflow("told", #{ on: event("mount.*") }, |e| files::append(`${at}/events`, `${e.name} ${e.payload.state}` + "\n"));
"#;

/// What is missing for the stand-in.
fn bindfs_missing() -> Option<String> {
    let lacks = ["/usr/bin/bindfs", "/sbin/mount.fuse"].into_iter().find(|it| !Path::new(it).exists());
    lacks.map(|program| format!("{program} (bindfs)"))
}

/// The family's homelab below a home, with places of its own and, over NFS, a stand-in for the NAS.
fn family(home: &Home, use_nfs: bool) {
    let at = home.dir().to_str().unwrap();
    let config = CONFIG
        .replace("use_nfs: true", &format!("use_nfs: {use_nfs}"))
        .replace("/mnt/nas1", &format!("{at}/nas1"))
        .replace("/var/lib/media-data", &format!("{at}/media-data"))
        .replace("nas.lan:/export/media", &format!("{at}/export"))
        .replace("\"nfs4\"", "\"fuse.bindfs\"")
        .replace("[\"nfsvers=4.2\", \"hard\", \"timeo=600\", \"noatime\"]", "[\"noatime\"]");
    home.write("lab/config.rhai", config);
    home.write("lab/places.rhai", PLACES.replace("timeout: \"2m\"", "timeout: \"200ms\", patience: \"1s\""));
    home.write("lab/homelab.rhai", format!("let at = {at:?};\n{FAMILY}"));
}

fn mount(home: &Home) -> Json {
    home.json(&["status"])["mounts"][0].clone()
}

fn until_ready(home: &Home, name: &str) {
    until(&format!("{name} is ready"), || (home.service(name)["state"] == "ready").then_some(()));
}

/// The process of the stand-in that shows `source`.
fn stand_in(source: &Path) -> Option<u32> {
    let source = source.to_str().unwrap();
    let mut processes = fs::read_dir("/proc").unwrap().flatten();
    processes.find_map(|process| {
        let line = fs::read(process.path().join("cmdline")).ok()?;
        let mut words = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        let is_it = words.next()?.ends_with("bindfs") && words.any(|word| word == source);
        is_it.then(|| process.file_name().to_str()?.parse().ok()).flatten()
    })
}

#[test]
fn the_services_of_a_family_are_the_same_on_a_local_disk() {
    if !is_root("give files away") {
        return;
    }
    let home = home();
    family(&home, false);
    let mut up = home.up("lab", &[]);
    for name in ["jellyfin", "sonarr", "vaultwarden"] {
        assert_eq!(home.service(name)["state"], "ready", "{name}");
    }
    assert_eq!(home.json(&["status"])["mounts"], json!([]));
    until("it writes", || home.path("media-data/data/torrents/tv/show").exists().then_some(()));
    let _ = up.stop().exits(0);
}

/// The units of hob mount it when somebody comes; when its program dies, it is mounted anew, and who stood on it starts again.
#[test]
fn the_services_of_a_family_stand_on_a_nas_that_dies_and_comes_back() {
    if !is_root("boot a systemd") || !is_there(bindfs_missing()) {
        return;
    }
    let Some(systemd) = hob_lab::started("systemd", Systemd::missing(), Systemd::start) else { return };
    let home = crate::inside(crate::home_for_labs(), &systemd);
    family(&home, true);
    for dir in ["nas1", "export/data/media/movies"] {
        fs::create_dir_all(home.path(dir)).unwrap();
    }
    home.write("export/data/media/movies/film", "film");
    let _up = home.up("lab", &[]);
    let _ = home.hob(&["schedule", "run", "nas1.mount"]).exits(0);
    let is_up = |name: &str| ["ready", "completed"].map(Json::from).contains(&home.service(name)["state"]);
    for name in ["shared-data", "jellyfin", "sonarr"] {
        until(&format!("{name} is there"), || is_up(name).then_some(()));
    }
    // All of it is on the NAS, as the layout says.
    let (shelf, export) = (home.path("export/data/torrents/books"), home.path("export"));
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&fs::metadata(shelf).unwrap()) & 0o7777, 0o2775);
    until("it reads from there", || (home.lines("seen") == ["film"]).then_some(()));
    until("it writes there", || home.path("export/data/torrents/tv/show").exists().then_some(()));
    let below = |what: &str| {
        let found: Vec<_> = fs::read_dir(home.path("nas1")).unwrap().collect();
        assert!(found.is_empty(), "{what}: {found:?}");
    };
    below("while it is mounted");

    // Its program dies, and the NAS does not come back at once.
    fs::rename(&export, home.path("away")).unwrap();
    signal_pid(stand_in(&export).expect("it is mounted"), Signal::KILL);
    until("it is told", || home.lines("events").contains(&"mount.missing stale".to_owned()).then_some(()));
    until("sonarr waits", || {
        home.service("sonarr")["note"].as_str().unwrap().contains("mount `nas1` is missing").then_some(())
    });
    assert_eq!(home.service("vaultwarden")["state"], "ready");
    below("while it is away");

    fs::rename(home.path("away"), &export).unwrap();
    until("hob tries again", || {
        let _ = home.hob(&["schedule", "run", "nas1.mount"]);
        (home.service("sonarr")["state"] == "ready").then_some(())
    });
    until("who stood on what is gone begins anew", || (home.lines("seen") == ["film", "film"]).then_some(()));
    until_ready(&home, "jellyfin");
    below("when it is back");
}

/// Services beside a NAS that is mounted by somebody else.
const HOUSE: &str = r#"
homelab(#{ name: "house" });
mount("nas", #{ path: `${at}/nas`, type: "fuse.bindfs", timeout: "100ms", patience: "1s" });
let again = #{ policy: "always", backoff: "50ms", max: "50ms" };
service("writer", #{ workdir: `${at}/nas`, restart: again, stop_timeout: "1s",
    command: ["sh", "-c", "while echo x >> written && sleep 0.05; do :; done"] });
service("holder", #{ workdir: `${at}/nas`, restart: again, command: ["sh", "-c", `echo started >> '${at}/held'; exec 3>>open; exec sleep 1000`], stop_timeout: "1s" });
service("free", #{ restart: again, command: ["sleep", "1000"], stop_timeout: "1s" });
workflow("of-nas", #{ on: watch(`${at}/nas/inbox/*`, #{ settle: "0s" }) }, |file| file.name);
workflow("beside", #{ on: watch(`${at}/inbox/*`, #{ settle: "0s" }) }, |file| files::append(`${at}/events`, file.name + "\n"));
workflow("told", #{ on: event("mount.*") }, |e| files::append(`${at}/events`, `${e.name} ${e.payload.state}` + "\n"));
"#;

/// How long all may take that is done while it hangs; a call that waits for it waits for ever.
const HUNG_MAX: Duration = Duration::from_secs(40);

/// A playbook that asks each file system.
const ASKS: &str = r#"
let nas = `${at}/nas`;
let seen = storage::mounts(#{ ask: true, patience: "300ms" }).find(|it| it.path == nas);
let full = "well";
try { storage::usage(nas, #{ patience: "300ms" }) } catch (e) { full = e.kind; }
`answers ${seen.answers} stale ${seen.stale} usage ${full}`
"#;

/// A process of a test, which ends with this value.
struct Child(std::process::Child);

impl Child {
    fn start(command: &mut Command) -> Self {
        Self(command.stderr(Stdio::null()).spawn().unwrap())
    }

    fn signal(&self, signal: Signal) {
        signal_pid(self.0.id(), signal);
    }

    /// A command that sees the mounts of this process.
    fn beside(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--target", &self.0.id().to_string(), "--"]).args(words);
        command
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A homelab with mounts of its own, which a hob that ends leaves to the next one.
struct House {
    home: Home,
    mounts: Child,
}

impl House {
    fn new() -> Self {
        let mounts = ["--mount", "--propagation", "private", "sleep", "1000"];
        let mounts = Child::start(Command::new("unshare").args(mounts));
        let own = fs::read_link("/proc/self/ns/mnt").unwrap();
        let theirs = format!("/proc/{}/ns/mnt", mounts.0.id());
        until("it has mounts of its own", || (fs::read_link(&theirs).ok()? != own).then_some(()));
        let home = home();
        let at = home.dir().to_str().unwrap().to_owned();
        for dir in ["nas", "export/inbox", "inbox"] {
            fs::create_dir_all(home.path(dir)).unwrap();
        }
        home.write("lab/homelab.rhai", format!("let at = {at:?};\n{HOUSE}"));
        home.write("asks.rhai", format!("let at = {at:?};\n{ASKS}"));
        Self { home: home.through(&mounts.beside(&["env", "--chdir", &at])), mounts }
    }

    /// The NAS, as long as the program of the stand-in runs.
    fn nas(&self) -> Child {
        let [export, place] = ["export", "nas"].map(|name| self.home.path(name).to_str().unwrap().to_owned());
        Child::start(&mut self.mounts.beside(&["bindfs", "-f", &export, &place]))
    }

    fn until_it_is(&self, state: &str) {
        until(state, || (mount(&self.home)["state"] == state).then_some(()));
    }

    fn until_told(&self, what: &str) {
        until(what, || self.home.lines("events").iter().any(|it| it == what).then_some(()));
    }

    fn until_noted(&self, name: &str, what: &str) {
        let note = || self.home.service(name)["note"].as_str().unwrap().contains(what).then_some(());
        until(what, note);
    }

    fn until_both_are_ready(&self) {
        ["writer", "holder"].iter().for_each(|name| until_ready(&self.home, name));
    }

    /// How often the service has started that only keeps its working directory open.
    fn starts(&self) -> usize {
        self.home.lines("held").len()
    }

    /// While it hangs, everybody else goes on, and is answered.
    fn goes_on(&self) {
        let home = &self.home;
        assert!(mount(home)["note"].as_str().unwrap().ends_with("nas does not answer"), "{}", mount(home));
        let _ = home.hob(&["check", "lab"]).exits(0);
        let _ = home.hob(&["plan", "lab"]).exits(0);
        for path in ["/api/v1/plan", "/metrics"] {
            let _ = home.ask("GET", path, None).unwrap().expects(200);
        }
        let ran = home.hob(&["run", "asks.rhai", "--allow", "*"]).exits(0);
        assert!(ran.stdout.contains("answers false stale false usage timeout"), "{ran:?}");
        let free = home.service("free")["instance"].clone();
        let pid = home.living().into_iter().find(|it| it.line == "sleep 1000" && it.cwd == home.path("lab"));
        signal_pid(pid.expect("free runs").pid, Signal::KILL);
        until("free is started again", || (home.service("free")["instance"] != free).then_some(()));
        until_ready(home, "free");
        home.write("inbox/file", "whole");
        self.until_told("file");
    }
}

#[test]
fn a_nas_that_hangs_hangs_nobody() {
    if !is_root("make mounts") || !is_there(bindfs_missing()) {
        return;
    }
    let house = House::new();
    let mut up = house.home.up("lab", &[]);
    house.until_it_is("missing");
    let nas = house.nas();
    house.until_both_are_ready();

    nas.signal(Signal::STOP);
    house.until_it_is("unresponsive");
    house.until_told("mount.missing unresponsive");
    let begun = Instant::now();
    house.goes_on();
    // Nor does it keep hob from ending and beginning.
    let _ = up.stop().exits(0);
    let mut up = house.home.up("lab", &[]);
    house.until_it_is("unresponsive");
    house.until_noted("holder", "mount `nas` is unresponsive");
    assert_eq!(house.home.service("free")["state"], "ready");
    assert!(begun.elapsed() < HUNG_MAX, "{:?}", begun.elapsed());

    nas.signal(Signal::CONT);
    house.until_it_is("ready");
    house.until_both_are_ready();
    assert_eq!(house.starts(), 2, "one for each hob");
    let _ = up.stop().exits(0);
}

#[test]
fn nobody_starts_on_a_nas_that_is_stale_and_who_stood_on_it_begins_anew() {
    if !is_root("make mounts") || !is_there(bindfs_missing()) {
        return;
    }
    let house = House::new();
    let mut up = house.home.up("lab", &[]);
    let nas = house.nas();
    house.until_both_are_ready();

    drop(nas);
    house.until_it_is("stale");
    house.until_told("mount.missing stale");
    house.until_noted("writer", "mount `nas` is stale");
    let ran = house.home.hob(&["run", "asks.rhai", "--allow", "*"]).exits(0);
    assert!(ran.stdout.contains("answers false stale true"), "{ran:?}");
    let place = house.home.path("nas").to_str().unwrap().to_owned();
    assert!(house.mounts.beside(&["umount", "--lazy", &place]).status().unwrap().success());
    house.until_it_is("missing");
    house.until_noted("writer", "mount `nas` is missing");
    assert_eq!(house.starts(), 1, "who runs there is left alone");
    let _nas = house.nas();
    house.until_it_is("ready");
    until("who stood on what is gone begins anew", || (house.starts() == 2).then_some(()));
    house.until_both_are_ready();
    assert_eq!(fs::read_dir(&place).unwrap().count(), 0, "nothing was written beneath");
    let _ = up.stop().exits(0);
}
