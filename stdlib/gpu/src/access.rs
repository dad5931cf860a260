//! What a container is given so that it can use a card: the name of a CDI device, or the device nodes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hob_model::OpError;

use crate::cdi::{self, CdiDevice};
use crate::port::{Card, GpuPort, Vendor};
use crate::survey;

/// A device node, and whether the card is of no use without it.
struct Node {
    path: PathBuf,
    required: bool,
}

fn node(path: impl Into<PathBuf>, required: bool) -> Node {
    Node { path: path.into(), required }
}

/// The nodes that programs open to use `card`.
fn nodes(card: &Card) -> Vec<Node> {
    let render = card.render_node.as_ref();
    match card.vendor {
        Vendor::Nvidia => {
            let own = card.minor.or(card.index).unwrap_or(0);
            let mut nodes = vec![
                node(format!("/dev/nvidia{own}"), true),
                node("/dev/nvidiactl", true),
                node("/dev/nvidia-modeset", false),
                node("/dev/nvidia-uvm", true),
                node("/dev/nvidia-uvm-tools", false),
            ];
            nodes.extend(render.map(|path| node(path, false)));
            nodes
        }
        // ROCm computes through `kfd`; video needs the render node alone.
        Vendor::Amd => {
            let render = render.map(|path| node(path, true));
            [node("/dev/kfd", false)].into_iter().chain(render).collect()
        }
        Vendor::Intel => render.map(|path| node(path, true)).into_iter().collect(),
    }
}

/// All the paths that decide how `cards` are reached.
pub(crate) fn paths(cards: &[&Card], cdi: &[CdiDevice]) -> Vec<PathBuf> {
    let nodes = cards.iter().flat_map(|card| nodes(card)).map(|node| node.path);
    let all: BTreeSet<_> = nodes.chain(cdi.iter().flat_map(|device| device.needs.iter().cloned())).collect();
    all.into_iter().collect()
}

/// Why a CDI device would not work.
pub(crate) fn problem(device: &CdiDevice, exists: &dyn Fn(&Path) -> bool) -> Option<String> {
    let missing: Vec<_> = device.needs.iter().filter(|path| !exists(path)).collect();
    let text = match missing[..] {
        [] => return device.problem.clone(),
        [one] => format!("{} is not there", one.display()),
        [first, ..] => format!("{} and {} more are not there", first.display(), missing.len() - 1),
    };
    Some(text)
}

/// How a form of access is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// CDI where it works, nodes otherwise.
    Best,
    /// CDI alone.
    Cdi,
    /// Nodes alone.
    Nodes,
}

/// What the options `devices` of a container say, for it to use `cards`, which are all that there are when `every`.
fn choose(
    cards: &[&Card],
    every: bool,
    form: Form,
    cdi: &[CdiDevice],
    exists: &dyn Fn(&Path) -> bool,
) -> Result<Vec<String>, OpError> {
    if let Some(card) = cards.iter().find(|card| card.problem.is_some()) {
        let problem = card.problem.as_deref().unwrap_or_default();
        return Err(OpError::unavailable(format!("{}: {problem}", card.name)));
    }
    if form != Form::Nodes {
        match by_cdi(cards, every, cdi, exists) {
            Ok(names) => return Ok(names),
            Err(error) if form == Form::Cdi => return Err(error),
            Err(_) => {}
        }
    }
    by_nodes(cards, exists)
}

/// Those of these paths that exist.
pub(crate) async fn existing(port: &dyn GpuPort, paths: Vec<PathBuf>) -> Result<BTreeSet<PathBuf>, OpError> {
    let found = port.exist(paths.clone()).await.map_err(survey::refused)?;
    Ok(paths.into_iter().zip(found).filter(|(_, there)| *there).map(|(path, _)| path).collect())
}

/// As [`choose`], by what is on the machine.
pub(crate) async fn given(
    port: &dyn GpuPort,
    cards: &[&Card],
    every: bool,
    form: Form,
) -> Result<Vec<String>, OpError> {
    let cdi = cdi::devices(&port.cdi_files().await.map_err(survey::refused)?);
    let there = existing(port, paths(cards, &cdi)).await?;
    choose(cards, every, form, &cdi, &|path: &Path| there.contains(path))
}

