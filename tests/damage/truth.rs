//! What the store must give: every file and every file of every version, its bytes, and the blobs and hot file that hold them.
//!
//! From these and from the store before and after a damage follows what may be lost of it: an item all copies of one of
//! whose blobs were changed, or whose hot file was.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use ckptfs::base::id::ChunkId;
use ckptfs::base::monitor::Silent;
use ckptfs::catalog::records::Content;
use ckptfs::content::tree::Body;
use ckptfs::engine::Engine;
use ckptfs::engine::workers::Workers;
use ckptfs::pack::PackStore;
use ckptfs::pack::writer::pack_name;
use ckptfs::seal::stored;
use ckptfs::version::trees::Trees;
use serde::{Deserialize, Serialize};

use crate::store::{self, ROOT};

/// One file, live or of a version.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Item {
    /// `dir/name`, or `run@number/name`.
    pub(crate) id: String,
    /// Run and number.
    pub(crate) version: Option<(String, u32)>,
    /// Only the killed store has it, and its catalog does not know it yet.
    pub(crate) late: bool,
    /// Blobs that it needs, in hexadecimal.
    pub(crate) blobs: Vec<String>,
    /// Its hot file, below the store.
    pub(crate) hot: Option<String>,
    /// Nothing but its hot file has its bytes, and nothing says what they were.
    pub(crate) only_hot: bool,
    /// Its hot file has a mark, which counts after an end in order; after a kill only as long as its ctime is the one in it,
    /// and any change made by a test is also one of that.
    pub(crate) is_marked: bool,
}

/// A copy of a blob.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(crate) id: String,
    /// Below the store.
    pub(crate) pack: String,
    pub(crate) offset: usize,
    pub(crate) len: usize,
    pub(crate) is_delta: bool,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Truth {
    pub(crate) items: Vec<Item>,
    pub(crate) stored: Vec<Stored>,
}

impl Truth {
    /// Notes which blobs and hot files hold the items.
    pub(crate) fn note_blobs(&mut self, store: &Path) {
        let mut trees = HashMap::new();
        let engine = Engine::start(store, store::options(1 << 30), store::ME, &Silent).unwrap();
        for (run, _) in engine.runs() {
            for version in engine.versions(run).unwrap() {
                trees.insert((version.path.clone(), version.number), version.tree);
            }
        }
        let mut contents = HashMap::new();
        for item in self.items.iter_mut().filter(|item| item.version.is_none() && !item.late) {
            let content = content_of(&engine, &item.id);
            item.hot = content.hot().map(hot_path);
            let marked = |hot| engine.names().hot_mark(hot).unwrap().is_some();
            item.is_marked = matches!(content, Content::Hot(hot) if marked(hot));
            item.only_hot = matches!(content, Content::Hot(_)) && !item.is_marked;
            contents.extend(content.sealed().map(|sealed| (item.id.clone(), sealed.id)));
        }
        engine.close_store(&Workers::none(&engine)).unwrap();
        drop(engine);
        let packs = PackStore::open(&store.join("packs"), &store.join("index"), 1 << 20, &Silent).unwrap();
        for (number, _) in packs.packs() {
            self.stored.extend(packs.entries(number).unwrap().into_iter().map(|entry| Stored {
                id: entry.id.to_string(),
                pack: format!("packs/{}", pack_name(number)),
                offset: entry.offset as usize,
                len: entry.len as usize,
                is_delta: entry.has_base,
            }));
        }
        for item in &mut self.items {
            let mut blobs = BTreeSet::new();
            if let Some(of) = &item.version {
                // Of a moment in waiting there is none yet: its bytes are in the live hot file.
                let Some(tree) = trees.get(of) else { continue };
                content_of_version(&packs, tree, item.id.split_once('/').unwrap().1, &mut blobs);
            } else if let Some(content) = contents.get(&item.id) {
                content_blobs(&packs, content, &mut blobs);
            }
            item.blobs = blobs.into_iter().collect();
        }
        self.note_pending();
    }

    /// A version that is not made yet is made from the live file.
    fn note_pending(&mut self) {
        let live: HashMap<_, _> = self
            .items
            .iter()
            .filter(|item| item.version.is_none())
            .map(|item| (item.id.clone(), item.clone()))
            .collect();
        for item in self.items.iter_mut().filter(|item| item.blobs.is_empty()) {
            let Some((run, _)) = &item.version else { continue };
            let name = item.id.split_once('/').unwrap().1;
            let of = &live[&format!("{run}/{name}")];
            (item.hot, item.only_hot, item.blobs) = (of.hot.clone(), of.only_hot, of.blobs.clone());
        }
    }

