//! What mount(8) hands on: the program called as `mount.fuse.ckptfs`, or, by the helper of the package `fuse3`, as
//! `ckptfs STORE MOUNTPOINT -o ...`.
//!
//! The words are those of mount(8), and so are the exit codes: 0 done, 1 asked wrongly, 32 not mounted. All else is what
//! `ckptfs mount` does. mount(8) takes PATH and HOME away. umount(8) needs no helper: it asks the kernel.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::failure::{Failure, Outcome};
use super::{locate, mount, print, tell};
use crate::options::sources;

/// mount(8): the mount failed.
const MOUNT_FAILED: u8 = 32;
/// mount(8): incorrect invocation or permissions.
const ASKED_WRONGLY: u8 = 1;
/// The types that a helper may be told (`-t`) that it is for.
const TYPES: [&str; 3] = ["fuse.ckptfs", "fuse", "ckptfs"];

/// What the helper was asked.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    places: Vec<PathBuf>,
    /// All that was given with `-o`, joined.
    options: String,
    /// `-s`: what is not known among the options is no error.
    is_sloppy: bool,
    /// `-f`: do all but mount.
    is_rehearsal: bool,
    is_verbose: bool,
}

/// Does what mount(8) wants; `None` when the program was called by its own name.
pub(super) fn run(args: &[OsString]) -> Option<ExitCode> {
    if !is_helper(args) {
        return None;
    }
    let done = Asked::read(args.get(1..).unwrap_or_default()).and_then(Asked::mount);
    Some(match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tell(&failure.to_string());
            ExitCode::from(if matches!(failure, Failure::Usage(_)) { ASKED_WRONGLY } else { MOUNT_FAILED })
        }
    })
}

fn is_helper(args: &[OsString]) -> bool {
    let name = args.first().and_then(|name| Path::new(name).file_name()).unwrap_or_default();
    let first = args.get(1).map(|first| first.as_encoded_bytes()).unwrap_or_default();
    // The helper of fuse3 gives the store's path first; no subcommand has a slash.
    name.to_string_lossy().starts_with("mount.") || first.contains(&b'/') && !first.starts_with(b"-")
}

impl Asked {
    fn read(words: &[OsString]) -> Outcome<Self> {
        let mut asked = Asked::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let text = word.to_str().unwrap_or_default();
            match text.strip_prefix('-').filter(|letters| !letters.is_empty()) {
                Some(letters) => asked.read_letters(letters, &mut words)?,
                None => asked.places.push(PathBuf::from(word)),
            }
        }
        if asked.places.len() == 2 {
            return Ok(asked);
        }
        Err(Failure::Usage("give a store and a mountpoint: mount -t fuse.ckptfs STORE MOUNTPOINT".into()))
    }

    /// Reads `letters` of one word; the value of the last may be the next of `words`.
    fn read_letters<'a>(&mut self, letters: &str, words: &mut impl Iterator<Item = &'a OsString>) -> Outcome {
        for (place, letter) in letters.char_indices() {
            match letter {
                'o' | 't' => {
                    let rest = letters.get(place + 1..).filter(|rest| !rest.is_empty());
                    let value = match rest {
                        Some(rest) => rest.to_owned(),
                        None => value_of(letter, words.next())?,
                    };
                    return if letter == 'o' { self.add_options(&value) } else { right_type(&value) };
                }
                'r' => self.add_options("ro")?,
                'w' => self.add_options("rw")?,
                's' => self.is_sloppy = true,
                'f' => self.is_rehearsal = true,
                'v' => self.is_verbose = true,
                // Not to be noted in /etc/mtab, where nothing is noted.
                'n' => {}
                _ => {
                    return Err(Failure::Usage(format!(
                        "mount(8) does not hand on '-{letters}'; write options as -o NAME=VALUE, or call: ckptfs mount"
                    )));
                }
            }
        }
        Ok(())
    }

    fn add_options(&mut self, list: &str) -> Outcome {
        if !self.options.is_empty() {
            self.options.push(',');
        }
        self.options.push_str(list);
        Ok(())
    }

    fn mount(self) -> Outcome {
        let [store, mountpoint] = self.places.as_slice() else {
            return Err(Failure::Usage("STORE or MOUNTPOINT is missing".into()));
        };
        let options = if self.is_sloppy { self.known_options() } else { self.options.clone() };
        if self.is_rehearsal {
            return mount::rehearse(store, mountpoint, &options);
        }
        mount::start(store, mountpoint, &options)?;
        if self.is_verbose {
            let (store, at) = (locate::resolve(store), locate::resolve(mountpoint));
            print(&format!("{} mounted on {}\n", store.display(), at.display()))?;
        }
        Ok(())
    }

    fn known_options(&self) -> String {
        let (known, others) = sources::split_known(&self.options);
        for other in others {
            tell(&format!("option '{other}' is not known and is left out, as -s asks"));
        }
        known
    }
}

fn value_of(letter: char, next: Option<&OsString>) -> Outcome<String> {
    let next = next.ok_or_else(|| Failure::Usage(format!("-{letter} needs a value")))?;
    let text = next.to_str().map(str::to_owned);
    text.ok_or_else(|| {
        Failure::Usage(format!("the value of -{letter} is not UTF-8: {}", next.to_string_lossy()))
    })
}

fn right_type(name: &str) -> Outcome {
    if TYPES.contains(&name) {
        return Ok(());
    }
    Err(Failure::Usage(format!("type '{name}' is not ours; the type is fuse.ckptfs")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_name_or_a_path_in_front_says_who_calls() {
        assert!(is_helper(&words("ckptfs /s /m -o rw")));
        assert!(is_helper(&words("/sbin/mount.fuse.ckptfs s /m")));
        for own in ["ckptfs", "ckptfs status", "/usr/bin/ckptfs mount /s /m", "ckptfs -V", "ckptfs --x=/a"] {
            assert!(!is_helper(&words(own)), "{own}");
        }
    }

    #[test]
    fn what_mount_hands_on_is_read() {
        let read = |line: &str| Asked::read(&words(line));
        let asked = read("s /m -s -f -n -v -o rw,a=b -o c -t fuse.ckptfs").unwrap();
        assert_eq!((asked.options.as_str(), asked.places.len()), ("rw,a=b,c", 2));
        assert!(asked.is_sloppy && asked.is_rehearsal && asked.is_verbose);
        assert_eq!(read("-nvoro s m").unwrap().options, "ro");
        for (line, part) in [
            ("s", "MOUNTPOINT"),
            ("s m x", "STORE"),
            ("s m -o", "-o needs"),
            ("s m -t nfs", "'nfs'"),
            ("s m --hot=/x", "'--hot=/x'"),
            ("s m -N /proc/1/ns/mnt", "'-N'"),
        ] {
            let said = read(line).unwrap_err();
            assert!(matches!(&said, Failure::Usage(text) if text.contains(part)), "{line}: {said}");
        }
    }
}
