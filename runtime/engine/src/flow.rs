//! `flow(name, options)`: a workflow that is declared as a graph, and how such a graph runs.
//!
//! A graph runs as a script does: [`PROGRAM`] asks `hob-flow` which nodes are to work, and has them work beside each
//! other, each in a step with its name. So all that holds for scripts holds for nodes: their effects are journaled, they
//! may sleep and wait, and after a crash what was done comes from the journal.

use std::sync::{Arc, Mutex};

use hob_flow::{Graph, Made, NodeKind, Progress, Work};
use hob_model::{OpError, RunEntry, Value};
use rhai::{
    Array, Dynamic, Engine, EvalAltResult, FnPtr, FuncRegistration, ImmutableString, Map, Module,
    NativeCallContext, Scope,
};

use crate::bundle::Bundle;
use crate::compensate::Closure;
use crate::convert::{RhaiResult, to_dynamic, to_rhai_error, to_value};
use crate::declare::{Declared, Declaring};
use crate::program::Program;
use crate::run_cx::{RunCx, lock};

/// Nodes that work beside each other at one time.
const NODES_AT_ONCE: i64 = 64;

/// The option of a workflow that holds its graph, and what stands before the paths of its nodes' closures.
pub(crate) const GRAPH: &str = "graph";

/// What a run of a graph evaluates.
pub(crate) static PROGRAM: Program = Program::new("hob:flow.rhai", include_str!("flow.rhai"));

/// What `flow` returns: nodes and edges are added to it.
#[derive(Clone)]
struct FlowHandle {
    declaring: Arc<Declaring>,
    /// Its place among the declarations.
    at: usize,
}

fn refuse(ctx: &NativeCallContext<'_>, what: &str, error: OpError) -> Box<EvalAltResult> {
    let mut error = error;
    what.clone_into(&mut error.operation);
    to_rhai_error(&error, ctx.call_position())
}

impl FlowHandle {
    /// Adds an item to a list of the graph.
    fn add(&self, list: &str, item: Value) {
        self.declaring.change_graph(self.at, |graph| {
            if let Some(Value::Array(items)) = graph.get_mut(list) {
                items.push(item);
            }
        });
    }

    fn node(
        &self,
        ctx: &NativeCallContext<'_>,
        name: &str,
        what: Dynamic,
        options: Map,
    ) -> Result<Self, Box<EvalAltResult>> {
        let mut fields = Map::new();
        let function = match what.type_name() {
            "Fn" => Some(what.cast::<FnPtr>()),
            "map" => {
                fields = what.cast::<Map>();
                fields.remove("run").and_then(|run| run.try_cast::<FnPtr>())
            }
            other => {
                let text = format!(
                    "expected a function, or what choose, branch, batch, all or merge give; got {other}"
                );
                return Err(refuse(ctx, "node", OpError::invalid(text)));
            }
        };
        if let Some(function) = function {
            let closure = Closure::declared(ctx, &function);
            self.declaring.add_closure(self.at, format!("{GRAPH}.{name}").into(), closure);
        } else if fields.get("kind").is_none_or(|kind| kind.clone().into_string().as_deref() != Ok("merge")) {
            return Err(refuse(ctx, "node", OpError::invalid(format!("the node `{name}` has no function"))));
        }
        fields.insert("name".into(), name.into());
        fields.insert("options".into(), Dynamic::from_map(options));
        let item = to_value(&Dynamic::from_map(fields)).map_err(|error| refuse(ctx, "node", error))?;
        self.add("nodes", item);
        Ok(self.clone())
    }
}

fn flow(ctx: &NativeCallContext<'_>, name: &str, options: Map) -> RhaiResult {
    let _ = crate::declare::add(ctx, "workflow", name, options, None)?;
    let declaring = crate::declare::declaring(ctx);
    let handle = declaring.map(|declaring| FlowHandle { at: declaring.count().saturating_sub(1), declaring });
    if let Some(handle) = &handle {
        let lists = ["nodes", "edges", "on_error"].map(|list| (list.to_owned(), Value::Array(vec![])));
        handle.declaring.change_graph(handle.at, |graph| graph.extend(lists));
    }
    let missing = || refuse(ctx, "flow", OpError::denied("a run does not declare"));
    Ok(Dynamic::from(handle.ok_or_else(missing)?))
}

fn tagged(kind: &str, fields: &[(&str, Dynamic)]) -> Map {
    let mut map: Map = fields.iter().map(|(key, value)| ((*key).into(), value.clone())).collect();
    map.insert("kind".into(), kind.into());
    map
}

