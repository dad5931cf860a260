//! Waiting for services to get ready.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use hob_planner::Exit;
use hob_planner::declaration::Gate;
use hob_supervisor::{NotReady, Supervisor};

use crate::{PATIENCE, World, command, process_of, ready, shell};

const SHORT: Duration = Duration::from_millis(60);

#[test]
fn tcp() {
    let world = World::new();
    let spec = command("it", &["sleep", "1000"]);
    let running = world.start(&spec);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    assert_eq!(ready(&world.live, &running, &spec, Gate::Tcp { port }, PATIENCE), Ok(()));
    drop(listener);
    let late = ready(&world.live, &running, &spec, Gate::Tcp { port }, SHORT);
    let Err(NotReady::TimedOut { why, .. }) = late else { panic!("{late:?}") };
    assert!(why.contains(&port.to_string()) && why.contains("refused"), "{why}");
    if let Ok(listener) = TcpListener::bind("[::1]:0") {
        let port = listener.local_addr().unwrap().port();
        assert_eq!(ready(&world.live, &running, &spec, Gate::Tcp { port }, PATIENCE), Ok(()));
    }
}

/// A server that gives these answers, one to each request.
fn server(answers: &'static [&'static str]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let count = stream.read(&mut [0; 4096]).unwrap();
            assert!(count > 0);
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    port
}

#[test]
fn http() {
    const UNAVAILABLE: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
    const MOVED: &str = "HTTP/1.0 302 Found\r\nLocation: /login\r\n\r\n";
    const FINE: &str = "HTTP/1.1 204 No Content\r\n\r\n";
    let world = World::new();
    let spec = command("it", &["sleep", "1000"]);
    let running = world.start(&spec);
    type Case = (&'static [&'static str], Option<u16>, Result<(), &'static str>);
    let cases: [Case; 5] = [
        (&[UNAVAILABLE, UNAVAILABLE, FINE], None, Ok(())),
        (&[MOVED], None, Ok(())),
        (&[MOVED, UNAVAILABLE], Some(503), Ok(())),
        (&[FINE; 30], Some(200), Err("answered 204")),
        (&["SSH-2.0-OpenSSH_9.2\r\n"; 30], None, Err("no HTTP")),
    ];
    for (answers, status, expected) in cases {
        let gate = Gate::Http { port: server(answers), path: "/health?full=1".to_owned(), status };
        let timeout = if expected.is_ok() { PATIENCE } else { SHORT };
        match (ready(&world.live, &running, &spec, gate, timeout), expected) {
            (Ok(()), Ok(())) => {}
            (Err(NotReady::TimedOut { why, .. }), Err(expected)) => assert!(why.contains(expected), "{why}"),
            other => panic!("{answers:?}: {other:?}"),
        }
    }
}

#[test]
fn exec_and_file() {
    let world = World::new();
    let made = world.dir.path().join("made");
    let mut spec = command("it", &["sleep", "1000"]);
    process_of(&mut spec).workdir = world.dir.path().to_owned();
    process_of(&mut spec).env.insert("FILE".to_owned(), "made".to_owned());
    let running = world.start(&spec);
    let exec = |script: &str| Gate::Exec { command: ["sh", "-c", script].map(str::to_owned).to_vec() };
    let gates = || [exec("test -e $FILE"), Gate::File { path: made.clone() }];
    for gate in gates() {
        let late = ready(&world.live, &running, &spec, gate, SHORT);
        assert!(matches!(late, Err(NotReady::TimedOut { .. })), "{late:?}");
    }
    std::fs::write(&made, "").unwrap();
    for gate in gates() {
        assert_eq!(ready(&world.live, &running, &spec, gate, PATIENCE), Ok(()));
    }
    let late = ready(&world.live, &running, &spec, exec("sleep 1000 & sleep 1000"), SHORT);
    let Err(NotReady::TimedOut { why, .. }) = late else { panic!("{late:?}") };
    assert!(why.contains("too long"), "{why}");
    assert_eq!(world.live.observe().unwrap().len(), 1);
}

#[test]
fn log() {
    let world = World::new();
    let spec = shell("it", "echo starting; sleep 0.05; echo listening on 80; exec sleep 1000");
    let running = world.start(&spec);
    let gate = |pattern: &str| Gate::Log { pattern: pattern.to_owned() };
    assert_eq!(ready(&world.live, &running, &spec, gate(r"listening on \d+"), PATIENCE), Ok(()));
    let late = ready(&world.live, &running, &spec, gate("never"), SHORT);
    let Err(NotReady::TimedOut { last_lines, .. }) = late else { panic!("{late:?}") };
    assert_eq!(last_lines, ["starting", "listening on 80"]);
    // What an earlier start wrote does not count.
    world.live.stop("it", PATIENCE).unwrap();
    let spec = command("it", &["sleep", "1000"]);
    let running = world.start(&spec);
    assert!(ready(&world.live, &running, &spec, gate("listening"), SHORT).is_err());
}

#[test]
fn the_end_of_the_process() {
    let world = World::new();
    let cases = [
        ("exit 0", Gate::Completed, true),
        ("exit 0", Gate::Tcp { port: 1 }, false),
        ("sleep 0.05; exit 0", Gate::Completed, true),
        ("echo the reason; exit 7", Gate::Completed, false),
        ("exec sleep 1000", Gate::Alive, true),
    ];
    for (script, gate, is_ready) in cases {
        let spec = shell("it", script);
        let running = world.start(&spec);
        let found = ready(&world.live, &running, &spec, gate, PATIENCE);
        assert_eq!(found.is_ok(), is_ready, "{script}: {found:?}");
        if let Err(NotReady::Ended { exit: Exit::Code(7), last_lines }) = found {
            assert_eq!(last_lines, ["the reason"]);
        }
        world.live.stop("it", PATIENCE).unwrap();
    }
}
