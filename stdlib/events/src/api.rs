//! The operations of `events`.

use hob_primitive::primitive;

/// The most events that one call gives.
pub const EVENTS_MAX: u64 = 10_000;
/// How many events back a call looks that does not say from where.
pub const LOOK_BACK_EVENTS_MAX: u64 = 100_000;
/// Events that are read at one time.
const EVENTS_AT_ONCE: usize = 1_000;

pub use operations::primitive;

/// The event bus: what happened, by name, with what it carries.
///
/// Events are recorded in the order in which they come, and start the workflows that are declared `on: event("…")`.
/// The control `emit` does the same as `events::emit`; runs wait for an event with `wait_for`.
#[primitive(name = "events")]
mod operations {
    use std::collections::VecDeque;

    use hob_model::pattern::{fits, wildcard};
    use hob_model::{OpError, Value};
    use hob_primitive::{Args, BusEvent, Ctx, EventBus, Options, Probe};

    use super::{EVENTS_AT_ONCE, EVENTS_MAX, LOOK_BACK_EVENTS_MAX};

    /// Puts an event on the bus.
    ///
    /// Class `keyed`: the event says which call of which run it comes from, so that after a crash it is found and not
    /// told again.
    ///
    /// Fails with `invalid` for a name with blanks or of more than 256 bytes, and for a payload of more than 1 MiB.
    ///
    /// ```rhai
    /// events::emit("download.completed", #{ path: "/mnt/hot/film.mkv" });
    /// events::list(#{ pattern: "download.*" })[0].payload.path == "/mnt/hot/film.mkv"
    /// ```
    #[operation(keyed, permission = "events.emit:{name}", returns = "()", intent = note_last, probe = probe_emit, model = model_emit)]
    fn emit(cx: &Ctx, name: String, payload: Option<Value>) -> Result<(), OpError> {
        cx.port::<dyn EventBus>()?.emit(&name, payload.unwrap_or_default(), &origin(cx))
    }

    /// Which call it comes from.
    fn origin(cx: &Ctx) -> String {
        format!("run:{}/{}", cx.run(), cx.position())
    }

    fn note_last(cx: &Ctx, _: Args) -> Result<Value, OpError> {
        Ok(Value::from(cx.port::<dyn EventBus>()?.last()?))
    }

    fn probe_emit(cx: &Ctx, _: Args) -> Result<Probe, OpError> {
        let (bus, origin) = (cx.port::<dyn EventBus>()?, origin(cx));
        let mut after = cx.noted().as_int().and_then(|id| u64::try_from(id).ok()).unwrap_or(0);
        loop {
            let events = bus.events(after, EVENTS_AT_ONCE)?;
            let Some(last) = events.last() else { return Ok(Probe::NotDone) };
            after = last.id;
            if events.iter().any(|event| event.origin == origin) {
                return Ok(Probe::Done(Value::Unit));
            }
        }
    }

    fn model_emit(_: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let name: String = args.next("name")?;
        let payload: Option<Value> = args.next("payload")?;
        hob_model::event::check(&name, &payload.unwrap_or_default())?;
        Ok(Value::Unit)
    }

    /// Which events.
    #[derive(Options)]
    struct ListOptions {
        /// Only events whose name matches; `*` stands for any characters.
        #[option(default = "\"*\".to_owned()")]
        pattern: String,
        /// Only events that carry this: fields that are equal, texts with `*`, arrays for any of their items.
        r#where: Option<Value>,
        /// Only events after the one with this number; then the first ones are given, otherwise the latest.
        after: Option<u64>,
        /// At most so many, up to 10000.
        #[option(default = "100")]
        limit: u64,
    }

    /// Gives events that were recorded, the oldest first: maps of `id name payload origin at`.
    ///
    /// Class `observe`: it looks at what is recorded.
    ///
    /// Without `after` it looks back over the latest 100000 events.
    ///
    /// ```rhai
    /// events::emit("disk.full", #{ path: "/mnt/a" });
    /// events::emit("disk.full", #{ path: "/mnt/b" });
    /// let found = events::list(#{ pattern: "disk.*", where: #{ path: "*/b" } });
    /// found.len() == 1 && events::list(#{ after: found[0].id }).len() == 0
    /// ```
    #[operation(observe, returns = "array of maps")]
    fn list(cx: &Ctx, options: ListOptions) -> Result<Value, OpError> {
        if options.limit > EVENTS_MAX {
            return Err(OpError::invalid(format!("one call gives up to {EVENTS_MAX} events"))
                .hint("go on with `after: ` and the id of the last one"));
        }
        let bus = cx.port::<dyn EventBus>()?;
        let limit = usize::try_from(options.limit).unwrap_or(usize::MAX);
        let filter = options.r#where.unwrap_or_default();
        let mut after = match options.after {
            Some(after) => after,
            None => bus.last()?.saturating_sub(LOOK_BACK_EVENTS_MAX),
        };
        let mut found = VecDeque::new();
        loop {
            let events = bus.events(after, EVENTS_AT_ONCE)?;
            let Some(last) = events.last() else { break };
            after = last.id;
            for event in events {
                if wildcard(&options.pattern, &event.name) && fits(&filter, &event.payload) {
                    found.push_back(value(event));
                }
            }
            if options.after.is_some() && found.len() >= limit {
                found.truncate(limit);
                break;
            }
            let surplus = found.len().saturating_sub(limit);
            found.drain(..surplus);
        }
        Ok(Value::Array(found.into()))
    }

    fn value(event: BusEvent) -> Value {
        Value::map([
            ("id", Value::from(event.id)),
            ("name", Value::from(event.name)),
            ("payload", event.payload),
            ("origin", Value::from(event.origin)),
            ("at", Value::from(event.at.to_string())),
        ])
    }
}
