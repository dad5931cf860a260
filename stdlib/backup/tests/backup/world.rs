//! What the tests share: a directory, adapters, and calls of operations.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aes256ctr_poly1305aes::Aes256CtrPoly1305Aes;
use aes256ctr_poly1305aes::aead::Aead;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hob_model::OpError;
use hob_primitive::Clock;
use hob_s3_server::{ACCESS_KEY, S3Server, SECRET_KEY};
use hob_std_backup::Location;
use hob_std_backup::fake::Fake;
use hob_std_backup::live::Live;
use hob_std_backup::port::{Area, Backups, Login};
use hob_std_s3::Address;
use hob_std_services::fake::FakeServices;
use hob_testkit::Harness;
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

pub(crate) const PASSWORD: &str = "correct horse battery staple";

pub(crate) struct World {
    pub(crate) temp: tempfile::TempDir,
    backups: Arc<dyn Backups>,
    /// Where repositories are, unless they are files.
    server: Option<S3Server>,
    calls: Cell<u32>,
    /// By how much the clock is wrong.
    pub(crate) ahead: Cell<Duration>,
    /// The services that there are.
    pub(crate) services: Arc<FakeServices>,
}

impl World {
    /// Repositories in directories.
    pub(crate) fn live() -> Self {
        Self::with(Arc::new(Live::new()))
    }

    /// Repositories in memory.
    pub(crate) fn fake(fake: &Fake) -> Self {
        Self::with(Arc::new(fake.clone()))
    }

    /// Repositories in buckets.
    pub(crate) fn buckets() -> Self {
        let server = Some(S3Server::start().expect("the server comes up"));
        Self { server, ..Self::live() }
    }

    /// Repositories in directories and in memory, for cases that have little to do with where the files are.
    pub(crate) fn both() -> [Self; 2] {
        [Self::live(), Self::fake(&Fake::new())]
    }

    /// One of each, for cases that must hold for all.
    pub(crate) fn all() -> [Self; 3] {
        [Self::live(), Self::buckets(), Self::fake(&Fake::new())]
    }

    fn with(backups: Arc<dyn Backups>) -> Self {
        Self {
            temp: tempfile::tempdir().unwrap(),
            backups,
            server: None,
            calls: Cell::new(0),
            ahead: Cell::default(),
            services: Arc::new(FakeServices::default().with("db", &[])),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.temp.path().canonicalize().unwrap().join(name)
    }

    /// The name of a path as arguments have it.
    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path(name)).ok()
    }

    pub(crate) fn harness(&self, key: &str) -> Harness {
        let programs = hob_std_process::live::Live::new(std::env::vars());
        let harness = Harness::new()
            .port::<dyn Backups>(Arc::clone(&self.backups))
            .port::<dyn hob_primitive::HostPrograms>(Arc::new(programs))
            .port::<dyn hob_primitive::Services>(Arc::clone(&self.services) as Arc<_>)
            .cwd(self.path(""))
            .key(key);
        // restic goes by the clock of this machine; and snapshots come one after the other.
        let began = Duration::from_micros(u64::try_from(harness.clock().now().as_microsecond()).unwrap());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        harness.clock().advance(
            now.saturating_sub(began) + Duration::from_secs(self.calls.get().into()) + self.ahead.get(),
        );
        harness
    }

    /// Calls an operation as an effect of its own. The last of `args` are options; they get the password.
    pub(crate) fn call(&self, name: &str, args: Json) -> Result<Json, OpError> {
        self.calls.set(self.calls.get() + 1);
        self.call_as(&format!("effect {}", self.calls.get()), name, args)
    }

    /// Calls an operation as the effect with this key.
    pub(crate) fn call_as(&self, key: &str, name: &str, mut args: Json) -> Result<Json, OpError> {
        let args_of = args.as_array_mut().unwrap();
        let options = args_of.last_mut().unwrap().as_object_mut().unwrap();
        options.entry("password").or_insert(json!(PASSWORD));
        let places = if name == "copy" { 2 } else { 1 };
        args_of.iter_mut().take(places).for_each(|place| self.locate(place));
        let done = self.harness(key).call(&hob_std_backup::primitive(), &format!("backup::{name}"), args)?;
        Ok(done.to_json().unwrap())
    }

    /// Has repositories, written as names, be where those of this world are.
    pub(crate) fn locate(&self, place: &mut Json) {
        let Some(server) = &self.server else { return };
        match place {
            Json::Array(all) => all.iter_mut().for_each(|place| self.locate(place)),
            Json::Object(map) => {
                let name = map["repository"].as_str().unwrap();
                map.insert("repository".to_owned(), json!(format!("s3:{}", server.bucket(name))));
                map.insert("user".to_owned(), json!(ACCESS_KEY));
                map.insert("secret".to_owned(), json!(SECRET_KEY));
            }
            name => {
                *name = json!({ "repository": name });
                self.locate(name);
            }
        }
    }

    /// A repository whose key opens fast.
    pub(crate) fn init(&self, place: &str) {
        let Template { config, key } = template();
        let key_name: String = Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect();
        let (location, login) = match &self.server {
            None => (Location::Local(self.path(place)), Login::default()),
            Some(server) => {
                let (user, secret) = (ACCESS_KEY.to_owned(), SECRET_KEY.as_bytes().to_vec().into());
                let address = Address::parse(&server.bucket(place)).unwrap();
                (Location::S3(address), Login { user: Some(user), secret: Some(secret), region: None })
            }
        };
        let store = self.backups.open(&location, login).unwrap();
        store.create().unwrap();
        store.write(Area::Keys, &key_name, &[key.clone().into()]).unwrap();
        store.write(Area::Config, "", &[config.clone().into()]).unwrap();
    }

    /// Backs up the directory `src`.
    pub(crate) fn snapshot(&self, to: &str) -> Json {
        self.call("snapshot", json!([to, ["src"], {}])).unwrap()[0].clone()
    }

    /// Restores the directory `src` of the last snapshot to `out`.
    pub(crate) fn restore(&self, from: &str, out: &str) -> Json {
        self.call("restore", json!([from, "latest", out, { "path": self.text("src") }])).unwrap()
    }

    /// restic on a repository.
    pub(crate) fn restic(&self, repository: &str, args: &[&str]) -> Output {
        let mut command = match &self.server {
            None => restic(&self.path(repository)),
            // It asks for lists with an empty delimiter, for which this server has nothing: it gets the server's files.
            Some(server) => restic(&server.file(repository, "")),
        };
        command.args(args).output().expect("restic is installed")
    }

    /// restic on a repository, which must do well.
    pub(crate) fn restic_ok(&self, repository: &str, args: &[&str]) -> String {
        let output = self.restic(repository, args);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{args:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }
}

