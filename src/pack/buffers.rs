//! Buffers that chunks are decoded into, used again and again.
//!
//! Malloc is not asked for a megabyte a chunk: freed ones stay in its arenas (memory), or go back to the kernel and are
//! faulted in anew (time). A buffer belongs to one owner from [`Buffers::take`] until it is dropped; then it is free
//! for the next. Free buffers never hold more than the pool's bound: what comes back above it is freed.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Capacities of pooled buffers are powers of two of this many bytes (1 << 14 is the shortest FastCDC chunk) ...
const SMALLEST: u32 = 14;
/// ... up to this many (the longest chunk); longer buffers are made to measure and freed.
const LARGEST: u32 = 20;
const CLASSES: usize = (LARGEST - SMALLEST + 1) as usize;

/// A pool of buffers.
#[derive(Debug)]
pub struct Buffers {
    free: Mutex<Free>,
    free_max_bytes: usize,
}

#[derive(Debug, Default)]
struct Free {
    classes: [Vec<Vec<u8>>; CLASSES],
    bytes: usize,
    /// Bytes of buffers that have owners.
    #[cfg(test)]
    owned: usize,
}

impl Buffers {
    /// A pool that keeps at most `free_max_bytes` of buffers that nobody owns.
    pub fn new(free_max_bytes: usize) -> Arc<Self> {
        Arc::new(Buffers { free: Mutex::default(), free_max_bytes })
    }

    /// A buffer of `len` bytes, whatever they are.
    pub fn take(self: &Arc<Self>, len: usize) -> Buffer {
        let bytes = match class(len) {
            None => vec![0; len],
            Some(class) => {
                let free = self.lock().pop(class);
                // Outside the lock: it may have to be faulted in.
                free.unwrap_or_else(|| vec![0; capacity(class)])
            }
        };
        #[cfg(test)]
        {
            self.lock().owned += bytes.len();
        }
        Buffer { bytes, len, pool: Arc::clone(self) }
    }

    fn give(&self, bytes: Vec<u8>) {
        // Dropped after the lock.
        let surplus = {
            let mut free = self.lock();
            #[cfg(test)]
            {
                free.owned -= bytes.len();
            }
            free.push(bytes, self.free_max_bytes)
        };
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
    fn pop(&mut self, class: usize) -> Option<Vec<u8>> {
        let bytes = self.classes.get_mut(class)?.pop()?;
        self.bytes -= bytes.len();
        Some(bytes)
    }

    /// Keeps `bytes`, in place of buffers of other lengths if need be. Returns what is to be freed.
    fn push(&mut self, bytes: Vec<u8>, max: usize) -> Vec<Vec<u8>> {
        let len = bytes.len();
        let Some(class) = class(len).filter(|class| capacity(*class) == len && len <= max) else {
            return vec![bytes];
        };
        let mut surplus = Vec::new();
        // The present need is for this length: the longest of the others go first.
        for other in (0..CLASSES).rev().filter(|other| *other != class) {
            while self.bytes + len > max
                && let Some(bytes) = self.pop(other)
            {
                surplus.push(bytes);
            }
        }
        if self.bytes + len > max {
            surplus.push(bytes);
        } else if let Some(place) = self.classes.get_mut(class) {
            self.bytes += len;
            place.push(bytes);
        }
        surplus
    }
}

/// The class of buffers for `len` bytes; `None` when they are not pooled.
fn class(len: usize) -> Option<usize> {
    let bits = len.next_power_of_two().trailing_zeros().max(SMALLEST);
    (len > 0 && bits <= LARGEST).then_some((bits - SMALLEST) as usize)
}

fn capacity(class: usize) -> usize {
    1 << (SMALLEST as usize + class)
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
    fn a_dropped_buffer_is_the_next_one_and_free_bytes_have_a_bound() {
        let pool = Buffers::new(3 << 20);
        let mut first = pool.take(1 << 20);
        first[5] = 77;
        let place = first.as_ptr();
        drop(first);
        let again = pool.take((1 << 20) - 3);
        assert_eq!((again.as_ptr(), again.len(), again.capacity()), (place, (1 << 20) - 3, 1 << 20));
        let many: Vec<_> = (0..9).map(|_| pool.take(600_000)).collect();
        assert_eq!(pool.bytes(), (10 << 20, 0));
        drop((many, again));
        assert_eq!(pool.bytes(), (0, 3 << 20));
    }

    #[test]
    fn free_buffers_of_another_length_make_room_and_long_ones_are_not_kept() {
        let pool = Buffers::new(2 << 20);
        drop((pool.take(1 << 20), pool.take(1 << 20)));
        let small: Vec<_> = (0..100).map(|_| pool.take(17 << 10)).collect();
        assert_eq!(pool.bytes(), (100 * (32 << 10), 2 << 20));
        drop(small);
        let (owned, free) = pool.bytes();
        assert!(owned == 0 && free <= 2 << 20 && pool.lock().classes[1].len() >= 32);
        drop(pool.take(3 << 20));
        drop(pool.take(0));
        assert!(pool.bytes().1 <= 2 << 20);
        let none = Buffers::new(0);
        drop(none.take(1 << 20));
        assert_eq!(none.bytes(), (0, 0));
    }
}
