//! The command line: one file a subcommand; each parses, asks the layers below, and prints.
//!
//! Exit codes: 0 done, 1 failed, 2 usage, 3 done but damage or differences were found. An error is one line,
//! `ckptfs: what happened; what to do`, on stderr. The help texts are the manual; docs/cli.md is made from them.

mod background;
mod bench;
mod check;
mod daemon;
mod diff;
mod export;
mod failure;
mod gc;
mod growth;
mod helper;
mod history;
mod import;
mod locate;
mod log;
mod mount;
mod options;
mod packaging;
mod policy;
mod preflight;
mod progress;
mod prometheus;
mod prune;
mod report;
mod restore;
mod rows;
mod runs;
mod service;
mod show;
mod stats;
mod status;
mod table;
mod unmount;
mod versions;

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Command;

use crate::base::Result;
use crate::base::monitor::Monitor;
use crate::base::text::{one_line, visible};
use crate::command::{Answer, Export, Exported};
use crate::control::Handler;
use crate::engine::history::export::Sink;
use crate::engine::reclaim::Reclaimed;
use crate::options::MountOptions;
use failure::{Failure, Outcome};

/// What a daemon calls once its mount is usable. When it fails, the daemon unmounts and returns that error.
pub type Ready<'a> = Box<dyn FnOnce(Arc<dyn Handler>) -> Result<()> + 'a>;

/// The filesystem, as the command line sees it.
pub trait Daemon {
    /// Locks and opens `store` (absolute; made if it is not there), mounts it at `mountpoint` (absolute), calls `ready`
    /// once it is usable, and returns when the mount is gone, everything is durable and the lock is free. `progress` hears
    /// of a recovery that takes long.
    fn serve(
        &self,
        options: &MountOptions,
        store: &Path,
        mountpoint: &Path,
        ready: Ready<'_>,
        progress: &dyn Monitor,
    ) -> Result<()>;

    /// Locks and opens `store`, which is there and not mounted, does what `command` asks, and closes the store in order.
    fn execute(
        &self,
        options: &MountOptions,
        store: &Path,
        command: crate::command::Command,
        progress: &dyn Monitor,
    ) -> Result<Answer>;

    /// Locks and opens `store`, which is there and not mounted, hands a version of it to `sink`, and closes it.
    fn export(
        &self,
        options: &MountOptions,
        store: &Path,
        export: &Export,
        sink: &mut dyn Sink,
        progress: &dyn Monitor,
    ) -> Result<Exported>;

    /// Locks and opens `store`, which is not mounted, gives back the space that nothing needs (or tells what that would
    /// be), and closes it.
    fn reclaim(
        &self,
        options: &MountOptions,
        store: &Path,
        dry_run: bool,
        progress: &dyn Monitor,
    ) -> Result<Reclaimed>;
}

/// Runs the program: `args` with its own name first.
pub fn run(args: impl IntoIterator<Item = OsString>, daemon: &dyn Daemon) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    if let Some(done) = helper::run(&args) {
        return done;
    }
    match dispatch(&args, daemon) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// The reference of all commands, as docs/cli.md holds it.
pub fn reference() -> String {
    let mut text = String::from(
        "# Command line\n\nMade from the help texts by `UPDATE=1 cargo test --test cli`; edit those, not this page.\n",
    );
    let mut waiting: Vec<(String, Command)> = Vec::new();
    let below = |name: &str, command: &Command| {
        let named = command.get_subcommands().map(|one| (format!("{name} {}", one.get_name()), one.clone()));
        let mut named: Vec<_> = named.collect();
        named.reverse();
        named
    };
    waiting.extend(below("ckptfs", &command()));
    while let Some((name, command)) = waiting.pop() {
        waiting.extend(below(&name, &command));
        let help = command.bin_name(&name).term_width(100).render_long_help().to_string();
        text.push_str(&format!("\n## {name}\n```text\n{}\n```\n", help.trim()));
    }
    let trimmed: Vec<&str> = text.lines().map(str::trim_end).collect();
    trimmed.join("\n") + "\n"
}

fn command() -> Command {
    Command::new("ckptfs")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A filesystem for machine-learning checkpoints")
        .long_about(
            "A filesystem for machine-learning checkpoints.\n\nMount a store as the checkpoint directory of an unmodified \
             training script: saves run at the speed of the disk below, and in the background their bytes become \
             deduplicated, compressed storage.\n\nExit codes: 0 done, 1 failed, 2 usage, 3 done but damage or differences \
             were found.",
        )
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .term_width(100)
        .subcommands([mount::command(), unmount::command(), status::command(), log::command()])
        .subcommands([show::command(), diff::command()])
        .subcommands(versions::commands())
        .subcommands(restore::commands())
        .subcommands([import::command(), export::command()])
        .subcommands([stats::command(), report::command(), bench::command()])
        .subcommands([check::command(), gc::command()])
        .subcommands([runs::command(), runs::purge_command(), policy::command(), prune::command()])
        .subcommands([packaging::completions_command(), packaging::man_command()])
}

fn dispatch(args: &[OsString], daemon: &dyn Daemon) -> Outcome {
    let matches = match command().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) if error.use_stderr() => return Err(Failure::from_clap(&error)),
        Err(help) => return print(&help.render().to_string()),
    };
    match matches.subcommand() {
        Some(("mount", matches)) => mount::run(matches, args, daemon),
        Some(("unmount", matches)) => unmount::run(matches),
        Some(("status", matches)) => status::run(matches),
        Some(("gc", matches)) => gc::run(matches, daemon),
        Some(("check", matches)) => check::run(matches, daemon),
        Some(("stats", matches)) => stats::run(matches, daemon),
        Some(("report", matches)) => report::run(matches, daemon),
        Some(("bench", matches)) => bench::run(matches),
        Some(("log", matches)) => log::run(matches, daemon),
        Some(("show", matches)) => show::run(matches, daemon),
        Some(("diff", matches)) => diff::run(matches, daemon),
        Some(("restore", matches)) => restore::run(matches, daemon),
        Some(("clone", matches)) => restore::clone(matches, daemon),
        Some(("import", matches)) => import::run(matches, daemon),
        Some(("export", matches)) => export::run(matches, daemon),
        Some(("run", matches)) => runs::run(matches, daemon),
        Some(("purge", matches)) => runs::purge(matches, daemon),
        Some(("policy", matches)) => policy::run(matches, daemon),
        Some(("prune", matches)) => prune::run(matches, daemon),
        Some(("completions", matches)) => packaging::completions(matches, command()),
        Some(("man", matches)) => packaging::man(matches, command()),
        Some((name, matches)) => versions::run(name, matches, daemon),
        _ => Err(Failure::Usage("no command given; see: ckptfs --help".into())),
    }
}

/// Prints `text` to stdout. What others chose of it cannot steer a terminal.
fn print(text: &str) -> Outcome {
    print_raw(&visible(text))
}

/// Prints `text` as it is. A reader that went away (`ckptfs status | head -1`) is no failure.
fn print_raw(text: &str) -> Outcome {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::Failed(format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// Tells the person at the terminal something that is not the result. stderr that is gone has no reader.
fn tell(text: &str) {
    let _unheard = writeln!(std::io::stderr(), "ckptfs: {}", one_line(text)).is_err();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_tree_is_sound() {
        command().debug_assert();
        assert!(reference().contains("## ckptfs mount"));
    }
}
