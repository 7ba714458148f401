//! `ckptfs check`: whether all that a store holds agrees, and mending what does not.

use bytesize::ByteSize;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::failure::{Failure, Outcome};
use super::history::{self, Place};
use super::progress::Progress;
use super::{Daemon, print};
use crate::command::{self, Answer};
use crate::engine::check::Checked;

const ABOUT: &str = "\
Look at everything that a store holds, and tell what is damaged, who it belongs to, and what can be done.

Packs are held against their lists, the chunk index against packs, every file and every version against the chunks, \
lists and trees that it needs, names against each other, hot files against their records; of a store that is not \
mounted also the folder, the journal, its exports and the catalog against each other. With --read-data every blob is \
read, decoded and hashed, and every hot copy is compared with what was sealed: that takes as long as reading the packs. \
A mounted store goes on serving meanwhile, and looks at its packs by itself, slowly (the option scrub_rate).

--repair reads everything, prints what is wrong and what it will do about it, and does it; the store must not be \
mounted. What is there twice is made whole: a journal from the catalog or an export, a catalog from the journal, the \
chunk index from packs, damaged chunks from a hot copy or an older copy in another pack. What is lost is named, by path \
and version: such versions are marked as not valid, so that latest is one that loads, and what is left of them can \
still be read. Of a damaged config.toml the settings that can be read stay, the others get their defaults. When names are lost, versions come back from the packs alone, and files without a name are put into \
lost+found. The old journal is kept in the store as journal.damaged-N, the old settings as config.toml.damaged-N.

PATH is a path in a mount, or a store. It works on a store that is mounted, that is not, and whose daemon was killed.";

const JSON_HELP: &str = "\
JSON fields (stable; byte counts in bytes):
  read_data                  every byte was read
  packs, pack_bytes, blobs   what was looked at
  contents, versions, inodes, hot_files
                             the same: different contents of files, versions, files and directories, hot files
  findings.list[]            what is wrong; after --repair, what is left of that
   .area                     folder, journal, export, catalog, pack, index, names, hot, file, version
   .what                     in one line, with the file of the store or the path below the mount
   .lost_bytes               bytes of a file that cannot be read any more
   .repair                   what --repair does about it, or null
  findings.more              how many more there are than these 500
  lost_bytes                 sum of all of them, each file counted in every version that has it
  repaired[]                 what --repair has done, a line each

Exit code 3 when anything is wrong, and after --repair when anything is left.

Examples:
  ckptfs check /mnt/runs
  ckptfs check --read-data /data/store
  ckptfs check --repair /data/store";

pub(super) fn command() -> Command {
    let flag = |name, help| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    Command::new("check")
        .about("Look for damage, and mend it")
        .long_about(ABOUT)
        .after_long_help(JSON_HELP)
        .arg(history::path_arg())
        .arg(flag("read-data", "Read, decode and hash every byte"))
        .arg(flag("repair", "Mend what can be mended; the store must not be mounted"))
        .arg(flag("json", "Print JSON, in one line"))
}

pub(super) fn run(matches: &ArgMatches, daemon: &dyn Daemon) -> Outcome {
    let place = history::place(matches)?;
    let (repair, json) = (matches.get_flag("repair"), matches.get_flag("json"));
    let mut checked = ask(&place, matches.get_flag("read-data") || repair, false, daemon)?;
    if repair && !checked.findings.is_empty() {
        if !json {
            print(&(render(&checked) + "repairing\n"))?;
        }
        checked = ask(&place, true, true, daemon)?;
    }
    if json {
        history::print_json(&checked)?;
    } else {
        print(&render(&checked))?;
    }
    match checked.findings.len() {
        0 => Ok(()),
        number => Err(Failure::Found(verdict(number, &checked))),
    }
}

fn ask(place: &Place, read_data: bool, repair: bool, daemon: &dyn Daemon) -> Outcome<Checked> {
    let progress = Progress::patient();
    let answer = place.ask_with(command::Command::Check { read_data, repair }, daemon, &progress);
    progress.finish();
    match answer? {
        Answer::Checked(checked) => Ok(*checked),
        _ => Err(history::odd()),
    }
}

fn render(checked: &Checked) -> String {
    let mut text = String::new();
    for line in &checked.repaired {
        text.push_str(&format!("done: {line}\n"));
    }
    for finding in &checked.findings.list {
        let lost = match finding.lost_bytes {
            0 => String::new(),
            bytes => format!(" ({} lost)", ByteSize(bytes).display().iec()),
        };
        text.push_str(&format!("{}{lost}\n", finding.what));
        if let Some(repair) = &finding.repair {
            text.push_str(&format!("    with --repair: {repair}\n"));
        }
    }
    if checked.findings.more > 0 {
        text.push_str(&format!("and {} more\n", checked.findings.more));
    }
    text + &summary(checked)
}

fn summary(checked: &Checked) -> String {
    let bytes = ByteSize(checked.pack_bytes).display().iec();
    let what = if checked.read_data { "every byte" } else { "lists, not data" };
    format!(
        "checked ({what}): {} packs ({bytes}, {} blobs), {} versions, {} contents, {} files and directories, {} hot \
         files: {}\n",
        checked.packs,
        checked.blobs,
        checked.versions,
        checked.contents,
        checked.inodes,
        checked.hot_files,
        match checked.findings.len() {
            0 => "no damage".to_owned(),
            1 => "1 finding".to_owned(),
            number => format!("{number} findings"),
        }
    )
}

fn verdict(number: u64, checked: &Checked) -> String {
    let can = checked.findings.list.iter().filter(|finding| finding.repair.is_some()).count();
    let cure = match (checked.repaired.is_empty(), can) {
        (false, _) => "what is left cannot be mended: restore other versions of these files, or delete them",
        (true, 0) => "nothing of it can be mended",
        (true, _) => "unmount the store and run: ckptfs check --repair STORE",
    };
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} finding{plural}, {} lost; {cure}", ByteSize(checked.lost_bytes).display().iec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::Finding;
    use crate::check::{Area, Findings};

    #[test]
    fn the_help_names_every_json_field_and_a_person_reads_what_is_lost_and_what_to_do() {
        let finding = |lost_bytes, repair: Option<&str>| Finding {
            area: Area::Version,
            what: "run exp version 000003: model.pt: gone".into(),
            lost_bytes,
            repair: repair.map(str::to_owned),
        };
        let list = vec![finding(2048, Some("it is marked")), finding(0, None)];
        let mut checked =
            Checked { findings: Findings { list, more: 7 }, lost_bytes: 2048, ..Checked::default() };
        let json = serde_json::to_value(&checked).unwrap();
        for name in
            json.as_object().unwrap().keys().chain(json["findings"]["list"][0].as_object().unwrap().keys())
        {
            assert!(JSON_HELP.contains(name.as_str()), "{name}");
        }
        let text = render(&checked);
        assert!(
            text.contains("gone (2.0 KiB lost)\n    with --repair: it is marked\n")
                && text.contains("and 7 more")
        );
        assert!(text.ends_with("0 hot files: 9 findings\n"), "{text}");
        assert!(verdict(9, &checked).contains("--repair"));
        checked.repaired.push("pack 1".into());
        assert!(
            verdict(2, &checked).contains("cannot be mended")
                && render(&checked).starts_with("done: pack 1\n")
        );
    }
}
