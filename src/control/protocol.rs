//! The lines on the socket and the daemon's side of the conversation.
//!
//! A client sends one request a line. The daemon answers with any number of progress lines and then exactly one final
//! line; what the daemon does is decided behind [`Handler`]. A line longer than its bound, or one that is not a request,
//! ends the connection with an error line.
//!
//! Daemons outlive upgrades, so the two ends may be of different versions. `hello`, `status` and `unmount`, their answers,
//! progress and error lines are understood by all of them: fields are added to them, none is taken away or changed. All
//! else is asked only of a daemon that says the same [`PROTOCOL`].

use std::io::{self, BufRead, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::status::Status;
use super::stream::Frame;
use crate::base::monitor::Monitor;
use crate::base::{Error, Result};
use crate::command::{Answer, COMMAND_BYTES_MAX, Command, Export, Exported};
use crate::engine::history::export::Sink;
use crate::engine::reclaim::Reclaimed;

/// What requests and answers mean, as a number: raised with every change that one end could misunderstand or miss.
pub const PROTOCOL: u32 = 1;
/// How the refusal of a line that is no request begins.
pub const NOT_A_REQUEST: &str = "not a request: ";

/// The longest request, in bytes: a command, and what is around it.
pub const REQUEST_BYTES_MAX: u64 = COMMAND_BYTES_MAX as u64 + 1024;
/// The longest reply, in bytes.
pub const REPLY_BYTES_MAX: u64 = 1 << 20;
/// How much of an answer goes into one reply, in bytes: as a JSON text in a JSON text it at most doubles.
pub const PART_BYTES_MAX: usize = 256 << 10;
/// The longest answer to a command, in bytes of JSON: some hundred thousand versions.
pub const ANSWER_BYTES_MAX: usize = 256 << 20;

/// What a client asks: `{"request":"status"}`, `{"request":"unmount","wait":true}`, `{"request":"sync"}`,
/// `{"request":"command","command":{"do":"run_list"}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Which version answers.
    Hello,
    /// The state, at once.
    Status,
    /// Unmount if nobody uses the mount; the daemon then makes everything durable and ends.
    Unmount {
        /// Seal everything first, with progress.
        #[serde(default)]
        wait: bool,
    },
    /// Seal everything that is complete, with progress.
    Sync,
    /// A command on history; its answer comes in parts.
    Command {
        /// The command.
        command: Command,
    },
    /// Hand out a version: frames, then what was handed out.
    Export {
        /// Which, and what of it.
        export: Export,
    },
    /// Give back all space that nothing needs, with progress.
    Gc {
        /// Only tell what would be done.
        #[serde(default)]
        dry_run: bool,
    },
}

/// What the daemon answers, one a line: `{"progress":{..}}`, `{"part":{..}}` or `{"frame":{..}}` any number of times, then one of the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Work goes on.
    Progress {
        /// The phase.
        what: String,
        /// Units done.
        done: u64,
        /// Units in all; 0 = unknown.
        total: u64,
    },
    /// The next piece of the JSON of an [`Answer`]; the last one is followed by `done`.
    Part {
        /// The piece.
        text: String,
    },
    /// The answer to [`Request::Hello`].
    Hello {
        /// The daemon's [`PROTOCOL`].
        protocol: u32,
    },
    /// The answer to [`Request::Status`].
    Status(Box<Status>),
    /// The next piece of a version.
    Frame(Frame),
    /// The end of a version that was handed out.
    Exported(Exported),
    /// The answer to [`Request::Gc`].
    Reclaimed(Reclaimed),
    /// Done.
    Done {},
    /// Not done.
    Error {
        /// One line: what happened and what to do.
        message: String,
        /// The errno, as a mounted file's caller would see it.
        errno: i32,
    },
}

/// How the daemon leaves its mountpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// Only when nobody uses the mount, else `Error::Errno(EBUSY)`.
    IfIdle,
    /// At once (a signal: the process will end within seconds): detached even while files are open.
    Now,
}

