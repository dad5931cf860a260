//! Reading versions as people and registries write them.

use hob_model::OpError;
use semver::{Version, VersionReq};

use crate::VERSION_BYTES_MAX;

/// The version that `text` is; `loose` accepts one or two numbers and leading zeros.
pub(crate) fn read(text: &str, loose: bool) -> Result<Version, OpError> {
    check_length(text)?;
    let plain = text.trim();
    let plain = plain.strip_prefix(['v', 'V']).unwrap_or(plain);
    if let Ok(version) = Version::parse(plain) {
        let fits =
            [version.major, version.minor, version.patch].iter().all(|number| i64::try_from(*number).is_ok());
        return fits
            .then_some(version)
            .ok_or_else(|| OpError::invalid(format!("`{text}` has a number past 64 bits")));
    }
    let completed = complete(plain);
    match (Version::parse(&completed), loose) {
        (Ok(version), true) => Ok(version),
        (Ok(version), false) => Err(OpError::invalid(format!("`{text}` is no full version"))
            .hint(format!("write \"{version}\", or pass #{{ loose: true }}"))),
        (Err(error), _) => Err(OpError::invalid(format!("`{text}` is no version: {error}"))
            .hint("a version is MAJOR.MINOR.PATCH, such as \"1.22.3\" or \"1.22.3-rc.1\"")),
    }
}

/// `16.02-alpine` as `16.2.0-alpine`.
fn complete(text: &str) -> String {
    let (numbers, rest) = text.split_at(text.find(['-', '+']).unwrap_or(text.len()));
    let mut numbers: Vec<&str> = numbers.split('.').map(without_zeros).collect();
    while numbers.len() < 3 {
        numbers.push("0");
    }
    numbers.join(".") + rest
}

fn without_zeros(number: &str) -> &str {
    match number.trim_start_matches('0') {
        "" if number.is_empty() => "",
        "" => "0",
        stripped => stripped,
    }
}

/// The requirement that `text` is.
pub(crate) fn read_requirement(text: &str) -> Result<VersionReq, OpError> {
    check_length(text)?;
    VersionReq::parse(text).map_err(|error| {
        OpError::invalid(format!("`{text}` is no requirement: {error}"))
            .hint("write for example \"^1.2\", \">=16, <17\", \"~1.4.2\" or \"1.*\"")
    })
}

fn check_length(text: &str) -> Result<(), OpError> {
    if text.len() > VERSION_BYTES_MAX {
        return Err(OpError::invalid(format!(
            "{} bytes are no version: at most {VERSION_BYTES_MAX}",
            text.len()
        )));
    }
    Ok(())
}
