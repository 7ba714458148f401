//! `import`: a checkpoint from outside, a part at a time, as a version.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Target;
use super::answer::{Answer, Imported};
use super::select::{self, names_of, shown};
use crate::base::clock::{Time, rfc3339};
use crate::base::monitor::Monitor;
use crate::base::name::is_name;
use crate::base::{Error, Result};
use crate::catalog::keys::{Ino, ROOT};
use crate::engine::Engine;
use crate::engine::history::import::Part;
use crate::version::record::{path_bytes, path_text};

/// A part of a checkpoint. Paths are as [`path_text`] writes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// The directory that is the run, or is made one.
    pub at: Target,
    /// The folder outside, absolute.
    pub folder: String,
    /// Its device and inode: the daemon must see the same.
    pub identity: (u64, u64),
    /// Files and folders below it.
    pub members: Vec<String>,
    /// Of the last part: the time of the version, seconds since 1970 and nanoseconds, and the checkpoint's path.
    pub last: Option<((i64, u32), String)>,
    /// A part before has brought something new.
    pub is_new: bool,
}

pub(super) fn import(engine: &Engine, import: Import, monitor: &dyn Monitor) -> Result<Answer> {
    let members: Vec<Vec<Vec<u8>>> = import.members.iter().map(|path| names_of(path)).collect();
    if let Some(wrong) =
        members.iter().position(|path| path.is_empty() || !path.iter().all(|name| is_name(name)))
    {
        return Err(Error::Refused(format!(
            "'{}' is no path below a folder",
            import.members.get(wrong).cloned().unwrap_or_default()
        )));
    }
    let dir = run_directory(engine, &import.at)?;
    engine.import_run(dir)?;
    let part = Part {
        folder: PathBuf::from(OsString::from_vec(path_bytes(&import.folder))),
        identity: import.identity,
        members,
        last: import.last.map(|((secs, nanos), source)| (Time { secs, nanos }, source)),
        is_new: import.is_new,
    };
    let taken = engine.import(dir, &part, monitor)?;
    let version = taken.version;
    Ok(Answer::Imported(Imported {
        run: shown(&path_text(&engine.dir_path(dir)?)),
        files: taken.files,
        bytes: taken.bytes,
        skipped: taken.skipped,
        version: version.as_ref().map(|version| version.number),
        utc: version.as_ref().map(|version| rfc3339(version.moment())),
        step: version.as_ref().and_then(|version| version.step),
        good: version.as_ref().is_some_and(|version| version.is_good()),
        why: version.map(|version| version.why).unwrap_or_default(),
    }))
}

/// The directory that is to be the run, made if it is missing.
fn run_directory(engine: &Engine, at: &Target) -> Result<Ino> {
    let path = match at {
        Target::Path(path) | Target::Run(path) => path,
        Target::Only => return select::directory(engine, at),
    };
    let snapdir = engine.history_options().snapdir_name.as_bytes();
    names_of(path).iter().try_fold(ROOT, |dir, name| match name {
        name if name == snapdir || !is_name(name) => {
            Err(Error::Refused(format!("'{}' is no directory that can be made", shown(path))))
        }
        name => engine.made_dir(dir, name).map_err(|error| match error {
            Error::Errno(libc::ENOTDIR) => {
                Error::Refused(format!("'{}' is a file; name a directory", shown(path)))
            }
            other => other,
        }),
    })
}
