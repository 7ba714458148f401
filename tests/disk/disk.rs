//! A disk that notes what reaches it, for the tests of power cuts and of failing disks: one file to put a loop device on.
//!
//!     disk FOLDER IMAGE [LOG]
//!
//! Mounts FOLDER and serves two files in it until it is unmounted. `disk.img` is IMAGE; every write and every flush of it
//! is appended to LOG before it is answered, so that IMAGE can be made again as it was at any moment (see `log.rs`).
//! `control` takes faults, one a line, and shows how often they hit (see `faults.rs`).
//!
//! Order: a write goes to IMAGE and to LOG, then it is answered. One thread, so that the order of LOG is the order of
//! answers. The loop driver makes an fsync of each flush of the block device.

mod faults;
mod log;
mod serve;

use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;

use fuser::{Config, MountOption, SessionACL};

fn run() -> Result<(), String> {
    let mut words = std::env::args_os().skip(1).map(PathBuf::from);
    let usage = "the use is: disk FOLDER IMAGE [LOG]";
    let folder = words.next().ok_or(usage)?;
    let path = words.next().ok_or(usage)?;
    let open = File::options().read(true).write(true).open(&path);
    let image = open.map_err(|error| format!("{}: {error}", path.display()))?;
    let log = words.next().map(|path| log::Log::create(&path)).transpose()?;
    let disk = serve::Disk::new(image, log).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut config = Config::default();
    config.mount_options = vec![MountOption::FSName("ckptfs-test-disk".to_owned()), MountOption::RW];
    config.acl = SessionACL::Owner;
    config.n_threads = Some(1);
    fuser::mount(disk, &folder, &config).map_err(|error| format!("mount at {}: {error}", folder.display()))
}

#[expect(clippy::print_stderr, reason = "a program for scripts: its words are for whoever runs them")]
fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("error: {text}");
            ExitCode::FAILURE
        }
    }
}
