//! Whether journal, exports and catalog say the same, while nobody has them open.
//!
//! Nothing is changed, but that a catalog which does not hold what the journal says is marked to be made again: it is an
//! index, and names that it makes up would be served.

use std::collections::BTreeMap;
use std::path::Path;

use super::NEEDS_REBUILD;
use crate::base::{Error, Result, durable};
use crate::catalog::{Pair, SledStore, Store};
use crate::journal::export::{self, Export};
use crate::journal::remains::{self, Remains};
use crate::journal::{self, Body, Op};

/// Entries of the catalog that are read at once.
const PAGE: usize = 4096;

/// Which part is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Segments.
    Journal,
    /// Exports.
    Export,
    /// The catalog.
    Catalog,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Where.
    pub part: Part,
    /// What, in one line.
    pub what: String,
    /// Names are lost: what the part held is nowhere else.
    pub is_lost: bool,
}

/// What is left to open a store with.
#[derive(Debug)]
pub(super) struct Sources {
    pub(super) remains: Remains,
    /// The newest export all of which is valid.
    pub(super) export: Option<Export>,
    /// The position of the catalog, if all of it can be read.
    pub(super) catalog: Option<u64>,
    pub(super) broken: Vec<Broken>,
}

impl Sources {
    /// The newest position up to which everything is known without the journal.
    pub(super) fn base(&self) -> u64 {
        self.export.as_ref().map_or(0, |export| export.position).max(self.catalog.unwrap_or(0))
    }
}

/// Everything that is wrong with the journal in `dir` and the catalog. The caller holds the store's lock.
pub fn examine(dir: &Path, catalog: &Path) -> Result<Vec<Broken>> {
    if !dir.is_dir() {
        let what = "the folder journal/ is missing".to_owned();
        return Ok(vec![Broken { part: Part::Journal, what, is_lost: true }]);
    }
    Ok(sources(dir, catalog)?.broken)
}

pub(super) fn sources(dir: &Path, catalog: &Path) -> Result<Sources> {
    let (mut broken, mut last_boot) = (Vec::new(), None);
    let remains = remains::read(dir, &mut |record| {
        if let Body::Opened { boot, .. } = record.body {
            last_boot = Some(boot);
        }
        Ok(())
    })?;
    let export = exports(dir, &mut broken)?;
    let position = usable(catalog, &mut broken)?;
    let mut sources = Sources { remains, export, catalog: position, broken };
    sources.judge_journal(dir);
    sources.judge_exports(dir)?;
    // After a power cut the catalog may be ahead.
    if sources.remains.closed || last_boot == Some(journal::current_boot()?) {
        sources.judge_end(dir);
    }
    sources.hold_catalog_against_journal(dir, catalog)?;
    Ok(sources)
}

/// The newest valid export.
fn exports(dir: &Path, broken: &mut Vec<Broken>) -> Result<Option<Export>> {
    let mut newest = None;
    for export in export::list(dir)? {
        let what = match export::read(&export.path, &mut |_, _| Ok(())) {
            Ok(position) if position == export.position => {
                newest.get_or_insert(export);
                continue;
            }
            Ok(_) => format!("{}: it does not belong to its name", export.path.display()),
            Err(error @ (Error::Damaged { .. } | Error::Io { .. })) => error.to_string(),
            Err(error) => return Err(error),
        };
        broken.push(Broken { part: Part::Export, what, is_lost: false });
    }
    Ok(newest)
}

