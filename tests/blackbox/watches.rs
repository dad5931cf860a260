//! Files that start workflows, with the real binary and the real file system.

use std::io::Write as _;

use hob_tests::until;

use crate::home;

#[test]
fn files_start_a_workflow_when_they_are_whole_also_those_that_came_while_nobody_looked() {
    let home = home();
    home.write(
        "lab/homelab.rhai",
        r#"homelab(#{ name: "watched", timezone: "UTC" });
           workflow("film", #{ on: watch("hot/**/*.mkv", #{ settle: "200ms" }) }, |file| {
               files::append("films", `${file.name} ${file.size}` + "\n");
           });"#,
    );
    home.write("lab/hot/old.mkv", "was there before");
    let mut up = home.up("lab", &[]);
    // In a directory that is new, too; and only once nobody writes to it any more.
    home.write("lab/hot/new/done.mkv", "12345");
    let path = home.path("lab/hot/half.mkv");
    let mut half = std::fs::File::create(&path).unwrap();
    half.write_all(b"half").unwrap();
    until("the whole one is seen", || {
        home.lines("lab/films").contains(&"done.mkv 5".to_owned()).then_some(())
    });
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    assert_eq!(home.lines("lab/films").len(), 1, "half a file was taken for a whole one");
    half.write_all(b" and half").unwrap();
    drop(half);
    until("it is whole", || home.lines("lab/films").contains(&"half.mkv 13".to_owned()).then_some(()));
    assert!(up.process.kill());
    home.write("lab/hot/late.mkv", "1");
    let mut up = home.up("lab", &[]);
    until("what came meanwhile is seen", || {
        home.lines("lab/films").contains(&"late.mkv 1".to_owned()).then_some(())
    });
    let _ = up.stop().exits(0);
    let mut films = home.lines("lab/films");
    films.sort();
    assert_eq!(films, ["done.mkv 5", "half.mkv 13", "late.mkv 1"], "each once");
}
