//! Making engines.

use std::sync::{Arc, LazyLock, Once};

use rhai::packages::{
    ArithmeticPackage, BasicArrayPackage, BasicBlobPackage, BasicFnPackage, BasicIteratorPackage,
    BasicMapPackage, BasicMathPackage, BasicStringPackage, BitFieldPackage, LogicPackage, MoreStringPackage,
    Package,
};
use rhai::{Engine, Module, OptimizationLevel};

use super::{basics, higher_order, strings, text, words};

/// The seed of Rhai's hashes, fixed so that what is derived from them is the same in every process.
const HASHING_SEED: [u64; 4] = [0x686f_6221, 0x7275_6e73, 0x6f76_6572, 0x6167_6169];

/// The most nested calls of script functions. Half of a script thread's stack has room for them, each with the deepest
/// expression.
pub const CALL_LEVELS_MAX: usize = 64;
/// The deepest nesting of expressions and blocks outside of functions and closures; a link of a chain such as
/// `.node(…)` counts as one level, a block as three. It parses on a stack of 1 MiB.
pub const EXPRESSION_LEVELS_MAX: usize = 512;
/// The deepest nesting of expressions and blocks inside of a function or a closure.
pub const FUNCTION_EXPRESSION_LEVELS_MAX: usize = 64;
/// The longest text, in bytes.
pub const STRING_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The most items of an array with all that is nested in it; also the longest blob, in bytes.
pub const ARRAY_ITEMS_MAX: usize = 16 * 1024 * 1024;
/// The most entries of a map with all that is nested in it.
pub const MAP_ENTRIES_MAX: usize = 1_000_000;
/// The most modules that one evaluation imports.
pub const MODULES_MAX: usize = 1_000;
/// The most variables in scope.
pub const VARIABLES_MAX: usize = 10_000;
/// The most functions of a script.
pub const FUNCTIONS_MAX: usize = 10_000;

/// What an evaluation may use. Time and the number of operations are not among it: the gate and `on_progress` see to
/// these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Nested calls of script functions.
    pub call_levels: usize,
    /// Nesting of expressions and blocks outside of functions.
    pub expression_levels: usize,
    /// Nesting of expressions and blocks inside of functions.
    pub function_expression_levels: usize,
    /// Bytes of a text.
    pub string_bytes: usize,
    /// Items of an array with all that is nested in it; bytes of a blob.
    pub array_items: usize,
    /// Entries of a map with all that is nested in it.
    pub map_entries: usize,
    /// Imported modules.
    pub modules: usize,
    /// Variables in scope.
    pub variables: usize,
    /// Functions of a script.
    pub functions: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            call_levels: CALL_LEVELS_MAX,
            expression_levels: EXPRESSION_LEVELS_MAX,
            function_expression_levels: FUNCTION_EXPRESSION_LEVELS_MAX,
            string_bytes: STRING_BYTES_MAX,
            array_items: ARRAY_ITEMS_MAX,
            map_entries: MAP_ENTRIES_MAX,
            modules: MODULES_MAX,
            variables: VARIABLES_MAX,
            functions: FUNCTIONS_MAX,
        }
    }
}

rhai::def_package! {
    /// Rhai's standard functions that depend on nothing but their arguments.
    Standard(module):
        ArithmeticPackage, BasicArrayPackage, BasicBlobPackage, BasicFnPackage, BasicIteratorPackage,
        BasicMapPackage, BasicMathPackage, BasicStringPackage, BitFieldPackage, LogicPackage, MoreStringPackage
    {}
}

static STANDARD: LazyLock<Arc<Module>> = LazyLock::new(|| Standard::new().as_shared_module());

/// What replaces functions of [`STANDARD`]: registered after it, it is searched before it.
static OWN: LazyLock<Arc<Module>> = LazyLock::new(|| {
    let mut module = Module::new();
    for part in [
        rhai::exported_module!(basics::functions),
        rhai::exported_module!(strings::functions),
        rhai::exported_module!(text::functions),
        rhai::exported_module!(higher_order::array::functions),
        rhai::exported_module!(higher_order::map::functions),
    ] {
        module.combine(part);
    }
    higher_order::array_by_name::register(&mut module);
    module.build_index();
    Arc::new(module)
});

/// Fixes Rhai's hashing seed. To be called before anything else of Rhai; [`new_engine`] does.
///
/// # Panics
/// When another seed was set before: closures would have other names than in the records of replayed runs.
pub fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if let Err(other) = rhai::config::hashing::set_hashing_seed(Some(HASHING_SEED)) {
            assert!(other == Some(HASHING_SEED), "the hashing seed is set by nobody else");
        }
    });
}

/// A fresh engine: it costs little enough for one to be made for each evaluation.
///
/// The caller adds what runs need: the operations, `on_print`, the resolver of imports, the tag, and an `on_progress`
/// of its own, which must return [`text::interruption`] too.
#[must_use]
pub fn new_engine(limits: &Limits) -> Engine {
    init();
    text::forget();
    let mut engine = Engine::new_raw();
    engine
        .register_global_module(Arc::clone(&STANDARD))
        .register_global_module(Arc::clone(&OWN))
        // The optimizer folds constants, at a cost that doubles with each nested `switch`: a script of a few hundred
        // bytes would compile for hours.
        .set_optimization_level(OptimizationLevel::None)
        .set_strict_variables(true)
        .set_fail_on_invalid_map_property(true)
        .disable_symbol("eval")
        .set_max_call_levels(limits.call_levels)
        .set_max_expr_depths(limits.expression_levels, limits.function_expression_levels)
        .set_max_string_size(limits.string_bytes)
        .set_max_array_size(limits.array_items)
        .set_max_map_size(limits.map_entries)
        .set_max_modules(limits.modules)
        .set_max_variables(limits.variables)
        .set_max_functions(limits.functions);
    #[expect(
        deprecated,
        reason = "not deprecated, but declared volatile: pinned by the lock file and tests"
    )]
    engine.on_parse_token(words::plain_words);
    engine.on_progress(|_| text::interruption());
    engine
}
