//! Numbers that look like chance and are the same in every run (Marsaglia's xorshift).
//! Not here: what is made of them.

/// The state; not zero.
pub struct Chance(pub u64);

impl Chance {
    /// The next number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
