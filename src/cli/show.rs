//! `ckptfs show`: what is inside a version, down to tensors.

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::failure::{Failure, Outcome};
use super::history::{self, PATH_HELP, VERSION_HELP};
use super::progress::Progress;
use super::rows::{short, size, table};
use super::{Daemon, log, print};
use crate::command::{self, Answer, Pick, Shown};
use crate::engine::history::inside::{FileInside, TensorInside};

const ABOUT: &str = "\
Show what is inside a version: what is recorded of it, its files, and the tensors of those whose formats have a table of \
them: torch.save (zip and legacy), safetensors, TensorFlow, npy, npz, HDF5, Keras, DCP, GGUF. Only tables are read, never \
tensors; a pickle is parsed and nothing of it is executed.

STORED is what a file's chunks take of the packs, each counted once, or a tensor's share of that; other versions may have \
the same chunks (see: ckptfs stats). A * behind a tensor: its bytes in the file are not its plain elements, but compressed \
or in another order.";

const JSON_HELP: &str = "\
JSON fields (stable; byte counts in bytes, times RFC 3339 UTC):
  run, utc                   the run's path below the mount, / is the root; the version's time
  version                    what is recorded of it, as `ckptfs log --help` lists it
  inside[]                   its files and links, in the order of their paths
   .path, .kind              below the run; file, symlink, special
   .bytes, .mode, .mtime     as stat(2) has them
   .target                   where a symlink leads, else null
   .format, .state           of checkpoint content; state is valid, invalid, being written
   .content                  the hash that names the content: equal contents have equal hashes
   .stored_bytes             what its chunks take of the packs
   .damage                   what of it cannot be read, or null
   .tensors[]                in the order of the file
    .name, .dtype, .shape[]  dtypes are f64, f32, f16, bf16, f8_e4m3, f8_e5m2, i64 ... u8, bool, c64, c128, or
                             the format's own word
    .global_shape[]          of a shard: the sides of the whole, else null
    .offset, .bytes          where its first byte is in the file, and its bytes there
    .stored_bytes            its share
    .encoded                 not its plain elements

Exit code 3: something of the version cannot be read.

Examples:
  ckptfs show latest /mnt/runs/exp1
  ckptfs show 42 /mnt/runs/exp1 --file model.safetensors
  ckptfs show /mnt/runs/exp1/.snapshots/000042/model.safetensors
  ckptfs show best --json | jq '.inside[].tensors[] | select(.dtype == \"f32\") | .name'";

pub(super) fn command() -> Command {
    Command::new("show")
        .about("Show what is inside a version, down to tensors")
        .long_about(format!("{ABOUT}\n\n{VERSION_HELP}\n\n{PATH_HELP}"))
        .after_long_help(JSON_HELP)
        .arg(history::version_arg())
        .arg(history::path_arg())
        .arg(history::file_arg())
        .arg(
            Arg::new("no-tensors")
                .long("no-tensors")
                .action(ArgAction::SetTrue)
                .help("Files only: their tables are not read"),
        )
        .args(history::common_args())
}

pub(super) fn run(matches: &ArgMatches, daemon: &dyn Daemon) -> Outcome {
    let (place, version) = history::version(matches)?;
    let of = Pick { at: place.target.clone(), version };
    let tensors = !matches.get_flag("no-tensors");
    let asked = command::Command::Show { of, only: history::files(matches), tensors };
    let progress = Progress::patient();
    let answer = place.ask_with(asked, daemon, &progress);
    progress.finish();
    let Answer::Shown(shown) = answer? else { return Err(history::odd()) };
    if matches.get_flag("json") {
        history::print_json(&shown)?;
    } else {
        print(&render(&shown))?;
    }
    match shown.inside.iter().filter(|file| file.damage.is_some()).count() {
        0 => Ok(()),
        damaged => Err(Failure::Found(format!(
            "{damaged} files of version {:06} cannot be read; see what is lost: ckptfs check --read-data",
            shown.version.number
        ))),
    }
}

