//! One damage: two copies of a store are damaged alike, a process of its own uses them, and what it saw is judged.
//!
//! What must hold, whatever was damaged: no panic, no hang, no wrong byte; what was not hit reads exactly, before and after
//! a collection, a new mount and a repair; what does not read was found by the check; after the repair the store opens,
//! takes a new checkpoint, and another check names only what is lost.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::child::{Job, Look, Outcome, Told, Used};
use crate::reading::Reads;
use crate::store::{Template, copy_store};

/// How long the process may take for all of its steps.
const TRIAL_MAX: Duration = Duration::from_secs(120);

/// What may be lost by a damage, and what it did.
#[derive(Debug, Default)]
pub(crate) struct Trial {
    /// What was done, for people.
    pub(crate) what: String,
    /// Items that may fail.
    pub(crate) hit: BTreeSet<String>,
    /// Items that may be wrong: nothing says what their bytes were.
    pub(crate) unprotected: BTreeSet<String>,
    /// Items that only the journal has, and it was hit: a torn tail cannot be told from one that was never written.
    pub(crate) untold: BTreeSet<String>,
    /// A blob was hit, needed by an item or not.
    pub(crate) blob_lost: bool,
    /// `config.toml` was hit: a mount that refuses it names it.
    pub(crate) config: bool,
    /// What was seen; `None` when the process did not come to its end.
    pub(crate) outcome: Option<Outcome>,
    /// What is not as it must be.
    pub(crate) broken: Vec<String>,
}

/// Runs the trial: `harm` damages a store and tells what it did, or that it changed nothing.
pub(crate) fn run(
    template: &Template,
    killed: bool,
    harm: &dyn Fn(&Path) -> Option<String>,
) -> Option<Trial> {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let source = if killed { template.killed() } else { template.clean() };
    let (used, repaired) = (dir.path().join("used"), dir.path().join("repaired"));
    copy_store(&source, &used);
    let what = harm(&used)?;
    copy_store(&used, &repaired);
    let truth = &template.truth;
    let mut trial = Trial { what, ..Trial::default() };
    trial.hit = truth.hit(&source, &used);
    trial.unprotected = truth.unprotected(&source, &used, killed);
    let is_journal = fs::read_dir(source.join("journal")).unwrap().any(|entry| {
        let name = entry.unwrap().file_name();
        fs::read(source.join("journal").join(&name)).ok() != fs::read(used.join("journal").join(&name)).ok()
    });
    if killed && is_journal {
        trial.untold = truth.late();
        trial.hit.extend(trial.untold.iter().cloned());
    }
    trial.blob_lost = truth.is_blob_lost(&source, &used);
    trial.config = fs::read(source.join("config.toml")).ok() != fs::read(used.join("config.toml")).ok();
    let job =
        Job { used, repaired, truth: template.truth_dir(), killed, outcome: dir.path().join("outcome") };
    match in_a_process(dir.path(), &job) {
        Ok(outcome) => {
            trial.judge(&outcome);
            trial.outcome = Some(outcome);
        }
        Err(why) => trial.broken.push(why),
    }
    if !trial.broken.is_empty() || std::env::var_os("CKPTFS_KEEP_ALL").is_some() {
        keep(&trial, dir, &job);
    }
    Some(trial)
}

/// The store of a failed trial stays, for a look, when `CKPTFS_KEEP` names a folder.
fn keep(trial: &Trial, dir: tempfile::TempDir, job: &Job) {
    if let Some(folder) = std::env::var_os("CKPTFS_KEEP") {
        let kept: PathBuf = Path::new(&folder).join(trial.what.replace(['/', ' '], "-"));
        fs::create_dir_all(&kept).unwrap();
        for name in ["said", "outcome", "job.json"] {
            drop(fs::copy(dir.path().join(name), kept.join(name)));
        }
        copy_store(&job.used, &kept.join("used"));
        copy_store(&job.repaired, &kept.join("repaired"));
    }
}

