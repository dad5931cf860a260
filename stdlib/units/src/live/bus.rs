//! Calls to systemd over D-Bus (org.freedesktop.systemd1(5)).
//!
//! Each call of the port opens a connection of its own: that costs under a millisecond on a local socket, and a bus that
//! was restarted meanwhile, or a call that was dropped half-way, leaves nothing stale behind.

use std::collections::HashMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use zbus::connection::Builder;
use zbus::message::Type;
use zbus::zvariant::{DynamicDeserialize, DynamicType, OwnedObjectPath, OwnedValue};
use zbus::{Connection, MatchRule, MessageStream};

use crate::port::{Facts, Fault, FaultKind, Row, UnitLife, Verb, is_up};

pub(super) const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
pub(super) const UNITS_PATH: &str = "/org/freedesktop/systemd1/unit";
pub(super) const MANAGER: &str = "org.freedesktop.systemd1.Manager";
pub(super) const UNIT: &str = "org.freedesktop.systemd1.Unit";
pub(super) const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

const SERVICE: &str = "org.freedesktop.systemd1.Service";

/// Lives that are asked for at one time, each with three calls: a bus refuses more than 128 that wait for their answers.
const LIVES_AT_ONCE: usize = 32;

/// How many signals may wait while something else is read; while a machine starts there are many at once.
pub(super) const SIGNALS_MAX: usize = 16_384;

/// A dictionary of properties.
pub(super) type Props = HashMap<String, OwnedValue>;

