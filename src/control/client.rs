//! The asking end of the socket.
//!
//! A store without a daemon is an answer (`None`), not an error: nobody listens, or the socket is a dead daemon's. Before
//! anything is asked that not every version understands, the daemon says which one it speaks.

use std::io::{self, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::protocol::{self, ANSWER_BYTES_MAX, NOT_A_REQUEST, PROTOCOL, REPLY_BYTES_MAX, Reply, Request};
use super::socket_path;
use super::status::Status;
use super::stream;
use crate::base::monitor::Monitor;
use crate::base::{Error, IoContext, Result};
use crate::command::{Answer, Command, Export, Exported};
use crate::engine::history::export::Sink;
use crate::engine::reclaim::Reclaimed;

/// A daemon that says nothing for this long hangs; while it works it sends progress.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// A daemon that seals may be silent for longer between two progress lines: one file is one step.
const WORKING_SILENCE_MAX: Duration = Duration::from_secs(600);

/// A connection to the daemon of one store.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    socket: PathBuf,
    /// The daemon has said that it speaks as we do.
    is_agreed: bool,
}

impl Client {
    /// Connects to the daemon of `store`; `None` when it has none.
    pub fn connect(store: &Path) -> Result<Option<Self>> {
        let socket = store.join("control.sock");
        let (_folder, path) = socket_path(store)?;
        let stream = match UnixStream::connect(&path) {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
            {
                return Ok(None);
            }
            stream => stream.context("connect to", &socket)?,
        };
        stream.set_write_timeout(Some(SILENCE_MAX)).context("set up", &socket)?;
        Ok(Some(Client { stream: BufReader::new(stream), socket, is_agreed: false }))
    }

    /// The daemon's state.
    pub fn status(&mut self) -> Result<Status> {
        match self.ask(Request::Status, SILENCE_MAX, &crate::base::monitor::Silent)? {
            Reply::Status(status) => Ok(*status),
            _ => Err(self.odd()),
        }
    }

    /// Makes sure that the daemon, which may have been started before an upgrade, speaks as we do.
    fn agree(&mut self) -> Result<()> {
        if self.is_agreed {
            return Ok(());
        }
        match self.ask(Request::Hello, SILENCE_MAX, &crate::base::monitor::Silent) {
            Ok(Reply::Hello { protocol: PROTOCOL }) => {
                self.is_agreed = true;
                Ok(())
            }
            Ok(Reply::Hello { .. }) => Err(self.other_version()),
            Ok(_) => Err(self.odd()),
            Err(error) => Err(error),
        }
    }

    /// Names the other version, by a connection of its own: this one may have been closed for what was said.
    fn other_version(&self) -> Error {
        let store = self.socket.parent().unwrap_or(&self.socket);
        let status =
            Client::connect(store).and_then(|client| client.map(|mut client| client.status()).transpose());
        let (version, at) = match status {
            Ok(Some(status)) => (status.version, status.mountpoint),
            _ => ("of another version".to_owned(), store.display().to_string()),
        };
        Error::Refused(format!(
            "the daemon at {at} is ckptfs {version} and goes on, but this is ckptfs {} and asks in another way; when the \
             mount may go: ckptfs unmount {at}, then mount again",
            env!("CARGO_PKG_VERSION")
        ))
    }

    /// Seals everything that is complete.
    pub fn sync(&mut self, progress: &dyn Monitor) -> Result<()> {
        self.agree()?;
        self.ask(Request::Sync, WORKING_SILENCE_MAX, progress).map(drop)
    }

    /// Gives back all space that nothing needs, or tells what that would be.
    pub fn reclaim(&mut self, dry_run: bool, progress: &dyn Monitor) -> Result<Reclaimed> {
        self.agree()?;
        match self.ask(Request::Gc { dry_run }, WORKING_SILENCE_MAX, progress)? {
            Reply::Reclaimed(done) => Ok(done),
            _ => Err(self.odd()),
        }
    }

    /// Takes the mount away; with `wait` everything is sealed first. Busy is `Error::Errno(EBUSY)`.
    pub fn unmount(&mut self, wait: bool, progress: &dyn Monitor) -> Result<()> {
        self.ask(Request::Unmount { wait }, WORKING_SILENCE_MAX, progress).map(drop)
    }