fn by_cdi(
    cards: &[&Card],
    every: bool,
    cdi: &[CdiDevice],
    exists: &dyn Fn(&Path) -> bool,
) -> Result<Vec<String>, OpError> {
    let mut names = BTreeSet::new();
    for card in cards {
        let kind = format!("{}.com/gpu", card.vendor.as_str());
        let mut wanted = Vec::new();
        if every {
            wanted.push(format!("{kind}=all"));
        }
        wanted.push(format!("{kind}={}", card.id));
        wanted.extend(card.index.map(|index| format!("{kind}={index}")));
        let Some(device) = wanted.iter().find_map(|name| cdi.iter().find(|device| device.name == *name))
        else {
            return Err(
                OpError::not_found(format!("no CDI specification names {}", card.name)).hint(GENERATE)
            );
        };
        if let Some(problem) = problem(device, exists) {
            let text = format!("the CDI specification {} is stale: {problem}", device.file.display());
            return Err(OpError::unavailable(text).hint(GENERATE));
        }
        names.insert(device.name.clone());
    }
    Ok(names.into_iter().collect())
}

/// How a specification is made, for people.
pub(crate) const GENERATE: &str =
    "nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml (after each update of the driver)";

fn by_nodes(cards: &[&Card], exists: &dyn Fn(&Path) -> bool) -> Result<Vec<String>, OpError> {
    let mut all = Vec::new();
    for card in cards {
        let nodes = nodes(card);
        if nodes.is_empty() {
            let text = format!("{} has no render node", card.name);
            return Err(OpError::unavailable(text).hint("load the kernel's driver for it"));
        }
        for Node { path, required } in nodes {
            if exists(&path) {
                let path = path.display().to_string();
                if !all.contains(&path) {
                    all.push(path);
                }
            } else if required {
                let text = format!("{} needs {}, which is not there", card.name, path.display());
                let error = OpError::unavailable(text);
                return Err(match card.vendor {
                    Vendor::Nvidia => error.hint("nvidia-modprobe -u -c 0 makes the device nodes"),
                    Vendor::Amd | Vendor::Intel => error.hint("load the kernel's driver for it"),
                });
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nvidia(index: u32) -> Card {
        let mut card = Card::new(Vendor::Nvidia, format!("GPU-{index}"), "Quadro P1000");
        (card.index, card.minor) = (Some(index), Some(index));
        card.render_node = Some(format!("/dev/dri/renderD{}", 128 + index).into());
        card
    }

    fn cdi(name: &str, needs: &[&str]) -> CdiDevice {
        let needs = needs.iter().map(PathBuf::from).collect();
        CdiDevice { name: name.to_owned(), file: "/etc/cdi/nvidia.yaml".into(), needs, problem: None }
    }

    const NODES: &[&str] = &[
        "/dev/nvidia0",
        "/dev/nvidiactl",
        "/dev/nvidia-uvm",
        "/dev/nvidia-uvm-tools",
        "/dev/dri/renderD128",
    ];

    fn there(paths: &'static [&'static str]) -> impl Fn(&Path) -> bool {
        |path| paths.iter().any(|it| Path::new(it) == path)
    }

    #[test]
    fn a_usable_specification_is_preferred() {
        let (card, known) = (nvidia(0), [cdi("nvidia.com/gpu=0", NODES), cdi("nvidia.com/gpu=all", NODES)]);
        let given = |every, form| choose(&[&card], every, form, &known, &there(NODES)).unwrap();
        assert_eq!(given(false, Form::Best), ["nvidia.com/gpu=0"]);
        assert_eq!(given(true, Form::Cdi), ["nvidia.com/gpu=all"]);
        assert_eq!(given(true, Form::Nodes), NODES);
    }

    #[test]
    fn a_stale_specification_is_passed_over() {
        let (card, known) = (nvidia(0), [cdi("nvidia.com/gpu=0", &["/usr/lib/libcuda.so.1"])]);
        assert_eq!(choose(&[&card], false, Form::Best, &known, &there(NODES)).unwrap(), NODES);
        let refused = choose(&[&card], false, Form::Cdi, &known, &there(NODES)).unwrap_err();
        assert!(refused.message.contains("/usr/lib/libcuda.so.1 is not there"), "{refused}");
    }

    #[test]
    fn a_missing_node_is_named() {
        let card = nvidia(1);
        let refused = choose(&[&card], false, Form::Best, &[], &there(NODES)).unwrap_err();
        assert!(refused.message.contains("/dev/nvidia1"), "{refused}");
    }

    #[test]
    fn cards_of_other_makers_are_reached_by_their_render_node() {
        let mut card = Card::new(Vendor::Intel, "0000:00:02.0", "Intel GPU 8086:3e92");
        assert!(choose(&[&card], false, Form::Best, &[], &there(NODES)).is_err());
        card.render_node = Some("/dev/dri/renderD128".into());
        let given = choose(&[&card], false, Form::Best, &[], &there(NODES)).unwrap();
        assert_eq!(given, ["/dev/dri/renderD128"]);
    }
}
