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
    let script = "let calls = 0; try { ask(|x, y| { calls += 1; missing(x) }) } catch (e) { return [calls, e.message.contains(`missing`)]; }";
    assert_eq!(eval(script), "[1,true]");
}

/// Expressions whose result does not differ from Rhai's, one for each overload of what hob replaces.
const AS_IN_RHAI: &[&str] = &[
    "let a = [3, 1, 2]; a.for_each(|| this *= 2); a",
    "let a = [3, 1, 2]; a.for_each(|i| this += i); a",
    "[3, 1, 2].map(|x| x + 1)",
    "[3, 1, 2].map(|x, i| x * 10 + i)",
    "[3, 1, 2].map(|| this + 1)",
    "let a = [3, 1]; [a.map(|| { this += 1; this }), a]",
    "fn double(x) { x * 2 } [3, 1].map(double)",
    "fn double() { this * 2 } [3, 1].map(Fn(`double`))",
    "fn double(x) { x * 2 } [3, 1].map(`double`)",
    r#"["a", "b"].map(Fn("to_upper"))"#,
    "let n = 5; [3, 1].map(|x| x + n)",
    "[].map(|x| x)",
    "[3, 1, 2].filter(|x| x > 1)",
    "[3, 1, 2].filter(|x, i| i > 0)",
    "[3, 1, 2].filter(|x| 1)",
    "fn big(x) { x > 1 } [3, 1, 2].filter(`big`)",
    "[3, 1, 2].index_of(|x| x < 3)",
    "[3, 1, 2].index_of(|x| x < 0)",
    "[3, 1, 2].index_of(|x| x < 3, 2)",
    "[3, 1, 2].index_of(|x| x > 0, -2)",
    "[3, 1, 2].index_of(|x| x > 0, -9)",
    "[3, 1, 2].index_of(|x| x > 0, 9)",
    r#"["x", "y"].index_of("y")"#,
    r#"["x", "y", "x"].index_of("x", 1)"#,
    r#"["x", 'y', 5].index_of("y")"#,
    "[3, 1, 2].find(|x| x < 3)",
    "[3, 1, 2].find(|x| x < 0) == ()",
    "[3, 1, 2].find(|x, i| i == 2)",
    "[3, 1, 2].find(|x| x < 3, -1)",
    "[3, 1, 2].find_map(|x| if x < 3 { x * 10 })",
    "[3, 1, 2].find_map(|x| if x < 3 { x * 10 }, 2)",
    "[3, 1, 2].some(|x| x == 1)",
    "[3, 1, 2].some(|x| x == 9)",
    "fn one(x) { x == 1 } [3, 1, 2].some(`one`)",
    "[3, 1, 2].all(|x| x > 0)",
    "[3, 1, 2].all(|x, i| i < 2)",
    "fn one(x) { x == 1 } [3, 1, 2].all(`one`)",
    "let a = [1, 2, 2, 12, 3, 13]; a.dedup(|x, y| x % 10 == y % 10); a",
    "fn same(x, y) { x == y } let a = [1, 1, 2]; a.dedup(`same`); a",
    "let a = [1, 1, 2]; a.dedup(); a",
    "[3, 1, 2].reduce(|sum, x| (sum ?? 0) + x)",
    "[3, 1, 2].reduce(|sum, x, i| (sum ?? 0) * 10 + x + i)",
    "[3, 1, 2].reduce(|sum| this + (sum ?? 0))",
    "[3, 1, 2].reduce(|sum, x| sum + x, 100)",
    "fn add(sum, x) { (sum ?? 0) + x } [3, 1].reduce(`add`)",
    "fn add(sum, x) { sum + x } [3, 1].reduce(`add`, 5)",
    "[].reduce(|sum, x| sum + x, 7)",
    "[3, 1, 2].reduce_rev(|sum, x| (sum ?? 0) * 10 + x)",
    "[3, 1, 2].reduce_rev(|sum, x, i| (sum ?? 0) * 10 + i)",
    "[3, 1, 2].reduce_rev(|sum, x| sum * 10 + x, 9)",
    "fn add(sum, x) { (sum ?? 0) * 10 + x } [3, 1].reduce_rev(`add`)",
    "fn add(sum, x) { sum * 10 + x } [3, 1].reduce_rev(`add`, 5)",
    "[1, 2].zip([10, 20, 30], |a, b| a + b)",
    "[1, 2].zip([10, 20], |a, b, i| a + b + i)",
    "let a = [3, 1, 2]; a.sort(|x, y| x - y); a",
    "let a = [3, 1, 2]; a.sort_by(|x, y| y - x); a",
    "let a = [3, 1, 2]; a.sort(|x, y| x < y); a",
    "fn down(x, y) { y - x } let a = [3, 1, 2]; a.sort(`down`); a",
    "let a = [3, 1, 2]; a.sort(); a",
    "let a = [3, 1, 2]; [a.order(|x, y| x - y), a]",
    "[3, 1, 2].order_by(|x, y| y - x)",
    "let a = [31, 11, 21, 12, 32]; a.sort(|x, y| x % 10 - y % 10); a",
    "let a = [3, 1, 2]; [a.drain(|x| x > 1), a]",
    "let a = [3, 1, 2]; [a.drain(|x, i| i > 1), a]",
    "let a = [3, 1, 2]; [a.drain(0..2), a]",
    "fn big(x) { x > 1 } let a = [3, 1, 2]; [a.drain(`big`), a]",
    "let a = [3, 1, 2]; [a.retain(|x| x > 1), a]",
    "let a = [3, 1, 2]; [a.retain(|x, i| i > 1), a]",
    "let a = [3, 1, 2]; [a.retain(1, 1), a]",
    "fn big(x) { x > 1 } let a = [3, 1, 2]; [a.retain(`big`), a]",
    "#{ a: 1, b: 2 }.map(|k, v| `${k}${v}`)",
    "#{ a: 1, b: 2 }.map(|k| `${k}${this}`)",
    "#{ a: 1, b: 2 }.filter(|k, v| v > 1)",
    "#{ a: 1, b: 2 }.filter(|k| this > 1)",
    "let m = #{ a: 1, b: 2 }; [m.drain(|k, v| v > 1), m]",
    "let m = #{ a: 1, b: 2 }; [m.drain(|k| k == `a`), m]",
    "let m = #{ a: 1, b: 2 }; [m.retain(|k, v| v > 1), m]",
    r#"#{ a: [1, "x"], b: #{} }.to_json()"#,
    "take(5)",
    r#""abc".to_upper() + 'a'.to_upper()"#,
];

