//! Which keys of a Compose service are taken: the code, the list, and the page say the same.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // tests

use std::collections::BTreeSet;

use hob_primitive::FromOptions;
use hob_std_containers::compose::{OURS, REFUSED, SUPPORTED};
use hob_std_containers::options::ComposeSpec;

/// The attributes of `services` in the Compose specification.
const COMPOSE: &str = "annotations attach blkio_config build cap_add cap_drop cgroup cgroup_parent command configs \
    container_name cpu_count cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares cpus cpuset \
    credential_spec depends_on deploy develop device_cgroup_rules devices dns dns_opt dns_search domainname entrypoint \
    env_file environment expose extends external_links extra_hosts gpus group_add healthcheck hostname image init ipc \
    isolation label_file labels links logging mac_address mem_limit mem_reservation mem_swappiness memswap_limit models \
    network_mode networks oom_kill_disable oom_score_adj pid pids_limit platform ports post_start pre_stop privileged \
    profiles provider pull_policy pull_refresh_after read_only restart runtime scale secrets security_opt shm_size stdin_open \
    stop_grace_period stop_signal storage_opt sysctls tmpfs tty ulimits use_api_socket user userns_mode uts volumes \
    volumes_from working_dir";

#[test]
fn every_key_is_supported_or_refused_with_a_reason() {
    let compose: BTreeSet<&str> = COMPOSE.split_whitespace().collect();
    let refused: BTreeSet<&str> = REFUSED.iter().map(|(key, _)| *key).collect();
    let supported: BTreeSet<&str> = SUPPORTED.iter().copied().collect();
    assert!(supported.is_disjoint(&refused));
    assert_eq!(supported.union(&refused).copied().collect::<BTreeSet<_>>(), compose);

    let taken: BTreeSet<&str> = ComposeSpec::SPECS.iter().map(|spec| spec.key).collect();
    let expected: BTreeSet<&str> = SUPPORTED.iter().chain(OURS).copied().collect();
    assert_eq!(taken, expected);
}

#[test]
fn the_page_says_the_same() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    for key in SUPPORTED {
        assert!(rows.iter().any(|row| row.starts_with(&format!("| `{key}` | supported |"))), "{key}");
    }
    for (key, reason) in REFUSED {
        assert!(rows.contains(&format!("| `{key}` | refused | {reason} |").as_str()), "{key}: {reason}");
    }
}
