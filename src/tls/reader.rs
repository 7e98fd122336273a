//! The one way this module touches bytes from peers: a cursor that never goes back and never panics.
//! Not here: what the bytes mean.
//! Source: the presentation language of RFC 8446 section 3.

/// What has not been read yet. Each method reads from the front, or gives `None` and then the rest is of no use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next `count` bytes.
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// As many of the next `count` bytes as there are.
    pub(super) fn take_up_to(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at_checked(count).unwrap_or((self.0, &[]));
        self.0 = rest;
        taken
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// Two bytes, big-endian.
    pub(super) fn u16(&mut self) -> Option<u16> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*bytes))
    }

    /// A vector whose length stands before it in one byte.
    pub(super) fn vec8(&mut self) -> Option<Reader<'a>> {
        let length = self.u8()?;
        self.take(usize::from(length)).map(Reader)
    }

    /// A vector whose length stands before it in two bytes.
    pub(super) fn vec16(&mut self) -> Option<Reader<'a>> {
        let length = self.u16()?;
        self.take(usize::from(length)).map(Reader)
    }

    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(super) fn len(self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_in_order_and_stops_at_the_end() {
        let mut reader = Reader::new(&[1, 2, 3, 2, 9, 8, 0, 1, 7, 5]);
        assert_eq!(reader.u8(), Some(1));
        assert_eq!(reader.u16(), Some(0x0203));
        assert_eq!(reader.vec8().map(Reader::rest), Some(&[9, 8][..]));
        assert_eq!(reader.vec16().map(Reader::rest), Some(&[7][..]));
        assert_eq!((reader.len(), reader.is_empty()), (1, false));
        assert_eq!(reader.take_up_to(4), &[5]);
        assert!(reader.is_empty());
        assert_eq!(reader.u8(), None);
        assert_eq!(reader.take(1), None);
        assert_eq!(reader.take(0), Some(&[][..]));
        assert_eq!(reader.take_up_to(3), &[] as &[u8]);
    }

    #[test]
    fn a_length_beyond_the_end_gives_nothing() {
        for (name, bytes) in [("empty", &[][..]), ("no body", &[1]), ("short body", &[3, 1, 2])] {
            assert!(Reader::new(bytes).vec8().is_none(), "vec8: {name}");
        }
        for (name, bytes) in [("empty", &[][..]), ("half a length", &[0]), ("short body", &[0, 3, 1, 2])] {
            assert!(Reader::new(bytes).vec16().is_none(), "vec16: {name}");
        }
        assert!(Reader::new(&[1]).u16().is_none());
    }
}
