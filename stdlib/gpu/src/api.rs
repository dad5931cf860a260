//! The operations of `gpu`.

use hob_primitive::primitive;

pub(crate) use operations::primitive;

/// Graphics cards: what there is, what they do and who uses them, and what a container is given to use one.
///
/// A card is named by its place in `gpu::list()`, its `id` or the beginning of it, its address on the bus, or a part of its
/// name. Where the machine has one card, it needs no name. NVIDIA's cards are asked over NVML; of AMD's and Intel's there is
/// what the kernel tells.
#[primitive(name = "gpu")]
mod operations {
    use std::path::Path;

    use hob_model::{OpError, Value};
    use hob_primitive::{Choice, Ctx, FromValue, Mismatch, Options};

    use crate::access::{self, Form};
    use crate::cdi::{self, CdiDevice};
    use crate::port::{Card, GpuPort};
    use crate::{survey, value};

    /// How a card is named.
    enum Selector {
        /// By its place in the list.
        Index(usize),
        /// By id, address or name.
        Text(String),
    }

    impl FromValue for Selector {
        const KIND: &'static str = "int or string";
        fn from_value(value: Value) -> Result<Self, Mismatch> {
            match value {
                Value::Int(index) if index >= 0 => {
                    Ok(Self::Index(usize::try_from(index).unwrap_or(usize::MAX)))
                }
                Value::String(text) if !text.is_empty() => Ok(Self::Text(text)),
                other => Err(Mismatch::of::<Self>(&other)),
            }
        }
    }

    /// In which form a container gets a card.
    #[derive(Clone, Copy, Choice)]
    enum DevicesForm {
        /// By CDI name where a specification works, by device nodes otherwise.
        Best,
        /// By CDI name.
        Cdi,
        /// By device nodes.
        Nodes,
    }

    /// Options of `gpu::devices`.
    #[derive(Options)]
    struct DevicesOptions {
        /// `"best"`, `"cdi"` or `"nodes"`.
        #[option(default = "DevicesForm::Best")]
        form: DevicesForm,
    }

    async fn cards(cx: &Ctx) -> Result<Vec<Card>, OpError> {
        survey::cards(&*cx.port::<dyn GpuPort>()?).await
    }

    /// The card that is meant, and its place.
    fn find(cards: &[Card], selector: Option<&Selector>) -> Result<usize, OpError> {
        let known = || {
            let names =
                cards.iter().enumerate().map(|(index, card)| format!("{index} {} ({})", card.name, card.id));
            names.collect::<Vec<_>>().join(", ")
        };
        if cards.is_empty() {
            return Err(OpError::not_found("this machine has no graphics card that its kernel shows"));
        }
        let matches = |what: &dyn Fn(&Card) -> bool| -> Vec<usize> {
            cards.iter().enumerate().filter(|(_, card)| what(card)).map(|(index, _)| index).collect()
        };
        let (found, what) = match selector {
            None => (matches(&|_| true), "the card".to_owned()),
            Some(Selector::Index(index)) => {
                ((*index < cards.len()).then_some(*index).into_iter().collect(), index.to_string())
            }
            Some(Selector::Text(text)) => {
                let exact = matches(&|card| card.id == *text || card.pci.as_ref() == Some(text));
                let wanted = text.to_lowercase();
                let close = || {
                    matches(&|card| card.id.starts_with(text) || card.name.to_lowercase().contains(&wanted))
                };
                (if exact.is_empty() { close() } else { exact }, format!("{text:?}"))
            }
        };
        match found[..] {
            [index] => Ok(index),
            [] => {
                Err(OpError::not_found(format!("there is no card {what}"))
                    .hint(format!("there are {}", known())))
            }
            _ => Err(OpError::invalid(format!("{what} could be one of {}", found.len()))
                .hint(format!("name one of {}", known()))),
        }
    }

    /// Lists the graphics cards, in the order of their addresses on the bus.
    ///
    /// Each is a map of `index`, `id` (the UUID of NVML or the address), `vendor` (`"nvidia"`, `"amd"`, `"intel"`), `name`,
    /// `pci`, `driver`, `architecture`, `compute` (`"6.1"`), `supports` (`fp16`, `tensor_cores`, `encode`, `decode`), `memory`
    /// (bytes: `total used free reserved`), `utilization` (percent: `gpu memory encoder decoder`), `temperature` (°C), `fan`
    /// (percent), `power` (watts: `draw limit`), `clocks` (MHz: `graphics memory`), `pcie` (`generation width`),
    /// `encoder_sessions`, `ecc`, `mig`, and `usable` with the `problem` of one that is not. What a card or its driver does not
    /// tell is `()`.
    ///
    /// Class `observe`: it only looks.
    ///
    /// Fails with `unavailable` when the driver refuses to answer and no card is known without it.
    ///
    /// ```rhai
    /// gpu::list().all(|card| card.usable || card.problem != ())
    /// ```
    #[operation(observe, permission = "gpu.list", returns = "array of maps", timeout = "30s")]
    async fn list(cx: Ctx) -> Result<Value, OpError> {
        let cards = cards(&cx).await?;
        Ok(Value::Array(cards.iter().enumerate().map(|(index, card)| value::card(index, card)).collect()))
    }

    /// Tells about one card, as `gpu::list` does of all.
    ///
    /// Class `observe`: it only looks.
    ///
    /// Fails with `not_found` or, where several could be meant, `invalid`; both name those that there are.
    ///
    /// ```rhai,no_run
    /// gpu::get("P1000").supports.fp16 == false
    /// ```
    #[operation(observe, permission = "gpu.list", returns = "map", timeout = "30s")]
    async fn get(cx: Ctx, card: Option<Selector>) -> Result<Value, OpError> {
        let cards = cards(&cx).await?;
        let index = find(&cards, card.as_ref())?;
        Ok(value::card(index, &cards[index]))
    }

