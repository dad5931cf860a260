//! Declarations: what `homelab.rhai` evaluates to.
//!
//! Evaluating it is pure. Each call of `service`, `schedule`, … adds one [`Declared`]; closures are kept with what
//! they captured and run later, as runs of their own. What the options mean is not decided here: the planner and the
//! scheduler validate them, so that all mistakes are reported at once.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex};

use hob_model::{OpError, Packed, Source, Value};
use rhai::{
    Array, Dynamic, EvalAltResult, FnPtr, FuncRegistration, ImmutableString, Map, Module, NativeCallContext,
};

use crate::branch::source_of;
use crate::bundle::Bundle;
use crate::compensate::Closure;
use crate::convert::{RhaiResult, to_rhai_error, to_value};
use crate::handle::Handle;
use crate::run_cx::lock;

/// The most declarations of one homelab.
pub const DECLARATIONS_MAX: usize = 200_000;

/// One declared thing, as it was written. There may be 100,000 of them: each keeps its name and its options, and has the
/// rest, which is read as if it were its own, in common with others of its [`Place`].
#[derive(Clone)]
pub struct Declared {
    /// Its name; that of the homelab for `homelab`.
    pub name: Arc<str>,
    /// See [`Declared::options`].
    options: Packed,
    place: Arc<Place>,
}

/// Where something is declared, and what is the same for all that a loop declares there.
#[derive(Clone)]
pub struct Place {
    /// `service`, `tier`, `schedule`, `workflow`, `setup`, `host`, `channel`, `alert` or `homelab`; `test` in a file of tests.
    pub kind: &'static str,
    /// The closures, by the path of the option that held them; the body of a schedule or workflow has the path `""`.
    pub closures: Vec<(Box<str>, Closure)>,
    /// Where that is written.
    pub source: Source,
}

impl Declared {
    /// Its options, without closures; handles are names.
    #[must_use]
    pub fn options(&self) -> Value {
        self.options.open()
    }

    fn key(&self) -> (&str, &str) {
        (self.kind, &self.name)
    }
}

impl Deref for Declared {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.place
    }
}

impl Place {
    /// Keeps what it has in common with the place of the declaration before once for both: all of it where a closure
    /// captured nothing.
    fn share(mut self, last: Option<&Arc<Self>>) -> Arc<Self> {
        let Some(last) = last else { return Arc::new(self) };
        if last.source.file == self.source.file {
            self.source.file = Arc::clone(&last.source.file);
        }
        for ((_, mine), (_, its)) in self.closures.iter_mut().zip(&last.closures) {
            mine.share_context(its);
        }
        let same_closures = || {
            let mut pairs = self.closures.iter().zip(&last.closures);
            pairs.all(|((path, mine), (known, its))| path == known && mine.is_surely(its))
        };
        let is_same = (self.kind, &self.source) == (last.kind, &last.source)
            && self.closures.len() == last.closures.len()
            && same_closures();
        if is_same { Arc::clone(last) } else { Arc::new(self) }
    }

    /// The body of a schedule or workflow.
    #[must_use]
    pub fn body(&self) -> Option<&Closure> {
        self.function("")
    }

    /// The function that an option of it held; the body for the path `""`.
    #[must_use]
    pub fn function(&self, path: &str) -> Option<&Closure> {
        self.closures.iter().find(|(known, _)| **known == *path).map(|(_, closure)| closure)
    }
}

/// All that a homelab declares, in order.
#[derive(Clone, Default)]
pub struct Declarations {
    all: Vec<Declared>,
    /// The places of `all` in the order of their kinds and names: each evaluation of a run looks one up.
    by_name: Box<[u32]>,
}

impl Declarations {
    fn of(all: Vec<Declared>) -> Self {
        let places = u32::try_from(all.len()).expect("there are at most `DECLARATIONS_MAX`");
        let mut by_name: Vec<u32> = (0..places).collect();
        by_name.sort_by_key(|at| all[*at as usize].key());
        Self { all, by_name: by_name.into_boxed_slice() }
    }

