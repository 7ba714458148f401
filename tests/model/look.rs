//! Compares everything: names, attributes, extended attributes, bytes.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;

use ckptfs::namespace::readdir::After;

use crate::tree::Kind;
use crate::world::{ROOT, World};

impl World {
    /// The engine's whole tree agrees with the model's.
    pub(crate) fn look(&mut self) {
        self.look_at_dir(1);
        for n in 0..self.open.len() {
            self.look_through(n);
        }
        let faults = self.engine().report_status().unwrap().faults;
        assert!(faults.is_empty(), "{faults:?}");
    }

    fn look_at_dir(&mut self, dir: u64) {
        let engine = self.engine();
        let mut found = BTreeMap::new();
        let mut after = 0;
        loop {
            // Small pages, so that resuming is tried too.
            let page = engine.names().readdir(dir, After::Cookie(after), 3).unwrap();
            let Some(last) = page.last() else { break };
            after = last.cookie;
            found.extend(page.into_iter().map(|entry| (String::from_utf8(entry.name).unwrap(), entry.ino)));
        }
        let Kind::Dir(wanted) = self.tree.nodes[&dir].kind.clone() else { panic!("{dir} is no directory") };
        assert_eq!(found, wanted, "entries of {dir}");
        self.look_at_node(dir);
        for (name, ino) in wanted {
            assert_eq!(engine.names().lookup(dir, name.as_bytes()).unwrap().ino, ino);
            match self.tree.nodes[&ino].kind {
                Kind::Dir(_) => self.look_at_dir(ino),
                _ => self.look_at_node(ino),
            }
        }
    }

    fn look_at_node(&mut self, ino: u64) {
        let engine = self.engine();
        let attr = engine.getattr(ino).unwrap();
        let written = self.open.iter().any(|open| open.ino == ino && open.writable);
        let node = self.tree.node(ino);
        let inode = &attr.inode;
        let (kind, size) = match &node.kind {
            Kind::Dir(_) => (libc::S_IFDIR, attr.size),
            Kind::File(bytes) => (libc::S_IFREG, bytes.len() as u64),
            Kind::Link(target) => (libc::S_IFLNK, target.len() as u64),
        };
        assert_eq!(
            (inode.mode, inode.uid, inode.gid, inode.nlink, attr.size),
            (kind | node.mode, node.uid, node.gid, node.nlink, size),
            "attributes of {ino}"
        );
        if let Some(mtime) = node.mtime {
            assert_eq!(inode.mtime, mtime, "mtime of {ino}");
        }
        let times = (inode.mtime, inode.ctime);
        if let Some(seen) = node.seen {
            assert_eq!(times, seen, "mtime and ctime of {ino}, which nobody changed");
        }
        node.seen = (!written).then_some(times);
        let list = engine.names().listxattr(ino).unwrap();
        let names = list.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        let xattrs: BTreeMap<_, _> = names
            .map(|name| {
                let text = String::from_utf8(name.to_vec()).unwrap();
                (text, engine.names().getxattr(ino, name).unwrap())
            })
            .collect();
        assert_eq!(xattrs, node.xattrs, "extended attributes of {ino}");
        match &node.kind {
            Kind::Dir(_) => {}
            Kind::Link(target) => assert_eq!(&engine.names().readlink(ino).unwrap(), target),
            Kind::File(bytes) => {
                let opened = engine.open(ino, libc::O_RDONLY, ROOT).unwrap();
                let mut seen = vec![0; bytes.len() + 10];
                let len = engine.read(opened.fh, 0, &mut seen).unwrap();
                if len != bytes.len() {
                    eprintln!("{:?} {:?}", opened.how, engine.getattr(ino));
                }
                engine.release(opened.fh).unwrap();
                same(&seen[..len], bytes, ino);
            }
        }
    }

    /// An open file shows the same bytes, named or not.
    pub(crate) fn look_through(&mut self, n: usize) {
        let engine = self.engine();
        let open = &self.open[n];
        let ino = open.ino;
        let Kind::File(bytes) = &self.tree.nodes[&ino].kind else { panic!("{ino} is no file") };
        let mut seen = vec![0; bytes.len() + 10];
        let len = match (&open.direct, open.fh) {
            (Some(file), _) => file.read_at(&mut seen, 0).unwrap(),
            (None, Some(fh)) => engine.read(fh, 0, &mut seen).unwrap(),
            (None, None) => return,
        };
        same(&seen[..len], bytes, ino);
        if let Some(fh) = open.fh {
            assert_eq!(engine.ino_of(fh).unwrap(), ino);
            let attr = engine.getattr(ino).unwrap();
            assert_eq!((attr.size, attr.inode.nlink), (bytes.len() as u64, self.tree.nodes[&ino].nlink));
        }
    }
}

#[track_caller]
fn same(seen: &[u8], wanted: &[u8], ino: u64) {
    let differs = seen.iter().zip(wanted).position(|(a, b)| a != b);
    assert!(
        seen.len() == wanted.len() && differs.is_none(),
        "inode {ino}: {} bytes, wanted {}; first difference at {differs:?}",
        seen.len(),
        wanted.len()
    );
}
