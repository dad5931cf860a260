//! Graphs, as they are declared, drawn and run.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use expect_test::expect;
use hob_flow::{FlowError, Graph, Made, Progress, Work, after};
use hob_model::Value;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

fn value(json: Json) -> Value {
    Value::from_json(json).unwrap()
}

/// A graph from `name` or `name:kind` and `from>to`.
fn declared(nodes: &[Json], edges: &str) -> Value {
    let edges: Vec<Json> = edges
        .split_whitespace()
        .map(|edge| edge.split_once('>').unwrap())
        .map(|(from, to)| json!({ "from": from, "to": to }))
        .collect();
    value(json!({ "nodes": nodes, "edges": edges }))
}

fn node(name: &str) -> Json {
    json!({ "name": name })
}

fn of_kind(name: &str, kind: &str) -> Json {
    json!({ "name": name, "kind": kind })
}

fn graph(nodes: &[Json], edges: &str) -> Graph {
    let (graph, mistakes) = Graph::read(&declared(nodes, edges));
    assert!(mistakes.is_empty(), "{mistakes:#?}");
    graph.unwrap()
}

/// Runs a graph whose nodes do what `act` says; what worked with what, and what came out.
fn run(graph: &Graph, items: Json, act: impl Fn(&str, &Json) -> Result<Json, Json>) -> (Vec<String>, Json) {
    let Json::Array(items) = items else { panic!() };
    let mut progress = Progress::begin(graph, items.into_iter().map(value).collect());
    let mut worked = Vec::new();
    loop {
        let ready = progress.ready(graph).unwrap();
        if ready.is_empty() {
            return (worked, progress.end(graph).to_json().unwrap());
        }
        let names: Vec<&str> = ready.iter().map(|work| graph.nodes[work.node].name.as_str()).collect();
        worked.push(names.join("+"));
        for work in ready {
            let name = &graph.nodes[work.node].name;
            let made = work.items.iter().map(|item| match act(name, &item.to_json().unwrap()) {
                Ok(made) => Made::Value(value(made)),
                Err(error) => Made::Error(value(error)),
            });
            progress.settle(graph, work.node, made.collect()).unwrap();
        }
    }
}

/// The same where each branch goes on by itself for as long as it waits for nothing else; what came out.
fn run_in_branches(graph: &Graph, items: Json, act: impl Fn(&str, &Json) -> Result<Json, Json>) -> Json {
    let Json::Array(items) = items else { panic!() };
    let mut progress = Progress::begin(graph, items.into_iter().map(value).collect());
    let made_of = |work: &Work| -> Vec<Made> {
        let name = &graph.nodes[work.node].name;
        let made = work.items.iter().map(|item| match act(name, &item.to_json().unwrap()) {
            Ok(made) => Made::Value(value(made)),
            Err(error) => Made::Error(value(error)),
        });
        made.collect()
    };
    loop {
        let ready = progress.ready(graph).unwrap();
        if ready.is_empty() {
            return progress.end(graph).to_json().unwrap();
        }
        for work in ready {
            let (mut open, mut done) = (vec![work], vec![]);
            while let Some(work) = open.pop() {
                let made = made_of(&work);
                done.push((work.node, made.clone()));
                open.extend(after(graph, work, made).unwrap());
            }
            for (node, made) in done {
                progress.bring(graph, node).unwrap();
                progress.settle(graph, node, made).unwrap();
            }
        }
    }
}

fn same(_: &str, item: &Json) -> Result<Json, Json> {
    Ok(item.clone())
}

#[test]
fn items_go_where_a_choice_sends_them() {
    let nodes = [node("fetch"), of_kind("sort", "choose"), node("films"), node("other"), node("nothing")];
    let graph = graph(&nodes, "fetch>sort sort.film>films sort.*>other sort.never>nothing");
    let act = |name: &str, item: &Json| match name {
        "sort" => Ok(item["kind"].clone()),
        "films" => Ok(json!("film")),
        _ => Ok(item.clone()),
    };
    let items = json!([{ "kind": "film" }, { "kind": "song" }, { "kind": "film" }, { "kind": "book" }]);
    let (worked, end) = run(&graph, items, act);
    assert_eq!(worked, ["fetch", "sort", "films+other"]);
    assert_eq!(
        end,
        json!({ "films": ["film", "film"], "nothing": [], "other": [{ "kind": "song" }, { "kind": "book" }] })
    );
}

