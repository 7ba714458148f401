//! `ckptfs report`: one page of the history, which needs no server and nothing else.
//!
//! The page is drawn by its own script from the answer as JSON. What others chose (names, tags, arguments) is in that JSON
//! only, where nothing can end the element that it stands in, and the script shows it as text.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde::Serialize;

use super::failure::{Failure, Outcome};
use super::history::{self, PATH_HELP};
use super::progress::Progress;
use super::{Daemon, print_raw, tell};
use crate::base::clock::{Time, rfc3339};
use crate::command::{self, Answer, Report};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
/// In the order of their names, as the browser test puts them together, too.
const SCRIPTS: [&str; 9] = [
    include_str!("axes.js"),
    include_str!("chart.js"),
    include_str!("detail.js"),
    include_str!("files.js"),
    include_str!("page.js"),
    include_str!("plan.js"),
    include_str!("plots.js"),
    include_str!("table.js"),
    include_str!("text.js"),
];

const ABOUT: &str = "\
Write one page of the history of a run, or of all runs: what saved how much, metrics and sizes version by version, each \
version with its state, provenance, files and what differs from the one before, down to tensors, and what the policy keeps \
and why.

The page is one file of its own: it loads nothing, sends nothing, and needs a browser with JavaScript. It holds names, \
metrics and provenance of all versions shown; look at it before you give it away.

Of each run the newest 200 versions are compared with the ones before them, and the newest is shown down to its tensors. \
With --json the page's data are printed instead: what `log`, `stats`, `show` and `diff` print, in one document.";

/// What is in the page, beside the answer.
#[derive(Serialize)]
struct Document<'a> {
    generated: String,
    program: &'static str,
    store: String,
    #[serde(flatten)]
    report: &'a Report,
}

pub(super) fn command() -> Command {
    Command::new("report")
        .about("Write one page of the history, for a browser")
        .long_about(format!("{ABOUT}\n\n{PATH_HELP}"))
        .after_long_help(
            "JSON fields (stable): generated, program, store; saved, hot_only_bytes, disk as `ckptfs stats --help` lists \
             them; runs[] with .run, .deleted, .monitor, .best, .settings[], .wrong, .versions[] (as `ckptfs log --help` \
             lists them, with .share and .diff), .inside (the files of the newest, as `ckptfs show --help` lists them). \
             More_files and more_tensors count what is left out.\n\nExamples:\n  ckptfs report /mnt/runs/exp1\n  ckptfs \
             report --all /mnt/runs -o history.html\n  ckptfs report --all /data/store -o - > page.html",
        )
        .arg(history::path_arg())
        .arg(
            Arg::new("output")
                .short('o')
                .long("output")
                .value_name("FILE")
                .default_value("history.html")
                .value_parser(clap::value_parser!(PathBuf))
                .help("Where the page goes; - prints it"),
        )
        .arg(Arg::new("all").long("all").action(ArgAction::SetTrue).help("All runs of the store, not one"))
        .args(history::common_args())
}

pub(super) fn run(matches: &ArgMatches, daemon: &dyn Daemon) -> Outcome {
    let place = history::place(matches)?;
    let at = (!matches.get_flag("all")).then(|| place.target.clone());
    let progress = Progress::patient();
    let answer = place.ask_with(command::Command::Report { at }, daemon, &progress);
    progress.finish();
    let Answer::Report(report) = answer? else { return Err(history::odd()) };
    let document = Document {
        generated: rfc3339(Time::now()),
        program: env!("CARGO_PKG_VERSION"),
        store: place.store.display().to_string(),
        report: &report,
    };
    if matches.get_flag("json") {
        return history::print_json(&document);
    }
    let page = page(&document)?;
    match matches.get_one::<PathBuf>("output") {
        Some(path) if path != Path::new("-") => {
            write(path, &page)?;
            let versions: usize = report.runs.iter().map(|run| run.versions.len()).sum();
            tell(&format!(
                "wrote {}: {} runs, {versions} versions; open it in a browser",
                path.display(),
                report.runs.len()
            ));
            Ok(())
        }
        _ => print_raw(&page),
    }
}

fn page(document: &Document<'_>) -> Outcome<String> {
    let data = serde_json::to_string(document)
        .map_err(|error| Failure::Failed(format!("cannot write JSON: {error}")))?;
    // The data last: what is in them is not looked at any more.
    let page = PAGE.replacen("/*STYLE*/", STYLE, 1).replacen("/*SCRIPT*/", &SCRIPTS.join("\n"), 1);
    Ok(page.replacen("/*DATA*/", &inert(&data), 1))
}

/// JSON of the same meaning in which nothing can be taken for HTML or for an end of a line.
fn inert(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for letter in json.chars() {
        match letter {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                text.push_str(&format!("\\u{:04x}", u32::from(letter)))
            }
            letter => text.push(letter),
        }
    }
    text
}

/// Beside the file and then under its name: a page that is there stays whole until the new one is.
fn write(path: &Path, page: &str) -> Outcome {
    let failed = |error: std::io::Error| {
        Failure::Failed(format!("cannot write {}: {error}; name another file with -o", path.display()))
    };
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = PathBuf::from(name);
    let written = File::create_new(&beside)
        .and_then(|mut file| file.write_all(page.as_bytes()))
        .and_then(|()| std::fs::rename(&beside, path));
    written.map_err(|error| {
        let _left = std::fs::remove_file(&beside).is_err();
        failed(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{ReportedRun, ReportedVersion};
    use crate::engine::inspect::Disk;
    use crate::inspect::Savings;

    fn report() -> Report {
        let mut logged = super::super::log::tests::logged();
        logged.version.tags = vec!["</script><script>alert(1)</script>".into(), "/*DATA*/".into()];
        let run = ReportedRun {
            run: "exp&\u{2028}".into(),
            deleted: false,
            monitor: None,
            best: None,
            settings: Vec::new(),
            wrong: None,
            versions: vec![ReportedVersion { logged, share: None, diff: None }],
            inside: None,
        };
        Report { saved: Savings::default(), hot_only_bytes: 0, disk: Disk::default(), runs: vec![run] }
    }

    #[test]
    fn what_others_chose_cannot_leave_its_place_in_the_page() {
        let report = report();
        let document =
            Document { generated: String::new(), program: "", store: "/s".into(), report: &report };
        let page = page(&document).unwrap();
        assert_eq!(page.matches("</script").count(), 2, "the data's and the script's own");
        let data = page.split("id=\"data\">").nth(1).unwrap().split("</script>").next().unwrap();
        assert!(!data.contains(['<', '>', '&', '\u{2028}']));
        let back: serde_json::Value = serde_json::from_str(data).unwrap();
        assert_eq!(back["runs"][0]["versions"][0]["tags"][0], "</script><script>alert(1)</script>");
        assert_eq!(back["runs"][0]["run"], "exp&\u{2028}");
        assert!(!page.contains("/*STYLE*/") && !page.contains("/*SCRIPT*/"));
        for outside in ["http://", "https://", "src=", "@import", "url("] {
            assert!(!STYLE.contains(outside), "{outside} in the style");
        }
    }

    #[test]
    fn a_page_that_cannot_be_written_leaves_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.html");
        write(&path, "one").unwrap();
        write(&path, "two").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
        assert!(write(&dir.path().join("no/such/folder.html"), "x").is_err());
        let full = write(Path::new("/proc/self/history.html"), "x").unwrap_err().to_string();
        assert!(full.contains("name another file"), "{full}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
