//! Links that answer approvals: who has one may answer, once, until it is too old. They say what they are for and are signed
//! with a key in the state directory, so that nothing is kept for them.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use hob_model::{Diagnostic, Position, RunId, Timestamp};
use hob_primitive::Clock;
use sha2::Sha256;

/// The name of the file with the key, in the state directory.
const KEY_NAME: &str = "links.key";
/// How long a link is good for: 14 days.
const LINK_AGE_MAX: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// The longest link that is looked at, in bytes.
const LINK_BYTES_MAX: usize = 2048;
/// What the path of links begins with.
pub(crate) const LINKS_PREFIX: &str = "/links/";
/// What the signature is for: no other text that is signed with the key reads as a link.
const PURPOSE: &str = "hob approval v1";

/// Makes and reads links.
pub struct Links {
    key: String,
    clock: Arc<dyn Clock>,
    /// Where people reach this hob: `https://hob.example.net`.
    base: OnceLock<String>,
}

/// What is wrong with a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadLink {
    /// Nobody here made it.
    Forged,
    /// It is too old.
    Expired,
}

impl Links {
    /// Links that are signed with the key in the state directory; it is made where there is none.
    ///
    /// # Errors
    /// When the file cannot be read or made, or others can read it.
    pub fn new(state: &Path, clock: Arc<dyn Clock>) -> Result<Self, Diagnostic> {
        let key = crate::http::load_or_create_key(&state.join(KEY_NAME))?;
        Ok(Self { key, clock, base: OnceLock::new() })
    }

    /// Where people reach this hob; the first one stays.
    pub fn serve_at(&self, base: &str) {
        let _ = self.base.set(base.trim_end_matches('/').to_owned());
    }

    /// A link that answers the approval at a position of a run; `None` where nobody can be reached.
    #[must_use]
    pub fn approval(&self, run: &str, position: &str) -> Option<String> {
        let base = self.base.get()?;
        let expires = self.clock.now().checked_add(LINK_AGE_MAX).ok()?.as_second();
        let text = format!("{expires}\n{run}\n{position}");
        let signature = self.sign(&text).finalize().into_bytes();
        let (text, signature) = (URL_SAFE_NO_PAD.encode(text), URL_SAFE_NO_PAD.encode(signature));
        Some(format!("{base}{LINKS_PREFIX}{text}.{signature}"))
    }

    /// The run and the position that a link is about.
    ///
    /// # Errors
    /// When it was not made here, or is too old.
    pub fn read(&self, link: &str) -> Result<(RunId, Position), BadLink> {
        if link.len() > LINK_BYTES_MAX {
            return Err(BadLink::Forged);
        }
        let (text, signature) = link.split_once('.').ok_or(BadLink::Forged)?;
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| BadLink::Forged);
        let text = String::from_utf8(decode(text)?).map_err(|_| BadLink::Forged)?;
        self.sign(&text).verify_slice(&decode(signature)?).map_err(|_| BadLink::Forged)?;
        let mut lines = text.splitn(3, '\n');
        let (Some(expires), Some(run), Some(position)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(BadLink::Forged);
        };
        let expires = expires.parse().ok().and_then(|second| Timestamp::from_second(second).ok());
        if expires.ok_or(BadLink::Forged)? <= self.clock.now() {
            return Err(BadLink::Expired);
        }
        let run = RunId::parse(run).ok_or(BadLink::Forged)?;
        Ok((run, Position::parse(position).map_err(|_| BadLink::Forged)?))
    }

    fn sign(&self, text: &str) -> Hmac<Sha256> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.key.as_bytes()).expect("HMAC takes keys of any length");
        mac.update(PURPOSE.as_bytes());
        mac.update(text.as_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use hob_testkit::TestClock;

    use super::*;

    #[test]
    fn a_link_is_good_for_what_it_was_made_for_and_for_a_time() {
        let state = tempfile::tempdir().unwrap();
        let clock = Arc::new(TestClock::default());
        let links = Links::new(state.path(), Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
        let run = "0190a5c0-0000-7000-8000-000000000001";
        assert_eq!(links.approval(run, "3"), None, "nobody can be reached yet");
        links.serve_at("https://hob.example.net/");
        let link = links.approval(run, "1.media/3").unwrap();
        let token = link.strip_prefix("https://hob.example.net/links/").unwrap().to_owned();
        let (of, position) = links.read(&token).unwrap();
        assert_eq!((of.to_string(), position.to_string()), (run.to_owned(), "1.media/3".to_owned()));
        // The same state directory makes the same key; another one does not.
        let again = Links::new(state.path(), Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
        assert!(again.read(&token).is_ok());
        let other = tempfile::tempdir().unwrap();
        let other = Links::new(other.path(), Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
        assert_eq!(other.read(&token), Err(BadLink::Forged));
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(links.read(&changed).is_err(), "{changed} is taken");
        }
        assert_eq!(links.read(&format!("{token}{}", "A".repeat(LINK_BYTES_MAX))), Err(BadLink::Forged));
        clock.advance(LINK_AGE_MAX);
        assert_eq!(links.read(&token), Err(BadLink::Expired));
    }
}
