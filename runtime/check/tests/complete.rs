//! Completion: what is offered at the cursor, which stands as `|`.

mod common;

use common::CATALOG;
use hob_check::complete::{Named, Surroundings, call_at, complete};

struct Known;

impl Surroundings for Known {
    fn variables(&self) -> Vec<String> {
        vec!["backups".to_owned()]
    }
    fn live(&self, kind: &str) -> Vec<Named> {
        let names: &[&str] = match kind {
            "containers" => &["gitea", "postgres"],
            "units" => &["ssh.service"],
            "services" => &["navidrome"],
            "workflows" => &["greet"],
            _ => &[],
        };
        names.iter().map(|name| Named { name: (*name).to_owned(), about: "ready".to_owned() }).collect()
    }
}

fn offered(script: &str) -> (usize, Vec<String>) {
    let at = script.find('|').expect("the cursor is marked");
    let found = complete(&CATALOG, &script.replacen('|', "", 1), at, &Known);
    (found.start, found.items.into_iter().map(|item| item.text).collect())
}

#[test]
fn what_fits_is_offered() {
    for (script, wanted) in [
        ("fil|", "files"),
        ("files::wr|", "write"),
        ("containers::|", "images"),
        ("containers::images::p|", "pull"),
        ("let found = 1; fou|", "found"),
        ("bac|", "backups"),
        ("fn tidy() { } ti|", "tidy"),
        ("[1].fil|", "filter"),
        ("process::run([\"ls\"], #{ ti|", "timeout"),
        ("process::run([\"ls\"], #{ cwd: \"/\", e|", "env"),
        ("process::run([\"ls\"], #{ on_doubt: \"|", "ask"),
        ("process::run([\"ls\"], #{ on_doubt: |", "\"ask\""),
        ("retry(#{ at|", "attempts"),
        ("containers::restart(\"gi|", "gitea"),
        ("units::restart(\"|", "ssh.service"),
        ("services::restart(\"|", "navidrome"),
        ("invoke(\"gr|", "greet"),
        ("print(`${ fil|", "files"),
        ("let a = [1, 2\nfiles::re|", "read"),
        ("retr|", "retry"),
        ("whi|", "while"),
    ] {
        let (_, items) = offered(script);
        assert!(items.iter().any(|item| item == wanted), "{script}: {wanted} is not among {items:?}");
    }
}

#[test]
fn what_does_not_fit_is_not() {
    for script in [
        "// fil|",
        "invoke(\"greet\", \"|",
        "files::write(\"na|",
        "\"fil|",
        "process::run([\"ls\"], #{ timeout: \"1s\", timeo|",
        "containers::nothing::|",
    ] {
        assert_eq!(offered(script).1, Vec::<String>::new(), "{script}");
    }
}

#[test]
fn items_take_the_place_of_what_is_written() {
    assert_eq!(offered("let x = files::wr|").0, 15);
    assert_eq!(offered("containers::restart(\"gi|").0, 21);
}

#[test]
fn calls_know_their_argument() {
    for (script, path, argument) in [
        ("files::write(|", "files::write", 0),
        ("files::write(\"a, b\", |", "files::write", 1),
        ("files::write(path([1, 2]), f(1, 2), |", "files::write", 2),
        ("files::write(\"a\", json::encode(|", "json::encode", 0),
    ] {
        let at = script.find('|').expect("the cursor is marked");
        let call = call_at(&script.replacen('|', "", 1), at).expect(script);
        assert_eq!((call.path.as_str(), call.argument), (path, argument), "{script}");
    }
}
