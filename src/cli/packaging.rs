//! `ckptfs completions` and `ckptfs man`: what packages install beside the program, made from the help texts.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command};
use clap_complete::Shell;

use super::failure::{Failure, Outcome};
use super::{print_raw, tell};

pub(super) fn completions_command() -> Command {
    Command::new("completions")
        .about("Print completions for a shell")
        .long_about(
            "Print completions for a shell.\n\nExamples:\n  ckptfs completions bash > \
             /usr/share/bash-completion/completions/ckptfs\n  ckptfs completions zsh > \
             /usr/local/share/zsh/site-functions/_ckptfs\n  ckptfs completions fish > \
             ~/.config/fish/completions/ckptfs.fish",
        )
        .arg(
            Arg::new("shell")
                .value_name("SHELL")
                .required(true)
                .value_parser(clap::value_parser!(Shell))
                .help("The shell"),
        )
}

pub(super) fn man_command() -> Command {
    Command::new("man")
        .about("Write the manual pages")
        .long_about(
            "Write the manual pages, one of the program and one of each command, as ckptfs.1, ckptfs-mount.1 and so on.\n\n\
             Examples:\n  ckptfs man /usr/local/share/man/man1\n  ckptfs man /tmp/man && man /tmp/man/ckptfs-restore.1",
        )
        .arg(
            Arg::new("dir")
                .value_name("DIR")
                .required(true)
                .value_parser(clap::value_parser!(PathBuf))
                .help("The folder that gets them; it must be there"),
        )
}

/// Prints the completions of `program`.
pub(super) fn completions(matches: &ArgMatches, mut program: Command) -> Outcome {
    let shell = matches.get_one::<Shell>("shell").copied();
    let shell = shell.ok_or_else(|| Failure::Usage("SHELL is missing".into()))?;
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut program, "ckptfs", &mut text);
    print_raw(&String::from_utf8_lossy(&text))
}

/// Writes the manual pages of `program`.
pub(super) fn man(matches: &ArgMatches, program: Command) -> Outcome {
    let dir: &PathBuf = matches.get_one("dir").ok_or_else(|| Failure::Usage("DIR is missing".into()))?;
    if !dir.is_dir() {
        return Err(Failure::Failed(format!("{} is no folder; make it first: mkdir -p", dir.display())));
    }
    clap_mangen::generate_to(program, dir).map_err(|error| {
        Failure::Failed(format!("cannot write manual pages to {}: {error}", dir.display()))
    })?;
    tell(&format!("wrote the manual pages to {}", dir.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::command;

    #[test]
    fn every_command_has_a_page_and_is_completed() {
        let dir = tempfile::tempdir().unwrap();
        clap_mangen::generate_to(command(), dir.path()).unwrap();
        let mut text = Vec::new();
        clap_complete::generate(clap_complete::Shell::Bash, &mut command(), "ckptfs", &mut text);
        let completions = String::from_utf8(text).unwrap();
        for one in command().get_subcommands() {
            let page = dir.path().join(format!("ckptfs-{}.1", one.get_name()));
            let page = std::fs::read_to_string(&page).unwrap();
            assert!(page.contains(".TH") && page.len() > 300, "{}", one.get_name());
            assert!(completions.contains(one.get_name()), "{}", one.get_name());
        }
    }
}
