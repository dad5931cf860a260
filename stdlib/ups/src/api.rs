//! The operations of `ups`.

use hob_primitive::primitive;

pub use operations::primitive;

/// Uninterruptible power supplies, as a server of NUT tells of them.
///
/// A change of a supply starts workflows: `on: ups("rack@nas.lan")`.
#[primitive(name = "ups")]
mod operations {
    use hob_model::{OpError, Value};
    use hob_primitive::{Ctx, Options};

    use crate::address::{server, supply};
    use crate::port::UpsPort;
    use crate::reading::Reading;

    /// Options of `ups::list`.
    #[derive(Options)]
    struct ListOptions {
        /// The server, as `HOST` or `HOST:PORT`.
        #[option(default = "\"localhost\".to_owned()")]
        server: String,
    }

    /// Lists the supplies of a server: maps of `name description`.
    ///
    /// Class `observe`: it only looks.
    ///
    /// Fails with `unavailable` when the server cannot be reached, with `denied` when it does not answer this host.
    ///
    /// ```rhai,no_run
    /// ups::list(#{ server: "nas.lan" }).map(|it| it.name)
    /// ```
    #[operation(observe, permission = "ups.list", returns = "array of maps", timeout = "30s")]
    async fn list(cx: Ctx, options: ListOptions) -> Result<Value, OpError> {
        let found = cx.port::<dyn UpsPort>()?.list(server(&options.server)?).await?;
        let shown = |(name, description)| {
            Value::map([("name", Value::from(name)), ("description", Value::from(description))])
        };
        Ok(Value::Array(found.into_iter().map(shown).collect()))
    }

    /// Tells what a supply does, named as NUT does: `NAME`, `NAME@HOST` or `NAME@HOST:PORT`.
    ///
    /// Gives a map of `ups`, `state` (`"online"`, `"battery"`, `"low"` when that is nearly empty, `"shutdown"` when the server
    /// has ordered one, `"unknown"`), `flags` (the words of `ups.status`), `charge` and `load` (from 0 to 1), `runtime`
    /// (seconds for which the battery lasts) and `variables` (all that the server knows, as texts). What the supply does not
    /// tell is `()`.
    ///
    /// Class `observe`: it only looks.
    ///
    /// Fails as `ups::list`; with `not_found` when the server has no such supply, `unavailable` when the server has not heard
    /// of it for a while, `invalid` for what is no name.
    ///
    /// ```rhai,no_run
    /// if ups::status("rack@nas.lan").state != "online" { fail("no heavy work while on battery"); }
    /// ```
    ///
    /// ```rhai
    /// try { ups::status("rack@"); false } catch (e) { e.kind == "invalid" }
    /// ```
    #[operation(observe, permission = "ups.list", returns = "map", timeout = "30s")]
    async fn status(cx: Ctx, name: String) -> Result<Value, OpError> {
        let (supply, server) = supply(&name)?;
        let variables = cx.port::<dyn UpsPort>()?.variables(server, supply).await?;
        let known =
            Value::map(variables.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))));
        let fields = Reading::of(&variables).fields(&name).map(|(key, value)| (key.to_owned(), value));
        Ok(Value::map(fields.into_iter().chain([("variables".to_owned(), known)])))
    }
}
