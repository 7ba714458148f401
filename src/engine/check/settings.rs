//! A damaged `config.toml`: what it set and can still be read stays, the rest gets its default.
//!
//! Order: the old file is beside the new one, durably, before it is replaced; the name always leads to a whole file.

use std::fs;
use std::path::{Path, PathBuf};

use crate::base::{Error, Result, durable};
use crate::check::{Area, Findings};
use crate::options::salvage::{self, Salvaged};

/// Lost lines that are shown, and their length.
const LINES_MAX: usize = 5;
const LINE_CHARS_MAX: usize = 60;

/// Tells why no mount takes the file at `path`, and what of it would stay.
pub(super) fn examine(path: &Path, findings: &mut Findings) -> Option<Salvaged> {
    let salvaged = salvage::look(path)?;
    let repair = format!("it is written again, {}; the old one is kept beside it", told(&salvaged));
    findings.add(Area::Folder, format!("{} is damaged: {}", path.display(), salvaged.why), Some(&repair));
    Some(salvaged)
}

/// Puts what was salvaged in the place of the file at `path`; what was done.
pub(super) fn repair(path: &Path, salvaged: &Salvaged) -> Result<String> {
    let aside = free_name(path)?;
    match fs::read(path) {
        Ok(bytes) => durable::write_file(&aside, &bytes)?,
        // A folder, or unreadable: kept as it is.
        Err(error) => {
            tracing::warn!("{} cannot be read: {error}", path.display());
            durable::rename(path, &aside)?;
        }
    }
    durable::write_file(path, salvaged.text.as_bytes())?;
    Ok(format!(
        "config.toml is written again, {}; the old one is kept as {}",
        told(salvaged),
        aside.display()
    ))
}

fn told(salvaged: &Salvaged) -> String {
    let Salvaged { kept, lost, .. } = salvaged;
    let shown: Vec<String> =
        lost.iter().take(LINES_MAX).map(|line| line.chars().take(LINE_CHARS_MAX).collect()).collect();
    let more = if lost.len() > LINES_MAX { ", ..." } else { "" };
    match lost.len() {
        0 => format!("with {kept} settings of it"),
        _ => format!(
            "with {kept} settings of it and defaults for what these lines set (see to them before the next mount): {}{more}",
            shown.join(", ")
        ),
    }
}

fn free_name(path: &Path) -> Result<PathBuf> {
    let names = (0u32..).map(|number| path.with_extension(format!("toml.damaged-{number}")));
    let free = names.into_iter().find(|name| !name.exists());
    free.ok_or_else(|| Error::Refused(format!("no free name beside {}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::super::closed;
    use super::*;
    use crate::base::monitor::Silent;
    use crate::engine::layout::{Layout, Store};
    use crate::options::MountOptions;

    #[test]
    fn a_damaged_file_keeps_what_can_be_read_and_the_old_one_is_beside_it_each_time() {
        let dir = tempfile::tempdir().unwrap();
        drop(Store::open(dir.path(), Path::new("/m")).unwrap());
        let layout = Layout::new(dir.path());
        assert!(closed::examine(&layout).unwrap().is_whole());
        let damaged = b"threads = 3\nmax_to_keep = \xff7\n";
        for number in 0..2 {
            fs::write(layout.config(), damaged).unwrap();
            let found = closed::examine(&layout).unwrap();
            let finding = &found.findings.list[0];
            assert!(finding.what.contains("config.toml is damaged"), "{finding:?}");
            assert!(finding.repair.as_deref().unwrap().contains("max_to_keep"), "{finding:?}");
            let (done, names_are_lost) = found.repair(&layout, &layout.hot(), &Silent).unwrap();
            let aside = format!("config.toml.damaged-{number}");
            assert!(done[0].contains(&aside) && done.len() == 1 && !names_are_lost, "{done:?}");
            assert_eq!(fs::read(dir.path().join(&aside)).unwrap(), damaged);
            let mut options = MountOptions::default();
            options.apply_file(&layout.config()).unwrap();
            assert_eq!((options.threads, options.policy), (3, MountOptions::default().policy));
            assert!(closed::examine(&layout).unwrap().is_whole());
        }
    }

    #[test]
    fn a_folder_in_its_place_is_moved_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        fs::create_dir(&path).unwrap();
        let mut findings = Findings::default();
        let salvaged = examine(&path, &mut findings).unwrap();
        repair(&path, &salvaged).unwrap();
        assert!(dir.path().join("config.toml.damaged-0").is_dir() && path.is_file());
        assert_eq!(examine(&path, &mut findings), None);
    }
}
