//! Carrying out effects for real.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hob_engine::Performer;
use hob_model::{OpError, Value};
use hob_primitive::{Args, BoxFuture, Ctx, Handler, Look, Operation, Probe};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

/// Threads of the async core. Blocking work has threads of its own.
const ASYNC_THREADS: usize = 2;

/// The async core, started when the first part needs it, so that a script without such effects does not pay for it.
#[derive(Clone, Default)]
pub struct AsyncCore(Arc<Lazy>);

/// A runtime that may be dropped anywhere. The last owner may be a task of the runtime itself, such as one that listens
/// to signals, and a thread of a runtime must not wait for that runtime's end.
#[derive(Default)]
struct Lazy(OnceLock<Runtime>);

impl Drop for Lazy {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl AsyncCore {
    /// The runtime.
    ///
    /// # Panics
    /// When the system gives no threads at all.
    #[must_use]
    pub fn runtime(&self) -> &Runtime {
        self.0.0.get_or_init(|| {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(ASYNC_THREADS).thread_name("hob-async").enable_all();
            builder.build().expect("the system gives two threads and an event queue")
        })
    }
}

/// Runs blocking operations on the calling script's thread and asynchronous ones on the async core.
#[derive(Clone, Default)]
pub struct LivePerformer {
    core: AsyncCore,
}

impl LivePerformer {
    /// A performer on this core.
    #[must_use]
    pub fn new(core: AsyncCore) -> Self {
        Self { core }
    }
}

impl Performer for LivePerformer {
    fn perform(&self, operation: &Arc<Operation>, ctx: &Ctx, args: Args) -> Result<Value, OpError> {
        match operation.handler {
            Handler::Pure(f) => f(args),
            Handler::Blocking(f) => f(ctx, args),
            Handler::Async(f) => {
                let grace = operation.grace.and_then(|text| hob_model::duration::parse(text).ok());
                self.wait_for(f(ctx.clone(), args), ctx, operation.name, grace.unwrap_or_default())
            }
        }
    }

    fn note(&self, intent: Look<Value>, ctx: &Ctx, args: Args) -> Result<Value, OpError> {
        self.look(intent, ctx, args)
    }

    fn probe(&self, probe: Look<Probe>, ctx: &Ctx, args: Args) -> Result<Probe, OpError> {
        self.look(probe, ctx, args)
    }
}

impl LivePerformer {
    fn look<T: Send + 'static>(&self, look: Look<T>, ctx: &Ctx, args: Args) -> Result<T, OpError> {
        match look {
            Look::Blocking(f) => f(ctx, args),
            Look::Async(f) => self.wait_for(f(ctx.clone(), args), ctx, "looking", Duration::ZERO),
        }
    }

    /// Runs `work` on the async core and blocks until it is done, within the limits of `ctx`.
    fn wait_for<T: Send + 'static>(
        &self,
        work: BoxFuture<T>,
        ctx: &Ctx,
        name: &'static str,
        grace: Duration,
    ) -> Result<T, OpError> {
        let (reply, outcome) = oneshot::channel();
        let ctx = ctx.clone();
        self.core.runtime().spawn(async move {
            let result = within_limits(work, &ctx, name, grace).await;
            // Nobody listens any more only when the process is about to end.
            let _ = reply.send(result);
        });
        outcome
            .blocking_recv()
            .unwrap_or_else(|_| Err(OpError::failed(format!("{name} panicked; this is a bug of hob"))))
    }
}

/// What `work` gives; when its time is up or it is cancelled, the refusal, after `grace` to clean up at most.
async fn within_limits<T>(
    mut work: BoxFuture<T>,
    ctx: &Ctx,
    name: &str,
    grace: Duration,
) -> Result<T, OpError> {
    let refusal = tokio::select! {
        result = &mut work => return result,
        () = ctx.cancel().cancelled() => OpError::cancelled(format!("{name} was cancelled")),
        limit = expired(ctx.timeout()) => too_slow(limit),
    };
    // The operation looks at the same limits, and knows better what became of it.
    if grace.is_zero() {
        return Err(refusal);
    }
    tokio::time::timeout(grace, work).await.unwrap_or(Err(refusal))
}

/// Resolves when the time limit, if there is one, is over.
async fn expired(timeout: Option<Duration>) -> Duration {
    match timeout {
        Some(limit) => {
            tokio::time::sleep(limit).await;
            limit
        }
        None => std::future::pending().await,
    }
}

fn too_slow(limit: Duration) -> OpError {
    OpError::timeout(format!("it took longer than {}", hob_model::duration::format(limit)))
        .hint("allow more with timeout: \"…\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Doors that are asked on the async core.
    #[hob_primitive::primitive(name = "doors")]
    mod api {
        use hob_model::{OpError, Value};
        use hob_primitive::{Args, Ctx, Probe};

        async fn look(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
            tokio::task::yield_now().await;
            Ok(Value::from(format!("{} by {}", args.next::<String>("door")?, cx.key())))
        }

        async fn was_opened(cx: &Ctx, args: Args) -> Result<Probe, OpError> {
            Ok(Probe::Done(look(cx, args).await?))
        }

        /// Opens a door.
        ///
        /// Class `keyed`: a door knows who opened it.
        #[operation(keyed, intent = async look, probe = async was_opened)]
        async fn open(cx: &Ctx, _door: String) -> Result<Value, OpError> {
            Ok(cx.noted().clone())
        }
    }

    #[test]
    fn intents_and_probes_may_run_on_the_async_core() {
        let performer = LivePerformer::default();
        let primitive = api::primitive();
        let operation = Arc::new(primitive.operations.into_iter().next().unwrap());
        let keyed = operation.keyed.unwrap();
        let ctx = hob_testkit::Harness::new().context(Value::Unit);
        let args = || operation.read_args(vec![Value::from("front")]);
        let seen = Value::from(format!("front by {}", ctx.key()));
        assert_eq!(performer.note(keyed.intent.unwrap(), &ctx, args()), Ok(seen.clone()));
        assert_eq!(performer.probe(keyed.probe, &ctx, args()), Ok(Probe::Done(seen)));
    }

    #[test]
    fn the_last_owner_may_be_a_task_of_the_core() {
        let core = AsyncCore::default();
        let (ended, end) = std::sync::mpsc::channel();
        let owner = core.clone();
        let (go, gone) = oneshot::channel::<()>();
        core.runtime().spawn(async move {
            let _ = gone.await;
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(owner)));
            let _ = ended.send(outcome.is_ok());
        });
        drop(core);
        let _ = go.send(());
        assert_eq!(end.recv(), Ok(true));
    }
}
