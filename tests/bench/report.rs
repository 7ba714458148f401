//! Tables and targets as they are printed.

/// Targets of a table: each is said and kept until the end.
#[derive(Default)]
pub struct Targets {
    lines: Vec<String>,
    missed: usize,
}

impl Targets {
    /// Notes whether `figure` is at least `bound`.
    pub fn at_least(&mut self, what: &str, figure: f64, bound: f64) {
        self.note(what, figure, ">=", bound, figure >= bound);
    }

    /// Notes whether `figure` is at most `bound`.
    pub fn at_most(&mut self, what: &str, figure: f64, bound: f64) {
        self.note(what, figure, "<=", bound, figure <= bound);
    }

    fn note(&mut self, what: &str, figure: f64, sign: &str, bound: f64, holds: bool) {
        self.missed += usize::from(!holds);
        let verdict = if holds { "pass" } else { "MISS" };
        self.lines.push(format!("| {verdict} | {what} | {figure:.2} | {sign} {bound} |"));
    }

    /// Prints them.
    pub fn print(&self) {
        println!("\n| target | what | measured | wanted |\n| --- | --- | --: | --: |");
        for line in &self.lines {
            println!("{line}");
        }
        println!("{} of {} targets missed", self.missed, self.lines.len());
    }
}

/// The head of a table.
pub fn head(title: &str, columns: &[&str]) {
    println!("\n{title}\n\n| {} |", columns.join(" | "));
    println!("| --- |{}", " --: |".repeat(columns.len() - 1));
}

/// One row.
pub fn row(cells: &[String]) {
    println!("| {} |", cells.join(" | "));
}

/// A share in percent.
pub fn percent(share: f64) -> String {
    format!("{:.2}", 100.0 * share)
}

/// A speed in MB/s.
pub fn speed(speed: f64) -> String {
    format!("{speed:.0}")
}
