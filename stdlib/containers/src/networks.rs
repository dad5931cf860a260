//! The operations on networks.

pub(crate) use operations::primitive;

use hob_primitive::primitive;

/// Networks of container engines.
#[primitive(name = "containers::networks")]
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

    /// Lists networks.
    ///
    /// Each has `id`, `name`, `driver`, `internal`, `ipv6`, `subnets`, `gateways` and `labels`.
    ///
    /// Class `observe`: it only looks.
    ///
    /// ```rhai,no_run
    /// containers::networks::list().some(|n| n.name == "media")
    /// ```
    #[operation(observe, permission = "containers.networks.list", timeout = "30s", returns = "array")]
    async fn list(cx: Ctx, options: EngineOptions) -> Result<Value, OpError> {
        let engine = engine(&cx, options.socket.as_deref()).await?;
        let listed = engine.networks().await;
        let listed = listed.map_err(|cause| error(&engine.address(), Subject::Engine, &cause))?;
        Ok(Value::Array(listed.into_iter().map(view::network).collect()))
    }

    /// Options of `containers::networks::ensure`.
    #[derive(Debug, Options)]
    struct EnsureOptions {
        /// `"bridge"` unless given; `"macvlan"`, `"ipvlan"`.
        driver: Option<String>,
        /// Its addresses: `"10.9.0.0/24"`.
        subnet: Option<String>,
        /// The address of its gateway.
        gateway: Option<String>,
        /// The part of the subnet that containers get addresses from.
        ip_range: Option<String>,
        /// Whether it leads nowhere outside.
        #[option(default = "false")]
        internal: bool,
        /// Whether it has IPv6.
        #[option(default = "false")]
        ipv6: bool,
        /// Labels.
        #[option(default = "Pairs::default()")]
        labels: Pairs,
        /// Options of the driver: `#{ parent: "eth0" }`.
        #[option(default = "Pairs::default()")]
        driver_opts: Pairs,
        /// The engine's socket: a path, `unix://…` or `tcp://…`.
        socket: Option<String>,
    }

    /// Makes a network be there; gives `#{ id, changed }`.
    ///
    /// Class `ensure`: one that is there as declared stays.
    ///
    /// Fails with `conflict`, saying in what it differs, when there is another one of that name: containers may be in it,
    /// so that it is not made anew by itself.
    ///
    /// ```rhai,no_run
    /// containers::networks::ensure("media", #{ subnet: "10.9.0.0/24" });
    /// ```
    #[operation(ensure, permission = "containers.networks.ensure:{name}", timeout = "1m", returns = "map",
                model = model_ensure)]
    async fn ensure(cx: Ctx, name: Name, options: EnsureOptions) -> Result<Value, OpError> {
        let engine = engine(&cx, options.socket.as_deref()).await?;
        let told = |cause| error(&engine.address(), Subject::Network(&name.0), &cause);
        let listed = engine.networks().await.map_err(told)?;
        if let Some(found) = listed.into_iter().find(|network| network.name.as_deref() == Some(&name.0)) {
            let because = differences(&options, &found);
            if because.is_empty() {
                return Ok(ensured(found.id.unwrap_or_default(), false));
            }
            let other =
                OpError::conflict(format!("network {} is another one: {}", name.0, because.join("; ")));
            return Err(other.hint("remove it with containers::networks::remove, or change the declaration"));
        }
        let config = models::IpamConfig {
            subnet: options.subnet,
            gateway: options.gateway,
            ip_range: options.ip_range,
            auxiliary_addresses: None,
        };
        let ipam = models::Ipam { config: Some(vec![config.clone()]), ..Default::default() };
        let request = models::NetworkCreateRequest {
            name: name.0.clone(),
            driver: options.driver,
            internal: Some(options.internal),
            enable_ipv6: Some(options.ipv6),
            ipam: (config != models::IpamConfig::default()).then_some(ipam),
            labels: Some(options.labels.0.into_iter().collect()),
            options: Some(options.driver_opts.0.into_iter().collect()),
            ..Default::default()
        };
        let id = engine.network_create(request).await.map_err(told)?;
        Ok(ensured(id, true))
    }

    fn ensured(id: String, changed: bool) -> Value {
        Value::map([("id", Value::from(id)), ("changed", Value::from(changed))])
    }

    fn model_ensure(_: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let _: Name = args.next("name")?;
        let _: EnsureOptions = args.options()?;
        Ok(ensured(String::new(), true))
    }

    fn differences(wanted: &EnsureOptions, found: &models::Network) -> Vec<String> {
        let config = found.ipam.clone().and_then(|ipam| ipam.config).unwrap_or_default();
        let has = |part: fn(&models::IpamConfig) -> &Option<String>, value: &str| {
            config.iter().any(|one| part(one).as_deref() == Some(value))
        };
        let shown = |part: fn(&models::IpamConfig) -> &Option<String>| {
            let all: Vec<&str> = config.iter().filter_map(|one| part(one).as_deref()).collect();
            all.join(", ")
        };
        let mut because = Vec::new();
        if let Some(subnet) = wanted.subnet.as_ref().filter(|subnet| !has(|one| &one.subnet, subnet)) {
            because.push(format!("subnet: {} → {subnet}", shown(|one| &one.subnet)));
        }
        if let Some(gateway) = wanted.gateway.as_ref().filter(|gateway| !has(|one| &one.gateway, gateway)) {
            because.push(format!("gateway: {} → {gateway}", shown(|one| &one.gateway)));
        }
        let driver = found.driver.as_deref().unwrap_or_default();
        if let Some(wanted) = wanted.driver.as_ref().filter(|wanted| *wanted != driver) {
            because.push(format!("driver: {driver} → {wanted}"));
        }
        let internal = found.internal.unwrap_or_default();
        if wanted.internal != internal {
            because.push(format!("internal: {internal} → {}", wanted.internal));
        }
        because
    }

    /// Removes a network; gives whether there was one.
    ///
    /// Class `ensure`: what is gone stays gone.
    ///
    /// Fails with `conflict` while containers are in it.
    ///
    /// ```rhai,no_run
    /// containers::networks::remove("media");
    /// ```
    #[operation(ensure, permission = "containers.networks.remove:{name}", timeout = "1m", returns = "bool",
                model = model_remove)]
    async fn remove(cx: Ctx, name: Name, options: EngineOptions) -> Result<bool, OpError> {
        let engine = engine(&cx, options.socket.as_deref()).await?;
        match engine.network_remove(&name.0).await {
            Ok(()) => Ok(true),
            Err(cause) if cause.is_absent() => Ok(false),
            Err(cause) => Err(error(&engine.address(), Subject::Network(&name.0), &cause)),
        }
    }

    fn model_remove(_: &Ctx, _: Args) -> Result<Value, OpError> {
        Ok(Value::Bool(true))
    }
}
