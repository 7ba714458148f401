//! Which paths of a version are meant: all, or those that were named and what is below them.

use super::record::path_text;
use crate::base::name::is_name;
use crate::base::{Error, Result};

/// Names that lead from a run's directory to something in it.
pub type Names = Vec<Vec<u8>>;

/// The paths that are meant; none = everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen(Vec<Names>);

/// What a path is to those that are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It is meant, with all that is below it.
    All,
    /// It leads to one that is meant.
    Way,
    /// It is not meant.
    Not,
}

impl Chosen {
    /// These paths. [`Error::Refused`] for one with a name that no directory entry has.
    pub fn new(paths: Vec<Names>) -> Result<Chosen> {
        match paths.iter().find(|path| !path.iter().all(|name| is_name(name))) {
            Some(wrong) => Err(Error::Refused(format!(
                "'{}' is no path below a run; write it without '.' and '..'",
                path_text(&wrong.join(&b'/'))
            ))),
            // The run itself is among them: then everything is meant.
            None if paths.iter().any(Vec::is_empty) => Ok(Chosen::default()),
            None => Ok(Chosen(paths)),
        }
    }

    /// Whether everything is meant.
    pub fn is_all(&self) -> bool {
        self.0.is_empty()
    }

    /// The paths that were named.
    pub fn paths(&self) -> &[Names] {
        &self.0
    }

    /// What the path is that `name` in the directory at `dir` has.
    pub fn part(&self, dir: &[Vec<u8>], name: &[u8]) -> Part {
        if self.is_all() {
            return Part::All;
        }
        let path = || dir.iter().map(Vec::as_slice).chain([name]);
        let len = dir.len() + 1;
        let mut part = Part::Not;
        for named in &self.0 {
            let same = named.iter().zip(path()).all(|(one, other)| one == other);
            match same {
                true if named.len() <= len => return Part::All,
                true => part = Part::Way,
                false => {}
            }
        }
        part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &str) -> Names {
        path.split('/').filter(|name| !name.is_empty()).map(|name| name.as_bytes().to_vec()).collect()
    }

    #[test]
    fn a_path_means_itself_and_all_below_and_the_run_everything() {
        let chosen = Chosen::new(vec![names("a/b"), names("c")]).unwrap();
        let part = |path: &str| {
            let mut path = names(path);
            let name = path.pop().unwrap();
            chosen.part(&path, &name)
        };
        assert_eq!(
            [part("a"), part("a/b"), part("a/b/x/y"), part("c")],
            [Part::Way, Part::All, Part::All, Part::All]
        );
        assert_eq!([part("b"), part("a/c"), part("ab"), part("c2")], [Part::Not; 4]);
        assert!(Chosen::new(vec![names("a"), names("")]).unwrap().is_all());
        assert_eq!(Chosen::default().part(&[], b"x"), Part::All);
        for wrong in [b"..".to_vec(), b".".to_vec(), b"a/b".to_vec(), Vec::new()] {
            assert!(Chosen::new(vec![vec![wrong]]).is_err());
        }
    }
}
