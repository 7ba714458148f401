//! Which files of a folder from outside make up which checkpoint, and in which order the checkpoints were made.
//!
//! Names say it: a folder or files that bear one step or epoch are one checkpoint; where names have only numbers, each number
//! is one, if there are several. Everything is one checkpoint where no name tells. What belongs to none (logs, settings,
//! pointers) comes with the first checkpoint that is not older than it, checkpoint content without a number with the last.
//! Pure: names, times and whether bytes are a checkpoint in, groups out.

use std::collections::{BTreeMap, HashMap};

use super::chosen::Names;
use super::names::{facts_of, is_bare_step, is_temporary, looks_like_checkpoint};
use super::series;
use crate::base::clock::Time;

/// Something in the folder that is no folder with something in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The names that lead to it.
    pub path: Names,
    /// Its bytes; 0 for what has none.
    pub size: u64,
    /// Its last change.
    pub mtime: Time,
    /// Its bytes are of a known format of checkpoints.
    pub is_checkpoint: bool,
}

/// One checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The path of its first part; empty for the folder as a whole.
    pub name: Names,
    /// The last change of its newest file.
    pub time: Time,
    /// Its step, where its name tells one.
    pub step: Option<u64>,
    /// Its files, and those that come with it, as indexes.
    pub files: Vec<usize>,
}

/// What tells one checkpoint from another: the folder that it is in, its step, its epoch, another number.
type Key = (Names, Option<u64>, Option<u64>, Option<u64>);

/// The checkpoints that `found` makes up, in the order in which they were made. Every file is in one of them.
pub fn checkpoints(found: &[Found]) -> Vec<Checkpoint> {
    let numbers = numbers(found);
    let keys: Vec<Option<Key>> =
        found.iter().enumerate().map(|(at, file)| key(file, numbers.get(&at).copied())).collect();
    let mut groups: BTreeMap<Key, Vec<usize>> = BTreeMap::new();
    for (at, (file, key)) in found.iter().zip(&keys).enumerate() {
        if let (true, Some(key)) = (is_one(file), key) {
            groups.entry(key.clone()).or_default().push(at);
        }
    }
    let mut made: Vec<(Key, Checkpoint)> =
        groups.into_iter().map(|(key, files)| (key.clone(), of(found, &key, files))).collect();
    sort(found, &mut made);
    if made.is_empty() {
        let time = found.iter().map(|file| file.mtime).max().unwrap_or_default();
        return vec![Checkpoint { name: Names::new(), time, step: None, files: (0..found.len()).collect() }];
    }
    let last = made.len() - 1;
    for (at, (file, key)) in found.iter().zip(&keys).enumerate() {
        let same = made.iter().position(|(other, _)| key.as_ref() == Some(other));
        let to = match same {
            Some(_) if is_one(file) => continue,
            Some(same) => same,
            None if is_one(file) => last,
            None => made.iter().position(|(_, one)| one.time >= file.mtime).unwrap_or(last),
        };
        if let Some((_, checkpoint)) = made.get_mut(to) {
            checkpoint.files.push(at);
        }
    }
    made.into_iter().map(|(_, checkpoint)| checkpoint).collect()
}

/// Whether a file is a checkpoint, or a part of one: not one that was still being written.
fn is_one(file: &Found) -> bool {
    file.is_checkpoint && !file.path.iter().any(|name| is_temporary(name))
}

/// How many names lead to the outermost folder of `path` that is one checkpoint, or else to the file.
fn unit(path: &[Vec<u8>]) -> usize {
    let folders = path.split_last().map_or(&[][..], |(_, folders)| folders);
    let is_unit = |name: &Vec<u8>| looks_like_checkpoint(name) || is_bare_step(name);
    folders.iter().position(is_unit).map_or(path.len(), |at| at + 1)
}

fn key(file: &Found, number: Option<u64>) -> Option<Key> {
    let (above, name) = file.path.get(..unit(&file.path))?.split_last().map(|(name, above)| (above, name))?;
    let facts = facts_of(name);
    let bare = || std::str::from_utf8(name).ok()?.parse().ok();
    let step = facts.step.or_else(|| bare().filter(|_| is_bare_step(name)));
    match (step, facts.epoch, number) {
        (None, None, None) => None,
        (None, None, number) => Some((above.to_vec(), None, None, number)),
        (step, epoch, _) => Some((above.to_vec(), step, epoch, None)),
    }
}

/// The last number in the name of each checkpoint file whose name has no word for it, where others differ in that alone.
fn numbers(found: &[Found]) -> HashMap<usize, u64> {
    let mut alike: HashMap<Vec<u8>, Vec<(usize, u64)>> = HashMap::new();
    for (at, file) in
        found.iter().enumerate().filter(|(_, file)| is_one(file) && unit(&file.path) == file.path.len())
    {
        let Some((name, above)) = file.path.split_last() else { continue };
        let masked = series::key(name);
        let (Some(number), true) = (last_number(name), masked.contains(&b'#')) else { continue };
        let place = above.iter().chain([&masked]).cloned().collect::<Vec<_>>().join(&b'/');
        alike.entry(place).or_default().push((at, number));
    }
    alike.into_values().filter(|some| some.len() > 1).flatten().collect()
}

fn last_number(name: &[u8]) -> Option<u64> {
    let mut parts = name.split(|byte| !byte.is_ascii_digit()).filter(|digits| !digits.is_empty());
    std::str::from_utf8(parts.next_back()?).ok()?.parse().ok()
}

