//! A store that nobody has open: folder, settings, journal, exports and catalog, before an engine can be started on it.
//!
//! Order of a repair: settings are salvaged; folders that are missing are made; journal and catalog are made anew from what is left, if anything
//! is wrong with them; `format` comes last, because a folder without it is no store. The caller holds the lock.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use super::super::layout::Layout;
use super::settings;
use crate::base::monitor::Monitor;
use crate::base::{Error, IoContext, Result};
use crate::check::finding::Finding;
use crate::check::{Area, Findings};
use crate::hot::HotDir;
use crate::meta::examine::{self, Broken, Part};
use crate::meta::salvage;
use crate::options::salvage::Salvaged;

const REPAIR_FORMAT: &str = "it is written again, with a new id";
const REPAIR_FOLDER: &str = "it is made again, empty";
const REPAIR_JOURNAL: &str = "the journal is made anew: what the catalog or an export holds stays";
const REPAIR_LOST: &str = "the journal is made anew from what is left; versions are looked for in the packs, and files \
     whose names are gone get names in lost+found";
const REPAIR_CATALOG: &str = "it is made again from the journal when the store is opened";

/// What is wrong with a store that is not open.
#[derive(Debug, Default)]
pub struct Closed {
    /// In words.
    pub findings: Findings,
    pub(super) broken: Vec<Broken>,
    no_format: bool,
    missing: Vec<&'static str>,
    settings: Option<Salvaged>,
}

/// Looks at the folder of `layout`. [`Error::Refused`] when it is no store and never was one.
pub fn examine(layout: &Layout) -> Result<Closed> {
    let mut closed = Closed::default();
    let format = layout.read_format();
    if !matches!(format, Ok(Some(_))) && !layout.is_store() {
        return Err(Error::Refused(format!("{} is not a store", layout.root().display())));
    }
    match format {
        Ok(Some(_)) => {}
        Err(error @ Error::Refused(_)) => return Err(error),
        Ok(None) | Err(_) => {
            closed.no_format = true;
            closed.findings.add(
                Area::Folder,
                format!("{}: it is missing or damaged", layout.format().display()),
                Some(REPAIR_FORMAT),
            );
        }
    }
    closed.settings = settings::examine(&layout.config(), &mut closed.findings);
    for (name, path) in [("packs", layout.packs()), ("hot", layout.hot())] {
        if !path.is_dir() {
            closed.missing.push(name);
            closed.findings.add(Area::Folder, format!("the folder {name}/ is missing"), Some(REPAIR_FOLDER));
        }
    }
    closed.broken = examine::examine(&layout.journal(), &layout.catalog())?;
    for broken in &closed.broken {
        let (area, repair) = match broken.part {
            Part::Journal => (Area::Journal, if broken.is_lost { REPAIR_LOST } else { REPAIR_JOURNAL }),
            Part::Export => (Area::Export, REPAIR_JOURNAL),
            Part::Catalog => (Area::Catalog, REPAIR_CATALOG),
        };
        let repair = Some(repair.to_owned());
        closed.findings.push(Finding { area, what: broken.what.clone(), lost_bytes: 0, repair });
    }
    Ok(closed)
}

impl Closed {
    /// Makes the store one that opens; what was done, and whether names may be lost.
    pub fn repair(&self, layout: &Layout, hot: &Path, monitor: &dyn Monitor) -> Result<(Vec<String>, bool)> {
        let (mut done, mut names_are_lost) = (Vec::new(), false);
        if let Some(salvaged) = &self.settings {
            done.push(settings::repair(&layout.config(), salvaged)?);
        }
        for name in &self.missing {
            let path = layout.root().join(name);
            DirBuilder::new().recursive(true).mode(0o700).create(&path).context("make", &path)?;
            done.push(format!("the folder {name}/ is there again, empty"));
        }
        if self.broken.iter().any(|broken| broken.part != Part::Catalog) {
            let floor = HotDir::open(hot)?.list()?.into_iter().max().map_or(1, |highest| highest + 1);
            let options = crate::meta::Options::default();
            let salvaged = salvage::salvage(&layout.journal(), &layout.catalog(), floor, &options, monitor)?;
            names_are_lost = salvaged.is_lost();
            done.push(match salvaged.set_aside {
                Some(old) => format!("the journal is made anew; the old one is kept as {}", old.display()),
                None => "the journal is made anew".to_owned(),
            });
        }
        if self.no_format {
            layout.write_format()?;
            done.push("the file format is there again".to_owned());
        }
        Ok((done, names_are_lost))
    }

    /// Whether a repair has anything to do before the store is opened.
    pub fn is_whole(&self) -> bool {
        self.findings.is_empty()
    }
}
