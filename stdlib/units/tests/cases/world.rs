//! The worlds of the cases: the fake, a systemd, and the manager of a user in it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hob_lab::systemd::{Systemd, UserManager};
use hob_model::{ErrorKind, OpError, Value};
use hob_primitive::Probe;
use hob_std_units::port::Scope;
use hob_std_units::{UnitsPort, fake::Fake, live::Live, primitive};
use hob_testkit::Harness;
use serde_json::{Value as Json, json};

/// A manager, and what calls its operations.
pub(crate) struct World {
    pub(crate) name: &'static str,
    pub(crate) harness: Harness,
    pub(crate) port: Arc<dyn UnitsPort>,
    /// Whether the calls are for the user's manager.
    pub(crate) user: bool,
}

/// The systemd of this test binary, and the manager of this user in it: started once, gone with it.
pub(crate) fn lab() -> Option<&'static (Systemd, UserManager)> {
    static LAB: OnceLock<Option<(Systemd, UserManager)>> = OnceLock::new();
    let start = || {
        let systemd = Systemd::start()?;
        let user = systemd.start_user(0)?;
        Ok((systemd, user))
    };
    LAB.get_or_init(|| hob_lab::started("systemd", Systemd::missing(), start)).as_ref()
}

pub(crate) fn live(systemd: &Systemd) -> Arc<dyn UnitsPort> {
    Arc::new(Live::at(systemd.bus_address(), systemd.root()))
}

/// Runs a case in all worlds. Units of different cases have different names: the real ones are shared.
pub(crate) fn everywhere(case: impl Fn(&World)) {
    case(&World::new("fake", Arc::new(Fake::new())));
    let Some((systemd, user)) = lab() else { return };
    case(&World::new("systemd", live(systemd)));
    let both = Live::at(systemd.bus_address(), systemd.root());
    let both = both.with_user(user.bus_address(), user.config(), user.runtime());
    case(&World { user: true, ..World::new("systemd --user", Arc::new(both)) });
}

impl World {
    pub(crate) fn new(name: &'static str, port: Arc<dyn UnitsPort>) -> Self {
        let harness = Harness::new().port(Arc::clone(&port));
        Self { name, harness, port, user: false }
    }

    /// The same manager, with other calls: a hob that was started anew, or another effect.
    pub(crate) fn again(&self, key: &str) -> Self {
        let harness = Harness::new().port(Arc::clone(&self.port)).key(key);
        Self { name: self.name, harness, port: Arc::clone(&self.port), user: self.user }
    }

    pub(crate) fn with_timeout(&self, timeout: Duration) -> Self {
        let harness = Harness::new().port(Arc::clone(&self.port)).timeout(timeout);
        Self { name: self.name, harness, port: Arc::clone(&self.port), user: self.user }
    }

    /// The arguments, with the manager that is meant.
    pub(crate) fn meant(&self, mut args: Json) -> Json {
        let Some(items) = args.as_array_mut().filter(|_| self.user) else { return args };
        match items.last_mut().and_then(Json::as_object_mut) {
            Some(options) => drop(options.insert("user".to_owned(), json!(true))),
            None => items.push(json!({"user": true})),
        }
        args
    }

    /// Where unit files are written.
    pub(crate) fn unit_dir(&self) -> String {
        let Some((_, user)) = lab().filter(|_| self.user) else { return "/etc/systemd/system".to_owned() };
        let dir = user.config().join("systemd/user");
        format!("/{}", dir.components().skip(4).collect::<std::path::PathBuf>().display())
    }

    pub(crate) fn scope(&self) -> Scope {
        if self.user { Scope::User } else { Scope::System }
    }

    pub(crate) fn try_call(&self, operation: &str, args: Json) -> Result<Value, OpError> {
        self.harness.call(&primitive(), &format!("units::{operation}"), self.meant(args))
    }

    #[track_caller]
    pub(crate) fn call(&self, operation: &str, args: Json) -> Value {
        let name = self.name;
        self.try_call(operation, args.clone())
            .unwrap_or_else(|error| panic!("{name}: {operation}{args}: {error:?}"))
    }

    /// The error of a call that is refused.
    #[track_caller]
    pub(crate) fn refused(&self, operation: &str, args: Json, kind: ErrorKind) -> OpError {
        match self.try_call(operation, args.clone()) {
            Ok(value) => panic!("{}: {operation}{args} gave {value:?}", self.name),
            Err(error) => {
                assert_eq!(error.kind, kind, "{}: {operation}{args}: {error:?}", self.name);
                error
            }
        }
    }

    pub(crate) fn intent(&self, operation: &str, args: Json) -> Value {
        self.harness.intent(&primitive(), &format!("units::{operation}"), self.meant(args)).unwrap()
    }

    pub(crate) fn probe(&self, operation: &str, args: Json, noted: &Value) -> Probe {
        self.harness
            .probe(&primitive(), &format!("units::{operation}"), self.meant(args), noted.clone())
            .unwrap()
    }

    /// Writes a unit file.
    #[track_caller]
    pub(crate) fn unit(&self, name: &str, text: &str) {
        self.call("write_unit", json!([name, text]));
    }

    #[track_caller]
    pub(crate) fn status(&self, name: &str) -> Value {
        self.call("status", json!([name]))
    }
}

/// The field of a map, as text.
#[track_caller]
pub(crate) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_else(|| panic!("no text `{key}` in {value:?}"))
}

#[track_caller]
pub(crate) fn truth(value: &Value, key: &str) -> bool {
    match value.get(key) {
        Some(Value::Bool(it)) => *it,
        _ => panic!("no bool `{key}` in {value:?}"),
    }
}

#[track_caller]
pub(crate) fn items(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        other => panic!("no array: {other:?}"),
    }
}

/// The names in an array of maps.
#[track_caller]
pub(crate) fn names(value: &Value) -> Vec<&str> {
    items(value).iter().map(|item| text(item, "name")).collect()
}

/// A service that stays.
pub(crate) const SLEEPER: &str = "[Unit]\nDescription=Sleeps\n[Service]\nType=exec\nExecStart=/bin/sleep 1000\n\
                                  [Install]\nWantedBy=multi-user.target\n";

/// A service that works and fails.
pub(crate) const FAILING: &str =
    "[Service]\nType=oneshot\nExecStart=/bin/echo about to fail\nExecStart=/bin/false\n";

/// A service that works and ends well.
pub(crate) const WORKING: &str =
    "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/echo all is well\n";

/// A service that works for ever.
pub(crate) const ENDLESS: &str = "[Service]\nType=oneshot\nExecStart=/bin/sleep 1000\n";
