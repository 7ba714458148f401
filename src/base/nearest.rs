//! The known name that a mistyped one is nearest to.
//!
//! Any text in: bounded time, whatever its length.

/// The candidate that is the fewest single-letter edits away from `name`; empty without candidates.
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> &'a str {
    candidates.min_by_key(|candidate| edits(name, candidate)).unwrap_or_default()
}

/// Levenshtein's distance, one row at a time. Names longer than 64 letters are compared by their first 64.
fn edits(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (line, a) in from.chars().take(64).enumerate() {
        let mut corner = line;
        let mut left = line + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(to.chars()) {
            let best = (corner + usize::from(a != b)).min(left + 1).min(*cell + 1);
            corner = std::mem::replace(cell, best);
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = line + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_the_one_with_the_fewest_edits() {
        assert_eq!((edits("kitten", "sitting"), edits("", "ab"), edits("ab", "")), (3, 2, 2));
        assert_eq!(nearest("setle", ["cache", "settle"].into_iter()), "settle");
        assert_eq!(nearest("x", [].into_iter()), "");
    }
}
