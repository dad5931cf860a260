//! Where a container is reached: for gates, which look at its ports.

use std::collections::BTreeMap;
use std::net::IpAddr;

use bollard::models::ContainerInspectResponse;
use hob_supervisor::LOCALHOST;

use crate::life::find;
use crate::port::Engine;

/// Where a container is reached.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    /// Its own addresses, or those of whose network it shares.
    pub(super) addresses: Vec<IpAddr>,
    /// The ports of this machine that lead to its ports.
    pub(super) published: BTreeMap<u16, u16>,
}

/// Where a container is reached.
pub(super) async fn place(engine: &dyn Engine, found: &ContainerInspectResponse) -> Place {
    let mode = found.host_config.as_ref().and_then(|host| host.network_mode.clone()).unwrap_or_default();
    if let Some(lender) = mode.strip_prefix("container:") {
        return match find(engine, lender).await {
            Ok(Some(lender)) => own_place(&lender),
            _ => Place::default(),
        };
    }
    match mode.as_str() {
        "host" => Place { addresses: LOCALHOST.to_vec(), ..Place::default() },
        _ => own_place(found),
    }
}

fn own_place(found: &ContainerInspectResponse) -> Place {
    let Some(settings) = &found.network_settings else { return Place::default() };
    let networks = settings.networks.iter().flatten();
    let addresses = networks.filter_map(|(_, one)| one.ip_address.as_ref()?.parse().ok()).collect();
    let ports = settings.ports.iter().flatten().filter_map(|(inner, outer)| {
        let inner = inner.strip_suffix("/tcp")?.parse().ok()?;
        let outer = outer.iter().flatten().find_map(|binding| binding.host_port.as_ref()?.parse().ok())?;
        Some((inner, outer))
    });
    Place { addresses, published: ports.collect() }
}
