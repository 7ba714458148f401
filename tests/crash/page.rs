//! docs/crash-points.md is made from the table in the code.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use ckptfs::base::fault::Point;

#[test]
fn the_page_of_crash_points_is_what_the_code_says() {
    let mut wanted = String::from(
        "# Crash points\n\nMade from `src/base/fault/points.rs`: `UPDATE=1 cargo test --test crash page`. *Kill* is the end of the daemon, *cut* the end\nof the machine's power. `cargo test --test crash` crashes at each of them both ways and holds what the table says; a daemon\nof a debug build aborts at one with `CKPTFS_FAULT=abort@NAME:N` (the Nth time), and has a failing sync with\n`CKPTFS_FAULT=eio@fdatasync:journal:N` (`fdatasync`, `fsync`, `fsyncdir`, `syncfs`; below a folder of that name).\n\n| point | what must hold after a crash there |\n| --- | --- |\n",
    );
    for point in Point::ALL {
        writeln!(wanted, "| `{}` | {} |", point.name(), point.holds()).unwrap();
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/crash-points.md");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&page, &wanted).unwrap();
    }
    let held = fs::read_to_string(&page).unwrap_or_default();
    assert!(held == wanted, "docs/crash-points.md is old; renew it: UPDATE=1 cargo test --test crash page");
}
