//! The PROXY header reader: any split of any bytes gives one answer, within its bound.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sallyport::runtime::proxy_header::fuzz_proxy_header(data));
