//! The operations of `services`.

use hob_primitive::primitive;

pub use operations::primitive;

/// The services that the homelab declares: what they do, and what they shall do.
///
/// A run asks the keeper of `hob up`, which goes through the same gates as at boot: what a service needs is ready before it
/// starts, and what needs it stops before it does. While a run holds a service, nobody else touches it; the hold ends with
/// the run, also when hob or the machine was down in between.
#[primitive(name = "services")]
mod operations {
    use std::time::Duration;

    use hob_model::{OpError, Value};
    use hob_primitive::{Args, Ctx, Options, Patience, Probe, ServiceRequest, Services};

    fn ask(cx: &Ctx, name: &str, request: &ServiceRequest) -> Result<Value, OpError> {
        let patience = Patience { timeout: cx.timeout(), cancel: cx.cancel() };
        cx.port::<dyn Services>()?.ask(cx.run(), name, request, patience)
    }

    fn find(cx: &Ctx, name: &str) -> Result<Value, OpError> {
        cx.port::<dyn Services>()?.status(name)
    }

    /// Lists the services: maps of `name tier kind state ready held note instance`.
    ///
    /// Class `observe`: it looks at what the keeper knows.
    ///
    /// Fails with `unavailable` in a process that keeps no services.
    ///
    /// ```rhai,no_run
    /// services::list().filter(|it| !it.ready).map(|it| it.name)
    /// ```
    #[operation(observe, returns = "array of maps")]
    fn list(cx: &Ctx) -> Result<Value, OpError> {
        Ok(Value::Array(cx.port::<dyn Services>()?.list()?))
    }

    /// Tells what one service does, as `services::list` does of all.
    ///
    /// Class `observe`: it looks at what the keeper knows.
    ///
    /// Fails with `not_found`, naming the nearest.
    ///
    /// ```rhai,no_run
    /// services::status("postgres").state == "ready"
    /// ```
    #[operation(observe, returns = "map")]
    fn status(cx: &Ctx, name: String) -> Result<Value, OpError> {
        find(cx, &name)
    }

    /// Starts a service after what it needs, and waits until it is ready. Gives it as `services::status` does.
    ///
    /// Class `ensure`: one that is ready stays as it is.
    ///
    /// Fails with `failed` when it does not get ready, with its last line; `conflict` when somebody else holds it;
    /// `not_found`, naming the nearest.
    ///
    /// ```rhai,no_run
    /// services::start("gitea").ready
    /// ```
    #[operation(ensure, permission = "services.start:{name}", timeout = "15m", returns = "map", model = model_start)]
    fn start(cx: &Ctx, name: String) -> Result<Value, OpError> {
        ask(cx, &name, &ServiceRequest::Start)
    }

    fn model_start(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let name: String = args.next("name")?;
        let Value::Map(mut service) = find(cx, &name)? else { return Ok(Value::Unit) };
        service.insert("state".to_owned(), Value::from("ready"));
        service.insert("ready".to_owned(), Value::Bool(true));
        Ok(Value::Map(service))
    }

    /// Stops a service after everything that needs it. Gives the names of those that were stopped, in the order in which to
    /// start them again.
    ///
    /// It stays stopped until somebody starts it; one that the run holds comes back when the hold ends.
    ///
    /// Class `ensure`: one that does not run stays as it is.
    ///
    /// Fails with `conflict` when somebody else holds it, or what needs it; `failed` when it cannot be stopped; `not_found`,
    /// naming the nearest.
    ///
    /// ```rhai,no_run
    /// let stopped = services::stop("postgres");
    /// process::run(["cp", "-a", "/srv/postgres", "/backup/"]);
    /// for name in stopped { services::start(name); }
    /// ```
    #[operation(ensure, permission = "services.stop:{name}", timeout = "15m", returns = "array of strings", model = model_stop)]
    fn stop(cx: &Ctx, name: String) -> Result<Value, OpError> {
        ask(cx, &name, &ServiceRequest::Stop)
    }

    fn model_stop(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let name: String = args.next("name")?;
        let names = cx.port::<dyn Services>()?.stops_with(&name)?;
        Ok(Value::Array(names.into_iter().map(Value::from).collect()))
    }

