//! Random scripts: every construct of the language, nested in every other one.
//!
//! The first letter of an effect's label tells its class in force (`p`, `e`, `k`, `o`), so that the world can judge
//! what happens to it without asking the engine.

use std::fmt::Write;

use fastrand::Rng;

/// How deep blocks nest.
const DEPTH_MAX: u32 = 3;

/// A script, and what whoever runs it must know.
pub(super) struct Script {
    /// The source.
    pub(super) text: String,
    /// Whether it is a homelab whose workflow `main` is to be run, or a playbook.
    pub(super) homelab: bool,
    /// Whether its value depends on nothing but what the world answers: no race, no time limits.
    pub(super) deterministic: bool,
    /// The signals it may wait for.
    pub(super) signals: Vec<String>,
}

/// Writes a script. A `tame` one is deterministic.
pub(super) fn generate(rng: &mut Rng, tame: bool) -> Script {
    let homelab = rng.u8(..4) == 0;
    let budget = rng.i32(3..13);
    let mut writer = Writer {
        rng,
        sites: 0,
        budget,
        tame,
        homelab,
        branching: 0,
        functions: String::new(),
        signals: vec![],
        racy: false,
    };
    let mut body = writer.body(0, &["input_n".to_owned()]);
    writer.ending(&mut body);
    let mut text = String::new();
    if homelab {
        let mut child = writer.child();
        writer.homelab = false;
        std::mem::swap(&mut child, &mut text);
        let _ = write!(text, "workflow(\"main\", |input| {{\n{body}}});\n");
    } else {
        text = body;
    }
    let Writer { functions, signals, racy, .. } = writer;
    Script { text: format!("{functions}{text}"), homelab, deterministic: !racy, signals }
}

struct Writer<'a> {
    rng: &'a mut Rng,
    sites: u32,
    /// Statements that may still be written.
    budget: i32,
    tame: bool,
    homelab: bool,
    /// How many groups of branches are around.
    branching: u32,
    functions: String,
    signals: Vec<String>,
    racy: bool,
}

