//! The operations on images.

pub(crate) use operations::primitive;

use hob_model::Value;
use hob_primitive::{FromValue, Mismatch, Nested, Options, primitive};

/// Credentials of a registry as scripts write them.
#[derive(Options)]
struct AuthOptions {
    /// The user.
    username: String,
    /// The password or token.
    password: String,
}

/// `auth: #{ username, password }`
#[derive(Clone, PartialEq, Eq)]
pub struct Auth {
    /// The user.
    pub username: String,
    /// The password or token.
    pub password: String,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Auth({})", self.username)
    }
}

impl FromValue for Auth {
    const KIND: &'static str = "map";
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let AuthOptions { username, password } = Nested::read(value)?;
        Ok(Self { username, password })
    }
}

/// Images of container engines.
#[primitive(name = "containers::images")]
mod operations {
    use hob_model::{OpError, Value};
    use hob_primitive::{Args, Ctx, Options, PathText};

    use super::Auth;
    use crate::context;
    use crate::life::engine;
    use crate::observe::pruned;
    use crate::port::{BuildRequest, Engine};
    use crate::problem::{Subject, error};
    use crate::read::{ImageName, Pairs};
    use crate::transfer;
    use crate::view;

    /// Options of `containers::images::list`.
    #[derive(Debug, Options)]
    struct ListOptions {
        /// Only those with a name that has this in it.
        name: Option<String>,
        /// The engine's socket: a path, `unix://…` or `tcp://…`.
        socket: Option<String>,
    }

    /// Lists the images that are here.
    ///
    /// Each has `id`, `names`, `digests`, `created_at`, `bytes` and `labels`.
    ///
    /// Class `observe`: it only looks.
    ///
    /// ```rhai,no_run
    /// containers::images::list().filter(|i| i.names.is_empty()).map(|i| i.bytes)
    /// ```
    #[operation(observe, permission = "containers.images.list", timeout = "30s", returns = "array")]
    async fn list(cx: Ctx, options: ListOptions) -> Result<Value, OpError> {
        let engine = engine(&cx, options.socket.as_deref()).await?;
        let listed = engine.images().await;
        let listed = listed.map_err(|cause| error(&engine.address(), Subject::Engine, &cause))?;
        let wanted = listed.into_iter().filter(|image| {
            let fits = |name: &String| image.repo_tags.iter().any(|tag| tag.contains(name.as_str()));
            options.name.as_ref().is_none_or(fits)
        });
        Ok(Value::Array(wanted.map(view::image).collect()))
    }

    /// Options of `containers::images::pull`.
    #[derive(Debug, Options)]
    struct PullOptions {
        /// Credentials for the registry: `#{ username, password }`.
        auth: Option<Auth>,
        /// The platform: `"linux/arm64"`.
        platform: Option<String>,
        /// The engine's socket: a path, `unix://…` or `tcp://…`.
        socket: Option<String>,
    }

    /// Fetches an image; gives `#{ id, name, changed }`.
    ///
    /// Without tag and digest it is `:latest`. How far it is can be seen while it goes on.
    ///
    /// Class `ensure`: what is here already is not fetched again, and half an image is none.
    ///
    /// Fails with `not_found` when the registry has no such image, `denied` with wrong credentials, `unavailable` when the
    /// registry cannot be reached.
    ///
    /// ```rhai,no_run
    /// containers::images::pull("ghcr.io/home-operations/sonarr:4", #{ retry: #{ attempts: 3 } }).changed
    /// ```
    #[operation(ensure, permission = "containers.images.pull:{name}", timeout = "1h", returns = "map", model = model_pull)]
    async fn pull(cx: Ctx, name: ImageName, options: PullOptions) -> Result<Value, OpError> {
        let engine = engine(&cx, options.socket.as_deref()).await?;
        let platform = options.platform.as_deref();
        let changed = transfer::pull(&cx, &*engine, &name.0, options.auth.as_ref(), platform).await?;
        result(&*engine, &transfer::tagged(&name.0), Some(changed)).await
    }

    fn model_pull(_: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let name: ImageName = args.next("name")?;
        let _: PullOptions = args.options()?;
        Ok(modelled(&transfer::tagged(&name.0)))
    }

    fn modelled(name: &str) -> Value {
        Value::map([("id", "".into()), ("name", name.into()), ("changed", true.into())])
    }

    /// What an operation that makes an image gives.
    async fn result(engine: &dyn Engine, name: &str, changed: Option<bool>) -> Result<Value, OpError> {
        let image = engine.image(name).await;
        let image = image.map_err(|cause| error(&engine.address(), Subject::Image(name), &cause))?;
        Ok(Value::map([("id", image.id.into()), ("name", name.into()), ("changed", changed.into())]))
    }

    /// Options of `containers::images::build`.
    #[derive(Debug, Options)]
    struct BuildOptions {
        /// The name of the image.
        tag: ImageName,
        /// The file with the instructions, within the context.
        #[option(default = "\"Dockerfile\".to_owned()")]
        dockerfile: String,
        /// Build arguments.
        #[option(default = "Pairs::default()")]
        args: Pairs,
        /// The stage to stop at.
        target: Option<String>,
        /// Whether to build every layer anew.
        #[option(default = "false")]
        no_cache: bool,
        /// Whether to look for newer base images.
        #[option(default = "false")]
        pull: bool,
        /// Labels of the image.
        #[option(default = "Pairs::default()")]
        labels: Pairs,
        /// The engine's socket: a path, `unix://…` or `tcp://…`.
        socket: Option<String>,
    }