    /// Tells how much memory a card has, in bytes: `total used free reserved`; `()` where it shares the machine's.
    ///
    /// Class `observe`: it only looks.
    ///
    /// Fails as `gpu::get`, and with `unavailable` for a card that cannot be used.
    ///
    /// ```rhai,no_run
    /// gpu::memory().free > 2_000_000_000
    /// ```
    #[operation(observe, permission = "gpu.list", returns = "map", timeout = "30s")]
    async fn memory(cx: Ctx, card: Option<Selector>) -> Result<Value, OpError> {
        Ok(value::memory(usable(&cx, card.as_ref()).await?.memory))
    }

    /// Tells how busy a card is, in percent: `gpu memory encoder decoder`.
    ///
    /// Class `observe`: it only looks.
    ///
    /// Fails as `gpu::memory`.
    ///
    /// ```rhai,no_run
    /// if gpu::utilization().encoder > 80 { log::warn("the encoder is busy"); }
    /// ```
    #[operation(observe, permission = "gpu.list", returns = "map", timeout = "30s")]
    async fn utilization(cx: Ctx, card: Option<Selector>) -> Result<Value, OpError> {
        Ok(value::utilization(usable(&cx, card.as_ref()).await?.utilization))
    }

    async fn usable(cx: &Ctx, selector: Option<&Selector>) -> Result<Card, OpError> {
        let mut cards = cards(cx).await?;
        let index = find(&cards, selector)?;
        let card = cards.swap_remove(index);
        match &card.problem {
            None => Ok(card),
            Some(problem) => {
                Err(OpError::unavailable(format!("{}: {problem}", card.name)).nothing_happened())
            }
        }
    }

    /// Lists the processes that use a card, or any: `card` (its index), `pid`, `name`, `work` (`"compute"`, `"graphics"`,
    /// `"unknown"`), `memory` (bytes), `container` (its id), `unit`. The largest come first.
    ///
    /// Class `observe`: it only looks.
    ///
    /// Fails as `gpu::get`.
    ///
    /// ```rhai,no_run
    /// gpu::processes().filter(|it| it.unit == "jellyfin.service").map(|it| it.memory)
    /// ```
    #[operation(observe, permission = "gpu.list", returns = "array of maps", timeout = "30s")]
    async fn processes(cx: Ctx, card: Option<Selector>) -> Result<Value, OpError> {
        let port = cx.port::<dyn GpuPort>()?;
        let cards = survey::cards(&*port).await?;
        let wanted = card.map(|card| find(&cards, Some(&card))).transpose()?;
        let mut found = survey::processes(&*port, &cards).await?;
        found.retain(|(index, _)| wanted.is_none_or(|wanted| wanted == *index));
        Ok(Value::Array(found.iter().map(|(index, process)| value::process(*index, process)).collect()))
    }

    /// Tells what a container is given to use a card, or all cards: texts for the option `devices` of a container.
    ///
    /// That is the name of a CDI device (`"nvidia.com/gpu=0"`) where a specification has it and everything that the
    /// specification names is there; otherwise the device nodes (`"/dev/nvidia0"`, `"/dev/nvidiactl"`, …), those that exist.
    ///
    /// Class `observe`: it only looks.
    ///
    /// Fails as `gpu::memory`; with `unavailable` naming the device node that is missing; with `form: "cdi"` also with
    /// `not_found` without a specification and `unavailable` with a stale one.
    ///
    /// ```rhai,no_run
    /// containers::ensure("jellyfin", #{ image: "docker.io/jellyfin/jellyfin:10.10", devices: gpu::devices() });
    /// ```
    #[operation(observe, permission = "gpu.list", returns = "array of strings", timeout = "30s")]
    async fn devices(cx: Ctx, card: Option<Selector>, options: DevicesOptions) -> Result<Value, OpError> {
        let port = cx.port::<dyn GpuPort>()?;
        let cards = survey::cards(&*port).await?;
        let chosen: Vec<&Card> = match &card {
            Some(_) => vec![&cards[find(&cards, card.as_ref())?]],
            None if cards.is_empty() => vec![&cards[find(&cards, None)?]],
            None => cards.iter().collect(),
        };
        let form = match options.form {
            DevicesForm::Best => Form::Best,
            DevicesForm::Cdi => Form::Cdi,
            DevicesForm::Nodes => Form::Nodes,
        };
        Ok(Value::from(access::given(&*port, &chosen, card.is_none(), form).await?))
    }

    /// Lists the names that specifications of the Container Device Interface give to devices: `name`, `file`, `usable`, and
    /// the `problem` of one that is not, as after an update of the driver.
    ///
    /// Class `observe`: it only looks.
    ///
    /// ```rhai
    /// gpu::cdi().all(|device| device.usable || device.problem != ())
    /// ```
    #[operation(observe, permission = "gpu.list", returns = "array of maps", timeout = "30s")]
    async fn cdi(cx: Ctx) -> Result<Value, OpError> {
        let port = cx.port::<dyn GpuPort>()?;
        let known = cdi::devices(&port.cdi_files().await.map_err(survey::refused)?);
        let there = access::existing(&*port, access::paths(&[], &known)).await?;
        let shown = |device: &CdiDevice| {
            let problem = access::problem(device, &|path: &Path| there.contains(path));
            Value::map([
                ("name", Value::from(device.name.clone())),
                ("file", Value::from(device.file.display().to_string())),
                ("usable", Value::Bool(problem.is_none())),
                ("problem", Value::from(problem)),
            ])
        };
        Ok(Value::Array(known.iter().map(shown).collect()))
    }
}
