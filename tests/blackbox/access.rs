//! The API is closed: to other users, to other names, to pages of other origins, and without the token.

use std::os::unix::fs::PermissionsExt;

use hob_tests::home::Up;
use serde_json::json;

use crate::{as_nobody, home, is_root, set_mode};

const HOMELAB: &str = r#"
homelab(#{ name: "closed" });
workflow("made", #{ on: webhook("POST /made", #{ respond: "last" }) }, |e| { files::write("made", "x"); 1 });
"#;

#[test]
fn the_api_is_closed() {
    let home = home();
    home.write("lab/homelab.rhai", HOMELAB);
    let mut up = home.up("lab", &[]);
    let mode = |name: &str| {
        let meta = std::fs::metadata(home.state().join(name)).unwrap();
        meta.permissions().mode() & 0o777
    };
    assert_eq!((mode(""), mode("token"), mode("hob.sock")), (0o700, 0o600, 0o600));
    let token = home.read("state/token");
    let bearer = format!("Bearer {}", token.trim());
    let right = ("authorization", bearer.as_str());

    let get = |up: &Up, path: &str, headers: &[(&str, &str)]| up.ask("GET", path, headers, None).status;
    let runs = "/api/v1/runs";
    assert_eq!(get(&up, runs, &[]), 401, "without a token");
    assert_eq!(get(&up, runs, &[("authorization", "Bearer wrong")]), 401, "with another token");
    assert_eq!(get(&up, runs, &[right]), 200);
    assert_eq!(get(&up, runs, &[right, ("host", "evil.example")]), 403, "with a forged host");
    assert_eq!(get(&up, "/healthz", &[("host", "evil.example")]), 403, "the open paths, too");
    assert_eq!(get(&up, runs, &[right, ("origin", "https://evil.example")]), 403, "from another page");
    assert_eq!(get(&up, runs, &[right, ("sec-fetch-site", "cross-site")]), 403);
    assert_eq!((get(&up, "/healthz", &[]), get(&up, "/metrics", &[])), (200, 200));
    let hook = |headers: &[(&str, &str)]| up.ask("POST", "/hooks/made", headers, Some(&json!({}))).status;
    assert_eq!(hook(&[("origin", "https://evil.example")]), 403);
    assert!(!home.path("lab/made").exists(), "nothing of this was done");
    assert_eq!(hook(&[]), 200);
    let _ = up.stop().exits(0);
}

#[test]
fn the_settings_beside_a_homelab_say_where_it_listens_and_by_which_names() {
    let home = home();
    home.write("lab/homelab.rhai", HOMELAB);
    home.write("lab/hob.toml", "[server]\nlisten = \"127.0.0.1:0\"\nhosts = [\"hob.example.net\"]\n");
    let mut up = home.up_as_set("lab", &[]);
    let status = |up: &Up, host: &str| up.ask("GET", "/healthz", &[("host", host)], None).status;
    assert_eq!((status(&up, "hob.example.net"), status(&up, "other.example.net")), (200, 403));
    let _ = up.stop().exits(0);

    let mut up = home.up_as_set("lab", &["--host", "other.example.net"]);
    assert_eq!((status(&up, "hob.example.net"), status(&up, "other.example.net")), (403, 200));
    let _ = up.stop().exits(0);
}

/// What the workflow of a file under narrow settings may do.
#[test]
fn a_workflow_does_no_more_than_the_settings_leave_it() {
    let home = home();
    home.write("lab/homelab.rhai", "import \"jobs/tidy\" as tidy;\nhomelab(#{ name: \"lab\" });\n");
    home.write(
        "lab/jobs/tidy.rhai",
        r#"workflow("tidy", #{ on: manual(), allow: ["files", "env"] }, |e| { files::write(e.to, "x").bytes });"#,
    );
    home.write("lab/hob.toml", "[permissions.\"jobs\"]\nallow = [\"files.write:out\"]\n");
    home.write("lab/out/here", "");
    let mut up = home.up("lab", &[]);
    assert_eq!(home.hob(&["run", "tidy", "--arg", "to=out/a"]).exits(0).out().trim(), "1");
    let _ = home.hob(&["run", "tidy", "--arg", "to=b"]).exits(1).saying("lab/b");
    let _ = up.stop().exits(0);
}

#[test]
fn the_socket_is_closed_to_other_users() {
    if !is_root("try what another user may do") {
        return;
    }
    let home = home();
    home.write("lab/homelab.rhai", HOMELAB);
    let mut up = home.up("lab", &[]);
    let denied = as_nobody(&home, &["status"]).exits(1);
    assert_eq!(denied.stdout, "", "the directory is closed");

    // Even where the modes of the files are opened, the peer's uid counts.
    set_mode(home.state(), 0o777);
    set_mode(home.state().join("hob.sock"), 0o777);
    let denied = as_nobody(&home, &["status"]).exits(1).saying("HOB-0603");
    assert_eq!(denied.stdout, "");
    let _ = home.hob(&["status"]).exits(0);
    let _ = up.stop().exits(0);
}