#[test]
fn branches_go_on_beside_each_other_and_are_joined() {
    for (mode, expected) in [
        (
            json!({ "mode": "append" }),
            json!([{ "id": 1, "a": 1 }, { "id": 2, "a": 2 }, { "id": 2, "b": 2 }, { "id": 1, "b": 1 }]),
        ),
        (json!({ "mode": "position" }), json!([{ "id": 2, "a": 1, "b": 2 }, { "id": 1, "a": 2, "b": 1 }])),
        (
            json!({ "mode": "key", "key": "id" }),
            json!([{ "id": 1, "a": 1, "b": 1 }, { "id": 2, "a": 2, "b": 2 }]),
        ),
        (
            json!({ "mode": "all" }),
            json!([[[{ "id": 1, "a": 1 }, { "id": 2, "a": 2 }], [{ "id": 2, "b": 2 }, { "id": 1, "b": 1 }]]]),
        ),
        (json!({ "mode": "first" }), json!([{ "id": 1, "a": 1 }, { "id": 2, "a": 2 }])),
    ] {
        let mut join = of_kind("join", "merge");
        join.as_object_mut().unwrap().extend(mode.as_object().unwrap().clone());
        let graph = graph(&[node("begin"), node("a"), node("b"), join], "begin>a begin>b a>join b>join");
        let act = |name: &str, item: &Json| match name {
            "a" => Ok(json!([{ "id": 1, "a": 1 }, { "id": 2, "a": 2 }])),
            "b" => Ok(json!([{ "id": 2, "b": 2 }, { "id": 1, "b": 1 }])),
            _ => Ok(item.clone()),
        };
        let (worked, end) = run(&graph, json!([0]), act);
        assert_eq!(worked, ["begin", "a+b", "join"]);
        assert_eq!(end, expected, "{mode}");
    }
}

#[test]
fn a_join_does_not_wait_for_what_never_comes() {
    let nodes = [
        of_kind("odd", "branch"),
        node("yes"),
        node("no"),
        json!({ "name": "join", "kind": "merge", "mode": "append" }),
    ];
    let graph = graph(&nodes, "odd.true>yes odd.false>no yes>join no>join");
    let act = |name: &str, item: &Json| match name {
        "odd" => Ok(json!(item.as_i64().unwrap() % 2 == 1)),
        _ => Ok(item.clone()),
    };
    assert_eq!(run(&graph, json!([1, 3]), act).1, json!([1, 3]));
    assert_eq!(run(&graph, json!([1, 2, 3]), act).1, json!([1, 3, 2]));
    assert_eq!(run(&graph, json!([]), act), (vec![], json!([])));
}

#[test]
fn loops_go_back_until_nothing_does() {
    let nodes = [node("add"), of_kind("enough", "branch"), node("end")];
    let graph = graph(&nodes, "add>enough enough.false>add enough.true>end");
    assert_eq!(graph.edges.iter().filter(|edge| edge.back).count(), 1);
    let act = |name: &str, item: &Json| match name {
        "add" => Ok(json!(item.as_i64().unwrap() + 1)),
        "enough" => Ok(json!(item.as_i64().unwrap() >= 3)),
        _ => Ok(item.clone()),
    };
    let (worked, end) = run(&graph, json!([0, 2]), act);
    let adds = worked.iter().flat_map(|names| names.split('+')).filter(|name| *name == "add").count();
    assert_eq!(adds, 3);
    assert_eq!(end, json!([3, 3]));
    // One that never ends is found.
    let mut progress = Progress::begin(&graph, vec![Value::Int(0)]);
    let error = loop {
        match progress.ready(&graph) {
            Err(error) => break error,
            Ok(ready) => {
                for work in ready {
                    let made = work.items.iter().map(|_| Made::Value(Value::Bool(false))).collect();
                    progress.settle(&graph, work.node, made).unwrap();
                }
            }
        }
    };
    assert_eq!(error, FlowError::TooOften);
}

