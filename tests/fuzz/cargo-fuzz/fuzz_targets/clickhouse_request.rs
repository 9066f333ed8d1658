#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzz::clickhouse::clickhouse_request(data);
});