/// Runs the job in a process of its own: a hang, an abort or an endless allocation ends that one alone.
fn in_a_process(dir: &Path, job: &Job) -> Result<Outcome, String> {
    let path = dir.join("job.json");
    fs::write(&path, serde_json::to_vec(job).unwrap()).unwrap();
    let said = dir.join("said");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_process_of_a_trial", "--ignored", "--nocapture"])
        .env("CKPTFS_DAMAGE_JOB", &path)
        .stdout(File::create(dir.join("stdout")).unwrap())
        .stderr(File::create(&said).unwrap())
        .spawn()
        .unwrap();
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if began.elapsed() > TRIAL_MAX {
            child.kill().unwrap();
            break child.wait().unwrap();
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let outcome = fs::read(&job.outcome).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    outcome.filter(|_| status.success()).ok_or_else(|| {
        let said = fs::read_to_string(said).unwrap_or_default();
        let tail: Vec<&str> = said.lines().rev().take(30).collect();
        format!(
            "the process did not come to its end ({status}):\n{}",
            tail.into_iter().rev().collect::<Vec<_>>().join("\n")
        )
    })
}

impl Trial {
    fn must(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.broken.push(what());
        }
    }

    fn judge(&mut self, seen: &Outcome) {
        self.must(seen.panics.is_empty(), || format!("panics: {:?}", seen.panics));
        if let (true, Some(why)) = (self.config, &seen.used.refused) {
            self.must(why.contains("config.toml"), || format!("config.toml is not named: {why}"));
        }
        self.judge_used("used", &seen.used);
        self.judge_used("after repair", &seen.after_repair);
        let is_felt = seen.used.refused.is_some() || self.tells(&seen.used.read);
        self.must(!is_felt || seen.check.found(), || {
            "the check finds nothing, and something fails".to_owned()
        });
        self.must(seen.repair.failed.is_none(), || format!("the repair fails: {:?}", seen.repair.failed));
        let refused = &seen.after_repair.refused;
        self.must(refused.is_none(), || format!("it does not open after the repair: {refused:?}"));
        let (left, again) = (&seen.after_repair.read, &seen.check_again);
        self.must(!self.tells(left) || again.found(), || {
            format!("lost after the repair, and a check does not say so: {:?}", left.failed)
        });
        self.must(!again.found() || !left.failed.is_empty() || self.blob_lost, || {
            format!("nothing is lost after the repair, and a check says {again:?}")
        });
    }

    /// Whether something fails of which a check has to tell.
    fn tells(&self, reads: &Reads) -> bool {
        reads.failed.iter().any(|(id, _)| !self.unprotected.contains(id) && !self.untold.contains(id))
    }

    fn judge_used(&mut self, when: &str, used: &Used) {
        if used.refused.is_some() {
            return;
        }
        for (what, reads) in
            [("", &used.read), (" after gc", &used.read_after_gc), (" again", &used.read_again)]
        {
            self.judge_reads(&format!("{when}{what}"), reads);
        }
        let told = [("a new checkpoint", &used.write), ("close", &used.close), ("reopen", &used.reopen)];
        for (what, told) in told {
            self.must(*told == Some(Ok(())), || format!("{when}: {what}: {told:?}"));
        }
        // What is lost may have led to more: nothing is removed until a repair has given it up.
        let waits = |why: &str| why.contains("until the store is repaired") && !used.read.failed.is_empty();
        let gc = used.gc.as_ref().is_some_and(|gc| gc.as_ref().map_or_else(|why| waits(why), |()| true));
        self.must(gc, || format!("{when}: gc: {:?}", used.gc));
    }

    fn judge_reads(&mut self, when: &str, reads: &Reads) {
        let wrong: Vec<_> =
            reads.wrong.iter().filter(|(id, _)| !self.unprotected.contains(id)).cloned().collect();
        self.must(wrong.is_empty(), || format!("{when}: WRONG BYTES: {wrong:?}"));
        let more: Vec<_> = reads.failed.iter().filter(|(id, _)| !self.hit.contains(id)).cloned().collect();
        self.must(more.is_empty(), || format!("{when}: not hit, and lost: {more:?}"));
        self.must(reads.slow.is_empty(), || format!("{when}: slow: {:?}", reads.slow));
        self.must(reads.strangers.is_empty(), || {
            format!("{when}: names that were gone: {:?}", reads.strangers)
        });
    }
}

/// Words for the table.
pub(crate) fn words(trial: &Trial) -> [String; 6] {
    let Some(seen) = &trial.outcome else { return std::array::from_fn(|_| "-".to_owned()) };
    let found = |look: &Look| if look.found() { "found" } else { "-" }.to_owned();
    let lost = |reads: &Reads| match (reads.failed.is_empty(), reads.wrong.is_empty()) {
        (_, false) => "other bytes".to_owned(),
        (true, true) => "all".to_owned(),
        (false, true) => "an error where it was hit".to_owned(),
    };
    let ok = |told: &Option<Told>| match told {
        Some(Ok(())) => "yes",
        Some(Err(_)) => "no",
        None => "-",
    };
    let after = match lost(&seen.after_repair.read).as_str() {
        "all" => "all".to_owned(),
        "an error where it was hit" => "all but what was hit".to_owned(),
        other => other.to_owned(),
    };
    if seen.used.refused.is_some() {
        return [
            "refused".to_owned(),
            "-".to_owned(),
            "-".to_owned(),
            "-".to_owned(),
            found(&seen.check),
            after,
        ];
    }
    let write = match (ok(&seen.used.write), ok(&seen.used.gc)) {
        ("yes", "yes") => "yes",
        ("yes", _) => "yes; gc after repair",
        _ => "no",
    };
    [
        "opens".to_owned(),
        lost(&seen.used.read),
        write.to_owned(),
        found(&seen.used.lists),
        found(&seen.check),
        after,
    ]
}
