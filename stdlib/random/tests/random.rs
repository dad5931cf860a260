//! `random` through its operations: the same cases against the system and against a seed.

use std::sync::Arc;

use hob_model::{ErrorKind, OpError, Value};
use hob_std_random::{Entropy, FakeEntropy, SystemEntropy};
use hob_testkit::Harness;
use serde_json::json;

fn call(harness: &Harness, name: &str, args: serde_json::Value) -> Result<Value, OpError> {
    harness.call(&hob_std_random::primitive(), &format!("random::{name}"), args)
}

fn sources() -> [Harness; 2] {
    let live: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let fake: Arc<dyn Entropy> = Arc::new(FakeEntropy::seeded(7));
    [live, fake].map(|source| Harness::new().port(source))
}

#[test]
fn every_draw_is_in_range() {
    for harness in sources() {
        let text = |name: &str, args| call(&harness, name, args).unwrap().as_str().unwrap().to_owned();
        let uuid = text("uuid", json!([]));
        assert_eq!((uuid.len(), &uuid[14..15]), (36, "4"));
        let uuid = text("uuid", json!([{ "kind": "v7" }]));
        assert_eq!(&uuid[..15], "019b7ca9-8c88-7", "it starts with the clock's milliseconds");
        assert_eq!(text("hex", json!([3])).len(), 6);
        assert_eq!(text("text", json!([20, { "alphabet": "ä" }])), "ä".repeat(20));
        let mut seen = [0; 6];
        for _ in 0..600 {
            seen[usize::try_from(call(&harness, "int", json!([-3, 2])).unwrap().as_int().unwrap() + 3)
                .unwrap()] += 1;
        }
        // Each has 100 on average; less than 40 happens once in 10¹¹ tries.
        assert!(seen.iter().all(|count| *count > 40), "{seen:?}");
        for (min, max) in [(i64::MIN, i64::MAX), (i64::MAX, i64::MAX), (i64::MIN, i64::MIN)] {
            let drawn = call(&harness, "int", json!([min, max])).unwrap().as_int().unwrap();
            assert!((min..=max).contains(&drawn));
        }
        let Value::Array(mut shuffled) = call(&harness, "shuffle", json!([[1, 2, 3, 4]])).unwrap() else {
            panic!()
        };
        shuffled.sort_by_key(|item| item.as_int());
        assert_eq!(Value::Array(shuffled).to_json().unwrap(), json!([1, 2, 3, 4]));
        assert!(
            matches!(call(&harness, "float", json!([])).unwrap(), Value::Float(x) if (0.0..1.0).contains(&x))
        );
        assert!(matches!(call(&harness, "bytes", json!([5])).unwrap(), Value::Blob(b) if b.len() == 5));
    }
}

#[test]
fn bad_requests_are_refused() {
    for harness in sources() {
        for (name, args) in [
            ("int", json!([2, 1])),
            ("hex", json!([1 << 20])),
            ("hex", json!([-1])),
            ("text", json!([5000])),
            ("text", json!([1, { "alphabet": "" }])),
            ("choice", json!([[]])),
        ] {
            assert_eq!(call(&harness, name, args).unwrap_err().kind, ErrorKind::Invalid, "{name}");
        }
    }
}

#[test]
fn a_seed_repeats_and_a_dry_source_is_told() {
    let draw = || {
        let fake: Arc<dyn Entropy> = Arc::new(FakeEntropy::seeded(1));
        call(&Harness::new().port(fake), "hex", json!([12])).unwrap()
    };
    assert_eq!(draw(), draw());
    let dry: Arc<dyn Entropy> = Arc::new(FakeEntropy::failing());
    assert_eq!(call(&Harness::new().port(dry), "uuid", json!([])).unwrap_err().kind, ErrorKind::Unavailable);
}
