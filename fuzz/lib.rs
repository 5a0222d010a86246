//! The targets of tests/hostile as programs for libFuzzer: one each in fuzz_targets.

#[path = "../tests/hostile/targets/mod.rs"]
pub mod targets;

pub use libfuzzer_sys;

/// The program of a target. libFuzzer finds inputs by what they reach; half of its changes are
/// those of the test.
#[macro_export]
macro_rules! program {
    ($name:literal) => {
        $crate::libfuzzer_sys::fuzz_target!(|data: &[u8]| ($crate::targets::target($name).run)(
            data
        ));
        $crate::libfuzzer_sys::fuzz_mutator!(|data: &mut [u8],
                                              size: usize,
                                              max_size: usize,
                                              seed: u32| {
            $crate::changed($name, data, size, max_size, seed)
        });
    };
}

/// Changes an input in its place; its new length.
pub fn changed(name: &str, data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    if seed & 1 == 0 {
        return libfuzzer_sys::fuzzer_mutate(data, size, max_size);
    }
    let mut input = data[..size].to_vec();
    targets::mutate::change(
        targets::target(name),
        &mut targets::mutate::Random::new(seed.into()),
        &mut input,
    );
    input.truncate(max_size);
    data[..input.len()].copy_from_slice(&input);
    input.len()
}
