//! Problems with their source lines.

use std::sync::Arc;

use expect_test::{Expect, expect};
use hob_model::{Code, Diagnostic, Source, Span};
use hob_terminal::{Style, render, render_all};

use crate::readable;

pub(super) fn at(file: &str, line: u32, column: u32) -> Source {
    Source { file: file.into(), line, column }
}

pub(super) fn labelled(source: Source, len: u32, label: &str) -> Span {
    Span { source, len, label: label.into() }
}

/// The text of the only file.
pub(super) fn check(text: &str, diagnostic: &Diagnostic, expected: Expect) {
    check_files(&[("a.rhai", text)], diagnostic, Style::plain(), expected);
}

pub(super) fn check_files(files: &[(&str, &str)], diagnostic: &Diagnostic, style: Style, expected: Expect) {
    let sources = |wanted: &str| -> Option<Arc<str>> {
        files.iter().find(|(file, _)| *file == wanted).map(|(_, text)| (*text).into())
    };
    let rendered = readable(&render(diagnostic, &sources, style));
    let body =
        rendered.strip_suffix(&format!("\n\nFor more about this, try `hob explain {}`.\n", diagnostic.code));
    expected.assert_eq(body.unwrap_or(&rendered));
}

pub(super) fn error(message: &str) -> Diagnostic {
    Diagnostic::error(Code::UnknownName, message)
}

