#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzz::collector::collector_request(data);
});
