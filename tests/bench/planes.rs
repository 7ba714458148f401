//! Elements split into planes of bytes, and what is done to elements before.

/// What is done to the elements of a chunk, given those of its base.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing; the base is not looked at.
    None,
    /// Exclusive or with the base's, as ZipLLM's BitX.
    Xor,
    /// The base's subtracted, both as integers in numeric order; the sign goes to the lowest bit.
    Subtract,
}

/// An element as an unsigned integer; the methods are those of u16 and u32.
trait Element: Copy {
    const BYTES: usize;
    fn read(bytes: &[u8]) -> Self;
    fn write(self, bytes: &mut [u8]);
    fn change(self, base: Self, change: Change) -> Self;
    fn restore(self, base: Self, change: Change) -> Self;
    fn byte(self, plane: usize) -> u8;
    fn rotated(self) -> Self;
}

macro_rules! element {
    ($type:ty, $signed:ty, $bits:expr) => {
        impl Element for $type {
            const BYTES: usize = $bits / 8;
            #[inline]
            fn read(bytes: &[u8]) -> Self {
                Self::from_le_bytes(bytes.try_into().unwrap())
            }
            #[inline]
            fn write(self, bytes: &mut [u8]) {
                bytes.copy_from_slice(&self.to_le_bytes());
            }
            #[inline]
            fn change(self, base: Self, change: Change) -> Self {
                // Numeric order: negative numbers are turned about, the others go above them.
                let order = |x: $type| x ^ ((x as $signed >> ($bits - 1)) as $type | 1 << ($bits - 1));
                match change {
                    Change::None => self,
                    Change::Xor => self ^ base,
                    Change::Subtract => {
                        let less = order(self).wrapping_sub(order(base)) as $signed;
                        ((less << 1) ^ (less >> ($bits - 1))) as $type
                    }
                }
            }
            #[inline]
            fn restore(self, base: Self, change: Change) -> Self {
                let order = |x: $type| x ^ ((x as $signed >> ($bits - 1)) as $type | 1 << ($bits - 1));
                let back = |x: $type| x ^ ((!x as $signed >> ($bits - 1)) as $type | 1 << ($bits - 1));
                match change {
                    Change::None => self,
                    Change::Xor => self ^ base,
                    Change::Subtract => {
                        back(((self >> 1) ^ (0 as $type).wrapping_sub(self & 1)).wrapping_add(order(base)))
                    }
                }
            }
            #[inline]
            fn byte(self, plane: usize) -> u8 {
                (self >> (8 * plane)) as u8
            }
            #[inline]
            fn rotated(self) -> Self {
                self.rotate_left(1)
            }
        }
    };
}
element!(u16, i16, 16);
element!(u32, i32, 32);

/// Writes to `out` the planes of `raw`, lowest byte first, then what is left of an incomplete element.
pub fn split(raw: &[u8], base: &[u8], width: usize, change: Change, out: &mut [u8]) {
    match width {
        2 => split_as::<u16>(raw, base, change, out),
        _ => split_as::<u32>(raw, base, change, out),
    }
}

fn split_as<E: Element>(raw: &[u8], base: &[u8], change: Change, out: &mut [u8]) {
    let count = raw.len() / E::BYTES;
    // Without a base: any, it is not looked at.
    let base = if base.len() == raw.len() { base } else { raw };
    for (plane, out) in out.chunks_exact_mut(count.max(1)).take(E::BYTES).enumerate() {
        for ((byte, own), other) in
            out.iter_mut().zip(raw.chunks_exact(E::BYTES)).zip(base.chunks_exact(E::BYTES))
        {
            *byte = E::read(own).change(E::read(other), change).byte(plane);
        }
    }
    out[count * E::BYTES..].copy_from_slice(&raw[count * E::BYTES..]);
}

/// The opposite of [`split`].
pub fn join(planes: &[u8], base: &[u8], width: usize, change: Change, out: &mut [u8]) {
    match width {
        2 => join_as::<u16>(planes, base, change, out),
        _ => join_as::<u32>(planes, base, change, out),
    }
}

fn join_as<E: Element>(planes: &[u8], base: &[u8], change: Change, out: &mut [u8]) {
    let count = out.len() / E::BYTES;
    let plane = |at: usize| &planes[at * count..(at + 1) * count];
    let lanes: Vec<&[u8]> = (0..E::BYTES).map(plane).collect();
    let (whole, rest) = out.split_at_mut(count * E::BYTES);
    match lanes[..] {
        [low, high] => {
            for ((to, low), high) in whole.chunks_exact_mut(2).zip(low).zip(high) {
                to.copy_from_slice(&[*low, *high]);
            }
        }
        [a, b, c, d] => {
            for ((((to, a), b), c), d) in whole.chunks_exact_mut(4).zip(a).zip(b).zip(c).zip(d) {
                to.copy_from_slice(&[*a, *b, *c, *d]);
            }
        }
        _ => unreachable!("elements have two or four bytes"),
    }
    if change != Change::None {
        for (to, other) in whole.chunks_exact_mut(E::BYTES).zip(base.chunks_exact(E::BYTES)) {
            E::read(to).restore(E::read(other), change).write(to);
        }
    }
    rest.copy_from_slice(&planes[count * E::BYTES..]);
}

/// Order-0 entropy of a chunk in bytes: of its planes, with the sign bit rotated away from the exponent.
pub fn entropy(raw: &[u8], width: usize) -> f64 {
    match width {
        2 => entropy_as::<u16>(raw),
        _ => entropy_as::<u32>(raw),
    }
}

fn entropy_as<E: Element>(raw: &[u8]) -> f64 {
    let mut counts = vec![[0_u64; 256]; E::BYTES];
    for element in raw.chunks_exact(E::BYTES) {
        let rotated = E::read(element).rotated();
        for (plane, counts) in counts.iter_mut().enumerate() {
            counts[usize::from(rotated.byte(plane))] += 1;
        }
    }
    let total = (raw.len() / E::BYTES) as f64;
    let bits = |count: &u64| *count as f64 * (total / *count as f64).log2();
    counts.iter().flatten().filter(|count| **count > 0).map(bits).sum::<f64>() / 8.0
}
