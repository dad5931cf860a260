//! Cards and processes as scripts see them.

use hob_model::Value;

use crate::port::{Card, GpuProcess, Memory, Sensors, Utilization};
use crate::rules;

/// Thousandths of watts as watts.
fn watts(milliwatts: Option<u32>) -> Value {
    milliwatts.map_or(Value::Unit, |it| Value::Float(f64::from(it) / 1000.0))
}

fn texts(items: &[&str]) -> Value {
    Value::Array(items.iter().map(|item| Value::from(*item)).collect())
}

pub(crate) fn memory(memory: Option<Memory>) -> Value {
    memory.map_or(Value::Unit, |it| {
        Value::map([
            ("total", Value::from(it.total)),
            ("used", Value::from(it.used)),
            ("free", Value::from(it.free())),
            ("reserved", Value::from(it.reserved)),
        ])
    })
}

pub(crate) fn utilization(it: Utilization) -> Value {
    Value::map([
        ("gpu", Value::from(it.gpu)),
        ("memory", Value::from(it.memory)),
        ("encoder", Value::from(it.encoder)),
        ("decoder", Value::from(it.decoder)),
    ])
}

fn sensors(it: Sensors) -> [(&'static str, Value); 6] {
    [
        ("temperature", Value::from(it.temperature)),
        ("fan", Value::from(it.fan)),
        ("power", Value::map([("draw", watts(it.power_draw)), ("limit", watts(it.power_limit))])),
        (
            "clocks",
            Value::map([
                ("graphics", Value::from(it.clock_graphics)),
                ("memory", Value::from(it.clock_memory)),
            ]),
        ),
        (
            "pcie",
            Value::map([
                ("generation", Value::from(it.pcie_generation)),
                ("width", Value::from(it.pcie_width)),
            ]),
        ),
        ("encoder_sessions", Value::from(it.encoder_sessions)),
    ]
}

/// A card at a place in the list.
#[must_use]
pub fn card(index: usize, it: &Card) -> Value {
    let rule = it.compute.and_then(rules::of);
    let supports = rule.map_or(Value::Unit, |rule| {
        Value::map([
            ("fp16", Value::Bool(rule.fp16)),
            ("tensor_cores", Value::Bool(rule.tensor_cores)),
            ("encode", texts(rule.encode)),
            ("decode", texts(rule.decode)),
        ])
    });
    let mut pairs = vec![
        ("index", Value::from(u32::try_from(index).unwrap_or(u32::MAX))),
        ("id", Value::from(it.id.clone())),
        ("vendor", Value::from(it.vendor.as_str())),
        ("name", Value::from(it.name.clone())),
        ("pci", Value::from(it.pci.clone())),
        ("driver", Value::from(it.driver.clone())),
        ("architecture", Value::from(rule.map(|rule| rule.architecture.to_owned()))),
        ("compute", Value::from(it.compute.map(|(major, minor)| format!("{major}.{minor}")))),
        ("supports", supports),
        ("memory", memory(it.memory)),
        ("utilization", utilization(it.utilization)),
        ("ecc", it.ecc.map_or(Value::Unit, Value::Bool)),
        ("mig", it.mig.map_or(Value::Unit, Value::Bool)),
        ("usable", Value::Bool(it.problem.is_none())),
        ("problem", Value::from(it.problem.clone())),
    ];
    pairs.extend(sensors(it.sensors));
    Value::map(pairs)
}

/// A process on the card at `index`.
#[must_use]
pub fn process(index: usize, it: &GpuProcess) -> Value {
    Value::map([
        ("card", Value::from(u32::try_from(index).unwrap_or(u32::MAX))),
        ("pid", Value::from(it.pid)),
        ("name", Value::from(it.name.clone())),
        ("work", Value::from(it.work.as_str())),
        ("memory", Value::from(it.memory)),
        ("container", Value::from(it.container.clone())),
        ("unit", Value::from(it.unit.clone())),
    ])
}
