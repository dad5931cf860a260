//! `hob install`
#![allow(clippy::disallowed_methods)] // It writes a unit file.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use hob_model::{Code, Diagnostic};

use super::targets;
use crate::args::InstallArgs;
use crate::context::{Context, Exit, Failure, Outcome, home};
use crate::loader;

/// The first line of what it writes; without it a unit belongs to somebody else.
pub(super) const MARK: &str =
    "# Written by `hob install`; it is written anew by the next one. `systemctl edit hob` adds to it.";

/// The name of the unit.
pub(super) const UNIT: &str = "hob.service";

/// The state directory that systemd makes for `StateDirectory=hob`.
const STATE: &str = "/var/lib/hob";

/// Where units of the machine's owner are.
const SYSTEM_UNITS: &str = "/etc/systemd/system";

/// The largest unit file that is looked into, in bytes.
const UNIT_BYTES_MAX: u64 = 1024 * 1024;

/// `hob install [DIR]`
pub(crate) fn install(context: &Context, args: &InstallArgs) -> Outcome {
    let is_root = rustix::process::geteuid().is_root();
    let dir = unit_dir(is_root)?;
    let user = if is_root { "" } else { "--user " };
    if args.remove {
        for path in targets::written(&dir).into_iter().chain([dir.join(UNIT)]) {
            remove(context, &path)?;
        }
        context.say(&format!("next: systemctl {user}daemon-reload"));
        return Ok(Exit::Done);
    }
    let loaded = loader::load_homelab(&args.path)?;
    let declared = super::homelab::declared(context, &loaded)?;
    let program =
        std::env::current_exe().map_err(|error| refused(&format!("hob does not find itself: {error}")))?;
    let homelab = args.path.canonicalize().map_err(|error| refused(&error.to_string()))?;
    let text = unit(&program, &homelab, &context.state, is_root)?;
    let mut units = vec![(dir.join(UNIT), text)];
    if args.targets {
        units.extend(declared.tiers.iter().map(|tier| targets::of(&dir, tier, &declared.tiers)));
    }
    if args.dry_run {
        for (path, text) in &units {
            context.print_line(&format!("# {}\n{}", path.display(), text.trim_end()));
        }
        return Ok(Exit::Done);
    }
    for (path, text) in &units {
        write(path, text)?;
        context.say(&format!("wrote {}", path.display()));
    }
    // Of tiers that are gone, or all of them when they are not wanted any more.
    for path in targets::written(&dir).into_iter().filter(|path| units.iter().all(|(unit, _)| unit != path)) {
        remove(context, &path)?;
    }
    context.say(&format!("next: systemctl {user}daemon-reload && systemctl {user}enable --now {UNIT}"));
    Ok(Exit::Done)
}

fn refused(message: &str) -> Diagnostic {
    Diagnostic::error(Code::StateUnusable, message)
}

/// Where units are written: those of the machine for root, else those of the user.
pub(crate) fn unit_dir(is_root: bool) -> Result<PathBuf, Failure> {
    if is_root { Ok(PathBuf::from(SYSTEM_UNITS)) } else { user_units() }
}

/// Removes a unit that it wrote itself; one that is not there is fine.
fn remove(context: &Context, path: &Path) -> Result<(), Diagnostic> {
    let problem = |error| refused(&format!("{} cannot be removed: {error}", path.display()));
    if !path.try_exists().map_err(problem)? {
        return Ok(());
    }
    if !is_ours(path).map_err(problem)? {
        return Err(somebody_elses(path));
    }
    std::fs::remove_file(path).map_err(problem)?;
    context.say(&format!("removed {}", path.display()));
    Ok(())
}

/// Whether it wrote a unit that is there.
pub(super) fn is_ours(path: &Path) -> std::io::Result<bool> {
    let meta = std::fs::metadata(path)?;
    Ok(meta.is_file() && meta.len() <= UNIT_BYTES_MAX && std::fs::read_to_string(path)?.starts_with(MARK))
}

fn somebody_elses(path: &Path) -> Diagnostic {
    let message = format!("{} is there already, and `hob install` did not write it", path.display());
    refused(&message).hint("remove or rename it")
}

/// Where the units of a user are.
fn user_units() -> Result<PathBuf, Failure> {
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let config = config.or_else(|| home().map(|home| home.join(".config")));
    let config = config.ok_or_else(|| refused("neither XDG_CONFIG_HOME nor HOME says where units are"))?;
    Ok(config.join("systemd/user"))
}

/// The unit. Restarting it restarts no service: only hob itself is killed, and what it had started is adopted by the next
/// one. At a shutdown hob stops services in order.
fn unit(program: &Path, homelab: &Path, state: &Path, is_root: bool) -> Result<String, Diagnostic> {
    let [program, homelab, state_word] = [quoted(program)?, quoted(homelab)?, quoted(state)?];
    let own_directory = is_root && state == Path::new(STATE);
    let directory = if own_directory { "StateDirectory=hob\nStateDirectoryMode=0700\n" } else { "" };
    // Services may need these; where they are not installed, the lines say nothing.
    let after = if is_root {
        "Wants=network-online.target\nAfter=network-online.target dbus.service docker.service podman.socket\n"
    } else {
        "After=podman.socket\n"
    };
    let target = if is_root { "multi-user.target" } else { "default.target" };
    Ok(format!(
        "{MARK}\n[Unit]\nDescription=hob, the household spirit of this homelab\n{after}\n\
         [Service]\nType=notify\n\
         ExecStart={program} --state {state_word} up {homelab} --on-exit keep\n{directory}\
         # Services outlive hob, and are adopted when it comes back.\nKillMode=process\n\
         # It is ready when the homelab has booted, and stops services in order when the machine is shut down.\n\
         TimeoutStartSec=infinity\nTimeoutStopSec=10min\nWatchdogSec=2min\nRestart=on-failure\nRestartSec=5s\n\n\
         [Install]\nWantedBy={target}\n"
    ))
}

/// A path as one word of a command line in a unit (systemd.service, "Command lines").
fn quoted(path: &Path) -> Result<String, Diagnostic> {
    let text = path.to_str().filter(|text| !text.chars().any(char::is_control)).ok_or_else(|| {
        refused(&format!(
            "{} cannot stand in a unit: it has control characters, or is not UTF-8",
            path.display()
        ))
    })?;
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    Ok(format!("\"{escaped}\""))
}

/// Writes the unit whole or not at all, in place of none or of one that it wrote itself.
fn write(path: &Path, text: &str) -> Result<(), Diagnostic> {
    let problem = |error: std::io::Error| {
        refused(&format!("{} cannot be written: {error}", path.display()))
            .hint("`--dry-run` prints it instead")
    };
    match std::fs::metadata(path) {
        Ok(_) => {
            if !is_ours(path).map_err(problem)? {
                return Err(somebody_elses(path));
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(problem(error)),
    }
    let dir = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(dir).map_err(problem)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = dir.join(format!(".{name}.{}", std::process::id()));
    let written = std::fs::File::create(&beside).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.and_then(|()| std::fs::rename(&beside, path)).map_err(|error| {
        let _ = std::fs::remove_file(&beside);
        problem(error)
    })
}