/// The position of a catalog all of whose records verify.
fn usable(catalog: &Path, broken: &mut Vec<Broken>) -> Result<Option<u64>> {
    if !catalog.join("db").exists() || catalog.join(NEEDS_REBUILD).exists() {
        return Ok(None);
    }
    let read = SledStore::open(catalog).and_then(|store| {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = store.scan(b"", after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { break store.position() };
            after = Some(last.clone());
        }
    });
    match read {
        Ok(position) => Ok(position),
        Err(error @ (Error::Damaged { .. } | Error::Io { .. })) => {
            broken.push(Broken { part: Part::Catalog, what: error.to_string(), is_lost: false });
            mark_catalog(catalog)?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn mark_catalog(catalog: &Path) -> Result<()> {
    durable::write_file(&catalog.join(NEEDS_REBUILD), b"")
}

impl Sources {
    fn judge_journal(&mut self, dir: &Path) {
        let base = self.base();
        let mut add = |what: String, is_lost| {
            self.broken.push(Broken { part: Part::Journal, what, is_lost });
        };
        let left = &self.remains;
        if left.segments == 0 && base > 0 {
            add(format!("{}: all segments are missing", dir.display()), true);
        }
        for path in &left.headers {
            add(format!("{}: its header does not verify", path.display()), false);
        }
        for error in &left.unreadable {
            add(error.to_string(), true);
        }
        for gap in &left.gaps {
            let what = format!(
                "{}: records {} to {} are not there (from offset {} on)",
                gap.path.display(),
                gap.from,
                gap.upto,
                gap.offset
            );
            add(what, gap.upto > base);
        }
        if left.first_seq > base + 1 {
            add(
                format!(
                    "{}: it begins at record {}, and nothing holds what was before",
                    dir.display(),
                    left.first_seq
                ),
                true,
            );
        }
    }

    /// Whether there is one export where there were two: segments go only once there is a second one behind them. A
    /// journal that a repair has made begins right behind its only one.
    fn judge_exports(&mut self, dir: &Path) -> Result<()> {
        let (exports, first) = (export::list(dir)?, self.remains.first_seq);
        let only = exports.first().filter(|only| exports.len() == 1 && first > 1 && only.position >= first);
        if let Some(only) = only {
            let what = format!("{}: it is the only export, and there were two", only.path.display());
            self.broken.push(Broken { part: Part::Export, what, is_lost: false });
        }
        Ok(())
    }

    /// Whether the journal has lost its end.
    fn judge_end(&mut self, dir: &Path) {
        let last = self.remains.last_seq;
        if let Some(position) = self.catalog.filter(|position| self.remains.segments > 0 && *position > last)
        {
            let what = format!(
                "{}: it ends at record {last}; those up to {position} are not there, and only the catalog holds them",
                dir.display()
            );
            self.broken.push(Broken { part: Part::Journal, what, is_lost: false });
        }
    }

    /// Whether the catalog holds what the newest export and the journal say up to its position.
    fn hold_catalog_against_journal(&mut self, dir: &Path, catalog: &Path) -> Result<()> {
        let Some(position) = self.catalog else { return Ok(()) };
        let from = self.export.as_ref().map_or(0, |export| export.position);
        let left = &self.remains;
        let is_whole = left.gaps.iter().all(|gap| gap.upto <= from) && left.first_seq <= from + 1;
        if from > position || position > left.last_seq || !is_whole || left.segments == 0 {
            // Nothing that it could be held against is whole; `open` judges its position.
            return Ok(());
        }
        let mut since: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
        remains::read(dir, &mut |record| {
            if let (true, Body::Batch { ops } | Body::Tentative { ops, .. }) =
                (record.seq > from && record.seq <= position, record.body)
            {
                since.extend(ops.into_iter().map(|(key, value): Op| (key, value)));
            }
            Ok(())
        })?;
        let store = SledStore::open(catalog)?;
        let mut held = Held { store: &store, page: Vec::new().into_iter(), after: None };
        if let Some(what) = differs(self.export.as_ref(), &since, &mut held)? {
            drop(store);
            self.broken.push(Broken { part: Part::Catalog, what, is_lost: false });
            self.catalog = None;
            mark_catalog(catalog)?;
        }
        Ok(())
    }
}

/// The entries of a catalog, one after the other.
struct Held<'a> {
    store: &'a SledStore,
    page: std::vec::IntoIter<Pair>,
    after: Option<Vec<u8>>,
}

impl Held<'_> {
    fn next(&mut self) -> Result<Option<Pair>> {
        if let Some(pair) = self.page.next() {
            return Ok(Some(pair));
        }
        let page = self.store.scan(b"", self.after.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(None) };
        self.after = Some(last.clone());
        self.page = page.into_iter();
        Ok(self.page.next())
    }

    /// Whether the next entry is this one; why not.
    fn is(&mut self, key: &[u8], value: &[u8]) -> Result<Option<String>> {
        let differ = |what: &str| Some(format!("the catalog {what} the record {}", key.escape_ascii()));
        Ok(match self.next()? {
            Some((found, held)) if found == key => {
                (held != value).then(|| differ("has another value in")).flatten()
            }
            Some((found, _)) if found.as_slice() < key => {
                Some(format!("the catalog has a record that is not in the journal: {}", found.escape_ascii()))
            }
            Some(_) | None => differ("lacks"),
        })
    }
}

/// In what the catalog first differs from `export` with the changes `since`.
fn differs(
    export: Option<&Export>,
    since: &BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    held: &mut Held<'_>,
) -> Result<Option<String>> {
    let (mut since, mut found) = (since.iter().peekable(), None);
    if let Some(export) = export {
        export::read(&export.path, &mut |key, value| {
            while found.is_none()
                && let Some((changed, new)) = since.next_if(|(changed, _)| changed.as_slice() < key)
            {
                found = new.as_ref().map_or(Ok(None), |new| held.is(changed, new))?;
            }
            if found.is_none() {
                found = match since.next_if(|(changed, _)| changed.as_slice() == key) {
                    Some((_, new)) => new.as_ref().map_or(Ok(None), |new| held.is(key, new))?,
                    None => held.is(key, value)?,
                };
            }
            Ok(())
        })?;
    }
    for (key, new) in since {
        if found.is_some() {
            break;
        }
        found = new.as_ref().map_or(Ok(None), |new| held.is(key, new))?;
    }
    if found.is_none()
        && let Some((key, _)) = held.next()?
    {
        found = Some(format!("the catalog has a record that is not in the journal: {}", key.escape_ascii()));
    }
    Ok(found)
}