    /// Stops a service with what needs it, and starts them again, in order. Gives it as `services::status` does.
    ///
    /// Class `keyed`: the intent notes which life of the service ends; after a crash another one that runs says that it was
    /// restarted.
    ///
    /// Fails as `services::start`.
    ///
    /// ```rhai,no_run
    /// services::restart("jellyfin");
    /// ```
    #[operation(keyed, permission = "services.restart:{name}", timeout = "15m", returns = "map", model = model_start,
        intent = note_instance, probe = probe_restart)]
    fn restart(cx: &Ctx, name: String) -> Result<Value, OpError> {
        ask(cx, &name, &ServiceRequest::Restart)
    }

    fn note_instance(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let name: String = args.next("name")?;
        Ok(find(cx, &name)?.get("instance").cloned().unwrap_or_default())
    }

    fn probe_restart(cx: &Ctx, mut args: Args) -> Result<Probe, OpError> {
        let name: String = args.next("name")?;
        let service = find(cx, &name)?;
        let instance = service.get("instance").cloned().unwrap_or_default();
        let lives_anew = instance != Value::Unit && instance != *cx.noted();
        Ok(if lives_anew { Probe::Done(service) } else { Probe::NotDone })
    }

    /// How to update.
    #[derive(Options)]
    struct UpdateOptions {
        /// Whether the new image is only fetched.
        #[option(default = "false")]
        dry_run: bool,
    }

    /// Asks the registry for the image of a service, and if there is a newer one, tries it: it stays when the service gets
    /// ready with it and runs well for the `settle` of its declaration, else the service is made from the old one again.
    ///
    /// Gives a map of `service image result state note`, with `from to` where there is a newer image. `result` is `current`,
    /// `updated`, `rolled_back`, `available` with `dry_run`, `rejected` where it was rolled back from this image before, or
    /// `stopped` when somebody stopped the service meanwhile.
    ///
    /// Class `ensure`: one that is made from what its name stands for stays as it is.
    ///
    /// Fails with `failed` when it has no image, the image cannot be fetched, or the function that runs before the update
    /// fails; `conflict` when somebody else holds it, or what needs it; `not_found`, naming the nearest.
    ///
    /// ```rhai,no_run
    /// for it in services::list().filter(|it| it.image != ()) {
    ///     let told = services::update(it.name);
    ///     if told.result == "rolled_back" { log::warn(it.name + ": " + told.note); }
    /// }
    /// ```
    #[operation(ensure, permission = "services.update:{name}", timeout = "1h", returns = "map", model = model_update)]
    fn update(cx: &Ctx, name: String, options: UpdateOptions) -> Result<Value, OpError> {
        ask(cx, &name, &ServiceRequest::Update { dry_run: options.dry_run })
    }

    fn model_update(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let name: String = args.next("name")?;
        let options: UpdateOptions = args.options()?;
        let service = find(cx, &name)?;
        let field = |key: &str| service.get(key).cloned().unwrap_or_default();
        let result = if options.dry_run { "available" } else { "updated" };
        Ok(Value::map([
            ("service", Value::from(name)),
            ("image", field("image")),
            ("result", Value::from(result)),
            ("state", field("state")),
            ("note", Value::from("")),
        ]))
    }

    /// Waits until a service is ready, without starting it. Gives it as `services::status` does.
    ///
    /// Class `observe`: it only looks.
    ///
    /// Fails with `failed` when it will not get ready by itself; `timeout`; `not_found`, naming the nearest.
    ///
    /// ```rhai,no_run
    /// services::wait_ready("postgres", #{ timeout: "2m" });
    /// ```
    #[operation(observe, timeout = "5m", returns = "map")]
    fn wait_ready(cx: &Ctx, name: String) -> Result<Value, OpError> {
        ask(cx, &name, &ServiceRequest::WaitReady)
    }

    /// How to hold.
    #[derive(Options)]
    struct HoldOptions {
        /// For how long at most; until the run ends when absent.
        lasting: Option<Duration>,
        /// Why, for people.
        #[option(default = "String::new()")]
        reason: String,
    }

    /// Takes a service out of the keeper's care: it is not restarted, repaired or updated until `services::release`, or until
    /// the run ends. Gives it as `services::status` does.
    ///
    /// Class `ensure`: a run holds a service once.
    ///
    /// Fails with `not_found`, naming the nearest.
    ///
    /// ```rhai,no_run
    /// services::hold("postgres", #{ reason: "cold backup" });
    /// services::stop("postgres");
    /// process::run(["cp", "-a", "/srv/postgres", "/backup/"]);
    /// services::release("postgres");
    /// ```
    #[operation(ensure, permission = "services.hold:{name}", returns = "map", model = model_hold)]
    fn hold(cx: &Ctx, name: String, options: HoldOptions) -> Result<Value, OpError> {
        ask(cx, &name, &ServiceRequest::Hold { duration: options.lasting, reason: options.reason })
    }

    fn model_hold(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let name: String = args.next("name")?;
        find(cx, &name)
    }

    /// Gives a service back into the keeper's care: what the run stopped of it starts again. Other holds stay. Gives it as
    /// `services::status` does.
    ///
    /// Class `ensure`: one that the run does not hold stays as it is.
    ///
    /// Fails with `not_found`, naming the nearest.
    ///
    /// ```rhai,no_run
    /// services::release("postgres");
    /// ```
    #[operation(ensure, permission = "services.release:{name}", returns = "map", model = model_hold)]
    fn release(cx: &Ctx, name: String) -> Result<Value, OpError> {
        ask(cx, &name, &ServiceRequest::Release)
    }
}
