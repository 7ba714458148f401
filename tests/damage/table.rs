//! The table of outcomes, docs/damage.md, as the matrix found them.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::harm::Harm;
use crate::places::Place;
use crate::trial::{Trial, words};

const HEAD: &str = "\
# Damage

What a store gives after a file of it was changed behind its back: each row is a damage that `cargo test --test damage`
does to a store and uses it then. The rows are made by that test (`UPDATE=1 cargo test --test damage` renews this page), and
it holds for all of them: no panic, no hang, no wrong byte but where the row says so; what was not hit reads exactly, also
after a collection, a new mount and a repair; what does not read is found by `ckptfs check --read-data`; after
`ckptfs check --repair` the store opens and takes checkpoints, and another check names what is lost and nothing else.

The columns: whether the store *mounts*; what *reads*, of all files and all versions; whether a new checkpoint can be
*saved*, become a version and be sealed, and `ckptfs gc` works; whether `ckptfs check` finds the damage on the *mounted*
store, where a mount has already mended what is only an index; whether `ckptfs check --read-data` *finds* it on the store as
it was; what reads after *repair*.

";
const COLUMNS: &str = "| what was damaged | how | mounts | reads | saves, gc | found mounted | found | reads after repair |\n\
| --- | --- | --- | --- | --- | --- | --- | --- |\n";

/// The page as the trials make it.
fn page(cells: &[(bool, Place, Harm)], trials: &[(usize, Trial)]) -> String {
    let mut page = HEAD.to_owned();
    for (killed, title) in [(false, "## Closed in order\n\n"), (true, "\n## Left by a killed daemon\n\n")] {
        page.push_str(title);
        page.push_str(COLUMNS);
        for (n, trial) in trials {
            let (of_killed, place, harm) = &cells[*n];
            if *of_killed == killed {
                writeln!(page, "| {} | {} | {} |", place.name, harm.name(), words(trial).join(" | "))
                    .unwrap();
            }
        }
    }
    page
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/damage.md")
}

/// Writes the page when `UPDATE` is set.
pub(crate) fn renew(cells: &[(bool, Place, Harm)], trials: &[(usize, Trial)]) {
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path(), page(cells, trials)).unwrap();
    }
}

/// Holds the page against what was found.
pub(crate) fn compare(cells: &[(bool, Place, Harm)], trials: &[(usize, Trial)]) {
    let (page, held) = (page(cells, trials), fs::read_to_string(path()).unwrap_or_default());
    let differs: Vec<_> = page.lines().filter(|line| !held.contains(line)).collect();
    assert!(
        held == page,
        "docs/damage.md is old; renew it: UPDATE=1 cargo test --test damage\n{}",
        differs.join("\n")
    );
}
