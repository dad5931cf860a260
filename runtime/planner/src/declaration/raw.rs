//! Declarations as they come from the engine.

use std::borrow::Cow;
use std::sync::Arc;

use hob_model::{Source, Value};

/// One declaration as it was written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Raw {
    /// `homelab`, `host`, `tier`, `service`, `mount`, `dataset`, `channel`, `schedule`, `workflow` or `setup`.
    pub kind: String,
    /// Its name; that of the homelab for `homelab`.
    pub name: Arc<str>,
    /// Its options as a map; handles are names, functions are `()`, a schedule's expression is `when`.
    pub options: Value,
    /// The paths of the options that held functions (`on.0.where`); `""` is the body of a schedule or workflow.
    pub closures: Vec<String>,
    /// Where it was declared.
    pub source: Source,
}

/// Something declared, to be read. It opens when its turn comes, so that many need not be open at one time.
pub trait Declaration {
    /// As [`Raw::kind`].
    fn kind(&self) -> &str;
    /// As [`Raw::name`].
    fn name(&self) -> &str;
    /// As [`Raw::source`].
    fn source(&self) -> &Source;
    /// All of it.
    fn open(&self) -> Cow<'_, Raw>;
}

impl Declaration for Raw {
    fn kind(&self) -> &str {
        &self.kind
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn source(&self) -> &Source {
        &self.source
    }

    fn open(&self) -> Cow<'_, Raw> {
        Cow::Borrowed(self)
    }
}
