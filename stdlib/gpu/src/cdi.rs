//! Specifications of the Container Device Interface (CDI 0.8, github.com/cncf-tags/container-device-interface): which names
//! an engine knows, and whether what stands behind them is still there.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use crate::port::CdiFile;

/// How many devices a specification may have.
const DEVICES_MAX: usize = 1000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    kind: String,
    #[serde(default)]
    devices: Vec<DocumentDevice>,
    #[serde(default)]
    container_edits: Edits,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DocumentDevice {
    name: String,
    #[serde(default)]
    container_edits: Edits,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Edits {
    #[serde(default)]
    device_nodes: Vec<Node>,
    #[serde(default)]
    mounts: Vec<Mount>,
    #[serde(default)]
    hooks: Vec<Hook>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    path: PathBuf,
    host_path: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mount {
    host_path: PathBuf,
}

#[derive(Deserialize)]
struct Hook {
    path: PathBuf,
}

impl Edits {
    /// What has to be on the host for a container to get these.
    fn needs(&self) -> impl Iterator<Item = PathBuf> {
        let nodes = self.device_nodes.iter().map(|node| node.host_path.as_ref().unwrap_or(&node.path));
        let mounts = self.mounts.iter().map(|mount| &mount.host_path);
        nodes.chain(mounts).chain(self.hooks.iter().map(|hook| &hook.path)).cloned()
    }
}

/// A name that a container can ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CdiDevice {
    /// `nvidia.com/gpu=0`.
    pub name: String,
    /// The file that declares it.
    pub file: PathBuf,
    /// What has to be on the host.
    pub needs: Vec<PathBuf>,
    /// Why an engine does not take the file.
    pub problem: Option<String>,
}

/// The devices of all files. One that several declare is that of the last, as engines see it; a file that says nothing
/// sensible gives one entry with the problem.
#[must_use]
pub fn devices(files: &[CdiFile]) -> Vec<CdiDevice> {
    let mut all = BTreeMap::new();
    for file in files {
        let found = match serde_norway::from_str::<Document>(&file.text) {
            Ok(document) if !document.kind.contains('/') => {
                vec![refused(file, format!("it is no CDI specification: its kind is {:?}", document.kind))]
            }
            Ok(document) if document.devices.len() <= DEVICES_MAX => declared(file, &document),
            Ok(_) => vec![refused(file, format!("it declares more than {DEVICES_MAX} devices"))],
            Err(error) => vec![refused(file, format!("it is no CDI specification: {error}"))],
        };
        all.extend(found.into_iter().map(|device| (device.name.clone(), device)));
    }
    all.into_values().collect()
}

fn declared(file: &CdiFile, document: &Document) -> Vec<CdiDevice> {
    let device = |device: &DocumentDevice| {
        let mut needs: Vec<_> =
            document.container_edits.needs().chain(device.container_edits.needs()).collect();
        needs.sort();
        needs.dedup();
        let name = format!("{}={}", document.kind, device.name);
        CdiDevice { name, file: file.path.clone(), needs, problem: None }
    };
    document.devices.iter().map(device).collect()
}

fn refused(file: &CdiFile, problem: String) -> CdiDevice {
    CdiDevice {
        name: file.path.display().to_string(),
        file: file.path.clone(),
        needs: Vec::new(),
        problem: Some(problem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> CdiFile {
        CdiFile { path: path.into(), text: text.to_owned() }
    }

    const NVIDIA: &str = "
cdiVersion: 0.5.0
kind: nvidia.com/gpu
devices:
  - name: '0'
    containerEdits: { deviceNodes: [{ path: /dev/nvidia0 }] }
  - name: all
    containerEdits: { deviceNodes: [{ path: /dev/nvidia0 }, { path: /dev/x, hostPath: /dev/nvidia1 }] }
containerEdits:
  deviceNodes: [{ path: /dev/nvidiactl }]
  hooks: [{ hookName: createContainer, path: /usr/bin/nvidia-ctk }]
  mounts: [{ hostPath: /usr/lib/libcuda.so.550, containerPath: /usr/lib/libcuda.so.550, options: [ro] }]
";

    #[test]
    fn names_and_what_stands_behind_them() {
        let found = devices(&[file("/etc/cdi/nvidia.yaml", NVIDIA)]);
        let names: Vec<_> = found.iter().map(|device| device.name.as_str()).collect();
        assert_eq!(names, ["nvidia.com/gpu=0", "nvidia.com/gpu=all"]);
        let needs: Vec<_> = found[1].needs.iter().map(|path| path.to_str().unwrap()).collect();
        let expected = [
            "/dev/nvidia0",
            "/dev/nvidia1",
            "/dev/nvidiactl",
            "/usr/bin/nvidia-ctk",
            "/usr/lib/libcuda.so.550",
        ];
        assert_eq!(needs, expected);
    }

    #[test]
    fn a_later_file_takes_precedence() {
        let later =
            r#"{"cdiVersion":"0.6.0","kind":"nvidia.com/gpu","devices":[{"name":"0","containerEdits":{}}]}"#;
        let found = devices(&[file("/etc/cdi/a.yaml", NVIDIA), file("/var/run/cdi/b.json", later)]);
        assert_eq!(found[0].file, PathBuf::from("/var/run/cdi/b.json"));
        assert!(found[0].needs.is_empty());
        assert_eq!(found[1].file, PathBuf::from("/etc/cdi/a.yaml"));
    }

    #[test]
    fn what_is_no_specification_is_told() {
        for text in
            ["", "kind: 3", "[1, 2]", "devices: []", "kind: a/b\ndevices: [{ name: x, containerEdits: 1 }]"]
        {
            let found = devices(&[file("/etc/cdi/bad.yaml", text)]);
            assert!(
                found[0].problem.as_ref().is_some_and(|it| it.contains("no CDI specification")),
                "{text:?}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            let _ = devices(&[file("/etc/cdi/x.yaml", &text)]);
        }
    }
}
