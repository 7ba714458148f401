//! The client against a server whose daemon is made up.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::client::Client;
use super::protocol::{Handler, Leave, REPLY_BYTES_MAX};
use super::server::{SILENCE_MAX, Server};
use super::status::Status;
use crate::base::monitor::Monitor;
use crate::base::{Error, Result};
use crate::command::{Answer, Command, Export, Exported};
use crate::engine::history::export::{Event, Sink};
use crate::engine::reclaim::Reclaimed;

#[derive(Default)]
struct Fake {
    busy: bool,
    calls: Mutex<Vec<String>>,
}

impl Fake {
    fn note(&self, what: &str) {
        self.calls.lock().unwrap().push(what.into());
    }
}

impl Handler for Fake {
    fn status(&self) -> Status {
        Status { pid: 7, health: "ok".into(), ..Status::default() }
    }
    fn seal_all(&self, progress: &dyn Monitor) -> Result<()> {
        self.note("seal");
        progress.begin("sealing", 10);
        (1..=10).for_each(|done| progress.advance(done));
        Ok(())
    }
    fn reclaim(&self, dry_run: bool, progress: &dyn Monitor) -> Result<Reclaimed> {
        self.note(&format!("reclaim {dry_run}"));
        progress.begin("reclaiming", 10);
        Ok(Reclaimed { versions: 3, ..Reclaimed::default() })
    }
    fn request_unmount(&self, how: Leave) -> Result<()> {
        self.note(&format!("unmount {how:?}"));
        if self.busy { Err(Error::Errno(libc::EBUSY)) } else { Ok(()) }
    }
    fn export(&self, export: &Export, sink: &mut dyn Sink) -> Result<Exported> {
        let version = export.version.clone().ok_or(Error::Refused("no version is named".into()))?;
        sink.take(Event::Total(8 << 20))?;
        (0..8).try_for_each(|n| sink.take(Event::Data(&vec![n; 1 << 20])))?;
        Ok(Exported { run: version, number: 7, files: 1, bytes: 8 << 20, damaged: Vec::new() })
    }
    fn execute(&self, command: Command, progress: &dyn Monitor) -> Result<Answer> {
        progress.begin("looking", 7);
        match command {
            Command::RunList => Ok(Answer::Runs((0..10_000).map(many).collect())),
            other => Err(Error::Refused(format!("{other:?}"))),
        }
    }
}

fn many(at: u64) -> crate::command::RunInfo {
    crate::command::RunInfo {
        path: "ü\"\\".repeat(100),
        versions: at,
        newest: None,
        newest_utc: None,
        logical_bytes: 0,
        new_bytes: 0,
        by_hand: false,
        forgotten: false,
        deleted: None,
    }
}

#[test]
fn an_answer_of_any_length_comes_whole_and_a_refusal_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let _server = Server::start(dir.path(), Arc::new(Fake::default())).unwrap();
    let mut client = Client::connect(dir.path()).unwrap().unwrap();
    let heard = Heard::default();
    let Answer::Runs(runs) = client.execute(Command::RunList, &heard).unwrap() else { panic!("runs") };
    assert!(serde_json::to_vec(&runs).unwrap().len() as u64 > 2 * REPLY_BYTES_MAX);
    assert_eq!(runs, (0..10_000).map(many).collect::<Vec<_>>());
    assert_eq!(*heard.0.lock().unwrap(), ["looking 7"]);
    let said = client.execute(Command::PolicyGet { at: None }, &heard).unwrap_err().to_string();
    assert!(said.contains("PolicyGet"), "{said}");
    assert_eq!(client.status().unwrap().pid, 7);
}

#[derive(Default)]
struct Taken(u64, Option<u64>);
impl Sink for Taken {
    fn take(&mut self, event: Event<'_>) -> Result<()> {
        match event {
            Event::Data(bytes) => self.0 += bytes.len() as u64,
            event => assert_eq!(event, Event::Total(8 << 20)),
        }
        if self.1.is_some_and(|at_most| self.0 > at_most) { Err(Error::Errno(libc::ENOSPC)) } else { Ok(()) }
    }
}

#[test]
fn a_version_comes_whole_a_refusal_in_words_and_whoever_stops_taking_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    let _server = Server::start(dir.path(), Arc::new(Fake::default())).unwrap();
    let mut client = Client::connect(dir.path()).unwrap().unwrap();
    let mut export =
        Export { at: crate::command::Target::Only, version: Some("exp".into()), only: Vec::new() };
    let mut taken = Taken::default();
    assert_eq!(client.export(&export, &mut taken).unwrap().run, "exp");
    assert_eq!(taken.0, 8 << 20);
    export.version = None;
    let said = client.export(&export, &mut Taken::default()).unwrap_err().to_string();
    assert_eq!(said, "no version is named");
    assert_eq!(client.status().unwrap().pid, 7, "the conversation goes on");
    export.version = Some("exp".into());
    let full = client.export(&export, &mut Taken(0, Some(2 << 20)));
    assert!(matches!(full, Err(Error::Errno(libc::ENOSPC))));
    drop(client);
    assert_eq!(Client::connect(dir.path()).unwrap().unwrap().status().unwrap().pid, 7);
}

