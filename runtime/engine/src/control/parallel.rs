//! `parallel` and `race`: reading their forms.

use hob_model::{OpError, Value};
use hob_primitive::OptionMap;
use rhai::{Array, Dynamic, FnPtr, FuncRegistration, ImmutableString, Map, Module, NativeCallContext};

use super::group::{Group, Rule, Work};
use super::recorded::{Control, misuse};
use crate::convert::{RhaiResult, to_dynamic, to_value};

/// Branches that run side by side unless `max` says otherwise.
pub(super) const BRANCHES_AT_ONCE: usize = 8;
/// The most branches of one call.
pub(super) const BRANCHES_MAX: usize = 100_000;

/// The shape in which results are handed back.
enum Shape {
    List,
    Map(Vec<ImmutableString>),
}

fn read_options(map: Map) -> Result<(usize, bool), OpError> {
    let Value::Map(pairs) = to_value(&Dynamic::from_map(map))? else {
        return Err(OpError::invalid("expected a map"));
    };
    let mut options = OptionMap::new(pairs);
    let max = options.take::<Option<usize>>("max")?.unwrap_or(BRANCHES_AT_ONCE);
    let fail_fast = options.take::<Option<bool>>("fail_fast")?.unwrap_or(false);
    options.read::<hob_primitive::NoOptions>()?;
    if max == 0 { Err(OpError::invalid("option `max`: expected at least 1")) } else { Ok((max, fail_fast)) }
}

fn closures(list: Array) -> Result<Vec<Work>, OpError> {
    let read = |(at, item): (usize, Dynamic)| {
        let what = item.type_name();
        let function = item.try_cast::<FnPtr>();
        let function =
            function.ok_or_else(|| OpError::invalid(format!("item {at}: expected a closure, got {what}")))?;
        Ok(Work { label: at.to_string(), function, args: vec![] })
    };
    list.into_iter().enumerate().map(read).collect()
}

fn named_closures(map: Map) -> Result<(Vec<Work>, Vec<ImmutableString>), OpError> {
    let mut work = Vec::with_capacity(map.len());
    let mut keys = Vec::with_capacity(map.len());
    for (key, item) in map {
        let function = item.try_cast::<FnPtr>();
        let function = function.ok_or_else(|| OpError::invalid(format!("`{key}`: expected a closure")))?;
        keys.push(key.as_str().into());
        work.push(Work { label: key.to_string(), function, args: vec![] });
    }
    Ok((work, keys))
}

fn run(
    ctx: &NativeCallContext<'_>,
    work: Vec<Work>,
    shape: Shape,
    (max, fail_fast): (usize, bool),
) -> RhaiResult {
    if work.len() > BRANCHES_MAX {
        return Err(misuse(
            ctx,
            "parallel",
            OpError::invalid(format!("{} branches: at most {BRANCHES_MAX}", work.len())),
        ));
    }
    let labels = work.iter().map(|work| Value::from(work.label.as_str())).collect();
    let control = Control::enter(ctx, "parallel", Value::Array(labels))?;
    if let Some(given) = control.given() {
        return control.finish(ctx, given);
    }
    let results = Group::new(&control, work, Rule::All { fail_fast }, max).run(ctx)?;
    control.branch.mark_event();
    let values: Result<Vec<Value>, OpError> = results.into_iter().map(|(_, result)| result).collect();
    let values = match values {
        Ok(values) => values,
        Err(error) => return control.finish(ctx, Err(error)),
    };
    Ok(match shape {
        Shape::List => Dynamic::from_array(values.into_iter().map(to_dynamic).collect()),
        Shape::Map(keys) => Dynamic::from_map(
            keys.iter().map(|key| key.as_str().into()).zip(values.into_iter().map(to_dynamic)).collect(),
        ),
    })
}

/// `parallel(items, |item| …, options)`
fn over_items(ctx: NativeCallContext<'_>, items: Array, function: FnPtr, options: Map) -> RhaiResult {
    let options = read_options(options).map_err(|error| misuse(&ctx, "parallel", error))?;
    let branch = |(at, item)| Work { label: at_label(at), function: function.clone(), args: vec![item] };
    let work = items.into_iter().enumerate().map(branch).collect();
    run(&ctx, work, Shape::List, options)
}

fn at_label(at: usize) -> String {
    at.to_string()
}

/// `parallel([fns], options)`
fn over_list(ctx: NativeCallContext<'_>, list: Array, options: Map) -> RhaiResult {
    let read = || Ok((closures(list)?, read_options(options)?));
    let (work, options) = read().map_err(|error| misuse(&ctx, "parallel", error))?;
    run(&ctx, work, Shape::List, options)
}

/// `parallel(#{ name: fn, … }, options)`
fn over_map(ctx: NativeCallContext<'_>, map: Map, options: Map) -> RhaiResult {
    let read = || Ok((named_closures(map)?, read_options(options)?));
    let ((work, keys), options) = read().map_err(|error| misuse(&ctx, "parallel", error))?;
    run(&ctx, work, Shape::Map(keys), options)
}

/// `race([fns])` or `race(#{ name: fn })`: the value, or the error, of the branch that ends first.
fn race(ctx: &NativeCallContext<'_>, work: Vec<Work>) -> RhaiResult {
    if work.is_empty() {
        return Err(misuse(ctx, "race", OpError::invalid("a race needs at least one branch")));
    }
    let labels = work.iter().map(|work| Value::from(work.label.as_str())).collect();
    let control = Control::enter(ctx, "race", Value::Array(labels))?;
    if let Some(given) = control.given() {
        return control.finish(ctx, given);
    }
    let max = work.len();
    let results = Group::new(&control, work, Rule::First, max).run(ctx)?;
    control.branch.mark_event();
    let winner = results.into_iter().next();
    let (_, result) =
        winner.ok_or_else(|| misuse(ctx, "race", OpError::failed("a race ended without a winner")))?;
    control.finish(ctx, result)
}

pub(super) fn install(module: &mut Module) {
    let name = "parallel";
    FuncRegistration::new(name).set_into_module(module, over_items);
    FuncRegistration::new(name)
        .set_into_module(module, |ctx: NativeCallContext<'_>, items: Array, f: FnPtr| {
            over_items(ctx, items, f, Map::new())
        });
    FuncRegistration::new(name).set_into_module(module, over_list);
    FuncRegistration::new(name)
        .set_into_module(module, |ctx: NativeCallContext<'_>, list: Array| over_list(ctx, list, Map::new()));
    FuncRegistration::new(name).set_into_module(module, over_map);
    FuncRegistration::new(name)
        .set_into_module(module, |ctx: NativeCallContext<'_>, map: Map| over_map(ctx, map, Map::new()));
    FuncRegistration::new("race").set_into_module(
        module,
        |ctx: NativeCallContext<'_>, list: Array| -> RhaiResult {
            let work = closures(list).map_err(|error| misuse(&ctx, "race", error))?;
            race(&ctx, work)
        },
    );
    FuncRegistration::new("race").set_into_module(
        module,
        |ctx: NativeCallContext<'_>, map: Map| -> RhaiResult {
            let (work, _) = named_closures(map).map_err(|error| misuse(&ctx, "race", error))?;
            race(&ctx, work)
        },
    );
}
