//! `ckptfs stats`: where the bytes of a store are, and what saved the rest.

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::failure::{Failure, Outcome};
use super::history::{self, PATH_HELP};
use super::progress::Progress;
use super::rows::{size, table};
use super::{Daemon, growth, print};
use crate::command::{self, Answer, StatsShown};
use crate::engine::inspect::Disk;
use crate::inspect::{Savings, Share};

const ABOUT: &str = "\
Show where the bytes of a store are, what saved the rest, and what each version takes.

First comes what became of the bytes that were saved, step by step: the files of all versions (each counted in every \
version that has it, removed versions that are not reclaimed yet included) and the sealed files that no version has; \
less holes; less chunks that were there already (dedup); less what was saved by storing chunks of one byte as that \
byte (constant), floats in planes (planes), floats as what they differ in from those of another version (delta), and \
everything else compressed (zstd); plus what all this costs: bases that are kept only because others differ from them, \
lists of chunks and trees (metadata), headers, and what is not reclaimed yet (garbage). The result is the bytes of the \
packs, to the byte.

Then what everything on the disk occupies, as du counts it: packs, index, journal, catalog, hot files, and the rest \
(mostly the reserve for a full disk).

Then, of the run that PATH is in, each version, or the one that PATH leads through; of a PATH in no run, of a store with several, or with --all, each run. \
NEW is what no earlier one has: what the store grew by. UNIQUE is what no other version (or run) and no file refers to; WOULD FREE is what would be free without it: a chunk \
stays while another is stored as what it differs in from it. Removing two versions can free more than the sum.

Only lists of chunks and trees are read, no data; nothing is changed.";

const JSON_HELP: &str = "\
JSON fields (stable; byte counts in bytes, times RFC 3339 UTC):
  saved.logical_bytes        files of all versions, and sealed files in no version
  saved.holes_bytes, .dedup_bytes, .constant_bytes, .planes_bytes, .delta_bytes, .zstd_bytes
                             what each saved
  saved.other_bytes, .lost_bytes
                             saved by unknown encodings; chunks that no pack has
  saved.bases_bytes, .metadata_bytes, .headers_bytes, .garbage_bytes
                             what comes on top
  saved.packs_bytes          logical - holes - dedup - constant - planes - delta - zstd - other - lost
                             + bases + metadata + headers + garbage
  hot_only_bytes             files that are not sealed yet, and in none of the above
  disk.packs_bytes, .index_bytes, .journal_bytes, .catalog_bytes, .hot_bytes, .other_bytes, .total_bytes
                             what is occupied on the disk
  run                        the run whose versions follow, or null
  versions[]                 newest first: .number, .utc, .removed
  runs[]                     when run is null: .path, .versions, .deleted
   .logical_bytes            of both: files, each counted in every version that has it
   .referenced_bytes         the different chunks that they refer to, decoded
   .stored_bytes             what these and their lists and trees take in packs
   .added_bytes              of these, what no version (or run) before it has
   .unique_bytes             of these, what nobody else refers to
   .would_free_bytes         what would be free without it
  damaged                    lists of chunks and trees that cannot be read (exit code 3)

Examples:
  ckptfs stats /mnt/runs/exp1
  ckptfs stats --all /mnt/runs
  ckptfs stats /mnt/runs/exp1 --plot
  ckptfs stats /mnt/runs/exp1/.snapshots/000042
  ckptfs stats /data/store --json | jq .saved
  ckptfs stats --json | jq '.disk.total_bytes / (.saved.logical_bytes + .hot_only_bytes)'";

pub(super) fn command() -> Command {
    Command::new("stats")
        .about("Show where the bytes are, what saved the rest, and what each version takes")
        .long_about(format!("{ABOUT}\n\n{PATH_HELP}"))
        .after_long_help(JSON_HELP)
        .arg(history::path_arg())
        .arg(
            Arg::new("all")
                .long("all")
                .action(ArgAction::SetTrue)
                .help("All runs of the store, not the versions of one"),
        )
        .arg(
            Arg::new("plot")
                .long("plot")
                .action(ArgAction::SetTrue)
                .conflicts_with("json")
                .help("Draw how the store has grown, version by version (or run by run)"),
        )
        .args(history::common_args())
}

