#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzz::kafka::kafka_request(data);
});
