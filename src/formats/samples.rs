//! What the tests of this folder read: sources that count, siblings from a table, and the committed fixtures.

use std::cell::Cell;
use std::path::PathBuf;

use super::read::Fault;
use super::{Siblings, Source};
use crate::base::{Error, Result};

/// Why a check says that a file is invalid; empty when it is valid.
pub(super) fn said(checked: std::result::Result<(), Fault>) -> String {
    match checked {
        Ok(()) => String::new(),
        Err(Fault::Invalid(why)) => why,
        Err(Fault::Failed(error)) => panic!("{error}"),
    }
}

/// A file in memory that counts how it is read.
pub(super) struct Bytes {
    bytes: Vec<u8>,
    fails: bool,
    reads: Cell<u64>,
    read_bytes: Cell<u64>,
}

impl Bytes {
    pub(super) fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Bytes { bytes: bytes.into(), fails: false, reads: Cell::new(0), read_bytes: Cell::new(0) }
    }

    /// A file whose every read fails with `EIO`.
    pub(super) fn failing(bytes: impl Into<Vec<u8>>) -> Self {
        Bytes { fails: true, ..Bytes::new(bytes) }
    }

    pub(super) fn reads(&self) -> u64 {
        self.reads.get()
    }

    pub(super) fn read_bytes(&self) -> u64 {
        self.read_bytes.get()
    }
}

impl Source for Bytes {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.reads.set(self.reads.get() + 1);
        self.read_bytes.set(self.read_bytes.get() + buf.len() as u64);
        let from = usize::try_from(offset).unwrap();
        match self.bytes.get(from..from + buf.len()) {
            Some(part) if !self.fails => buf.copy_from_slice(part),
            _ => return Err(Error::Errno(libc::EIO)),
        }
        Ok(())
    }
}

/// A file of zeros of any length with some bytes at its front, for what is too large to make.
pub(super) struct Huge {
    pub(super) head: Vec<u8>,
    pub(super) len: u64,
    /// What every byte behind the head is.
    pub(super) fill: u8,
}

impl Source for Huge {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        assert!(offset + buf.len() as u64 <= self.len, "a read past the end");
        for (place, byte) in (offset..).zip(buf.iter_mut()) {
            *byte =
                usize::try_from(place).ok().and_then(|at| self.head.get(at).copied()).unwrap_or(self.fill);
        }
        Ok(())
    }
}

/// The files beside: name and length.
pub(super) struct Beside(pub(super) Vec<(&'static str, u64)>);

/// Nothing lies beside.
pub(super) fn alone() -> Beside {
    Beside(Vec::new())
}

impl Siblings for Beside {
    fn len_of(&self, name: &[u8]) -> Result<Option<u64>> {
        Ok(self.0.iter().find(|(there, _)| there.as_bytes() == name).map(|(_, len)| *len))
    }

    fn open(&self, name: &[u8]) -> Result<Option<Box<dyn Source + '_>>> {
        let there = self.0.iter().any(|(there, _)| there.as_bytes() == name);
        Ok(there
            .then(|| -> Box<dyn Source> { Box::new(Bytes::new(fixture(&String::from_utf8_lossy(name)))) }))
    }
}

/// One file beside: its name and its bytes.
pub(super) struct One(pub(super) &'static str, pub(super) Vec<u8>);

impl Siblings for One {
    fn len_of(&self, name: &[u8]) -> Result<Option<u64>> {
        Ok((name == self.0.as_bytes()).then_some(self.1.len() as u64))
    }

    fn open(&self, name: &[u8]) -> Result<Option<Box<dyn Source + '_>>> {
        Ok((name == self.0.as_bytes()).then(|| Box::new(Bytes::new(&self.1[..])) as Box<dyn Source>))
    }
}

/// The bytes of `tests/data/formats/<name>`, which `scripts/python/make_fixtures.py` made.
pub(super) fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/formats").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of all fixtures.
pub(super) fn fixtures() -> Vec<String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/formats");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
