//! `secrets.nix`: what is read, and what is refused where.

#![allow(clippy::unwrap_used)] // helpers of tests

mod common;

use common::{fixture, recipient};
use hob_std_secrets::Kind;
use hob_std_secrets::agenix::{Rule, parse};
use proptest::prelude::*;

fn host() -> String {
    let key = String::from_utf8(fixture("ssh/id_ed25519.pub")).unwrap();
    key.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

fn rules(text: &str) -> Vec<Rule> {
    let text = text.replace("KIM", &recipient("keys.txt")).replace("NAS", &format!("{} root@nas", host()));
    parse(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn rule(file: &str, recipients: &[String], armor: bool) -> Rule {
    Rule { file: file.to_owned(), recipients: recipients.to_vec(), armor }
}

#[test]
fn the_ways_in_which_people_write_it() {
    let (kim, nas) = (recipient("keys.txt"), host());
    let both = [kim.clone(), nas.clone()];
    let expected = [rule("db.age", &both, false), rule("wifi.age", std::slice::from_ref(&kim), false)];
    for text in [
        "{ \"db.age\".publicKeys = [ \"KIM\" \"NAS\" ]; \"wifi.age\".publicKeys = [ \"KIM\" ]; }",
        "# rules\nlet\n  kim = \"KIM\";\n  nas = \"NAS\";\n  all = [ kim nas ];\nin\n{\n  \"db.age\".publicKeys = all;\n  \"wifi.age\" = { publicKeys = [ kim ]; };\n}\n",
        "let users = { kim = \"KIM\"; }; hosts.nas = \"NAS\"; in { }",
        "let users = [ \"KIM\" ]; systems = [ \"NAS\" ]; in { \"db.age\".publicKeys = users ++ systems; \"wifi.age\".publicKeys = users; }",
        "let keys = { kim = \"KIM\"; nas = \"NAS\"; }; in with keys; { \"db.age\".publicKeys = [ kim nas kim ]; \"wifi.age\".publicKeys = [ keys.kim ]; }",
        "let keys = rec { kim = \"KIM\"; nas = \"NAS\"; all = [ kim nas ]; }; inherit (keys) all kim; in { \"db.age\".publicKeys = (all); } // { \"wifi.age\".publicKeys = [ kim ]; }",
        "let later = [ kim ]; kim = ''KIM''; in { \"wifi.age\".publicKeys = later; \"db.age\".publicKeys = later ++ [ \"NAS\" ]; }",
    ] {
        if text.contains("hosts.nas") {
            assert!(parse(text).unwrap_err().message.contains("a path of names is not supported here"));
        } else {
            assert_eq!(rules(text), expected, "{text}");
        }
    }
    let armored = rules("{ \"hosts/nas/db.age\" = { publicKeys = [ \"KIM\" ]; armor = true; }; }");
    assert_eq!(armored, [rule("hosts/nas/db.age", &[kim], true)]);
    assert_eq!(rules("{ }"), []);
}

#[test]
fn what_would_have_to_be_computed_is_refused_where_it_stands() {
    for (text, place, expected) in [
        ("{ lib, ... }: { }", Some((1, 1)), "a function is not supported"),
        (
            "let keys = import ./keys.nix; in { \"a.age\".publicKeys = keys; }",
            Some((1, 12)),
            "a call of a function",
        ),
        ("{\n  \"a.age\".publicKeys = builtins.attrValues { };\n}", Some((2, 24)), "a call of a function"),
        ("{ \"a.age\".publicKeys = if true then [ ] else [ ]; }", Some((1, 24)), "`if` is not supported"),
        ("{ \"${x}.age\".publicKeys = [ ]; }", None, "a text with `${…}` is not supported"),
        ("{ \"a.age\".publicKeys = [ nas ]; }", Some((1, 26)), "the name `nas` is not defined"),
        ("let a = b; b = a; in { \"a.age\".publicKeys = [ a ]; }", None, "stands for itself"),
        (
            "{ \"a.age\".publicKeys = [ \"KIM\" ]; \"a.age\".publicKeys = [ ]; }",
            None,
            "a name is defined twice",
        ),
        ("{ \"a.age\".publicKeys = [ ]; }", None, "it has 0 public keys"),
        ("{ \"a.age\".publicKeys = \"KIM\"; }", Some((1, 24)), "`publicKeys` is no list"),
        ("{ \"a.age\".publicKeys = [ \"nobody\" ]; }", Some((1, 26)), "`nobody` is no recipient"),
        ("{ \"a.age\".keys = [ ]; }", None, "it has no `publicKeys`"),
        ("{ \"../a.age\".publicKeys = [ \"KIM\" ]; }", None, "it names no file below this directory"),
        ("{ \"/etc/a.age\".publicKeys = [ \"KIM\" ]; }", None, "it names no file below this directory"),
        ("{ \"a.age\" = { publicKeys = [ \"KIM\" ]; mode = \"0400\"; }; }", None, "`mode` is not known"),
        ("[ ]", None, "is no set of rules"),
        ("{ \"a.age\" = ", None, "this is no Nix"),
        ("", None, "is"),
    ] {
        let error = parse(&text.replace("KIM", &recipient("keys.txt"))).expect_err(text);
        assert!(error.message.contains(expected), "{text}: {error:?}");
        if place.is_some() {
            assert_eq!(error.place, place, "{text}: {error}");
        }
    }
}

#[test]
fn what_lies_too_deep_is_refused() {
    let deep = format!("{}1{}", "(".repeat(5_000), ")".repeat(5_000));
    let chain = vec!["[ ]"; 5_000].join(" ++ ");
    let doubled = (0..40)
        .fold("let a0 = [ \"x\" ];".to_owned(), |text, n| format!("{text} a{} = a{n} ++ a{n};", n + 1));
    for text in
        [deep, chain, format!("{doubled} in {{ \"a.age\".publicKeys = a40; }}"), "let x = ".repeat(4_000)]
    {
        let error = parse(&text).unwrap_err();
        assert!(matches!(error.kind, Kind::TooLarge | Kind::Rules), "{error:?}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[a-c{}()\\[\\];=\"'.+/$:@,? \n]{0,60}", words in prop::collection::vec(
        prop::sample::select(vec!["let", "in", "rec", "inherit", "with", "{", "}", "[", "]", "a", "=", ";", "\"x\"", "++", "//", "."]), 0..40)) {
        let _ = parse(&text);
        let _ = parse(&words.join(" "));
    }
}