/// `a(ssssssouso)` of `ListUnits`.
type ListedUnit =
    (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

/// A connection to the manager.
pub(super) struct Bus(Connection);

impl Bus {
    pub(super) async fn connect(builder: zbus::Result<Builder<'_>>) -> Result<Self, Fault> {
        let connection = match builder {
            Ok(builder) => builder.build().await,
            Err(error) => Err(error),
        };
        connection.map(Self).map_err(|error| no_bus(&error))
    }

    /// Calls a method of the manager.
    pub(super) async fn call<B, R>(&self, member: &str, body: &B) -> Result<R, Fault>
    where
        B: Serialize + DynamicType,
        R: for<'d> DynamicDeserialize<'d>,
    {
        self.ask(MANAGER_PATH, MANAGER, member, body).await
    }

    async fn ask<B, R>(&self, path: &str, interface: &str, member: &str, body: &B) -> Result<R, Fault>
    where
        B: Serialize + DynamicType,
        R: for<'d> DynamicDeserialize<'d>,
    {
        let reply = self.0.call_method(Some(SYSTEMD), path, Some(interface), member, body).await;
        let reply = reply.map_err(|error| fault(&error))?;
        reply.body().deserialize().map_err(|error| fault(&error))
    }

    pub(super) async fn properties(&self, path: &str, interface: &str) -> Result<Props, Fault> {
        self.ask(path, PROPERTIES, "GetAll", &(interface,)).await
    }

    pub(super) async fn manager_properties(&self) -> Result<Props, Fault> {
        self.properties(MANAGER_PATH, MANAGER).await
    }

    pub(super) async fn property(
        &self,
        path: &str,
        interface: &str,
        name: &str,
    ) -> Result<OwnedValue, Fault> {
        self.ask(path, PROPERTIES, "Get", &(interface, name)).await
    }

    /// The object of a unit; it is loaded for that.
    pub(super) async fn unit_path(&self, unit: &str) -> Result<OwnedObjectPath, Fault> {
        self.call("LoadUnit", &(unit,)).await
    }

    pub(super) async fn facts(&self, unit: &str) -> Result<Facts, Fault> {
        let path = self.unit_path(unit).await?;
        let general = self.properties(path.as_str(), UNIT).await?;
        let special = match super::facts::interface(unit) {
            Some(interface) => self.properties(path.as_str(), interface).await?,
            None => Props::new(),
        };
        Ok(super::facts::facts(unit, &general, &special))
    }

    /// The lives of units that are up. Of hundreds of properties only those are asked for that tell them apart: systemd
    /// reads files of control groups for others.
    pub(super) async fn lives(&self, units: &[String]) -> Result<Vec<Option<UnitLife>>, Fault> {
        let listed: Vec<ListedUnit> = self.call("ListUnitsByNames", &(units,)).await?;
        if listed.len() != units.len() {
            let said = format!("systemd lists {} units of {}", listed.len(), units.len());
            return Err(Fault::new(FaultKind::Failed, said));
        }
        let life = |unit: ListedUnit| async move {
            if !is_up(&unit.3) {
                return Ok(None);
            }
            let path = unit.6.as_str();
            let has_main = super::facts::interface(&unit.0) == Some(SERVICE);
            let main = async {
                match has_main {
                    true => self.property(path, SERVICE, "MainPID").await.map(Some),
                    false => Ok(None),
                }
            };
            let (invocation, since, main) = futures_util::try_join!(
                self.property(path, UNIT, "InvocationID"),
                self.property(path, UNIT, "ActiveEnterTimestamp"),
                main
            )?;
            Ok(Some(super::facts::life(invocation, since, main)))
        };
        stream::iter(listed).map(life).buffered(LIVES_AT_ONCE).try_collect().await
    }

    pub(super) async fn rows(&self) -> Result<Vec<Row>, Fault> {
        let units: Vec<ListedUnit> = self.call("ListUnits", &()).await?;
        let row = |unit: ListedUnit| Row {
            name: unit.0,
            description: unit.1,
            load: unit.2,
            active: unit.3,
            sub: unit.4,
            job: (unit.7 != 0).then_some(unit.8),
        };
        Ok(units.into_iter().map(row).collect())
    }

    /// Asks for signals of the manager, and for those that match `rule`.
    pub(super) async fn listen(&self, rule: zbus::Result<MatchRule<'_>>) -> Result<MessageStream, Fault> {
        let rule = rule.map_err(|error| fault(&error))?.to_owned();
        let stream = MessageStream::for_match_rule(rule, &self.0, Some(SIGNALS_MAX)).await;
        let stream = stream.map_err(|error| fault(&error))?;
        match self.call::<_, ()>("Subscribe", &()).await {
            Err(fault) if !fault.message.contains("already subscribed") => Err(fault),
            _ => Ok(stream),
        }
    }

    pub(super) async fn job_ends(&self) -> Result<MessageStream, Fault> {
        self.signals("JobRemoved").await
    }

    /// The signals of the manager of one name.
    pub(super) async fn signals(&self, name: &str) -> Result<MessageStream, Fault> {
        let rule = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender(SYSTEMD)
            .and_then(|rule| rule.interface(MANAGER))
            .and_then(|rule| rule.member(name));
        self.listen(rule.map(zbus::match_rule::Builder::build)).await
    }

    /// Does it by a job and waits for its end.
    pub(super) async fn job(&self, verb: Verb, unit: &str) -> Result<String, Fault> {
        let member = match verb {
            Verb::Start => "StartUnit",
            Verb::Stop => "StopUnit",
            Verb::Restart => "RestartUnit",
            Verb::TryRestart => "TryRestartUnit",
            Verb::Reload => "ReloadUnit",
        };
        let ends = self.job_ends().await?;
        let job: OwnedObjectPath = self.call(member, &(unit, "replace")).await?;
        job_result(ends, &job).await
    }

    /// Waits until no job waits or runs for a unit.
    pub(super) async fn settle(&self, unit: &str) -> Result<(), Fault> {
        let mut ends = self.job_ends().await?;
        let path = self.unit_path(unit).await?;
        loop {
            let job = self.property(path.as_str(), UNIT, "Job").await?;
            if super::facts::job_id(&job) == 0 {
                return Ok(());
            }
            next(&mut ends).await?;
        }
    }

    /// Waits until a unit is at rest.
    pub(super) async fn ended(&self, unit: &str) -> Result<Facts, Fault> {
        let path = self.unit_path(unit).await?;
        let rule = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender(SYSTEMD)
            .and_then(|rule| rule.path(path.as_str()))
            .and_then(|rule| rule.interface(PROPERTIES));
        let mut changes = self.listen(rule.map(zbus::match_rule::Builder::build)).await?;
        loop {
            let facts = self.facts(unit).await?;
            let at_rest = match facts.active.as_str() {
                "inactive" | "failed" => true,
                "active" => facts.sub == "exited",
                _ => false,
            };
            if at_rest {
                return Ok(facts);
            }
            next(&mut changes).await?;
        }
    }
}

/// Waits for the end of a job: its result.
pub(super) async fn job_result(mut ends: MessageStream, job: &OwnedObjectPath) -> Result<String, Fault> {
    loop {
        let message = next(&mut ends).await?;
        let removed: Result<(u32, OwnedObjectPath, String, String), _> = message.body().deserialize();
        if let Ok((_, path, _, result)) = removed
            && path == *job
        {
            return Ok(result);
        }
    }
}

/// The next signal; the end of a stream is the end of its connection.
pub(super) async fn next(stream: &mut MessageStream) -> Result<zbus::Message, Fault> {
    match stream.next().await {
        Some(Ok(message)) => Ok(message),
        Some(Err(error)) => Err(fault(&error)),
        None => Err(Fault::new(FaultKind::Lost, "the connection was closed")),
    }
}

fn no_bus(error: &zbus::Error) -> Fault {
    let denied = matches!(error, zbus::Error::Connection(io, _) | zbus::Error::InputOutput(io)
        if io.kind() == std::io::ErrorKind::PermissionDenied);
    Fault::new(if denied { FaultKind::Denied } else { FaultKind::NoBus }, error.to_string())
}

/// What an error of D-Bus means (bus-common-errors.h of systemd has the names).
pub(super) fn fault(error: &zbus::Error) -> Fault {
    let zbus::Error::MethodError(name, message, _) = error else {
        let lost = matches!(error, zbus::Error::InputOutput(_) | zbus::Error::Connection(..));
        return Fault::new(if lost { FaultKind::Lost } else { FaultKind::Failed }, error.to_string());
    };
    let short = name.as_str().trim_start_matches("org.freedesktop.");
    let kind = match short {
        "systemd1.NoSuchUnit" | "systemd1.UnitNotFound" | "DBus.Error.FileNotFound" => FaultKind::NoSuchUnit,
        "systemd1.UnitMasked" => FaultKind::Masked,
        "systemd1.LoadFailed" | "systemd1.BadUnitSetting" => FaultKind::BadUnitFile,
        "systemd1.UnitExists" | "systemd1.UnitGenerated" | "DBus.Error.FileExists" => FaultKind::Exists,
        "systemd1.JobTypeNotApplicable" | "systemd1.OnlyByDependency" | "systemd1.NoIsolation" => {
            FaultKind::NotApplicable
        }
        "systemd1.TransactionIsDestructive"
        | "systemd1.TransactionJobsConflicting"
        | "systemd1.ShuttingDown" => FaultKind::Conflict,
        "DBus.Error.AccessDenied"
        | "DBus.Error.AuthFailed"
        | "DBus.Error.InteractiveAuthorizationRequired" => FaultKind::Denied,
        "DBus.Error.InvalidArgs" | "DBus.Error.PropertyReadOnly" => FaultKind::Invalid,
        "DBus.Error.ServiceUnknown" | "DBus.Error.NameHasNoOwner" | "DBus.Error.Spawn.ServiceNotValid" => {
            FaultKind::NoBus
        }
        "DBus.Error.NoReply" | "DBus.Error.Disconnected" => FaultKind::Lost,
        _ => FaultKind::Failed,
    };
    let said = message.clone().unwrap_or_else(|| short.to_owned());
    Fault::new(kind, said.trim_end_matches('.').to_owned())
}
