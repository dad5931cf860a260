//! The world that simulated scripts act on, and the primitive they act through.

use std::sync::Arc;
use std::time::Duration;

use hob_engine::{InlinePerformer, Performer, Turns};
use hob_model::{OpError, Position, RunId, Value};
use hob_primitive::{Args, Ctx, Operation, Probe};

use super::Sabotage;
use super::sim::{Place, Sim, State};
use super::witness::Act;

/// The port.
pub(super) struct World(pub(super) Arc<Sim>);

/// What the world answers to an effect: the same whenever, and however often, it is asked.
pub(super) fn answer(label: &str) -> i64 {
    let hash =
        label.bytes().fold(2_166_136_261_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619));
    i64::from(hash % 97)
}

fn gone() -> OpError {
    OpError::failed("the process is gone").retryable(false)
}

/// The effect reaches the world. Looking at it does no harm, also when nothing can be recorded any more.
fn reaches(state: &mut State, act: Act) {
    match state.stopped {
        Some(_) if !act.class().acts() => {}
        Some(stopped) if stopped < act.cleared => {
            let (label, at, cleared) = (&act.label, &act.position, act.cleared);
            let rule =
                format!("{label} at {at} acts, cleared at {cleared}, after the journal stopped at {stopped}");
            state.witness.broken(rule);
        }
        _ => state.witness.act(act),
    }
}

/// How an effect goes wrong.
enum Mishap {
    /// Nothing happened, and the error says so.
    Refused(OpError),
    /// Nothing happened, but nobody can know.
    Lost(OpError),
    /// It happened, and an error came back all the same.
    Ambiguous(OpError),
}

impl World {
    /// One effect.
    fn act(&self, cx: &Ctx, label: &str) -> Result<Value, OpError> {
        let sim = &self.0;
        let cleared = sim.cleared();
        sim.breathe();
        sim.moment(Place::Act);
        if sim.is_dead() {
            return Err(gone());
        }
        let run = RunId::parse(cx.run()).expect("the engine gives ids");
        let position = Position::trusted(cx.position());
        let mishap = self.mishap(run, &position, label);
        match mishap {
            Some(Mishap::Refused(error) | Mishap::Lost(error)) => return Err(error),
            _ if self.told_to_stop(cx) => return Err(OpError::cancelled("told to stop").retryable(false)),
            _ => {}
        }
        let act = Act { run, position, key: cx.key().to_owned(), label: label.to_owned(), cleared };
        if sim.sabotage() == Some(Sabotage::ActTwice) && sim.lock().rng.u8(..8) == 0 {
            sim.lock().witness.act(act.clone());
        }
        reaches(&mut sim.lock(), act);
        sim.moment(Place::Act);
        sim.breathe();
        if sim.is_dead() {
            return Err(gone());
        }
        if self.told_to_stop(cx) {
            return Err(OpError::cancelled("told to stop").retryable(false));
        }
        match mishap {
            Some(Mishap::Ambiguous(error)) => Err(error),
            _ => Ok(Value::Int(answer(label))),
        }
    }

    fn told_to_stop(&self, cx: &Ctx) -> bool {
        cx.cancel().is_cancelled() && self.0.lock().rng.bool()
    }

    /// Whether something goes wrong. In a tame world only what is hidden by the engine's own attempts.
    fn mishap(&self, run: RunId, position: &Position, label: &str) -> Option<Mishap> {
        let mut state = self.0.lock();
        if !state.plan.faulty || state.rng.u8(..100) >= 6 {
            return None;
        }
        let tame = state.plan.tame;
        let hidden_max = 2; // the default is three attempts
        let failures = state.failures.entry((run, position.clone())).or_insert(0);
        if tame && *failures >= hidden_max {
            return None;
        }
        *failures += 1;
        let once = label.starts_with('o');
        let busy = || OpError::unavailable("busy");
        Some(match state.rng.u8(..8) {
            0..=3 => Mishap::Refused(busy().nothing_happened()),
            4 if !once || !tame => Mishap::Lost(busy()),
            5 if !once || !tame => Mishap::Ambiguous(OpError::timeout("no answer")),
            6 if !tame => Mishap::Ambiguous(OpError::failed("broken")),
            7 if !tame => Mishap::Refused(OpError::failed("broken").nothing_happened()),
            _ => return None,
        })
    }

