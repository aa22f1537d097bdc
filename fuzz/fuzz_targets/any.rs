//! The fuzzer: `ELS_FUZZ_TARGET` says which target it is.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let wanted = std::env::var("ELS_FUZZ_TARGET").unwrap_or_default();
    let all = [
        els_protocol::fuzzing::TARGETS,
        els_register::fuzzing::TARGETS,
        els_host::fuzzing::TARGETS,
        els_ledger::fuzzing::TARGETS,
        els_server::fuzzing::TARGETS,
        els_backend::fuzzing::TARGETS,
    ]
    .concat();
    let found = all.iter().find(|(name, _)| *name == wanted);
    let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
    found.unwrap_or_else(|| panic!("ELS_FUZZ_TARGET: {wanted:?} is none of {}", names.join(", "))).1
});

fuzz_target!(|data: &[u8]| TARGET(data));
