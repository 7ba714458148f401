//! Buffers that chunks are decoded into, used again and again.
//!
//! Malloc is not asked for a megabyte a chunk: freed ones stay in its arenas (memory), or go back to the kernel and are
//! faulted in anew (time). A buffer belongs to one owner from [`Buffers::take`] until it is dropped; then it is free
//! for the next. Owned and free ones together never exceed the pool's bound, unless the owned ones alone do: then none is
//! kept free.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::format::MAX_BLOB_HEADER;
use crate::content::cut::MAX_CHUNK;

/// Capacities of pooled buffers are powers of two of this many bytes (1 << 14 is the shortest FastCDC chunk) ...
const SMALLEST: u32 = 14;
/// ... up to this many (the grid's chunks).
const LARGEST: u32 = 20;
/// One more class is for the longest chunk and its blob's header; longer buffers are made to measure and freed.
const LONGEST: usize = MAX_CHUNK + MAX_BLOB_HEADER;
const CLASSES: usize = (LARGEST - SMALLEST + 2) as usize;

/// A pool of buffers.
#[derive(Debug)]
pub struct Buffers {
    free: Mutex<Free>,
    max_bytes: usize,
}

#[derive(Debug, Default)]
struct Free {
    classes: [Vec<Vec<u8>>; CLASSES],
    bytes: usize,
    /// Bytes of buffers that have owners.
    owned: usize,
}

impl Buffers {
    /// A pool that keeps free buffers while all of them together take at most `max_bytes`.
    pub fn new(max_bytes: usize) -> Arc<Self> {
        Arc::new(Buffers { free: Mutex::default(), max_bytes })
    }

    /// A buffer of `len` bytes, whatever they are.
    pub fn take(self: &Arc<Self>, len: usize) -> Buffer {
        let class = class(len);
        let capacity = class.map_or(len, capacity);
        let (reused, surplus) = self.lock().take(class, capacity, self.max_bytes);
        // Outside the lock: memory is given back to the kernel, or has to be faulted in.
        drop(surplus);
        let bytes = reused.unwrap_or_else(|| vec![0; capacity]);
        Buffer { bytes, len, pool: Arc::clone(self) }
    }

    fn give(&self, bytes: Vec<u8>) {
        let surplus = self.lock().give(bytes, self.max_bytes);
        drop(surplus);
    }

    fn lock(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of buffers that have owners, and of free ones.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> (usize, usize) {
        let free = self.lock();
        (free.owned, free.bytes)
    }
}

impl Free {
    /// Counts `capacity` bytes as owned. Returns a free buffer for them, and what is to be freed.
    fn take(&mut self, class: Option<usize>, capacity: usize, max: usize) -> (Option<Vec<u8>>, Vec<Vec<u8>>) {
        let reused = class.and_then(|class| self.pop(class));
        self.owned += capacity;
        (reused, self.shed(class, max))
    }

    /// Takes `bytes` back. Returns what is to be freed.
    fn give(&mut self, bytes: Vec<u8>, max: usize) -> Vec<Vec<u8>> {
        self.owned -= bytes.len();
        let class = class(bytes.len());
        let Some(place) = class.and_then(|class| self.classes.get_mut(class)) else { return vec![bytes] };
        self.bytes += bytes.len();
        place.push(bytes);
        self.shed(class, max)
    }

    /// Removes free buffers until all fit into `max`. The present need is for `class`: the longest of the others go first.
    fn shed(&mut self, class: Option<usize>, max: usize) -> Vec<Vec<u8>> {
        let mut surplus = Vec::new();
        let others = (0..CLASSES).rev().filter(|other| Some(*other) != class);
        for class in others.chain(class) {
            while self.owned + self.bytes > max
                && let Some(bytes) = self.pop(class)
            {
                surplus.push(bytes);
            }
        }
        surplus
    }

    fn pop(&mut self, class: usize) -> Option<Vec<u8>> {
        let bytes = self.classes.get_mut(class)?.pop()?;
        self.bytes -= bytes.len();
        Some(bytes)
    }
}

/// The class of buffers for `len` bytes; `None` when they are not pooled.
fn class(len: usize) -> Option<usize> {
    let bits = len.next_power_of_two().trailing_zeros().max(SMALLEST);
    match len {
        0 => None,
        _ if bits <= LARGEST => Some((bits - SMALLEST) as usize),
        _ => (len <= LONGEST).then_some(CLASSES - 1),
    }
}

fn capacity(class: usize) -> usize {
    if class == CLASSES - 1 { LONGEST } else { 1 << (SMALLEST as usize + class) }
}

/// Bytes in a buffer that goes back to its pool when it is dropped.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    len: usize,
    pool: Arc<Buffers>,
}

impl Buffer {
    /// Bytes of memory that it takes, at least its length.
    pub fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..self.len).unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.pool.give(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_the_next_one_and_all_together_have_a_bound() {
        let pool = Buffers::new(3 << 20);
        let mut first = pool.take(1 << 20);
        first[5] = 77;
        let place = first.as_ptr();
        drop(first);
        let again = pool.take((1 << 20) - 3);
        assert_eq!((again.as_ptr(), again.len(), again.capacity()), (place, (1 << 20) - 3, 1 << 20));
        let many: Vec<_> = (0..9).map(|_| pool.take(600_000)).collect();
        assert_eq!(pool.bytes(), (10 << 20, 0));
        drop(many);
        assert_eq!(pool.bytes(), (1 << 20, 2 << 20));
        drop(again);
        assert_eq!(pool.bytes(), (0, 3 << 20));
    }

    #[test]
    fn free_buffers_of_another_length_make_room_and_odd_ones_are_not_kept() {
        let pool = Buffers::new(2 << 20);
        drop((pool.take(1 << 20), pool.take(1 << 20)));
        let small: Vec<_> = (0..40).map(|_| pool.take(17 << 10)).collect();
        assert_eq!(pool.bytes(), (40 * (32 << 10), 0));
        drop(small);
        assert_eq!(pool.bytes(), (0, 40 * (32 << 10)));
        drop(pool.take(3 << 20));
        assert_eq!(pool.bytes(), (0, 0), "a long one needed all the room");
        drop(pool.take(0));
        let none = Buffers::new(0);
        drop(none.take(1 << 20));
        assert_eq!(none.bytes(), (0, 0));
    }
}
