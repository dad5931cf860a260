//! Who listens where: clashes of ports, and gates that look at the ports of others.

use std::net::IpAddr;

use hob_model::{Diagnostic, Span};

use super::{Body, Gate, Homelab, Kind, Listens, Published, Service, bad};
use crate::graph::Node;

/// The protocol of the ports that services are declared with.
const TCP: &str = "tcp";

fn listens(service: &Service, kinds: &[&dyn Kind]) -> Listens {
    let Body::Kept(kept) = &service.body else { return Listens::default() };
    let kind = kinds.iter().find(|kind| kind.name() == kept.kind);
    kind.map(|kind| kind.listens(&kept.fields)).unwrap_or_default()
}

/// The service whose network a service listens in; `None` for this machine's.
fn network_of<'s>(homelab: &'s Homelab, service: &'s Service, kinds: &[&dyn Kind]) -> Option<&'s str> {
    let owner = service.via.as_deref().and_then(|via| homelab.service(via)).unwrap_or(service);
    listens(owner, kinds).apart.then_some(owner.name.as_str())
}

/// A port that a service takes, and in whose network.
struct Taken<'s> {
    by: &'s Service,
    network: Option<&'s str>,
    port: Published,
}

impl Taken<'_> {
    fn clashes_with(&self, other: &Taken<'_>) -> bool {
        let (one, two) = (&self.port, &other.port);
        let any = |address: Option<IpAddr>| address.is_none_or(|address| address.is_unspecified());
        let overlap = any(one.address) || any(two.address) || one.address == two.address;
        let same = (one.port, &one.protocol) == (two.port, &two.protocol);
        same && overlap && self.network == other.network && self.by.name != other.by.name
    }
}

/// The ports that a service takes: those of this machine that lead to it, and its own.
fn taken<'s>(homelab: &'s Homelab, service: &'s Service, kinds: &[&dyn Kind]) -> Vec<Taken<'s>> {
    let published = listens(service, kinds).published.into_iter();
    let published = published.map(|port| Taken { by: service, network: None, port });
    let network = network_of(homelab, service, kinds);
    let own = service.port.map(|port| {
        let port = Published { address: None, port, protocol: TCP.to_owned() };
        Taken { by: service, network, port }
    });
    own.into_iter().chain(published).collect()
}

/// Two services of one network cannot listen on the same port.
pub(super) fn clashes(homelab: &Homelab, kinds: &[&dyn Kind], diagnostics: &mut Vec<Diagnostic>) {
    let mut all: Vec<Taken<'_>> = Vec::new();
    for service in &homelab.services {
        let own = taken(homelab, service, kinds);
        let clash = own.iter().find_map(|one| Some((one, all.iter().find(|two| two.clashes_with(one))?)));
        if let Some((one, other)) = clash {
            let (port, other) = (one.port.port, other.by);
            let message =
                format!("services `{}` and `{}` both have the port {port}", other.name, service.name);
            diagnostics.push(bad(&service.source, message).span(Span {
                label: format!("`{}` has it first", other.name),
                ..Span::point(other.source.clone())
            }));
        }
        all.extend(own);
    }
}

/// A gate that looks at a port of a service which itself waits for this one never holds.
pub(super) fn gates(homelab: &Homelab, kinds: &[&dyn Kind], diagnostics: &mut Vec<Diagnostic>) {
    for service in &homelab.services {
        let network = network_of(homelab, service, kinds);
        let (Gate::Tcp { port } | Gate::Http { port, .. }) = service.ready.gate else { continue };
        let is_there = |it: &&Service| it.port == Some(port) && network_of(homelab, it, kinds) == network;
        let of = homelab.services.iter().filter(is_there).find(|it| it.name != service.name);
        let Some(other) = of.filter(|_| service.port != Some(port)) else { continue };
        if !homelab.graph.dependents(&Node::Service(service.name.clone())).contains(other.name.as_str()) {
            continue;
        }
        let message = format!(
            "service `{}` waits for {}, which is the port of `{}`, and that one starts after it",
            service.name, service.ready.gate, other.name
        );
        let hint = "only a later service can make this gate hold: look at one of its own ports";
        diagnostics.push(bad(&service.source, message).hint(hint).span(Span {
            label: format!("`{}` is declared here", other.name),
            ..Span::point(other.source.clone())
        }));
    }
}
