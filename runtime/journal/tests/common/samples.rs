//! One entry of each kind, and strategies for arbitrary ones.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // test helpers, shared by several tests

use bytes::Bytes;
use hob_model::{
    BranchEnd, Digest, EffectClass, Entry, EntryKind, ErrorKind, OnDoubt, OpError, Payload, Position,
    Resolution, RunEnd, RunEntry, RunId, RunOwner, RunStarted, RunStatus, Secret, SecretForm, SecretPart,
    SecretRef, Source, Timestamp, Value, Wait,
};
use proptest::prelude::*;

pub fn at(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(1_790_000_000_000_000 + micros).unwrap()
}

pub fn run(n: u8) -> RunId {
    // Not as ids are made today: the samples stay what they are.
    let millis = u64::try_from(at(i64::from(n) * 1_000_000).as_millisecond()).unwrap();
    RunId(uuid::Builder::from_unix_timestamp_millis(millis, &[n; 10]).into_uuid())
}

pub fn entry(seq: u64, kind: EntryKind) -> Entry {
    Entry { seq, at: at(i64::try_from(seq).unwrap()), kind }
}

pub fn started(name: &str) -> EntryKind {
    EntryKind::Started(RunStarted {
        cwd: "/srv".into(),
        env: vec![("LANG".into(), "C".into())],
        allow: vec!["files".into()],
        trigger: "cli".into(),
        ..RunStarted::trusted(name, RunEntry::Declared { kind: "workflow".into(), name: name.into() })
    })
}

pub fn inline(value: impl Into<Value>) -> Payload {
    Payload::of(&value.into()).0
}

pub fn source() -> Source {
    Source { file: "main.rhai".into(), line: 3, column: 9 }
}

pub fn outcome(position: Position, result: Result<Payload, OpError>) -> EntryKind {
    let operation = "files::write".into();
    EntryKind::Outcome {
        position,
        operation,
        class: EffectClass::Ensure,
        args: None,
        result,
        source: source(),
    }
}

pub fn waits(position: Position, wait: Wait) -> EntryKind {
    EntryKind::Wait { position, operation: "sleep".into(), args: inline(()), wait, source: source() }
}

pub fn ended(end: RunEnd) -> EntryKind {
    EntryKind::Ended { end, failed_at: None, compensated: false }
}

fn error() -> OpError {
    OpError { hint: Some("look".into()), ..OpError::timeout("too slow") }
}

/// One of each kind, with its parts filled.
pub fn one_of_each() -> Vec<EntryKind> {
    let p = Position::root().branch(2, "a").effect(1);
    let blob = Payload::Blob(Digest::of(b"blob"), 4);
    vec![
        started("nightly"),
        EntryKind::Intent {
            position: p.clone(),
            operation: "process::run".into(),
            class: EffectClass::Once,
            args: inline(vec![Value::from("ls")]),
            key: run(1).effect_key(&p),
            noted: inline(()),
            source: source(),
        },
        outcome(p.clone(), Ok(blob.clone())),
        waits(p.clone(), Wait::Signal { name: "go".into(), deadline: Some(at(5)) }),
        EntryKind::Withdrawn { position: p.clone() },
        EntryKind::Abandoned { position: p.clone() },
        EntryKind::Compensation {
            position: p.clone(),
            operation: "finally".into(),
            always: true,
            source: source(),
        },
        EntryKind::BranchEnded { position: p.parent(), end: BranchEnd::Error(error()), compensates: false },
        EntryKind::StepEnded { position: p.step("fetch", 1), result: Ok(inline(7_i64)), source: source() },
        EntryKind::Log {
            branch: p.parent(),
            number: 1,
            level: "info".into(),
            message: "hello".into(),
            source: source(),
        },
        EntryKind::Doubt { position: p.clone() },
        EntryKind::Resolved { position: p.clone(), resolution: Resolution::Result(blob), by: "ada".into() },
        EntryKind::Reopened { position: p.clone(), attempt: 2 },
        EntryKind::Overridden { position: p.clone(), value: inline(1.5) },
        EntryKind::CancelRequested { reason: "ada: enough".into() },
        EntryKind::Paused { position: p.clone(), message: "differs".into() },
        EntryKind::Suspended { status: RunStatus::Waiting },
        EntryKind::Resumed,
        EntryKind::Interrupted,
        EntryKind::Migrated { bundle: Digest::of(b"bundle") },
        EntryKind::Ended { end: RunEnd::Failed(error()), failed_at: Some(p), compensated: true },
        EntryKind::Captured { bundle: Digest::of(b"bundle"), values: Digest::of(b"values") },
    ]
}

/// A text with a secret in it, once in base64.
pub fn a_secret() -> Secret {
    let reference = SecretRef {
        name: "postgres".into(),
        version: Some("0123456789abcdef".into()),
        form: SecretForm::Base64 { before: 1, url: false },
    };
    let mut secret = Secret::named("media/sabnzbd");
    secret.push(SecretPart::Text(" and ".into()));
    secret.push(SecretPart::Bytes(vec![0, 255]));
    secret.then(Secret::reference(reference))
}

pub fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Unit),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("NaN equals nothing", |v| !v.is_nan()).prop_map(Value::from),
        any::<char>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        any::<Vec<u8>>().prop_map(Value::from),
        any::<String>().prop_map(|text| {
            let mut secret = a_secret();
            secret.push(SecretPart::Text(text));
            Value::from(secret)
        }),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(any::<String>(), inner, 0..4).prop_map(Value::from),
        ]
    })
}

pub fn any_time() -> impl Strategy<Value = Timestamp> {
    (Timestamp::MIN.as_nanosecond()..=Timestamp::MAX.as_nanosecond())
        .prop_map(|nanos| Timestamp::from_nanosecond(nanos).unwrap())
}

