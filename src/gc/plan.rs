//! What is to be done with packs: pure, from how much of each is in use.
//!
//! A pack without anything in use is deleted. Of the others those with the least in use are rewritten first, and only as
//! long as there is enough to gain: rewriting a pack that is nine tenths in use writes nine bytes to free one.

/// How much of one pack is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackUse {
    /// Its number: older packs have lower ones.
    pub number: u32,
    /// Its bytes.
    pub bytes: u64,
    /// Of these, what is in use.
    pub live_bytes: u64,
}

impl PackUse {
    /// Bytes that rewriting it would free.
    pub fn dead_bytes(&self) -> u64 {
        self.bytes.saturating_sub(self.live_bytes)
    }

    /// Whether at most `percent` of it is in use.
    fn is_at_most(&self, percent: u64) -> bool {
        self.live_bytes.saturating_mul(100) <= self.bytes.saturating_mul(percent)
    }
}

/// How far a collection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Packs of which more is in use are not rewritten, in percent.
    pub live_percent_max: u64,
    /// Nothing is rewritten while what is dead is at most this share of what is in use, in percent.
    pub waste_percent: u64,
    /// Bytes that are copied in one round.
    pub copy_bytes_max: u64,
}

impl Effort {
    /// In the background: what re-encoding leaves behind in a pack is mostly a few of its blobs.
    pub const GENTLE: Effort = Effort { live_percent_max: 90, waste_percent: 2, copy_bytes_max: 2 << 30 };
    /// When asked for, or when space is short: nearly everything.
    pub const THOROUGH: Effort = Effort { live_percent_max: 95, waste_percent: 2, copy_bytes_max: u64::MAX };
}

/// Packs below this size are cheap to rewrite, and many small ones become few.
const SMALL_BYTES: u64 = 8 << 20;
/// Of a small pack this much may be in use, in percent.
const SMALL_LIVE_PERCENT_MAX: u64 = 95;

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Packs that hold nothing in use.
    pub delete: Vec<PackUse>,
    /// Packs whose blobs in use are to be copied, in this order, before they go.
    pub rewrite: Vec<PackUse>,
}

impl Plan {
    /// Bytes that it frees, copies subtracted.
    pub fn freed_bytes(&self) -> u64 {
        self.delete.iter().chain(&self.rewrite).map(PackUse::dead_bytes).sum()
    }

    /// Bytes that it copies.
    pub fn copied_bytes(&self) -> u64 {
        self.rewrite.iter().map(|pack| pack.live_bytes).sum()
    }
}

/// What is to be done with `packs`.
pub fn plan(packs: &[PackUse], effort: Effort) -> Plan {
    let (delete, mut rest): (Vec<PackUse>, Vec<PackUse>) =
        packs.iter().partition(|pack| pack.live_bytes == 0);
    let live: u64 = rest.iter().map(|pack| pack.live_bytes).sum();
    let mut dead: u64 = rest.iter().map(PackUse::dead_bytes).sum();
    // The least in use first, compared as fractions; of equals the oldest.
    rest.sort_by_key(|pack| (pack.live_bytes.saturating_mul(1 << 20) / pack.bytes.max(1), pack.number));
    let (mut rewrite, mut copied) = (Vec::new(), 0_u64);
    for pack in rest {
        let percent = if pack.bytes < SMALL_BYTES { SMALL_LIVE_PERCENT_MAX } else { effort.live_percent_max };
        let worth = dead.saturating_mul(100) > live.saturating_mul(effort.waste_percent);
        if !worth || copied.saturating_add(pack.live_bytes) > effort.copy_bytes_max {
            break;
        }
        if pack.is_at_most(percent) {
            dead -= pack.dead_bytes();
            copied += pack.live_bytes;
            rewrite.push(pack);
        }
    }
    Plan { delete, rewrite }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packs(uses: &[(u64, u64)]) -> Vec<PackUse> {
        let mib = |n: u64| n << 20;
        let pack = |(number, (bytes, live)): (u32, &(u64, u64))| PackUse {
            number,
            bytes: mib(*bytes),
            live_bytes: mib(*live),
        };
        (1..).zip(uses).map(pack).collect()
    }

    fn numbers(packs: &[PackUse]) -> Vec<u32> {
        packs.iter().map(|pack| pack.number).collect()
    }

    #[test]
    fn dead_packs_go_and_the_least_live_ones_are_rewritten_first() {
        let plan = plan(&packs(&[(100, 60), (100, 0), (100, 99), (100, 10), (100, 60)]), Effort::GENTLE);
        assert_eq!((numbers(&plan.delete), numbers(&plan.rewrite)), (vec![2], vec![4, 1, 5]));
        assert_eq!((plan.freed_bytes(), plan.copied_bytes()), ((100 + 90 + 40 + 40) << 20, 130 << 20));
    }

    #[test]
    fn little_waste_is_left_and_what_is_copied_has_a_bound() {
        let little = packs(&[(100, 100), (100, 100), (100, 98), (10, 9)]);
        assert_eq!(plan(&little, Effort::GENTLE), Plan::default());
        let much = packs(&[(200, 90), (200, 90), (200, 90)]);
        let bounded = Effort { copy_bytes_max: 200 << 20, ..Effort::GENTLE };
        assert_eq!(numbers(&plan(&much, bounded).rewrite), [1, 2]);
    }

    #[test]
    fn small_packs_are_rewritten_even_if_most_of_them_is_in_use() {
        let plan = plan(&packs(&[(4, 3), (4, 3), (100, 92), (100, 95)]), Effort::GENTLE);
        assert_eq!(numbers(&plan.rewrite), [1, 2]);
    }

    proptest! {
        #[test]
        fn a_thorough_plan_leaves_little_and_never_touches_what_is_all_live(
            uses in prop::collection::vec((9..300_u64, 0..=100_u64), 0..40)
        ) {
            let uses: Vec<(u64, u64)> = uses.iter().map(|(bytes, share)| (*bytes, bytes * share / 100)).collect();
            let all = packs(&uses);
            let plan = plan(&all, Effort::THOROUGH);
            for pack in plan.delete.iter().chain(&plan.rewrite) {
                prop_assert!(pack.dead_bytes() > 0);
            }
            let live: u64 = all.iter().map(|pack| pack.live_bytes).sum();
            let dead: u64 = all.iter().map(PackUse::dead_bytes).sum();
            let left = dead - plan.freed_bytes();
            prop_assert!(left * 100 <= live * 6, "{} of {} left", left, live);
        }
    }
}
