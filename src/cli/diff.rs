//! `ckptfs diff`: what differs between two versions, down to tensors.

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::failure::{Failure, Outcome};
use super::history::{self, PATH_HELP, VERSION_HELP};
use super::progress::Progress;
use super::rows::{short, size, table};
use super::show::shape;
use super::{Daemon, print};
use crate::command::{self, Answer, Diff, Pick, Side};
use crate::engine::history::inside::{Change, FileDiff, TensorDiff};

const ABOUT: &str = "\
Show what version B has and version A has not, and the other way round: files and, where their formats have a table of \
them (see: ckptfs show), tensors. A file that only B has is compared with the save before it in its series: step_200.pt \
with step_100.pt.

It is told from hashes: no tensor is read, but for those under 64 KiB whose chunks, which they share with their \
neighbours, have changed. NEW counts the bytes in chunks that the file before does not have.

With --values the tensors that changed are read, and their numbers compared: how many differ, the greatest and the mean \
absolute difference, and the cosine of the angle between both.

A and B may be versions of two runs, named by their paths.";

const JSON_HELP: &str = "\
JSON fields (stable; byte counts in bytes, times RFC 3339 UTC):
  before, after              .run, .number, .utc, .step of the two versions
  same_files                 files that are the same in both
  read_bytes                 bytes of tensors that were read because hashes did not tell
  files[]                    those that differ, in the order of their paths
   .path, .change            below the run; added, removed, changed
   .against                  the file before that it was compared with, when that has another path, else null
   .bytes_before, .bytes_after
   .new_bytes                in chunks that the file before does not have
   .same_tensors             tensors that are the same
   .damage                   what cannot be read, or null
   .tensors[]                those that differ
    .name, .change, .bytes
    .dtype_before, .dtype_after, .shape_before[], .shape_after[]
    .values                  null, or .elements, .differing, .not_finite, .max_abs, .mean_abs, .cosine

Exit codes: 0 nothing differs, 3 something differs, or cannot be read.

Examples:
  ckptfs diff 41 42 /mnt/runs/exp1
  ckptfs diff best latest /mnt/runs/exp1 --values --file model.safetensors
  ckptfs diff /mnt/runs/a/.snapshots/latest /mnt/runs/b/.snapshots/latest";

pub(super) fn command() -> Command {
    let version = |id: &'static str, name, help| Arg::new(id).value_name(name).required(true).help(help);
    Command::new("diff")
        .about("Show what differs between two versions, down to tensors")
        .long_about(format!("{ABOUT}\n\n{VERSION_HELP}\n\n{PATH_HELP}"))
        .after_long_help(JSON_HELP)
        .arg(version("before", "A", "The earlier version"))
        .arg(version("after", "B", "The later version"))
        .arg(history::path_arg())
        .arg(history::file_arg())
        .arg(
            Arg::new("values")
                .long("values")
                .action(ArgAction::SetTrue)
                .help("Compare the numbers of tensors that changed, which reads them"),
        )
        .args(history::common_args())
}

pub(super) fn run(matches: &ArgMatches, daemon: &dyn Daemon) -> Outcome {
    let (place, version) = history::version_of(matches, "before")?;
    let (other, later) = history::version_of(matches, "after")?;
    if place.store != other.store {
        return Err(Failure::Usage(format!(
            "A is in the store {}, B in {}; only versions of one store are compared",
            place.store.display(),
            other.store.display()
        )));
    }
    let asked = command::Command::Diff {
        before: Pick { at: place.target.clone(), version },
        after: Pick { at: other.target.clone(), version: later },
        only: history::files(matches),
        values: matches.get_flag("values"),
    };
    let progress = Progress::patient();
    let answer = place.ask_with(asked, daemon, &progress);
    progress.finish();
    let Answer::Diff(diff) = answer? else { return Err(history::odd()) };
    if matches.get_flag("json") {
        history::print_json(&diff)?;
    } else {
        print(&render(&diff))?;
    }
    match diff.compared.files.len() {
        0 => Ok(()),
        1 => Err(Failure::Found("1 file differs".to_owned())),
        files => Err(Failure::Found(format!("{files} files differ"))),
    }
}

fn render(diff: &Diff) -> String {
    let mut text = format!("{}\n{}\n", side("before", &diff.before), side("after", &diff.after));
    let rows: Vec<Vec<String>> = diff.compared.files.iter().map(file_row).collect();
    if !rows.is_empty() {
        text.push('\n');
        text.push_str(&table(&["", "FILE", "BEFORE", "AFTER", "NEW", "TENSORS"], &rows));
    }
    for file in diff.compared.files.iter().filter(|file| !file.tensors.is_empty()) {
        let rows: Vec<Vec<String>> = file.tensors.iter().map(tensor_row).collect();
        let heads: &[&str] = match file.tensors.iter().any(|tensor| tensor.values.is_some()) {
            true => &["", "TENSOR", "DTYPE", "SHAPE", "SIZE", "DIFFERING", "MAX", "MEAN", "COSINE"],
            false => &["", "TENSOR", "DTYPE", "SHAPE", "SIZE"],
        };
        text.push_str(&format!("\n{}\n{}", file.path, table(heads, &rows)));
    }
    text + &format!("\n{} files are the same in both\n", diff.compared.same_files)
}