#[derive(Default)]
struct Heard(Mutex<Vec<String>>);
impl Monitor for Heard {
    fn begin(&self, what: &str, total: u64) {
        self.0.lock().unwrap().push(format!("{what} {total}"));
    }
    fn advance(&self, _done: u64) {}
}

#[test]
fn a_store_without_a_daemon_is_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Client::connect(dir.path()).unwrap().is_none());
    drop(std::os::unix::net::UnixListener::bind(dir.path().join("control.sock")).unwrap());
    assert!(Client::connect(dir.path()).unwrap().is_none(), "a dead daemon's socket");
    assert!(Client::connect(&dir.path().join("nowhere")).is_err());
}

#[test]
fn questions_are_answered_with_progress_even_at_a_very_long_path() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("long".repeat(40));
    std::fs::create_dir(&store).unwrap();
    let fake = Arc::new(Fake::default());
    let server = Server::start(&store, fake.clone()).unwrap();
    let mode = std::fs::metadata(store.join("control.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut client = Client::connect(&store).unwrap().unwrap();
    assert_eq!(client.status().unwrap().pid, 7);
    let heard = Heard::default();
    client.unmount(true, &heard).unwrap();
    client.sync(&heard).unwrap();
    assert_eq!(client.reclaim(true, &heard).unwrap().versions, 3);
    assert_eq!(heard.0.lock().unwrap().first().unwrap(), "sealing 10");
    assert_eq!(*fake.calls.lock().unwrap(), ["seal", "unmount IfIdle", "seal", "reclaim true"]);
    assert!(!client.wait_for_end(Duration::from_millis(50)).unwrap());
    server.end(Duration::from_secs(1));
    assert!(Client::connect(&store).unwrap().is_none(), "no daemon for whoever comes now");
}

#[test]
fn who_waits_for_the_end_of_a_daemon_is_not_sent_away_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let _server = Server::start(dir.path(), Arc::new(Fake::default())).unwrap();
    let [mut silent, mut waiting] = [(); 2].map(|()| Client::connect(dir.path()).unwrap().unwrap());
    silent.status().unwrap();
    waiting.unmount(false, &crate::base::monitor::Silent).unwrap();
    assert!(!waiting.wait_for_end(SILENCE_MAX * 2).unwrap(), "the daemon is still there");
    assert!(silent.wait_for_end(SILENCE_MAX * 2).unwrap(), "who says nothing for long is sent away");
}

#[test]
fn a_busy_mount_says_ebusy_and_a_new_daemon_replaces_a_dead_ones_socket() {
    let dir = tempfile::tempdir().unwrap();
    drop(std::os::unix::net::UnixListener::bind(dir.path().join("control.sock")).unwrap());
    Server::start(dir.path(), Arc::new(Fake { busy: true, ..Fake::default() })).unwrap();
    let mut client = Client::connect(dir.path()).unwrap().unwrap();
    let said = client.unmount(false, &crate::base::monitor::Silent).unwrap_err();
    assert!(matches!(said, Error::Errno(libc::EBUSY)), "{said}");
}

#[test]
fn hostile_lines_get_an_error_line_and_the_next_client_is_served() {
    let dir = tempfile::tempdir().unwrap();
    Server::start(dir.path(), Arc::new(Fake::default())).unwrap();
    let endless = vec![b'x'; 1 << 20];
    for bad in [&b"\n"[..], b"{\"request\":\"format_disk\"}\n", b"\xff\xff\n", &endless] {
        let mut stream = UnixStream::connect(dir.path().join("control.sock")).unwrap();
        // The server may close while we still write: that is the refusal.
        let _closed = stream.write_all(bad).is_err();
        let mut said = String::new();
        let _reset = stream.read_to_string(&mut said).is_err();
        assert!(said.is_empty() || said.starts_with("{\"error\""), "{said}");
    }
    assert_eq!(Client::connect(dir.path()).unwrap().unwrap().status().unwrap().health, "ok");
}

#[test]
fn more_clients_than_the_bound_are_turned_away_and_do_not_stay() {
    let dir = tempfile::tempdir().unwrap();
    Server::start(dir.path(), Arc::new(Fake::default())).unwrap();
    let mut idle: Vec<_> = (0..32).map(|_| Client::connect(dir.path()).unwrap().unwrap()).collect();
    idle.iter_mut().for_each(|client| drop(client.status().unwrap()));
    let said = Client::connect(dir.path()).unwrap().unwrap().status().unwrap_err();
    assert!(matches!(said, Error::Errno(libc::EBUSY)), "{said}");
    drop(idle);
    std::thread::sleep(Duration::from_millis(300));
    assert!(Client::connect(dir.path()).unwrap().unwrap().status().is_ok());
}
