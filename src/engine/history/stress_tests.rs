//! Many hands in two runs while moments are taken at random: a version holds what was there at its moment, byte for byte.
//!
//! Each thread has a directory of its own, which it also moves from run to run, and notes by a clock of ticks what it does
//! to which file. A file that nothing happened to between the ticks before and after a moment has to be in the version as
//! it was. All the while everything is sealed, evicted and collected.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::tests::{World, open};
use super::trigger::Wanted;
use crate::base::id::ChunkId;
use crate::base::monitor::Silent;
use crate::catalog::keys::{HotState, Ino, ROOT};
use crate::content::hash::chunk_id;
use crate::namespace::Caller;
use crate::namespace::rename::{Over, Place};
use crate::namespace::setattr::SetAttr;
use crate::version::record::Version;

const ME: Caller = Caller { uid: 0, gid: 0 };
const THREADS: u64 = 4;
const NAMES: [&str; 3] = ["a.npy", "b.npy", "c.npy"];
const TIME: Duration = Duration::from_secs(6);

/// Something that was done to one file, or (`file` is none) a move of the directory to another run.
struct Event {
    from: u64,
    to: u64,
    file: Option<usize>,
    /// What the file was then, or which run the directory was in.
    after: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Nothing,
    Bytes(ChunkId),
    Run(usize),
}

/// A moment: its tag, its run, and the ticks between which it was taken.
struct Taken {
    tag: String,
    run: usize,
    from: u64,
    to: u64,
}

/// What a file or directory was between two ticks; `None` when something was being done to it.
fn at(events: &[Event], file: Option<usize>, (from, to): (u64, u64)) -> Option<State> {
    let mut state = State::Nothing;
    for event in events.iter().filter(|event| event.file == file) {
        if event.to < from {
            state = event.after;
        } else if event.from <= to {
            return None;
        }
    }
    Some(state)
}

/// A valid array that says which writing it is, of a size that goes with it.
fn array(stamp: u64) -> Vec<u8> {
    let len = if stamp.is_multiple_of(3) { 90_000 } else { 700 };
    let mut header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({len},), }}").into_bytes();
    header.resize(117, b' ');
    header.push(b'\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header);
    let mut noise = stamp.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for _ in 0..len / 4 {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        bytes.extend(&noise.to_le_bytes()[..4]);
    }
    bytes
}

struct Hand<'a> {
    world: &'a World,
    clock: &'a AtomicU64,
    runs: [Ino; 2],
    number: u64,
    dir: Ino,
    run: usize,
    random: u64,
    files: [Option<Vec<u8>>; NAMES.len()],
    readers: Vec<u64>,
    events: Vec<Event>,
}

impl Hand<'_> {
    fn pick(&mut self, limit: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 20) % limit
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    fn ino(&self, name: &str) -> Ino {
        self.world.engine.names().lookup(self.dir, name.as_bytes()).unwrap().ino
    }

    fn place<'b>(&self, name: &'b str) -> Place<'b> {
        Place { parent: self.dir, name: name.as_bytes() }
    }

    /// One thing that programs do, to one file.
    fn act(&mut self) {
        if self.pick(12) == 0 {
            return self.move_dir();
        }
        let which = self.pick(NAMES.len() as u64) as usize;
        let engine = &self.world.engine;
        let (name, from) = (NAMES[which], self.tick());
        let old = self.files[which].clone();
        let new = array(self.number << 32 | from);
        let done = match (self.pick(8), old) {
            (_, None) | (0 | 1, _) => {
                self.world.save(self.dir, name, &new);
                Some(new)
            }
            (2 | 3, Some(_)) => {
                self.world.save(self.dir, "new.tmp", &new);
                engine.rename(self.place("new.tmp"), self.place(name), Over::Replace).unwrap();
                Some(new)
            }
            (4, Some(mut old)) => {
                let fh = engine.open(self.ino(name), libc::O_RDWR, ME).unwrap().fh;
                engine.write(fh, 200, &new[200..300], false).unwrap();
                engine.release(fh).unwrap();
                old.resize(old.len().max(300), 0);
                old[200..300].copy_from_slice(&new[200..300]);
                Some(old)
            }
            (5, Some(mut old)) => {
                let size = self.pick(old.len() as u64 + 1);
                engine.truncate(self.ino(name), size, ME).unwrap();
                old.truncate(size as usize);
                Some(old)
            }
            (6, Some(_)) => {
                engine.unlink(self.dir, name.as_bytes()).unwrap();
                None
            }
            (_, old) => {
                let now = crate::base::clock::Time::now();
                engine.setattr(self.ino(name), &SetAttr { mtime: Some(now), ..SetAttr::default() }).unwrap();
                old
            }
        };
        let after = done.as_ref().map_or(State::Nothing, |bytes| State::Bytes(chunk_id(bytes)));
        self.events.push(Event { from, to: self.tick(), file: Some(which), after });
        self.files[which] = done;
        self.read(which);
    }

    /// Readers stay for a while: a file that is open cannot change its hot file.
    fn read(&mut self, which: usize) {
        if self.readers.len() > 2 {
            let fh = self.readers.remove(0);
            self.world.engine.release(fh).unwrap();
        }
        let Some(bytes) = self.files[which].clone().filter(|_| self.random & 3 == 0) else { return };
        let fh = self.world.engine.open(self.ino(NAMES[which]), libc::O_RDONLY, ME).unwrap().fh;
        let mut seen = vec![0; bytes.len() + 1];
        let len = self.world.engine.read(fh, 0, &mut seen).unwrap();
        assert!(seen[..len] == bytes, "the live file {}", NAMES[which]);
        self.readers.push(fh);
    }

    fn move_dir(&mut self) {
        let (from, name) = (self.tick(), format!("t{}", self.number));
        let to = 1 - self.run;
        let place = |run: usize| Place { parent: self.runs[run], name: name.as_bytes() };
        self.world.engine.rename(place(self.run), place(to), Over::Replace).unwrap();
        self.run = to;
        self.events.push(Event { from, to: self.tick(), file: None, after: State::Run(to) });
    }
}

