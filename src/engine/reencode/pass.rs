//! One pass: what is how, what is to be done, doing it.

use std::collections::{HashMap, HashSet};

use super::super::Engine;
use super::gather::Series;
use super::swap::Swap;
use super::{KEYFRAME_EVERY, Reencoded};
use crate::base::id::ChunkId;
use crate::base::{Error, Result};
use crate::content::hash::name_hash;
use crate::content::manifest::{Extent, Manifest};
use crate::pack::collect::is_damage;
use crate::seal::stored;
use crate::version::series::{self, Step, Stored};

/// What a pass knows of the store.
pub(super) struct Known {
    /// Bases by the chunks that are deltas, as [`ChunkId::short`].
    pub(super) deltas: HashMap<u64, u64>,
    /// Chunks that must be self-contained: of the newest contents and of keyframes.
    pub(super) whole: HashSet<u64>,
    /// Chunks that others rely on.
    pub(super) bases: HashSet<u64>,
}

/// One content to be worked on.
struct Task {
    content: ChunkId,
    step: Step,
    /// What it goes against, if anything.
    base: Option<ChunkId>,
}

/// How the contents of one series are.
struct Looked {
    stored: Vec<Stored>,
    /// How each is cut: contents of other series that are cut alike may be its base model.
    cut: Vec<u64>,
}

impl Engine {
    /// Encodes anew what is worth it, until nothing is. `go_on` is asked often; its error ends the work, what is done stays.
    pub fn reencode(&self, go_on: &dyn Fn() -> Result<()>) -> Result<Reencoded> {
        self.check_writable()?;
        let _one = self.reencode.one.lock();
        let before = self.reencode.done();
        // A content that is worked on may be a base in the next pass only: a few rounds settle everything.
        for _ in 0..ROUNDS_MAX {
            if !self.pass(go_on)? {
                break;
            }
        }
        let after = self.reencode.done();
        Ok(Reencoded {
            chunks: after.chunks - before.chunks,
            from_bytes: after.from_bytes - before.from_bytes,
            to_bytes: after.to_bytes - before.to_bytes,
        })
    }

    /// Whether anything was to be done.
    fn pass(&self, go_on: &dyn Fn() -> Result<()>) -> Result<bool> {
        let all = self.gather_series(go_on)?;
        let deltas: HashMap<u64, u64> = self.packs.deltas(&self.packs.packs())?.into_iter().collect();
        let mut known = Known { deltas, whole: HashSet::new(), bases: HashSet::new() };
        let kept = self.chunks_of(all.iter().flatten(), go_on)?;
        known.bases =
            known.deltas.iter().filter(|(chunk, _)| kept.contains(chunk)).map(|(_, base)| *base).collect();
        let mut looks = Vec::with_capacity(all.len());
        for series in &all {
            looks.push(self.look(series, &known, &kept, go_on)?);
        }
        let models = models(&all, &looks);
        let (mut tasks, mut whole) = (Vec::new(), Vec::new());
        for (series, Looked { stored, cut }) in all.iter().zip(&looks) {
            let model = |at: usize| {
                let (content, model) = (series.get(at)?, models.get(cut.get(at)?)?);
                let other = !series.contains(model) && !self.reencode.is_hopeless(*content, *model);
                other.then_some(*model)
            };
            let hopeless = |at: usize, on: usize| match (series.get(at), series.get(on)) {
                (Some(content), Some(base)) => self.reencode.is_hopeless(*content, *base),
                _ => false,
            };
            let steps = series::plan(
                stored,
                std::env::var("CKPTFS_K").ok().and_then(|k| k.parse().ok()).unwrap_or(KEYFRAME_EVERY),
                &hopeless,
                &|at| model(at).is_some(),
            );
            for (at, (content, step)) in series.iter().zip(&steps).enumerate() {
                let base = match step {
                    Step::Against(on) | Step::Anew(on) => series.get(*on).copied(),
                    Step::Foreign => model(at),
                    Step::Keep | Step::Whole => None,
                };
                if *step != Step::Keep {
                    tasks.push(Task { content: *content, step: *step, base });
                }
            }
            let stays = |(at, step): (usize, &Step)| {
                let is_whole =
                    *step == Step::Whole || (*step == Step::Keep && stored.get(at) == Some(&Stored::Whole));
                is_whole.then(|| series.get(at).copied()).flatten()
            };
            whole.extend(steps.iter().enumerate().filter_map(stays));
        }
        known.whole = self.chunks_of(whole.iter(), go_on)?;
        self.work(&tasks, &known, go_on)?;
        Ok(!tasks.is_empty())
    }

