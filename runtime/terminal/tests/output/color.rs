//! When there are colours.

use std::collections::HashMap;

use hob_terminal::color::{ColorChoice, enabled};
use hob_terminal::text::{one_line, sanitize, truncate};

#[test]
fn the_flag_then_the_environment_then_the_terminal() {
    use ColorChoice::{Always, Auto, Never};
    for (choice, environment, is_terminal, expected) in [
        (Auto, &[][..], true, true),
        (Auto, &[], false, false),
        (Always, &[("NO_COLOR", "1"), ("TERM", "dumb")], false, true),
        (Never, &[("CLICOLOR_FORCE", "1")], true, false),
        (Auto, &[("NO_COLOR", "1")], true, false),
        (Auto, &[("NO_COLOR", "")], true, true),
        (Auto, &[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")], true, false),
        (Auto, &[("CLICOLOR_FORCE", "1"), ("TERM", "dumb")], false, true),
        (Auto, &[("CLICOLOR_FORCE", "0")], false, false),
        (Auto, &[("CLICOLOR", "0")], true, false),
        (Auto, &[("CLICOLOR", "1")], false, false),
        (Auto, &[("TERM", "dumb")], true, false),
        (Auto, &[("TERM", "xterm")], true, true),
    ] {
        let variables: HashMap<_, _> = environment.iter().copied().collect();
        let variable = |name: &str| variables.get(name).map(ToString::to_string);
        assert_eq!(
            enabled(choice, variable, is_terminal),
            expected,
            "{choice} {environment:?} {is_terminal}"
        );
    }
}

#[test]
fn choices_are_read_back() {
    for choice in ColorChoice::ALL {
        assert_eq!(choice.to_string().parse(), Ok(choice));
    }
    assert_eq!("yes".parse::<ColorChoice>().unwrap_err().to_string(), "expected auto, always or never");
}

#[test]
fn control_characters_are_shown_and_not_obeyed() {
    assert_eq!(sanitize("a\tb\nc"), "a\tb\nc");
    assert_eq!(sanitize("\u{1b}]0;title\u{7}\u{9b}2J\u{7f}"), "␛]0;title␇\u{fffd}2J␡");
    assert_eq!(sanitize("a\u{202e}b"), "a\u{fffd}b");
    assert_eq!(one_line("a\tb\r\nc\n"), "a b⏎c");
}

#[test]
fn text_is_cut_at_columns() {
    for (max, cut) in [(9, "日本x語äö"), (8, "日本x語…"), (7, "日本x…"), (2, "…"), (1, "…"), (0, "")]
    {
        assert_eq!(truncate("日本x語äö", max), cut, "{max}");
    }
}
