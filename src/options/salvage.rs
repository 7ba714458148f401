//! What is left of a damaged `config.toml`.
//!
//! Any bytes in; out comes a text that a mount takes, and the lines that are lost. A line counts where it sets an option by
//! itself; a value over several lines is lost.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::edit;
use super::sources::{CONFIG_BYTES_MAX, template};
use super::{Invalid, MountOptions};

/// The settings of a file that no mount takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Salvaged {
    /// Why no mount takes the file.
    pub why: Invalid,
    /// A text in its place: the template, and the settings that can be read.
    pub text: String,
    /// How many these are.
    pub kept: usize,
    /// Lines that are lost, as they can be shown.
    pub lost: Vec<String>,
}

/// Looks at the file at `path`; `None` when a mount takes it as it is, or when it is not there.
pub fn look(path: &Path) -> Option<Salvaged> {
    let mut options = MountOptions::default();
    let why = options.apply_file(path).and_then(|()| options.check()).err()?;
    let mut bytes = Vec::new();
    if let Err(error) = File::open(path).and_then(|file| file.take(CONFIG_BYTES_MAX).read_to_end(&mut bytes))
    {
        tracing::debug!("nothing more can be read of {}: {error}", path.display());
    }
    Some(salvage(&bytes, why, path))
}

fn salvage(bytes: &[u8], why: Invalid, path: &Path) -> Salvaged {
    let (mut kept, mut lost) = (Vec::new(), Vec::new());
    for line in bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii) {
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        match std::str::from_utf8(line) {
            Ok(line) if is_taken(&kept, line, path) => kept.push(line),
            _ => lost.push(shown(line)),
        }
    }
    // Each is right, and together they may not be: what needs another setting that is lost goes too.
    while edit::check(&kept.join("\n"), path).is_err() {
        lost.extend(kept.pop().map(str::to_owned));
    }
    let text = kept.iter().fold(template(), |text, line| format!("{text}\n{line}\n"));
    Salvaged { why, text, kept: kept.len(), lost }
}

/// A line as it can be shown on a terminal.
fn shown(line: &[u8]) -> String {
    let safe = |letter: char| if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter };
    String::from_utf8_lossy(line).chars().map(safe).collect()
}

/// Whether a file with the lines of `kept`, and then `line`, sets an option more.
fn is_taken(kept: &[&str], line: &str, path: &Path) -> bool {
    let more = kept.iter().chain([&line]).copied().collect::<Vec<_>>().join("\n");
    line.contains('=') && MountOptions::default().apply_toml(&more, path).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> (Option<Salvaged>, MountOptions) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        std::fs::write(&path, bytes).unwrap();
        let salvaged = look(&path);
        let mut options = MountOptions::default();
        if let Some(salvaged) = &salvaged {
            options.apply_toml(&salvaged.text, &path).unwrap();
            options.check().unwrap();
        }
        (salvaged, options)
    }

    #[test]
    fn what_can_be_read_is_kept_and_the_rest_is_named() {
        let (salvaged, options) =
            of(b"# mine\nthreads = 3\nsettle = \xff\"9s\"\nmax_to_keep = \"17\"\nthreads = 4\n\0\0\0\0\nkeep_daily = 5");
        let salvaged = salvaged.unwrap();
        assert_eq!((options.threads, options.policy.max_to_keep, options.policy.keep_daily), (3, 17, 5));
        assert_eq!((options.settle, salvaged.kept), (MountOptions::default().settle, 3));
        assert_eq!(salvaged.lost.len(), 3, "{:?}", salvaged.lost);
        assert!(salvaged.lost.iter().all(|line| !line.contains(char::is_control)), "{:?}", salvaged.lost);
    }

    #[test]
    fn a_setting_that_makes_no_sense_without_a_lost_one_is_lost_with_it() {
        let (salvaged, options) = of(b"ro = true\nkeep_best = 3\nmonitos = \"loss\"\n");
        assert_eq!(salvaged.unwrap().lost, ["monitos = \"loss\"", "keep_best = 3"]);
        assert!(options.ro && options.policy.keep_best.is_none());
    }

    #[test]
    fn any_bytes_give_a_file_that_a_mount_takes_and_a_good_file_stays() {
        for bytes in [&b"\0"[..], b"\xff\xfe[", b"[table]\nro = true", b"=", b"settle = \"\"\"\n1s\"\"\"\nx"]
        {
            assert!(of(bytes).0.is_some(), "{bytes:?}");
        }
        assert_eq!(of(template().as_bytes()).0, None);
        assert_eq!(of(b"").0, None);
        assert_eq!(look(Path::new("/not/there")), None);
    }
}