#[test]
fn batches_all_errors_pins_and_disabled_nodes() {
    let nodes = [
        json!({ "name": "five", "options": { "pinned": [1, 2, 3, 4, 5] } }),
        json!({ "name": "off", "options": { "disabled": true, "note": "not now" } }),
        json!({ "name": "pairs", "kind": "batch", "size": 2 }),
        node("wrong"),
        of_kind("sum", "all"),
    ];
    let graph = graph(&nodes, "five>off off>pairs pairs>sum pairs.error>wrong");
    let act = |name: &str, item: &Json| match name {
        "pairs" if item == &json!([3, 4]) => Err(json!("no")),
        "sum" => Ok(json!(item.as_array().unwrap().iter().map(|n| n.as_i64().unwrap()).sum::<i64>())),
        _ => same(name, item),
    };
    let (worked, end) = run(&graph, json!(["ignored"]), act);
    assert_eq!(worked, ["pairs", "wrong+sum"]);
    assert_eq!(end, json!({ "sum": [8], "wrong": [{ "item": [3, 4], "error": "no" }] }));
}

#[test]
fn the_part_up_to_a_node_is_a_graph() {
    // A loop, a branch that is not needed, and what follows.
    let nodes = [node("a"), node("b"), of_kind("c", "branch"), node("aside"), node("d"), node("e")];
    let whole = graph(&nodes, "a>b b>c c.true>b c.false>d a>aside d>e");
    let act = |name: &str, item: &Json| {
        Ok(match name {
            "b" => json!(item.as_i64().unwrap() + 1),
            "c" => json!(item.as_i64().unwrap() < 3),
            _ => item.clone(),
        })
    };
    let part = |name: &str| run(&whole.up_to(name).unwrap(), json!([1]), act);
    let worked = |names: &str| names.split(' ').map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(part("a"), (worked("a"), json!([1])));
    assert_eq!(part("b"), (worked("a b"), json!([2])));
    assert_eq!(part("d"), (worked("a b c b c d"), json!([3])));
    assert_eq!(part("aside"), (worked("a aside"), json!([1])));
    assert!(whole.up_to("f").is_none());
}

