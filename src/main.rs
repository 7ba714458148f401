//! The `ckptfs` program: hands its arguments and the filesystem to the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    ckptfs::cli::run(std::env::args_os(), &ckptfs::serve::Filesystem)
}
