//! The live adapter where no mover is needed to try it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::process::Command;

use hob_std_storage::live::Live;
use hob_std_storage::tier::{Source, Tiers};
use rustix::fs::{Advice, fadvise};

/// How much of a file the kernel keeps in memory.
fn bytes_in_memory(path: &std::path::Path) -> u64 {
    let told =
        Command::new("fincore").args(["--bytes", "--noheadings", "--output", "RES"]).arg(path).output();
    let told = String::from_utf8(told.expect("util-linux is everywhere").stdout).unwrap();
    told.trim().parse().unwrap()
}

fn read(source: &dyn Source, size: usize) -> Vec<u8> {
    // Whole pages, as the mover has them, or the kernel is asked in the usual way.
    let (part, page) = (1 << 20, 4096);
    let mut buffer = vec![0; part + page];
    let begin = buffer.as_ptr().align_offset(page);
    let mut all = Vec::new();
    while all.len() < size {
        let count = source.read_at(&mut buffer[begin..begin + part], all.len() as u64).unwrap();
        assert_ne!(count, 0, "it is shorter");
        all.extend_from_slice(&buffer[begin..begin + count]);
    }
    all
}

#[test]
fn what_is_read_once_does_not_push_others_out_of_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("film");
    let mut rng = fastrand::Rng::with_seed(1);
    // An end that fits no page, and a beginning that is changed without being synced.
    let mut content: Vec<u8> = (0..(6 << 20) + 100).map(|_| rng.u8(..)).collect();
    fs::write(&path, &content).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    file.sync_all().unwrap();
    fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    if bytes_in_memory(&path) > 0 {
        eprintln!("this file system keeps all in memory");
        return;
    }
    let tier = Live::new().open(dir.path()).unwrap();
    let source = tier.open("film".as_ref()).unwrap();
    source.spare_memory();
    assert_eq!(read(&*source, content.len()), content);
    assert!(bytes_in_memory(&path) <= 1 << 20, "no more than its end, which cannot pass memory by");

    // What is in memory already is newer than the disk, and read from there.
    content[..3 << 20].fill(7);
    file.write_all_at(&content[..3 << 20], 0).unwrap();
    assert_eq!(read(&*source, content.len()), content);
    assert!(bytes_in_memory(&path) <= 4 << 20, "and the rest is not");
}