#[test]
fn what_is_replaced_gives_what_rhai_gives() {
    super::init();
    for script in AS_IN_RHAI {
        let rhai = rhai::Engine::new().eval::<Dynamic>(script).map_err(|error| error.to_string());
        let rhai = to_value(&rhai.unwrap_or_else(|error| panic!("{script}: {error}"))).unwrap();
        assert_eq!(eval(script), rhai.to_json().unwrap().to_string(), "{script}");
    }
}

#[test]
fn callbacks_may_take_less_than_they_are_offered() {
    for (script, expected) in [
        ("[3, 1].map(|| 7)", "[7,7]"),
        ("[3, 1].reduce(|| this)", "1"),
        ("[1, 2].zip([3, 4], |a| a)", "[1,2]"),
        ("#{ a: 1 }.map(|| this + 1)", r#"{"a":2}"#),
        ("[1, 2].map(|| { let f = |x| x; this })", "[1,2]"),
    ] {
        assert_eq!(eval(script), expected, "{script}");
    }
}

/// Calls of everything that takes a callback, with `CALLBACK` for its body, over `list` and `map`.
const WITH_CALLBACK: &[&str] = &[
    "list.for_each(|i| CALLBACK)",
    "list.map(|x| CALLBACK)",
    "list.map(|x, i| CALLBACK)",
    "list.map(|| CALLBACK)",
    "list.filter(|x| CALLBACK)",
    "list.index_of(|x| CALLBACK)",
    "list.index_of(|x| CALLBACK, 1)",
    "list.find(|x| CALLBACK)",
    "list.find(|x| CALLBACK, -2)",
    "list.find_map(|x| { CALLBACK; () })",
    "list.find_map(|x| { CALLBACK; () }, 0)",
    "list.some(|x| CALLBACK)",
    "list.all(|x| { CALLBACK; true })",
    "list.dedup(|x, y| CALLBACK)",
    "list.reduce(|sum, x| CALLBACK)",
    "list.reduce(|sum, x| CALLBACK, 5)",
    "list.reduce_rev(|sum, x| CALLBACK)",
    "list.reduce_rev(|sum, x| CALLBACK, 5)",
    "list.zip(list, |x, y| CALLBACK)",
    "list.sort(|x, y| { CALLBACK; 1 })",
    "list.sort_by(|x, y| { CALLBACK; -1 })",
    "list.order(|x, y| { CALLBACK; 1 })",
    "list.order_by(|x, y| { CALLBACK; true })",
    "list.drain(|x| CALLBACK)",
    "list.drain(|x| { CALLBACK; true })",
    "list.retain(|x| CALLBACK)",
    "map.map(|k, v| CALLBACK)",
    "map.filter(|k, v| CALLBACK)",
    "map.drain(|k, v| { CALLBACK; true })",
    "map.retain(|k, v| CALLBACK)",
    "list.map(`named`)",
    "list.filter(`named`)",
    "list.some(`named`)",
    "list.all(`named_yes`)",
    "list.dedup(`named`)",
    "list.reduce(`named`)",
    "list.reduce(`named`, 5)",
    "list.reduce_rev(`named`)",
    "list.reduce_rev(`named`, 5)",
    "list.sort(`named_yes`)",
    "list.drain(`named`)",
    "list.retain(`named`)",
    "ask(|x| { CALLBACK; CALLBACK })",
    "[[1, 2]].map(|inner| inner.map(|x| { CALLBACK; CALLBACK }))",
];

/// Runs `call` with a callback that ends its second call with `failure`, inside of `try`.
fn fail_in_callback(call: &str, failure: &str) -> (Result<String, String>, i64) {
    let calls = std::sync::Arc::new(std::sync::atomic::AtomicI64::new(0));
    let mut engine = new_engine(&Limits::default());
    add_helpers(&mut engine);
    let counter = std::sync::Arc::clone(&calls);
    engine.register_fn("nth", move || 1 + counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst));
    let script = format!(
        r#"fn named(x, y) {{ CALLBACK }} fn named(x) {{ CALLBACK }}
           fn named_yes(x, y) {{ CALLBACK; true }} fn named_yes(x) {{ CALLBACK; true }}
           let list = [1, 2, 3, 4]; let map = #{{ a: 1, b: 2, c: 3 }};
           try {{ {call}; }} catch (e) {{
               let same = list == [1, 2, 3, 4] && map == #{{ a: 1, b: 2, c: 3 }};
               return [e.kind, e.details.code, same];
           }}"#
    );
    let body = format!("{{ if nth() >= 2 {{ {failure}(); }} false }}");
    let result = engine.eval::<Dynamic>(&script.replace("CALLBACK", &body));
    let result = match result {
        Ok(value) => Ok(to_value(&value).unwrap().to_json().unwrap().to_string()),
        Err(error) => Err(format!("{error:?}").split('(').next().unwrap().to_owned()),
    };
    (result, calls.load(std::sync::atomic::Ordering::SeqCst))
}

