//! Changing one value of a file.

use super::document::{Edits, walk};
use super::file::{Opened, in_plain};
use super::text_of;
use super::value::Value;
use crate::error::{Error, Result};

impl Opened {
    /// The file with another text at a key: the keys that lead to it, joined with `/`. All else keeps its encrypted form.
    ///
    /// # Errors
    /// When there is no value at that key, or several: items of lists have no key of their own.
    pub fn with_value(&self, key: &str, value: &str, now: &str) -> Result<Vec<u8>> {
        let (_, text) = text_of(self.plain())?;
        let document = self.format().parse(text)?;
        let (mut edits, mut found) = (Edits::default(), 0);
        walk(&document.roots, &Default::default(), &mut |visit| {
            if !visit.is_comment && visit.path.join("/") == key {
                let (span, written) = in_plain(text, self.format(), visit, &Value::text(value))?;
                edits.replace(span, written);
                found += 1;
            }
            Ok(())
        })?;
        match found {
            1 => self.reseal(edits.apply(text).as_bytes(), now),
            0 => Err(Error::rules(format!("the file has no value `{}`", crate::shortened(key)))),
            _ => Err(Error::rules(format!("`{}` stands for several values", crate::shortened(key)))
                .hint("change it with `hob secrets edit`")),
        }
    }
}