#[test]
fn a_whole_problem() {
    let diagnostic = error("unknown operation `containers::restrat`")
        .at(at("a.rhai", 3, 5))
        .note("`containers` has 15 operations")
        .hint("did you mean `containers::restart`?");
    let text = "let name = \"plex\";\nif true {\n    containers::restrat(name);\n}\n";
    let sources = |_: &str| Some(Arc::from(text));
    expect![[r#"
        error[HOB-0102]: unknown operation `containers::restrat`
         --> a.rhai:3:5
          |
        3 |     containers::restrat(name);
          |     ^^^^^^^^^^^^^^^^^^^
          |
          = note: `containers` has 15 operations
        help: did you mean `containers::restart`?

        For more about this, try `hob explain HOB-0102`.
    "#]]
    .assert_eq(&render(&diagnostic, &sources, Style::plain()));
    expect![[r#"
        <1><31>error[HOB-0102]<0><1>: unknown operation `containers::restrat`<0>
         <2>--> <0>a.rhai:3:5
          <2>|<0>
        <2>3<0> <2>|<0>     containers::restrat(name);
          <2>|<0>     <1><31>^^^^^^^^^^^^^^^^^^^<0>
          <2>|<0>
          <2>= <0><1>note<0>: `containers` has 15 operations
        <1><36>help<0>: did you mean `containers::restart`?

        <2>For more about this, try `hob explain HOB-0102`.<0>
    "#]]
    .assert_eq(&readable(&render(&diagnostic, &sources, Style::terminal(80))));
    let warning = Diagnostic { level: hob_model::Level::Warning, ..diagnostic.clone() };
    expect![[r#"
        <1><33>warning[HOB-0102]<0><1>: unknown operation `containers::restrat`<0>
         <2>--> <0>a.rhai:3:5
          <2>|<0>
        <2>3<0> <2>|<0>     containers::restrat(name);
          <2>|<0>     <1><33>^^^^^^^^^^^^^^^^^^^<0>
          <2>|<0>
          <2>= <0><1>note<0>: `containers` has 15 operations
        <1><36>help<0>: did you mean `containers::restart`?

        <2>For more about this, try `hob explain HOB-0102`.<0>
    "#]]
    .assert_eq(&readable(&render(&warning, &sources, Style::terminal(80))));
}

#[test]
fn the_underline_covers_the_token() {
    check(
        "log::info(`n: ${count}`);",
        &error("m").at(at("a.rhai", 1, 11)),
        expect![[r#"
        error[HOB-0102]: m
         --> a.rhai:1:11
          |
        1 | log::info(`n: ${count}`);
          |           ^^^^^^^^^^^^^"#]],
    );
    check(
        "a ?? b",
        &error("m").at(at("a.rhai", 1, 3)),
        expect![[r#"
        error[HOB-0102]: m
         --> a.rhai:1:3
          |
        1 | a ?? b
          |   ^^"#]],
    );
    check(
        "let x = \"open;\n",
        &error("m").at(at("a.rhai", 1, 9)),
        expect![[r#"
        error[HOB-0102]: m
         --> a.rhai:1:9
          |
        1 | let x = "open;
          |         ^^^^^^"#]],
    );
    check(
        "let x = 1;",
        &error("m").span(labelled(at("a.rhai", 1, 1), 9, "all of this")),
        expect![[r#"
        error[HOB-0102]: m
         --> a.rhai:1:1
          |
        1 | let x = 1;
          | ^^^^^^^^^ all of this"#]],
    );
    check(
        "let x = 1;",
        &error("m").span(labelled(at("a.rhai", 1, 5), 99, "to the end")),
        expect![[r#"
        error[HOB-0102]: m
         --> a.rhai:1:5
          |
        1 | let x = 1;
          |     ^^^^^^ to the end"#]],
    );
    check(
        "    let x = 1;  ",
        &error("m").at(at("a.rhai", 1, 0)),
        expect![[r#"
        error[HOB-0102]: m
         --> a.rhai:1:5
          |
        1 |     let x = 1;  
          |     ^^^^^^^^^^"#]],
    );
}

#[test]
fn tabs_and_wide_characters() {
    check(
        "\tif x {\n\t\tfoo(y);\n\t}\n",
        &error("m").at(at("a.rhai", 2, 7)),
        expect![[r#"
        error[HOB-0102]: m
         --> a.rhai:2:7
          |
        2 |         foo(y);
          |             ^"#]],
    );
    check(
        "let 名前 = \"日本語\" + größe;\n",
        &error("m").at(at("a.rhai", 1, 18)),
        expect![[r#"
        error[HOB-0102]: m
         --> a.rhai:1:18
          |
        1 | let 名前 = "日本語" + größe;
          |                       ^^^^^"#]],
    );
    check(
        "let x = \"🦀🦀\" + y;\r\nz\r\n",
        &error("m").at(at("a.rhai", 1, 16)),
        expect![[r#"
        error[HOB-0102]: m
         --> a.rhai:1:16
          |
        1 | let x = "🦀🦀" + y;
          |                  ^"#]],
    );
    check(
        "a\u{1b}[31m\u{7} + b\n",
        &error("\u{1b}[2Jm").at(at("a.rhai", 1, 10)),
        expect![[r#"
        error[HOB-0102]: ␛[2Jm
         --> a.rhai:1:10
          |
        1 | a␛[31m␇ + b
          |          ^"#]],
    );
}

#[test]
fn the_end_of_the_file() {
    check(
        "let x = (1 +\n",
        &error("m").at(at("a.rhai", 2, 1)),
        expect![[r#"
        error[HOB-0102]: m
         --> a.rhai:1:14
          |
        1 | let x = (1 +
          |             ^"#]],
    );
    check(
        "let x = (1 +",
        &error("m").at(at("a.rhai", 1, 13)),
        expect![[r#"
        error[HOB-0102]: m
         --> a.rhai:1:13
          |
        1 | let x = (1 +
          |             ^"#]],
    );
    check(
        "let x = (1 +",
        &error("m").at(at("a.rhai", 9, 9)),
        expect![[r#"
        error[HOB-0102]: m
         --> a.rhai:1:13
          |
        1 | let x = (1 +
          |             ^"#]],
    );
    check(
        "",
        &error("m").at(at("a.rhai", 1, 1)),
        expect![[r#"
        error[HOB-0102]: m
         --> a.rhai:1:1
          |
        1 |
          | ^"#]],
    );
}

#[test]
fn places_without_a_source() {
    check("", &error("m"), expect!["error[HOB-0102]: m"]);
    let facts = error("m").note("one").note("two\nlines").hint("h");
    check_files(
        &[],
        &facts,
        Style::plain(),
        expect![[r#"
        error[HOB-0102]: m
        note: one
        note: two
              lines
        help: h"#]],
    );
    check_files(
        &[],
        &facts,
        Style::terminal(80),
        expect![[r#"
        <1><31>error[HOB-0102]<0><1>: m<0>
        <1>note<0>: one
        <1>note<0>: two
              lines
        <1><36>help<0>: h

        <2>For more about this, try `hob explain HOB-0102`.<0>
    "#]],
    );
    let gone = error("m")
        .at(at("gone.rhai", 4, 2))
        .span(labelled(at("also-gone.rhai", 9, 1), 1, "called from"))
        .span(labelled(at("a.rhai", 1, 1), 1, "called from"))
        .span(labelled(at("", 0, 0), 1, "called from"))
        .hint("h");
    check(
        "go()",
        &gone,
        expect![[r#"
        error[HOB-0102]: m
         --> gone.rhai:4:2
          |
         ::: a.rhai:1:1
          |
        1 | go()
          | -- called from
          |
          = note: called from: also-gone.rhai:9:1
        help: h"#]],
    );
    check(
        "",
        &error("m").at(at("hob.toml", 0, 0)).note("n"),
        expect![[r#"
        error[HOB-0102]: m
        --> hob.toml
         = note: n"#]],
    );
}

#[test]
fn long_lines_and_long_messages() {
    let long = format!("let a = [{}]; boom(1); let b = [{}];", "1, ".repeat(200), "2, ".repeat(200));
    let column = 1 + u32::try_from(long.find("boom").unwrap()).unwrap();
    check_files(
        &[("a.rhai", &long)],
        &error("m").at(at("a.rhai", 1, column)),
        Style { color: false, width_columns: Some(60) },
        expect![[r#"
            error[HOB-0102]: m
             --> a.rhai:1:613
              |
            1 | ..., 1, 1, 1, 1, 1, 1, ]; boom(1); let b = [2, 2, 2, ...
              |                           ^^^^"#]],
    );
    let diagnostic =
        error("the first line\nand the second").at(at("a.rhai", 1, 1)).note("one\ntwo").hint("one\ntwo");
    check(
        "x\n",
        &diagnostic,
        expect![[r#"
        error[HOB-0102]: the first line
                         and the second
         --> a.rhai:1:1
          |
        1 | x
          | ^
          |
          = note: one
                  two
        help: one
              two"#]],
    );
}

#[test]
fn many_problems_share_the_last_line() {
    let sources = |_: &str| Some(Arc::from("a\nb\n"));
    assert_eq!(render_all(&[], &sources, Style::plain()), "");
    let all = [
        error("first").at(at("a.rhai", 1, 1)),
        Diagnostic::warning(Code::MissingModule, "second").at(at("a.rhai", 2, 1)),
        error("third"),
    ];
    expect![[r#"
        error[HOB-0102]: first
         --> a.rhai:1:1
          |
        1 | a
          | ^

        warning[HOB-0103]: second
         --> a.rhai:2:1
          |
        2 | b
          | ^

        error[HOB-0102]: third

        For more about these, try `hob explain HOB-0102`, `hob explain HOB-0103`.
    "#]]
    .assert_eq(&render_all(&all, &sources, Style::plain()));
    let every: Vec<_> = Code::ALL.iter().map(|code| Diagnostic::error(*code, "m")).collect();
    let text = render_all(&every, &sources, Style::plain());
    expect!["For more about these, try `hob explain HOB-0101`, `hob explain HOB-0102`, `hob explain HOB-0103`, `hob explain HOB-0104`, …"].assert_eq(text.lines().last().unwrap());
}

proptest::proptest! {
    #[test]
    fn any_place_in_any_text_is_rendered(text in "[a-z\"`\t\r\n äß日🦀(){}]{0,60}", line in 0..8_u32, column in 0..40_u32,
                                         len in 0..9_u32, width in proptest::option::of(0..200_u16)) {
        let sources = |_: &str| Some(Arc::from(text.as_str()));
        let diagnostic = error("m").span(Span { source: at("a.rhai", line, column), len, label: "l".into() });
        let out = render(&diagnostic, &sources, Style { color: false, width_columns: width });
        proptest::prop_assert!(out.starts_with("error[HOB-0102]: m"));
    }
}
