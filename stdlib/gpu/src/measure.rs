//! What the cards measure, as numbers over time.

use std::sync::Arc;

use hob_primitive::{BoxFuture, Family, Measured};

use crate::port::{Card, GpuPort};
use crate::survey;

/// Percent as a ratio.
const PERCENT: f64 = 0.01;
/// Thousandths of watts as watts.
const MILLI: f64 = 0.001;

/// Measures the cards that `port` finds.
pub struct GpuMeasures(pub Arc<dyn GpuPort>);

impl Measured for GpuMeasures {
    fn name(&self) -> &'static str {
        "gpu"
    }

    fn measure(self: Arc<Self>) -> BoxFuture<Vec<Family>> {
        Box::pin(async move { Ok(families(&survey::cards(&*self.0).await?)) })
    }
}

#[allow(clippy::cast_precision_loss)] // no card has 2^53 bytes
fn families(cards: &[Card]) -> Vec<Family> {
    let label = |card: &Card| [("gpu", card.id.clone())];
    let gauge = |name, help, read: fn(&Card) -> Option<f64>| {
        Family::gauge(name, help).with(cards.iter().filter_map(|card| Some((label(card), read(card)?))))
    };
    let info = cards.iter().map(|card| {
        let driver = card.driver.clone().unwrap_or_default();
        let labels = [
            ("gpu", card.id.clone()),
            ("vendor", card.vendor.as_str().to_owned()),
            ("name", card.name.clone()),
            ("driver", driver),
        ];
        (labels, 1.0)
    });
    let engines = cards.iter().flat_map(|card| {
        let busy = card.utilization;
        let engines = [
            ("compute", busy.gpu),
            ("memory", busy.memory),
            ("encoder", busy.encoder),
            ("decoder", busy.decoder),
        ];
        engines.into_iter().filter_map(|(engine, percent)| {
            let labels = [("gpu", card.id.clone()), ("engine", engine.to_owned())];
            Some((labels, f64::from(percent?) * PERCENT))
        })
    });
    vec![
        Family::gauge("hob_gpu_info", "Which card it is").with(info),
        gauge("hob_gpu_usable", "Whether a card can be used", |it| Some(f64::from(it.problem.is_none()))),
        gauge("hob_gpu_memory_bytes", "Memory of a card", |it| Some(it.memory?.total as f64)),
        gauge("hob_gpu_memory_used_bytes", "Memory of a card that programs hold", |it| {
            Some(it.memory?.used as f64)
        }),
        Family::gauge("hob_gpu_utilization_ratio", "How busy an engine of a card is").with(engines),
        gauge("hob_gpu_temperature_celsius", "How warm a card is", |it| {
            it.sensors.temperature.map(f64::from)
        }),
        gauge("hob_gpu_power_watts", "Power that a card draws", |it| {
            Some(f64::from(it.sensors.power_draw?) * MILLI)
        }),
        gauge("hob_gpu_power_limit_watts", "The most power that a card draws", |it| {
            Some(f64::from(it.sensors.power_limit?) * MILLI)
        }),
        gauge("hob_gpu_fan_ratio", "Speed of a card's fan by its highest", |it| {
            Some(f64::from(it.sensors.fan?) * PERCENT)
        }),
        gauge("hob_gpu_encoder_sessions", "Videos that a card encodes", |it| {
            it.sensors.encoder_sessions.map(f64::from)
        }),
    ]
}
