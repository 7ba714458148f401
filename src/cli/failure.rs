//! How a command ends when it does not succeed: one line, one exit code.

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::tell;
use crate::base::Error;
use crate::base::nearest::nearest;
use crate::options::{Invalid, TABLE};

/// What a subcommand returns.
pub(super) type Outcome<T = ()> = Result<T, Failure>;

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was asked wrongly: exit code 2.
    Usage(String),
    /// It could not be done: exit code 1.
    Failed(String),
    /// It was done, but damage was found: exit code 3.
    Found(String),
}

impl Failure {
    /// Prints the line and gives the exit code.
    pub(super) fn report(&self) -> ExitCode {
        tell(&self.to_string());
        match self {
            Failure::Failed(_) => ExitCode::from(1),
            Failure::Usage(_) => ExitCode::from(2),
            Failure::Found(_) => ExitCode::from(3),
        }
    }

    /// clap's several lines as one. Its suggestions come with the nearest last.
    pub(super) fn from_clap(error: &clap::Error) -> Self {
        let said = |kind| match error.get(kind) {
            Some(ContextValue::String(text)) => Some(text.clone()),
            Some(ContextValue::Strings(texts)) => texts.last().cloned(),
            _ => None,
        };
        let near = said(ContextKind::SuggestedArg).or_else(|| said(ContextKind::SuggestedSubcommand));
        let wrong = said(ContextKind::InvalidArg).or_else(|| said(ContextKind::InvalidSubcommand));
        if let (ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand, Some(wrong)) =
            (error.kind(), wrong)
        {
            let what = if wrong.starts_with('-') { "option" } else { "command or argument" };
            let near = near.or_else(|| nearest_option(&wrong));
            let cure = near
                .map_or("see: ckptfs --help".to_owned(), |near| format!("the nearest known one is '{near}'"));
            return Failure::Usage(format!("unknown {what} '{wrong}'; {cure}"));
        }
        let text = error.render().to_string();
        let body = text.split("\n\nUsage:").next().unwrap_or_default().trim_start_matches("error: ");
        let line = body.split_whitespace().collect::<Vec<_>>().join(" ");
        Failure::Usage(format!("{line}; see: ckptfs --help"))
    }
}

/// clap suggests only what is very near.
fn nearest_option(wrong: &str) -> Option<String> {
    let name = wrong.strip_prefix("--")?.replace('-', "_");
    let names = TABLE.iter().map(|row| row.name);
    Some(format!("--{}", nearest(&name, names)))
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Usage(text) | Failure::Failed(text) | Failure::Found(text) => f.write_str(text),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Failed(error.to_string())
    }
}

impl From<Invalid> for Failure {
    fn from(error: Invalid) -> Self {
        Failure::Usage(error.0)
    }
}
