//! Whole outputs, compared with what people should see.

mod color;
mod diagnostic;
mod places;
mod progress;
mod table;

/// Escape sequences made readable: `<1;31>` for "bold red", `<0>` for their end.
fn readable(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |out, part| out + "<" + &part.replacen('m', ">", 1))
}