fn render(shown: &Shown) -> String {
    let mut text: String = head(shown).iter().map(|(name, value)| format!("{name:<9} {value}\n")).collect();
    let rows: Vec<Vec<String>> = shown.inside.iter().map(file_row).collect();
    if !rows.is_empty() {
        text.push('\n');
        text.push_str(&table(&["FILE", "SIZE", "STORED", "FORMAT", "STATE"], &rows));
    }
    for file in shown.inside.iter().filter(|file| !file.tensors.is_empty()) {
        let rows: Vec<Vec<String>> = file.tensors.iter().map(tensor_row).collect();
        let heads = ["TENSOR", "DTYPE", "SHAPE", "SIZE", "STORED"];
        text.push_str(&format!("\n{}, {} tensors\n{}", file.path, rows.len(), table(&heads, &rows)));
    }
    text
}

fn head(shown: &Shown) -> Vec<(&'static str, String)> {
    let version = &shown.version;
    let mut rows = vec![
        ("version", format!("{:06} of {}", version.number, shown.run)),
        ("time", shown.utc.clone()),
        ("state", log::state(version)),
        ("made by", version.trigger.clone()),
    ];
    rows.extend(version.step.map(|step| ("step", step.to_string())));
    rows.extend(version.epoch.map(|epoch| ("epoch", epoch.to_string())));
    rows.extend(version.metrics.iter().map(|(name, value)| ("metric", format!("{name}={value}"))));
    if !version.tags.is_empty() {
        rows.push(("tags", version.tags.join(", ")));
    }
    if version.pinned {
        rows.push(("pinned", "yes".to_owned()));
    }
    rows.extend(version.provenance.as_ref().map(|provenance| ("writer", log::writer(provenance))));
    rows.push(("files", format!("{} ({})", version.files, size(version.logical_bytes))));
    rows.push(("new", format!("{} when it was made", size(version.new_bytes))));
    rows
}

fn file_row(file: &FileInside) -> Vec<String> {
    let name = match &file.target {
        Some(target) => format!("{} -> {target}", file.path),
        None => file.path.clone(),
    };
    let state = match &file.damage {
        Some(damage) => format!("damaged: {damage}"),
        None => file.state.clone().unwrap_or_default(),
    };
    vec![name, size(file.bytes), size(file.stored_bytes), file.format.clone().unwrap_or_default(), state]
}

fn tensor_row(tensor: &TensorInside) -> Vec<String> {
    let whole = tensor.global_shape.as_ref().map(|whole| format!(" of {}", shape(whole)));
    vec![
        short(&tensor.name),
        format!("{}{}", tensor.dtype, if tensor.encoded { "*" } else { "" }),
        shape(&tensor.shape) + &whole.unwrap_or_default(),
        size(tensor.bytes),
        size(tensor.stored_bytes),
    ]
}

/// The sides of a tensor, as people write them.
pub(super) fn shape(sides: &[u64]) -> String {
    let sides: Vec<String> = sides.iter().map(u64::to_string).collect();
    format!("[{}]", sides.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    fn shown() -> Shown {
        let tensor = TensorInside {
            name: "layer.weight".into(),
            dtype: "bf16".into(),
            shape: vec![2, 3],
            global_shape: Some(vec![4, 3]),
            offset: Some(64),
            bytes: 12,
            stored_bytes: 7,
            encoded: true,
        };
        let file = FileInside {
            path: "model.safetensors".into(),
            kind: "file".into(),
            bytes: 2048,
            format: Some("safetensors".into()),
            state: Some("valid".into()),
            tensors: vec![tensor],
            ..FileInside::default()
        };
        let link = FileInside { path: "last".into(), target: Some("model".into()), ..FileInside::default() };
        let version = log::tests::logged().version;
        Shown { run: "exp".into(), version, utc: "2026-01-31T12:00:05Z".into(), inside: vec![link, file] }
    }

    #[test]
    fn a_person_sees_files_tensors_and_what_is_damaged() {
        let text = render(&shown());
        for part in [
            "version   000042 of exp\n",
            "last -> model",
            "model.safetensors, 1 tensors",
            "bf16*  [2, 3] of [4, 3]  12 B",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let mut bad = shown();
        bad.inside[1].damage = Some("no pack has it".into());
        assert!(render(&bad).contains("damaged: no pack has it"));
    }

    #[test]
    fn the_help_names_every_field() {
        let json = serde_json::to_value(shown()).unwrap();
        let named = |value: &serde_json::Value, dot: &str| {
            for name in value.as_object().unwrap().keys() {
                assert!(JSON_HELP.contains(&format!("{dot}{name}")), "{dot}{name}");
            }
        };
        named(&json, "");
        named(&json["inside"][1], ".");
        named(&json["inside"][1]["tensors"][0], ".");
    }
}
