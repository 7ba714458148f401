//! Turns and figures: the sides of a row take turns, A B C, B C A, so that a disk or a machine that slows down slows all
//! of them; the first turn of each is a warm-up and not counted.

use super::super::failure::Outcome;
use super::what::{self, What};

/// The folder of the disk itself.
pub(super) const NATIVE: &str = "native";
/// A mount whose hot files the kernel writes by itself.
pub(super) const PASSTHROUGH: &str = "passthrough";
/// A mount whose daemon answers every read and write.
pub(super) const DAEMON: &str = "daemon";
/// In the order in which they are shown.
const SIDES: [&str; 3] = [NATIVE, PASSTHROUGH, DAEMON];

/// All figures of a run, in the order in which they were measured.
#[derive(Default)]
pub(super) struct Figures(Vec<Figure>);

/// The figures of one row on one side.
pub(super) struct Figure {
    pub(super) what: &'static What,
    pub(super) side: &'static str,
    values: Vec<f64>,
}

/// What is told of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Summary {
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

impl Figures {
    /// Adds one value.
    pub(super) fn add(&mut self, what: &'static What, side: &'static str, value: f64) {
        let same = |figure: &&mut Figure| figure.what.id == what.id && figure.side == side;
        match self.0.iter_mut().find(same) {
            Some(figure) => figure.values.push(value),
            None => self.0.push(Figure { what, side, values: vec![value] }),
        }
    }

    /// Each row on each side, in the order in which they are shown.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Figure> {
        let row = |what: &What| what::ALL.iter().position(|row| row.id == what.id);
        let mut sorted: Vec<&Figure> = self.0.iter().collect();
        let side = |name| SIDES.iter().position(|side| *side == name);
        sorted.sort_by_key(|figure| (row(figure.what), side(figure.side)));
        sorted.into_iter()
    }

    /// The figure of a row on a side.
    pub(super) fn find(&self, what: &What, side: &str) -> Option<&Figure> {
        self.0.iter().find(|figure| figure.what.id == what.id && figure.side == side)
    }
}

impl Figure {
    /// Median, least and most of the values; of an even number of them the median is the mean of the middle two.
    pub(super) fn summary(&self) -> Summary {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |place: usize| sorted.get(place).copied().unwrap_or(f64::NAN);
        let last = sorted.len().saturating_sub(1);
        Summary { median: f64::midpoint(at(last / 2), at(last.div_ceil(2))), least: at(0), most: at(last) }
    }
}

/// Calls `measure` for each of `sides` by its number, in each of `rounds` after the warm-up: with the number of the side, and
/// whether what it measures counts.
pub(super) fn take_turns(
    sides: usize,
    rounds: usize,
    mut measure: impl FnMut(usize, bool) -> Outcome,
) -> Outcome {
    for round in 0..=rounds {
        for place in 0..sides {
            measure((place + round) % sides, round > 0)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::what;
    use super::*;

    fn summary(values: &[f64]) -> Summary {
        let mut figures = Figures::default();
        values.iter().for_each(|value| figures.add(&what::SAVE, NATIVE, *value));
        figures.find(&what::SAVE, NATIVE).unwrap().summary()
    }

    #[test]
    fn the_median_is_the_one_in_the_middle_or_between_the_middle_two() {
        assert_eq!(summary(&[3.0, 1.0, 2.0]), Summary { median: 2.0, least: 1.0, most: 3.0 });
        assert_eq!(summary(&[9.0, 1.0, 2.0, 4.0]), Summary { median: 3.0, least: 1.0, most: 9.0 });
        assert_eq!(summary(&[7.0]), Summary { median: 7.0, least: 7.0, most: 7.0 });
    }

    #[test]
    fn sides_take_turns_and_the_first_does_not_count() {
        let mut seen = Vec::new();
        take_turns(2, 2, |side, counts| {
            seen.push((side, counts));
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, [(0, false), (1, false), (1, true), (0, true), (0, true), (1, true)]);
    }

    #[test]
    fn rows_are_shown_in_their_order_and_native_first() {
        let mut figures = Figures::default();
        for (what, side) in
            [(&what::STORED, DAEMON), (&what::SAVE, DAEMON), (&what::SAVE, NATIVE), (&what::SAVE, DAEMON)]
        {
            figures.add(what, side, 1.0);
        }
        let order: Vec<_> = figures.iter().map(|figure| (figure.what.id, figure.side)).collect();
        assert_eq!(order, [("save", "native"), ("save", "daemon"), ("stored", "daemon")]);
    }
}
