//! `hob check`

use std::path::Path;

use hob_model::Level;

use crate::context::{Context, Exit, Outcome};
use crate::loader;

/// Parses the script, or the homelab and what it declares; all problems at once.
pub(crate) fn check(context: &Context, path: &Path) -> Outcome {
    let is_homelab = path.is_dir() || path.file_name().is_some_and(|name| name == loader::HOMELAB_FILE);
    let loaded =
        if is_homelab { loader::load_homelab(path)? } else { loader::load(&path.to_string_lossy())? };
    if is_homelab {
        super::homelab::read(context, &loaded, Level::Note)?;
    }
    context.say(&format!("{} file(s), no problems", loaded.bundle.files().count()));
    Ok(Exit::Done)
}
