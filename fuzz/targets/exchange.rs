//! The exchange of hellos: nothing passes but a prefix of what the other side sent. The input is a script of pushes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sallyport::tls::fuzz_exchange(data));