    /// Writes itself and the bytes of all items to `dir`.
    pub(crate) fn save(&self, dir: &Path, bytes: &BTreeMap<String, Vec<u8>>) {
        fs::create_dir_all(dir).unwrap();
        fs::write(dir.join("truth.json"), serde_json::to_vec(self).unwrap()).unwrap();
        for item in &self.items {
            fs::write(bytes_path(dir, &item.id), &bytes[&item.id]).unwrap();
        }
    }

    pub(crate) fn load(dir: &Path) -> Truth {
        serde_json::from_slice(&fs::read(dir.join("truth.json")).unwrap()).unwrap()
    }

    /// Blobs of which some copy is as it was.
    fn sound(&self, before: &Path, after: &Path) -> BTreeSet<&str> {
        let mut files: HashMap<&str, (Vec<u8>, Vec<u8>)> = HashMap::new();
        let read = |root: &Path, pack: &str| fs::read(root.join(pack)).unwrap_or_default();
        let mut sound = BTreeSet::new();
        for blob in &self.stored {
            let pack = blob.pack.as_str();
            let (old, new) = files.entry(pack).or_insert_with(|| (read(before, pack), read(after, pack)));
            let at = blob.offset..blob.offset + blob.len;
            if new.get(at.clone()) == old.get(at) {
                sound.insert(blob.id.as_str());
            }
        }
        sound
    }

    /// Whether all copies of some blob were changed.
    pub(crate) fn is_blob_lost(&self, before: &Path, after: &Path) -> bool {
        let sound = self.sound(before, after);
        self.stored.iter().any(|blob| !sound.contains(blob.id.as_str()))
    }

    /// What may be lost when the store `before` became `after`.
    pub(crate) fn hit(&self, before: &Path, after: &Path) -> BTreeSet<String> {
        let sound = self.sound(before, after);
        let is_hit = |item: &&Item| {
            let lost = item.blobs.iter().any(|blob| !sound.contains(blob.as_str()));
            lost || item.hot.as_ref().is_some_and(|hot| changed(before, after, hot))
        };
        self.items.iter().filter(is_hit).map(|item| item.id.clone()).collect()
    }

    /// Items that nothing can tell from damaged ones: the bytes of their only copy were changed, and have no checksum.
    pub(crate) fn unprotected(&self, before: &Path, after: &Path, killed: bool) -> BTreeSet<String> {
        let is = |item: &&Item| {
            let unknown = item.only_hot || (item.is_marked && killed);
            unknown && item.hot.as_ref().is_some_and(|hot| changed(before, after, hot))
        };
        self.items.iter().filter(is).map(|item| item.id.clone()).collect()
    }

    /// Items that only the killed store has.
    pub(crate) fn late(&self) -> BTreeSet<String> {
        self.items.iter().filter(|item| item.late).map(|item| item.id.clone()).collect()
    }
}

fn content_of(engine: &Engine, path: &str) -> Content {
    let (dir, name) = path.split_once('/').unwrap();
    let dir = engine.names().lookup(ROOT, dir.as_bytes()).unwrap().ino;
    *engine.names().lookup(dir, name.as_bytes()).unwrap().content().unwrap()
}

fn hot_path(hot: u64) -> String {
    format!("hot/{:02x}/{hot:016x}", hot & 0xff)
}

/// The hot file of a live file, below the store.
pub(crate) fn hot_file(engine: &Engine, path: &str) -> Option<String> {
    content_of(engine, path).hot().map(hot_path)
}

/// Where the bytes of an item are.
pub(crate) fn bytes_path(dir: &Path, id: &str) -> std::path::PathBuf {
    dir.join(id.replace('/', "+"))
}

fn changed(before: &Path, after: &Path, name: &str) -> bool {
    fs::read(before.join(name)).ok() != fs::read(after.join(name)).ok()
}

fn content_of_version(packs: &PackStore, tree: &ChunkId, name: &str, blobs: &mut BTreeSet<String>) {
    let trees = Trees::new(packs);
    note(packs, tree, blobs);
    let Body::Dir { tree, .. } = trees.top(tree).unwrap().body else { panic!("a directory") };
    note(packs, &tree, blobs);
    let Body::File { content, .. } = trees.lookup(&tree, name.as_bytes()).unwrap().unwrap().body else {
        panic!("a file")
    };
    content_blobs(packs, &content, blobs);
}

fn content_blobs(packs: &PackStore, content: &ChunkId, blobs: &mut BTreeSet<String>) {
    note(packs, content, blobs);
    stored::load(packs, content).unwrap().ids().for_each(|id| note(packs, &id, blobs));
}

/// A blob, and the base that it needs.
fn note(packs: &PackStore, id: &ChunkId, blobs: &mut BTreeSet<String>) {
    blobs.insert(id.to_string());
    blobs.extend(packs.head(id).unwrap().encoding.base.map(|base| base.to_string()));
}