    /// Does what a command asks and returns its answer.
    pub fn execute(&mut self, command: Command, progress: &dyn Monitor) -> Result<Answer> {
        self.agree()?;
        let mut text = String::new();
        let request = Request::Command { command };
        let mut keep = |part: String| {
            if text.len() + part.len() > ANSWER_BYTES_MAX {
                return Err(Error::Refused(
                    "the daemon's answer does not end; see ckptfs.log in the store".into(),
                ));
            }
            text.push_str(&part);
            Ok(())
        };
        self.ask_in_parts(request, WORKING_SILENCE_MAX, progress, &mut keep)?;
        serde_json::from_str(&text).map_err(|_| self.odd())
    }

    /// Hands a version to `sink`.
    pub fn export(&mut self, export: &Export, sink: &mut dyn Sink) -> Result<Exported> {
        self.agree()?;
        self.stream.get_ref().set_read_timeout(Some(WORKING_SILENCE_MAX)).context("set up", &self.socket)?;
        let request = Request::Export { export: export.clone() };
        protocol::write_line(self.stream.get_mut(), &request).context("write to", &self.socket)?;
        loop {
            let reply =
                protocol::read_line(&mut self.stream, REPLY_BYTES_MAX).context("read from", &self.socket)?;
            match reply {
                Some(Reply::Frame(frame)) => stream::receive(frame, &mut self.stream, sink, &self.socket)?,
                Some(Reply::Exported(done)) => return Ok(done),
                Some(Reply::Error { message, errno }) => return Err(self.refused(message, errno)),
                Some(_) => return Err(self.odd()),
                None => return Err(ended()),
            }
        }
    }

    /// Waits at most `limit` for the daemon's process to end; whether it has.
    pub fn wait_for_end(&mut self, limit: Duration) -> Result<bool> {
        self.stream.get_ref().set_read_timeout(Some(limit)).context("set up", &self.socket)?;
        match self.stream.read(&mut [0; 64]) {
            Ok(0) => Ok(true),
            Ok(_) => Err(self.odd()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(true),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Ok(false)
            }
            Err(error) => Err(error).context("read from", &self.socket),
        }
    }

    fn ask(&mut self, request: Request, silence: Duration, progress: &dyn Monitor) -> Result<Reply> {
        let odd = self.odd();
        let mut asked_for_none = Some(odd);
        self.ask_in_parts(request, silence, progress, &mut |_| asked_for_none.take().map_or(Ok(()), Err))
    }

    fn ask_in_parts(
        &mut self,
        request: Request,
        silence: Duration,
        progress: &dyn Monitor,
        part: &mut dyn FnMut(String) -> Result<()>,
    ) -> Result<Reply> {
        self.stream.get_ref().set_read_timeout(Some(silence)).context("set up", &self.socket)?;
        // A refusal may already wait in the socket when the daemon has closed it, so a failed write is not the last word.
        let written = protocol::write_line(self.stream.get_mut(), &request);
        let mut phase = None;
        loop {
            let reply =
                protocol::read_line(&mut self.stream, REPLY_BYTES_MAX).context("read from", &self.socket)?;
            match reply {
                Some(Reply::Progress { what, done, total }) => {
                    if phase.as_ref() != Some(&(what.clone(), total)) {
                        progress.begin(&what, total);
                        phase = Some((what, total));
                    }
                    progress.advance(done);
                }
                Some(Reply::Part { text }) => part(text)?,
                Some(Reply::Error { message, errno }) => return Err(self.refused(message, errno)),
                Some(reply) => return Ok(reply),
                None => {
                    written.context("write to", &self.socket)?;
                    return Err(ended());
                }
            }
        }
    }

    fn refused(&self, message: String, errno: i32) -> Error {
        match errno {
            libc::EBUSY => Error::Errno(libc::EBUSY),
            libc::EINTR => Error::Refused("the mount is about to end; try again when it has".into()),
            _ if message.starts_with(NOT_A_REQUEST) => self.other_version(),
            _ => Error::Refused(message),
        }
    }

    fn odd(&self) -> Error {
        Error::damaged(&self.socket, "answer: another version of ckptfs?")
    }
}

fn ended() -> Error {
    Error::Refused("the daemon ended before it answered; see ckptfs.log in the store".into())
}
