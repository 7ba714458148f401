//! Versions looked into and compared, through an engine that sealed them.

use std::time::Duration;

use super::super::tests::{World, npy, open};
use super::*;
use crate::base::monitor::Silent;
use crate::catalog::keys::{Ino, ROOT};

const LONG: Duration = Duration::from_secs(3600);

/// Safetensors of f32 tensors, in this order, behind a header that is `more` bytes longer than it need be.
fn safetensors(tensors: &[(&str, Vec<f32>)], more: usize) -> Vec<u8> {
    let (mut json, mut data) = (format!(r#"{{"__metadata__":{{"n":"{}"}}"#, "x".repeat(more)), Vec::new());
    for (name, numbers) in tensors {
        let from = data.len();
        data.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        let (len, to) = (numbers.len(), data.len());
        json += &format!(r#","{name}":{{"dtype":"F32","shape":[{len}],"data_offsets":[{from},{to}]}}"#);
    }
    json.push('}');
    [&(json.len() as u64).to_le_bytes()[..], json.as_bytes(), &data].concat()
}

fn ramp(from: f32, len: u16) -> Vec<f32> {
    (0..len).map(|n| from + f32::from(n)).collect()
}

struct Run {
    world: World,
    dir: Ino,
    _store: tempfile::TempDir,
}

impl Run {
    fn new() -> Run {
        let store = tempfile::tempdir().unwrap();
        let world = open(store.path(), LONG);
        world.engine.set_policy("max_to_keep", "0").unwrap();
        Run { dir: world.mkdir(ROOT, "run"), world, _store: store }
    }

    fn save(&self, name: &str, bytes: &[u8]) -> u32 {
        self.world.save(self.dir, name, bytes);
        self.world.versions(self.dir).last().unwrap().number
    }

    fn id(&self) -> RunId {
        self.world.engine.run_at(self.dir).unwrap().0
    }

    fn show(&self, number: u32, only: &[&str]) -> Result<Vec<FileInside>> {
        let only: Vec<String> = only.iter().map(|path| (*path).to_owned()).collect();
        self.world.engine.look_inside(self.id(), number, &only, true, &Silent).map(|(_, files)| files)
    }

    fn diff(&self, from: u32, to: u32, only: &[&str]) -> Compared {
        let only: Vec<String> = only.iter().map(|path| (*path).to_owned()).collect();
        let (from, to) = ((self.id(), from), (self.id(), to));
        self.world.engine.compare_versions(from, to, &only, true, &Silent).unwrap().2
    }
}

#[test]
fn a_version_shows_its_files_its_tensors_and_what_they_take() {
    let run = Run::new();
    run.world.save(run.dir, "config.json", b"{}");
    let number = run.save("m.safetensors", &safetensors(&[("a", ramp(0.5, 50_000)), ("b", ramp(1.5, 3))], 0));
    let files = run.show(number, &[]).unwrap();
    let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["config.json", "m.safetensors"]);
    let (text, model) = (&files[0], &files[1]);
    assert_eq!((text.format.as_deref(), text.bytes, text.tensors.len()), (None, 2, 0));
    assert_eq!((model.format.as_deref(), model.state.as_deref()), (Some("safetensors"), Some("valid")));
    let (a, b) = (&model.tensors[0], &model.tensors[1]);
    assert_eq!(
        (a.name.as_str(), a.dtype.as_str(), &a.shape[..], a.bytes),
        ("a", "f32", &[50_000][..], 200_000)
    );
    assert_eq!((b.bytes, b.encoded), (12, false));
    let shares = a.stored_bytes + b.stored_bytes;
    assert!(a.stored_bytes > 0 && shares <= model.stored_bytes && model.stored_bytes < 250_000, "{model:?}");
    assert_eq!(run.show(number, &["m.safetensors"]).unwrap(), files[1..]);
    assert!(matches!(run.show(number, &["nothing"]), Err(Error::Refused(_))));
    assert!(matches!(run.show(number + 1, &[]), Err(Error::Errno(libc::ENOENT))));
    assert!(!run.world.engine.is_held_version(run.id(), number), "let go again");
}

#[test]
fn a_diff_tells_the_tensors_that_changed_and_reads_none_that_hashes_tell() {
    let run = Run::new();
    let small = |last| vec![1.0, 2.0, last];
    let one = [("a", ramp(0.0, 50_000)), ("b", ramp(7.0, 50_000)), ("s", small(3.0)), ("t", small(4.0))];
    let mut other = one.clone();
    other[1].1[49_999] += 1.0;
    other[3].1[2] = f32::NAN;
    let first = run.save("m.safetensors", &safetensors(&one, 0));
    // Everything lies elsewhere in the file, too.
    let second = run.save("m.safetensors", &safetensors(&other, 8));
    let diff = run.diff(first, second, &[]);
    let [file] = &diff.files[..] else { panic!("{diff:?}") };
    assert_eq!((file.change, file.against.as_deref(), file.same_tensors), (Change::Changed, None, 2));
    let names: Vec<&str> = file.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(names, ["b", "t"]);
    let values = file.tensors[0].values.unwrap();
    assert_eq!((values.elements, values.differing, values.max_abs), (50_000, 1, 1.0));
    assert_eq!(file.tensors[1].values.unwrap().not_finite, 1);
    assert!(diff.read_bytes <= 48, "only the small ones: {}", diff.read_bytes);
    assert!(file.new_bytes >= 200_000 && file.new_bytes < 210_000, "{file:?}");
    assert_eq!(run.diff(first, first, &[]), Compared { same_files: 1, ..Compared::default() });
}

#[test]
fn a_file_of_the_next_step_is_compared_with_the_one_before_it() {
    let run = Run::new();
    run.save("step_9.safetensors", &safetensors(&[("a", ramp(9.0, 100)), ("gone", vec![1.0])], 0));
    let first =
        run.save("step_10.safetensors", &safetensors(&[("a", ramp(0.0, 100)), ("gone", vec![1.0])], 0));
    run.world.engine.unlink(run.dir, b"step_9.safetensors").unwrap();
    let second =
        run.save("step_11.safetensors", &safetensors(&[("a", ramp(0.0, 90)), ("new", vec![1.0])], 0));
    let diff = run.diff(first, second, &[]);
    let told: Vec<_> =
        diff.files.iter().map(|file| (file.path.as_str(), file.change, file.against.as_deref())).collect();
    assert_eq!(
        told,
        [
            ("step_11.safetensors", Change::Added, Some("step_10.safetensors")),
            ("step_9.safetensors", Change::Removed, None),
        ]
    );
    assert_eq!(diff.same_files, 1);
    let tensors: Vec<_> =
        diff.files[0].tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.change)).collect();
    assert_eq!(tensors, [("a", Change::Changed), ("new", Change::Added), ("gone", Change::Removed)]);
    let a = &diff.files[0].tensors[0];
    assert_eq!((a.shape_before.as_deref(), a.shape_after.as_deref()), (Some(&[100][..]), Some(&[90][..])));
    assert!(a.values.is_none(), "not of one shape");
    assert_eq!(run.diff(first, second, &["step_9.safetensors"]).files.len(), 1);
}

