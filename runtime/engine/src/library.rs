//! The modules that every engine shares: one per primitive, and the controls.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use hob_model::OpError;
use hob_primitive::{Args, Handler, Operation, Registry};
use rhai::{Dynamic, Engine, FuncRegistration, Module, NativeCallContext, RhaiFunc, Shared};

use crate::convert::{RhaiResult, to_dynamic, to_rhai_error, to_value};

/// The controls and declarations: the same for every registry.
static GLOBAL: LazyLock<Shared<Module>> = LazyLock::new(|| {
    crate::language::init();
    let mut global = Module::new();
    crate::control::install(&mut global);
    crate::declare::install(&mut global);
    crate::numbers::install(&mut global);
    crate::secret::install(&mut global);
    global.into()
});

/// The shared modules.
pub(crate) struct Library {
    namespaces: Vec<(String, Shared<Module>)>,
    global: Shared<Module>,
    includes: Shared<Module>,
}

impl Library {
    /// The modules for these operations.
    #[must_use]
    pub(crate) fn new(registry: &Registry) -> Self {
        // Names are hashed as they are registered: with another seed no script would find them.
        crate::language::init();
        let mut modules: BTreeMap<&str, Module> = BTreeMap::new();
        for operation in registry.operations() {
            let (namespace, name) = operation.name.rsplit_once("::").unwrap_or(("", operation.name));
            let module = modules.entry(namespace).or_default();
            for arity in operation.arity_min()..=operation.arity_max() {
                register(module, name, arity, operation);
            }
        }
        modules.insert("log", crate::control::log_module());
        let namespaces = nested(modules).into_iter().map(|(name, module)| {
            let module = shared(&name, module);
            (name, module)
        });
        let namespaces = namespaces.collect();
        let includes = shared("include", crate::include::module(registry));
        Self { namespaces, global: Shared::clone(&GLOBAL), includes }
    }

    /// Adds the modules to an engine.
    pub(crate) fn add_to(&self, engine: &mut Engine) {
        engine.register_global_module(Shared::clone(&self.global));
        engine.register_global_module(Shared::clone(&self.includes));
        for (name, module) in &self.namespaces {
            engine.register_static_module(name, Shared::clone(module));
        }
    }
}

/// The modules with those inside of them in their places: of `containers::images` an engine would make a copy, with all of
/// `containers`, to put the one into the other.
fn nested(modules: BTreeMap<&str, Module>) -> BTreeMap<String, Module> {
    let mut outer: BTreeMap<String, Module> = BTreeMap::new();
    // What contains comes before what is contained.
    for (name, module) in modules {
        match name.split_once("::") {
            None => drop(outer.insert(name.to_owned(), module)),
            Some((around, inner)) => {
                debug_assert!(!inner.contains("::"), "a namespace has two parts at most");
                outer.entry(around.to_owned()).or_default().set_sub_module(inner, module);
            }
        }
    }
    outer
}

/// The module as engines share it. One without index or id would be copied for each engine that it is added to.
fn shared(name: &str, mut module: Module) -> Shared<Module> {
    module.build_index();
    module.set_id(name);
    module.into()
}

/// Registers one arity of an operation. All parameters are dynamic, so that a wrong type is refused by the
/// operation's own message and not by "function not found".
fn register(module: &mut Module, name: &str, arity: usize, operation: &Arc<Operation>) {
    let types = vec![TypeId::of::<Dynamic>(); arity];
    let operation = Arc::clone(operation);
    let function = move |ctx: Option<NativeCallContext<'_>>, args: &mut [&mut Dynamic]| -> RhaiResult {
        let ctx = ctx.expect("the function was registered with a context");
        match operation.handler {
            Handler::Pure(handler) => call_pure(&ctx, &operation, handler, args),
            Handler::Blocking(_) | Handler::Async(_) => crate::gate::call(&ctx, &operation, args),
        }
    };
    let function =
        RhaiFunc::Method { func: Shared::new(function), has_context: true, is_pure: true, is_volatile: true };
    FuncRegistration::new(name).set_into_module_raw(module, types, function);
}

/// A pure operation is called directly: it takes no position and leaves no record.
fn call_pure(
    ctx: &NativeCallContext<'_>,
    operation: &Operation,
    handler: fn(Args) -> Result<hob_model::Value, OpError>,
    args: &mut [&mut Dynamic],
) -> RhaiResult {
    let compute = || {
        let mut values = args.iter().map(|arg| to_value(arg)).collect::<Result<Vec<_>, _>>()?;
        let options = match values.pop() {
            Some(hob_model::Value::Map(map))
                if operation.takes_options() && values.len() >= operation.params.len() =>
            {
                map
            }
            Some(last) => {
                values.push(last);
                BTreeMap::new()
            }
            None => BTreeMap::new(),
        };
        handler(Args::new(values, options))
    };
    compute().map(to_dynamic).map_err(|mut error| {
        operation.name.clone_into(&mut error.operation);
        to_rhai_error(&error, ctx.call_position())
    })
}
