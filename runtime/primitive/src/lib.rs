//! What a primitive is written against.
//!
//! A primitive is a module of documented functions. Each function is one operation, declared once:
//!
//! ```
//! use hob_primitive::primitive;
//!
//! /// Marbles in a bag.
//! #[primitive(name = "marbles")]
//! mod api {
//!     use hob_model::OpError;
//!
//!     /// How many marbles `bags` bags of `each` hold.
//!     ///
//!     /// Class `pure`: arithmetic.
//!     ///
//!     /// ```rhai
//!     /// marbles::count(3, 5) == 15
//!     /// ```
//!     #[operation(pure, returns = "int")]
//!     fn count(bags: i64, each: i64) -> Result<i64, OpError> {
//!         bags.checked_mul(each).ok_or_else(|| OpError::invalid("too many marbles"))
//!     }
//! }
//!
//! let primitive = api::primitive();
//! assert_eq!(primitive.operations[0].name, "marbles::count");
//! ```
//!
//! From that declaration come its registration in Rhai, its effect class, its permission, its dry-run text, its
//! tracing span and metrics, its timeout and retry defaults, its entry in `help`, in completion, in the
//! definitions for editors and in the reference of the book.

mod args;
mod bus;
mod channels;
mod context;
mod measure;
mod operation;
mod options;
mod programs;
mod receiver;
mod registry;
mod secret;
mod services;
mod source;
mod text;

pub use args::{ARGUMENT_DETAIL, Args, Content, FromValue, Mismatch, Mode, NameOrId, PathText, Size};
pub use bus::{BusEvent, EventBus};
pub use channels::{ChannelForm, Channels, DeclaredChannel};
pub use context::{Cancel, Clock, Ctx, CtxParts, Ports, Progress, resolve};
pub use hob_macros::{Choice, IntoValue, Options, primitive};
pub use measure::{Family, Measured, MetricKind, Sample};
pub use operation::{BlockingFn, BoxFuture, Handler, Keyed, Look, Operation, Param, Primitive, Probe};
pub use options::{FromOptions, Nested, NoOptions, OPTION_DETAIL, OptionMap, OptionSpec};
pub use programs::{ContainerPrograms, HostPrograms, ProgramEnd, ProgramLine, Room, RunningProgram};
pub use receiver::AlertReceiver;
pub use registry::{Registry, RegistryError};
pub use secret::{
    OpenValue, Opened, SECRETS_VARIABLE, SecretContent, SecretText, SecretTexts, SecretValue, Vault,
    filter_sinks, filtered, open_with,
};
pub use services::{Patience, ServiceRequest, Services};
pub use source::{EventSink, EventSource, Subscribing, Wanted};
pub use text::{Place, TEXT_BYTES_MAX, Text, check_depth};
