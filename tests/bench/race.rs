//! Sides over the same chunks in one run, on one thread: ratio, and speed in both directions.
//!
//! Speed is by the thread's processor time, so that what else runs on the machine counts for little. Each figure is the
//! median of the rounds after a warm-up; sides take turns. What comes back is compared with what went in, off the clock.

use std::hint::black_box;

use ckptfs::codec::Encoding;
use rustix::time::{ClockId, clock_gettime};

use super::series::Pair;
use super::sides::Side;

/// Figures of one side.
pub struct Figures {
    /// Its name.
    pub name: String,
    /// Stored bytes as a share of the raw ones.
    pub ratio: f64,
    /// Raw megabytes a second, encoding.
    pub encode: f64,
    /// Raw megabytes a second, decoding.
    pub decode: f64,
    /// Stored bytes of each chunk.
    pub stored: Vec<usize>,
}

/// Seconds of processor time that `work` takes this thread.
pub fn seconds(work: impl FnOnce()) -> f64 {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    let begin = now();
    work();
    now() - begin
}

/// The middle one; `times` is not empty.
pub fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Raw bytes of chunks.
pub fn raw_bytes(pairs: &[Pair]) -> usize {
    pairs.iter().map(|pair| pair.raw.len()).sum()
}

/// Megabytes a second of `work` on all chunks, the median of `rounds` after a warm-up.
pub fn speed(pairs: &[Pair], rounds: usize, mut work: impl FnMut(&Pair)) -> f64 {
    let mut times: Vec<f64> =
        (0..=rounds).map(|_| seconds(|| pairs.iter().for_each(&mut work))).skip(1).collect();
    raw_bytes(pairs) as f64 / 1e6 / median(&mut times)
}

/// What one side has made, and the times that it took.
#[derive(Default)]
struct Lane {
    stored: Vec<(Option<Encoding>, Vec<u8>)>,
    encode: Vec<f64>,
    decode: Vec<f64>,
}

/// The figures of all sides, in their order.
pub fn race(sides: &mut [Box<dyn Side>], pairs: &[Pair], rounds: usize) -> Vec<Figures> {
    let fresh = || Lane { stored: vec![(None, Vec::new()); pairs.len()], ..Lane::default() };
    let mut lanes: Vec<Lane> = sides.iter().map(|_| fresh()).collect();
    let mut out = vec![0; pairs.iter().map(|pair| pair.raw.len()).max().unwrap_or(0)];
    for round in 0..=rounds {
        for turn in 0..sides.len() {
            let at = (round + turn) % sides.len();
            let (side, lane) = (&mut sides[at], &mut lanes[at]);
            let encode = seconds(|| {
                for (pair, (encoding, stored)) in pairs.iter().zip(&mut lane.stored) {
                    *encoding = side.encode(black_box(pair), stored);
                }
            });
            let decode = seconds(|| {
                for (pair, (encoding, stored)) in pairs.iter().zip(&lane.stored) {
                    let out = &mut out[..pair.raw.len()];
                    side.decode(pair, encoding.as_ref(), stored, out);
                    black_box(out);
                }
            });
            if round == 0 {
                check(side.as_mut(), pairs, &lane.stored, &mut out);
            } else {
                lane.encode.push(encode);
                lane.decode.push(decode);
            }
        }
    }
    let megabytes = raw_bytes(pairs) as f64 / 1e6;
    let figures = |(name, mut lane): (String, Lane)| {
        let stored: Vec<usize> = lane.stored.iter().map(|(_, stored)| stored.len()).collect();
        Figures {
            name,
            ratio: stored.iter().sum::<usize>() as f64 / 1e6 / megabytes,
            encode: megabytes / median(&mut lane.encode),
            decode: megabytes / median(&mut lane.decode),
            stored,
        }
    };
    sides.iter().map(|side| side.name()).zip(lanes).map(figures).collect()
}

fn check(side: &mut dyn Side, pairs: &[Pair], stored: &[(Option<Encoding>, Vec<u8>)], out: &mut [u8]) {
    for (pair, (encoding, stored)) in pairs.iter().zip(stored) {
        let out = &mut out[..pair.raw.len()];
        out.fill(0xA5);
        side.decode(pair, encoding.as_ref(), stored, out);
        assert!(out == pair.raw, "{} does not give back what it was given", side.name());
    }
}
