//! A machine with cards, once in memory and once behind NVML.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use hob_model::{ErrorKind, OpError};
use hob_std_gpu::GpuPort;
use hob_std_gpu::fake::{FakeGpu, Machine};
use hob_std_gpu::live::LiveGpu;
use hob_std_gpu::port::{Card, CdiFile, GpuProcess, Memory, Sensors, Utilization, Vendor, Work};
use hob_testkit::Harness;
use serde_json::{Value as Json, json};

/// One process on a card.
pub(crate) struct Program {
    pub(crate) pid: u32,
    pub(crate) work: Work,
    pub(crate) bytes: u64,
}

/// A Pascal card as that of many a homelab, with what its programs hold.
pub(crate) fn p1000(index: u32, programs: &[Program]) -> Card {
    let mut card = Card::new(Vendor::Nvidia, format!("GPU-{index}{index}aa-p1000"), "Quadro P1000");
    card.pci = Some(format!("0000:0{}:00.0", index + 1));
    card.driver = Some("550.54.14".to_owned());
    (card.index, card.minor) = (Some(index), Some(index));
    card.compute = Some((6, 1));
    let used = programs.iter().map(|it| it.bytes).sum();
    card.memory = Some(Memory { total: 4 << 30, used, reserved: 64 << 20 });
    card.utilization = Utilization { gpu: Some(37), memory: Some(12), encoder: Some(80), decoder: Some(5) };
    card.sensors = Sensors {
        temperature: Some(61),
        power_draw: Some(31_500),
        clock_graphics: Some(1480),
        clock_memory: Some(2505),
        pcie_generation: Some(3),
        pcie_width: Some(16),
        encoder_sessions: Some(2),
        // As on the real one: it has no fan that is told of, and its limit is not shown.
        ..Sensors::default()
    };
    card
}

/// A machine that runs the operations.
pub(crate) struct World {
    /// For messages.
    pub(crate) name: &'static str,
    harness: Harness,
    root: PathBuf,
    fake: Option<Arc<FakeGpu>>,
}

/// Carries out `case` on each kind of machine.
pub(crate) fn everywhere(case: impl Fn(&mut World)) {
    let temp = tempfile::tempdir().unwrap();
    let fake = Arc::new(FakeGpu::default());
    let harness = Harness::new().port::<dyn GpuPort>(Arc::clone(&fake) as Arc<dyn GpuPort>);
    case(&mut World { name: "memory", harness, root: temp.path().to_owned(), fake: Some(fake) });
    let temp = tempfile::tempdir().unwrap();
    case(&mut live("NVML", temp.path()));
}

/// A machine below `root` behind the stand-in for NVML.
pub(crate) fn live(name: &'static str, root: &Path) -> World {
    let library = root.join("libnvidia-ml.so.1");
    std::fs::copy(stand_in(), &library).unwrap();
    let live = Arc::new(LiveGpu::of(root, Some(library)));
    World { name, harness: Harness::new().port::<dyn GpuPort>(live), root: root.to_owned(), fake: None }
}

/// The compiled stand-in, made once for all tests.
fn stand_in() -> &'static Path {
    static LIBRARY: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, library) = LIBRARY.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let library = directory.path().join("nvml.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gpu/nvml.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"]).args([&library, &source]);
        let compiled = compiler.output().expect("the tests need a compiler for C");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        (directory, library)
    });
    library
}

impl World {
    /// Gives it these cards.
    pub(crate) fn has(&self, cards: &[(Card, &[Program])]) {
        if let Some(fake) = &self.fake {
            let process = |card: &Card, it: &Program| GpuProcess {
                card: card.id.clone(),
                pid: it.pid,
                name: None,
                work: it.work,
                memory: Some(it.bytes),
                container: None,
                unit: None,
                parents: Vec::new(),
            };
            fake.change(|machine: &mut Machine| {
                machine.cards = cards.iter().map(|(card, _)| card.clone()).collect();
                machine.processes = cards
                    .iter()
                    .flat_map(|(card, programs)| programs.iter().map(|it| process(card, it)))
                    .collect();
            });
            return;
        }
        let mut text = String::from("driver 550.54.14\n");
        for (card, programs) in cards {
            describe(&mut text, card, programs);
        }
        self.scripted(&text);
    }

    /// Writes what the stand-in for NVML reads.
    pub(crate) fn scripted(&self, cards: &str) {
        std::fs::write(self.root.join("cards"), cards).unwrap();
    }

    /// Gives it a file.
    pub(crate) fn file(&self, path: &str, text: &str) {
        if let Some(fake) = &self.fake {
            let file = CdiFile { path: path.into(), text: text.to_owned() };
            fake.change(|machine| {
                if path.contains("/cdi/") {
                    machine.cdi_files.push(file);
                }
                machine.paths.insert(path.into());
            });
            return;
        }
        let path = self.root.join(path.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Gives it device nodes.
    pub(crate) fn nodes(&self, paths: &[&str]) {
        for path in paths.iter().copied().collect::<BTreeSet<_>>() {
            self.file(path, "");
        }
    }

    /// Calls an operation.
    pub(crate) fn call(&self, operation: &str, args: Json) -> Result<Json, OpError> {
        let answer = self.harness.call(&hob_std_gpu::primitive(), &format!("gpu::{operation}"), args)?;
        Ok(answer.to_json().unwrap())
    }

    /// Calls an operation that gives something.
    pub(crate) fn gives(&self, operation: &str, args: Json) -> Json {
        self.call(operation, args).unwrap_or_else(|error| panic!("{}: {operation}: {error}", self.name))
    }

    /// Calls an operation that is refused.
    pub(crate) fn refuses(&self, operation: &str, args: Json, kind: ErrorKind) -> OpError {
        let refused = self.call(operation, args).unwrap_err();
        assert_eq!(refused.kind, kind, "{}: {operation}: {refused}", self.name);
        refused
    }
}

fn describe(text: &mut String, card: &Card, programs: &[Program]) {
    let (major, minor) = card.compute.unwrap();
    let memory = card.memory.unwrap();
    let pci = card.pci.as_ref().unwrap();
    writeln!(text, "card {}\nname {}\npci 0000{pci}\ncompute {major} {minor}", card.id, card.name).unwrap();
    writeln!(text, "total {}\nreserved {}", memory.total, memory.reserved).unwrap();
    let (load, sensors) = (card.utilization, card.sensors);
    let numbers = [
        ("minor", card.minor),
        ("busy", load.gpu),
        ("memory_busy", load.memory),
        ("encoder", load.encoder),
        ("decoder", load.decoder),
        ("temperature", sensors.temperature),
        ("power", sensors.power_draw),
        ("power_limit", sensors.power_limit),
        ("fan", sensors.fan),
        ("clock_graphics", sensors.clock_graphics),
        ("clock_memory", sensors.clock_memory),
        ("pcie_generation", sensors.pcie_generation),
        ("pcie_width", sensors.pcie_width),
        ("encoder_sessions", sensors.encoder_sessions),
    ];
    for (name, value) in numbers {
        if let Some(value) = value {
            writeln!(text, "number {name} {value}").unwrap();
        }
    }
    for program in programs {
        writeln!(text, "{}_process {} {}", program.work.as_str(), program.pid, program.bytes).unwrap();
    }
}

/// What `json` has under `keys`.
pub(crate) fn only(json: &Json, keys: &[&str]) -> Json {
    Json::Object(keys.iter().map(|key| ((*key).to_owned(), json[*key].clone())).collect())
}

/// No arguments.
pub(crate) fn none() -> Json {
    json!([])
}
