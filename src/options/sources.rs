//! The two written sources of mount options: `config.toml` and `-o a,b=c`.
//!
//! Any bytes in: options or one message out. What generic mount words mean to the kernel or to mount(8) is not ours:
//! they are accepted and left alone, so that a line of /etc/fstab works as it stands.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::{Invalid, MountOptions, TABLE};

/// A `config.toml` beyond this is no config.toml.
pub(super) const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// Words of mount(8), systemd and libfuse that need nothing from us. `default_permissions` is always on.
const IGNORED: &[&str] = &[
    "rw",
    "defaults",
    "_netdev",
    "auto",
    "noauto",
    "user",
    "nouser",
    "users",
    "owner",
    "group",
    "nousers",
    "noowner",
    "nogroup",
    "nofail",
    "silent",
    "loud",
    "atime",
    "noatime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "diratime",
    "nodiratime",
    "lazytime",
    "nolazytime",
    "async",
    "default_permissions",
    "subtype",
    "comment",
];

/// Words that switch one of our switches off, and which.
const OPPOSITES: &[(&str, &str)] = &[("nosuid", "suid"), ("nodev", "dev"), ("exec", "noexec")];

impl MountOptions {
    /// Applies the list given to `-o`; a comma inside a value is written `\,`.
    pub fn apply_list(&mut self, list: &str) -> Result<(), Invalid> {
        for word in split_list(list) {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (word.as_str(), None),
            };
            if is_ignored(name) {
                continue;
            }
            if name == "remount" {
                return Err(Invalid(
                    "a mounted store cannot be remounted; unmount it, and mount it with the new options"
                        .into(),
                ));
            }
            match OPPOSITES.iter().find(|(word, _)| *word == name) {
                Some((_, switch)) => self.set(switch, Some("false"), "-o")?,
                None => self.set(name, value, "-o")?,
            }
        }
        Ok(())
    }

    /// Applies the text of a `config.toml`; `path` is for the message.
    pub fn apply_toml(&mut self, text: &str, path: &Path) -> Result<(), Invalid> {
        let origin = path.display().to_string();
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error
                .span()
                .map_or(1, |span| text.bytes().take(span.start).filter(|b| *b == b'\n').count() + 1);
            Invalid(format!("{origin} line {line}: {}", error.message().lines().next().unwrap_or_default()))
        })?;
        for (name, value) in &table {
            let value = match value {
                toml::Value::String(text) if is_folder(name) => {
                    // Relative to the store: the file must mean the same wherever the command is given.
                    path.parent().unwrap_or(path).join(text).to_string_lossy().into_owned()
                }
                toml::Value::String(text) => text.clone(),
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Boolean(switch) => switch.to_string(),
                _ => {
                    return Err(Invalid(format!(
                        "option '{name}' in {origin}: write a text, a number, true or false"
                    )));
                }
            };
            self.set(name, Some(&value), &origin)?;
        }
        Ok(())
    }

    /// Applies what can be read of the file at `path`, damaged or not: for who is to look at the damage.
    pub fn apply_salvaged(&mut self, path: &Path) -> Result<(), Invalid> {
        match super::salvage::look(path) {
            Some(salvaged) => self.apply_toml(&salvaged.text, path),
            None => self.apply_file(path),
        }
    }

    /// Applies the file at `path`; a file that is not there changes nothing.
    pub fn apply_file(&mut self, path: &Path) -> Result<(), Invalid> {
        match read_config(path)? {
            Some(text) => self.apply_toml(&text, path),
            None => Ok(()),
        }
    }
}

/// Parts a list given to `-o` into what is known of it, as a list, and the names that are not.
pub fn split_known(list: &str) -> (String, Vec<String>) {
    let name = |word: &str| word.split('=').next().unwrap_or_default().to_owned();
    let is_known = |word: &String| {
        let name = name(word);
        let is_option = TABLE.iter().any(|row| row.name == name.replace('-', "_"));
        is_option || is_ignored(&name) || OPPOSITES.iter().any(|(word, _)| *word == name) || name == "remount"
    };
    let (known, others): (Vec<String>, Vec<String>) = split_list(list).into_iter().partition(is_known);
    let known: Vec<String> = known.iter().map(|word| word.replace(',', "\\,")).collect();
    (known.join(","), others.iter().map(|word| name(word)).collect())
}

fn is_ignored(name: &str) -> bool {
    name.is_empty() || IGNORED.contains(&name) || name.starts_with("x-") || name.starts_with("X-")
}

