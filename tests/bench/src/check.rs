//! Checking and completing scripts.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use hob_check::complete::{Alone, complete};
use hob_check::{Catalog, Request, check};
use hob_engine::Loader;
use hob_model::EffectClass;
use hob_primitive::{Handler, Operation, Primitive, Registry};

use crate::sample::text;

/// What is measured.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The lines of the script that is checked.
    #[arg(long, default_value_t = 2_000)]
    lines: usize,
    /// The mistakes that a second script of as many lines has: misspelt operations and variables.
    #[arg(long, default_value_t = 20)]
    mistakes: usize,
    /// The operations that there are to complete; beside those of the standard library others are made up.
    #[arg(long, default_value_t = 500)]
    operations: usize,
    /// How often each is done.
    #[arg(long, default_value_t = 20)]
    times: usize,
}

struct One(String);

impl Loader for One {
    fn read(&self, _: &str) -> Result<Vec<u8>, String> {
        Ok(self.0.clone().into_bytes())
    }
}

/// Five lines with a function, a closure, options, a template and a loop.
fn script(lines: usize) -> String {
    let part = |number: usize| {
        format!(
            "fn tidy_{number}(days) {{ files::list(`/srv/${{days}}`).filter(|it| it.size > {number}) }}\n\
             let found_{number} = tidy_{number}({number});\n\
             for it in found_{number} {{ log::info(`old: ${{it.name}}`); }}\n\
             let ran_{number} = process::run([\"ls\", \"-l\"], #{{ timeout: \"10s\", cwd: \"/\" }});\n\
             if ran_{number}.code != 0 {{ retry(#{{ attempts: 3 }}, || units::restart(\"unit-{number}\")); }}\n"
        )
    };
    (0..lines.div_ceil(5)).map(part).collect()
}

/// The standard library, with further operations up to `count`.
fn registry(count: usize) -> Registry {
    let mut primitives = hob_stdlib::primitives();
    let known: usize = primitives.iter().map(|primitive| primitive.operations.len()).sum();
    let operation = |number: usize| {
        let name: &'static str = Box::leak(format!("extra::operation_{number}").into_boxed_str());
        let doc = "Does something.\n\nClass `pure`.\n\n```rhai\ntrue\n```";
        Operation::new(name, EffectClass::Pure, doc, vec![], &[], Handler::Pure(|_| Ok(true.into())))
    };
    let operations = (known..count).map(operation).collect();
    primitives.push(Primitive { name: "extra", doc: "More.", operations });
    Registry::new(primitives).unwrap()
}

/// Measures both. Scripts are parsed on a stack as runs have it.
pub(crate) fn measure(options: &Options) {
    let measure = || {
        let begun = Instant::now();
        let catalog = Catalog::new(Arc::new(registry(options.operations)));
        println!(
            "the catalog of {} operations: {}",
            catalog.registry().operations().count(),
            text(begun.elapsed())
        );
        let right = script(options.lines);
        let halves = [options.mistakes / 2, options.mistakes - options.mistakes / 2];
        let wrong = right.replacen("files::list", "files::lst", halves[0]);
        let wrong = wrong.replacen("${it.name}", "${itt.name}", halves[1]);
        for (script, mistakes) in [(right, 0), (wrong, options.mistakes)] {
            let lines = script.lines().count();
            let loader = One(script);
            let request =
                Request { root: "a.rhai", loader: &loader, cwd: Path::new("/"), given: &[], functions: &[] };
            let mut took = Vec::new();
            for _ in 0..options.times {
                let begun = Instant::now();
                let checked = check(&catalog, &request);
                took.push(begun.elapsed());
                assert!(checked.findings.len() == mistakes, "{:?}", checked.findings);
            }
            let took = text(median(&mut took));
            println!("a script of {lines} lines with {mistakes} mistakes is checked in {took} (median)");
        }
        for (written, what) in [("file", "a name"), ("extra::op", "an operation"), ("x.fil", "a method")] {
            let mut took = Vec::new();
            for _ in 0..options.times {
                let begun = Instant::now();
                let found = complete(&catalog, written, written.len(), &Alone);
                took.push(begun.elapsed());
                assert!(!found.items.is_empty());
            }
            println!("{what} is completed in {} (median)", text(median(&mut took)));
        }
    };
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().stack_size(hob_engine::SCRIPT_STACK_BYTES);
        builder.spawn_scoped(scope, measure).unwrap();
    });
}

fn median(took: &mut [std::time::Duration]) -> std::time::Duration {
    took.sort();
    took[took.len() / 2]
}
