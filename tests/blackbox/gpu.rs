//! `hob gpu`, with a stand-in for NVIDIA's library that the linker finds first.

use std::path::Path;
use std::process::Command;

use hob_tests::home::Home;
use hob_tests::terminal::Terminal;
use serde_json::json;

use crate::home;

/// A small card of which nothing is used.
pub(crate) const P1000: &str = "\
driver 550.54.14
card GPU-5fd2f7b8
name Quadro P1000
pci 00000000:01:00.0
compute 6 1
total 4294967296
reserved 67108864
number minor 0
";

/// The same at work, beside one that is lost.
pub(crate) fn at_work() -> String {
    P1000.to_owned()
        + "\
number busy 37
number memory_busy 12
number encoder 80
number temperature 61
number power 31500
compute_process 4294967290 1073741824
graphics_process 4294967291 536870912
card GPU-lost
lost
"
}

/// A place where programs find the stand-in, with the cards that are told there.
pub(crate) fn with_cards(cards: &str) -> Home {
    let home = home();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../stdlib/gpu/tests/gpu/nvml.c");
    home.write("lib/cards", cards);
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).args([home.path("lib/libnvidia-ml.so.1"), source]);
    let compiled = compiler.output().expect("the tests need a compiler for C");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let libraries = home.path("lib");
    home.with_env("LD_LIBRARY_PATH", libraries)
}

#[test]
fn cards_and_who_uses_them_are_shown() {
    let home = with_cards(&at_work());
    let shown = home.hob(&["gpu"]).exits(0);
    let lines: Vec<Vec<&str>> = shown.out().lines().map(|line| line.split_whitespace().collect()).collect();
    let expected: [&[&str]; 7] = [
        &["GPU", "NAME", "KIND", "USED", "MEMORY", "BUSY", "ENCODER", "HEAT", "POWER", "ADDRESS", "STATE"],
        &[
            "0",
            "Quadro",
            "P1000",
            "pascal",
            "1.5G",
            "4G",
            "37",
            "%",
            "80",
            "%",
            "61",
            "°C",
            "31",
            "W",
            "0000:01:00.0",
            "usable",
        ],
        &["1", "NVIDIA", "GPU", "-", "-", "-", "-", "-", "-", "-", "-", "unusable"],
        &[],
        &["GPU", "PID", "NAME", "WORK", "MEMORY", "RUNS", "IN"],
        &["0", "4294967290", "-", "compute", "1G", "-"],
        &["0", "4294967291", "-", "graphics", "512M", "-"],
    ];
    assert_eq!(lines, expected, "{}", shown.out());
    assert!(shown.says("NVIDIA GPU: it is lost"), "{shown:?}");

    let told = home.json(&["gpu"]);
    assert_eq!(told["cards"][0]["memory"]["used"], json!(1_610_612_736_u64));
    assert_eq!(told["processes"][1]["work"], "graphics");
}

#[test]
fn a_driver_that_does_not_fit_is_told_with_its_cure() {
    let home = with_cards("init 18\n");
    let refused = home.hob(&["gpu"]).exits(1);
    assert!(refused.says("different versions") && refused.says("restart the machine"), "{refused:?}");
    let refused = home.hob(&["eval", "gpu::list()"]).exits(1);
    assert!(refused.says("different versions") && refused.says("restart the machine"), "{refused:?}");
}

#[test]
fn the_tables_fit_a_terminal() {
    let home = with_cards(&at_work());
    let terminal = Terminal::start(&home, &["gpu"]);
    let screen = terminal.waits_for("it is lost");
    let line = |begin: &str| screen.lines().find(|it| it.trim_start().starts_with(begin)).unwrap_or_default();
    assert!(line("GPU  NAME").ends_with("STATE"), "{screen}");
    assert!(line("0  Quadro P1000").ends_with("usable"), "{screen}");
    let processes = screen.lines().filter(|it| it.contains("429496729")).count();
    assert_eq!(processes, 2, "{screen}");
    assert!(screen.lines().all(|it| it.chars().count() <= 100), "{screen}");
}