    /// The first declaration of this kind and name.
    #[must_use]
    pub fn find(&self, kind: &str, name: &str) -> Option<&Declared> {
        let of = |at: u32| &self.all[at as usize];
        let first = self.by_name.partition_point(|at| of(*at).key() < (kind, name));
        let found = self.by_name.get(first).map(|at| of(*at));
        found.filter(|found| found.key() == (kind, name))
    }
}

impl Deref for Declarations {
    type Target = [Declared];

    fn deref(&self) -> &[Declared] {
        &self.all
    }
}

/// Collects declarations while a homelab is evaluated; is the tag of evaluations that must not act.
pub struct Declaring {
    /// The sources, for `include_text`.
    pub(crate) bundle: Arc<Bundle>,
    /// Whether declaring is allowed: not while a module is loaded by a run.
    collects: bool,
    declared: Mutex<Vec<Declared>>,
    /// The graphs of flows, by the places of their declarations: they grow after these.
    graphs: Mutex<BTreeMap<usize, BTreeMap<String, Value>>>,
}

impl Declaring {
    /// For the evaluation of a homelab.
    #[must_use]
    pub(crate) fn collecting(bundle: Arc<Bundle>) -> Arc<Self> {
        Arc::new(Self { bundle, collects: true, declared: Mutex::default(), graphs: Mutex::default() })
    }

    /// For modules that a run loads.
    #[must_use]
    pub(crate) fn refusing(bundle: Arc<Bundle>) -> Arc<Self> {
        Arc::new(Self { bundle, collects: false, declared: Mutex::default(), graphs: Mutex::default() })
    }

    /// How much was declared so far.
    pub(crate) fn count(&self) -> usize {
        lock(&self.declared).len()
    }

    /// Adds a closure to the declaration with this number.
    pub(crate) fn add_closure(&self, at: usize, path: Box<str>, closure: Closure) {
        if let Some(declared) = lock(&self.declared).get_mut(at) {
            Arc::make_mut(&mut declared.place).closures.push((path, closure));
        }
    }

    /// Has what was declared from this number on be declared at `source`.
    pub(crate) fn place(&self, from: usize, source: &Source) {
        for declared in lock(&self.declared).iter_mut().skip(from) {
            Arc::make_mut(&mut declared.place).source = source.clone();
        }
    }

    /// Changes the graph of the flow at a place.
    pub(crate) fn change_graph(&self, at: usize, change: impl FnOnce(&mut BTreeMap<String, Value>)) {
        change(lock(&self.graphs).entry(at).or_default());
    }

    /// What was declared.
    ///
    /// # Errors
    /// When a graph nests too deep.
    pub(crate) fn take(&self) -> Result<Declarations, OpError> {
        let mut all = std::mem::take(&mut *lock(&self.declared));
        for (at, graph) in std::mem::take(&mut *lock(&self.graphs)) {
            let Some(flow) = all.get_mut(at) else { continue };
            let Value::Map(mut options) = flow.options() else { continue };
            options.insert(crate::flow::GRAPH.to_owned(), Value::Map(graph));
            flow.options = pack(&Value::Map(options))?;
        }
        all.shrink_to_fit();
        Ok(Declarations::of(all))
    }
}

/// What collects declarations where this is called.
pub(crate) fn declaring(ctx: &NativeCallContext<'_>) -> Option<Arc<Declaring>> {
    ctx.tag().and_then(|tag| tag.read_lock::<crate::branch::DeclaringHandle>().map(|h| Arc::clone(&h.0)))
}

