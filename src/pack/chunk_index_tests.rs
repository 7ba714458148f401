//! Index files without packs: every pack that is named here is covered by a file.

use super::super::format::Kind;
use super::*;
use crate::base::monitor::Silent;
use crate::content::hash::chunk_id;

fn names(dir: &Path) -> BTreeSet<std::ffi::OsString> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}

#[test]
fn a_merge_that_was_cut_short_leaves_nothing_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (index, kept) = (dir.path().join("index"), dir.path().join("kept"));
    fs::create_dir_all(&index).unwrap();
    fs::create_dir_all(&kept).unwrap();
    // No pack is ever read here: every one is covered by a file.
    let open = |packs| ChunkIndex::open(dir.path(), &index, packs, &Silent).unwrap();
    let chunks = open(BTreeMap::new());
    let id = |pack: u32, n: u32| chunk_id(&(u64::from(pack) << 32 | u64::from(n)).to_le_bytes());
    for pack in 1..=4 {
        let entry = |n| PackEntry {
            id: id(pack, n),
            offset: n,
            len: 99,
            raw_len: 50,
            kind: Kind::Chunk,
            codec: 0,
            has_base: n % 2 == 1,
        };
        chunks.add(pack, 1000 + pack, &(0..RECENT_ENTRIES as u32).map(entry).collect::<Vec<_>>());
        chunks.keep_up().unwrap();
        for name in names(&index) {
            fs::copy(index.join(&name), kept.join(&name)).unwrap();
        }
    }
    let merged = names(&index);
    assert_eq!((merged.len(), names(&kept).len()), (1, 4));
    let packs: BTreeMap<u32, u32> = chunks.packs().into_iter().collect();
    for name in names(&kept) {
        fs::copy(kept.join(&name), index.join(&name)).unwrap();
    }
    let again = open(packs.clone());
    assert_eq!(names(&index), merged, "the merged files are gone");
    for pack in 1..=4 {
        for n in (0..RECENT_ENTRIES as u32).step_by(501) {
            let at = Location { pack, offset: n, len: 99, raw_len: 50, has_base: n % 2 == 1 };
            assert_eq!(again.find(&id(pack, n)).unwrap(), [at]);
        }
    }
    assert_eq!(again.first_free_pack(), 5);
    // A pack that is gone is in no answer, and its number is not given out again while a file names it.
    let fewer = open(packs.into_iter().filter(|(pack, _)| *pack != 4).collect());
    assert_eq!((fewer.find(&id(4, 7)).unwrap(), fewer.first_free_pack()), (vec![], 5));
}
