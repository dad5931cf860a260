//! Permissions as people write them, made what the gate compares.

use std::path::Path;

use hob_engine::Base;

#[test]
fn paths_of_grants_are_made_absolute() {
    let registry = hob_stdlib::registry();
    let base = Base { directory: Path::new("/srv/lab"), home: Some(Path::new("/home/ada")) };
    for (grant, absolute) in [
        ("files.write:out", "files.write:/srv/lab/out"),
        ("files.write:./out/", "files.write:/srv/lab/out"),
        ("files.read:../media", "files.read:/srv/media"),
        ("files.write:out/*.txt", "files.write:/srv/lab/out/*.txt"),
        ("files.write:*.txt", "files.write:*.txt"),
        ("files.write:~", "files.write:/home/ada"),
        ("files.read:~/x", "files.read:/home/ada/x"),
        ("files:out", "files:/srv/lab/out"),
        ("files.*:out", "files.*:/srv/lab/out"),
        ("files.write:/mnt", "files.write:/mnt"),
        ("files", "files"),
        ("files.write", "files.write"),
        ("http:ntfy.sh", "http:ntfy.sh"),
        ("process:pg_dump", "process:pg_dump"),
        ("env.get:HOME", "env.get:HOME"),
        ("process.list", "process.list"),
        ("*", "*"),
        ("*:out", "*:out"),
    ] {
        assert_eq!(base.absolute(grant, &registry).as_deref(), Ok(absolute), "{grant}");
    }
}

#[test]
fn grants_that_nothing_needs_are_refused_with_a_cure() {
    let registry = hob_stdlib::registry();
    let base = Base { directory: Path::new("/"), home: None };
    for (grant, hint) in [
        ("file.write:/a", "did you mean `files.write`?"),
        ("flies", "did you mean `files`?"),
        ("files.remove:/a", "files::remove needs `files.write`"),
        ("files::write", "did you mean `files.write`?"),
        ("something.else", "`hob doc OPERATION`"),
        ("", "`hob doc OPERATION`"),
        ("files.read:~/a", "write the path in full"),
    ] {
        let error = base.absolute(grant, &registry).unwrap_err();
        assert!(error.hint.as_deref().unwrap_or_default().contains(hint), "{grant}: {error:?}");
    }
}
