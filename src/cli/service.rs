//! What a service manager hears of a daemon in the foreground: the protocol of sd_notify(3), datagrams to `$NOTIFY_SOCKET`.
//!
//! Order: how far opening the store has come, with more time asked for as long as it goes on; READY=1 once the mount is
//! usable; STOPPING=1 at a signal. Nobody need listen: without the variable nothing is sent, and a manager that does not
//! take a datagram keeps no daemon from its work.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::tell;
use crate::base::lock::lock;
use crate::base::monitor::Monitor;
use crate::base::text::one_line;

/// Where a service manager wants to hear.
pub(super) const VARIABLE: &str = "NOTIFY_SOCKET";
/// A start that says nothing for this long may be given up.
const OPENING_MAX: Duration = Duration::from_secs(180);
/// How often a phase says how far it is.
const SAY_EVERY: Duration = Duration::from_secs(1);

/// The manager that started this process, if one did.
#[derive(Debug, Default)]
pub(super) struct Manager(Option<(UnixDatagram, SocketAddr)>);

impl Manager {
    /// The one that the environment names.
    pub(super) fn here() -> Self {
        let Some(name) = std::env::var_os(VARIABLE).filter(|name| !name.is_empty()) else {
            return Manager(None);
        };
        match Manager::at(&name) {
            Ok(manager) => manager,
            Err(error) => {
                tell(&format!("cannot tell the service manager at {}: {error}", name.to_string_lossy()));
                Manager(None)
            }
        }
    }

    fn at(name: &OsStr) -> io::Result<Self> {
        let address = match name.as_bytes().strip_prefix(b"@") {
            Some(rest) => SocketAddr::from_abstract_name(rest)?,
            None => SocketAddr::from_pathname(Path::new(name))?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Manager(Some((socket, address))))
    }

    /// The mount is usable.
    pub(super) fn ready(&self, status: &str) {
        self.say(&format!("READY=1\n{}", line(status)));
    }

    /// The daemon ends, within `limit`.
    pub(super) fn stopping(&self, status: &str, limit: Duration) {
        self.say(&format!("STOPPING=1\n{}{}", line(status), more_time(limit)));
    }

    fn say(&self, text: &str) {
        let Some((socket, address)) = &self.0 else { return };
        if let Err(error) = socket.send_to_addr(text.as_bytes(), address) {
            tracing::warn!("the service manager does not listen: {error}");
        }
    }
}

fn line(status: &str) -> String {
    format!("STATUS={}\n", one_line(status))
}

fn more_time(limit: Duration) -> String {
    format!("EXTEND_TIMEOUT_USEC={}\n", limit.as_micros())
}

/// Tells the manager, and another monitor, how far opening a store has come.
pub(super) struct Opening<'a> {
    manager: &'a Manager,
    other: &'a dyn Monitor,
    phase: Mutex<Phase>,
}

struct Phase {
    what: String,
    total: u64,
    said: Instant,
}

impl<'a> Opening<'a> {
    pub(super) fn new(manager: &'a Manager, other: &'a dyn Monitor) -> Self {
        let phase = Phase { what: String::new(), total: 0, said: Instant::now() };
        Opening { manager, other, phase: phase.into() }
    }

    fn say(&self, phase: &mut Phase, done: u64) {
        phase.said = Instant::now();
        let percent = done.saturating_mul(100).checked_div(phase.total);
        let far = percent.map_or(String::new(), |percent| format!(": {percent} %"));
        let text = line(&format!("opening the store: {}{far}", phase.what)) + &more_time(OPENING_MAX);
        self.manager.say(&text);
    }
}

impl Monitor for Opening<'_> {
    fn begin(&self, what: &str, total: u64) {
        self.other.begin(what, total);
        let mut phase = lock(&self.phase);
        (phase.what, phase.total) = (what.to_owned(), total);
        self.say(&mut phase, 0);
    }

    fn advance(&self, done: u64) {
        self.other.advance(done);
        let mut phase = lock(&self.phase);
        if phase.said.elapsed() >= SAY_EVERY {
            self.say(&mut phase, done);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::monitor::Silent;

    fn heard(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 4096];
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let len = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..len].to_vec()).unwrap()
    }

    #[test]
    fn a_manager_hears_by_a_path_and_by_an_abstract_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let name = format!("ckptfs-test-{}", std::process::id());
        let abstract_name = SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
        let sockets = [
            (UnixDatagram::bind(&path).unwrap(), path.clone().into_os_string()),
            (UnixDatagram::bind_addr(&abstract_name).unwrap(), format!("@{name}").into()),
        ];
        for (socket, name) in &sockets {
            let manager = Manager::at(name).unwrap();
            let opening = Opening::new(&manager, &Silent);
            opening.begin("rebuilding", 200);
            let said = heard(socket);
            assert_eq!(said, "STATUS=opening the store: rebuilding: 0 %\nEXTEND_TIMEOUT_USEC=180000000\n");
            lock(&opening.phase).said -= SAY_EVERY;
            opening.advance(50);
            opening.advance(60);
            assert!(heard(socket).contains("25 %"));
            manager.ready("two\nlines");
            let said = heard(socket);
            assert!(said.starts_with("READY=1\nSTATUS=two") && said.lines().count() == 2, "{said}");
            manager.stopping("ending", Duration::from_secs(12));
            assert_eq!(heard(socket), "STOPPING=1\nSTATUS=ending\nEXTEND_TIMEOUT_USEC=12000000\n");
        }
    }

    #[test]
    fn a_manager_that_is_not_there_keeps_nobody_from_anything() {
        let dir = tempfile::tempdir().unwrap();
        Manager::at(dir.path().join("gone").as_os_str()).unwrap().ready("x");
        Manager::default().stopping("x", Duration::ZERO);
        assert!(Manager::at(OsStr::new(&"/x".repeat(100))).is_err());
    }
}
