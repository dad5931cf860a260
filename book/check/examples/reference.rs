//! Writes the reference of the book.
#![allow(clippy::disallowed_methods)] // a tool for developers: it writes the project's own files

use std::{fs, io};

use hob_book_check::pages::root;
use hob_book_check::reference::{FOLDER, SUMMARY, pages, summary};

fn main() -> io::Result<()> {
    for (path, text) in pages() {
        let file = root().join(FOLDER).join(path);
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(file, text)?;
    }
    fs::write(root().join(SUMMARY), summary())
}
