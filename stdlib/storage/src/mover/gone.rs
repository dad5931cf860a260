//! Originals that have no name any more. Letting go of a large one takes a good part of the time that copying it took: the
//! kernel frees each page of it and each of its blocks. Meanwhile the mover goes on.

use std::thread::JoinHandle;

use crate::tier::Source;

/// Smaller ones are let go of at once.
const LARGE_BYTES: u64 = 8 << 20;

/// Lets go of one large original at a time; when it is dropped, all have gone.
#[derive(Default)]
pub(super) struct Gone(Option<JoinHandle<()>>);

impl Gone {
    pub(super) fn let_go(&mut self, original: Box<dyn Source>, bytes: u64) {
        if bytes >= LARGE_BYTES {
            self.wait();
            // Where no thread can be started, it is let go of here.
            let letting_go = std::thread::Builder::new().name("hob-frees".into());
            self.0 = letting_go.spawn(move || drop(original)).ok();
        }
    }

    fn wait(&mut self) {
        if let Some(letting_go) = self.0.take() {
            let _ = letting_go.join(); // closing a file does not panic
        }
    }
}

impl Drop for Gone {
    fn drop(&mut self) {
        self.wait();
    }
}
