//! The `ckptfs` program: hands its arguments and the filesystem to the command line.
//!
//! First the allocator is told what suits a daemon of many threads, before any of them allocates, and the umask is set.

use std::process::ExitCode;

fn main() -> ExitCode {
    settle_allocator();
    // What is made in a store is the owner's alone; what the mount shows has the modes of its makers, which come with each
    // request.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    ckptfs::cli::run(std::env::args_os(), &ckptfs::serve::Filesystem)
}

/// Keeps freed memory from piling up in the arenas of glibc's malloc (measured: docs/decisions/0004-chunk-buffers.md).
///
/// What is large and used often is pooled by us. Every other large allocation goes back to the kernel when it is freed:
/// by itself glibc raises that threshold to the largest size that was ever freed, and one arena a thread multiplies it.
#[cfg(target_env = "gnu")]
fn settle_allocator() {
    /// Arenas for all threads.
    const ARENAS: libc::c_int = 2;
    /// Allocations from this size on are mappings of their own, in bytes.
    const OWN_MAPPING_BYTES: libc::c_int = 64 << 10;
    for (parameter, value) in [(libc::M_ARENA_MAX, ARENAS), (libc::M_MMAP_THRESHOLD, OWN_MAPPING_BYTES)] {
        // SAFETY: plain integers; no other thread runs yet. A refusal (0) only costs memory.
        unsafe { libc::mallopt(parameter, value) };
    }
}

/// Other allocators are left as they are.
#[cfg(not(target_env = "gnu"))]
fn settle_allocator() {}
