//! A version on the socket: each piece is one line, and what the line counts of raw bytes follows it.
//!
//! Entries travel in the form that trees have in packs, which is decoded to its last byte: names lead nowhere, and what a
//! damaged or foreign daemon sends is refused. Pieces are bounded on both ends.

use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::protocol::{self, Reply};
use crate::base::{Error, IoContext, Result};
use crate::content::tree::{Entry, Node};
use crate::engine::history::export::{Event, Sink};

/// Bytes that are gathered before they are sent.
const BUFFER_BYTES: usize = 256 << 10;
/// The longest piece, in bytes: an entry with all the attributes that the kernel lets a file have, or one chunk.
const PIECE_BYTES_MAX: usize = 64 << 20;

/// One piece of a version; `bytes` of raw data follow where it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Frame {
    /// [`Event::Total`].
    Total {
        /// Bytes of all files.
        total: u64,
    },
    /// [`Event::Enter`], with an entry.
    Enter {
        /// Its length.
        bytes: usize,
    },
    /// [`Event::Leave`].
    Leave {},
    /// [`Event::Leaf`], with an entry.
    Leaf {
        /// Its length.
        bytes: usize,
    },
    /// [`Event::Link`], with an entry.
    Link {
        /// Its length.
        bytes: usize,
    },
    /// [`Event::Data`], with data.
    Data {
        /// Its length.
        bytes: usize,
    },
    /// [`Event::Hole`].
    Hole {
        /// Its length.
        zeros: u64,
    },
    /// [`Event::End`].
    End {},
    /// [`Event::Broken`].
    Broken {},
}

impl Frame {
    fn len(self) -> usize {
        match self {
            Frame::Enter { bytes }
            | Frame::Leaf { bytes }
            | Frame::Link { bytes }
            | Frame::Data { bytes } => bytes,
            Frame::Total { .. } | Frame::Leave {} | Frame::Hole { .. } | Frame::End {} | Frame::Broken {} => {
                0
            }
        }
    }
}

/// A sink that sends what it takes.
pub(super) struct Frames<W: Write> {
    to: BufWriter<W>,
}

impl<W: Write> Frames<W> {
    pub(super) fn new(to: W) -> Self {
        Frames { to: BufWriter::with_capacity(BUFFER_BYTES, to) }
    }

    fn send(&mut self, frame: Frame, raw: &[u8]) -> io::Result<()> {
        protocol::write_line(&mut self.to, &Reply::Frame(frame))?;
        self.to.write_all(raw)
    }

    /// Sends the last line.
    pub(super) fn finish(mut self, last: &Reply) -> io::Result<()> {
        protocol::write_line(&mut self.to, last)?;
        self.to.flush()
    }
}

impl<W: Write> Sink for Frames<W> {
    fn take(&mut self, event: Event<'_>) -> Result<()> {
        let encoded = match event {
            Event::Enter(entry) | Event::Leaf(entry) | Event::Link(entry) => {
                Node::Leaf(vec![entry.clone()]).encode()
            }
            _ => Vec::new(),
        };
        let (bytes, mut raw) = (encoded.len(), encoded.as_slice());
        let frame = match event {
            Event::Total(total) => Frame::Total { total },
            Event::Enter(_) => Frame::Enter { bytes },
            Event::Leave => Frame::Leave {},
            Event::Leaf(_) => Frame::Leaf { bytes },
            Event::Link(_) => Frame::Link { bytes },
            Event::Data(data) => {
                raw = data;
                Frame::Data { bytes: data.len() }
            }
            Event::Hole(zeros) => Frame::Hole { zeros },
            Event::End => Frame::End {},
            Event::Broken => Frame::Broken {},
        };
        self.send(frame, raw).context("send a version to", Path::new("the client"))
    }
}