impl Writer<'_> {
    fn one_in(&mut self, n: u32) -> bool {
        self.rng.u32(..n) == 0
    }

    fn site(&mut self) -> u32 {
        self.sites += 1;
        self.sites
    }

    /// An integer expression.
    fn int(&mut self, scope: &[String]) -> String {
        if scope.is_empty() || self.one_in(3) {
            self.rng.u32(..9).to_string()
        } else {
            self.rng.choice(scope).expect("the scope is not empty").clone()
        }
    }

    fn list(&mut self) -> String {
        let items: Vec<String> = (0..self.rng.u32(1..4)).map(|_| self.rng.u32(..9).to_string()).collect();
        format!("[{}]", items.join(", "))
    }

    /// A label as an expression; it differs from one round of a loop to the next.
    fn label(&mut self, class: char, scope: &[String]) -> String {
        let site = self.site();
        if scope.is_empty() || self.one_in(3) {
            format!("\"{class}{site}\"")
        } else {
            let variable = self.rng.choice(scope).expect("the scope is not empty");
            format!("`{class}{site}:${{{variable}}}`")
        }
    }

    /// The call of an operation: an integer expression with an effect.
    fn effect(&mut self, scope: &[String]) -> String {
        let (operation, mut class) = *self
            .rng
            .choice(&[("look", 'p'), ("make", 'e'), ("put", 'k'), ("fire", 'o'), ("fire", 'o')])
            .expect("not empty");
        let mut options = Vec::new();
        if operation == "fire" && self.one_in(5) {
            options.push("idempotent: true".to_owned());
            class = 'e';
        } else if matches!(operation, "look" | "make") && self.one_in(6) {
            options.push("class: \"once\"".to_owned());
            class = 'o';
        }
        if operation != "look" && self.one_in(7) {
            let undo = self.label('e', &["r".to_owned()]);
            options.push(format!("undo: |r| sim::make({undo})"));
        }
        if class == 'o' && !self.tame && self.one_in(6) {
            let policy = *self.rng.choice(&["ask", "retry", "skip", "fail"]).expect("not empty");
            options.push(format!("on_doubt: \"{policy}\""));
        }
        if self.one_in(12) {
            options.push("timeout: \"9s\"".to_owned());
        }
        if !self.tame && self.one_in(10) {
            let attempts = self.rng.u32(1..4);
            options.push(format!("retry: #{{ attempts: {attempts}, backoff: \"1ms\" }}"));
        }
        let label = self.label(class, scope);
        if options.is_empty() {
            format!("sim::{operation}({label})")
        } else {
            format!("sim::{operation}({label}, #{{ {} }})", options.join(", "))
        }
    }

    /// The statements of a body with its own `acc`, which is its value.
    fn body(&mut self, depth: u32, scope: &[String]) -> String {
        let mut text = String::from("let acc = [];\n");
        if depth == 0 {
            text.push_str("let input_n = if type_of(input) == \"map\" { input.n } else { input };\n");
        }
        let mut scope = scope.to_vec();
        let count = if depth == 0 { 99 } else { self.rng.u32(1..4) };
        for _ in 0..count {
            if self.budget <= 0 {
                break;
            }
            self.budget -= 1;
            let statement = self.statement(depth, &mut scope);
            text.push_str(&statement);
            text.push('\n');
        }
        text
    }

    fn block(&mut self, depth: u32, scope: &[String]) -> String {
        let body = self.body(depth, scope);
        format!("{{ {body} acc }}")
    }

    fn statement(&mut self, depth: u32, scope: &mut Vec<String>) -> String {
        if depth >= DEPTH_MAX || self.rng.u32(..100) < 30 {
            return self.simple(scope);
        }
        match self.rng.u32(..16) {
            0 | 1 => self.in_array_function(depth, scope),
            2 => self.looped(depth, scope),
            3 => self.branched(depth, scope),
            4 | 5 => self.caught(depth, scope),
            6..=8 => self.parallel(depth, scope),
            9 => self.race(depth, scope),
            10 => self.retried(depth, scope),
            11 => self.step(depth, scope),
            12 => self.function(scope),
            13 => self.compensation(depth, scope),
            _ => self.wait(scope),
        }
    }

    fn simple(&mut self, scope: &mut Vec<String>) -> String {
        let effect = self.effect(scope);
        match self.rng.u32(..12) {
            0..=4 => format!("acc.push({effect});"),
            5..=7 => {
                let name = format!("v{}", self.site());
                scope.push(name.clone());
                format!("let {name} = {effect}; acc.push({name});")
            }
            8 => self.wait(scope),
            9 => {
                let event = self.site();
                let n = self.int(scope);
                format!("emit(\"made{event}\", {n});")
            }
            10 => format!("log::info(\"line {}\");", self.site()),
            _ if self.homelab && !self.one_in(3) => {
                let n = self.int(scope);
                format!("acc.push(invoke(\"child\", {n}));")
            }
            _ => format!("{effect};"),
        }
    }

    fn wait(&mut self, scope: &[String]) -> String {
        let site = self.site();
        let limit = if self.tame || !self.one_in(3) { "" } else { ", #{ timeout: \"90s\" }" };
        if !limit.is_empty() {
            self.racy = true;
        }
        let wait = match self.rng.u32(..6) {
            0 | 1 => {
                let minutes = self.rng.u32(1..5);
                return if self.one_in(4) {
                    "sleep_until(\"2026-01-01T00:00:00Z\");".to_owned()
                } else {
                    format!("sleep(\"{minutes}m\");")
                };
            }
            2 | 3 => {
                self.signals.push(format!("s{site}"));
                format!("wait_signal(\"s{site}\"{limit})")
            }
            4 => format!("approve(\"a{site}\"{limit})"),
            _ => format!("wait_for(\"ev{site}\"{limit}).payload"),
        };
        let _ = scope;
        format!("acc.push({wait});")
    }

    fn in_array_function(&mut self, depth: u32, scope: &[String]) -> String {
        let list = self.list();
        let mut inner = scope.to_vec();
        inner.push("x".to_owned());
        let effect = self.effect(&inner);
        // A wait or an error now and then, inside of the callback and inside of `try`.
        let before = if self.one_in(3) && depth < DEPTH_MAX {
            self.statement(DEPTH_MAX, &mut inner)
        } else {
            String::new()
        };
        let acc = if before.contains("acc") { "let acc = [];" } else { "" };
        let call = match self.rng.u32(..11) {
            0 | 1 => format!("{list}.map(|x| {{ {acc} {before} {effect} + x }})"),
            2 => format!("{list}.filter(|x| {{ {acc} {before} {effect} > 40 }})"),
            3 => format!("{list}.reduce(|s, x| {{ {acc} {before} s + {effect} }}, 0)"),
            4 => format!("{list}.some(|x| {{ {acc} {before} {effect} > 70 }})"),
            5 => format!("{list}.all(|x| {{ {acc} {before} {effect} > 20 }})"),
            6 => format!("{list}.find(|x| {{ {acc} {before} {effect} > 60 }})"),
            7 => {
                return format!(
                    "let l = {list}; l.sort(|x, y| {{ {acc} {before} {effect}; x - y }}); acc.push(l);"
                );
            }
            8 => {
                return format!(
                    "let l = {list}; l.retain(|x| {{ {acc} {before} {effect} > 30 }}); acc.push(l);"
                );
            }
            9 => {
                let scope = scope.to_vec();
                let effect = self.effect(&scope);
                return format!("let n = 0; {list}.for_each(|| {{ n += this; {effect}; }}); acc.push(n);");
            }
            _ => format!("{list}.index_of(|x| {{ {acc} {before} {effect} > 50 }})"),
        };
        format!("acc.push({call});")
    }

    fn looped(&mut self, depth: u32, scope: &[String]) -> String {
        let i = format!("i{}", self.site());
        let mut inner = scope.to_vec();
        inner.push(i.clone());
        let body = self.block(depth + 1, &inner);
        let rounds = self.rng.u32(1..4);
        if self.one_in(3) {
            format!("let {i} = 0; while {i} < {rounds} {{ acc.push({body}); {i} += 1; }}")
        } else {
            format!("for {i} in 0..{rounds} {{ acc.push({body}); }}")
        }
    }

    fn branched(&mut self, depth: u32, scope: &[String]) -> String {
        let condition = if self.one_in(2) { self.effect(scope) } else { self.int(scope) };
        let limit = self.rng.u32(..60);
        let (one, other) = (self.block(depth + 1, scope), self.block(depth + 1, scope));
        format!("acc.push(if {condition} > {limit} {one} else {other});")
    }

    fn caught(&mut self, depth: u32, scope: &[String]) -> String {
        let body = self.body(depth + 1, scope);
        let body = body.trim_start_matches("let acc = [];");
        let fails = self.failure(scope);
        let handler = if self.one_in(3) { self.effect(scope) } else { "0".to_owned() };
        let kind = if self.one_in(2) { "error(e).kind" } else { "1" };
        format!("try {{ {body} {fails} }} catch (e) {{ acc.push({kind}); acc.push({handler}); }}")
    }

    fn failure(&mut self, scope: &[String]) -> String {
        match self.rng.u32(..5) {
            0 => {
                let label = self.label('p', scope);
                format!("sim::fail({label});")
            }
            1 => format!("throw \"t{}\";", self.site()),
            2 => format!("fail(\"f{}\");", self.site()),
            _ => String::new(),
        }
    }

    fn parallel(&mut self, depth: u32, scope: &[String]) -> String {
        if self.branching >= 2 {
            return self.simple(&mut scope.to_vec());
        }
        self.branching += 1;
        let mut options = Vec::new();
        if self.one_in(3) {
            options.push(format!("max: {}", self.rng.u32(1..3)));
        }
        let fail_fast = !self.tame && self.one_in(3);
        if fail_fast {
            options.push("fail_fast: true".to_owned());
            self.racy = true;
        }
        let options =
            if options.is_empty() { String::new() } else { format!(", #{{ {} }}", options.join(", ")) };
        let may_fail = |it: &mut Self| if it.one_in(6) { it.failure(scope) } else { String::new() };
        let text = match self.rng.u32(..3) {
            0 => {
                let mut inner = scope.to_vec();
                inner.push("item".to_owned());
                let (body, fails, list) = (self.body(depth + 1, &inner), may_fail(self), self.list());
                format!("parallel({list}, |item| {{ {body} {fails} acc }}{options})")
            }
            1 => {
                let branches: Vec<String> = (0..self.rng.u32(1..4))
                    .map(|_| format!("|| {{ {} {} acc }}", self.body(depth + 1, scope), may_fail(self)))
                    .collect();
                format!("parallel([{}]{options})", branches.join(", "))
            }
            _ => {
                let (one, two) = (self.block(depth + 1, scope), self.block(depth + 1, scope));
                format!("parallel(#{{ one: || {one}, two: || {two} }}{options})")
            }
        };
        self.branching -= 1;
        self.pushed(text)
    }

    /// Adds the value of an expression that may fail to `acc`, mostly within `try`.
    fn pushed(&mut self, expression: String) -> String {
        if self.one_in(3) {
            format!("acc.push({expression});")
        } else {
            format!("try {{ acc.push({expression}); }} catch (e) {{ acc.push(error(e).kind); }}")
        }
    }

    fn race(&mut self, depth: u32, scope: &[String]) -> String {
        if self.tame || self.branching >= 2 {
            return self.parallel(depth, scope);
        }
        self.racy = true;
        self.branching += 1;
        let branches: Vec<String> =
            (0..self.rng.u32(1..4)).map(|_| format!("|| {}", self.block(depth + 1, scope))).collect();
        self.branching -= 1;
        self.pushed(format!("race([{}])", branches.join(", ")))
    }

    fn retried(&mut self, depth: u32, scope: &[String]) -> String {
        let mut inner = scope.to_vec();
        inner.push("round".to_owned());
        let body = self.body(depth + 1, &inner);
        let attempts = self.rng.u32(1..4);
        let good = self.rng.u32(1..4);
        let text = format!(
            "retry(#{{ attempts: {attempts}, backoff: \"1m\" }}, |round| {{ {body} if round < {good} {{ throw \"again\" }} acc }})"
        );
        self.pushed(text)
    }

    fn step(&mut self, depth: u32, scope: &[String]) -> String {
        let name = *self.rng.choice(&["fetch", "store all", "x/y"]).expect("not empty");
        let n = format!("n{}", self.site());
        let body = self.block(depth + 1, scope);
        format!("let {n} = 1; acc.push(step(\"{name}\", || {{ {n} += 1; {body} }})); acc.push({n});")
    }

    fn function(&mut self, scope: &[String]) -> String {
        let name = format!("f{}", self.site());
        let homelab = std::mem::take(&mut self.homelab);
        let body = self.block(DEPTH_MAX, &["a".to_owned()]);
        self.homelab = homelab;
        let _ = writeln!(self.functions, "fn {name}(a) {body}");
        let argument = self.int(scope);
        format!("acc.push({name}({argument}));")
    }

    fn compensation(&mut self, depth: u32, scope: &[String]) -> String {
        let word = if self.one_in(3) { "finally" } else { "undo" };
        if self.one_in(4) && depth + 1 < DEPTH_MAX {
            let body = self.block(DEPTH_MAX, scope);
            return format!("{word}(|| {body});");
        }
        let effect = self.effect(scope);
        format!("{word}(|| {{ {effect} }});")
    }

    /// A workflow that others invoke.
    fn child(&mut self) -> String {
        self.budget = self.rng.i32(1..4);
        self.homelab = false;
        let mut body = self.body(1, &["input".to_owned()]);
        let fails = if self.one_in(5) { self.failure(&[]) } else { String::new() };
        let _ = writeln!(body, "{fails} acc");
        self.homelab = true;
        format!("workflow(\"child\", |input| {{\n{body}}});\n")
    }

    /// How the script ends: with its value, an error, or a successor.
    fn ending(&mut self, body: &mut String) {
        if self.one_in(12) {
            let pin = if self.one_in(2) { ", #{ pin: true }" } else { "" };
            let _ = writeln!(body, "if input_n < 2 {{ carry(#{{ n: input_n + 1 }}{pin}) }}");
        }
        if self.one_in(6) {
            let failure = self.failure(&[]);
            body.push_str(&failure);
        }
        body.push_str("acc\n");
    }
}
