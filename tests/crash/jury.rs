//! Makes images of moments and has each checked by a process of its own, two at a time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::check::Question;
use crate::disk::{Disk, Loss};
use crate::oracle::Oracle;
use crate::watch::Event;

/// Tells the process that checks where its question is.
pub(crate) const QUESTION: &str = "CKPTFS_CRASH_QUESTION";
/// A folder to which trials that have found something are copied.
const KEEP: &str = "CKPTFS_CRASH_KEEP";
/// Processes that check at the same time.
const AT_ONCE: usize = 2;
/// Torn images of one moment.
const TORN: u64 = 4;
/// One check takes no longer.
const CHECK_MAX: Duration = Duration::from_secs(60);

struct Trial {
    child: Child,
    begun: Instant,
    folder: PathBuf,
    what: String,
}

/// Checks images; what it has found is in [`Jury::end`].
pub(crate) struct Jury {
    work: PathBuf,
    trials: Vec<Trial>,
    count: usize,
    /// What was wrong.
    found: Vec<String>,
}

impl Jury {
    /// Works in the folder `work`.
    pub(crate) fn new(work: &Path) -> Jury {
        fs::create_dir_all(work).unwrap();
        Jury { work: work.to_owned(), trials: Vec::new(), count: 0, found: Vec::new() }
    }

    /// Has an image of `disk` checked, as it is after `loss`; `exact` if all that was answered must be there.
    pub(crate) fn try_image(
        &mut self,
        disk: &Disk,
        loss: Loss,
        oracle: &Oracle,
        exact: bool,
        boot: u8,
        what: String,
    ) {
        let (folder, _) = self.image(disk, loss);
        let boot = if loss == Loss::Killed { boot } else { boot + 1 };
        self.ask(folder, oracle, exact && loss == Loss::Killed, boot, what);
    }

    /// An image that is opened later.
    fn base(&mut self, disk: &Disk, loss: Loss, oracle: &Oracle, boot: u8, what: String) -> Base {
        let (folder, disk) = self.image(disk, loss);
        let (exact, boot) = (loss == Loss::Killed, boot + u8::from(loss != Loss::Killed));
        Base { what, store: folder.join("store"), disk, oracle: oracle.clone(), exact, boot }
    }

    /// A folder of its own with the image `store` in it, and the disk of the image.
    pub(crate) fn image(&mut self, disk: &Disk, loss: Loss) -> (PathBuf, Disk) {
        self.count += 1;
        let folder = self.work.join(format!("trial-{}", self.count));
        let store = folder.join("store");
        fs::create_dir_all(&store).unwrap();
        let image = disk.image(&store, loss);
        (folder, image)
    }

    fn ask(&mut self, folder: PathBuf, oracle: &Oracle, exact: bool, boot: u8, what: String) {
        let question = Question { store: folder.join("store"), oracle: oracle.clone(), exact, boot };
        let path = folder.join("question");
        fs::write(&path, serde_json::to_vec(&question).unwrap()).unwrap();
        self.wait(AT_ONCE - 1);
        let said = fs::File::create(folder.join("said")).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "a_process_that_checks", "--ignored", "--nocapture", "--test-threads=1"]);
        command.env(QUESTION, &path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        let child = command.spawn().unwrap();
        self.trials.push(Trial { child, begun: Instant::now(), folder, what });
    }

    /// Waits until at most `left` trials are under way.
    fn wait(&mut self, left: usize) {
        while self.trials.len() > left {
            let mut over = None;
            for (at, trial) in self.trials.iter_mut().enumerate() {
                if trial.begun.elapsed() > CHECK_MAX {
                    trial.child.kill().unwrap();
                }
                if let Some(status) = trial.child.try_wait().unwrap() {
                    over = Some((at, status));
                }
            }
            let Some((at, status)) = over else {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            };
            let trial = self.trials.remove(at);
            if !status.success() {
                let said = fs::read_to_string(trial.folder.join("said")).unwrap_or_default();
                let said: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).take(3).collect();
                self.found.push(format!("after {}: {status}\n    {}", trial.what, said.join("\n    ")));
                if let Some(keep) = std::env::var_os(KEEP) {
                    let to = Path::new(&keep).join(trial.folder.file_name().unwrap());
                    let copied = Command::new("cp").arg("-a").arg(&trial.folder).arg(&to).status().unwrap();
                    assert!(copied.success());
                }
            }
            fs::remove_dir_all(&trial.folder).unwrap();
        }
    }

    /// How many images there were.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Waits for all trials: how many images there were, and what was wrong.
    pub(crate) fn end(&mut self) -> (usize, Vec<String>) {
        self.wait(0);
        (self.count, std::mem::take(&mut self.found))
    }
}

/// Which events are worth images.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice {
    /// The first so many times that a point is reached ...
    pub(crate) first: usize,
    /// ... and every so many times after that, and every so many syncs.
    pub(crate) every: usize,
    /// Of points only those whose names begin like one of these.
    pub(crate) only: &'static [&'static str],
}

impl Choice {
    pub(crate) fn takes(self, event: Event) -> bool {
        match event {
            Event::Point(point, nth) => {
                (nth <= self.first || nth % self.every == 0)
                    && self.only.iter().any(|begin| point.name().starts_with(begin))
            }
            Event::Sync(nth) => nth % self.every == 0,
        }
    }
}

/// An image that is opened while it is watched, so that there are images of what happens meanwhile.
pub(crate) struct Base {
    pub(crate) what: String,
    pub(crate) store: PathBuf,
    pub(crate) disk: Disk,
    pub(crate) oracle: Oracle,
    pub(crate) exact: bool,
    pub(crate) boot: u8,
}

/// What a camera works with.
#[derive(Clone)]
pub(crate) struct Bench {
    pub(crate) jury: Arc<Mutex<Jury>>,
    pub(crate) oracle: Arc<Mutex<Oracle>>,
    pub(crate) bases: Arc<Mutex<Vec<Base>>>,
    pub(crate) choice: Choice,
    pub(crate) exact: bool,
    pub(crate) boot: u8,
    pub(crate) seed: u64,
    /// What the events of this camera follow.
    pub(crate) what: String,
}

impl Bench {
    /// A camera that has images of each chosen moment checked, and keeps those of which `keeps` holds as bases.
    pub(crate) fn camera(self, keeps: impl Fn(Event) -> bool + Send + 'static) -> Box<crate::watch::Camera> {
        let mut number = 0;
        Box::new(move |event, disk| {
            number += 1;
            let losses = [Loss::Killed, Loss::Cut, Loss::Torn(self.seed * 1_000_000 + number)];
            let oracle = self.oracle.lock().unwrap().clone();
            let mut jury = self.jury.lock().unwrap();
            if keeps(event) {
                for loss in losses {
                    let what = format!("{event:?}, {loss:?}, opening: ");
                    self.bases.lock().unwrap().push(jury.base(disk, loss, &oracle, self.boot, what));
                }
            }
            if self.choice.takes(event) {
                // What is left of unsynced bytes and names is chance: some throws of it.
                let more =
                    (1..TORN).map(|throw| Loss::Torn(self.seed * 1_000_000 + throw * 100_000 + number));
                for loss in losses.into_iter().chain(more) {
                    let what = format!("{}{event:?}, {loss:?}", self.what);
                    jury.try_image(disk, loss, &oracle, self.exact, self.boot, what);
                }
            }
        })
    }
}
