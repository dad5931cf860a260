//! Services of which several run: each is a service of its own, and the name of the declaration stands for all of them.

use std::collections::BTreeMap;

use hob_model::{Code, Diagnostic, Span, Value};

use super::options::Options;
use super::{Body, Declaration, Homelab, Kind, Raw, Service, bad};

/// The most replicas of one service.
pub const REPLICAS_MAX: u32 = 100;

/// The variable in which a replica finds its number.
pub const REPLICA_VARIABLE: &str = "HOB_REPLICA";

/// One of several services that were declared as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// The name of the declaration.
    pub of: String,
    /// Its number, from 1.
    pub number: u32,
}

/// The name of a replica.
fn name_of(declared: &str, number: u32) -> String {
    format!("{declared}-{number}")
}

/// How many there are to be, which is taken out of `raw`; `None` for one as without the option.
pub(super) fn take(raw: &mut Raw, diagnostics: &mut Vec<Diagnostic>) -> Option<u32> {
    let Value::Map(map) = &mut raw.options else { return None };
    let value = map.remove("replicas")?;
    let only = Raw { options: Value::map([("replicas", value)]), closures: Vec::new(), ..raw.clone() };
    let mut options = Options::open(&only, &["replicas"], diagnostics);
    if options.peek("replicas") == Some(Value::Int(0)) {
        let hint = "remove the declaration, and what runs of it stops; or `hob stop` it for a while";
        options.report_with(Code::BadDeclaration, "`replicas`: 0 of a service is none", hint);
        return None;
    }
    let expected = format!("a number from 1 to {REPLICAS_MAX}");
    let count = |value: &Value| u32::try_from(value.as_int()?).ok().filter(|it| *it <= REPLICAS_MAX);
    options.read("replicas", &expected, count).filter(|count| *count > 1)
}

/// Each replica of a service, made by `read` from its name and number. Nothing is left of one of which no two can be.
pub(super) fn all(
    service: Service,
    count: u32,
    kinds: &[&dyn Kind],
    diagnostics: &mut Vec<Diagnostic>,
    mut read: impl FnMut(String, Replica) -> Option<Service>,
) -> Vec<Service> {
    let alone = match &service.body {
        Body::Process(_) => None,
        Body::Kept(kept) => {
            kinds.iter().find(|kind| kind.name() == kept.kind).and_then(|kind| kind.alone(&kept.fields))
        }
    };
    if let Some(why) = alone {
        let name = &service.name;
        let message =
            format!("service `{name}`: `replicas` cannot be, since {why}: no second one can run beside it");
        let hint = match service.body.kind() {
            "unit" => format!(
                "declare each: for i in 1..={count} {{ service(`{name}-${{i}}`, #{{ unit: `{name}@${{i}}.service` }}) }}"
            ),
            _ => "remove that, or `replicas`".to_owned(),
        };
        diagnostics.push(bad(&service.source, message).hint(hint));
        return vec![service];
    }
    let one = |number| {
        let replica = Replica { of: service.name.clone(), number };
        read(name_of(&service.name, number), replica)
    };
    (1..=count).filter_map(one).collect()
}

/// Says to a replica which one it is, in the options of its kind.
pub(super) fn tell(options: &mut BTreeMap<String, Value>, replica: &Replica) {
    let number = replica.number.to_string();
    match options.entry("env".to_owned()).or_insert_with(|| Value::Map(BTreeMap::new())) {
        Value::Array(pairs) => pairs.push(Value::from(format!("{REPLICA_VARIABLE}={number}"))),
        Value::Map(env) => drop(env.insert(REPLICA_VARIABLE.to_owned(), Value::from(number))),
        _ => {}
    }
}

/// Has the name of a declaration stand for all replicas, and reports names that are taken.
pub(super) fn resolve<D: Declaration>(
    declared: &[D],
    homelab: &mut Homelab,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for service in &homelab.services {
        let Some(replica) = &service.replica else { continue };
        groups.entry(replica.of.clone()).or_default().push(service.name.clone());
        let same =
            |it: &&D| ["service", "mount", "dataset"].contains(&it.kind()) && it.name() == service.name;
        if let Some(other) = declared.iter().find(same) {
            let message =
                format!("{} `{}` has the name of a replica of `{}`", other.kind(), service.name, replica.of);
            diagnostics.push(bad(other.source(), message).hint("give it another name").span(Span {
                label: format!("`{}` is declared here", replica.of),
                ..Span::point(service.source.clone())
            }));
        }
    }
    if groups.is_empty() {
        return;
    }
    for backup in homelab.service_backups.iter().filter(|it| groups.contains_key(&it.service)) {
        let message = format!("service `{}`: `backup` cannot be of one that has replicas", backup.service);
        diagnostics.push(bad(&backup.source, message).hint("back up what they share as a `dataset`"));
    }
    let expand = |names: &mut Vec<String>| {
        let each = |name: &String| groups.get(name).cloned().unwrap_or_else(|| vec![name.clone()]);
        *names = names.iter().flat_map(each).collect();
        names.sort_unstable();
        names.dedup();
    };
    for service in &mut homelab.services {
        if let Some((lender, members)) = service.via.as_ref().and_then(|via| groups.get_key_value(via)) {
            let message = format!(
                "service `{}`: `network`: `{lender}` stands for {} services, each with a network of its own",
                service.name,
                members.len()
            );
            let hint = format!("name one of them: via(\"{}\")", members[0]);
            diagnostics.push(bad(&service.source, message).hint(hint));
        }
        expand(&mut service.needs);
        expand(&mut service.wants);
    }
    homelab.setups.iter_mut().for_each(|setup| expand(&mut setup.needs));
}
