//! The store's folder: where everything is, how it is made, and whether it is ours.
//!
//! Invariant: `format` is written last, durably; a folder without it was never a store, so it is made one only when it
//! holds nothing but what an interrupted making leaves. Order: folder, lock, subfolders, `config.toml`, `format`.
//! A store of another format is refused before anything in it is touched but the lock.

use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::lock::{Holder, StoreLock};
use crate::base::fault::{self, Point};
use crate::base::{Error, IoContext, Result, durable, private};
use crate::options::sources;

/// The store format that this program reads and writes.
pub const FORMAT: u32 = crate::base::STORE_FORMAT;
/// A `format` file beyond this is not ours.
const FORMAT_BYTES_MAX: u64 = 4096;
/// Folders that hold what cannot be rebuilt: one that is missing is damage.
const KEPT: [&str; 3] = ["journal", "packs", "hot"];
/// Folders that are indexes: made again when missing.
const REBUILT: [&str; 2] = ["catalog", "index"];
/// Files that a folder may hold before it is a store.
const EARLY: [&str; 6] = ["lock", "config.toml", "config.tmp", "format.tmp", "ckptfs.log", "lost+found"];

/// The random name of a store: 16 bytes, 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StoreId(pub [u8; 16]);

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Where everything of one store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout of the store at `root`.
    pub fn new(root: &Path) -> Self {
        Layout { root: root.to_owned() }
    }
    /// The store's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }
    /// Format and id.
    pub fn format(&self) -> PathBuf {
        self.root.join("format")
    }
    /// The lock file.
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }
    /// Mount options.
    pub fn config(&self) -> PathBuf {
        self.root.join("config.toml")
    }
    /// Where hot files are, when that is not in the store.
    pub fn hot_place(&self) -> PathBuf {
        self.root.join("hot.place")
    }
    /// What the background daemon says.
    pub fn log(&self) -> PathBuf {
        self.root.join("ckptfs.log")
    }
    /// Journal segments and exports.
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }
    /// The catalog.
    pub fn catalog(&self) -> PathBuf {
        self.root.join("catalog")
    }
    /// Packs.
    pub fn packs(&self) -> PathBuf {
        self.root.join("packs")
    }
    /// The chunk index.
    pub fn index(&self) -> PathBuf {
        self.root.join("index")
    }
    /// Hot files, unless the option `hot` names another folder.
    pub fn hot(&self) -> PathBuf {
        self.root.join("hot")
    }

    /// Whether the folder is a store, or one that has lost its `format` file.
    pub fn is_store(&self) -> bool {
        let has = |names: &[&str]| names.iter().all(|name| self.root.join(name).is_dir());
        self.format().is_file()
            || has(&["journal", "packs"])
            || has(&["packs", "hot"])
            || has(&["journal", "hot"])
    }

    /// Makes the folder if it is missing, and refuses one that is neither a store nor fit to become one.
    /// Touches nothing inside.
    pub fn prepare(&self) -> Result<()> {
        let root = &self.root;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root)
            .context("make the store's folder", root)?;
        match self.read_format()? {
            Some(_) => Ok(()),
            None => self.refuse_foreign(),
        }
    }

    /// The id in `format`; `None` when there is no such file. Another format is [`Error::Refused`] by its number.
    pub fn read_format(&self) -> Result<Option<StoreId>> {
        let path = self.format();
        let mut bytes = Vec::new();
        match File::open(&path) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => {
                return Ok(None);
            }
            file => file
                .and_then(|file| file.take(FORMAT_BYTES_MAX).read_to_end(&mut bytes))
                .context("read", &path)?,
        };
        parse_format(&bytes, &path).map(Some)
    }

    fn refuse_foreign(&self) -> Result<()> {
        for entry in fs::read_dir(&self.root).context("list", &self.root)? {
            let entry = entry.context("list", &self.root)?;
            let name = entry.file_name();
            let known = |names: &[&str]| names.iter().any(|known| name == *known);
            let empty = || fs::read_dir(entry.path()).is_ok_and(|mut inside| inside.next().is_none());
            let ours = known(&KEPT) || known(&REBUILT);
            if ours && !empty() {
                return Err(Error::damaged(
                    &self.root,
                    "store: its `format` file is missing; ckptfs check --repair writes it again",
                ));
            }
            if !(known(&EARLY) || ours) {
                return Err(Error::Refused(format!(
                    "{} is not a store (it has no `format` file) and holds {name:?}; give an empty or new folder",
                    self.root.display()
                )));
            }
        }
        Ok(())
    }

    fn make(&self) -> Result<StoreId> {
        for name in KEPT.iter().chain(&REBUILT) {
            private::folder(&self.root.join(name))?;
        }
        fault::reached(Point::StoreFolders);
        if !self.config().exists() {
            durable::write_file(&self.config(), sources::template().as_bytes())?;
        }
        let id = self.write_format()?;
        durable::sync_dir(self.root.parent().unwrap_or(Path::new("/")))?;
        fault::reached(Point::StoreMade);
        Ok(id)
    }

    /// Makes the folder a store, of a new id.
    pub fn write_format(&self) -> Result<StoreId> {
        let id = StoreId(random()?);
        durable::write_file(&self.format(), format!("ckptfs {FORMAT} {id}\n").as_bytes())?;
        Ok(id)
    }

    fn complete(&self) -> Result<()> {
        if let Some(missing) = KEPT.iter().find(|name| !self.root.join(name).is_dir()) {
            return Err(Error::damaged(
                &self.root,
                format!("folder: {missing}/ is missing; see ckptfs check --repair"),
            ));
        }
        KEPT.iter().chain(&REBUILT).try_for_each(|name| private::folder(&self.root.join(name)))
    }
}

