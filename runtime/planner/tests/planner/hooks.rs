//! Functions around the start and the stop of services.

use std::time::Duration;

use expect_test::expect;
use hob_planner::declaration::{HOOK_TIMEOUT, Hook, Hooks, UNLOAD_TIMEOUT};
use hob_planner::{Goal, Plan};
use serde_json::json;

use crate::plans::running;
use crate::{homelab, raws, read, shown};

#[test]
fn they_are_read_with_their_time_limit_and_are_no_part_of_what_a_service_is() {
    let mut declared = raws(&[
        (
            "service",
            "a",
            json!({ "command": "a", "hooks": { "before_start": null, "after_stop": null, "timeout": "5m" } }),
        ),
        ("service", "b", json!({ "lid": "oak", "hooks": { "after_start": null } })),
        ("service", "c", json!({ "command": "c" })),
    ]);
    declared[0].closures = vec!["hooks.before_start".to_owned(), "hooks.after_stop".to_owned()];
    declared[1].closures = vec!["hooks.after_start".to_owned()];
    let (house, diagnostics) = read(&declared);
    assert_eq!(shown(&diagnostics), "");
    let hooks = |name: &str| house.service(name).unwrap().hooks.clone();
    let timeout = Duration::from_secs(300);
    assert_eq!(
        hooks("a"),
        Hooks { all: vec![Hook::BeforeStart, Hook::AfterStop], timeout, ..Hooks::default() }
    );
    let usual = Hooks { all: Vec::new(), timeout: HOOK_TIMEOUT, unload_timeout: UNLOAD_TIMEOUT };
    assert_eq!(hooks("b"), Hooks { all: vec![Hook::AfterStart], ..usual });
    assert_eq!(hooks("c"), Hooks::default());
    assert_eq!(Hook::AfterStop.kind(), "service.hooks.after_stop");

    let plain = homelab(&[
        ("service", "a", json!({ "command": "a" })),
        ("service", "b", json!({ "lid": "oak" })),
        ("service", "c", json!({ "command": "c" })),
    ]);
    let observed: Vec<_> = plain.services.iter().map(running).collect();
    assert!(Plan::new(&house, &observed, Goal::Up).is_empty(), "nothing is started anew for a function");
}

#[test]
fn what_is_none_of_them_is_reported() {
    let mut declared = raws(&[
        (
            "service",
            "a",
            json!({ "command": "a", "hooks": { "before_start": "backup", "after": null, "timeout": "soon" } }),
        ),
        ("service", "b", json!({ "command": "b", "hooks": true })),
        ("service", "c", json!({ "command": "c", "hooks": null })),
    ]);
    declared[0].closures = vec!["hooks.after".to_owned()];
    declared[2].closures = vec!["hooks".to_owned()];
    let (_, diagnostics) = read(&declared);
    expect![[r#"
        error[HOB-0105]: service `a`: `hooks.after` takes no function (homelab.rhai:1:1)
        error[HOB-0105]: service `a`, option `hooks`: there is no option `after` (homelab.rhai:1:1)
          note: allowed are after_start, after_stop, before_start, before_stop, timeout
        error[HOB-0105]: service `a`, option `hooks`: `before_start`: expected a function such as || process::run(["backup"]), found "backup" (homelab.rhai:1:1)
        error[HOB-0105]: service `a`, option `hooks`: `timeout`: `soon` is no duration: a number is missing; write for example "90s", "1h30m", "7d" or "250ms" (homelab.rhai:1:1)
        error[HOB-0105]: service `b`: `hooks`: expected a map with `before_start`, `after_start`, `before_stop` or `after_stop`, found bool (homelab.rhai:2:1)
        error[HOB-0105]: service `c`: `hooks` takes no function (homelab.rhai:3:1)
    "#]].assert_eq(&shown(&diagnostics));
}
