//! Problems with several places: files, and calls that led there.

use expect_test::expect;
use hob_model::{Code, Diagnostic};
use hob_terminal::Style;

use crate::diagnostic::{at, check, check_files, error, labelled};

#[test]
fn several_places_and_files() {
    let library = "fn half(a, b) {\n    a / b\n}\n\n\n\nfn twice(x) {\n    half(x, 0)\n}\n";
    let main = "import \"lib\" as lib;\n\nlib::twice(1);\n";
    let diagnostic = Diagnostic::error(Code::ScriptFailed, "division by zero: 1 / 0")
        .at(at("lib.rhai", 2, 7))
        .span(labelled(at("lib.rhai", 8, 5), 1, "called from here"))
        .span(labelled(at("main.rhai", 3, 1), 1, "called from here"));
    let files = [("lib.rhai", library), ("main.rhai", main)];
    check_files(
        &files,
        &diagnostic,
        Style::plain(),
        expect![[r#"
        error[HOB-0201]: division by zero: 1 / 0
         --> lib.rhai:2:7
          |
        2 |     a / b
          |       ^
        ...
        8 |     half(x, 0)
          |     ---- called from here
          |
         ::: main.rhai:3:1
          |
        3 | lib::twice(1);
          | ---------- called from here"#]],
    );
    check_files(
        &files,
        &diagnostic,
        Style::terminal(80),
        expect![[r#"
        <1><31>error[HOB-0201]<0><1>: division by zero: 1 / 0<0>
         <2>--> <0>lib.rhai:2:7
          <2>|<0>
        <2>2<0> <2>|<0>     a / b
          <2>|<0>       <1><31>^<0>
        <2>...<0>
        <2>8<0> <2>|<0>     half(x, 0)
          <2>|<0>     <1>----<0> <1>called from here<0>
          <2>|<0>
         <2>::: <0>main.rhai:3:1
          <2>|<0>
        <2>3<0> <2>|<0> lib::twice(1);
          <2>|<0> <1>----------<0> <1>called from here<0>

        <2>For more about this, try `hob explain HOB-0201`.<0>
    "#]],
    );
    let twice = Diagnostic::error(Code::BadDeclaration, "service `db` is declared twice")
        .span(labelled(at("a.rhai", 4, 1), 1, "declared again"))
        .span(labelled(at("a.rhai", 1, 1), 1, "first declared here"));
    check(
        "service(\"db\", #{});\n\n\nservice(\"db\", #{});\n",
        &twice,
        expect![[r#"
        error[HOB-0501]: service `db` is declared twice
         --> a.rhai:4:1
          |
        4 | service("db", #{});
          | ^^^^^^^ declared again
          |
         ::: a.rhai:1:1
          |
        1 | service("db", #{});
          | ------- first declared here"#]],
    );
}

#[test]
fn a_recursion_is_counted_and_a_long_trace_cut() {
    let text = "fn down(n) {\n    down(n + 1)\n}\ndown(0)\n";
    let mut diagnostic =
        Diagnostic::error(Code::LimitReached, "calls nest deeper than 64").at(at("a.rhai", 2, 5));
    for _ in 0..63 {
        diagnostic = diagnostic.span(labelled(at("a.rhai", 2, 5), 1, "called from here"));
    }
    check(
        text,
        &diagnostic.span(labelled(at("a.rhai", 4, 1), 1, "called from here")),
        expect![[r#"
        error[HOB-0203]: calls nest deeper than 64
         --> a.rhai:2:5
          |
        2 |     down(n + 1)
          |     ^^^^
          |     |
          |     called from here (63 times)
        3 | }
        4 | down(0)
          | ---- called from here"#]],
    );
    let mut diagnostic = error("m").at(at("a.rhai", 1, 1));
    for line in 0..40 {
        diagnostic = diagnostic.span(labelled(at("elsewhere.rhai", line + 1, 1), 1, "called from"));
    }
    check(
        "x",
        &diagnostic,
        expect![[r#"
        error[HOB-0102]: m
         --> a.rhai:1:1
          |
        1 | x
          | ^
          |
          = note: called from: elsewhere.rhai:1:1
          = note: called from: elsewhere.rhai:2:1
          = note: called from: elsewhere.rhai:3:1
          = note: called from: elsewhere.rhai:4:1
          = note: called from: elsewhere.rhai:5:1
          = note: called from: elsewhere.rhai:6:1
          = note: called from: elsewhere.rhai:7:1
          = note: called from: elsewhere.rhai:8:1
          = note: called from: elsewhere.rhai:9:1
          = note: called from: elsewhere.rhai:10:1
          = note: called from: elsewhere.rhai:11:1
          = note: called from: elsewhere.rhai:12:1
          = note: called from: elsewhere.rhai:13:1
          = note: called from: elsewhere.rhai:14:1
          = note: called from: elsewhere.rhai:15:1
          = note: 25 further places are not shown"#]],
    );
}
