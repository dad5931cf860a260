//! The age identity that an SSH key stands for, as `ssh-to-age` computes it: NixOS hosts decrypt their SOPS files with
//! their SSH host key this way.

use bech32::{Bech32, Hrp};
use curve25519_dalek::edwards::CompressedEdwardsY;
use sha2::{Digest, Sha512};
use ssh_key::{PrivateKey, PublicKey};
use zeroize::Zeroizing;

/// The beginning of an age identity in its text form.
const HRP: &str = "age-secret-key-";
/// The beginning of an age recipient in its text form.
const RECIPIENT_HRP: &str = "age";
/// How long an Ed25519 seed and an X25519 key are.
const KEY_BYTES: usize = 32;

/// The X25519 identity of an Ed25519 key: the SHA-512 of its seed, the first half, clamped (RFC 8032, 5.1.5, and the
/// birational map of RFC 7748). RSA keys, and keys behind a passphrase, have none.
pub(super) fn x25519(openssh: &str) -> Option<age::x25519::Identity> {
    let key = PrivateKey::from_openssh(openssh).ok()?;
    let pair = key.key_data().ed25519()?;
    let mut hash: Zeroizing<[u8; 64]> = Zeroizing::new(Sha512::digest(pair.private.as_ref()).into());
    hash[0] &= 248;
    hash[31] &= 127;
    hash[31] |= 64;
    let hrp = Hrp::parse(HRP).expect("the prefix is lower-case ASCII");
    let text = Zeroizing::new(bech32::encode::<Bech32>(hrp, &hash[..KEY_BYTES]).ok()?);
    Zeroizing::new(text.to_uppercase()).parse().ok()
}

/// The age recipient of an Ed25519 public key, a line as in `id_ed25519.pub`: its point on the curve in its other form
/// (RFC 7748, 4.1). Other keys have none.
pub(super) fn recipient(public: &str) -> Option<String> {
    let key = PublicKey::from_openssh(public.trim()).ok()?;
    let point = CompressedEdwardsY(key.key_data().ed25519()?.0).decompress()?.to_montgomery();
    let hrp = Hrp::parse(RECIPIENT_HRP).expect("the prefix is lower-case ASCII");
    bech32::encode::<Bech32>(hrp, point.as_bytes()).ok()
}