fn side(name: &str, side: &Side) -> String {
    let step = side.step.map(|step| format!(", step {step}")).unwrap_or_default();
    format!("{name:<7} {:06} of {}, {}{step}", side.number, side.run, side.utc)
}

fn mark(change: Change) -> String {
    match change {
        Change::Added => "+",
        Change::Removed => "-",
        Change::Changed => "~",
    }
    .to_owned()
}

fn file_row(file: &FileDiff) -> Vec<String> {
    let against = file.against.as_ref().map(|path| format!(" (beside {path})")).unwrap_or_default();
    let bytes = |bytes: Option<u64>| bytes.map(size).unwrap_or_default();
    let tensors = match (&file.damage, file.tensors.len(), file.same_tensors) {
        (Some(damage), ..) => format!("damaged: {damage}"),
        (None, 0, 0) => String::new(),
        (None, differ, same) => format!("{differ} differ, {same} same"),
    };
    let new = if file.change == Change::Removed { String::new() } else { size(file.new_bytes) };
    let path = format!("{}{against}", file.path);
    vec![mark(file.change), path, bytes(file.bytes_before), bytes(file.bytes_after), new, tensors]
}

fn tensor_row(tensor: &TensorDiff) -> Vec<String> {
    let sides = |sides: &Vec<u64>| shape(sides);
    let (before, after) = (tensor.shape_before.as_ref().map(sides), tensor.shape_after.as_ref().map(sides));
    let mut row = vec![
        mark(tensor.change),
        short(&tensor.name),
        from_to(tensor.dtype_before.clone(), tensor.dtype_after.clone()),
        from_to(before, after),
        size(tensor.bytes),
    ];
    if let Some(values) = &tensor.values {
        row.push(format!("{} of {}", values.differing, values.elements));
        row.extend([format!("{:.3e}", values.max_abs), format!("{:.3e}", values.mean_abs)]);
        row.push(values.cosine.map(|cosine| format!("{cosine:.6}")).unwrap_or_default());
    }
    row
}

/// What was and what is, or the one that there is.
fn from_to(before: Option<String>, after: Option<String>) -> String {
    match (before, after) {
        (Some(before), Some(after)) if before != after => format!("{before} -> {after}"),
        (before, after) => after.or(before).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::history::inside::{Compared, Values};

    fn diff() -> Diff {
        let values =
            Values { elements: 6, differing: 2, max_abs: 0.5, cosine: Some(0.25), ..Values::default() };
        let tensor = TensorDiff {
            name: "w".into(),
            change: Change::Changed,
            dtype_before: Some("f32".into()),
            dtype_after: Some("bf16".into()),
            shape_before: Some(vec![2, 3]),
            shape_after: Some(vec![2, 3]),
            bytes: 12,
            values: Some(values),
        };
        let file = FileDiff {
            path: "step_2.pt".into(),
            change: Change::Added,
            against: Some("step_1.pt".into()),
            bytes_before: Some(1024),
            bytes_after: Some(2048),
            new_bytes: 512,
            tensors: vec![tensor],
            same_tensors: 3,
            damage: None,
        };
        let side = Side { run: "exp".into(), number: 1, utc: "2026-01-31T12:00:05Z".into(), step: Some(5) };
        let compared = Compared { files: vec![file], same_files: 4, read_bytes: 0 };
        Diff { after: Side { number: 2, ..side.clone() }, before: side, compared }
    }

    #[test]
    fn a_person_sees_what_changed_and_how_far() {
        let text = render(&diff());
        for part in [
            "after   000002 of exp",
            "+  step_2.pt (beside step_1.pt)  1.0 KiB  2.0 KiB  512 B  1 differ, 3 same",
            "f32 -> bf16  [2, 3]  12 B  2 of 6     5.000e-1  0.000e0  0.250000",
            "4 files are the same",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn the_help_names_every_field() {
        let json = serde_json::to_value(diff()).unwrap();
        let named = |value: &serde_json::Value, dot: &str| {
            for name in value.as_object().unwrap().keys() {
                assert!(JSON_HELP.contains(&format!("{dot}{name}")), "{dot}{name}");
            }
        };
        named(&json, "");
        named(&json["before"], ".");
        named(&json["files"][0], ".");
        named(&json["files"][0]["tensors"][0], ".");
        named(&json["files"][0]["tensors"][0]["values"], ".");
    }
}