/// Numbers of random bits, which no codec shrinks.
fn noise(mut state: u64, len: usize) -> Vec<f32> {
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        f32::from_bits((state >> 32) as u32)
    })
    .take(len)
    .collect()
}

#[test]
fn bytes_that_cannot_be_read_are_told_of_their_file_and_hide_no_other() {
    let run = Run::new();
    let [one, other] = [1, 2].map(|seed| {
        run.save("b.npy", &npy(seed));
        run.save("m.safetensors", &safetensors(&[("a", noise(seed.into(), 50_000))], 0))
    });
    let Run { world, dir, _store: store } = run;
    drop(world);
    let wanted: Vec<u8> = noise(2, 16).iter().flat_map(|number| number.to_le_bytes()).collect();
    let damaged = std::fs::read_dir(store.path().join("packs")).unwrap().filter(|pack| {
        let path = pack.as_ref().unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let Some(at) = bytes.windows(64).position(|window| window == wanted) else { return false };
        bytes[at] ^= 1;
        std::fs::write(path, bytes).unwrap();
        true
    });
    assert_eq!(damaged.count(), 1);
    let run = Run { world: open(store.path(), LONG), dir, _store: store };
    let diff = run.diff(one, other, &[]);
    let told: Vec<_> = diff.files.iter().map(|file| (file.path.as_str(), file.damage.is_some())).collect();
    assert_eq!(told, [("b.npy", false), ("m.safetensors", true)], "{diff:?}");
    assert_eq!(diff.files[0].tensors.len(), 1);
    assert!(run.show(other, &[]).unwrap().iter().all(|file| file.damage.is_none()), "tables are sound");
}
