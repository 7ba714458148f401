//! SQLite's files, which always take the daemon path.
//!
//! Its database is rewritten in place for ever and its `-shm` is shared memory: they are never at rest.

use std::fs::File;
use std::os::unix::fs::FileExt;

const HEADER: &[u8; 16] = b"SQLite format 3\0";
const SUFFIXES: [&[u8]; 7] = [b"-wal", b"-shm", b"-journal", b".db", b".sqlite", b".sqlite3", b".db3"];

/// Whether a file of this name is likely one of SQLite's.
pub fn is_name(name: &[u8]) -> bool {
    SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

/// Whether the file begins as a database does.
pub fn has_header(file: &File) -> bool {
    let mut head = [0; HEADER.len()];
    file.read_exact_at(&mut head, 0).is_ok() && &head == HEADER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_known_by_name_or_by_header() {
        assert!(is_name(b"runs.db-wal") && is_name(b"mlflow.db") && !is_name(b"model.pt"));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("anything");
        std::fs::write(&path, b"SQLite format 3\0 and pages").unwrap();
        assert!(has_header(&File::open(&path).unwrap()));
        std::fs::write(&path, b"PK").unwrap();
        assert!(!has_header(&File::open(&path).unwrap()));
    }
}
