//! The forms in which the value of a secret is met in the world.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use hob_model::{OpError, SecretForm};
use hob_primitive::Opened;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use zeroize::Zeroizing;

/// What stays as it is in an address (RFC 3986, section 2.3).
const UNRESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// How many characters of base64 hold bits of `before` bytes before the value, whole or in part.
const SHARED_CHARS: [usize; 3] = [0, 2, 3];

/// The forms that are searched for; parts of documents are values of their own.
pub(super) fn searched() -> Vec<SecretForm> {
    let base64 = [false, true]
        .into_iter()
        .flat_map(|url| (0..3).map(move |before| SecretForm::Base64 { before, url }));
    let others = [
        SecretForm::Plain,
        SecretForm::Hex { upper: false },
        SecretForm::Hex { upper: true },
        SecretForm::Url,
        SecretForm::Json,
    ];
    others.into_iter().chain(base64).collect()
}

/// The value in this form.
///
/// # Errors
/// When it has no such part.
pub(super) fn written(value: &[u8], form: &SecretForm) -> Result<Opened, OpError> {
    Ok(Zeroizing::new(match form {
        SecretForm::Plain => value.to_vec(),
        SecretForm::Hex { upper } => {
            let digits = if *upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
            let pair = |byte: &u8| [digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]];
            value.iter().flat_map(pair).collect()
        }
        SecretForm::Url => percent_encode(value, &UNRESERVED).to_string().into_bytes(),
        SecretForm::Json => {
            let quoted = crate::sops::json_text(&Zeroizing::new(String::from_utf8_lossy(value).into_owned()));
            quoted.as_bytes()[1..quoted.len() - 1].to_vec()
        }
        SecretForm::Base64 { before, url } => {
            let before = usize::from(*before);
            let mut group = Zeroizing::new(vec![0; before + value.len()]);
            group[before..].copy_from_slice(value);
            let engine = if *url { &URL_SAFE_NO_PAD } else { &STANDARD_NO_PAD };
            let text = Zeroizing::new(engine.encode(&*group));
            // The last character may hold bits of what comes after.
            let whole = group.len() * 8 / 6;
            text.as_bytes().get(SHARED_CHARS[before]..whole).unwrap_or_default().to_vec()
        }
        SecretForm::Part { format, pointer } => return super::part::part(value, format, pointer),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_found_wherever_it_stands() {
        let value = b"correct horse battery";
        for before in 0..5_usize {
            for after in 0..4 {
                let text = [&b"xyzzy"[..before], value, &b"&&&&"[..after]].concat();
                let found = STANDARD_NO_PAD.encode(text);
                let form = SecretForm::Base64 { before: u8::try_from(before % 3).unwrap(), url: false };
                let middle = written(value, &form).unwrap();
                let middle = std::str::from_utf8(&middle).unwrap();
                assert!(found.contains(middle), "{before} {after}: {found} {middle}");
            }
        }
    }
}
