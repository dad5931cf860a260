//! The records, field by field. A change here changes [`super::FORMAT`].

use hob_model::{
    BranchEnd, EffectClass, EntryKind, ErrorKind, OnDoubt, OpError, Payload, Resolution, RunEnd, RunEntry,
    RunOwner, RunStarted, RunStatus, Source, Wait,
};
use minicbor::data::Type;

use super::CodecError;
use super::wire::{
    In, Out, Wire, expect_fields, header, is_default, put_str, record, record_with_tail, variants, words,
};

words!(EffectClass, ErrorKind, OnDoubt, RunOwner, RunStatus);

record!(Source { file, line, column });

record!(OpError { kind, message, hint, operation, retryable, nothing_happened, details, position });

record_with_tail!(RunStarted {
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
} then { tags, until });

variants!(RunEntry {
    0 = Playbook(path);
    1 = Declared { kind, name };
    2 = Native(name);
});

variants!(RunEnd {
    0 = Succeeded(value);
    1 = Failed(error);
    2 = Cancelled;
    3 = Carried(successor);
});

variants!(Wait {
    0 = Until(at);
    1 = Signal { name, deadline };
    2 = Event { pattern, filter, after, deadline };
    3 = Approval { prompt, deadline };
    4 = Run(run);
});

variants!(BranchEnd {
    0 = Value(value);
    1 = Error(error);
    2 = Cancelled;
});

variants!(Resolution {
    0 = Retry;
    1 = Skip;
    2 = Result(value);
    3 = Fail;
});

variants!(EntryKind {
    0 = Started(run);
    1 = Intent { position, operation, class, args, key, noted, source };
    2 = Outcome { position, operation, class, args, result, source };
    3 = Wait { position, operation, args, wait, source };
    4 = Withdrawn { position };
    5 = Abandoned { position };
    6 = Compensation { position, operation, always, source };
    7 = BranchEnded { position, end, compensates };
    8 = StepEnded { position, result, source };
    9 = Log { branch, number, level, message, source };
    10 = Doubt { position };
    11 = Resolved { position, resolution, by };
    12 = Reopened { position, attempt };
    13 = Overridden { position, value };
    14 = CancelRequested { reason };
    15 = Paused { position, message };
    16 = Suspended { status };
    17 = Resumed;
    18 = Interrupted;
    19 = Migrated { bundle };
    20 = Ended { end, failed_at, compensated };
    21 = Captured { bundle, values };
});

impl Wire for Payload {
    /// The bytes themselves, or `[digest, length]`.
    fn put(&self, e: &mut Out<'_>) {
        match self {
            Self::Inline(bytes) => bytes.put(e),
            Self::Blob(digest, len) => {
                header(e, 2);
                digest.put(e);
                len.put(e);
            }
        }
    }
    fn take(d: &mut In<'_>) -> Result<Self, CodecError> {
        if d.datatype()? == Type::Bytes {
            return Wire::take(d).map(Self::Inline);
        }
        expect_fields(d, 2)?;
        Ok(Self::Blob(Wire::take(d)?, Wire::take(d)?))
    }
}
