//! The primitive `yaml`: YAML texts (1.2 core schema) to values and back.

mod convert;

pub use api::primitive;

use hob_primitive::{Ports, primitive};

/// The longest YAML text, 8 MiB: its parser builds a tree that is many times larger.
pub const YAML_BYTES_MAX: usize = 8 << 20;

/// Needs no adapter: nothing here reaches the world.
pub fn install(_: &mut Ports) {}

/// YAML texts, as compose files, Kubernetes and Home Assistant use them.
///
/// Anchors, aliases and merge keys (`<<`) are resolved. Keys become texts. `yes`, `no`, `on` and `off` are texts, as
/// in YAML 1.2; so is a number with a leading zero such as `0644`.
#[primitive(name = "yaml")]
mod api {
    use hob_model::{OpError, Value};
    use hob_primitive::{Text, check_depth};

    use crate::convert;

    /// Reads a YAML text with one document.
    ///
    /// Class `pure`: the same text gives the same value. An empty text gives `()`.
    ///
    /// Fails with `invalid` when the text is no YAML (with line and column), has several documents, a tag such as
    /// `!secret`, equal keys in one map, or a whole number outside of 64 bits.
    ///
    /// ```rhai
    /// let compose = yaml::parse("services:\n  plex:\n    ports: [32400]\n");
    /// compose.services.plex.ports == [32400]
    /// ```
    #[operation(pure)]
    fn parse(text: Text) -> Result<Value, OpError> {
        let mut documents = convert::documents(&text.0)?;
        if documents.len() > 1 {
            return Err(OpError::invalid(format!("the text has {} documents", documents.len()))
                .hint("read them with yaml::parse_all"));
        }
        Ok(documents.pop().unwrap_or_default())
    }

    /// Reads a YAML text with any number of documents, separated by `---`.
    ///
    /// Class `pure`. Fails as `yaml::parse`.
    ///
    /// ```rhai
    /// yaml::parse_all("a: 1\n---\nb: 2\n") == [#{ a: 1 }, #{ b: 2 }]
    /// ```
    #[operation(pure, returns = "array")]
    fn parse_all(text: Text) -> Result<Vec<Value>, OpError> {
        convert::documents(&text.0)
    }

    /// Writes a value as YAML, in block style and with the keys in order.
    ///
    /// Class `pure`. Texts that would read as something else are quoted; a blob becomes base64 text.
    ///
    /// Fails with `invalid` when the value holds NaN or an infinity.
    ///
    /// ```rhai
    /// yaml::stringify(#{ image: "postgres:16", ports: [5432] }) == "image: postgres:16\nports:\n- 5432\n"
    /// ```
    #[operation(pure, returns = "string")]
    fn stringify(value: Value) -> Result<String, OpError> {
        check_depth(&value)?;
        let json = value.to_json().map_err(|error| OpError::invalid(error.to_string()))?;
        serde_norway::to_string(&json).map_err(|error| OpError::failed(error.to_string()))
    }
}
