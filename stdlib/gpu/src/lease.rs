//! The operations that share cards out: memory for the time of a run.

pub(crate) use operations::primitive;

use hob_model::OpError;
use hob_planner::declaration::Gpu;
use hob_primitive::{Patience, primitive};
use hob_supervisor::graphics::{Lease, Leases};

/// Stands where nobody shares cards out.
pub(crate) struct Nobody;

impl Nobody {
    fn refuse<T>() -> Result<T, OpError> {
        Err(OpError::unavailable("this process shares no graphics cards out")
            .hint("`hob up` does; while it serves, `hob run` runs there")
            .nothing_happened())
    }
}

impl Leases for Nobody {
    fn reserve(&self, _: &str, _: &str, _: &Gpu, _: Patience<'_>) -> Result<Lease, OpError> {
        Self::refuse()
    }

    fn release(&self, _: &str, _: &str) -> Result<bool, OpError> {
        Self::refuse()
    }
}

/// Memory of cards for runs; joined with the rest of `gpu`.
#[primitive(name = "gpu")]
mod operations {
    use hob_model::{OpError, Value};
    use hob_planner::declaration::{Encode, Full, Gpu, Pick};
    use hob_primitive::{Args, Choice, Ctx, Options, Patience, Size};
    use hob_supervisor::graphics::Leases;

    /// What becomes of a run for which there is no room.
    #[derive(Clone, Copy, Choice)]
    enum Crowded {
        /// It waits.
        Wait,
        /// It fails.
        Refuse,
        /// Services of lower priority are stopped for it.
        MakeRoom,
    }

    /// Options of `gpu::reserve`.
    #[derive(Options)]
    struct ReserveOptions {
        /// Of two that want the same memory, the one of higher priority has it.
        #[option(default = "0")]
        priority: i64,
        /// `"wait"`, `"refuse"`, or `"make_room"`, which has services of lower priority stopped until the run lets go.
        #[option(default = "Crowded::Wait")]
        full: Crowded,
        /// The place of the card that it must be.
        index: Option<u32>,
        /// The id of the card that it must be.
        uuid: Option<String>,
        /// The format of video that the card must encode, such as `"h264"`.
        encode: Option<String>,
    }

    fn wanted(vram: Size, options: ReserveOptions) -> Result<Gpu, OpError> {
        if vram.0 == 0 {
            return Err(OpError::invalid("`vram`: nothing is reserved"));
        }
        let pick = match (options.index, options.uuid) {
            (Some(_), Some(_)) => {
                return Err(OpError::invalid("`index` and `uuid` both say which card: leave one out"));
            }
            (Some(index), None) => Pick::Index(index),
            (None, Some(id)) => Pick::Id(id),
            (None, None) => Pick::Any,
        };
        Ok(Gpu {
            vram: Some(vram.0),
            encode: options.encode.map_or(Encode::Nothing, Encode::Format),
            pick,
            priority: options.priority,
            full: match options.full {
                Crowded::Wait => Full::Wait,
                Crowded::Refuse => Full::Refuse,
                Crowded::MakeRoom => Full::MakeRoom,
            },
            ..Gpu::default()
        })
    }

    /// Reserves memory of a graphics card for the run: `#{ lease, card, index, name, bytes }`, where `card` is its id.
    ///
    /// It is shared out by the ledger of [services](../../guides/services.md): what is reserved is promised to nobody else,
    /// and what nobody has reserved or declared is looked for on the card. Until there is room the run waits, by priority, as
    /// long as `timeout` says. The reservation ends with the run, also when hob or the machine was down in between, or with
    /// `gpu::release`. What the run's own processes use counts as a part of it; what its containers use counts beside it.
    ///
    /// Class `ensure`: the same call has the same reservation.
    ///
    /// A dry run reserves nothing, and goes on as if the first card had room.
    ///
    /// Fails with `unavailable` when no card can ever do it, there is no room and `full` is `"refuse"`, or in a process that
    /// keeps no services; and with `timeout` when no room comes about.
    ///
    /// ```rhai,no_run
    /// let share = gpu::reserve("2G", #{ priority: 5, timeout: "30m" });
    /// process::run(["ffmpeg", "-hwaccel_device", `${share.index}`, "-i", "in.mkv", "out.mkv"]);
    /// gpu::release(share.lease);
    /// ```
    #[operation(ensure, permission = "gpu.reserve", timeout = "1h", returns = "map", model = model_reserve)]
    fn reserve(cx: &Ctx, vram: Size, options: ReserveOptions) -> Result<Value, OpError> {
        let gpu = wanted(vram, options)?;
        let patience = Patience { timeout: cx.timeout(), cancel: cx.cancel() };
        let lease = cx.port::<dyn Leases>()?.reserve(cx.run(), cx.position(), &gpu, patience)?;
        Ok(Value::map([
            ("lease", Value::from(lease.id)),
            ("card", Value::from(lease.card)),
            ("index", Value::from(lease.index)),
            ("name", Value::from(lease.name)),
            ("bytes", Value::from(lease.bytes)),
        ]))
    }

    fn model_reserve(cx: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let vram: Size = args.next("vram")?;
        let gpu = wanted(vram, args.options()?)?;
        Ok(Value::map([
            ("lease", Value::from(format!("{}/{}", cx.run(), cx.position()))),
            ("card", Value::from("")),
            ("index", Value::from(0)),
            ("name", Value::from("")),
            ("bytes", Value::from(gpu.vram.unwrap_or_default())),
        ]))
    }

    /// Lets go of memory that the run reserved; whether it had it.
    ///
    /// Class `ensure`: what is let go already is not there to be let go again.
    ///
    /// A dry run lets go of nothing.
    ///
    /// Fails with `invalid` for a reservation of another run.
    ///
    /// ```rhai,no_run
    /// let share = gpu::reserve("500M");
    /// gpu::release(share.lease)
    /// ```
    #[operation(ensure, permission = "gpu.reserve", timeout = "30s", returns = "bool", model = model_release)]
    fn release(cx: &Ctx, lease: String) -> Result<Value, OpError> {
        Ok(cx.port::<dyn Leases>()?.release(cx.run(), &lease)?.into())
    }

    fn model_release(_: &Ctx, mut args: Args) -> Result<Value, OpError> {
        let _: String = args.next("lease")?;
        Ok(true.into())
    }
}