    /// Builds an image from a directory; gives `#{ id, name, changed }`.
    ///
    /// `.dockerignore` is honoured.
    ///
    /// Class `ensure`: a build that is done again gives the same name to what comes out.
    ///
    /// Fails with `not_found` when there is no such directory, and with what the build said in `e.details.output`.
    ///
    /// ```rhai,no_run
    /// containers::images::build("./site", #{ tag: "localhost/site:1", args: #{ VERSION: "7" } }).id
    /// ```
    #[operation(ensure, permission = "containers.images.build files.read:{context}", timeout = "1h", returns = "map",
                model = model_build)]
    async fn build(cx: Ctx, context: PathText, options: BuildOptions) -> Result<Value, OpError> {
        let engine = engine(&cx, options.socket.as_deref()).await?;
        let tag = options.tag.0.clone();
        let before = engine.image(&tag).await.ok().and_then(|image| image.id);
        let archive = context::archive(cx.resolve(&context.0), options.dockerfile.clone()).await?;
        let request = BuildRequest {
            tag: tag.clone(),
            dockerfile: options.dockerfile,
            args: options.args.0,
            target: options.target,
            no_cache: options.no_cache,
            pull: options.pull,
            labels: options.labels.0,
        };
        let steps = engine.build(request, archive);
        transfer::follow(&cx, &*engine, &format!("building {tag}"), Subject::Engine, steps).await?;
        let it = result(&*engine, &tag, None).await?;
        let changed = it.get("id").and_then(Value::as_str) != before.as_deref();
        Ok(match it {
            Value::Map(mut map) => {
                map.insert("changed".to_owned(), changed.into());
                Value::Map(map)
            }
            other => other,
        })
    }

    fn model_build(_: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let _: PathText = args.next("context")?;
        let options: BuildOptions = args.options()?;
        Ok(modelled(&options.tag.0))
    }

    /// For operations whose only option is the engine.
    #[derive(Debug, Options)]
    struct EngineOptions {
        /// The engine's socket: a path, `unix://…` or `tcp://…`.
        socket: Option<String>,
    }

    /// Takes images from an archive that `docker save` or `podman save` wrote; gives `#{ output }`.
    ///
    /// `output` is what the engine says, with the names of the images.
    ///
    /// Class `ensure`: what is here already stays.
    ///
    /// Fails with `not_found` when there is no such file, and with `failed` when it is no archive of images.
    ///
    /// ```rhai,no_run
    /// containers::images::load("/mnt/backup/gitea.tar").output
    /// ```
    #[operation(ensure, permission = "containers.images.load files.read:{path}", timeout = "1h", returns = "map",
                model = model_load)]
    async fn load(cx: Ctx, path: PathText, options: EngineOptions) -> Result<Value, OpError> {
        let engine = engine(&cx, options.socket.as_deref()).await?;
        let archive = context::file(cx.resolve(&path.0)).await?;
        let message = format!("loading {}", path.0);
        let steps = engine.load(archive);
        let outcome = transfer::follow(&cx, &*engine, &message, Subject::Engine, steps).await?;
        Ok(Value::map([("output", Value::from(outcome.output.trim()))]))
    }

    fn model_load(_: &Ctx, _: Args) -> Result<Value, OpError> {
        Ok(Value::map([("output", Value::from(""))]))
    }

    /// Options of `containers::images::remove`.
    #[derive(Debug, Options)]
    struct RemoveOptions {
        /// Whether it is removed although containers use it.
        #[option(default = "false")]
        force: bool,
        /// The engine's socket: a path, `unix://…` or `tcp://…`.
        socket: Option<String>,
    }

    /// Removes an image; gives whether there was one.
    ///
    /// Class `ensure`: what is gone stays gone.
    ///
    /// Fails with `conflict` when containers use it and `force` is not given.
    ///
    /// ```rhai,no_run
    /// containers::images::remove("docker.io/library/alpine:3.18");
    /// ```
    #[operation(ensure, permission = "containers.images.remove:{name}", timeout = "5m", returns = "bool", model = model_remove)]
    async fn remove(cx: Ctx, name: ImageName, options: RemoveOptions) -> Result<bool, OpError> {
        let engine = engine(&cx, options.socket.as_deref()).await?;
        match engine.image_remove(&name.0, options.force).await {
            Ok(_) => Ok(true),
            Err(cause) if cause.is_absent() => Ok(false),
            Err(cause) => Err(error(&engine.address(), Subject::Image(&name.0), &cause)),
        }
    }

    fn model_remove(_: &Ctx, _: Args) -> Result<Value, OpError> {
        Ok(Value::Bool(true))
    }

    /// Options of `containers::images::prune`.
    #[derive(Debug, Options)]
    struct PruneOptions {
        /// Whether to remove every image that no container uses, not only those without a name.
        #[option(default = "false")]
        all: bool,
        /// The engine's socket: a path, `unix://…` or `tcp://…`.
        socket: Option<String>,
    }

    /// Removes images that nothing uses; gives `#{ removed, freed_bytes }`.
    ///
    /// Class `ensure`: what is gone stays gone.
    ///
    /// ```rhai,no_run
    /// containers::images::prune(#{ all: true }).freed_bytes
    /// ```
    #[operation(ensure, permission = "containers.images.prune", timeout = "30m", returns = "map", model = model_prune)]
    async fn prune(cx: Ctx, options: PruneOptions) -> Result<Value, OpError> {
        let engine = engine(&cx, options.socket.as_deref()).await?;
        let removed = engine.images_prune(options.all).await;
        let (removed, bytes) = removed.map_err(|cause| error(&engine.address(), Subject::Engine, &cause))?;
        Ok(pruned(removed, bytes))
    }

    fn model_prune(_: &Ctx, _: Args) -> Result<Value, OpError> {
        Ok(pruned(Vec::new(), 0))
    }
}
