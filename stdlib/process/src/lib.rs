//! The primitive `process`: runs programs, and looks at the ones that run.
//!
//! | module | holds |
//! |---|---|
//! | `api` | the operations |
//! | [`command`] | what is to be run, as data, and how scripts write it |
//! | [`outcome`] | what came of it, and what a script gets |
//! | [`port`] | the trait to the world |
//! | [`live`] | the adapter for Linux |
//! | [`fake`] | an adapter with scripted programs, for tests |

mod api;
pub mod command;
pub mod fake;
pub mod live;
pub mod outcome;
pub mod port;

pub use api::primitive;
pub use port::ProcessPort;

/// Plugs in the processes of this machine. It looks at hob's own environment, of which programs get five variables.
pub fn install(ports: &mut hob_primitive::Ports) {
    let environ =
        std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
    let live = std::sync::Arc::new(live::Live::new(environ));
    ports.insert::<dyn hob_primitive::HostPrograms>(live.clone());
    ports.insert::<dyn ProcessPort>(live);
}
