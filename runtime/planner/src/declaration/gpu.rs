//! What a service needs of a graphics card.

use std::fmt;

use hob_model::{Code, Value, size};

use super::hooks::{refuse_others, take_functions};
use super::options::{Options, text};
use super::{Hook, Hooks, Raw, UNLOAD_TIMEOUT};

/// The most that a priority may be, either way.
const PRIORITY_MAX: i64 = 1_000_000;

/// What stands for the devices of a card in a declaration, before a `=` and which card: what they are shows when the service
/// starts.
pub const GPU_DEVICE: &str = "hob/gpu";

/// What a service, or a job, needs of a graphics card.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gpu {
    /// Memory, in bytes; without it, only what it is seen to use counts.
    pub vram: Option<u64>,
    /// Video that the card must be able to encode.
    pub encode: Encode,
    /// Format of video that the card must be able to decode.
    pub decode: Option<String>,
    /// Whether it computes in half precision, and needs a card on which that pays.
    pub fp16: bool,
    /// Which card.
    pub pick: Pick,
    /// Of two that want the same memory, the one of higher priority has it.
    pub priority: i64,
    /// What becomes of it where there is no room.
    pub full: Full,
}

/// Video that a card must be able to encode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Encode {
    /// None.
    #[default]
    Nothing,
    /// Any.
    Something,
    /// Of this format: `h264`.
    Format(String),
}

/// Which card is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pick {
    /// Any that there is room on.
    #[default]
    Any,
    /// The one at this place in the list of all cards.
    Index(u32),
    /// The one with this id.
    Id(String),
}

impl fmt::Display for Pick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Index(index) => write!(f, "{index}"),
            Self::Id(id) => f.write_str(id),
        }
    }
}

/// What becomes of a start for which there is no room on a card.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Full {
    /// It waits.
    #[default]
    Wait,
    /// It fails.
    Refuse,
    /// Services of lower priority are stopped for it, and come back when there is room again.
    MakeRoom,
}

impl Full {
    /// As declarations write it.
    pub const ALL: [(&'static str, Self); 3] =
        [("wait", Self::Wait), ("refuse", Self::Refuse), ("make_room", Self::MakeRoom)];
}

impl Gpu {
    /// As plans show it; what is usual is left out.
    #[must_use]
    pub fn value(&self) -> Value {
        let encode = match &self.encode {
            Encode::Nothing => None,
            Encode::Something => Some(Value::Bool(true)),
            Encode::Format(format) => Some(Value::from(format.as_str())),
        };
        let card = match &self.pick {
            Pick::Any => None,
            Pick::Index(index) => Some(("index", Value::from(*index))),
            Pick::Id(id) => Some(("uuid", Value::from(id.as_str()))),
        };
        let full = Full::ALL.iter().find(|(_, it)| *it == self.full && self.full != Full::default());
        let pairs = [
            self.vram.map(|bytes| ("vram", Value::from(size::format(bytes)))),
            encode.map(|it| ("encode", it)),
            self.decode.as_deref().map(|it| ("decode", Value::from(it))),
            self.fp16.then_some(("fp16", Value::Bool(true))),
            card,
            (self.priority != 0).then_some(("priority", Value::Int(self.priority))),
            full.map(|(name, _)| ("full", Value::from(*name))),
        ];
        let pairs: Vec<_> = pairs.into_iter().flatten().collect();
        if pairs.is_empty() { Value::Bool(true) } else { Value::map(pairs) }
    }
}

/// The functions of `gpu` among those of `raw`, which are taken out of it.
pub(super) fn take(raw: &mut Raw) -> [bool; 2] {
    take_functions(raw, "gpu", Hook::MEMORY.map(Hook::as_str))
}

/// `gpu: true`, or `gpu: #{ vram, encode, decode, fp16, index, uuid, priority, full, unload, load, unload_timeout }`.
pub(super) fn read_gpu(options: &mut Options<'_>, is_function: [bool; 2], hooks: &mut Hooks) -> Option<Gpu> {
    let value = options.take("gpu")?;
    let map = match value {
        Value::Bool(true) => return Some(Gpu::default()),
        Value::Bool(false) => return None,
        Value::Map(map) => map,
        other => {
            options.wrong("gpu", "true, or a map with `vram`, `encode`, `index` or `uuid`", &other);
            return None;
        }
    };
    let mut found = Vec::new();
    let inner = Raw { options: Value::Map(map), closures: Vec::new(), ..options.as_raw("gpu") };
    let names = Hook::MEMORY.map(Hook::as_str);
    let known = ["vram", "encode", "decode", "fp16", "index", "uuid", "priority", "full", "unload_timeout"];
    let mut inner = Options::open(&inner, &[&known[..], &names[..]].concat(), &mut found);
    refuse_others(&mut inner, names, is_function);
    let index = inner.read("index", "the place of a card: 0", |value| {
        value.as_int().and_then(|index| u32::try_from(index).ok())
    });
    let id = inner.read("uuid", "the id of a card", |value| text(value).filter(|id| !id.is_empty()));
    if index.is_some() && id.is_some() {
        inner.report(Code::BadDeclaration, "`index` and `uuid` both say which card: leave one out");
    }
    let gpu = Gpu {
        vram: inner.read("vram", "a size such as \"2G\"", bytes),
        encode: inner.read("encode", "true, or a format such as \"h264\"", encode).unwrap_or_default(),
        decode: inner
            .read("decode", "a format such as \"hevc\"", |value| text(value).filter(|it| !it.is_empty())),
        fp16: inner.bool("fp16").unwrap_or_default(),
        pick: id.map(Pick::Id).or(index.map(Pick::Index)).unwrap_or_default(),
        priority: inner.read("priority", "a number", priority).unwrap_or_default(),
        full: inner.choice("full", &Full::ALL).unwrap_or_default(),
    };
    hooks.unload_timeout =
        inner.duration("unload_timeout").filter(|it| !it.is_zero()).unwrap_or(UNLOAD_TIMEOUT);
    hooks.add(Hook::MEMORY, is_function);
    let [unloads, loads] = is_function;
    if unloads && gpu.vram.is_none() {
        let message = "`unload` needs `vram`: what nobody was promised cannot be given back";
        inner.report(Code::BadDeclaration, message);
    }
    if loads && !unloads {
        inner.report(Code::BadDeclaration, "`load` needs `unload`: it undoes that");
    }
    options.adopt(found);
    Some(gpu)
}

fn bytes(value: &Value) -> Option<u64> {
    let bytes = match value {
        Value::Int(bytes) => u64::try_from(*bytes).ok(),
        other => other.as_str().and_then(|text| size::parse(text).ok()),
    };
    bytes.filter(|bytes| *bytes > 0)
}

fn encode(value: &Value) -> Option<Encode> {
    match value {
        Value::Bool(true) => Some(Encode::Something),
        Value::Bool(false) => Some(Encode::Nothing),
        other => text(other).filter(|it| !it.is_empty()).map(Encode::Format),
    }
}

fn priority(value: &Value) -> Option<i64> {
    value.as_int().filter(|it| (-PRIORITY_MAX..=PRIORITY_MAX).contains(it))
}
