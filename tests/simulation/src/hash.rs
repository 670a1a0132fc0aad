//! A hash that is fast and the same in every run: for maps, and for telling states apart.

use std::hash::{BuildHasherDefault, Hash, Hasher};

use crate::chance::scramble;

/// The hash of one thing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fast(u64);

/// Makes maps with it.
pub type Build = BuildHasherDefault<Fast>;

impl Hasher for Fast {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.write_u64(u64::from(number));
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x517C_C1B7_2722_0A95);
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }
}

/// The hash of a thing, all of its bits well spread.
pub fn hash_of(thing: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = Fast::default();
    thing.hash(&mut hasher);
    scramble(hasher.finish())
}

/// A hash and what comes after it.
pub fn mix(hash: u64, next: u64) -> u64 {
    scramble(hash.rotate_left(7) ^ next)
}