fn of(found: &[Found], key: &Key, files: Vec<usize>) -> Checkpoint {
    let of_files = || files.iter().filter_map(|at| found.get(*at));
    let time = of_files().map(|file| file.mtime).max().unwrap_or_default();
    let name =
        of_files().next().and_then(|file| file.path.get(..unit(&file.path))).unwrap_or_default().to_vec();
    Checkpoint { name, time, step: key.1, files }
}

/// By step, or epoch, or number, whichever all have; else by time, then by name.
fn sort(found: &[Found], made: &mut [(Key, Checkpoint)]) {
    let all = |has: fn(&Key) -> bool| made.iter().all(|(key, _)| has(key));
    let by = match () {
        () if all(|key| key.1.is_some()) => |key: &Key| (key.1, key.2),
        () if all(|key| key.2.is_some()) => |key: &Key| (key.2, None),
        () if all(|key| key.3.is_some()) => |key: &Key| (key.3, None),
        () => |_: &Key| (None, None),
    };
    let name = |one: &Checkpoint| -> Vec<u8> {
        one.files.first().and_then(|at| found.get(*at)).map(|file| file.path.join(&b'/')).unwrap_or_default()
    };
    made.sort_by(|(key, one), (other_key, other)| {
        let names = || series::by_number(&name(one), &name(other));
        by(key).cmp(&by(other_key)).then(one.time.cmp(&other.time)).then_with(names)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `path`, `*` before it for checkpoint content, with this mtime.
    fn found(files: &[(&str, i64)]) -> Vec<Found> {
        let one = |(path, secs): &(&str, i64)| Found {
            path: path.trim_start_matches('*').split('/').map(|name| name.as_bytes().to_vec()).collect(),
            size: 1,
            mtime: Time { secs: *secs, nanos: 0 },
            is_checkpoint: path.starts_with('*'),
        };
        files.iter().map(one).collect()
    }

    /// Each checkpoint as its files.
    fn grouped(files: &[(&str, i64)]) -> Vec<Vec<String>> {
        let found = found(files);
        let path = |at: &usize| String::from_utf8(found[*at].path.join(&b'/')).unwrap();
        checkpoints(&found).iter().map(|one| one.files.iter().map(path).collect()).collect()
    }

    #[test]
    fn folders_of_steps_come_in_their_order_and_the_rest_by_time() {
        let files = [
            ("*checkpoint-1000/model.safetensors", 5),
            ("checkpoint-1000/trainer_state.json", 6),
            ("*checkpoint-500/model.safetensors", 9),
            ("config.json", 1),
            ("train.log", 30),
            ("*last.pt", 1),
        ];
        assert_eq!(
            grouped(&files),
            [
                vec!["checkpoint-500/model.safetensors", "config.json"],
                vec![
                    "checkpoint-1000/model.safetensors",
                    "checkpoint-1000/trainer_state.json",
                    "train.log",
                    "*last.pt".trim_start_matches('*')
                ],
            ]
        );
        let found = found(&files);
        let made = checkpoints(&found);
        assert_eq!(
            (made[0].step, made[1].time.secs, made[1].name.join(&b'/')),
            (Some(500), 5, b"checkpoint-1000".to_vec())
        );
    }

    #[test]
    fn files_of_one_step_are_one_checkpoint_whatever_their_number_is_called() {
        assert_eq!(
            grouped(&[
                ("*ckpt-2.index", 1),
                ("*ckpt-10.data-00000-of-00001", 1),
                ("*ckpt-10.index", 1),
                ("*ckpt-2.data-00000-of-00001", 1),
                ("checkpoint", 1)
            ]),
            [
                vec!["ckpt-2.index", "ckpt-2.data-00000-of-00001", "checkpoint"],
                vec!["ckpt-10.data-00000-of-00001", "ckpt-10.index"]
            ]
        );
        assert_eq!(
            grouped(&[("*model_10.pt", 1), ("*model_9.pt", 2), ("*optim_9.pt", 3), ("*optim_10.pt", 1)]),
            [vec!["model_9.pt", "optim_9.pt"], vec!["model_10.pt", "optim_10.pt"]]
        );
        assert_eq!(
            grouped(&[("*epoch=2-val_loss=0.1.ckpt", 1), ("*epoch=10-val_loss=0.3.ckpt", 0)]),
            [["epoch=2-val_loss=0.1.ckpt"], ["epoch=10-val_loss=0.3.ckpt"]]
        );
        assert_eq!(grouped(&[("*500/d/0f", 2), ("*1000/d/0f", 1)]), [["500/d/0f"], ["1000/d/0f"]]);
        assert_eq!(
            grouped(&[("*a_step_5.pt", 9), ("*epoch_2.pt", 3)]),
            [["epoch_2.pt"], ["a_step_5.pt"]],
            "by time"
        );
    }

    #[test]
    fn without_numbers_everything_is_one_checkpoint_and_nothing_is_left_out() {
        assert_eq!(
            grouped(&[("config.json", 1), ("*model.safetensors", 2)]),
            [["config.json", "model.safetensors"]]
        );
        assert_eq!(
            grouped(&[("*model-00001-of-00002.safetensors", 1), ("*model-00002-of-00002.safetensors", 2)])
                .len(),
            1
        );
        assert_eq!(grouped(&[("notes_1.txt", 1), ("notes_2.txt", 1)]).len(), 1);
        assert_eq!(grouped(&[("*step_1.pt", 1), ("*step_2.pt.tmp", 5)]), [["step_1.pt", "step_2.pt.tmp"]]);
        assert_eq!(checkpoints(&[]).len(), 1);
    }
}
