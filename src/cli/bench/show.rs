//! The result: for people the machine and a table, for scripts one object.

use std::path::Path;

use serde::Serialize;

use super::super::failure::Outcome;
use super::super::rows::{self, maybe, table};
use super::turns::{Figure, Figures, NATIVE};
use crate::base::mounts;
use crate::base::text::one_line;
use crate::control::status::{PassthroughStatus, path_text};

/// What was measured where. The JSON names are stable; the help lists them.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    version: &'static str,
    kernel: String,
    cores: usize,
    path: String,
    filesystem: String,
    device: String,
    passthrough: PassthroughStatus,
    size_bytes: u64,
    rounds: usize,
    seconds: f64,
    rows: Vec<Row>,
}

/// One row on one side.
#[derive(Debug, Serialize)]
struct Row {
    what: &'static str,
    side: &'static str,
    unit: &'static str,
    median: f64,
    least: f64,
    most: f64,
    of_native: Option<f64>,
    #[serde(skip)]
    shown: [String; 4],
}

/// How it was measured.
pub(super) struct How<'a> {
    pub(super) path: &'a Path,
    pub(super) passthrough: PassthroughStatus,
    pub(super) size: u64,
    pub(super) rounds: usize,
    pub(super) seconds: f64,
}

impl Report {
    pub(super) fn new(how: How<'_>, figures: &Figures) -> Outcome<Self> {
        let table = mounts::table()?;
        let disk = mounts::covering(&table, how.path);
        Ok(Report {
            version: env!("CARGO_PKG_VERSION"),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            path: path_text(how.path),
            filesystem: disk.map(|disk| disk.fs_type.clone()).unwrap_or_default(),
            device: disk.map(|disk| path_text(&disk.source)).unwrap_or_default(),
            passthrough: how.passthrough,
            size_bytes: how.size,
            rounds: how.rounds,
            seconds: how.seconds,
            rows: figures.iter().map(|figure| row(figure, figures)).collect(),
        })
    }

    /// For people.
    pub(super) fn render(&self) -> String {
        let on = match self.passthrough.on {
            true => "on".to_owned(),
            false => format!("off, so its rows are missing: {}", self.passthrough.why),
        };
        let head = [
            ("machine", format!("Linux {}, {} cores, ckptfs {}", self.kernel, self.cores, self.version)),
            ("disk", format!("{} ({} on {})", self.path, self.filesystem, self.device)),
            ("passthrough", on),
            (
                "saves",
                format!(
                    "{} each, {} rounds after a warm-up, {:.0} s in all",
                    rows::size(self.size_bytes),
                    self.rounds,
                    self.seconds
                ),
            ),
        ];
        let head: String =
            head.iter().map(|(name, value)| format!("{name:<12} {}\n", one_line(value))).collect();
        let mut last = "";
        let rows: Vec<Vec<String>> = self.rows.iter().map(|row| row.cells(&mut last)).collect();
        format!("{head}\n{}", table(&["WHAT", "SIDE", "MEDIAN", "LEAST", "MOST", "OF NATIVE"], &rows))
    }
}

impl Row {
    /// The cells; the title stands only where it differs from the `last` one.
    fn cells<'a>(&'a self, last: &mut &'a str) -> Vec<String> {
        let [title, median, least, most] = &self.shown;
        let title = if std::mem::replace(last, title) == title { "" } else { title };
        let of_native = maybe(self.of_native.map(|part| format!("{part:.2}")));
        [title, self.side, median, least, most, &of_native].map(str::to_owned).to_vec()
    }
}

fn row(figure: &Figure, figures: &Figures) -> Row {
    let (what, summary) = (figure.what, figure.summary());
    let native = figures.find(what, NATIVE).filter(|_| figure.side != NATIVE);
    let show = |value| what.unit.show(value);
    Row {
        what: what.id,
        side: figure.side,
        unit: what.unit.name(),
        median: summary.median,
        least: summary.least,
        most: summary.most,
        of_native: native.map(|native| summary.median / native.summary().median),
        shown: [what.title.to_owned(), show(summary.median), show(summary.least), show(summary.most)],
    }
}

#[cfg(test)]
mod tests {
    use super::super::turns::{DAEMON, PASSTHROUGH};
    use super::super::{JSON_HELP, what};
    use super::*;

    fn report(passthrough: PassthroughStatus) -> Report {
        let mut figures = Figures::default();
        for (what, side, value) in [
            (&what::SAVE, NATIVE, 2e9),
            (&what::SAVE, PASSTHROUGH, 1.9e9),
            (&what::FIRST_BYTE, DAEMON, 0.0042),
            (&what::MEMORY, DAEMON, 64e6),
        ] {
            figures.add(what, side, value);
        }
        let how = How { path: Path::new("/"), passthrough, size: 512 << 20, rounds: 3, seconds: 59.7 };
        Report::new(how, &figures).unwrap()
    }

    #[test]
    fn a_person_sees_the_machine_and_each_figure_beside_the_native_one() {
        let why = "it needs CAP_SYS_ADMIN".to_owned();
        let text = report(PassthroughStatus { on: false, why }).render();
        for part in [
            "rows are missing: it needs CAP_SYS_ADMIN",
            "512.0 MiB each, 3 rounds after a warm-up, 60 s",
            "2.00 GB/s",
            "passthrough  1.90 GB/s  1.90 GB/s  1.90 GB/s  0.95",
            "4.20 ms",
            "61 MiB",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert_eq!(text.matches("\nsave ").count(), 1, "{text}");
    }

    #[test]
    fn the_help_names_every_json_field() {
        let json = serde_json::to_value(report(PassthroughStatus::default())).unwrap();
        for name in json.as_object().unwrap().keys() {
            assert!(JSON_HELP.contains(name), "{name}");
        }
        for name in json["rows"][0].as_object().unwrap().keys() {
            assert!(JSON_HELP.contains(&format!(".{name}")), "{name}");
        }
        assert_eq!(
            (json["rows"][0]["of_native"].as_f64(), json["rows"][1]["of_native"].as_f64()),
            (None, Some(0.95))
        );
    }
}
