//! From a bundle to a homelab: the engine's declarations, read by the planner.

use std::path::Path;
use std::sync::Arc;

use hob_engine::{Bundle, Declared, Host};
use hob_model::Diagnostic;
use hob_planner::{Homelab, Raw, Surroundings};
use jiff::tz::TimeZone;

/// What a homelab's bundle declares, checked as a whole.
///
/// # Errors
/// All mistakes at once.
pub fn read_homelab(
    host: &Host,
    bundle: &Arc<Bundle>,
    directory: &Path,
) -> Result<(Homelab, Vec<Diagnostic>), Vec<Diagnostic>> {
    let declared = hob_engine::declarations(host, bundle).map_err(|diagnostic| vec![diagnostic])?;
    let raw: Vec<Raw> = declared.iter().map(raw).collect();
    let surroundings = Surroundings { zones: jiff::tz::db(), zone: TimeZone::system(), directory };
    let (homelab, diagnostics) = Homelab::read(&raw, &surroundings);
    if diagnostics.iter().any(|diagnostic| diagnostic.level == hob_model::Level::Error) {
        Err(diagnostics)
    } else {
        Ok((homelab, diagnostics))
    }
}

fn raw(declared: &Declared) -> Raw {
    Raw {
        kind: declared.kind.to_owned(),
        name: declared.name.clone(),
        options: declared.options.clone(),
        closures: declared.closures.iter().map(|(path, _)| path.clone()).collect(),
        source: declared.source.clone(),
    }
}
