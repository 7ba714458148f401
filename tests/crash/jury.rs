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
/// Processes that check at the same time.
const AT_ONCE: usize = 2;
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
        what: &str,
    ) {
        let (folder, image) = self.image(disk, loss);
        let _ = image;
        let boot = if loss == Loss::Killed { boot } else { boot + 1 };
        self.ask(folder, oracle, exact && loss == Loss::Killed, boot, format!("{what}, {loss:?}"), None);
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

    fn ask(
        &mut self,
        folder: PathBuf,
        oracle: &Oracle,
        exact: bool,
        boot: u8,
        what: String,
        fault: Option<&str>,
    ) {
        let question = Question { store: folder.join("store"), oracle: oracle.clone(), exact, boot };
        let path = folder.join("question");
        fs::write(&path, serde_json::to_vec(&question).unwrap()).unwrap();
        self.wait(AT_ONCE - 1);
        let said = fs::File::create(folder.join("said")).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "a_process_that_checks", "--ignored", "--nocapture", "--test-threads=1"]);
        command.env(QUESTION, &path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        if let Some(fault) = fault {
            command.env("CKPTFS_FAULT", fault);
        }
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
                let said: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).take(12).collect();
                self.found.push(format!("after {}: {status}\n    {}", trial.what, said.join("\n    ")));
            }
            fs::remove_dir_all(&trial.folder).unwrap();
        }
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
}

impl Choice {
    pub(crate) fn takes(self, event: Event) -> bool {
        match event {
            Event::Point(_, nth) => nth <= self.first || nth % self.every == 0,
            Event::Sync(nth) => nth % self.every == 0,
        }
    }
}

/// A camera that has three images of each chosen moment checked.
pub(crate) fn camera(
    jury: Arc<Mutex<Jury>>,
    oracle: Arc<Mutex<Oracle>>,
    choice: Choice,
    boot: Arc<Mutex<u8>>,
    seed: u64,
) -> Box<crate::watch::Camera> {
    let mut number = 0;
    Box::new(move |event, disk| {
        if !choice.takes(event) {
            return;
        }
        number += 1;
        let (oracle, boot) = (oracle.lock().unwrap().clone(), *boot.lock().unwrap());
        let mut jury = jury.lock().unwrap();
        for loss in [Loss::Killed, Loss::Cut, Loss::Torn(seed * 1_000_000 + number)] {
            jury.try_image(disk, loss, &oracle, true, boot, &format!("{event:?}"));
        }
    })
}
