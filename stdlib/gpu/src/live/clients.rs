//! Who uses a card, as far as the kernel tells: `/proc/PID/fdinfo` (Documentation/gpu/drm-usage-stats.rst of Linux) and the
//! control groups of a process.

use std::collections::BTreeMap;

use super::Look;
use crate::port::{GpuProcess, Work};

/// How many open files of one process are looked at.
const FILES_MAX: usize = 10_000;

/// How many generations of processes are looked at.
const PARENTS_MAX: usize = 64;

/// The length of a container's full id.
const CONTAINER_ID_DIGITS: usize = 64;

/// What one open file of a card says.
#[derive(Debug, PartialEq, Eq)]
struct Client {
    /// The card's address on the bus.
    card: String,
    /// Its number there: several open files may be one client.
    id: String,
    /// Memory of the card, in bytes.
    memory: Option<u64>,
}

/// The processes that have a card open whose driver counts its clients.
pub(super) fn of(look: &Look) -> Vec<GpuProcess> {
    let mut all = Vec::new();
    let processes = look.names("/proc").into_iter().filter_map(|name| name.parse::<u32>().ok());
    for pid in processes {
        let directory = format!("/proc/{pid}/fdinfo");
        let mut clients = BTreeMap::new();
        for file in look.names(&directory).into_iter().take(FILES_MAX) {
            let text = look.text(format!("{directory}/{file}")).unwrap_or_default();
            if let Some(client) = client(&text) {
                clients.insert((client.card, client.id), client.memory);
            }
        }
        let mut cards: BTreeMap<String, Option<u64>> = BTreeMap::new();
        for ((card, _), memory) in clients {
            let sum = cards.entry(card).or_default();
            *sum = match (*sum, memory) {
                (None, memory) => memory,
                (sum, None) => sum,
                (Some(sum), Some(memory)) => Some(sum + memory),
            };
        }
        all.extend(cards.into_iter().map(|(card, memory)| GpuProcess {
            card,
            pid,
            name: None,
            work: Work::Unknown,
            memory,
            container: None,
            unit: None,
            parents: Vec::new(),
        }));
    }
    all
}

fn client(text: &str) -> Option<Client> {
    let fields: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key, value.trim()))
        .collect();
    let card = (*fields.get("drm-pdev")?).to_owned();
    let id = (*fields.get("drm-client-id")?).to_owned();
    // Memory of the card itself is called `vram` by amdgpu, `vram0` by xe, `local0` by i915.
    let memory = |prefix: &str| {
        let own = |(key, value): (&&str, &&str)| {
            let region = key.strip_prefix(prefix)?;
            (region.starts_with("vram") || region.starts_with("local")).then(|| bytes(value)).flatten()
        };
        fields.iter().filter_map(own).reduce(|a, b| a + b)
    };
    Some(Client { card, id, memory: memory("drm-resident-").or_else(|| memory("drm-memory-")) })
}

/// `12 KiB`, in bytes.
fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = text.split_once(' ').unwrap_or((text, ""));
    let unit = match unit {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// The processes that a process descends from, the nearest first.
pub(super) fn parents(look: &Look, pid: u32) -> Vec<u32> {
    let parent = |pid: &u32| {
        let stat = look.text(format!("/proc/{pid}/stat"))?;
        parent(&stat).filter(|parent| *parent > 0)
    };
    std::iter::successors(Some(pid), parent).skip(1).take(PARENTS_MAX).collect()
}

/// The parent that a `/proc/PID/stat` names: the second field after the name of the program, which may hold anything.
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// The container (by full id) and the unit of systemd that a process belongs to, from its `/proc/PID/cgroup`.
pub(super) fn owner(groups: &str) -> (Option<String>, Option<String>) {
    let parts =
        || groups.lines().filter_map(|line| line.splitn(3, ':').nth(2)).flat_map(|path| path.split('/'));
    let is_id = |text: &str| text.len() == CONTAINER_ID_DIGITS && text.bytes().all(|c| c.is_ascii_hexdigit());
    // `libpod-ID.scope`, `docker-ID.scope`, `ID`.
    let container = |part: &str| {
        let name = part.strip_suffix(".scope").unwrap_or(part);
        let id = name.rsplit('-').next().unwrap_or(name);
        is_id(id).then(|| id.to_owned())
    };
    let unit = |part: &str| part.ends_with(".service").then(|| part.to_owned());
    (parts().find_map(container), parts().filter_map(unit).next_back())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_open_card_says() {
        let text = "pos:\t0\nflags:\t02100002\ndrm-driver:\tamdgpu\ndrm-pdev:\t0000:03:00.0\ndrm-client-id:\t17\n\
                    drm-memory-vram:\t10240 KiB\ndrm-memory-gtt: \t2048 KiB\ndrm-engine-gfx:\t123 ns\n";
        let expected =
            Client { card: "0000:03:00.0".to_owned(), id: "17".to_owned(), memory: Some(10_240 << 10) };
        assert_eq!(client(text), Some(expected));
        let shared = "drm-pdev: 0000:00:02.0\ndrm-client-id: 3\ndrm-resident-system0: 4096 KiB\n";
        assert_eq!(client(shared).unwrap().memory, None);
        assert_eq!(client("pos:\t0\nflags:\t02\n"), None);
    }

    #[test]
    fn whom_a_process_descends_from() {
        assert_eq!(parent("17 (a) b (c) S 4 17 17"), Some(4));
        assert_eq!(parent("17 (a"), None);
    }

    #[test]
    fn who_a_process_belongs_to() {
        let id = "0123456789abcdef".repeat(4);
        let cases = [
            (format!("0::/machine.slice/libpod-{id}.scope/container"), Some(id.clone()), None),
            (format!("0::/system.slice/docker-{id}.scope"), Some(id.clone()), None),
            (format!("12:devices:/docker/{id}\n0::/"), Some(id.clone()), None),
            ("0::/system.slice/jellyfin.service".to_owned(), None, Some("jellyfin.service".to_owned())),
            (
                "0::/user.slice/user-1000.slice/user@1000.service/app.slice/ollama.service".to_owned(),
                None,
                Some("ollama.service".to_owned()),
            ),
            ("0::/init.scope".to_owned(), None, None),
            (String::new(), None, None),
        ];
        for (groups, container, unit) in cases {
            assert_eq!(owner(&groups), (container, unit), "{groups}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(drm-pdev: x\n)?(drm-client-id: 1\n)?(drm-memory-vram:.{0,30}\n)?.{0,50}") {
            let _ = (client(&text), owner(&text));
        }
    }
}
