//! What is measured: the rows, their names and their units. The ids are stable: scripts read them.

/// One row.
#[derive(Debug)]
pub(super) struct What {
    /// Its name in JSON.
    pub(super) id: &'static str,
    /// Its name for people.
    pub(super) title: &'static str,
    pub(super) unit: Unit,
}

/// The unit of a row's figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    BytesPerSecond,
    PerSecond,
    Seconds,
    Bytes,
    /// A part of one.
    Part,
}

const fn row(id: &'static str, title: &'static str, unit: Unit) -> What {
    What { id, title, unit }
}

pub(super) static SAVE: What = row("save", "save", Unit::BytesPerSecond);
pub(super) static SAVE_FSYNC: What = row("save_fsync", "save + fsync", Unit::BytesPerSecond);
pub(super) static SAVERS: What = row("savers_4", "4 savers at once", Unit::BytesPerSecond);
pub(super) static READ_HOT: What = row("read_hot", "read, page-cached", Unit::BytesPerSecond);
pub(super) static SMALL: What = row("small_files", "small files", Unit::PerSecond);
pub(super) static SAVE_SEALING: What = row("save_while_sealing", "save during sealing", Unit::BytesPerSecond);
pub(super) static SEAL: What = row("seal", "close to sealed", Unit::Seconds);
pub(super) static SEAL_RATE: What = row("seal_rate", "sealing", Unit::BytesPerSecond);
pub(super) static STORED: What = row("stored", "stored of a byte saved", Unit::Part);
pub(super) static READ_COLD: What = row("read_cold", "read, cold", Unit::BytesPerSecond);
pub(super) static FIRST_BYTE: What = row("first_byte", "first byte, cold", Unit::Seconds);
pub(super) static MEMORY: What = row("peak_memory", "daemon's peak memory", Unit::Bytes);

/// All rows, in the order in which they are shown.
pub(super) static ALL: [&What; 12] = [
    &SAVE,
    &SAVE_FSYNC,
    &SAVE_SEALING,
    &SAVERS,
    &READ_HOT,
    &READ_COLD,
    &FIRST_BYTE,
    &SMALL,
    &SEAL,
    &SEAL_RATE,
    &STORED,
    &MEMORY,
];

impl Unit {
    /// Its name in JSON.
    pub(super) fn name(self) -> &'static str {
        match self {
            Unit::BytesPerSecond => "bytes/s",
            Unit::PerSecond => "1/s",
            Unit::Seconds => "s",
            Unit::Bytes => "bytes",
            Unit::Part => "bytes/byte",
        }
    }

    /// `value` for people.
    pub(super) fn show(self, value: f64) -> String {
        match self {
            Unit::BytesPerSecond => format!("{:.2} GB/s", value / 1e9),
            Unit::PerSecond => format!("{value:.0} /s"),
            Unit::Seconds if value < 1.0 => format!("{:.2} ms", value * 1e3),
            Unit::Seconds => format!("{value:.2} s"),
            Unit::Bytes => format!("{:.0} MiB", value / f64::from(1 << 20)),
            Unit::Part => format!("{value:.3}"),
        }
    }
}