/// Adds `flow` and what its nodes are made of.
pub(crate) fn install(module: &mut Module) {
    FuncRegistration::new("flow")
        .set_into_module(module, |ctx: NativeCallContext<'_>, name: ImmutableString, options: Map| {
            flow(&ctx, &name, options)
        });
    FuncRegistration::new("flow")
        .set_into_module(module, |ctx: NativeCallContext<'_>, name: ImmutableString| {
            flow(&ctx, &name, Map::new())
        });
    FuncRegistration::new("node").set_into_module(
        module,
        |ctx: NativeCallContext<'_>, flow: &mut FlowHandle, name: ImmutableString, what: Dynamic| {
            flow.node(&ctx, &name, what, Map::new())
        },
    );
    FuncRegistration::new("node").set_into_module(
        module,
        |ctx: NativeCallContext<'_>,
         flow: &mut FlowHandle,
         name: ImmutableString,
         what: Dynamic,
         options: Map| { flow.node(&ctx, &name, what, options) },
    );
    FuncRegistration::new("edge").set_into_module(
        module,
        |flow: &mut FlowHandle, from: ImmutableString, to: ImmutableString| {
            flow.add(
                "edges",
                Value::map([("from", Value::from(from.as_str())), ("to", Value::from(to.as_str()))]),
            );
            flow.clone()
        },
    );
    FuncRegistration::new("on_error").set_into_module(
        module,
        |ctx: NativeCallContext<'_>, flow: &mut FlowHandle, node: ImmutableString, options: Map| {
            let options =
                to_value(&Dynamic::from_map(options)).map_err(|error| refuse(&ctx, "on_error", error))?;
            flow.add("on_error", Value::map([("node", Value::from(node.as_str())), ("options", options)]));
            Ok::<_, Box<EvalAltResult>>(flow.clone())
        },
    );
    for kind in ["choose", "branch", "all"] {
        FuncRegistration::new(kind)
            .set_into_module(module, move |run: FnPtr| tagged(kind, &[("run", Dynamic::from(run))]));
    }
    FuncRegistration::new("batch").set_into_module(module, |size: i64, run: FnPtr| {
        tagged("batch", &[("size", size.into()), ("run", Dynamic::from(run))])
    });
    FuncRegistration::new("merge")
        .set_into_module(module, |mode: ImmutableString| tagged("merge", &[("mode", mode.into())]));
    FuncRegistration::new("merge").set_into_module(module, |mode: ImmutableString, key: ImmutableString| {
        tagged("merge", &[("mode", mode.into()), ("key", key.into())])
    });
}

/// A graph that runs.
pub(crate) struct Running {
    graph: Graph,
    /// The function of each node that has one, at the node's place.
    functions: Vec<Option<Closure>>,
    progress: Mutex<Progress>,
}

/// The graph of a declared workflow, if it is one.
pub(crate) fn of(run: &RunCx, bundle: &Arc<Bundle>) -> Result<Option<Arc<Running>>, OpError> {
    let RunEntry::Declared { kind, name } = &run.started.entry else { return Ok(None) };
    let declared = crate::evaluate::declarations(&run.host, bundle);
    let Ok(declared) = declared else { return Ok(None) };
    // A body makes it a script: nothing else of it is looked at.
    let Some(found) = declared.find(kind, name).filter(|found| found.body().is_none()) else {
        return Ok(None);
    };
    let options = found.options();
    let Some(graph) = options.get(GRAPH) else { return Ok(None) };
    let (graph, mistakes) = Graph::read(graph);
    let wrong = || OpError::invalid(mistakes.first().map_or_else(String::new, |it| it.message.clone()));
    let graph = graph.ok_or_else(wrong)?;
    let graph = match &run.started.until {
        Some(node) => {
            graph.up_to(node).ok_or_else(|| OpError::not_found(format!("there is no node `{node}`")))?
        }
        None => graph,
    };
    let function = |node: &hob_flow::Node| function_of(found, &node.name);
    let functions = graph.nodes.iter().map(function).collect();
    let items = match run.started.input.clone() {
        Value::Array(items) => items,
        item => vec![item],
    };
    let progress = Mutex::new(Progress::begin(&graph, items));
    Ok(Some(Arc::new(Running { graph, functions, progress })))
}

fn function_of(declared: &Declared, node: &str) -> Option<Closure> {
    let found = declared.closures.iter().find(|(path, _)| path.strip_prefix("graph.") == Some(node));
    found.map(|(_, closure)| closure.clone())
}

fn failed(ctx: &NativeCallContext<'_>, error: impl std::fmt::Display) -> Box<EvalAltResult> {
    refuse(ctx, "flow", OpError::failed(error.to_string()))
}

/// The place of a node, as [`PROGRAM`] counts; one that is none is refused where it is looked up.
fn place(node: i64) -> usize {
    usize::try_from(node).unwrap_or(usize::MAX)
}