pub(super) fn run(matches: &ArgMatches, daemon: &dyn Daemon) -> Outcome {
    let place = history::place(matches)?;
    let at = (!matches.get_flag("all")).then(|| place.target.clone());
    let progress = Progress::patient();
    let answer = place.ask_with(command::Command::Stats { at }, daemon, &progress);
    progress.finish();
    let Answer::Stats(stats) = answer? else { return Err(history::odd()) };
    if matches.get_flag("json") {
        history::print_json(&stats)?;
    } else if matches.get_flag("plot") {
        print(&growth::plot(&stats))?;
    } else {
        print(&render(&stats))?;
    }
    if stats.damaged > 0 {
        return Err(Failure::Found(format!(
            "{} lists of chunks or trees cannot be read, and what they lead to is not counted; see ckptfs.log in the store",
            stats.damaged
        )));
    }
    Ok(())
}

fn render(stats: &StatsShown) -> String {
    let saved = table(&["", "BYTES", "SHARE", "WHAT"], &saved(&stats.saved));
    let mut text = format!("{saved}\n{}\n{}", table(&["DISK", "BYTES"], &disk(&stats.disk)), result(stats));
    let rows = shares(stats);
    if rows.is_empty() {
        return text;
    }
    let first: &[&str] = match &stats.run {
        Some(run) => {
            text.push_str(&format!("\nrun {run}\n"));
            &["VERSION", "TIME"]
        }
        None => {
            text.push('\n');
            &["RUN", "VERSIONS"]
        }
    };
    let heads = [first, &["FILES", "REFERENCED", "STORED", "NEW", "UNIQUE", "WOULD FREE"]].concat();
    text.push_str(&table(&heads, &rows));
    text
}

/// From what was saved to what the packs hold. What is nothing and says nothing by that is left out.
fn saved(saved: &Savings) -> Vec<Vec<String>> {
    let rows = [
        ("logical", "", saved.logical_bytes, "files of all versions, and sealed files in none"),
        ("holes", "-", saved.holes_bytes, "stored nowhere"),
        ("dedup", "-", saved.dedup_bytes, "chunks that were there already"),
        ("constant", "-", saved.constant_bytes, "chunks of one byte"),
        ("planes", "-", saved.planes_bytes, "floats, plane by plane"),
        ("delta", "-", saved.delta_bytes, "floats, as what they differ in from another version"),
        ("zstd", "-", saved.zstd_bytes, "everything else that compresses"),
        ("other", "-", saved.other_bytes, "encodings that this program does not know"),
        ("lost", "-", saved.lost_bytes, "chunks that no pack has"),
        ("bases", "+", saved.bases_bytes, "kept only because others differ from them"),
        ("metadata", "+", saved.metadata_bytes, "lists of chunks, trees"),
        ("headers", "+", saved.headers_bytes, "of chunks and packs"),
        ("garbage", "+", saved.garbage_bytes, "not reclaimed yet"),
        ("packs", "=", saved.packs_bytes, "what is left"),
    ];
    let is_told = |(name, _, bytes, _): &(&str, &str, u64, &str)| {
        *bytes > 0 || !["other", "lost", "bases", "garbage"].contains(name)
    };
    let row = |(name, sign, bytes, what): (&str, &str, u64, &str)| {
        let share = percent(bytes, saved.logical_bytes);
        let sign = if bytes == 0 { "" } else { sign };
        vec![name.to_owned(), format!("{sign}{}", size(bytes)), share, what.to_owned()]
    };
    rows.into_iter().filter(is_told).map(row).collect()
}

