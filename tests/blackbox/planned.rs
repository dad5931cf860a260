//! A plan of what is as declared only asks: what hob says to an engine and to a service manager is written down by others.

use std::fs::File;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

use hob_lab::engine::{Engine, IMAGE, Kind};
use hob_lab::systemd::Systemd;
use hob_tests::until;
use serde_json::{Value as Json, json};

use crate::engines::is_there;
use crate::home;
use crate::services::LIMITS;

const CONTAINERS: usize = 8;
const UNITS: usize = 192;

const MANAGER: &str = "org.freedesktop.systemd1";

/// Stands between hob and an engine, and writes down each request.
struct Listener {
    socket: PathBuf,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Listener {
    fn start(socket: PathBuf, engine: &Path) -> Self {
        let (listener, engine) = (UnixListener::bind(&socket).unwrap(), engine.to_owned());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let it = Self { socket, heard: Arc::clone(&heard) };
        std::thread::spawn(move || {
            for inner in listener.incoming().map_while(Result::ok) {
                let outer = UnixStream::connect(&engine).unwrap();
                let (answers, asker) = (outer.try_clone().unwrap(), inner.try_clone().unwrap());
                std::thread::spawn(move || pass(answers, asker, |_| ()));
                let heard = Arc::clone(&heard);
                std::thread::spawn(move || {
                    let mut text = String::new();
                    pass(inner, outer, |bytes| {
                        text.push_str(&String::from_utf8_lossy(bytes));
                        while let Some((line, rest)) = text.split_once('\n') {
                            if let Some(request) = line.trim().strip_suffix(" HTTP/1.1") {
                                heard.lock().unwrap().push(request.to_owned());
                            }
                            text = rest.to_owned();
                        }
                    });
                });
            }
        });
        it
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.heard.lock().unwrap())
    }
}

/// Hands on what is read, until there is no more.
fn pass(mut from: UnixStream, mut to: UnixStream, mut seen: impl FnMut(&[u8])) {
    let mut bytes = [0; 8192];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        seen(&bytes[..length]);
        if to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// Writes down what is called of a service manager over its bus; it ends with that.
struct Monitor<'s> {
    systemd: &'s Systemd,
    child: Child,
    said: PathBuf,
}

impl<'s> Monitor<'s> {
    fn start(systemd: &'s Systemd, said: PathBuf) -> Self {
        let mut command = systemd.command("busctl");
        command.args(["monitor", "--json=short", MANAGER]).stdin(Stdio::null()).stderr(Stdio::null());
        // It goes on at the end of the file, also when that was emptied.
        let file = File::options().create(true).append(true).open(&said).unwrap();
        let child = command.stdout(file).spawn().expect("busctl is there");
        let it = Self { systemd, child, said };
        it.take();
        it
    }

    fn lines(&self) -> Vec<Json> {
        let text = std::fs::read_to_string(&self.said).unwrap();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// What was called since the last look, for all that was called before it.
    fn take(&self) -> Vec<String> {
        let called = || -> Vec<String> {
            let calls = self.lines().into_iter().filter(|it| it["type"] == "method_call");
            calls.map(|it| it["member"].as_str().unwrap_or_default().to_owned()).collect()
        };
        until("the monitor hears a call", || {
            let peer = ["/org/freedesktop/systemd1", "org.freedesktop.DBus.Peer", "Ping"];
            let pinged = self.systemd.command("busctl").args(["call", MANAGER]).args(peer).status().unwrap();
            assert!(pinged.success());
            (called().last().map(String::as_str) == Some("Ping")).then_some(())
        });
        let all = called();
        File::options().write(true).open(&self.said).unwrap().set_len(0).unwrap();
        all.into_iter().filter(|member| member != "Ping").collect()
    }
}

impl Drop for Monitor<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn homelab() -> String {
    format!(
        r#"for i in 0..{CONTAINERS} {{
    service(`c${{i}}`, #{{ image: "{IMAGE}", command: ["sleep", "1000"], stop_signal: "SIGKILL", ulimits: {LIMITS} }});
}}
for i in 0..{UNITS} {{ service(`u${{i}}`, #{{ unit: `held@${{i}}` }}); }}
"#
    )
}

#[test]
fn a_plan_of_what_is_as_declared_only_asks() {
    if !is_there(Kind::Podman.missing()) || !is_there(Systemd::missing()) {
        return;
    }
    let podman = Engine::start(Kind::Podman).expect("Podman starts");
    let systemd = Systemd::start().expect("systemd starts");
    systemd.write_unit("held@.service", "[Service]\nExecStart=/bin/sleep infinity\n").unwrap();
    let home = home();
    let engine = Listener::start(home.path("engine.sock"), &podman.socket());
    let manager = Monitor::start(&systemd, home.path("calls"));
    let home = home
        .with_env("CONTAINER_HOST", format!("unix://{}", engine.socket.display()))
        .with_env("DBUS_SYSTEM_BUS_ADDRESS", systemd.bus_address())
        .with_env("HOB_SYSTEMD_ROOT", systemd.root());
    home.write("lab/homelab.rhai", homelab());
    let _ = home.up("lab", &["--on-exit", "keep"]).stop().exits(0);
    let (asked, called) = (engine.take(), manager.take());
    let count = |what: &str| asked.iter().filter(|it| it.starts_with("POST") && it.contains(what)).count();
    assert_eq!((count("/containers/create"), count("/start")), (CONTAINERS, CONTAINERS), "{asked:#?}");
    assert_eq!(called.iter().filter(|it| *it == "StartUnit").count(), UNITS);

    let plan = home.hob(&["plan", "lab", "--json"]).exits(0).json();
    assert_eq!((&plan["changes"], &plan["unchanged"]), (&json!([]), &json!(CONTAINERS + UNITS)));
    let (asked, called) = (engine.take(), manager.take());
    let acts = asked.iter().find(|it| !["GET ", "HEAD "].iter().any(|method| it.starts_with(method)));
    assert_eq!(acts, None, "{asked:#?}");
    assert!(asked.iter().any(|it| it.contains("/containers/json")), "{asked:#?}");
    let acts = called.iter().find(|it| !["Get", "GetAll", "ListUnitsByNames"].contains(&it.as_str()));
    assert_eq!(acts, None, "{called:#?}");
    assert!(called.len() > UNITS, "{called:#?}");
}