#[test]
fn the_error_of_a_callback_is_caught_as_it_is_and_ends_the_calls() {
    for call in WITH_CALLBACK {
        let caught = Ok(r#"["denied",7,true]"#.to_owned());
        assert_eq!(fail_in_callback(call, "refuse"), (caught, 2), "{call}");
    }
}

#[test]
fn the_end_of_an_evaluation_inside_of_a_callback_cannot_be_caught() {
    for call in WITH_CALLBACK {
        let ended = Err("ErrorTerminated".to_owned());
        assert_eq!(fail_in_callback(call, "end"), (ended, 2), "{call}");
    }
}

/// Each function of Rhai's packages that takes a function is replaced: a new release cannot add one unnoticed.
#[test]
fn every_native_callback_is_replaced() {
    fn taking_functions(engine: &rhai::Engine, standard: bool) -> std::collections::BTreeSet<String> {
        let found = engine.collect_fn_metadata(
            None,
            |info| {
                let takes = info.metadata.params_info.iter().skip(1).any(|param| param.contains("FnPtr"));
                takes.then(|| format!("{}/{}", info.metadata.name, info.metadata.num_params))
            },
            standard,
        );
        found.into_iter().collect()
    }
    super::init();
    let of_rhai = taking_functions(&rhai::Engine::new(), true);
    let own = taking_functions(&new_engine(&Limits::default()), false);
    assert!(of_rhai.len() > 20, "{of_rhai:?}");
    assert_eq!(own, of_rhai);
}

#[test]
fn texts_are_values() {
    for (script, expected) in [
        (r#"let s = "  a "; [s.trim(), s]"#, r#"["a","  a "]"#),
        (
            r#"let s = "a-b"; [s.replace("-", "+"), s.replace('-', '+'), s.replace("-", '+'), s.replace('-', "+"), s]"#,
            r#"["a+b","a+b","a+b","a+b","a-b"]"#,
        ),
        (
            r#"let s = "aB"; [s.make_upper(), s.make_lower(), 'ä'.make_upper(), 'ß'.make_upper(), s]"#,
            r#"["AB","ab","Ä","ß","aB"]"#,
        ),
        (
            r#"let s = "hello"; [s.crop(1), s.crop(-2), s.crop(1, 2), s.crop(1..3), s.crop(1..=3), s]"#,
            r#"["ello","lo","el","el","ell","hello"]"#,
        ),
        (
            r#"let s = "hällo"; [s.truncate(2), s.truncate(9), s.truncate(-1), s]"#,
            r#"["hä","hällo","","hällo"]"#,
        ),
        (
            r#"let s = "ab"; [s.pad(5, '-'), s.pad(6, "xy"), s.pad(1, "x"), s]"#,
            r#"["ab---","abxyxy","ab","ab"]"#,
        ),
        (r#"let s = "abca"; [s.remove("a"), s.remove('b'), s]"#, r#"["bc","aca","abca"]"#),
        (r#"const S = " x "; S.trim()"#, r#""x""#),
        (r#"let s = "a"; s.append("b"); s"#, r#""ab""#),
    ] {
        assert_eq!(eval(script), expected, "{script}");
    }
    assert!(eval(r#""a".pad(999999999999, "x")"#).starts_with("ErrorDataTooLarge"));
}

#[test]
fn a_function_has_no_text() {
    for script in [
        "let f = || 1; f.to_string()",
        "let f = || 1; to_debug(f)",
        "print(|| 1)",
        "let f = || 1; f.name",
        "let f = || 1; let s = `${f}`; s.len()",
        "let f = || 1; let s = `${[1, f]}`; s.len()",
        "let f = || 1; let s = \"f: \" + f; s.len()",
        "let s = \"f: \"; s += || 1; s.len()",
        "#{ a: [|| 1] }.to_json()",
        "try { let s = `${|| 1}`; s.len() } catch { 1 }",
    ] {
        assert!(
            eval(script).starts_with("ErrorTerminated(\"a function has no text\""),
            "{script}: {}",
            eval(script)
        );
    }
    assert_eq!(eval("1 + 1"), "2", "another evaluation on the thread is not ended");
}

#[test]
fn what_depends_on_the_process_is_absent() {
    for script in [
        "timestamp()",
        "eval(\"1\")",
        "sleep(1)",
        "back_trace()",
        "get_fn_metadata_list()",
        "let x = 1; x.tag",
    ] {
        let engine = new_engine(&Limits::default());
        assert!(engine.eval::<Dynamic>(script).is_err(), "{script}");
    }
}

#[test]
fn reserved_words_are_names() {
    for word in super::words::PLAIN_WORDS {
        let script = format!("let {word} = 1; let m = #{{ {word}: {word} + 1 }}; m.{word}");
        assert_eq!(eval(&script), "2", "{word}");
    }
    assert_eq!(eval("debug(`x`); print(`y`); 1"), "1");
}

#[test]
fn what_is_not_there_is_an_error() {
    for (script, expected) in [
        ("let m = #{}; m.a", "ErrorPropertyNotFound"),
        ("let m = #{ a: #{} }; m.a.b", "ErrorPropertyNotFound"),
        ("let m = #{}; m.get(`a`) ?? 5", "5"),
        ("unknown", "ErrorParsing(VariableUndefined"),
    ] {
        assert!(eval(script).starts_with(expected), "{script}: {}", eval(script));
    }
}

/// The name of a closure is derived from its text by a seeded hash: it is the same in each process.
#[test]
fn the_hashing_seed_is_fixed() {
    super::init();
    assert!(rhai::config::hashing::get_hashing_seed().is_some());
    let program = new_engine(&Limits::default()).compile("let f = |x| x + 1;").unwrap();
    let names: Vec<_> = program.iter_functions().map(|function| function.name.to_owned()).collect();
    assert_eq!(names, ["anon$3dd9a8b4934e2cfc"]);
}

/// Closures that cross the border of a module, in both directions.
#[test]
fn closures_work_across_modules() {
    let module = "fn make() { |x| x + 1 } fn helper(x) { x * 100 } fn apply(f) { [1, 2].map(f) }
        fn inner() { [1, 2].map(|x| helper(x)) } fn ask_it(f) { ask(f) }";
    for (script, expected) in [
        // Rhai does not find a closure outside of the module that it was written in.
        ("m::make().call(1)", "ErrorFunctionNotFound"),
        ("[1, 2].map(m::make())", "ErrorFunctionNotFound"),
        ("m::apply(|x| x * 2)", "[2,4]"),
        ("m::apply(|x, i| x * 10 + i)", "[10,21]"),
        ("let n = 5; m::apply(|x| x + n)", "[6,7]"),
        ("m::apply(|| 7)", "[7,7]"),
        ("m::inner()", "[100,200]"),
        ("m::ask_it(|x| x)", r#""a""#),
        ("fn own(x) { m::apply(|y| x + y) } own(1)", "[2,3]"),
    ] {
        let mut engine = new_engine(&Limits::default());
        add_helpers(&mut engine);
        let program = engine.compile(module).unwrap();
        let module = rhai::Module::eval_ast_as_new(rhai::Scope::new(), &program, &engine).unwrap();
        let mut modules = rhai::module_resolvers::StaticModuleResolver::new();
        modules.insert("m", module);
        engine.set_module_resolver(modules);
        let said = match engine.eval::<Dynamic>(&format!("import `m` as m; {script}")) {
            Ok(value) => to_value(&value).unwrap().to_json().unwrap().to_string(),
            Err(error) => format!("{error:?}"),
        };
        assert!(said.starts_with(expected), "{script}: {said}");
    }
}

/// The deepest recursion in the deepest expressions ends in an error of its own on half of a script's stack.
#[test]
fn the_limit_of_calls_comes_before_the_end_of_the_stack() {
    let deepest = || {
        let forms = [
            ("g(", "f(n + 1)", ")"),
            ("[", "f(n + 1)", "]"),
            ("#{ a: ", "f(n + 1)", " }"),
            ("while true { ", "return f(n + 1);", " }"),
            ("try { ", "f(n + 1);", " } catch {}"),
            ("switch n { _ => ", "f(n + 1)", " }"),
            ("[1].map(|x| ", "f(n + 1)", ")"),
            ("[1, 2].order(|x, y| ", "f(n + 1)", ")"),
            ("#{ a: 1 }.filter(|k, v| ", "f(n + 1)", ")"),
        ];
        for (open, call, close) in forms {
            let script = |depth| {
                let (open, close) = (open.repeat(depth), close.repeat(depth));
                format!("fn g(x) {{ x }} fn f(n) {{ {open}{call}{close} }} f(0)")
            };
            let engine = new_engine(&Limits::default());
            let program = (1..64).rev().find_map(|depth| engine.compile(script(depth)).ok()).unwrap();
            let error = engine.eval_ast::<Dynamic>(&program).unwrap_err();
            assert!(matches!(*error, EvalAltResult::ErrorStackOverflow(_)), "{open}: {error}");
        }
    };
    let thread = std::thread::Builder::new().stack_size(crate::SCRIPT_STACK_BYTES / 2);
    thread.spawn(deepest).unwrap().join().unwrap();
}

#[test]
fn the_deepest_script_parses_on_a_small_stack() {
    let parse = || {
        for (open, close) in
            [("[", "]"), ("(", ")"), ("if true { ", " }"), ("switch 1 { _ => ", " }"), ("x", ".trim()")]
        {
            for depth in [100, 1_000, 100_000] {
                let open = if open == "x" { open.to_owned() } else { open.repeat(depth) };
                let _ = new_engine(&Limits::default())
                    .compile(format!("let x = 1; {open}{}", close.repeat(depth)));
            }
        }
    };
    std::thread::Builder::new().stack_size(1024 * 1024).spawn(parse).unwrap().join().unwrap();
}
