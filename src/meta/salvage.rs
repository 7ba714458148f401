//! A journal and a catalog made anew from what is left of them.
//!
//! Order: the catalog, or the newest valid export, is what everything begins with; records that are left go on top; the
//! catalog holds the result, durably; a new journal, that begins with an export of it, is made beside the old one, durably;
//! then the two change places. Killed on the way, the next salvage begins again with what there is then. The old journal is
//! kept beside the new one under another name.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::Options;
use super::checkpoint::CATALOG_BATCH;
use super::examine::{self, Broken};
use super::recover::{Buffer, Work};
use crate::base::monitor::Monitor;
use crate::base::{Error, IoContext, Result, durable};
use crate::catalog::keys::{self, HotId};
use crate::catalog::{SledStore, Store};
use crate::journal::{self, Body, Journal, Scan, export, remains};

/// What a salvage has done.
#[derive(Debug)]
pub struct Salvaged {
    /// What was wrong.
    pub broken: Vec<Broken>,
    /// Where the old journal is now; `None` when there was none.
    pub set_aside: Option<PathBuf>,
}

impl Salvaged {
    /// Names may be missing.
    pub fn is_lost(&self) -> bool {
        self.broken.iter().any(|broken| broken.is_lost)
    }
}

/// Makes the journal in `dir` and the catalog anew. The caller holds the store's lock. No hot file from `hot_floor` on is
/// there.
pub fn salvage(
    dir: &Path,
    catalog: &Path,
    hot_floor: HotId,
    options: &Options,
    monitor: &dyn Monitor,
) -> Result<Salvaged> {
    let boot = match options.boot {
        Some(boot) => boot,
        None => journal::current_boot()?,
    };
    let had_journal = dir.is_dir();
    make_dir(dir)?;
    let sources = examine::sources(dir, catalog)?;
    let work = Work::new(dir, catalog, &boot, monitor);
    let (store, base) = match (sources.catalog, &sources.export) {
        (Some(position), export) if export.as_ref().is_none_or(|export| export.position <= position) => {
            (SledStore::open(catalog)?, position)
        }
        (_, export) => {
            work.set_aside()?;
            let store = SledStore::open(catalog)?;
            if let Some(export) = export {
                work.load(&store, export)?;
            }
            (store, export.as_ref().map_or(0, |export| export.position))
        }
    };
    let last = base.max(sources.remains.last_seq);
    let mut buffer = Buffer::new(&store);
    remains::read(dir, &mut |record| {
        if let (true, Body::Batch { ops } | Body::Tentative { ops, .. }) = (record.seq > base, record.body) {
            for op in ops {
                buffer.push(op)?;
            }
        }
        Ok(())
    })?;
    buffer.flush(Some(last))?;
    raise_counters(&store, hot_floor)?;
    store.flush()?;
    let fresh = dir.with_extension("new");
    write_journal(&fresh, &store, last, boot, options)?;
    drop(store);
    work.remove_set_aside()?;
    let mut broken = sources.broken;
    if !had_journal {
        let what = "the folder journal/ was missing".to_owned();
        broken.push(Broken { part: examine::Part::Journal, what, is_lost: true });
    }
    Ok(Salvaged { broken, set_aside: replace(dir, &fresh)? })
}

/// The counters of inodes and hot files are above all numbers that are in use: the record that raised them may be lost.
fn raise_counters(store: &SledStore, hot_floor: HotId) -> Result<()> {
    let (mut inos, mut after) = (keys::ROOT + 1, None::<Vec<u8>>);
    loop {
        let page = store.scan(b"i", after.as_deref(), CATALOG_BATCH)?;
        let Some((last, _)) = page.last() else { break };
        inos = inos.max(keys::covered_number(last).unwrap_or(0) + 1);
        after = Some(last.clone());
    }
    for (key, floor) in [(keys::INO_LIMIT, inos), (keys::HOT_LIMIT, hot_floor)] {
        let limit = store.get(key)?.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes);
        if limit < floor {
            store.apply(&[(key, Some(&floor.to_le_bytes()))], None)?;
        }
    }
    Ok(())
}

fn make_dir(dir: &Path) -> Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).context("make", dir)
}

/// A journal in `dir` that begins with an export of `store` at `position` and was closed in order.
fn write_journal(
    dir: &Path,
    store: &SledStore,
    position: u64,
    boot: journal::BootId,
    options: &Options,
) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).context("delete", dir);
        }
        _ => make_dir(dir)?,
    }
    let mut writer = export::Writer::create(dir, position)?;
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = store.scan(b"", after.as_deref(), CATALOG_BATCH)?;
        let Some((last, _)) = page.last() else { break };
        page.iter().try_for_each(|(key, value)| writer.add(key, value))?;
        after = Some(last.clone());
    }
    writer.finish()?;
    let log = Journal::open(dir, &Scan::default(), position + 1, boot, options.segment_bytes)?;
    log.append(Body::Closed.encode()?)?;
    log.sync()?;
    durable::sync_dir(dir)
}

/// Puts `fresh` in the place of `dir`; where the old one is now, if it held anything.
fn replace(dir: &Path, fresh: &Path) -> Result<Option<PathBuf>> {
    let parent = dir.parent().unwrap_or(Path::new("."));
    let held = fs::read_dir(dir).context("list", dir)?.next().is_some();
    let aside =
        (0u32..).map(|number| dir.with_extension(format!("damaged-{number}"))).find(|path| !path.exists());
    let aside = aside.ok_or_else(|| Error::Refused(format!("no free name beside {}", dir.display())))?;
    let cwd = rustix::fs::CWD;
    match rustix::fs::renameat_with(cwd, fresh, cwd, dir, rustix::fs::RenameFlags::EXCHANGE) {
        Ok(()) => fs::rename(fresh, &aside).context("rename", fresh)?,
        // Not on every disk. Killed in between there is no journal, and the catalog has it all.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP) => {
            fs::rename(dir, &aside).context("rename", dir)?;
            fs::rename(fresh, dir).context("rename", fresh)?;
        }
        Err(errno) => return Err(errno).context("put in place", dir),
    }
    durable::sync_dir(parent)?;
    if held {
        return Ok(Some(aside));
    }
    fs::remove_dir(&aside).context("delete", &aside)?;
    Ok(None)
}