/// Takes the raw bytes of `frame` from `from` and hands the piece to `sink`; `socket` is for messages.
pub(super) fn receive(frame: Frame, from: &mut impl Read, sink: &mut dyn Sink, socket: &Path) -> Result<()> {
    let odd = || Error::damaged(socket, "answer: another version of ckptfs?");
    if frame.len() > PIECE_BYTES_MAX {
        return Err(odd());
    }
    let mut raw = vec![0; frame.len()];
    from.read_exact(&mut raw).context("read from", socket)?;
    let entry = || -> Result<Entry> {
        match Node::decode(&raw) {
            Some(Node::Leaf(entries)) => {
                <[Entry; 1]>::try_from(entries).map(|[entry]| entry).map_err(|_| odd())
            }
            _ => Err(odd()),
        }
    };
    match frame {
        Frame::Total { total } => sink.take(Event::Total(total)),
        Frame::Enter { .. } => sink.take(Event::Enter(&entry()?)),
        Frame::Leave {} => sink.take(Event::Leave),
        Frame::Leaf { .. } => sink.take(Event::Leaf(&entry()?)),
        Frame::Link { .. } => sink.take(Event::Link(&entry()?)),
        Frame::Data { .. } => sink.take(Event::Data(&raw)),
        Frame::Hole { zeros } => sink.take(Event::Hole(zeros)),
        Frame::End {} => sink.take(Event::End),
        Frame::Broken {} => sink.take(Event::Broken),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Time;
    use crate::content::tree::Body;

    #[derive(Default)]
    struct Heard(Vec<String>);
    impl Sink for Heard {
        fn take(&mut self, event: Event<'_>) -> Result<()> {
            self.0.push(format!("{event:?}"));
            Ok(())
        }
    }

    fn entry(name: &[u8]) -> Entry {
        let mtime = Time { secs: -1, nanos: 5 };
        let xattrs = vec![(b"user.a".to_vec(), vec![0, 255])];
        let body = Body::Symlink(b"../\xff".to_vec());
        Entry { name: name.to_vec(), ino: 3, mode: 0o120_777, uid: 1, gid: 2, nlink: 2, mtime, xattrs, body }
    }

    fn read(mut bytes: &[u8]) -> Result<Vec<String>> {
        let mut heard = Heard::default();
        let at = Path::new("socket");
        while let Some(reply) =
            protocol::read_line(&mut bytes, protocol::REPLY_BYTES_MAX).context("read from", at)?
        {
            let Reply::Frame(frame) = reply else { break };
            receive(frame, &mut bytes, &mut heard, at)?;
        }
        Ok(heard.0)
    }

    #[test]
    fn every_piece_arrives_as_it_was_sent() {
        let entry = entry(b"a\n\xff");
        let events = [
            Event::Total(9),
            Event::Enter(&entry),
            Event::Leaf(&entry),
            Event::Data(b"{\"done\":{}}\n"),
            Event::Hole(1 << 40),
            Event::End,
            Event::Link(&entry),
            Event::Broken,
            Event::Leave,
        ];
        let mut sent = Vec::new();
        let mut frames = Frames::new(&mut sent);
        events.iter().for_each(|event| frames.take(*event).unwrap());
        frames.finish(&Reply::Done {}).unwrap();
        assert_eq!(read(&sent).unwrap(), events.map(|event| format!("{event:?}")));
    }

    #[test]
    fn names_that_lead_elsewhere_and_impossible_lengths_are_refused() {
        for name in [&b".."[..], b".", b"a/b", b"/etc/passwd", b"a\0"] {
            let mut sent = Vec::new();
            let mut frames = Frames::new(&mut sent);
            frames.take(Event::Leaf(&entry(name))).unwrap();
            frames.finish(&Reply::Done {}).unwrap();
            assert!(read(&sent).is_err(), "{name:?}");
        }
        assert!(read(b"{\"frame\":{\"data\":{\"bytes\":9999999999}}}\n").is_err());
        assert!(read(b"{\"frame\":{\"data\":{\"bytes\":10}}}\nshort").is_err());
        assert!(read(b"{\"frame\":{\"leaf\":{\"bytes\":3}}}\nxyz").is_err());
    }
}