/// The text of the file at `path`; `None` when there is none.
pub(super) fn read_config(path: &Path) -> Result<Option<String>, Invalid> {
    let unreadable = |error: std::io::Error| Invalid(format!("cannot read {}: {error}", path.display()));
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let mut text = String::new();
    file.take(CONFIG_BYTES_MAX).read_to_string(&mut text).map_err(unreadable)?;
    Ok(Some(text))
}

/// The `config.toml` of a new store: every option with its default, commented out.
pub fn template() -> String {
    let mut text =
        String::from("# Mount options of this store. A flag or -o on the command line goes before them.\n");
    for row in TABLE {
        let example = if row.is_switch() { "true".to_owned() } else { format!("\"{}\"", row.value) };
        text.push_str(&format!("\n# {}\n# Default: {}.\n#{} = {example}\n", row.help, row.default, row.name));
    }
    text
}

fn is_folder(name: &str) -> bool {
    TABLE.iter().any(|row| row.name == name && row.value == "DIR")
}

fn split_list(list: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut letters = list.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            ',' => words.push(String::new()),
            '\\' if letters.peek() == Some(&',') => {
                words.last_mut().into_iter().for_each(|word| word.push(','))
            }
            _ => words.last_mut().into_iter().for_each(|word| word.push(letter)),
        }
        if letter == '\\' && letters.peek() == Some(&',') {
            letters.next();
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_line_of_fstab_works_as_it_stands() {
        let mut options = MountOptions::default();
        options
            .apply_list("rw,_netdev,noauto,user,x-systemd.automount,relatime,nosuid,nodev,settle=5s,allow_other,comment=a")
            .unwrap();
        let wanted =
            MountOptions { settle: Duration::from_secs(5), allow_other: true, ..MountOptions::default() };
        assert_eq!(options, wanted);
        options.apply_list("suid,dev,noexec").unwrap();
        options.apply_list("nosuid,exec").unwrap();
        assert!(!options.suid && options.dev && !options.noexec);
        options.apply_list(r"fsname=a\,b\c,ro").unwrap();
        assert_eq!((options.fsname.as_deref(), options.ro), (Some(r"a,b\c"), true));
    }

    #[test]
    fn what_comes_later_wins_and_an_unknown_word_is_refused() {
        let mut options = MountOptions::default();
        options.apply_toml("settle = \"9s\"\nthreads = 3\nro = true", Path::new("config.toml")).unwrap();
        options.apply_list("settle=4s").unwrap();
        assert_eq!((options.settle, options.threads, options.ro), (Duration::from_secs(4), 3, true));
        options.apply_toml("hot = \"fast\"", Path::new("/s/config.toml")).unwrap();
        assert_eq!(options.hot_folder(Path::new("/s")), Path::new("/s/fast"));
        assert!(options.apply_list("sync").unwrap_err().0.contains("'sync'"));
        assert!(options.apply_list("remount,ro").unwrap_err().0.contains("unmount it"));
        let said = options.apply_toml("thread = 3", Path::new("/s/config.toml")).unwrap_err().0;
        assert!(
            said.contains("'thread'") && said.contains("'threads'") && said.contains("/s/config.toml"),
            "{said}"
        );
    }

    #[test]
    fn a_list_is_parted_into_what_is_known_and_what_is_not() {
        let (known, others) = split_known(r"rw,nfsvers=4,fsname=a\,b,x-y,nodev,,soft");
        assert_eq!(
            (known.as_str(), others),
            (r"rw,fsname=a\,b,x-y,nodev,", vec!["nfsvers".into(), "soft".to_owned()])
        );
        MountOptions::default().apply_list(&known).unwrap();
    }

    #[test]
    fn a_broken_config_is_one_line_with_its_place() {
        let said = MountOptions::default().apply_toml("ro = true\nsettle = ", Path::new("c")).unwrap_err().0;
        assert!(said.contains("line 2") && !said.contains('\n'), "{said}");
        assert!(MountOptions::default().apply_toml("settle = [1]", Path::new("c")).is_err());
    }

    #[test]
    fn the_template_changes_nothing_and_names_every_option() {
        let mut options = MountOptions::default();
        options.apply_toml(&template(), Path::new("c")).unwrap();
        assert_eq!(options, MountOptions::default());
        assert!(TABLE.iter().all(|row| template().contains(row.name)));
    }
}
