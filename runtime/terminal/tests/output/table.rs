//! Lists, and values of scripts.

use expect_test::expect;
use hob_model::Value;
use hob_terminal::{Cell, Column, Role, Style, Table, json, records};

use crate::readable;

fn runs() -> Table {
    let columns = [Column::new("run"), Column::new("name"), Column::new("status"), Column::number("effects")];
    let mut table = Table::new(columns);
    for (run, name, role, status, effects) in [
        ("0196f0a2", "backup", Role::Success, "succeeded", "7"),
        (
            "0196f0a3",
            "日本語 media-ingest with a long name that goes on and on",
            Role::Error,
            "failed",
            "1,234",
        ),
        ("0196f0a4", "line\nbreak\tand \u{1b}[31mescape", Role::Warning, "in_doubt", "12"),
    ] {
        let cells =
            [Cell::from(run), Cell::new(Role::Name, name), Cell::new(role, status), Cell::from(effects)];
        table.row(cells);
    }
    table
}

#[test]
fn a_file_gets_all_of_it() {
    expect![[r#"
        RUN       NAME                                                      STATUS     EFFECTS
        0196f0a2  backup                                                    succeeded        7
        0196f0a3  日本語 media-ingest with a long name that goes on and on  failed       1,234
        0196f0a4  line⏎break and ␛[31mescape                                in_doubt        12
    "#]]
    .assert_eq(&runs().render(Style::plain()));
}

#[test]
fn a_terminal_gets_what_fits() {
    expect![[r#"
        <2>RUN<0>       <2>NAME<0>                                                <2>STATUS<0>     <2>EFFECTS<0>
        0196f0a2  <1>backup<0>                                              <32>succeeded<0>        7
        0196f0a3  <1>日本語 media-ingest with a long name that goes on…<0>  <1><31>failed<0>       1,234
        0196f0a4  <1>line⏎break and ␛[31mescape<0>                          <1><33>in_doubt<0>        12
    "#]].assert_eq(&readable(&runs().render(Style::terminal(80))));
    expect![[r#"
        RUN       NAME                  STATUS     EFFECTS
        0196f0a2  backup                succeeded        7
        0196f0a3  日本語 media-ingest…  failed       1,234
        0196f0a4  line⏎break and ␛[31…  in_doubt        12
    "#]]
    .assert_eq(&runs().render(Style { color: false, width_columns: Some(50) }));
    expect![[r#"
        RUN   NAME  ST…  EF…
        019…  bac…  su…    7
        019…  日…   fa…  1,…
        019…  lin…  in…   12
    "#]]
    .assert_eq(&runs().render(Style { color: false, width_columns: Some(12) }));
    for width in 0..120 {
        for line in runs().render(Style { color: false, width_columns: Some(width) }).lines() {
            let used = hob_terminal::text::width_columns(line);
            assert!(used <= usize::from(width.max(24)), "{used} of {width}: {line}");
        }
    }
}

#[test]
fn tables_without_rows_or_columns() {
    let mut table = Table::new([Column::new("a"), Column::number("b")]);
    expect![[r#"
        A  B
    "#]]
    .assert_eq(&table.render(Style::plain()));
    table.row(["only"]);
    table.row(["one", "2", "too many"]);
    expect![[r#"
        A     B
        only
        one   2
    "#]]
    .assert_eq(&table.render(Style::plain()));
    assert_eq!(Table::new([]).render(Style::plain()), "");
}

fn shown(value: &Value, style: Style) -> String {
    readable(&records::render(value, style))
}

#[test]
fn lists_of_maps_are_tables() {
    let service = |name: &str, port: Value, env: Value| {
        Value::map([("name", name.into()), ("port", port), ("env", env)])
    };
    let mut gitea =
        service("gitea", Value::Int(3000), Value::map([("A", Value::from("b c")), ("N", Value::Int(1))]));
    if let Value::Map(map) = &mut gitea {
        map.insert("public".into(), Value::Bool(true));
    }
    let list = Value::Array(vec![service("postgres", Value::Int(5432), Value::Unit), gitea]);
    expect![[r#"
        NAME      ENV                  PORT  PUBLIC
        postgres                       5432
        gitea     #{ A: "b c", N: 1 }  3000  true
    "#]]
    .assert_eq(&shown(&list, Style::plain()));
    expect![[r#"
        <2>NAME<0>      <2>ENV<0>               <2>PORT<0>  <2>PUBLIC<0>
        <1>postgres<0>                    5432
        <1>gitea<0>     #{ A: "b c", N:…  3000  true
    "#]]
    .assert_eq(&shown(&list, Style::terminal(40)));
    expect![[r#"
        [0]
        ├─ env: ()
        ├─ name: postgres
        └─ port: 5432
        [1]
        ├─ env
        │  ├─ A: b c
        │  └─ N: 1
        ├─ name: gitea
        ├─ port: 3000
        └─ public: true
    "#]]
    .assert_eq(&shown(&list, Style { color: false, width_columns: Some(20) }));
}

#[test]
fn nested_values_are_trees() {
    let value = Value::map([
        ("image", Value::from("docker.io/library/postgres:16")),
        ("limits", Value::map([("cpus", Value::Float(2.0)), ("memory", Value::from("1G"))])),
        ("none", Value::Unit),
        ("empty", Value::Array(vec![])),
        ("text", Value::from("two\nlines")),
        (
            "mounts",
            Value::Array(vec![
                Value::map([("from", Value::from("/a")), ("to", Value::from("/b"))]),
                Value::Array(vec![Value::Int(1), Value::Blob(vec![0; 2048])]),
                Value::Char('x'),
            ]),
        ),
    ]);
    expect![[r#"
        empty: []
        image: docker.io/library/postgres:16
        limits
        ├─ cpus: 2.0
        └─ memory: 1G
        mounts
        ├─ [0]
        │  ├─ from: /a
        │  └─ to: /b
        ├─ [1]
        │  ├─ 1
        │  └─ <blob of 2K>
        └─ x
        none: ()
        text: two⏎lines
    "#]]
    .assert_eq(&shown(&value, Style::plain()));
    expect![[r#"
        <1>a<0>
        <2>└─ <0><1>b<0>: 1
    "#]]
    .assert_eq(&shown(&Value::map([("a", Value::map([("b", Value::Int(1))]))]), Style::terminal(80)));
}

#[test]
fn a_terminal_gets_sizes_and_durations_in_units() {
    let file = |name: &str, size: i64| {
        let age = ("age_seconds", Value::Int(3_725));
        Value::map([("name", name.into()), ("size", Value::Int(size)), ("read_ms", Value::Int(1_500)), age])
    };
    let files = Value::Array(vec![file("a", 1_536), file("b", -1)]);
    expect![[r#"
        NAME  AGE_SECONDS  READ_MS  SIZE
        a       1 h 2 min    1.5 s  1.5K
        b       1 h 2 min    1.5 s    -1
    "#]]
    .assert_eq(&shown(&files, Style { color: false, width_columns: Some(80) }));
    expect![[r#"
        NAME  AGE_SECONDS  READ_MS  SIZE
        a            3725     1500  1536
        b            3725     1500    -1
    "#]]
    .assert_eq(&shown(&files, Style::plain()));
    let nested = Value::map([("memory_bytes", Value::Int(3 << 20)), ("count", Value::Int(3))]);
    expect![[r#"
        count: 3
        memory_bytes: 3M
    "#]]
    .assert_eq(&shown(&nested, Style { color: false, width_columns: Some(80) }));
}

#[test]
fn single_values_are_themselves() {
    for (value, text) in [
        (Value::Unit, ""),
        (Value::Int(-7), "-7\n"),
        (Value::Float(1.0), "1.0\n"),
        (Value::from("two\nlines\n"), "two\nlines\n"),
        (Value::from("\u{1b}c"), "␛c\n"),
        (Value::Array(vec![]), "[]\n"),
        (Value::Array(vec![Value::from("a"), Value::Int(1)]), "a\n1\n"),
        (Value::map([] as [(&str, Value); 0]), "#{}\n"),
    ] {
        assert_eq!(records::render(&value, Style::plain()), text, "{value:?}");
    }
}

#[test]
fn a_terminal_is_not_flooded() {
    let rows = Value::Array((0..2500).map(|n| Value::map([("n", Value::Int(n))])).collect());
    let (file, terminal) = (shown(&rows, Style::plain()), shown(&rows, Style::terminal(80)));
    assert_eq!(file.lines().count(), 2501);
    assert_eq!(terminal.lines().last(), Some("<2>… and 1,500 more<0>"));
    let numbers = Value::Array((0..2500).map(Value::Int).collect());
    assert_eq!(shown(&numbers, Style::plain()).lines().count(), 2500);
    assert_eq!(shown(&numbers, Style::terminal(80)).lines().last(), Some("<2>… and 1,500 more<0>"));
}

#[test]
fn values_as_json() {
    let value = Value::map([("b", Value::Array(vec![Value::Unit])), ("a", Value::from("ä\n"))]);
    assert_eq!(json::line(&value).unwrap(), r#"{"a":"ä\n","b":[null]}"#);
    assert_eq!(json::pretty(&value).unwrap(), "{\n  \"a\": \"ä\\n\",\n  \"b\": [\n    null\n  ]\n}");
    assert!(json::line(&Value::Float(f64::NAN)).is_err());
}