/// A new repository. Its key needs a thousandth of the usual work: tests open it hundreds of times.
struct Template {
    config: Vec<u8>,
    key: Vec<u8>,
}

fn template() -> &'static Template {
    static MADE: OnceLock<Template> = OnceLock::new();
    MADE.get_or_init(|| {
        let fake = Fake::new();
        let world = World::fake(&fake);
        world.call("init", json!(["it", {}])).unwrap();
        let place = world.text("it");
        let name = fake.names(&place, Area::Keys).pop().unwrap();
        let file = |area, name| fake.get(&place, area, name).unwrap().to_vec();
        let mut key: Json = serde_json::from_slice(&file(Area::Keys, &name)).unwrap();
        let bytes = |of: &Json| STANDARD.decode(of.as_str().unwrap()).unwrap();
        let sealed = bytes(&key["data"]);
        let (nonce, sealed) = sealed.split_at(16);
        let master = cipher(&key, bytes(&key["salt"])).decrypt(nonce.into(), sealed).unwrap();
        key["N"] = json!(64);
        let sealed = cipher(&key, bytes(&key["salt"])).encrypt(nonce.into(), &*master).unwrap();
        key["data"] = json!(STANDARD.encode([nonce, &sealed].concat()));
        Template { config: file(Area::Config, "config"), key: serde_json::to_vec(&key).unwrap() }
    })
}

/// What the password opens a key with.
fn cipher(key: &Json, salt: Vec<u8>) -> Aes256CtrPoly1305Aes {
    let number = |name: &str| u32::try_from(key[name].as_u64().unwrap()).unwrap();
    let log_n = u8::try_from(number("N").ilog2()).unwrap();
    let work = scrypt::Params::new(log_n, number("r"), number("p"), 64).unwrap();
    let mut derived = [0; 64];
    scrypt::scrypt(PASSWORD.as_bytes(), &salt, &work, &mut derived).unwrap();
    Aes256CtrPoly1305Aes::new(aes256ctr_poly1305aes::Key::from_slice(&derived))
}

pub(crate) fn restic(repository: &Path) -> Command {
    let mut command = Command::new("restic");
    command.env("RESTIC_PASSWORD", PASSWORD).arg("--no-cache").arg("-r").arg(repository);
    command
}
