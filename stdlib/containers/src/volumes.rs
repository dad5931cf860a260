//! The operations on volumes.

pub(crate) use operations::primitive;

use hob_primitive::primitive;

/// Volumes of container engines.
#[primitive(name = "containers::volumes")]
mod operations {
    use bollard::models;
    use hob_model::{OpError, Value};
    use hob_primitive::{Args, Ctx, Options};

    use crate::life::engine;
    use crate::problem::{Subject, error};
    use crate::read::{Name, Pairs};
    use crate::view;

    /// For operations whose only option is the engine.
    #[derive(Debug, Options)]
    struct EngineOptions {
        /// The engine's socket: a path, `unix://…` or `tcp://…`.
        socket: Option<String>,
    }

    /// Lists volumes.
    ///
    /// Each has `name`, `driver`, `path`, `options` and `labels`.
    ///
    /// Class `observe`: it only looks.
    ///
    /// ```rhai,no_run
    /// containers::volumes::list().map(|v| v.path)
    /// ```
    #[operation(observe, permission = "containers.volumes.list", timeout = "30s", returns = "array")]
    async fn list(cx: Ctx, options: EngineOptions) -> Result<Value, OpError> {
        let engine = engine(&cx, options.socket.as_deref()).await?;
        let listed = engine.volumes().await;
        let listed = listed.map_err(|cause| error(&engine.address(), Subject::Engine, &cause))?;
        Ok(Value::Array(listed.into_iter().map(view::volume).collect()))
    }

    /// Options of `containers::volumes::ensure`.
    #[derive(Debug, Options)]
    struct EnsureOptions {
        /// `"local"` unless given.
        driver: Option<String>,
        /// Options of the driver: `#{ type: "nfs", o: "addr=nas", device: ":/media" }`.
        #[option(default = "Pairs::default()")]
        driver_opts: Pairs,
        /// Labels.
        #[option(default = "Pairs::default()")]
        labels: Pairs,
        /// The engine's socket: a path, `unix://…` or `tcp://…`.
        socket: Option<String>,
    }

    /// Makes a volume be there; gives `#{ name, path, changed }`.
    ///
    /// Class `ensure`: one that is there as declared stays.
    ///
    /// Fails with `conflict`, saying in what it differs, when there is another one of that name: there may be data in it,
    /// so that it is never made anew by itself.
    ///
    /// ```rhai,no_run
    /// containers::volumes::ensure("gitea-data", #{ labels: #{ backup: "daily" } }).path
    /// ```
    #[operation(ensure, permission = "containers.volumes.ensure:{name}", timeout = "1m", returns = "map",
                model = model_ensure)]
    async fn ensure(cx: Ctx, name: Name, options: EnsureOptions) -> Result<Value, OpError> {
        let engine = engine(&cx, options.socket.as_deref()).await?;
        let told = |cause| error(&engine.address(), Subject::Volume(&name.0), &cause);
        let listed = engine.volumes().await.map_err(told)?;
        if let Some(found) = listed.into_iter().find(|volume| volume.name == name.0) {
            let driver = options.driver.as_deref().unwrap_or("local");
            let differs =
                options.driver_opts.0.iter().find(|(key, value)| found.options.get(*key) != Some(value));
            let because = match differs {
                Some((key, value)) => Some(format!("its option {key} is not {value}")),
                None => (found.driver != driver).then(|| format!("its driver is {}", found.driver)),
            };
            return match because {
                None => Ok(ensured(found.name, found.mountpoint, false)),
                Some(because) => {
                    Err(OpError::conflict(format!("volume {} is another one: {because}", name.0))
                        .hint("move its data, and remove it with containers::volumes::remove"))
                }
            };
        }
        let request = models::VolumeCreateRequest {
            name: Some(name.0.clone()),
            driver: options.driver,
            driver_opts: Some(options.driver_opts.0.into_iter().collect()),
            labels: Some(options.labels.0.into_iter().collect()),
            cluster_volume_spec: None,
        };
        let made = engine.volume_create(request).await.map_err(told)?;
        Ok(ensured(made.name, made.mountpoint, true))
    }

    fn ensured(name: String, path: String, changed: bool) -> Value {
        Value::map([("name", name.into()), ("path", path.into()), ("changed", changed.into())])
    }

    fn model_ensure(_: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let name: Name = args.next("name")?;
        let _: EnsureOptions = args.options()?;
        Ok(ensured(name.0, String::new(), true))
    }

    /// Removes a volume with all that is in it; gives whether there was one.
    ///
    /// Class `ensure`: what is gone stays gone.
    ///
    /// Fails with `conflict` while containers use it.
    ///
    /// ```rhai,no_run
    /// containers::volumes::remove("scratch");
    /// ```
    #[operation(ensure, permission = "containers.volumes.remove:{name}", timeout = "5m", returns = "bool",
                model = model_remove)]
    async fn remove(cx: Ctx, name: Name, options: EngineOptions) -> Result<bool, OpError> {
        let engine = engine(&cx, options.socket.as_deref()).await?;
        match engine.volume_remove(&name.0).await {
            Ok(()) => Ok(true),
            Err(cause) if cause.is_absent() => Ok(false),
            Err(cause) => Err(error(&engine.address(), Subject::Volume(&name.0), &cause)),
        }
    }

    fn model_remove(_: &Ctx, _: Args) -> Result<Value, OpError> {
        Ok(Value::Bool(true))
    }
}
