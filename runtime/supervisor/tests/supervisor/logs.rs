//! What services write.

use std::os::unix::fs::MetadataExt;

use hob_supervisor::live::{LOG_AGE_MAX, LOG_BYTES_MAX, LOG_FILES_MAX, LOG_KEPT_BYTES};
use hob_supervisor::{LogFrom, Supervisor};

use crate::{PATIENCE, World, process_of, shell, start_and_read};

#[test]
fn output_is_followed_over_starts() {
    let world = World::new();
    let run = |script: &str| {
        let running = world.start(&shell("it", script));
        world.live.wait_exit(&running.instance, PATIENCE);
    };
    let read = |from: LogFrom| world.live.read_log("it", from).unwrap();
    run("echo one; echo two >&2; printf three");
    let chunk = read(LogFrom::Start);
    assert_eq!(chunk.lines, ["one", "two"], "a line comes when it is whole");
    run("echo four");
    let rest = read(LogFrom::Position(chunk.next));
    assert_eq!((rest.lines.as_slice(), rest.more), (["three".to_owned()].as_slice(), true));
    let next = read(LogFrom::Position(rest.next));
    assert_eq!((next.lines.as_slice(), next.more), (["four".to_owned()].as_slice(), false));
    assert_eq!(read(LogFrom::Position(next.next)).lines, [""; 0]);
    assert_eq!(read(LogFrom::Tail { lines: 3 }).lines, ["two", "three", "four"]);
    assert_eq!(read(LogFrom::Tail { lines: 99 }).lines, ["one", "two", "three", "four"]);
    assert_eq!(read(LogFrom::Tail { lines: 0 }).lines, [""; 0]);
    for _ in 0..LOG_FILES_MAX {
        run(r"printf 'bad \377\r\n'");
    }
    assert_eq!(read(LogFrom::Tail { lines: 99 }).lines, vec!["bad \u{fffd}"; LOG_FILES_MAX]);
}

#[test]
fn output_that_grows_too_large_loses_its_beginning_and_nothing_else() {
    let world = World::new();
    let lines = 400_000;
    // The process goes on writing while its file is shortened.
    let script = format!(
        "seq -f 'line %08.0f of some forty bytes and more' 1 {lines}; echo filled; read _ < ./go; echo after; exec sleep 1000"
    );
    let mut spec = shell("it", &script);
    process_of(&mut spec).workdir = world.dir.path().to_owned();
    let made = std::process::Command::new("mkfifo").arg(world.dir.path().join("go")).status().unwrap();
    assert!(made.success());
    start_and_read(&world, &spec, "^filled$");
    let file = world.dir.path().join("services/it/output.log");
    let before = std::fs::metadata(&file).unwrap();
    assert!(before.blocks() * 512 > LOG_BYTES_MAX);
    let position = world.live.read_log("it", LogFrom::Tail { lines: 1 }).unwrap().next;

    world.live.rotate_logs().unwrap();
    let after = std::fs::metadata(&file).unwrap();
    assert!(after.blocks() * 512 <= LOG_KEPT_BYTES + 1024 * 1024, "{} blocks", after.blocks());
    assert_eq!(after.len(), before.len());
    std::fs::write(world.dir.path().join("go"), "\n").unwrap();
    crate::eventually("the line after", || {
        world.live.read_log("it", LogFrom::Position(position)).unwrap().lines == ["after"]
    });
    let tail = world.live.read_log("it", LogFrom::Tail { lines: 3 }).unwrap().lines;
    assert_eq!(
        tail,
        [format!("line {lines:08} of some forty bytes and more"), "filled".into(), "after".into()]
    );
    let start = world.live.read_log("it", LogFrom::Start).unwrap();
    assert!(
        start.more && start.lines[1].starts_with("line 00"),
        "reading goes on behind the hole: {:?}",
        start.lines[1]
    );
    world.live.rotate_logs().unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().blocks(), after.blocks());
}

#[test]
fn output_of_earlier_starts_goes_when_it_is_old() {
    let world = World::new();
    for said in ["one", "two", "three"] {
        let running = world.start(&shell("it", &format!("echo {said}")));
        world.live.wait_exit(&running.instance, PATIENCE);
    }
    let aged = |name: &str, age: std::time::Duration| {
        let file = world.dir.path().join("services/it").join(name);
        let at = std::time::SystemTime::now() - age;
        std::fs::File::options().append(true).open(file).unwrap().set_modified(at).unwrap();
    };
    let minute = std::time::Duration::from_secs(60);
    aged("output.2.log", LOG_AGE_MAX + minute);
    aged("output.1.log", LOG_AGE_MAX - minute);
    // What the present one wrote last stays, however long ago.
    aged("output.log", LOG_AGE_MAX * 2);
    world.live.rotate_logs().unwrap();
    assert_eq!(world.live.read_log("it", LogFrom::Tail { lines: 9 }).unwrap().lines, ["two", "three"]);
}
