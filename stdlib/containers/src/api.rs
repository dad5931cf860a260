//! The operations on containers.

pub(crate) use operations::primitive;

use hob_primitive::primitive;

/// Containers of Docker and Podman.
///
/// The engine is found by convention (`CONTAINER_HOST`, `DOCKER_HOST`, then the usual sockets of Podman and Docker);
/// every operation takes `socket` to name another one. Options of `create` and `ensure` are the keys of a service in the
/// Compose specification.
#[primitive(name = "containers")]
mod operations {
    use std::time::Duration;

    use hob_model::{OpError, Value};
    use hob_primitive::{Args, Ctx, Options, Probe};

    use crate::life::{self, engine, told};
    use crate::observe::{self, LogsOptions, WaitOptions};
    use crate::options::ComposeSpec;
    use crate::port::Filters;
    use crate::problem::{Subject, error, explain, listed, too_late};
    use crate::read::{Name, Pairs};
    use crate::run::{self, ExecOptions};
    use crate::secrets::Handed;
    use crate::view;

    /// For operations whose only option is the engine.
    #[derive(Debug, Options)]
    struct EngineOptions {
        /// The engine's socket: a path, `unix://…` or `tcp://…`.
        socket: Option<String>,
    }

    /// Options of `containers::list`.
    #[derive(Debug, Options)]
    struct ListOptions {
        /// Only running ones, with `false` (`true` unless given).
        #[option(default = "true")]
        all: bool,
        /// Only those whose name has this in it.
        name: Option<String>,
        /// Only those with these labels.
        labels: Option<Pairs>,
        /// Only those in this state: `running`, `exited`, `created`, `paused`.
        state: Option<String>,
        /// The engine's socket: a path, `unix://…` or `tcp://…`.
        socket: Option<String>,
    }

    /// Lists containers.
    ///
    /// Each has `id`, `name`, `image`, `image_id`, `command`, `created_at`, `state`, `status`, `health`, `ports`, `labels`,
    /// `networks` (a map of names to addresses) and `mounts`.
    ///
    /// Class `observe`: it only looks.
    ///
    /// ```rhai,no_run
    /// let tired = containers::list(#{ state: "exited" }).map(|c| c.name);
    /// log::info(`these have ended: ${tired}`);
    /// ```
    #[operation(observe, permission = "containers.list", timeout = "30s", returns = "array")]
    async fn list(cx: Ctx, options: ListOptions) -> Result<Value, OpError> {
        let engine = engine(&cx, options.socket.as_deref()).await?;
        let mut filters = Filters::new();
        if let Some(labels) = options.labels {
            let texts = labels.0.iter().map(|(key, value)| format!("{key}={value}"));
            filters.insert("label".to_owned(), texts.collect());
        }
        if let Some(state) = options.state {
            filters.insert("status".to_owned(), vec![state]);
        }
        let listed = listed(&*engine, options.all, &filters).await;
        let listed = listed.map_err(|cause| error(&engine.address(), Subject::Engine, &cause))?;
        let shown = listed.into_iter().map(view::summary).filter(|container| {
            let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
            options.name.as_ref().is_none_or(|wanted| name.contains(wanted.as_str()))
        });
        Ok(Value::Array(shown.collect()))
    }

    /// Gives one container.
    ///
    /// It has what `list` gives, and `running`, `started_at`, `finished_at`, `exit_code`, `oom_killed`, `pid`,
    /// `restart_count`, `restart` and `network_mode`.
    ///
    /// Class `observe`: it only looks.
    ///
    /// Fails with `not_found`, naming the nearest name.
    ///
    /// ```rhai,no_run
    /// containers::get("gitea").running
    /// ```
    #[operation(observe, permission = "containers.get:{name}", timeout = "30s", returns = "map")]
    async fn get(cx: Ctx, name: Name, options: EngineOptions) -> Result<Value, OpError> {
        let engine = engine(&cx, options.socket.as_deref()).await?;
        life::get(&*engine, &name.0).await
    }