/// What a daemon can be asked. Every method may be called from several threads at once.
pub trait Handler: Send + Sync {
    /// The state. Answers within a moment, whatever the daemon is doing.
    fn status(&self) -> Status;
    /// Seals every complete file and returns when they are sealed; progress in bytes.
    fn seal_all(&self, progress: &dyn Monitor) -> Result<()>;
    /// Gives back all space that nothing needs, or tells what that would be; progress in bytes.
    fn reclaim(&self, dry_run: bool, progress: &dyn Monitor) -> Result<Reclaimed>;
    /// Takes the mount away and returns; `Daemon::serve` then makes everything durable and returns as well.
    fn request_unmount(&self, how: Leave) -> Result<()>;
    /// Hands a version to `sink`.
    fn export(&self, export: &Export, sink: &mut dyn Sink) -> Result<Exported>;
    /// Does what a command asks and answers it; progress in bytes, where it takes long.
    fn execute(&self, command: Command, progress: &dyn Monitor) -> Result<Answer>;
}

impl From<&Error> for Reply {
    fn from(error: &Error) -> Self {
        Reply::Error { message: error.to_string(), errno: error.errno() }
    }
}

/// Reads one line of at most `max_bytes` as a `T`; `None` at the end of the stream.
pub fn read_line<T: DeserializeOwned>(from: &mut impl BufRead, max_bytes: u64) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    let len = from.by_ref().take(max_bytes + 1).read_until(b'\n', &mut line)?;
    if len == 0 {
        return Ok(None);
    }
    if line.pop() != Some(b'\n') {
        let why = if line.len() as u64 >= max_bytes { "line too long" } else { "line cut short" };
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    serde_json::from_slice(&line).map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Writes `value` as one line.
pub fn write_line(to: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    to.write_all(&line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(bytes: &[u8]) -> io::Result<Option<Request>> {
        read_line(&mut &bytes[..], REQUEST_BYTES_MAX)
    }

    #[test]
    fn the_lines_are_what_the_documentation_says() {
        let line = |value: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            value(&mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            line(&|o| write_line(o, &Request::Unmount { wait: true }).unwrap()),
            "{\"request\":\"unmount\",\"wait\":true}\n"
        );
        assert_eq!(line(&|o| write_line(o, &Reply::Done {}).unwrap()), "{\"done\":{}}\n");
        let command = Request::Command { command: Command::RunList };
        let written = line(&|o| write_line(o, &command).unwrap());
        assert_eq!(written, "{\"request\":\"command\",\"command\":{\"do\":\"run_list\"}}\n");
        assert_eq!(request(written.as_bytes()).unwrap(), Some(command));
        let reclaimed = Reply::Reclaimed(Reclaimed { versions: 7, ..Reclaimed::default() });
        let reclaimed = line(&|o| write_line(o, &reclaimed).unwrap());
        assert!(reclaimed.starts_with("{\"reclaimed\":{\"versions\":7,"), "{reclaimed}");
        let progress = Reply::Progress { what: "sealing".into(), done: 1, total: 2 };
        assert_eq!(
            line(&|o| write_line(o, &progress).unwrap()),
            "{\"progress\":{\"what\":\"sealing\",\"done\":1,\"total\":2}}\n"
        );
    }

    #[test]
    fn requests_are_read_and_hostile_lines_refused() {
        assert_eq!(request(b"{\"request\":\"status\"}\nrest").unwrap(), Some(Request::Status));
        assert_eq!(request(b"{\"request\":\"unmount\"}\n").unwrap(), Some(Request::Unmount { wait: false }));
        assert_eq!(request(b"{\"request\":\"gc\"}\n").unwrap(), Some(Request::Gc { dry_run: false }));
        assert_eq!(request(b"").unwrap(), None);
        let deep = [vec![b'['; 4000], vec![b'\n']].concat();
        let long = vec![b'a'; 1 << 20];
        for bad in [
            &b"{\"request\":\"status\"}"[..],
            b"\n",
            b"{}\n",
            b"\xff\xfe\n",
            b"{\"request\":\"rm\"}\n",
            b"{\"request\":\"command\",\"command\":{\"do\":\"log\"}}\n",
            &deep,
            &long,
        ] {
            assert_eq!(request(bad).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }
}
