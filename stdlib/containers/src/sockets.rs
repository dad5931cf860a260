//! Where container engines are looked for.

/// The sockets to try, in this order; the first that is there is taken.
///
/// `CONTAINER_HOST` and `DOCKER_HOST` of the run's environment decide alone when they are set. Otherwise these are tried:
/// Podman's of the system (for root), Podman's of the user, Docker's of the system, Docker's of the user.
#[must_use]
pub fn candidates(env: &[(String, String)], uid: u32) -> Vec<String> {
    let variable = |name: &str| {
        let pair = env.iter().find(|(key, value)| key == name && !value.is_empty());
        pair.map(|(_, value)| value.clone())
    };
    if let Some(named) = variable("CONTAINER_HOST").or_else(|| variable("DOCKER_HOST")) {
        return vec![named];
    }
    let runtime = variable("XDG_RUNTIME_DIR").unwrap_or_else(|| format!("/run/user/{uid}"));
    let (podman, docker) = (format!("{runtime}/podman/podman.sock"), format!("{runtime}/docker.sock"));
    let (system_podman, system_docker) =
        ("/run/podman/podman.sock".to_owned(), "/var/run/docker.sock".to_owned());
    match uid {
        0 => vec![system_podman, podman, system_docker, docker],
        _ => vec![podman, docker, system_podman, system_docker],
    }
}

/// How an address is to be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket at this path.
    Unix(String),
    /// A TCP port, unencrypted: `127.0.0.1:2375`.
    Tcp(String),
}

/// Reads `unix:///path`, `/path` and `tcp://host:port`.
///
/// # Errors
/// With what is taken instead.
pub fn parse(text: &str) -> Result<Address, String> {
    match text.split_once("://") {
        Some(("unix", path)) if path.starts_with('/') => Ok(Address::Unix(path.to_owned())),
        Some(("tcp" | "http", host)) if !host.is_empty() => Ok(Address::Tcp(host.to_owned())),
        None if text.starts_with('/') => Ok(Address::Unix(text.to_owned())),
        Some(("ssh", _)) => {
            Err("ssh is not spoken: forward the remote socket to a local one with ssh -L".to_owned())
        }
        _ => Err(format!(
            "\"{text}\" is no address of an engine: write unix:///path, /path or tcp://host:port"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn where_is_looked() {
        assert_eq!(candidates(&env(&[("DOCKER_HOST", "tcp://a:1")]), 0), ["tcp://a:1"]);
        let both = env(&[("DOCKER_HOST", "unix:///d"), ("CONTAINER_HOST", "unix:///c")]);
        assert_eq!(candidates(&both, 0), ["unix:///c"]);
        assert_eq!(candidates(&[], 0)[0], "/run/podman/podman.sock");
        assert_eq!(candidates(&[], 1000)[0], "/run/user/1000/podman/podman.sock");
        assert_eq!(candidates(&env(&[("XDG_RUNTIME_DIR", "/r")]), 7)[1], "/r/docker.sock");
    }

    #[test]
    fn addresses() {
        assert_eq!(parse("/a/b"), Ok(Address::Unix("/a/b".to_owned())));
        assert_eq!(parse("unix:///a"), Ok(Address::Unix("/a".to_owned())));
        assert_eq!(parse("tcp://h:1"), Ok(Address::Tcp("h:1".to_owned())));
        for wrong in ["", "a/b", "unix://a", "ssh://host", "https://h", "tcp://"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
