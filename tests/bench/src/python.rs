//! Tools of others that are Python packages.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Installs packages into an environment of their own below `place`; gives where their programs are.
pub(crate) fn install(place: &Path, packages: &[&str]) -> PathBuf {
    let environment = place.join("python");
    let mut venv = Command::new("python3");
    assert!(
        venv.args(["-m", "venv"]).arg(&environment).status().unwrap().success(),
        "python3-venv is missing"
    );
    let bin = environment.join("bin");
    let mut pip = Command::new(bin.join("pip"));
    let output =
        pip.args(["install", "--quiet", "--disable-pip-version-check"]).args(packages).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    bin
}
