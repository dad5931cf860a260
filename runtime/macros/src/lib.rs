//! The one declaration per operation: `#[primitive]` on a module of functions, and derives for what they take
//! and give. See the crate `hob-primitive` for how it reads in use.

mod options;
mod primitive;

use proc_macro::TokenStream;

/// Turns a module of documented functions, each with `#[operation(CLASS, …)]`, into a primitive.
///
/// It adds `pub fn primitive() -> Primitive` to the module. A function without a class or without a doc comment
/// does not compile.
#[proc_macro_attribute]
pub fn primitive(attr: TokenStream, item: TokenStream) -> TokenStream {
    primitive::expand(attr.into(), item.into()).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// Derives `FromOptions` for a struct: each field is an option key, its doc comment the help.
///
/// `Option<T>` fields may be absent; `#[option(default = "EXPR")]` gives others a default; a field with neither
/// is required.
#[proc_macro_derive(Options, attributes(option))]
pub fn derive_options(item: TokenStream) -> TokenStream {
    options::derive_options(item.into()).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// Derives `FromValue` for an enum of unit variants: each is a text in snake_case.
#[proc_macro_derive(Choice)]
pub fn derive_choice(item: TokenStream) -> TokenStream {
    options::derive_choice(item.into()).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// Derives `From<Struct> for Value`: a map with a key for each field.
#[proc_macro_derive(IntoValue)]
pub fn derive_into_value(item: TokenStream) -> TokenStream {
    options::derive_into_value(item.into()).unwrap_or_else(|error| error.to_compile_error()).into()
}