    /// Gives all that the engine knows about a container, in the form of the Docker Engine API.
    ///
    /// Class `observe`: it only looks. The environment is part of it, and secrets in it are.
    ///
    /// Fails with `not_found`, naming the nearest name.
    ///
    /// ```rhai,no_run
    /// containers::inspect("gitea").HostConfig.Memory
    /// ```
    #[operation(observe, permission = "containers.inspect:{name}", timeout = "30s", returns = "map")]
    async fn inspect(cx: Ctx, name: Name, options: EngineOptions) -> Result<Value, OpError> {
        let engine = engine(&cx, options.socket.as_deref()).await?;
        match engine.inspect(&name.0).await {
            Ok(found) => observe::whole(&found),
            Err(cause) => Err(explain(&*engine, Subject::Container(&name.0), cause).await),
        }
    }

    /// Makes a container; gives its `id` and `name`.
    ///
    /// It is started when `start: true`, and removed again if it does not start. The image is fetched if it is not here
    /// (`pull_policy`).
    ///
    /// Class `keyed`: the container carries the key of this call as a label. After a crash it is found by that label and
    /// adopted, so that there is exactly one.
    ///
    /// Fails with `conflict` when the name or a port is taken, `not_found` when there is no such image, and as
    /// `containers::images::pull`.
    ///
    /// ```rhai,no_run
    /// containers::create("scratch", #{ image: "docker.io/library/alpine:3.20", command: "sleep 1h", start: true });
    /// ```
    #[operation(keyed, permission = "containers.create:{name}", timeout = "15m", returns = "map",
                model = model_create, probe = async probe_create)]
    async fn create(cx: Ctx, name: Name, options: ComposeSpec) -> Result<Value, OpError> {
        life::create(&cx, &name.0, &options.0).await
    }

    fn model_create(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let name: Name = args.next("name")?;
        let spec: ComposeSpec = args.options()?;
        Handed::of(cx, &name.0, &spec.0)?;
        crate::body::body(cx, &spec.0, None)?;
        Ok(life::created("", &name.0))
    }

    async fn probe_create(cx: &Ctx, mut args: Args) -> Result<Probe, OpError> {
        let name: Name = args.next("name")?;
        let spec: ComposeSpec = args.options()?;
        let engine = engine(cx, spec.0.socket.as_deref()).await?;
        Ok(match life::made_by(&*engine, cx.key()).await? {
            // What was made but not started is adopted by doing it again.
            Some(found) if spec.0.start != Some(true) || life::was_started(&found) => {
                Probe::Done(life::created(&life::id(&found), &name.0))
            }
            _ => Probe::NotDone,
        })
    }

    /// Makes a container be there as declared, and run; gives `#{ id, changed, recreated, because }`.
    ///
    /// Every field is compared with the container that is there; `because` says in words which ones differ. A container
    /// that differs is made anew: the old one is renamed and stopped, the new one started, and the old one removed. When
    /// the new one does not start, the old one is put back and the error says so. Volumes stay. With `start: false` it
    /// is not started.
    ///
    /// A secret among `secrets` is a file in memory that the container alone sees; one that has another value than the
    /// container was handed is a difference too. After a start of the machine the files are laid out by the next `ensure`,
    /// and not by the engine's own `restart`.
    ///
    /// Class `ensure`: it looks before it acts, and what a crash left half done is put right by doing it again.
    ///
    /// Fails as `containers::create`.
    ///
    /// ```rhai,no_run
    /// let web = containers::ensure("web", #{
    ///     image: "docker.io/library/nginx:1.27", ports: ["8080:80"],
    ///     volumes: ["/srv/www:/usr/share/nginx/html:ro"], restart: "unless-stopped",
    /// });
    /// if web.recreated { log::info(`web was made anew: ${web.because}`); }
    /// ```
    #[operation(ensure, permission = "containers.ensure:{name}", timeout = "15m", returns = "map", model = model_ensure)]
    async fn ensure(cx: Ctx, name: Name, options: ComposeSpec) -> Result<Value, OpError> {
        life::ensure(&cx, &name.0, &options.0).await
    }

    fn model_ensure(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let name: Name = args.next("name")?;
        let spec: ComposeSpec = args.options()?;
        Handed::of(cx, &name.0, &spec.0)?;
        crate::body::body(cx, &spec.0, None)?;
        Ok(life::modelled())
    }

    /// Starts a container; gives whether it was not running.
    ///
    /// Class `ensure`: one that runs stays as it is.
    ///
    /// Fails with `not_found`, and with `conflict` when a port is taken.
    ///
    /// ```rhai,no_run
    /// containers::start("gitea");
    /// ```
    #[operation(ensure, permission = "containers.start:{name}", timeout = "2m", returns = "bool", model = model_true)]
    async fn start(cx: Ctx, name: Name, options: EngineOptions) -> Result<bool, OpError> {
        let engine = engine(&cx, options.socket.as_deref()).await?;
        let found = life::existing(&*engine, &name.0).await?;
        if life::is_running(&found) {
            return Ok(false);
        }
        told(&*engine, &name.0, engine.start(&life::id(&found)).await)?;
        Ok(true)
    }

    fn model_true(_: &Ctx, _: Args) -> Result<Value, OpError> {
        Ok(Value::Bool(true))
    }

    /// Options of `containers::stop` and `containers::restart`.
    #[derive(Debug, Options)]
    struct StopOptions {
        /// How long it may take before it is killed, instead of its own stop timeout.
        grace: Option<Duration>,
        /// The engine's socket: a path, `unix://…` or `tcp://…`.
        socket: Option<String>,
    }

    impl StopOptions {
        fn seconds(&self) -> Option<i32> {
            self.grace.map(|grace| i32::try_from(grace.as_secs()).unwrap_or(i32::MAX))
        }
    }

    /// Stops a container; gives whether it was running.
    ///
    /// It gets its stop signal, and SIGKILL after `grace` or its own stop timeout.
    ///
    /// Class `ensure`: one that does not run stays as it is.
    ///
    /// Fails with `not_found`.
    ///
    /// ```rhai,no_run
    /// containers::stop("gitea", #{ grace: "1m" });
    /// ```
    #[operation(ensure, permission = "containers.stop:{name}", timeout = "10m", returns = "bool", model = model_true)]
    async fn stop(cx: Ctx, name: Name, options: StopOptions) -> Result<bool, OpError> {
        let engine = engine(&cx, options.socket.as_deref()).await?;
        let found = life::existing(&*engine, &name.0).await?;
        if !life::is_running(&found) {
            return Ok(false);
        }
        told(&*engine, &name.0, engine.stop(&life::id(&found), options.seconds()).await)?;
        Ok(true)
    }

    /// Stops and starts a container; gives when it was started: `#{ started_at }`.
    ///
    /// Class `keyed`: the intent notes when the container was started last. After a crash a later start means that it
    /// happened, so that it is restarted exactly once.
    ///
    /// Fails with `not_found`.
    ///
    /// ```rhai,no_run
    /// containers::restart("gitea").started_at != ()
    /// ```
    #[operation(keyed, permission = "containers.restart:{name}", timeout = "10m", returns = "map",
                intent = async note_start, probe = async probe_restart, model = model_restart)]
    async fn restart(cx: Ctx, name: Name, options: StopOptions) -> Result<Value, OpError> {
        let engine = engine(&cx, options.socket.as_deref()).await?;
        let found = life::existing(&*engine, &name.0).await?;
        told(&*engine, &name.0, engine.restart(&life::id(&found), options.seconds()).await)?;
        let now = life::existing(&*engine, &name.0).await.map_err(too_late)?;
        Ok(life::restarted(&now))
    }

    async fn note_start(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let name: Name = args.next("name")?;
        let options: StopOptions = args.options()?;
        let engine = engine(cx, options.socket.as_deref()).await?;
        let found = life::existing(&*engine, &name.0).await?;
        Ok(life::start_note(&found))
    }

    async fn probe_restart(cx: &Ctx, mut args: Args) -> Result<Probe, OpError> {
        let name: Name = args.next("name")?;
        let options: StopOptions = args.options()?;
        let engine = engine(cx, options.socket.as_deref()).await?;
        life::what_became_of_restart(&*engine, &name.0, cx.noted()).await
    }

    fn model_restart(cx: &Ctx, _: Args) -> Result<Value, OpError> {
        Ok(Value::map([("started_at", Value::from(cx.now().to_string()))]))
    }

    /// Options of `containers::kill`.
    #[derive(Debug, Options)]
    struct KillOptions {
        /// The signal.
        #[option(default = "\"SIGKILL\".to_owned()")]
        signal: String,
        /// The engine's socket: a path, `unix://…` or `tcp://…`.
        socket: Option<String>,
    }

    /// Sends a signal to the main process of a container.
    ///
    /// Class `once`: a second SIGHUP is a second reload, and nobody can tell whether the first arrived.
    ///
    /// Fails with `not_found`, and with `conflict` when it does not run.
    ///
    /// ```rhai,no_run
    /// containers::kill("caddy", #{ signal: "SIGUSR1" });
    /// ```
    #[operation(once, permission = "containers.kill:{name}", timeout = "1m", returns = "()")]
    async fn kill(cx: Ctx, name: Name, options: KillOptions) -> Result<(), OpError> {
        let engine = engine(&cx, options.socket.as_deref()).await?;
        let found = life::existing(&*engine, &name.0).await?;
        if !life::is_running(&found) {
            return Err(OpError::conflict(format!("container {} is not running", name.0)).nothing_happened());
        }
        told(&*engine, &name.0, engine.kill(&life::id(&found), &options.signal).await)
    }

    /// Options of `containers::remove`.
    #[derive(Debug, Options)]
    struct RemoveOptions {
        /// Whether it is removed although it runs.
        #[option(default = "false")]
        force: bool,
        /// Whether its volumes without a name go too.
        #[option(default = "false")]
        volumes: bool,
        /// The engine's socket: a path, `unix://…` or `tcp://…`.
        socket: Option<String>,
    }

    /// Removes a container; gives whether there was one.
    ///
    /// Class `ensure`: one that is gone stays gone.
    ///
    /// Fails with `conflict` when it runs and `force` is not given.
    ///
    /// ```rhai,no_run
    /// containers::remove("scratch", #{ force: true });
    /// ```
    #[operation(ensure, permission = "containers.remove:{name}", timeout = "5m", returns = "bool", model = model_true)]
    async fn remove(cx: Ctx, name: Name, options: RemoveOptions) -> Result<bool, OpError> {
        let engine = engine(&cx, options.socket.as_deref()).await?;
        life::remove(&cx, &*engine, &name.0, options.force, options.volumes).await
    }

    /// Runs a program in a container and gives what it wrote: `#{ code, stdout, stderr, … }`.
    ///
    /// `cmd` is an array, or a text that is split like a shell splits it, without a shell. An exit code that is not in
    /// `success` is an error, unless `check: false`.
    ///
    /// Class `once`: nobody can tell afterwards whether the program did its work; the engine forgets it. `idempotent:
    /// true` says that this one may simply run again.
    ///
    /// After a timeout the program and what it started are ended by a shell inside (`HOB_EXEC` in their environment tells
    /// them from others); `e.details.ended` is false where the container has none, and the program may go on.
    ///
    /// Fails with `not_found` when there is no such container or program, `conflict` when it does not run, `failed` with
    /// `code`, `stdout` and `stderr` in `e.details`, and `timeout`.
    ///
    /// ```rhai,no_run
    /// containers::exec("postgres", ["pg_isready", "-U", "postgres"], #{ user: "postgres" }).code == 0
    /// ```
    #[operation(once, permission = "containers.exec:{name}", timeout = "10m", grace = "10s", returns = "map", model = model_exec)]
    async fn exec(
        cx: Ctx,
        name: Name,
        cmd: crate::read::Words,
        options: ExecOptions,
    ) -> Result<Value, OpError> {
        run::exec(&cx, &name.0, cmd, options).await
    }

    fn model_exec(_: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let _: Name = args.next("name")?;
        let _: crate::read::Words = args.next("cmd")?;
        let _: ExecOptions = args.options()?;
        Ok(run::modelled())
    }

    /// Gives lines that a container wrote: an array of `#{ at, stream, line }`.
    ///
    /// With `follow` it waits so long for further lines; `until_match` ends it at the first line that fits.
    ///
    /// Class `observe`: it only looks.
    ///
    /// Fails with `not_found`, and with `invalid` when a pattern is none.
    ///
    /// ```rhai,no_run
    /// containers::logs("gitea", #{ lines: 100, grep: "(?i)error", since: "1h" }).map(|l| l.line)
    /// ```
    #[operation(observe, permission = "containers.logs:{name}", returns = "array")]
    async fn logs(cx: Ctx, name: Name, options: LogsOptions) -> Result<Value, OpError> {
        observe::logs(&cx, &name.0, options).await
    }

    /// Gives what a running container uses.
    ///
    /// `#{ cpu_percent, memory_bytes, memory_limit_bytes, processes, received_bytes, sent_bytes, read_bytes,
    /// written_bytes }`; 200 percent are two processors.
    ///
    /// Class `observe`: it only looks.
    ///
    /// Fails with `not_found`, with `conflict` when it does not run, and with `unavailable` when its engine does not
    /// count: one without root, on a machine without control groups v2.
    ///
    /// ```rhai,no_run
    /// containers::stats("gitea").memory_bytes < 512 * 1024 * 1024
    /// ```
    #[operation(observe, permission = "containers.stats:{name}", timeout = "30s", returns = "map")]
    async fn stats(cx: Ctx, name: Name, options: EngineOptions) -> Result<Value, OpError> {
        let engine = engine(&cx, options.socket.as_deref()).await?;
        let found = life::existing(&*engine, &name.0).await?;
        if !life::is_running(&found) {
            return Err(OpError::conflict(format!("container {} is not running", name.0)).nothing_happened());
        }
        let sample = told(&*engine, &name.0, engine.stats(&life::id(&found)).await)?;
        if sample.pids_stats.as_ref().and_then(|pids| pids.current).is_none() {
            // What such an engine reports is that of the whole machine.
            return Err(OpError::unavailable(format!("what {} uses is not counted by its engine", name.0))
                .hint("an engine without root needs control groups v2 for that")
                .retryable(false));
        }
        Ok(view::stats(&sample))
    }

    /// Waits until a container is in a condition; gives what `get` gives.
    ///
    /// `until` is `"stopped"` (unless given), `"running"`, `"healthy"` or `"removed"`, for which it gives `()`.
    ///
    /// Class `observe`: it only looks.
    ///
    /// Fails with `not_found`, with `failed` when it waits for a healthy one that ends, and with `timeout`.
    ///
    /// ```rhai,no_run
    /// containers::wait("migration", #{ timeout: "10m" }).exit_code == 0
    /// ```
    #[operation(observe, permission = "containers.wait:{name}", returns = "map or ()")]
    async fn wait(cx: Ctx, name: Name, options: WaitOptions) -> Result<Value, OpError> {
        observe::wait(&cx, &name.0, options).await
    }

    /// Options of `containers::prune`.
    #[derive(Debug, Options)]
    struct PruneOptions {
        /// Only those with these labels.
        labels: Option<Pairs>,
        /// Only those that were made longer ago.
        older_than: Option<Duration>,
        /// The engine's socket: a path, `unix://…` or `tcp://…`.
        socket: Option<String>,
    }

    /// Removes all containers that do not run; gives `#{ removed, freed_bytes }`.
    ///
    /// Class `ensure`: what is gone stays gone.
    ///
    /// ```rhai,no_run
    /// containers::prune(#{ older_than: "7d" }).removed
    /// ```
    #[operation(ensure, permission = "containers.prune", timeout = "10m", returns = "map", model = model_prune)]
    async fn prune(cx: Ctx, options: PruneOptions) -> Result<Value, OpError> {
        let engine = engine(&cx, options.socket.as_deref()).await?;
        let mut filters = Filters::new();
        if let Some(labels) = options.labels {
            let texts = labels.0.iter().map(|(key, value)| format!("{key}={value}"));
            filters.insert("label".to_owned(), texts.collect());
        }
        if let Some(age) = options.older_than {
            filters.insert("until".to_owned(), vec![format!("{}s", age.as_secs())]);
        }
        let pruned = engine.prune(filters).await;
        let (removed, bytes) = pruned.map_err(|cause| error(&engine.address(), Subject::Engine, &cause))?;
        Ok(observe::pruned(removed, bytes))
    }

    fn model_prune(_: &Ctx, _: Args) -> Result<Value, OpError> {
        Ok(observe::pruned(Vec::new(), 0))
    }
}