fn disk(disk: &Disk) -> Vec<Vec<String>> {
    let rows = [
        ("packs", disk.packs_bytes),
        ("index", disk.index_bytes),
        ("journal", disk.journal_bytes),
        ("catalog", disk.catalog_bytes),
        ("hot files", disk.hot_bytes),
        ("other", disk.other_bytes),
        ("all", disk.total_bytes),
    ];
    rows.into_iter().map(|(name, bytes)| vec![name.to_owned(), size(bytes)]).collect()
}

fn result(stats: &StatsShown) -> String {
    let files = stats.saved.logical_bytes.saturating_add(stats.hot_only_bytes);
    format!(
        "{} of files ({} of them not sealed yet) occupy {}{}\n",
        size(files),
        size(stats.hot_only_bytes),
        size(stats.disk.total_bytes),
        Some(percent(stats.disk.total_bytes, files))
            .filter(|share| !share.is_empty())
            .map(|share| format!(": {share}"))
            .unwrap_or_default()
    )
}

/// Nothing where there is no whole.
fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { String::new() } else { format!("{:.1} %", 100.0 * part as f64 / whole as f64) }
}

fn shares(stats: &StatsShown) -> Vec<Vec<String>> {
    let cells = |first: [String; 2], share: &Share| {
        let sizes = [
            share.logical_bytes,
            share.referenced_bytes,
            share.stored_bytes,
            share.added_bytes,
            share.unique_bytes,
            share.would_free_bytes,
        ];
        first.into_iter().chain(sizes.into_iter().map(size)).collect::<Vec<_>>()
    };
    let versions = stats.versions.iter().map(|one| {
        let removed = if one.removed { " (removed)" } else { "" };
        cells([format!("{:06}", one.number), format!("{}{removed}", one.utc)], &one.share)
    });
    let runs = stats.runs.iter().map(|one| {
        let deleted = if one.deleted { " (deleted)" } else { "" };
        cells([format!("{}{deleted}", one.path), one.versions.to_string()], &one.share)
    });
    versions.chain(runs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{RunShare, VersionShare};

    fn shown() -> StatsShown {
        let share = Share { would_free_bytes: 3 << 20, ..Share::default() };
        let version = VersionShare { number: 7, utc: "2026-01-31T12:00:05Z".into(), removed: true, share };
        StatsShown {
            saved: Savings { logical_bytes: 4 << 30, planes_bytes: 1 << 30, ..Savings::default() },
            hot_only_bytes: 0,
            disk: Disk { total_bytes: 1 << 30, ..Disk::default() },
            run: Some("exp".into()),
            versions: vec![version],
            runs: Vec::new(),
            damaged: 0,
        }
    }

    #[test]
    fn a_person_sees_shares_and_what_a_version_would_free() {
        let text = render(&shown());
        for part in
            ["planes    -1.0 GiB", "25.0 %", "occupy 1.0 GiB: 25.0 %", "run exp", "3.0 MiB", "(removed)"]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("garbage") && text.contains("dedup"), "{text}");
        let empty = StatsShown { saved: Savings::default(), run: None, versions: Vec::new(), ..shown() };
        assert!(!render(&empty).contains("NaN"), "{}", render(&empty));
    }

    #[test]
    fn the_help_names_every_field() {
        let run = RunShare { path: "exp".into(), versions: 1, deleted: false, share: Share::default() };
        let json = serde_json::to_value(StatsShown { runs: vec![run], ..shown() }).unwrap();
        let named = |value: &serde_json::Value, dot: &str| {
            for name in value.as_object().unwrap().keys() {
                assert!(JSON_HELP.contains(&format!("{dot}{name}")), "{dot}{name}");
            }
        };
        named(&json, "");
        for inner in ["saved", "disk"] {
            named(&json[inner], ".");
        }
        named(&json["versions"][0], ".");
        named(&json["runs"][0], ".");
    }
}
