//! What a user or the background does to a store, each as operations of [`Stage`].

use ckptfs::base::monitor::Silent;
use ckptfs::namespace::rename::{Over, Place};
use ckptfs::namespace::xattr::Must;

use crate::oracle::{Kind, Node};
use crate::stage::{ME, Stage, names};

impl Stage {
    pub(crate) fn mkdir(&mut self, path: &str) {
        let (dir, name) = self.place(path);
        let made = names(|tree| drop(tree.insert(path.to_owned(), Node::new(Kind::Dir))));
        self.act(made, |engine| engine.names().mkdir(dir, name, 0o755, ME)).unwrap();
    }

    pub(crate) fn symlink(&mut self, path: &str, target: &str) {
        let (dir, name) = self.place(path);
        let node = Node::new(Kind::Link(target.to_owned()));
        let made = names(|tree| drop(tree.insert(path.to_owned(), node)));
        self.act(made, |engine| engine.names().symlink(dir, name, target.as_bytes(), ME)).unwrap();
    }

    pub(crate) fn link(&mut self, old: &str, new: &str) {
        let (from, name) = self.place(old);
        let ino = self.engine().names().lookup(from, name).unwrap().ino;
        let (dir, name) = self.place(new);
        let made = names(|tree| drop(tree.insert(new.to_owned(), tree[old].clone())));
        self.act(made, |engine| engine.names().link(ino, dir, name)).unwrap();
    }

    pub(crate) fn set_xattr(&mut self, path: &str, value: &str) {
        let (dir, name) = self.place(path);
        let ino = self.engine().names().lookup(dir, name).unwrap().ino;
        let set = names(|tree| {
            let xattrs = &mut tree.get_mut(path).unwrap().xattrs;
            xattrs.insert("user.note".to_owned(), value.to_owned());
        });
        let value = value.as_bytes();
        self.act(set, |engine| engine.names().setxattr(ino, b"user.note", value, Must::Any)).unwrap();
    }

    /// Makes a file, or empties it, writes `bytes`, and makes it durable if that is asked.
    pub(crate) fn save(&mut self, path: &str, bytes: &[u8], sync: bool) {
        let (dir, name) = self.place(path);
        let flags = libc::O_WRONLY | libc::O_TRUNC;
        let old = self.engine().names().entry(dir, name).unwrap();
        let fh = match old {
            Some(entry) => {
                let emptied = |oracle: &mut crate::oracle::Oracle| {
                    let id = oracle.file_at(path);
                    oracle.begin(|_| {});
                    oracle.write(id, b"");
                };
                self.act(emptied, |engine| engine.open(entry.ino, flags, ME)).unwrap().fh
            }
            None => {
                let made = |oracle: &mut crate::oracle::Oracle| {
                    let id = oracle.new_file();
                    oracle.begin(|tree| {
                        tree.insert(path.to_owned(), Node::new(Kind::File { id, floor: 0 }));
                    });
                };
                self.act(made, |engine| engine.create(dir, name, 0o644, flags, ME)).unwrap().1.fh
            }
        };
        self.put(path, fh, 0, bytes);
        self.close(path, fh, sync);
    }

    /// Writes `bytes` at `offset` of a file that is there.
    pub(crate) fn update(&mut self, path: &str, offset: usize, bytes: &[u8], sync: bool) {
        let (dir, name) = self.place(path);
        let ino = self.engine().names().lookup(dir, name).unwrap().ino;
        let fh = self.still(|engine| engine.open(ino, libc::O_RDWR, ME)).unwrap().fh;
        self.put(path, fh, offset, bytes);
        self.close(path, fh, sync);
    }

    fn put(&mut self, path: &str, fh: u64, offset: usize, bytes: &[u8]) {
        let written = |oracle: &mut crate::oracle::Oracle| {
            let (id, mut all) = (oracle.file_at(path), oracle.bytes_at(path));
            all.resize(all.len().max(offset + bytes.len()), 0);
            all[offset..offset + bytes.len()].copy_from_slice(bytes);
            oracle.write(id, &all);
        };
        self.act(written, |engine| engine.write(fh, offset as u64, bytes, false)).unwrap();
    }

    fn close(&mut self, path: &str, fh: u64, sync: bool) {
        if sync {
            self.still(|engine| engine.fsync(fh, false)).unwrap();
            let id = self.oracle().file_at(path);
            self.oracle().bytes_are_durable(id);
            self.oracle().names_are_durable();
        }
        self.still(|engine| engine.release(fh)).unwrap();
    }

