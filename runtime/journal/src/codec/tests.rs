//! Bytes that nobody wrote. Format and round trip are tested from outside (`tests/codec.rs`).

use proptest::prelude::*;

use super::{decode_body, encode};

#[path = "../../tests/common/samples.rs"]
mod samples;

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let _ = decode_body(&bytes);
        let _ = super::decode_wait(&bytes);
        let _ = super::decode_claims(&bytes);
        let _ = super::decode_bundle(hob_model::Digest([0; 32]), &bytes);
    }

    /// Past the checksum, which would hide the decoder from such bytes.
    #[test]
    fn changed_records_never_panic(kind in samples::any_kind(), cut: prop::sample::Index, flip: (prop::sample::Index, u8)) {
        let mut bytes = Vec::new();
        encode(&samples::at(1), &mut bytes);
        encode(&kind, &mut bytes);
        prop_assert_eq!(&decode_body(&bytes).unwrap().1, &kind);
        let cut = cut.index(bytes.len());
        prop_assert!(decode_body(&bytes[..cut]).is_err());
        let at = flip.0.index(bytes.len());
        bytes[at] ^= flip.1;
        let _ = decode_body(&bytes);
    }
}
