//! What the generations of NVIDIA's cards can do, as data.
//!
//! Source: the CUDA C++ Programming Guide (arithmetic throughput by compute capability) and NVIDIA's Video Encode and Decode
//! Support Matrix. A generation is recognised by its compute capability.

/// What cards of a generation can do.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Lowest compute capability of the generation.
    since: (u32, u32),
    /// Its name.
    pub architecture: &'static str,
    /// Whether half precision is at least as fast as single: where it is not, TensorRT models are made without it.
    pub fp16: bool,
    /// Whether it has tensor cores.
    pub tensor_cores: bool,
    /// Video that it encodes.
    pub encode: &'static [&'static str],
    /// Video that it decodes.
    pub decode: &'static [&'static str],
}

const H264: &[&str] = &["h264"];
const HEVC: &[&str] = &["h264", "hevc"];
const VP9: &[&str] = &["h264", "hevc", "vp9"];
const AV1: &[&str] = &["h264", "hevc", "vp9", "av1"];
const AV1_ENCODE: &[&str] = &["h264", "hevc", "av1"];

/// In ascending order; each holds up to the next.
const RULES: &[Rule] = &[
    rule((3, 0), "kepler", false, false, H264, H264),
    rule((5, 0), "maxwell", false, false, H264, H264),
    rule((5, 2), "maxwell", false, false, HEVC, H264),
    rule((5, 3), "maxwell", true, false, HEVC, VP9),
    rule((6, 0), "pascal", true, false, HEVC, HEVC),
    rule((6, 1), "pascal", false, false, HEVC, VP9),
    rule((6, 2), "pascal", true, false, HEVC, VP9),
    rule((7, 0), "volta", true, true, HEVC, VP9),
    rule((7, 5), "turing", true, true, HEVC, VP9),
    // The A100 is for computing: it only decodes.
    rule((8, 0), "ampere", true, true, &[], VP9),
    rule((8, 6), "ampere", true, true, HEVC, AV1),
    rule((8, 9), "ada", true, true, AV1_ENCODE, AV1),
    rule((9, 0), "hopper", true, true, &[], AV1),
    rule((10, 0), "blackwell", true, true, &[], AV1),
    rule((12, 0), "blackwell", true, true, AV1_ENCODE, AV1),
];

const fn rule(
    since: (u32, u32),
    architecture: &'static str,
    fp16: bool,
    tensor_cores: bool,
    encode: &'static [&'static str],
    decode: &'static [&'static str],
) -> Rule {
    Rule { since, architecture, fp16, tensor_cores, encode, decode }
}

/// What a card of this compute capability can do; nothing is known about ones older than Kepler.
#[must_use]
pub fn of(compute: (u32, u32)) -> Option<&'static Rule> {
    RULES.iter().rev().find(|rule| rule.since <= compute)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_known_by_its_capability() {
        let cases = [
            ((2, 1), None),
            ((3, 5), Some(("kepler", false))),
            ((6, 1), Some(("pascal", false))),
            ((7, 2), Some(("volta", true))),
            ((8, 7), Some(("ampere", true))),
            ((8, 9), Some(("ada", true))),
            ((12, 1), Some(("blackwell", true))),
        ];
        for (compute, expected) in cases {
            assert_eq!(of(compute).map(|rule| (rule.architecture, rule.fp16)), expected, "{compute:?}");
        }
    }

    #[test]
    fn the_table_ascends() {
        assert!(RULES.is_sorted_by(|a, b| a.since < b.since));
    }
}
