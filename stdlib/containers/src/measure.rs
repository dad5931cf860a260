//! How many containers there are, and in which state.

use std::sync::Arc;

use hob_primitive::{BoxFuture, Family, Measured};

use crate::port::{ContainersPort, Filters};
use crate::problem::{Subject, error};

/// Measures the engine that convention finds.
pub(crate) struct ContainerMeasures(pub(crate) Arc<dyn ContainersPort>);

impl Measured for ContainerMeasures {
    fn name(&self) -> &'static str {
        "containers"
    }

    fn measure(self: Arc<Self>) -> BoxFuture<Vec<Family>> {
        Box::pin(async move {
            let told = |cause| error("its usual sockets", Subject::Engine, &cause);
            let engine = self.0.engine(None, &[]).await.map_err(told)?;
            let all = engine.list(true, Filters::new()).await.map_err(told)?;
            let states =
                all.iter().map(|it| it.state.map_or_else(|| "unknown".to_owned(), |state| state.to_string()));
            let family = Family::gauge("hob_containers", "Containers of the engine, by their state");
            Ok(vec![family.counted("state", states)])
        })
    }
}
