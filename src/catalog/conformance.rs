//! One suite for every [`Store`]: what the layers above rely on.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{MemoryStore, Pair, SledStore, Store};
use crate::base::Error;

/// Runs `check` on an empty store of each kind.
fn on_each(check: impl Fn(&dyn Store)) {
    check(&MemoryStore::default());
    let dir = tempfile::tempdir().unwrap();
    check(&SledStore::open(dir.path()).unwrap());
}

fn keys(pairs: &[Pair]) -> Vec<&[u8]> {
    pairs.iter().map(|(key, _)| key.as_slice()).collect()
}

#[test]
fn a_new_store_is_empty_and_knows_no_position() {
    on_each(|store| {
        assert_eq!(store.get(b"").unwrap(), None);
        assert_eq!(store.scan(b"", None, 10).unwrap(), vec![]);
        assert_eq!(store.position().unwrap(), None);
    });
}

#[test]
fn a_batch_is_applied_in_order_with_its_position() {
    on_each(|store| {
        store
            .apply(&[(b"a", Some(b"1")), (b"b", Some(b"2")), (b"a", Some(b"3")), (b"b", None)], None)
            .unwrap();
        assert_eq!(store.position().unwrap(), None);
        store.apply(&[(b"", Some(b"")), (b"gone", None)], Some(9)).unwrap();
        store.apply(&[], None).unwrap();
        assert_eq!(store.get(b"a").unwrap().as_deref(), Some(&b"3"[..]));
        assert_eq!(store.get(b"b").unwrap(), None);
        assert_eq!(store.get(b"").unwrap().as_deref(), Some(&b""[..]));
        assert_eq!(store.position().unwrap(), Some(9));
        store.flush().unwrap();
    });
}

#[test]
fn a_scan_keeps_to_its_prefix_its_start_and_its_limit() {
    on_each(|store| {
        let all: [&[u8]; 6] = [b"a", b"b", b"b\0", b"b\xff", b"b\xff\xff", b"c"];
        for key in all {
            store.apply(&[(key, Some(key))], None).unwrap();
        }
        assert_eq!(keys(&store.scan(b"", None, 99).unwrap()), all);
        assert_eq!(keys(&store.scan(b"b", None, 99).unwrap()), all[1..5]);
        assert_eq!(keys(&store.scan(b"b", Some(b"b"), 2).unwrap()), all[2..4]);
        assert_eq!(keys(&store.scan(b"b", Some(b"a"), 1).unwrap()), all[1..2]);
        assert_eq!(keys(&store.scan(b"b", Some(b"c"), 9).unwrap()), all[..0]);
        assert_eq!(keys(&store.scan(b"b\xff", None, 9).unwrap()), all[3..5]);
        assert_eq!(keys(&store.scan(b"", None, 0).unwrap()), all[..0]);
    });
}

#[test]
fn sled_keeps_what_was_applied_when_it_is_closed_and_opened() {
    let dir = tempfile::tempdir().unwrap();
    let store = SledStore::open(dir.path()).unwrap();
    store.apply(&[(b"k", Some(b"v"))], Some(4)).unwrap();
    store.flush().unwrap();
    drop(store);
    let store = SledStore::open(dir.path()).unwrap();
    assert_eq!(store.get(b"k").unwrap().as_deref(), Some(&b"v"[..]));
    assert_eq!(store.position().unwrap(), Some(4));
    assert!(store.disk_bytes().unwrap() > 0);
}

/// What a store that was made by the test below must not do: lose or change what its position claims.
fn is_honest(store: &SledStore, value: &dyn Fn(u64) -> Vec<u8>) -> Result<(), Error> {
    let claimed = store.position()?.unwrap_or(0);
    let pairs = store.scan(b"", None, usize::MAX)?;
    let expected: Vec<Pair> =
        (1..=claimed).map(|number| (number.to_be_bytes().to_vec(), value(number))).collect();
    assert_eq!(pairs, expected, "position {claimed}");
    Ok(())
}

#[test]
fn a_damaged_byte_in_sled_is_an_error_or_costs_only_what_the_position_admits() {
    let made = tempfile::tempdir().unwrap();
    let store = SledStore::open(made.path()).unwrap();
    let value = |number: u64| format!("value {number}").repeat(4).into_bytes();
    for number in 1..=200u64 {
        store.apply(&[(&number.to_be_bytes(), Some(&value(number)))], Some(number)).unwrap();
    }
    store.flush().unwrap();
    is_honest(&store, &value).unwrap();
    drop(store);
    let good = std::fs::read(made.path().join("db")).unwrap();
    let used = good.iter().rposition(|byte| *byte != 0).unwrap();
    for at in (0..used).step_by(used / 40) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::copy(made.path().join("conf"), dir.path().join("conf")).unwrap();
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(dir.path().join("db"), &bad).unwrap();
        match SledStore::open(dir.path()).and_then(|store| is_honest(&store, &value)) {
            Ok(()) | Err(Error::Damaged { .. }) => {}
            Err(error) => panic!("byte {at}: {error}"),
        }
    }
}

#[test]
fn a_value_that_sled_returns_wrong_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let db = sled::open(dir.path()).unwrap();
    db.insert([1, b'k'], &b"\0\0\0\0not what was written"[..]).unwrap();
    db.insert([1, b's'], &b"\0"[..]).unwrap();
    db.insert([0], &b"\0\0\0\0"[..]).unwrap();
    drop(db);
    let store = SledStore::open(dir.path()).unwrap();
    for result in
        [store.get(b"k").err(), store.get(b"s").err(), store.position().err(), store.scan(b"", None, 9).err()]
    {
        assert!(matches!(result, Some(Error::Damaged { .. })));
    }
}

fn change() -> impl Strategy<Value = (Vec<u8>, Option<Vec<u8>>)> {
    let key = proptest::collection::vec(0u8..3, 0..4);
    (key, proptest::option::of(proptest::collection::vec(any::<u8>(), 0..9)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_store_behaves_as_a_map(batches in proptest::collection::vec(
        proptest::collection::vec(change(), 0..8), 1..12), prefix in proptest::collection::vec(0u8..3, 0..3),
        after in proptest::option::of(proptest::collection::vec(0u8..3, 0..4)), limit in 0usize..20)
    {
        on_each(|store| {
            let mut model = BTreeMap::new();
            for (index, batch) in batches.iter().enumerate() {
                let changes: Vec<_> = batch.iter().map(|(key, value)| (key.as_slice(), value.as_deref())).collect();
                store.apply(&changes, Some(index as u64)).unwrap();
                for (key, value) in batch {
                    match value {
                        Some(value) => model.insert(key.clone(), value.clone()),
                        None => model.remove(key),
                    };
                }
            }
            let expected: Vec<Pair> = model
                .into_iter()
                .filter(|(key, _)| key.starts_with(&prefix) && after.as_ref().is_none_or(|after| key > after))
                .take(limit)
                .collect();
            assert_eq!(store.scan(&prefix, after.as_deref(), limit).unwrap(), expected);
            assert_eq!(store.position().unwrap(), Some(batches.len() as u64 - 1));
        });
    }
}
