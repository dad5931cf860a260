//! The primitive `containers`: containers, images, networks and volumes of Docker and Podman.
//!
//! | module | holds |
//! |---|---|
//! | `api`, [`images`], `networks`, `volumes` | the operations |
//! | [`options`], [`parts`], [`devices`], [`read`], [`compose`] | what scripts write, and which keys of Compose are taken |
//! | [`body`] | from that to what the API takes |
//! | [`compare`] | whether a container is as declared, field by field |
//! | `life`, `run`, `piped`, `observe`, `transfer`, `context` | making and replacing; programs; their output while they run; looking; images on their way; files for the engine |
//! | [`view`] | what scripts get |
//! | [`problem`] | what goes wrong, in words that name cause and cure |
//! | [`events`] | what happens to containers, for the event bus |
//! | [`port`] | the trait to the engines |
//! | [`live`], `raw`, [`sockets`] | the adapter over bollard, what bollard cannot do, and where engines are looked for |
//! | [`podman`] | a container as Podman's own API takes it |
//! | [`service`] | containers as services of a homelab |
//! | [`fake`] | an engine in memory, for tests |

mod api;
pub mod body;
pub mod compare;
pub mod compose;
mod context;
pub mod devices;
pub mod events;
pub mod fake;
pub mod images;
mod life;
pub mod live;
mod measure;
mod networks;
mod observe;
pub mod options;
pub mod parts;
mod piped;
pub mod podman;
pub mod port;
pub mod problem;
mod raw;
pub mod read;
mod run;
pub mod secrets;
pub mod service;
pub mod sockets;
mod transfer;
pub mod view;
mod volumes;

use std::sync::Arc;

pub use port::ContainersPort;

/// Containers, and their images, networks and volumes.
#[must_use]
pub fn primitives() -> Vec<hob_primitive::Primitive> {
    vec![api::primitive(), images::primitive(), networks::primitive(), volumes::primitive()]
}

/// Plugs in the engines of this machine. Of hob's own environment it takes what says where they are.
pub fn install(ports: &mut hob_primitive::Ports) {
    const NAMES: [&str; 3] = ["CONTAINER_HOST", "DOCKER_HOST", "XDG_RUNTIME_DIR"];
    let environ =
        std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
    let named = environ.filter(|(name, _)| NAMES.contains(&name.as_str()));
    let port: Arc<dyn ContainersPort> = Arc::new(live::Live::new(named.collect()));
    ports.add_source(Arc::new(events::ContainerEvents::new(Arc::clone(&port))));
    ports.add::<dyn hob_supervisor::ServiceKind>(Arc::new(service::Containers::new(Arc::clone(&port))));
    ports.add::<dyn hob_primitive::Measured>(Arc::new(measure::ContainerMeasures(Arc::clone(&port))));
    ports.insert::<dyn hob_primitive::ContainerPrograms>(Arc::new(piped::Inside::default()));
    ports.insert::<dyn ContainersPort>(port);
}
