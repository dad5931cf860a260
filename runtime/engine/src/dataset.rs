//! `dataset(name, #{ path, backup })`: a directory, and what is done with its backups; and the same of a service.
//!
//! What that is, is a script: [`PROGRAM`] declares schedules as a homelab does, and gives the dataset functions that are run
//! when a person asks. So all that holds for schedules holds for backups: runs are journaled and go on after a crash.

use rhai::{Array, Dynamic, FnPtr, FuncRegistration, ImmutableString, Map, Module, NativeCallContext, Scope};

use crate::branch::source_of;
use crate::compensate::Closure;
use crate::convert::RhaiResult;
use crate::declare::{Declaring, add, declaring};
use crate::program::Program;

/// What is declared for a dataset with backups.
pub(crate) static PROGRAM: Program = Program::new(
    "hob:dataset.rhai",
    concat!(
        include_str!("dataset/service.rhai"),
        include_str!("dataset/quiet.rhai"),
        include_str!("dataset/dataset.rhai")
    ),
);
/// The variables that it is given.
const GIVEN: [&str; 2] = ["name", "options"];

/// The option that holds how something is backed up.
pub(crate) const BACKUP: &str = "backup";
/// What functions among its options are called in traces.
const FUNCTION: &str = "of_backup";

/// Options of a service that say what it has on this machine.
const VOLUMES: &str = "volumes";

fn dataset(ctx: &NativeCallContext<'_>, name: ImmutableString, mut options: Map) -> RhaiResult {
    let own = ctx.call_source() == Some(PROGRAM.name);
    // Under `act` the program hands over its functions: whoever writes one is told that there is no such option.
    let is_backed_up = options.get(BACKUP).is_some_and(|it| it.is_map()) && !options.contains_key("act");
    let Some(declaring) = declaring(ctx).filter(|_| is_backed_up && !own) else {
        return add(ctx, "dataset", &name, options, None);
    };
    if let Some(backup) = options.get_mut(BACKUP) {
        bind(ctx, backup);
    }
    evaluate(ctx, &declaring, name, options)
}

/// Has the functions below `value` know what they can call where they are written: the program calls them from a place of its
/// own.
fn bind(ctx: &NativeCallContext<'_>, value: &mut Dynamic) {
    if let Some(mut map) = value.write_lock::<Map>() {
        map.values_mut().for_each(|item| bind(ctx, item));
    } else if let Some(mut items) = value.write_lock::<Array>() {
        items.iter_mut().for_each(|item| bind(ctx, item));
    } else if value.is::<FnPtr>() {
        *value = bound(ctx, &value.clone_cast()).into();
    }
}

#[allow(deprecated)] // Rhai's word for "volatile".
fn bound(ctx: &NativeCallContext<'_>, function: &FnPtr) -> FnPtr {
    let closure = Closure::declared(ctx, function);
    let call = move |ctx: NativeCallContext<'_>, args: &mut [&mut Dynamic]| {
        let args: Vec<Dynamic> = args.iter().map(|arg| (**arg).clone()).collect();
        closure.call(ctx.engine(), ctx.tag().cloned().unwrap_or_default(), &args)
    };
    FnPtr::from_fn(FUNCTION, call).expect("it is a name")
}

/// `service(name, options)`: its backups are declared as those of a dataset of its name.
fn service(ctx: &NativeCallContext<'_>, name: ImmutableString, mut options: Map) -> RhaiResult {
    // What is no map the planner refuses.
    let is_backed_up = options.get(BACKUP).is_some_and(Dynamic::is_map);
    let backup = if is_backed_up { options.remove(BACKUP) } else { None };
    let volumes = options.get(VOLUMES).filter(|it| it.is_array()).cloned();
    let handle = add(ctx, "service", &name, options, None)?;
    if let (Some(declaring), Some(mut backup)) = (declaring(ctx), backup) {
        bind(ctx, &mut backup);
        let mut options = Map::from([("service".into(), name.clone().into()), (BACKUP.into(), backup)]);
        options.extend(volumes.map(|it| (VOLUMES.into(), it)));
        let _ = evaluate(ctx, &declaring, name, options)?;
    }
    Ok(handle)
}

fn evaluate(
    ctx: &NativeCallContext<'_>,
    declaring: &Declaring,
    name: ImmutableString,
    options: Map,
) -> RhaiResult {
    let from = declaring.count();
    let mut scope = Scope::new();
    scope.push("name", name).push("options", options);
    let program = PROGRAM.of(&declaring.bundle, ctx.engine(), &GIVEN)?;
    let handle = ctx.engine().eval_ast_with_scope(&mut scope, &program)?;
    // People look for all of it where the dataset is.
    declaring.place(from, &source_of(ctx));
    Ok(handle)
}

/// Adds `dataset` and `service`.
pub(crate) fn install(module: &mut Module) {
    FuncRegistration::new("dataset")
        .set_into_module(module, |ctx: NativeCallContext<'_>, name: ImmutableString, options: Map| {
            dataset(&ctx, name, options)
        });
    FuncRegistration::new("service")
        .set_into_module(module, |ctx: NativeCallContext<'_>, name: ImmutableString, options: Map| {
            service(&ctx, name, options)
        });
}
