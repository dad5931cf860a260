//! What the tests of the checker share.
#![allow(dead_code)] // each test uses its part

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use hob_check::{Catalog, Checked, Request, check};
use hob_engine::Loader;
use hob_primitive::Registry;

pub(crate) static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    Catalog::new(Arc::new(Registry::new(hob_stdlib::primitives()).expect("the standard library is complete")))
});

/// Files in memory.
pub(crate) struct Files(pub(crate) BTreeMap<String, String>);

impl Loader for Files {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        self.0
            .get(path)
            .map(|text| text.clone().into_bytes())
            .ok_or_else(|| "no such file or directory".to_owned())
    }
}

/// Checks one text, on a stack as scripts have it.
pub(crate) fn check_text(text: &str) -> Checked {
    check_files("script.rhai", Files([("script.rhai".to_owned(), text.to_owned())].into()))
}

pub(crate) fn check_files(root: &str, files: Files) -> Checked {
    let root = root.to_owned();
    on_script_stack(move || {
        check(
            &CATALOG,
            &Request { root: &root, loader: &files, cwd: Path::new("/home/me"), given: &[], functions: &[] },
        )
    })
}

pub(crate) fn on_script_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let builder = std::thread::Builder::new().stack_size(hob_engine::SCRIPT_STACK_BYTES);
    builder.spawn(work).expect("a thread can be started").join().expect("checks do not panic")
}
