//! `hob top` in a real terminal.

use hob_tests::terminal::Terminal;
use hob_tests::until;

use crate::gpu::{at_work, with_cards};

#[test]
fn everything_is_watched_on_one_screen() {
    let home = with_cards(&at_work());
    home.write(
        "lab/homelab.rhai",
        r#"homelab(#{ name: "watched", timezone: "UTC" });
           tier("base");
           service("clock", #{ tier: "base", command: ["sleep", "1000"] });
           service("other", #{ tier: "base", command: ["sleep", "1000"] });
           schedule("nightly", cron("0 3 * * *"), || 1);
           workflow("parcel", #{ on: manual() }, || wait_signal("arrived"));"#,
    );
    let refused = home.hob(&["top"]).exits(2);
    assert!(refused.says("needs a terminal") && refused.says("hob status"), "{refused:?}");
    let mut up = home.up("lab", &[]);
    let _ = home.hob(&["run", "parcel", "--detach"]).exits(0);

    let terminal = Terminal::start(&home, &["top"]);
    let screen = terminal.waits_for("parcel: signal arrived");
    for shown in [
        "serving",
        "services 2/2",
        "load ",
        "SERVICE",
        "clock",
        "process",
        "Quadro P1000",
        "1.5G of 4G",
        "61 °C",
    ] {
        assert!(screen.contains(shown), "no {shown:?} in\n{screen}");
    }
    // The machine is measured every five seconds.
    until("how busy the processors are", || {
        let screen = terminal.screen();
        (!screen.contains("cpu -")).then_some(())
    });
    let _ = home.hob(&["stop", "clock"]).exits(0);
    terminal.waits_for("services 1/2");
    terminal.presses("Down");
    until("the first service is scrolled away", || (!terminal.screen().contains("clock")).then_some(()));

    let _ = up.stop().exits(0);
    terminal.waits_for("no hob answers");
    terminal.presses("q");
    until("the terminal is given back", || (!terminal.screen().contains("SERVICE")).then_some(()));
}
