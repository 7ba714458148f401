//! What a service manager hears of `ckptfs mount --foreground`, and when.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::{Child, Command};
use std::time::Duration;

use tempfile::TempDir;

use crate::common::*;

/// A manager's socket, and a daemon that it started.
struct Service {
    dir: TempDir,
    socket: UnixDatagram,
    daemon: Child,
}

impl Service {
    fn start(is_abstract: bool) -> Service {
        let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        std::fs::create_dir(dir.path().join("mnt")).unwrap();
        let (socket, name) = if is_abstract {
            let name = format!("ckptfs-{}", dir.path().display());
            let address = SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
            (UnixDatagram::bind_addr(&address).unwrap(), format!("@{name}"))
        } else {
            // A socket's name holds 107 bytes, which the place of a build may use up.
            let path = std::env::temp_dir().join(format!("ckptfs-{}", std::process::id()));
            (UnixDatagram::bind(&path).unwrap(), path.to_str().unwrap().to_owned())
        };
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let daemon = Service::daemon(&dir, &name);
        Service { dir, socket, daemon }
    }

    fn daemon(dir: &TempDir, name: &str) -> Child {
        Command::new(env!("CARGO_BIN_EXE_ckptfs"))
            .args(["mount", "--foreground", "-o", "settle=1s"])
            .args([dir.path().join("store"), dir.path().join("mnt")])
            .env("NOTIFY_SOCKET", name)
            .spawn()
            .unwrap()
    }

    /// The next that is said with `wanted` in it; the others are of progress.
    fn heard(&self, wanted: &str) -> String {
        let mut bytes = [0; 4096];
        loop {
            let len = self.socket.recv(&mut bytes).unwrap_or_else(|error| panic!("never {wanted}: {error}"));
            let text = String::from_utf8(bytes[..len].to_vec()).unwrap();
            if text.contains(wanted) {
                return text;
            }
            assert!(text.starts_with("STATUS=opening the store: "), "{text}");
        }
    }
}

#[test]
fn ready_is_said_once_the_mount_is_usable_and_stopping_at_a_signal() {
    for is_abstract in [true, false] {
        let mut service = Service::start(is_abstract);
        let said = service.heard("READY=1");
        let file = service.dir.path().join("mnt/f");
        std::fs::write(&file, b"usable").unwrap();
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(mounts.contains(service.dir.path().join("mnt").to_str().unwrap()), "it is no mount");
        assert!(said.contains("STATUS=") && said.contains("is mounted at"), "{said}");
        // SAFETY: plain integers; the process is the daemon that this test started.
        assert_eq!(unsafe { libc::kill(service.daemon.id().cast_signed(), libc::SIGTERM) }, 0);
        let said = service.heard("STOPPING=1");
        assert!(said.contains("STATUS=") && said.contains("EXTEND_TIMEOUT_USEC="), "{said}");
        assert!(service.daemon.wait().unwrap().success());
        assert!(!file.exists(), "it is still mounted");
    }
}

#[test]
fn a_crash_leaves_a_mount_that_the_next_start_cleans() {
    let mut service = Service::start(true);
    service.heard("READY=1");
    std::fs::write(service.dir.path().join("mnt/f"), b"kept").unwrap();
    service.daemon.kill().unwrap();
    service.daemon.wait().unwrap();
    let name = format!("@ckptfs-{}", service.dir.path().display());
    service.daemon = Service::daemon(&service.dir, &name);
    service.heard("READY=1");
    assert_bytes(&service.dir.path().join("mnt/f"), b"kept");
    let done = ckptfs(&["unmount", service.dir.path().join("mnt").to_str().unwrap()]);
    assert!(done.status.success(), "{}", said(&done));
    assert!(service.daemon.wait().unwrap().success());
}
