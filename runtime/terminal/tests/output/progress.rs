//! What long work says.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use expect_test::expect;
use hob_terminal::progress::Clock;
use hob_terminal::{Bars, End, Lines, Progress, Silent, Style, Unit};
use indicatif::{InMemoryTerm, ProgressDrawTarget};

/// A clock that is moved by hand, in milliseconds.
#[derive(Clone, Default)]
struct Hand(Arc<AtomicU64>);

impl Hand {
    fn pass(&self, milliseconds: u64) {
        self.0.fetch_add(milliseconds, Ordering::Relaxed);
    }

    fn clock(&self) -> Clock {
        let hand = self.0.clone();
        Arc::new(move || Duration::from_millis(hand.load(Ordering::Relaxed)))
    }
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no panic before")).into_owned()
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic before").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A download, a step and a count, as work would report them.
fn work(progress: &dyn Progress, hand: &Hand, mut look: impl FnMut(&str)) {
    let download = progress.start("download image", Unit::Bytes, None);
    download.set_total(80 << 20);
    for _ in 0..4 {
        hand.pass(1900);
        download.advance(15 << 20);
    }
    look("downloading");
    let step = progress.start("tier storage", Unit::Step, None);
    step.message("waiting for\n/mnt/data");
    look("two at once");
    hand.pass(5000);
    step.message("waiting for /mnt/media");
    step.finish(End::Failed);
    download.advance(20 << 20);
    download.finish(End::Done);
    let hashing = progress.start("hash files", Unit::Items, Some(3000));
    hashing.advance(1234);
    look("hashing");
    progress.suspend(&mut || look("suspended"));
    drop(hashing);
    progress.start("prune", Unit::Step, None).finish(End::Skipped);
    look("at the end");
}

#[test]
fn a_log_gets_lines_now_and_then() {
    let (buffer, hand) = (Buffer::default(), Hand::default());
    work(&Lines::new(Box::new(buffer.clone()), hand.clock()), &hand, |_| {});
    expect![[r#"
        download image …
        download image: 45M of 80M (56%), 5.7 s
        tier storage …
        tier storage: waiting for /mnt/media, 5.0 s
        tier storage: failed, 5.0 s
        download image: done, 80M, 12 s
        hash files …
        prune …
        prune: skipped, 0 s
    "#]]
    .assert_eq(&buffer.text());
}

#[test]
fn a_terminal_gets_bars() {
    let (terminal, hand) = (InMemoryTerm::new(10, 100), Hand::default());
    let target = ProgressDrawTarget::term_like_with_hz(Box::new(terminal.clone()), 255);
    let mut seen = String::new();
    let bars = Bars::on(target, Style { color: false, width_columns: Some(100) }, hand.clock());
    work(&bars, &hand, |when| seen.push_str(&format!("[{when}]\n{}\n", terminal.contents())));
    expect![[r#"
        [downloading]
        ⠚ download image  ━━━━━━━━━━━━━━━━━━╸─────  60M of 80M (75%), 7.9M/s, 2 s left
        [two at once]
        ⠚ download image  ━━━━━━━━━━━━━━━━━━╸─────  60M of 80M (75%), 7.9M/s, 2 s left
        ⠁ tier storage  0 s  waiting for⏎/mnt/data
        [hashing]
        ✗ tier storage  5.0 s
        ✓ download image  80M in 12 s
        ⠁ hash files  ━━━━━━━━━╸──────────────  1,234 of 3,000 (41%)
        [suspended]
        ✗ tier storage  5.0 s
        ✓ download image  80M in 12 s
        [at the end]
        ✗ tier storage  5.0 s
        ✓ download image  80M in 12 s
        - prune  0 s
    "#]]
    .assert_eq(&seen);
}

#[test]
fn silence() {
    work(&Silent, &Hand::default(), |_| {});
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let hand = Hand::default();
    work(&Lines::new(Box::new(Full), hand.clock()), &hand, |_| {});
}
