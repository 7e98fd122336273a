//! The head reader: any split of any bytes gives one answer, within its bound.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sallyport::runtime::head_reader::fuzz_head(data));
