//! The language as scripts see it.

use rhai::{Dynamic, EvalAltResult, FnPtr, NativeCallContext};

use super::{Limits, call_flexible, new_engine};
use crate::convert::{to_rhai_error, to_value};

/// What a script that ends well gives, as JSON.
fn eval(script: &str) -> String {
    let mut engine = new_engine(&Limits::default());
    add_helpers(&mut engine);
    match engine.eval::<Dynamic>(script) {
        Ok(value) => to_value(&value).unwrap().to_json().unwrap().to_string(),
        Err(error) => format!("{error:?}"),
    }
}

/// `ask(fn)` calls with ("a", "b"); `refuse()` fails as an operation does; `end()` ends as a wait does.
fn add_helpers(engine: &mut rhai::Engine) {
    engine.register_fn("ask", |ctx: NativeCallContext<'_>, f: FnPtr| {
        call_flexible(&ctx, &f, &["a".into(), "b".into()])
    });
    engine.register_fn("refuse", || -> Result<Dynamic, Box<EvalAltResult>> {
        let error = hob_model::OpError::denied("no").detail("code", 7_i64);
        Err(to_rhai_error(&error, rhai::Position::NONE))
    });
    engine.register_fn("end", || -> Result<Dynamic, Box<EvalAltResult>> {
        Err(EvalAltResult::ErrorTerminated("waits".into(), rhai::Position::NONE).into())
    });
}

#[test]
fn a_closure_takes_as_many_arguments_as_it_wants() {
    for (closure, expected) in [
        ("|| 1", "1"),
        ("|| this", r#""a""#),
        ("|x| x", r#""a""#),
        ("|x, y| x + y", r#""ab""#),
        (r#"Fn("two")"#, r#""ab2""#),
        (r#"Fn("over")"#, r#""over2""#),
        (r#"Fn("to_upper")"#, r#""A""#),
        ("{ let n = 5; |x| x + n }", r#""a5""#),
        ("{ let n = 5; || n }", "5"),
        (r#"Fn("three").curry("c")"#, r#""cab3""#),
    ] {
        let script = format!(
            r#"fn two(x, y) {{ x + y + 2 }} fn three(x, y, z) {{ x + y + z + 3 }}
               fn over(x) {{ "over1" }} fn over(x, y) {{ "over2" }} fn over(x, y, z) {{ "over3" }}
               ask({closure})"#
        );
        assert_eq!(eval(&script), expected, "{closure}");
    }
}

#[test]
fn a_closure_that_wants_too_much_is_told_what_there_is() {
    let script = "try { ask(|x, y, z| 1) } catch (e) { return `${e.kind}: ${e.message}; ${e.hint}`; }";
    assert_eq!(
        eval(script),
        r#""invalid: the function given to `ask` takes 3 parameters; `ask` gives it at most 2""#
    );
}

#[test]
fn a_missing_function_inside_of_a_closure_is_not_taken_for_the_closure() {
    let script = "let calls = 0; try { ask(|x, y| { calls += 1; missing(x) }) } catch (e) { return [calls, e.function]; }";
    assert_eq!(eval(script), r#"[1,"missing (&str | ImmutableString | String)"]"#);
}
