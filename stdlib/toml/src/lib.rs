//! The primitive `toml`: TOML texts (1.0) to values and back.

mod convert;

pub use api::primitive;

use hob_primitive::{Ports, primitive};

/// Needs no adapter: nothing here reaches the world.
pub fn install(_: &mut Ports) {}

/// TOML texts.
///
/// Dates and times become texts. There is no null in TOML, so `()` cannot be written.
#[primitive(name = "toml")]
mod api {
    use std::collections::BTreeMap;

    use hob_model::{OpError, Value};
    use hob_primitive::{Place, Text, check_depth};

    use crate::convert;

    /// Reads a TOML text.
    ///
    /// Class `pure`: the same text gives the same map.
    ///
    /// Fails with `invalid` when the text is no TOML, with line and column.
    ///
    /// ```rhai
    /// let config = toml::parse("[server]\nport = 4620\nhosts = [\"a\", \"b\"]\n");
    /// config.server.port == 4620 && config.server.hosts.len() == 2
    /// ```
    #[operation(pure, returns = "map")]
    fn parse(text: Text) -> Result<Value, OpError> {
        let table: toml::Table = toml::from_str(&text.0).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            Place::of(&text.0, start).malformed("TOML", error.message().trim().replace('\n', "; "))
        })?;
        Ok(convert::from_toml(toml::Value::Table(table)))
    }

    /// Writes a map as TOML, with the keys in order.
    ///
    /// Class `pure`. A blob becomes base64 text. Times are texts and stay so.
    ///
    /// Fails with `invalid` when the map holds `()`, naming its place.
    ///
    /// ```rhai
    /// toml::stringify(#{ name: "nas", disks: #{ count: 4 } }) == "name = \"nas\"\n\n[disks]\ncount = 4\n"
    /// ```
    #[operation(pure, returns = "string")]
    fn stringify(value: BTreeMap<String, Value>) -> Result<String, OpError> {
        let value = Value::Map(value);
        check_depth(&value)?;
        let table = convert::to_toml(value, &mut Vec::new())?;
        toml::to_string_pretty(&table).map_err(|error| OpError::failed(error.to_string()))
    }
}
