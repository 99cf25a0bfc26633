#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| paddington_test_support::fuzz::proxy_header(bytes));
