//! What the disk fails at: set by writing to `control`, counted there.
//!
//! A line is `read SHARE`, `write SHARE`, `flush SHARE` or `none`. SHARE is in percent: of blocks of 4 KiB for reads and
//! writes, always the same ones, so that trying again does not help; of flushes one after the other. `none` ends all.

const BLOCK: u64 = 4096;

/// One kind of request.
#[derive(Clone, Copy, Default)]
struct Kind {
    share: u64,
    asked: u64,
    failed: u64,
}

/// Faults and their counts.
#[derive(Default)]
pub(crate) struct Faults {
    reads: Kind,
    writes: Kind,
    flushes: Kind,
}

impl Faults {
    /// Sets what the lines say; `None` when one is not of the form, and then nothing changes.
    pub(crate) fn set(&mut self, text: &str) -> Option<()> {
        let mut new = [self.reads.share, self.writes.share, self.flushes.share];
        for line in text.lines() {
            if line.trim() == "none" {
                new = [0; 3];
                continue;
            }
            let (kind, share) = line.trim().split_once(' ')?;
            let place = ["read", "write", "flush"].iter().position(|name| *name == kind)?;
            *new.get_mut(place)? = share.parse().ok().filter(|share| *share <= 100)?;
        }
        [self.reads.share, self.writes.share, self.flushes.share] = new;
        Some(())
    }

    /// What `control` shows: a line a kind, `KIND SHARE ASKED FAILED`.
    pub(crate) fn text(&self) -> String {
        let kinds = [("read", self.reads), ("write", self.writes), ("flush", self.flushes)];
        let line =
            |(name, kind): (&str, Kind)| format!("{name} {} {} {}\n", kind.share, kind.asked, kind.failed);
        kinds.map(line).concat()
    }

    /// Whether to fail a read of these bytes.
    pub(crate) fn read(&mut self, offset: u64, length: u64) -> bool {
        self.reads.blocks(offset, length)
    }

    /// Whether to fail a write of these bytes.
    pub(crate) fn write(&mut self, offset: u64, length: u64) -> bool {
        self.writes.blocks(offset, length)
    }

    /// Whether to fail a flush.
    pub(crate) fn flush(&mut self) -> bool {
        let place = self.flushes.asked;
        self.flushes.count(|share| picked(place, share))
    }
}

impl Kind {
    fn blocks(&mut self, offset: u64, length: u64) -> bool {
        let end = offset.saturating_add(length).div_ceil(BLOCK);
        self.count(|share| (offset / BLOCK..end).any(|block| picked(block, share)))
    }

    fn count(&mut self, fails: impl Fn(u64) -> bool) -> bool {
        let failed = self.share > 0 && fails(self.share);
        self.asked += 1;
        self.failed += u64::from(failed);
        failed
    }
}

/// Spreads neighbours: a share of them in any row.
fn picked(number: u64, share: u64) -> bool {
    (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % 100 < share
}