    /// Whether the effect with this key happened.
    fn probe(&self, cx: &Ctx, label: &str) -> Result<Probe, OpError> {
        let sim = &self.0;
        sim.moment(Place::Act);
        if sim.is_dead() {
            return Err(gone());
        }
        let mut state = sim.lock();
        if state.plan.faulty && !state.plan.tame && state.rng.u8(..10) == 0 {
            return Ok(Probe::Unknown("the other side does not answer".to_owned()));
        }
        let done = state.witness.by_key.contains_key(cx.key());
        state.witness.tell(|| format!("  probe {} {}: {done}", cx.position(), label));
        Ok(if done { Probe::Done(Value::Int(answer(label))) } else { Probe::NotDone })
    }
}

/// Performs on the calling thread; pauses pass the turn instead of time.
pub(super) struct TurnPerformer(pub(super) Arc<Sim>);

impl Performer for TurnPerformer {
    fn perform(&self, operation: &Arc<Operation>, ctx: &Ctx, args: Args) -> Result<Value, OpError> {
        InlinePerformer.perform(operation, ctx, args)
    }

    fn pause(&self, ctx: &Ctx, _: Duration) -> bool {
        self.0.clear();
        self.0.turns.pass();
        !ctx.cancel().is_cancelled()
    }
}

/// What simulated scripts do.
#[hob_primitive::primitive(name = "sim")]
pub(super) mod api {
    use std::sync::Arc;

    use hob_model::{OpError, Value};
    use hob_primitive::{Args, Ctx, Probe};

    use super::World;

    type Result<T> = std::result::Result<T, OpError>;

    fn world(cx: &Ctx) -> Result<Arc<World>> {
        cx.port::<World>()
    }

    /// Looks.
    ///
    /// Class `observe`: it changes nothing.
    ///
    /// ```rhai
    /// sim::look("p1")
    /// ```
    #[operation(observe, returns = "int")]
    fn look(cx: &Ctx, what: String) -> Result<Value> {
        world(cx)?.act(cx, &what)
    }

    /// Makes something so.
    ///
    /// Class `ensure`: doing it twice is harmless.
    ///
    /// ```rhai
    /// sim::make("e1")
    /// ```
    #[operation(ensure, returns = "int")]
    fn make(cx: &Ctx, what: String) -> Result<Value> {
        world(cx)?.act(cx, &what)
    }

    /// Acts; the world knows the key afterwards.
    ///
    /// Class `keyed`: the world is asked for the key.
    ///
    /// ```rhai
    /// sim::put("k1")
    /// ```
    #[operation(keyed, returns = "int", probe = probe_put)]
    fn put(cx: &Ctx, what: String) -> Result<Value> {
        world(cx)?.act(cx, &what)
    }

    fn probe_put(cx: &Ctx, args: Args) -> Result<Probe> {
        let mut args = args;
        let what: String = args.next("what")?;
        world(cx)?.probe(cx, &what)
    }

    /// Acts, and nobody can tell afterwards.
    ///
    /// Class `once`.
    ///
    /// ```rhai
    /// sim::fire("o1")
    /// ```
    #[operation(once, returns = "int")]
    fn fire(cx: &Ctx, what: String) -> Result<Value> {
        world(cx)?.act(cx, &what)
    }

    /// Fails, always.
    ///
    /// Class `observe`: it changes nothing.
    ///
    /// ```rhai
    /// try { sim::fail("p1") } catch (e) { e.kind == "failed" }
    /// ```
    #[operation(observe, returns = "()")]
    fn fail(cx: &Ctx, what: String) -> Result<()> {
        world(cx)?.act(cx, &what)?;
        Err(OpError::failed(what).retryable(false))
    }
}