fn any_digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

fn any_run() -> impl Strategy<Value = RunId> {
    any::<u128>().prop_map(|bits| RunId(uuid::Uuid::from_u128(bits)))
}

fn any_payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        any::<Vec<u8>>().prop_map(|bytes| Payload::Inline(Bytes::from(bytes))),
        (any_digest(), any::<u64>()).prop_map(|(digest, len)| Payload::Blob(digest, len)),
    ]
}

fn any_source() -> impl Strategy<Value = Source> {
    (any::<String>(), any::<u32>(), any::<u32>()).prop_map(|(file, line, column)| Source {
        file: file.into(),
        line,
        column,
    })
}

pub fn any_position() -> impl Strategy<Value = Position> {
    let part = (1..9_u32, "[a-z/~ .]{1,6}", 0..3);
    proptest::collection::vec(part, 0..4).prop_map(|parts| {
        parts.into_iter().fold(Position::root(), |position, (n, label, form)| match form {
            0 => position.effect(n),
            1 => position.branch(n, &label),
            _ => position.step(&label, n),
        })
    })
}

fn any_error() -> impl Strategy<Value = OpError> {
    let kind = proptest::sample::select(ErrorKind::ALL.to_vec());
    let texts = (any::<String>(), any::<Option<String>>(), any::<String>());
    (kind, texts, any::<bool>(), any::<bool>(), any_value(), proptest::option::of(any_position())).prop_map(
        |(kind, (message, hint, operation), retryable, nothing_happened, details, position)| OpError {
            kind,
            message,
            hint,
            operation,
            retryable,
            nothing_happened,
            details,
            position,
        },
    )
}

fn any_result() -> impl Strategy<Value = Result<Payload, OpError>> {
    prop_oneof![any_payload().prop_map(Ok), any_error().prop_map(Err)]
}

fn any_class() -> impl Strategy<Value = EffectClass> {
    proptest::sample::select(EffectClass::ALL.to_vec())
}

pub fn any_wait() -> impl Strategy<Value = Wait> {
    let deadline = || proptest::option::of(any_time());
    prop_oneof![
        any_time().prop_map(Wait::Until),
        (any::<String>(), deadline()).prop_map(|(name, deadline)| Wait::Signal { name, deadline }),
        (any::<String>(), any_value(), any::<u64>(), deadline())
            .prop_map(|(pattern, filter, after, deadline)| Wait::Event { pattern, filter, after, deadline }),
        (any::<String>(), deadline()).prop_map(|(prompt, deadline)| Wait::Approval { prompt, deadline }),
        any_run().prop_map(Wait::Run),
    ]
}

fn any_end() -> impl Strategy<Value = RunEnd> {
    prop_oneof![
        any_value().prop_map(RunEnd::Succeeded),
        any_error().prop_map(RunEnd::Failed),
        Just(RunEnd::Cancelled),
        any_run().prop_map(RunEnd::Carried),
    ]
}

fn any_started() -> impl Strategy<Value = RunStarted> {
    let entry = prop_oneof![
        any::<String>().prop_map(RunEntry::Playbook),
        any::<(String, String)>().prop_map(|(kind, name)| RunEntry::Declared { kind, name }),
        any::<String>().prop_map(RunEntry::Native),
    ];
    let owner = proptest::sample::select(RunOwner::ALL.to_vec());
    let on_doubt = proptest::sample::select(vec![OnDoubt::Ask, OnDoubt::Retry, OnDoubt::Skip, OnDoubt::Fail]);
    let links = (proptest::option::of(any_digest()), proptest::option::of((any_run(), any_position())));
    let lists = any::<(Vec<(String, String)>, Vec<String>, Vec<String>)>();
    let texts = any::<(String, String, String, bool)>();
    let tail = any::<(Vec<String>, Option<String>)>();
    (entry, owner, on_doubt, links, any_value(), lists, texts, tail).prop_map(
        |(
            entry,
            owner,
            on_doubt,
            (bundle, parent),
            input,
            (env, allow, deny),
            (name, cwd, trigger, trusted),
            (tags, until),
        )| {
            RunStarted {
                name,
                entry,
                bundle,
                input,
                owner,
                parent,
                cwd,
                env,
                allow,
                deny,
                trusted,
                on_doubt,
                trigger,
                tags,
                until,
            }
        },
    )
}

/// Any kind of entry, with any content.
pub fn any_kind() -> impl Strategy<Value = EntryKind> {
    let plain = proptest::sample::select(one_of_each());
    let effect = || (any_position(), any::<String>(), any_class(), any_source());
    prop_oneof![
        plain,
        any_started().prop_map(EntryKind::Started),
        (effect(), any_payload(), any_payload()).prop_map(
            |((position, operation, class, source), args, noted)| {
                EntryKind::Intent { position, operation, class, args, key: "key".into(), noted, source }
            }
        ),
        (effect(), proptest::option::of(any_payload()), any_result()).prop_map(
            |((position, operation, class, source), args, result)| {
                EntryKind::Outcome { position, operation, class, args, result, source }
            }
        ),
        (any_position(), any_payload(), any_wait(), any_source()).prop_map(
            |(position, args, wait, source)| {
                EntryKind::Wait { position, operation: "sleep".into(), args, wait, source }
            }
        ),
        (any_position(), any_result(), any_source())
            .prop_map(|(position, result, source)| { EntryKind::StepEnded { position, result, source } }),
        (any_end(), proptest::option::of(any_position()), any::<bool>())
            .prop_map(|(end, failed_at, compensated)| EntryKind::Ended { end, failed_at, compensated }),
    ]
}