    pub(crate) fn truncate(&mut self, path: &str, size: usize) {
        let (dir, name) = self.place(path);
        let ino = self.engine().names().lookup(dir, name).unwrap().ino;
        let cut = |oracle: &mut crate::oracle::Oracle| {
            let (id, mut all) = (oracle.file_at(path), oracle.bytes_at(path));
            all.resize(size, 0);
            oracle.begin(|_| {});
            oracle.write(id, &all);
        };
        self.act(cut, |engine| engine.truncate(ino, size as u64, ME)).unwrap();
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str) {
        let (old, new) = (self.place(from), self.place(to));
        let moved = |oracle: &mut crate::oracle::Oracle| {
            let mut node = oracle.tree()[from].clone();
            let replaces = oracle.tree().get(to).is_some_and(|there| there.file().is_some());
            if let (Kind::File { id, floor }, true) = (&mut node.kind, replaces) {
                *floor = oracle.files[*id].contents.len() - 1;
            }
            let (inside, prefix) = (format!("{from}/"), format!("{to}/"));
            oracle.begin(|tree| {
                tree.remove(from);
                tree.insert(to.to_owned(), node);
                let below: Vec<String> =
                    tree.keys().filter(|path| path.starts_with(&inside)).cloned().collect();
                for path in below {
                    let node = tree.remove(&path).unwrap();
                    tree.insert(path.replacen(&inside, &prefix, 1), node);
                }
            });
        };
        let place = |(parent, name)| Place { parent, name };
        self.act(moved, |engine| engine.rename(place(old), place(new), Over::Replace)).unwrap();
    }

    /// Brings a file of a version back, in place of what has its name: no byte is copied, and all of them are durable.
    pub(crate) fn bring_back(&mut self, run: &str, number: u32, name: &str) {
        let (dir, path) = (self.dir(run), format!("{run}/{name}"));
        let placed = |oracle: &mut crate::oracle::Oracle| {
            let kept = oracle.versions.iter().find(|kept| kept.run == run && kept.number == Some(number));
            let content = kept.unwrap().files[name];
            let id = oracle.new_file();
            oracle.files[id].contents = vec![content];
            oracle.bytes_are_durable(id);
            oracle.begin(|tree| drop(tree.insert(path, Node::new(Kind::File { id, floor: 0 }))));
        };
        self.act(placed, |engine| engine.step_bringing_back(dir, number, name.as_bytes())).unwrap();
    }

    /// Writes a temporary file and renames it over `path`.
    pub(crate) fn replace(&mut self, path: &str, bytes: &[u8], sync: bool) {
        let temporary = format!("{path}.tmp");
        self.save(&temporary, bytes, sync);
        self.rename(&temporary, path);
    }

    pub(crate) fn unlink(&mut self, path: &str) {
        let (dir, name) = self.place(path);
        let gone = names(|tree| drop(tree.remove(path)));
        self.act(gone, |engine| engine.unlink(dir, name)).unwrap();
    }

    pub(crate) fn rmdir(&mut self, path: &str) {
        let (dir, name) = self.place(path);
        let gone = names(|tree| drop(tree.remove(path)));
        self.act(gone, |engine| engine.rmdir(dir, name)).unwrap();
    }

    /// fsync of a directory.
    pub(crate) fn sync_names(&mut self) {
        self.still(|engine| engine.sync_names()).unwrap();
        self.oracle().names_are_durable();
    }

    pub(crate) fn seal(&mut self) {
        // The kernel grants the lease of a file that was closed a moment ago.
        self.still(|engine| engine.step_sealing());
        self.still(|engine| engine.step_deleting()).unwrap();
    }

    /// Begins versions of all that is new.
    pub(crate) fn settle(&mut self) {
        self.still(|engine| engine.step_settling("quiet")).unwrap();
    }

    /// Begins a version by hand.
    pub(crate) fn snapshot(&mut self, run: &str) {
        let dir = self.dir(run);
        self.still(|engine| engine.step_snapshot(dir, None)).unwrap();
    }

    /// Makes the versions that were begun.
    pub(crate) fn build(&mut self) {
        let made = self.still(|engine| engine.step_building()).unwrap();
        let begun = self.oracle().versions.iter().filter(|kept| kept.number.is_none()).count();
        assert_eq!(made, begun, "versions made, versions begun");
        let mut oracle = self.oracle();
        for kept in oracle.versions.iter_mut() {
            kept.number = kept.number.or(Some(0));
        }
        oracle.names_are_durable();
        oracle.number_versions();
        drop(oracle);
        self.forget_expired();
        self.still(|engine| engine.step_deleting()).unwrap();
    }

    /// What the policy has let go is not asked for any more.
    fn forget_expired(&mut self) {
        let engine = self.engine().clone();
        for kept in self.oracle().versions.iter_mut() {
            let dir = kept.run.split('/').filter(|part| !part.is_empty()).try_fold(1, |dir, part| {
                engine.names().entry(dir, part.as_bytes()).unwrap().map(|entry| entry.ino)
            });
            let run = dir.and_then(|dir| engine.run_at(dir));
            let there =
                run.is_some_and(|(id, _)| engine.version(id, kept.number.unwrap()).unwrap().is_some());
            kept.may_go |= !there;
        }
    }

    pub(crate) fn expire(&mut self, run: &str, number: u32) {
        let (id, _) = self.engine().run_at(self.dir(run)).unwrap();
        for kept in
            self.oracle().versions.iter_mut().filter(|kept| kept.run == run && kept.number == Some(number))
        {
            kept.may_go = true;
        }
        self.still(|engine| engine.expire_version(id, number, false, "test")).unwrap();
    }

    pub(crate) fn encode(&mut self) -> u64 {
        self.still(|engine| engine.step_encoding()).unwrap().chunks
    }

    pub(crate) fn reclaim(&mut self) -> ckptfs::engine::reclaim::Reclaimed {
        let done = self.still(|engine| engine.reclaim(&Silent)).unwrap();
        self.oracle().names_are_durable();
        done
    }
}
