//! The fuzzer, built by `cargo fuzz`. It calls the target that `ANTIPHON_FUZZ` names: one program for all of them, since
//! building one for each would take longer than many a run.

#![no_main]

use std::sync::OnceLock;

static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: {
        let name = std::env::var("ANTIPHON_FUZZ").unwrap_or_default();
        let target = antiphon_fuzz::target(&name).unwrap_or_else(|| panic!("ANTIPHON_FUZZ={name} names no target"));
        TARGET.get_or_init(|| target);
    },
    |bytes: &[u8]| {
        if let Some(target) = TARGET.get() {
            target(bytes);
        }
    }
);