pub(crate) fn add(
    ctx: &NativeCallContext<'_>,
    kind: &'static str,
    name: &str,
    options: Map,
    body: Option<FnPtr>,
) -> RhaiResult {
    let refuse = |error: OpError| -> Box<EvalAltResult> {
        let mut error = error;
        kind.clone_into(&mut error.operation);
        to_rhai_error(&error, ctx.call_position())
    };
    let Some(declaring) = declaring(ctx).filter(|declaring| declaring.collects) else {
        let error = OpError::denied(format!("`{kind}` declares, and a run does not declare"))
            .detail("not_here", kind);
        return Err(refuse(error.hint("move it to homelab.rhai, which `hob up` and `hob plan` read")));
    };
    let mut closures: Vec<(Box<str>, Closure)> =
        body.iter().map(|body| (Box::default(), Closure::declared(ctx, body))).collect();
    let options = split(ctx, Dynamic::from_map(options), "", &mut closures).map_err(refuse)?;
    let options = pack(&options).map_err(refuse)?;
    let place = Place { kind, closures, source: source_of(ctx) };
    let mut declared = lock(&declaring.declared);
    if declared.len() >= DECLARATIONS_MAX {
        return Err(refuse(OpError::invalid(format!("more than {DECLARATIONS_MAX} declarations"))));
    }
    let place = place.share(declared.last().map(|last| &last.place));
    declared.push(Declared { name: name.into(), options, place });
    Ok(Dynamic::from(Handle { kind, name: name.to_owned() }))
}

fn pack(options: &Value) -> Result<Packed, OpError> {
    Packed::of(options).map_err(|error| OpError::invalid(error.to_string()))
}

/// The options as data; closures among them go to `closures`.
fn split(
    ctx: &NativeCallContext<'_>,
    value: Dynamic,
    path: &str,
    closures: &mut Vec<(Box<str>, Closure)>,
) -> Result<Value, OpError> {
    let under = |key: &str| {
        if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
    };
    let value = value.flatten();
    if value.is::<FnPtr>() {
        closures.push((path.into(), Closure::declared(ctx, &value.cast())));
        return Ok(Value::Unit);
    }
    if value.is_map() {
        let pairs = value.cast::<Map>().into_iter();
        let read = |(key, item): (rhai::Identifier, Dynamic)| {
            Ok((key.to_string(), split(ctx, item, &under(&key), closures)?))
        };
        return pairs.map(read).collect::<Result<_, _>>().map(Value::Map);
    }
    if value.is_array() {
        let items = value.cast::<Array>().into_iter().enumerate();
        let read = |(at, item): (usize, Dynamic)| split(ctx, item, &under(&at.to_string()), closures);
        return items.map(read).collect::<Result<_, _>>().map(Value::Array);
    }
    to_value(&value)
}

/// A map that says what it is: a gate or a trigger.
fn tagged(tag: &str, kind: &str, fields: &[(&str, Dynamic)]) -> Dynamic {
    let mut map = Map::new();
    map.insert(tag.into(), kind.into());
    for (key, value) in fields {
        map.insert((*key).into(), value.clone());
    }
    Dynamic::from_map(map)
}

/// `schedule(name, when, [options], fn)`
fn schedule(
    ctx: &NativeCallContext<'_>,
    name: &str,
    when: Dynamic,
    mut options: Map,
    body: FnPtr,
) -> RhaiResult {
    options.insert("when".into(), when);
    add(ctx, "schedule", name, options, Some(body))
}

fn install_kinds(module: &mut Module) {
    FuncRegistration::new("homelab").set_into_module(module, |ctx: NativeCallContext<'_>, options: Map| {
        let name = options.get("name").and_then(|name| name.clone().into_string().ok()).unwrap_or_default();
        add(&ctx, "homelab", &name, options, None)
    });
    for kind in ["host", "tier", "mount", "channel", "alert"] {
        FuncRegistration::new(kind).set_into_module(
            module,
            move |ctx: NativeCallContext<'_>, name: ImmutableString, options: Map| {
                add(&ctx, kind, &name, options, None)
            },
        );
    }
    FuncRegistration::new("tier")
        .set_into_module(module, |ctx: NativeCallContext<'_>, name: ImmutableString| {
            add(&ctx, "tier", &name, Map::new(), None)
        });
    FuncRegistration::new("schedule").set_into_module(
        module,
        |ctx: NativeCallContext<'_>, name: ImmutableString, when: Dynamic, body: FnPtr| {
            schedule(&ctx, &name, when, Map::new(), body)
        },
    );
    FuncRegistration::new("schedule").set_into_module(
        module,
        |ctx: NativeCallContext<'_>, name: ImmutableString, when: Dynamic, options: Map, body: FnPtr| {
            schedule(&ctx, &name, when, options, body)
        },
    );
    FuncRegistration::new("test").set_into_module(
        module,
        |ctx: NativeCallContext<'_>, name: ImmutableString, options: Map, body: FnPtr| {
            add(&ctx, "test", &name, options, Some(body))
        },
    );
    for kind in ["workflow", "setup"] {
        FuncRegistration::new(kind).set_into_module(
            module,
            move |ctx: NativeCallContext<'_>, name: ImmutableString, options: Map, body: FnPtr| {
                add(&ctx, kind, &name, options, Some(body))
            },
        );
        FuncRegistration::new(kind).set_into_module(
            module,
            move |ctx: NativeCallContext<'_>, name: ImmutableString, body: FnPtr| {
                add(&ctx, kind, &name, Map::new(), Some(body))
            },
        );
    }
}