fn moments(world: &World, clock: &AtomicU64, runs: [Ino; 2], begun: Instant) -> Vec<Taken> {
    let mut taken = Vec::new();
    while begun.elapsed() < TIME {
        let (run, tag) = (taken.len() % 2, format!("m{}", taken.len()));
        let from = clock.fetch_add(1, Ordering::SeqCst);
        let wanted = Wanted { tag: Some(tag.clone()), always: true, ..Wanted::by("snapshot") };
        world.engine.begin_version(runs[run], wanted).unwrap().unwrap();
        taken.push(Taken { tag, run, from, to: clock.fetch_add(1, Ordering::SeqCst) });
        // Now and then several moments wait for their versions.
        std::thread::sleep(Duration::from_millis(if taken.len().is_multiple_of(5) { 60 } else { 5 }));
        while world.engine.names().snapshots().len() > 12 && begun.elapsed() < TIME {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    taken
}

/// Compares one version with what each thread had then; how many files were compared.
fn compare(world: &World, version: &Version, taken: &Taken, hands: &[Vec<Event>]) -> usize {
    let (mut compared, between) = (0, (taken.from, taken.to));
    for (number, events) in hands.iter().enumerate() {
        let Some(State::Run(run)) = at(events, None, between) else { continue };
        for (which, name) in NAMES.iter().enumerate() {
            let Some(then) = at(events, Some(which), between) else { continue };
            let then = if run == taken.run { then } else { State::Nothing };
            let seen = world.read(version, &[&format!("t{number}"), name]);
            let seen = seen.map_or(State::Nothing, |bytes| State::Bytes(chunk_id(&bytes)));
            assert!(seen == then, "moment {}, t{number}/{name}: {seen:?} where {then:?} was", taken.tag);
            compared += 1;
        }
    }
    compared
}

#[test]
fn every_version_holds_what_was_there_at_its_moment_whatever_many_hands_do() {
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path(), Duration::from_millis(20));
    world.engine.set_policy("max_to_keep", "0").unwrap();
    let runs = ["left", "right"].map(|name| world.mkdir(ROOT, name));
    runs.into_iter().for_each(|run| drop(world.engine.add_run(run).unwrap()));
    let (clock, begun) = (AtomicU64::new(1), Instant::now());
    let (taken, hands) = std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for number in 0..THREADS {
            let dir = world.mkdir(runs[0], &format!("t{number}"));
            let start = clock.fetch_add(1, Ordering::SeqCst);
            let events = vec![Event { from: start, to: start, file: None, after: State::Run(0) }];
            let mut hand = Hand {
                world: &world,
                clock: &clock,
                runs,
                number,
                dir,
                run: 0,
                random: 0x9e37_79b9 + number * 77_777,
                files: [const { None }; NAMES.len()],
                readers: Vec::new(),
                events,
            };
            threads.push(scope.spawn(move || {
                while begun.elapsed() < TIME {
                    hand.act();
                    // Every overwrite of a fresh file is a moment: there are to be several at once, not thousands.
                    while hand.world.engine.names().snapshots().len() > 12 && begun.elapsed() < TIME {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                }
                hand.readers.iter().for_each(|fh| hand.world.engine.release(*fh).unwrap());
                hand.events
            }));
        }
        scope.spawn(|| {
            while begun.elapsed() < TIME {
                world.engine.reclaim(&Silent).unwrap();
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        let taken = moments(&world, &clock, runs, begun);
        let hands: Vec<Vec<Event>> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        (taken, hands)
    });
    world.engine.finish_versions("quiet", Duration::from_secs(60)).unwrap();
    assert!(world.engine.names().snapshots().is_empty(), "every moment ends");
    let versions = runs.map(|run| world.engine.versions(world.engine.run_at(run).unwrap().0).unwrap());
    let mut compared = 0;
    for taken in &taken {
        let version = versions[taken.run].iter().find(|version| version.tags.contains(&taken.tag));
        compared += compare(&world, version.unwrap(), taken, &hands);
    }
    assert!(compared > taken.len(), "{compared} files of {} versions", taken.len());
    let done: usize = hands.iter().map(Vec::len).sum();
    eprintln!("{done} changes, {} moments, {compared} files compared", taken.len());
    no_hot_file_is_left_over(&world);
}

/// Every hot file is one that a record names.
fn no_hot_file_is_left_over(world: &World) {
    let engine = &world.engine;
    engine.sync_names().unwrap();
    let begun = Instant::now();
    loop {
        let present: HashSet<u64> = engine.hot.list().unwrap().into_iter().collect();
        let named = |state| engine.names().hot_files(state).unwrap().into_iter().map(|(id, _)| id);
        let named: HashSet<u64> = HotState::ALL.into_iter().flat_map(named).collect();
        if present == named {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{present:?} are there, {named:?} are on record");
        std::thread::sleep(Duration::from_millis(50));
    }
}