    /// Contents that are to be whole first: others rely on them.
    fn work(&self, tasks: &[Task], known: &Known, go_on: &dyn Fn() -> Result<()>) -> Result<()> {
        let mut done = HashSet::new();
        let first = tasks.iter().filter(|task| task.step == Step::Whole);
        let rest = tasks.iter().filter(|task| task.step != Step::Whole);
        for task in first.chain(rest) {
            if !done.insert(task.content) {
                continue;
            }
            let swap = Swap::new(self, known, go_on);
            let result = match (task.step, task.base) {
                (Step::Whole, _) => swap.whole(&task.content),
                (Step::Against(_), Some(base)) => swap.against(&task.content, &base, GAIN),
                (Step::Foreign, Some(base)) => swap.against(&task.content, &base, MODEL_GAIN),
                (Step::Anew(_), Some(base)) => swap.anew(&task.content, &base),
                _ => Ok(()),
            };
            match result {
                Err(error) if is_damage(&error) => self.report(&error, "encode a version anew"),
                other => other?,
            }
            if let Some(base) = task.base {
                self.reencode.remember(task.content, base);
            }
        }
        Ok(())
    }

    /// How the contents of a series are stored. What cannot be read counts as whole and is left alone by whoever tries.
    fn look(
        &self,
        series: &Series,
        known: &Known,
        kept: &HashSet<u64>,
        go_on: &dyn Fn() -> Result<()>,
    ) -> Result<Looked> {
        let mut looked =
            Looked { stored: Vec::with_capacity(series.len()), cut: Vec::with_capacity(series.len()) };
        for content in series {
            go_on()?;
            let mut stored = Stored::Whole;
            let manifest = self.manifest_of(content)?;
            looked.cut.push(manifest.as_ref().map_or(0, cut_of));
            for id in manifest.iter().flat_map(Manifest::ids) {
                match known.deltas.get(&id.short()) {
                    None => {}
                    Some(base) if kept.contains(base) => stored = Stored::Delta,
                    Some(_) => {
                        stored = Stored::Orphan;
                        break;
                    }
                }
            }
            looked.stored.push(stored);
        }
        Ok(looked)
    }

    fn chunks_of<'a>(
        &self,
        contents: impl Iterator<Item = &'a ChunkId>,
        go_on: &dyn Fn() -> Result<()>,
    ) -> Result<HashSet<u64>> {
        let (mut chunks, mut seen) = (HashSet::new(), HashSet::new());
        for content in contents.filter(|content| seen.insert(**content)) {
            go_on()?;
            chunks.extend(self.manifest_of(content)?.iter().flat_map(Manifest::ids).map(|id| id.short()));
        }
        Ok(chunks)
    }

    /// The list of chunks of a content; `None` when it is damaged.
    pub(super) fn manifest_of(&self, content: &ChunkId) -> Result<Option<Manifest>> {
        match stored::load(&self.packs, content) {
            Err(error) if is_damage(&error) => Ok(None),
            other => other.map(Some),
        }
    }
}

/// The self-contained contents that others may be fine-tuned from, by how they are cut: of each cut the first.
fn models(all: &[Series], looks: &[Looked]) -> HashMap<u64, ChunkId> {
    let mut models = HashMap::new();
    for (series, Looked { stored, cut }) in all.iter().zip(looks) {
        for ((content, stored), cut) in series.iter().zip(stored).zip(cut) {
            if *stored == Stored::Whole && *cut != 0 {
                models.entry(*cut).or_insert(*content);
            }
        }
    }
    models
}

/// The lengths of the longer chunks of a content as one number; 0 where there are too few to tell one from another.
fn cut_of(manifest: &Manifest) -> u64 {
    let long: Vec<u32> = manifest
        .extents()
        .iter()
        .filter_map(|extent| match extent {
            Extent::Data { len, .. } if *len >= LONG => Some(*len),
            _ => None,
        })
        .collect();
    if long.len() < LONG_MIN {
        return 0;
    }
    name_hash(&long.iter().flat_map(|len| len.to_le_bytes()).collect::<Vec<u8>>())
}

/// Chunks of fewer bytes are headers and small tensors, which differ among contents that are cut alike.
const LONG: u32 = 64 << 10;
/// Fewer long chunks than this do not tell a model.
const LONG_MIN: usize = 8;

/// A chunk is worth a delta that takes at most so much of what it takes now, in percent.
pub(super) const GAIN: usize = 98;
/// The same for a base model: with less to gain, a series is better off with keyframes of its own.
const MODEL_GAIN: usize = 60;

/// Rounds of one re-encoding.
const ROUNDS_MAX: usize = 8;

/// The error that ends a pass when the mount ends.
pub(super) fn stopped() -> Error {
    Error::Errno(libc::EINTR)
}