/// What came of each item of a node, as [`PROGRAM`] tells it.
fn read_made(ctx: &NativeCallContext<'_>, made: Array) -> Result<Vec<Made>, Box<EvalAltResult>> {
    let read = |made: Dynamic| {
        let made = to_value(&made).map_err(|error| failed(ctx, error))?;
        Ok(match made.get("error").cloned() {
            Some(error) => Made::Error(error),
            None => Made::Value(made.get("value").cloned().unwrap_or_default()),
        })
    };
    made.into_iter().map(read).collect()
}

impl Running {
    /// The nodes that are to work now, as [`PROGRAM`] takes them.
    fn ready(&self, ctx: &NativeCallContext<'_>) -> Result<Array, Box<EvalAltResult>> {
        let ready = lock(&self.progress).ready(&self.graph).map_err(|error| failed(ctx, error))?;
        Ok(self.listed(ready))
    }

    /// Those that may work once a node is done, without waiting for anything else.
    fn after(
        &self,
        ctx: &NativeCallContext<'_>,
        node: i64,
        items: Array,
        made: Array,
    ) -> Result<Array, Box<EvalAltResult>> {
        let items =
            items.iter().map(to_value).collect::<Result<_, _>>().map_err(|error| failed(ctx, error))?;
        let work = Work { node: place(node), items };
        let next = hob_flow::after(&self.graph, work, read_made(ctx, made)?);
        Ok(self.listed(next.map_err(|error| failed(ctx, error))?))
    }

    fn listed(&self, works: Vec<Work>) -> Array {
        let one = |work: Work| {
            let node = &self.graph.nodes[work.node];
            let at = i64::try_from(work.node).unwrap_or(i64::MAX);
            let fields = [
                ("node", Value::from(node.name.as_str())),
                ("at", Value::Int(at)),
                ("merges", Value::Bool(matches!(node.kind, NodeKind::Merge(_)))),
                ("retry", node.retry.clone().unwrap_or_default()),
                ("goes_on", Value::Bool(node.goes_on)),
                ("items", Value::Array(work.items)),
            ];
            to_dynamic(Value::map(fields))
        };
        works.into_iter().map(one).collect()
    }

    fn settle(&self, ctx: &NativeCallContext<'_>, node: i64, made: Array) -> Result<(), Box<EvalAltResult>> {
        let (node, made) = (place(node), read_made(ctx, made)?);
        let mut progress = lock(&self.progress);
        let settled =
            progress.bring(&self.graph, node).and_then(|()| progress.settle(&self.graph, node, made));
        settled.map_err(|error| failed(ctx, error))
    }

    /// Calls the function of a node, as a part of the branch that asks.
    fn call(&self, ctx: &NativeCallContext<'_>, node: i64, item: Dynamic) -> RhaiResult {
        let function = self.functions.get(place(node)).and_then(Option::as_ref);
        let function = function.ok_or_else(|| failed(ctx, "the node has no function"))?;
        let tag = ctx.tag().cloned().unwrap_or_default();
        function.call(ctx.engine(), tag, &[item])
    }

    /// Gives an engine what [`PROGRAM`] needs for this graph.
    pub(crate) fn install(self: &Arc<Self>, engine: &mut Engine) {
        let running = Arc::clone(self);
        engine.register_fn("flow_ready", move |ctx: NativeCallContext<'_>| running.ready(&ctx));
        let running = Arc::clone(self);
        engine.register_fn(
            "flow_after",
            move |ctx: NativeCallContext<'_>, node: i64, items: Array, made: Array| {
                running.after(&ctx, node, items, made)
            },
        );
        let running = Arc::clone(self);
        engine.register_fn("flow_settle", move |ctx: NativeCallContext<'_>, node: i64, made: Array| {
            running.settle(&ctx, node, made)
        });
        let running = Arc::clone(self);
        engine.register_fn("flow_call", move |ctx: NativeCallContext<'_>, node: i64, item: Dynamic| {
            running.call(&ctx, node, item)
        });
        let running = Arc::clone(self);
        engine.register_fn("flow_end", move || to_dynamic(lock(&running.progress).end(&running.graph)));
    }

    /// Evaluates the graph; the engine is one that [`Running::install`] was called for.
    pub(crate) fn evaluate(bundle: &Bundle, engine: &Engine) -> RhaiResult {
        let mut scope = Scope::new();
        scope.push_constant("NODES_AT_ONCE", NODES_AT_ONCE);
        let program = PROGRAM.of(bundle, engine, &["NODES_AT_ONCE"])?;
        engine.eval_ast_with_scope::<Dynamic>(&mut scope, &program)
    }
}