/// A locked store whose folder is whole and of our format.
#[derive(Debug)]
pub struct Store {
    /// Where everything is.
    pub layout: Layout,
    /// Its name.
    pub id: StoreId,
    /// Whether this call made it.
    pub is_new: bool,
    /// Frees the store when dropped.
    pub lock: StoreLock,
}

impl Store {
    /// Locks the store at `root` for a mount at `mountpoint` (both absolute), making it if it is not there.
    pub fn open(root: &Path, mountpoint: &Path) -> Result<Self> {
        let layout = Layout::new(root);
        layout.prepare()?;
        // First of all: from here on nobody else can put anything into the store, whoever made the folder and however.
        private::folder(root)?;
        let lock = StoreLock::acquire(&layout.lock(), Holder::this_process(mountpoint))?;
        // Read again under the lock: another first mount may have made it meanwhile.
        let (id, is_new) = match layout.read_format()? {
            Some(id) => (id, false),
            None => (layout.make()?, true),
        };
        layout.complete()?;
        Ok(Store { layout, id, is_new, lock })
    }
}

fn parse_format(bytes: &[u8], path: &Path) -> Result<StoreId> {
    let damaged = || Error::damaged(path, "format line");
    let text = std::str::from_utf8(bytes).map_err(|_| damaged())?;
    let mut words = text.split_whitespace();
    let number =
        words.next().filter(|word| *word == "ckptfs").and_then(|_| words.next()).ok_or_else(damaged)?;
    match number.parse::<u32>() {
        Ok(FORMAT) => words.next().filter(|_| words.next().is_none()).and_then(parse_id).ok_or_else(damaged),
        Ok(other) => Err(Error::Refused(format!(
            "store {} has format {other}, and this ckptfs reads format {FORMAT}; use the version of ckptfs that made it",
            path.parent().unwrap_or(path).display()
        ))),
        Err(_) => Err(damaged()),
    }
}

fn parse_id(word: &str) -> Option<StoreId> {
    let digits = word.len() == 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u128::from_str_radix(word, 16).ok().filter(|_| digits)?;
    Some(StoreId(number.to_be_bytes()))
}

fn random() -> Result<[u8; 16]> {
    let path = Path::new("/dev/urandom");
    let mut bytes = [0; 16];
    File::open(path).and_then(|mut file| file.read_exact(&mut bytes)).context("read", path)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: &str = "/mnt/x";

    #[test]
    fn the_first_open_makes_a_store_and_the_second_finds_the_same_one() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("deep/store");
        let first = Store::open(&root, Path::new(AT)).unwrap();
        let id = first.id;
        assert!(first.is_new);
        drop(first);
        let second = Store::open(&root, Path::new(AT)).unwrap();
        assert_eq!((second.id, second.is_new), (id, false));
        assert_eq!(fs::read_to_string(root.join("format")).unwrap(), format!("ckptfs 4 {id}\n"));
        assert!(fs::read_to_string(root.join("config.toml")).unwrap().contains("#settle"));
    }

    #[test]
    fn a_folder_with_other_things_is_never_made_a_store() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.tex"), b"x").unwrap();
        let said = Store::open(dir.path(), Path::new(AT)).unwrap_err().to_string();
        assert!(said.contains("thesis.tex") && said.contains("empty or new folder"), "{said}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_store_that_lost_its_format_file_is_not_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        drop(Store::open(dir.path(), Path::new(AT)).unwrap());
        fs::remove_file(dir.path().join("format")).unwrap();
        drop(Store::open(dir.path(), Path::new(AT)).unwrap());
        fs::write(dir.path().join("packs/1.pack"), b"x").unwrap();
        fs::remove_file(dir.path().join("format")).unwrap();
        assert!(Store::open(dir.path(), Path::new(AT)).unwrap_err().to_string().contains("check --repair"));
    }

    #[test]
    fn other_formats_and_damage_are_named() {
        let path = Path::new("/s/format");
        let id = "00112233445566778899aabbccddeeff";
        assert_eq!(parse_format(format!("ckptfs 4 {id}\n").as_bytes(), path).unwrap().to_string(), id);
        let said = parse_format(format!("ckptfs 7 {id}\n").as_bytes(), path).unwrap_err().to_string();
        assert!(said.contains("format 7") && said.contains("/s"), "{said}");
        for bad in [
            "",
            "ckptfs",
            "ckptfs 4",
            "ckptfs 4 xyz",
            "other 1 x",
            "ckptfs one x",
            "ckptfs 4 +0112233445566778899aabbccddeef",
        ] {
            assert!(matches!(parse_format(bad.as_bytes(), path), Err(Error::Damaged { .. })), "{bad}");
        }
        assert!(parse_format(format!("ckptfs 4 {id} more").as_bytes(), path).is_err());
        assert!(parse_format(b"\xff\xfe", path).is_err());
    }

    #[test]
    fn missing_packs_are_damage_and_a_missing_index_is_not() {
        let dir = tempfile::tempdir().unwrap();
        drop(Store::open(dir.path(), Path::new(AT)).unwrap());
        fs::remove_dir(dir.path().join("catalog")).unwrap();
        drop(Store::open(dir.path(), Path::new(AT)).unwrap());
        fs::remove_dir(dir.path().join("packs")).unwrap();
        assert!(Store::open(dir.path(), Path::new(AT)).unwrap_err().to_string().contains("check --repair"));
    }
}
