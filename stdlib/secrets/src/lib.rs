//! Secrets at rest: age files, SOPS files and agenix directories, read, verified, written and re-keyed.
//!
//! Bytes come in and bytes go out; only [`live`] touches a disk. What is decrypted lives in
//! buffers that are wiped when they are dropped; no error holds any of it; nothing is given back before all of it has
//! been verified.

pub mod age;
pub mod agenix;
mod api;
pub mod deliver;
mod error;
mod held;
pub mod live;
mod lookalike;
pub mod rotate;
pub mod sops;
pub mod vault;

use std::sync::{Arc, LazyLock};

use hob_primitive::{Ports, Vault};
use hob_supervisor::secrets::Delivery;
use zeroize::Zeroizing;

pub use api::primitive;
pub use deliver::LiveDelivery;
pub use error::{Error, Kind, Result};
pub use held::Holder;
pub use lookalike::lookalikes;
pub use vault::LiveVault;

/// The vault of this process: what one part of it has opened, every other finds in what it tells.
#[must_use]
pub fn shared() -> Arc<LiveVault> {
    static SHARED: LazyLock<Arc<LiveVault>> = LazyLock::new(Arc::default);
    Arc::clone(&SHARED)
}

/// Plugs in the vault of this machine. Nothing is read before a secret is asked for.
pub fn install(ports: &mut Ports) {
    let vault = shared();
    hob_primitive::filter_sinks(Arc::clone(&vault) as Arc<dyn Vault>);
    ports.insert::<dyn Vault>(Arc::clone(&vault) as Arc<dyn Vault>);
    let delivery = LiveDelivery::new(Arc::clone(&vault));
    ports.insert::<dyn Delivery>(Arc::new(delivery));
    ports.insert::<LiveVault>(vault);
}

/// The largest encrypted file that is read, in bytes.
pub const FILE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The largest decrypted file, in bytes.
pub const PLAIN_BYTES_MAX: usize = 48 * 1024 * 1024;
/// How much of a text from outside an error repeats, in characters.
const SHOWN_CHARS_MAX: usize = 48;

/// Decrypted bytes; wiped when dropped.
pub type Plain = Zeroizing<Vec<u8>>;

pub(crate) fn too_large(what: &str, bytes_max: usize) -> Error {
    Error::new(Kind::TooLarge, format!("{what} is larger than {bytes_max} bytes"))
}

/// The beginning of a text, for errors.
pub(crate) fn shortened(text: &str) -> String {
    let mut chars = text.chars();
    let mut shown: String =
        chars.by_ref().take(SHOWN_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}
