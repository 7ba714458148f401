//! `CKPTFS_FAULT`: what is to go wrong in a daemon under test.
//!
//! `abort@POINT[:N]` ends the process when it is at the point for the Nth time; `eio@SYNC[:FOLDER[:N]]` makes the Nth sync
//! of that kind below a folder of that name fail, and every later one. Several are separated by commas; N is 1 if missing.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::watch::{Observer, observe};
use super::{Point, Sync};
use crate::base::{Error, Result};

const VARIABLE: &str = "CKPTFS_FAULT";
const SYNCS: [(&str, Sync); 4] =
    [("fdatasync", Sync::Data), ("fsync", Sync::All), ("fsyncdir", Sync::Dir), ("syncfs", Sync::Filesystem)];

/// Where a fault happens.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Abort(Point),
    Eio(Sync, Option<String>),
}

#[derive(Debug)]
struct Fault {
    place: Place,
    nth: u64,
    seen: AtomicU64,
}

#[derive(Debug)]
struct Plan(Vec<Fault>);

/// Does what `CKPTFS_FAULT` says from now on.
///
/// # Errors
/// [`Error::Refused`] when it names something that there is not; the text lists what there is.
pub fn arm() -> Result<()> {
    let Some(text) = std::env::var_os(VARIABLE) else { return Ok(()) };
    observe(Some(Arc::new(parse(&text.to_string_lossy())?)));
    Ok(())
}

fn parse(text: &str) -> Result<Plan> {
    text.split(',').map(parse_fault).collect::<Result<_>>().map(Plan)
}

fn parse_fault(text: &str) -> Result<Fault> {
    let (what, rest) = text.split_once('@').ok_or_else(|| wrong(text))?;
    let mut words = rest.split(':');
    let name = words.next().unwrap_or_default();
    let place = match what {
        "abort" => Place::Abort(*Point::ALL.iter().find(|p| p.name() == name).ok_or_else(|| wrong(text))?),
        "eio" => {
            let (_, sync) = SYNCS.iter().find(|(known, _)| *known == name).ok_or_else(|| wrong(text))?;
            Place::Eio(*sync, words.next().map(str::to_owned))
        }
        _ => return Err(wrong(text)),
    };
    let nth = words.next().map_or(Ok(1), str::parse).map_err(|_| wrong(text))?;
    if nth == 0 || words.next().is_some() {
        return Err(wrong(text));
    }
    Ok(Fault { place, nth, seen: AtomicU64::new(0) })
}

fn wrong(text: &str) -> Error {
    let points: Vec<_> = Point::ALL.iter().map(|point| point.name()).collect();
    Error::Refused(format!(
        "{VARIABLE}: '{text}' is not abort@POINT[:N] or eio@SYNC[:FOLDER[:N]]; syncs are {}; points are {}",
        SYNCS.map(|(name, _)| name).join(" "),
        points.join(" ")
    ))
}

impl Fault {
    /// Whether it is this one's turn, now that it has been met once more.
    fn is_due(&self) -> bool {
        self.seen.fetch_add(1, Ordering::Relaxed) + 1 >= self.nth
    }
}

impl Observer for Plan {
    fn reached(&self, point: Point) {
        if self.0.iter().any(|fault| fault.place == Place::Abort(point) && fault.is_due()) {
            std::process::abort();
        }
    }

    fn syncing(&self, sync: Sync, path: &Path) -> io::Result<()> {
        let below = |folder: &str| path.iter().any(|part| part == folder);
        let hit = |fault: &Fault| match &fault.place {
            Place::Eio(kind, folder) => {
                *kind == sync && folder.as_deref().is_none_or(below) && fault.is_due()
            }
            Place::Abort(_) => false,
        };
        if self.0.iter().any(hit) { Err(io::Error::from_raw_os_error(libc::EIO)) } else { Ok(()) }
    }

    fn synced(&self, _: Sync, _: &File, _: &Path) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_fails_the_nth_sync_of_its_kind_and_place_and_all_later_ones() {
        let plan = parse("abort@pack.renamed:2,eio@fdatasync:journal:3").unwrap();
        assert_eq!(plan.0[0].place, Place::Abort(Point::PackRenamed));
        let sync = |kind, path: &str| plan.syncing(kind, Path::new(path)).is_ok();
        assert!(sync(Sync::Data, "/s/journal/1.log") && sync(Sync::Data, "/s/journal/1.log"));
        assert!(sync(Sync::All, "/s/journal/1.log") && sync(Sync::Data, "/s/hot/1"));
        assert!(!sync(Sync::Data, "/s/journal/1.log") && !sync(Sync::Data, "/s/journal/2.log"));
    }

    #[test]
    fn what_is_not_known_is_refused_with_what_is() {
        for bad in [
            "",
            "abort",
            "abort@pack.renamd",
            "abort@pack.renamed:0",
            "abort@pack.renamed:1:2",
            "eio@sync",
            "x@fsync",
        ] {
            let said = parse(bad).unwrap_err().to_string();
            assert!(said.contains("pack.renamed") && said.contains("fdatasync"), "{said}");
        }
    }

    #[test]
    fn names_of_points_are_distinct_and_each_says_what_holds() {
        let mut names: Vec<_> = Point::ALL.iter().map(|point| point.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Point::ALL.len());
        assert!(Point::ALL.iter().all(|point| point.holds().ends_with('.')));
    }
}