#[test]
fn all_mistakes_of_a_graph_are_told() {
    let nodes = [
        node("a"),
        node("a"),
        node("x.y"),
        json!({ "name": "b", "kind": "batch", "size": 0 }),
        json!({ "name": "m", "kind": "merge", "mode": "sideways" }),
        json!({ "name": "o", "options": { "disable": true, "note": 3 } }),
        of_kind("c", "choose"),
    ];
    let (graph, mistakes) = Graph::read(&declared(&nodes, "a>missin c>a a.other>b a>b a>b"));
    assert!(graph.is_none());
    let told: String = mistakes
        .iter()
        .map(|it| format!("{} ({})\n", it.message, it.hint.clone().unwrap_or_default()))
        .collect();
    expect![[r#"
        the node `a` is there twice ()
        `x.y` is no name of a node (use up to 64 letters, digits, blanks, `-` and `_`)
        node `b`: a batch has 1 to 10000 items ()
        node `m`: there is no merge by `sideways` (the modes are append, position, all, first, and key with the name of a field)
        node `o`: there is no option `disable` (did you mean `disabled`?)
        node `o`: `note` has a wrong value (disabled: true, pinned: [items], note: "text", retry: #{ attempts: 3 }, then: "continue" or "fail")
        there is no node `missin` ()
        an edge leaves from `c` (its outputs are what its function names, such as `c.film`, or `c.*`)
        an edge leaves from `a.other` (its outputs are `a` and `a.error`)
        the edge from `a` to `b` is there twice ()
        the merge `m` joins nothing: no edge comes to it ()
    "#]]
    .assert_eq(&told);
    assert!(Graph::read(&Value::Unit).1[0].message.contains("no nodes"));
}

#[test]
fn graphs_are_drawn() {
    let nodes = [
        node("fetch"),
        json!({ "name": "sort", "kind": "choose", "options": { "note": "by \"kind\"" } }),
        json!({ "name": "off", "options": { "disabled": true } }),
    ];
    let graph = graph(&nodes, "fetch>sort sort.film>off sort.again>fetch");
    expect![[r##"
        flowchart TD
            n0["fetch"]
            n1{"sort<br/>by #quot;kind#quot;"}
            n2["off"]:::disabled
            n0 --> n1
            n1 -->|"film"| n2
            n1 -.->|"again"| n0
            classDef disabled stroke-dasharray: 5 5
    "##]]
    .assert_eq(&graph.mermaid());
    expect![[r#"
        digraph {
            n0 [label="fetch", shape=box];
            n1 [label="sort", shape=diamond];
            n2 [label="off", shape=box, style=dashed];
            n0 -> n1 [label=""];
            n1 -> n2 [label="film"];
            n1 -> n0 [label="again", style=dashed];
        }
    "#]]
    .assert_eq(&graph.dot());
}

proptest! {
    /// Whatever is chosen, pinned and disabled: branches that go on by themselves come to the same end as rounds of all.
    #[test]
    fn branches_come_to_the_end_that_rounds_come_to(
        edges in proptest::collection::btree_set((0_usize..8, 0_usize..8), 0..16),
        kinds in proptest::collection::vec(0_u8..5, 8),
    ) {
        let nodes: Vec<Json> = (0_usize..).zip(&kinds).map(|(n, kind)| match kind {
            0 => of_kind(&format!("n{n}"), "branch"),
            1 => json!({ "name": format!("n{n}"), "options": { "disabled": true } }),
            2 => json!({ "name": format!("n{n}"), "options": { "pinned": [n] } }),
            3 => of_kind(&format!("n{n}"), "all"),
            _ => node(&format!("n{n}")),
        }).collect();
        let of = |n: usize, to: usize| match kinds[n] {
            0 => format!("n{n}.{}>n{to}", to.is_multiple_of(2)),
            _ => format!("n{n}>n{to}"),
        };
        let text: Vec<String> =
            edges.into_iter().filter(|(from, to)| from < to).map(|(from, to)| of(from, to)).collect();
        let graph = graph(&nodes, &text.join(" "));
        let act = |name: &str, item: &Json| match kinds[name[1..].parse::<usize>().unwrap()] {
            0 => Ok(json!(item.as_u64().unwrap_or(0).is_multiple_of(2))),
            3 => Ok(json!(item.as_array().map_or(0, Vec::len))),
            _ => Ok(json!(item.as_u64().unwrap_or(0) + 1)),
        };
        let (_, end) = run(&graph, json!([1, 2, 3]), act);
        prop_assert_eq!(run_in_branches(&graph, json!([1, 2, 3]), act), end);
    }

    /// Whatever the graph without loops: it ends, each node works at most once, and what goes in comes out as often as
    /// there are ways from an entry to an end.
    #[test]
    fn graphs_without_loops_end(edges in proptest::collection::btree_set((0_usize..8, 0_usize..8), 0..20)) {
        let names: Vec<String> = (0..8).map(|n| format!("n{n}")).collect();
        let forward: Vec<(usize, usize)> = edges.into_iter().filter(|(from, to)| from < to).collect();
        let text: Vec<String> = forward.iter().map(|(from, to)| format!("n{from}>n{to}")).collect();
        let nodes: Vec<Json> = names.iter().map(|name| node(name)).collect();
        let graph = graph(&nodes, &text.join(" "));
        prop_assert!(graph.edges.iter().all(|edge| !edge.back));
        let (worked, end) = run(&graph, json!([7]), same);
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        for name in worked.iter().flat_map(|names| names.split('+')) {
            *times.entry(name.to_owned()).or_default() += 1;
        }
        prop_assert!(times.values().all(|count| *count == 1) && times.len() == 8, "{worked:?}");
        let mut ways = [0_u64; 8];
        for n in 0..8 {
            let coming: u64 = forward.iter().filter(|(_, to)| *to == n).map(|(from, _)| ways[*from]).sum();
            ways[n] = if forward.iter().any(|(_, to)| *to == n) { coming } else { 1 };
        }
        let ends = (0..8).filter(|n| !forward.iter().any(|(from, _)| from == n));
        let expected: u64 = ends.map(|n| ways[n]).sum();
        let found: u64 = match end {
            Json::Object(ends) => ends.values().map(|items| items.as_array().unwrap().len() as u64).sum(),
            Json::Array(items) => items.len() as u64,
            _ => 0,
        };
        prop_assert_eq!(found, expected);
    }
}
