//! Sealed segments: whatever a file holds, it is read within bounds, or refused; and what was sealed comes back.
#![no_main]

use std::io::Cursor;

use sallyport::decision_log::sealed::{Key, Sealed, seal};
use sallyport::decision_log::{Criteria, Query};

/// What a frame holds at most: 1 MiB and the longest line.
const MAX_PLAIN: usize = 1024 * 1024 + 16 * 1024;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(mut sealed) = Sealed::open(Cursor::new(data)) {
        let first = sealed.summary().first_seq;
        assert_eq!(sealed.frame_of(first), Some(0));
        for frame in 0..sealed.summary().frames.len() {
            assert!(sealed.frame(frame).is_err() || sealed.frame(frame).is_ok_and(|lines| lines.len() <= MAX_PLAIN));
            let _ = sealed.may_hold(frame, Key::host("api.acme.test"));
        }
        let query = Query::new(Criteria::default()).expect("everything");
        let _ = query.walk_sealed(&mut sealed, &mut |_| std::ops::ControlFlow::Continue(()));
    }
    let mut file = Vec::new();
    if let Ok(summary) = seal(&mut &data[..], 0, &mut file) {
        let mut sealed = Sealed::open(Cursor::new(&file)).expect("what was sealed");
        assert_eq!(sealed.summary(), &summary);
        let frames = (0..summary.frames.len()).map(|frame| sealed.frame(frame).expect("what was sealed"));
        assert_eq!(frames.collect::<Vec<_>>().concat(), data);
    }
});
