//! `dataset(name, #{ path, backup })`: a directory, and what is done with its backups; and the same of a service.
//!
//! What that is, is a script: [`PROGRAM`] declares schedules as a homelab does, and gives the dataset functions that are run
//! when a person asks. So all that holds for schedules holds for backups: runs are journaled and go on after a crash.

use rhai::{FuncRegistration, ImmutableString, Map, Module, NativeCallContext, Scope};

use crate::branch::source_of;
use crate::convert::RhaiResult;
use crate::declare::{Declaring, add, declaring};
use crate::program::Program;

/// What is declared for a dataset with backups.
static PROGRAM: Program = Program::new(
    "dataset",
    concat!(include_str!("dataset/service.rhai"), include_str!("dataset/dataset.rhai")),
);

/// Options of a service that say what it has on this machine.
const VOLUMES: &str = "volumes";

fn dataset(ctx: &NativeCallContext<'_>, name: ImmutableString, options: Map) -> RhaiResult {
    let own = ctx.call_source() == Some(PROGRAM.name);
    // Under `act` the program hands over its functions: whoever writes one is told that there is no such option.
    let is_backed_up = options.get("backup").is_some_and(|it| it.is_map()) && !options.contains_key("act");
    let Some(declaring) = declaring(ctx).filter(|_| is_backed_up && !own) else {
        return add(ctx, "dataset", &name, options, None);
    };
    evaluate(ctx, &declaring, name, options)
}

/// `service(name, options)`: its backups are declared as those of a dataset of its name.
fn service(ctx: &NativeCallContext<'_>, name: ImmutableString, mut options: Map) -> RhaiResult {
    // What is no map the planner refuses.
    let is_backed_up = options.get("backup").is_some_and(rhai::Dynamic::is_map);
    let backup = if is_backed_up { options.remove("backup") } else { None };
    let volumes = options.get(VOLUMES).filter(|it| it.is_array()).cloned();
    let handle = add(ctx, "service", &name, options, None)?;
    if let (Some(declaring), Some(backup)) = (declaring(ctx), backup) {
        let mut options = Map::from([("service".into(), name.clone().into()), ("backup".into(), backup)]);
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
    let program = PROGRAM.compiled(ctx.engine(), &scope)?;
    let handle = ctx.engine().eval_ast_with_scope(&mut scope, program)?;
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