fn install_gates(module: &mut Module) {
    FuncRegistration::new("tcp")
        .set_into_module(module, |port: i64| tagged("gate", "tcp", &[("port", port.into())]));
    FuncRegistration::new("http")
        .set_into_module(module, |path: ImmutableString| tagged("gate", "http", &[("path", path.into())]));
    FuncRegistration::new("http").set_into_module(module, |path: ImmutableString, options: Map| {
        let mut fields: Vec<(&str, Dynamic)> =
            options.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
        fields.push(("path", path.into()));
        tagged("gate", "http", &fields)
    });
    FuncRegistration::new("exec").set_into_module(module, |command: Array| {
        tagged("gate", "exec", &[("command", Dynamic::from_array(command))])
    });
    FuncRegistration::new("log").set_into_module(module, |pattern: ImmutableString| {
        tagged("gate", "log", &[("pattern", pattern.into())])
    });
    FuncRegistration::new("file")
        .set_into_module(module, |path: ImmutableString| tagged("gate", "file", &[("path", path.into())]));
    FuncRegistration::new("healthy").set_into_module(module, || tagged("gate", "healthy", &[]));
    FuncRegistration::new("completed").set_into_module(module, || tagged("gate", "completed", &[]));
}

fn install_triggers(module: &mut Module) {
    for kind in ["cron", "every", "at", "event", "webhook", "watch", "mqtt", "ups"] {
        FuncRegistration::new(kind).set_into_module(module, move |text: ImmutableString| {
            tagged("trigger", kind, &[("of", text.into())])
        });
    }
    for kind in ["event", "webhook", "watch", "mqtt"] {
        FuncRegistration::new(kind).set_into_module(module, move |text: ImmutableString, options: Map| {
            tagged("trigger", kind, &[("of", text.into()), ("options", Dynamic::from_map(options))])
        });
    }
    FuncRegistration::new("manual").set_into_module(module, || tagged("trigger", "manual", &[]));
}

/// A file with a secret, for the environment of services: `env: #{ PASSWORD_FILE: secret_file("postgres") }`.
fn install_secrets(module: &mut Module) {
    fn file(name: ImmutableString, mut options: Map) -> Dynamic {
        options.insert("secret_file".into(), name.into());
        Dynamic::from_map(options)
    }
    FuncRegistration::new("secret_file")
        .set_into_module(module, |name: ImmutableString| file(name, Map::new()));
    FuncRegistration::new("secret_file").set_into_module(module, file);
}

/// How services are reached: `network: via(service)`.
fn install_networks(module: &mut Module) {
    FuncRegistration::new("via")
        .set_into_module(module, |service: Handle| tagged("network", "via", &[("of", service.name.into())]));
    FuncRegistration::new("via").set_into_module(module, |service: ImmutableString| {
        tagged("network", "via", &[("of", service.into())])
    });
}

/// Adds the declarations to the global module.
pub(crate) fn install(module: &mut Module) {
    install_kinds(module);
    install_gates(module);
    install_networks(module);
    install_secrets(module);
    install_triggers(module);
    crate::dataset::install(module);
    crate::flow::install(module);
}
