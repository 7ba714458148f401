//! The daemon's end of the socket.
//!
//! Order: the lock of the store is held, so a socket that is there is a dead daemon's and is replaced; mode 0600 and the
//! peer's credentials decide who is answered, each alone would do. One thread accepts, one thread a connection, both
//! bounded; a client that says nothing, or reads nothing, is dropped after a time. At the end no client is taken any more
//! before the last ones hear that it is the end: who asks then is refused, and finds that there is no daemon. The socket
//! file stays behind: removing it after the lock is free could remove the next daemon's.

use std::fs::Permissions;
use std::io::{self, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::protocol::{
    self, ANSWER_BYTES_MAX, Handler, Leave, NOT_A_REQUEST, PART_BYTES_MAX, PROTOCOL, REQUEST_BYTES_MAX,
    Reply, Request,
};
use super::socket_path;
use super::stream::Frames;
use crate::base::monitor::Monitor;
use crate::base::{Error, IoContext, Result};
use crate::command::{Answer, Command, Export};

/// Connections at once; more are closed.
const CONNECTIONS_MAX: usize = 32;
/// A client may say nothing for this long, but for the one that waits for the daemon's end.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 60 });
/// A client must take a reply within this time.
const REPLY_WAIT: Duration = Duration::from_secs(5);
/// A command that takes longer says so this often.
const ALIVE_EVERY: Duration = Duration::from_secs(5);
/// A client that writes a version somewhere must take the next piece of it within this time.
const PIECE_WAIT: Duration = Duration::from_secs(600);
/// Progress lines come at most this often.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// A running server; it ends with the process.
#[derive(Debug)]
pub struct Server {
    listener: Arc<UnixListener>,
    answering: Arc<AtomicUsize>,
}

impl Server {
    /// Listens on the socket of `store`, whose lock the caller holds, and answers from `handler`.
    pub fn start(store: &Path, handler: Arc<dyn Handler>) -> Result<Self> {
        let (_folder, path) = socket_path(store)?;
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).context("replace", &store.join("control.sock"))?
            }
            _ => {}
        }
        let listener = UnixListener::bind(&path).context("listen on", &store.join("control.sock"))?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o600))
            .context("chmod", &store.join("control.sock"))?;
        let (listener, answering) = (Arc::new(listener), Arc::new(AtomicUsize::new(0)));
        let listening = listener.clone();
        let shared =
            Arc::new(Shared { handler, connections: AtomicUsize::new(0), answering: answering.clone() });
        spawn("control", move || accept(&listening, &shared)).context("start a thread for", store)?;
        Ok(Server { listener, answering })
    }

    /// Takes no more clients, for good, and waits, at most `limit`, until every request that is being answered has its
    /// final line.
    pub fn end(&self, limit: Duration) {
        if let Err(error) = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both) {
            tracing::debug!("control socket: {error}");
        }
        let start = Instant::now();
        while self.answering.load(Ordering::SeqCst) > 0 && start.elapsed() < limit {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

struct Shared {
    handler: Arc<dyn Handler>,
    connections: AtomicUsize,
    answering: Arc<AtomicUsize>,
}

/// Counts one while it lives.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(counter: &'a AtomicUsize) -> (Self, usize) {
        let now = counter.fetch_add(1, Ordering::SeqCst) + 1;
        (Counted(counter), now)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.into()).spawn(work).map(drop)
}

fn accept(listener: &UnixListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        let shared = shared.clone();
        let served = stream.and_then(|stream| {
            spawn("control-client", move || {
                if let Err(error) = converse(&stream, &shared) {
                    tracing::debug!("control client: {error}");
                }
            })
        });
        if let Err(error) = served {
            if error.raw_os_error() == Some(libc::EINVAL) {
                // Shut down.
                return;
            }
            // Out of descriptors or threads: the next client may have more luck, in a moment.
            tracing::warn!("control socket: {error}");
            thread::sleep(Duration::from_millis(100));
        }
    }
}

fn converse(stream: &UnixStream, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    stream.set_write_timeout(Some(REPLY_WAIT))?;
    let mut to = stream;
    // Before it counts: strangers cannot take the places of those who are answered.
    let peer = rustix::net::sockopt::socket_peercred(stream)?.uid;
    if !peer.is_root() && peer != rustix::process::geteuid() {
        return refuse(&mut to, "only the daemon's user and root are answered; use sudo", libc::EACCES);
    }
    let (_counted, connections) = Counted::new(&shared.connections);
    if connections > CONNECTIONS_MAX {
        return refuse(&mut to, "too many clients; try again", libc::EBUSY);
    }
    let mut from = BufReader::new(stream);
    loop {
        match protocol::read_line(&mut from, REQUEST_BYTES_MAX) {
            Ok(Some(request)) => answer(request, &mut to, shared)?,
            Ok(None) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return refuse(&mut to, &format!("{NOT_A_REQUEST}{error}"), libc::EINVAL);
            }
            Err(error) => return Err(error),
        }
    }
}

fn refuse(to: &mut &UnixStream, message: &str, errno: i32) -> io::Result<()> {
    protocol::write_line(to, &Reply::Error { message: message.to_owned(), errno })
}

fn answer(request: Request, to: &mut &UnixStream, shared: &Shared) -> io::Result<()> {
    let (_counted, _) = Counted::new(&shared.answering);
    let handler = &shared.handler;
    let done = match request {
        Request::Hello => return protocol::write_line(to, &Reply::Hello { protocol: PROTOCOL }),
        Request::Status => {
            return protocol::write_line(to, &Reply::Status(Box::new(handler.status())));
        }
        Request::Gc { dry_run } => match handler.reclaim(dry_run, &Lines::new(to)) {
            Ok(done) => return protocol::write_line(to, &Reply::Reclaimed(done)),
            Err(error) => Err(error),
        },
        Request::Export { export } => return hand_out(&export, to, handler.as_ref()),
        Request::Sync => handler.seal_all(&Lines::new(to)),
        Request::Command { command } => return execute(command, to, handler.as_ref()),
        Request::Unmount { wait } => {
            let lines = Lines::new(to);
            let sealed = if wait { handler.seal_all(&lines) } else { Ok(()) };
            if lines.gone.load(Ordering::SeqCst) {
                // Whoever asked has given up waiting: it no longer wants the mount to go.
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let unmounted = sealed.and_then(|()| handler.request_unmount(Leave::IfIdle));
            if unmounted.is_ok() {
                // Whoever asked takes a closed connection for the daemon's end.
                to.set_read_timeout(None)?;
            }
            unmounted
        }
    };
    protocol::write_line(to, &done.as_ref().err().map_or(Reply::Done {}, Reply::from))
}

/// Answers a command in parts. While it works, a line now and then says so, whether or not the work tells how far it is:
/// who hears nothing gives up.
fn execute(command: Command, to: &mut &UnixStream, handler: &dyn Handler) -> io::Result<()> {
    let (done, answer) = mpsc::channel();
    let lines = Lines::new(to);
    let answer = thread::scope(|scope| {
        let lines = &lines;
        // The receiver is there until the scope ends.
        scope.spawn(move || drop(done.send(handler.execute(command, lines))));
        loop {
            match answer.recv_timeout(ALIVE_EVERY) {
                Ok(answer) => return answer,
                Err(mpsc::RecvTimeoutError::Timeout) => lines.repeat(),
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return Err(Error::Refused("the command failed inside the daemon; see its log".into()));
                }
            }
        }
    });
    match answer.and_then(|answer| written(&answer)) {
        Ok(text) => send(&text, to),
        Err(error) => protocol::write_line(to, &Reply::from(&error)),
    }
}

/// Hands out a version, as fast as the client takes it.
fn hand_out(export: &Export, to: &mut &UnixStream, handler: &dyn Handler) -> io::Result<()> {
    to.set_write_timeout(Some(PIECE_WAIT))?;
    let mut frames = Frames::new(*to);
    let done = handler.export(export, &mut frames);
    frames.finish(&done.map_or_else(|error| Reply::from(&error), Reply::Exported))?;
    to.set_write_timeout(Some(REPLY_WAIT))
}

fn written(answer: &Answer) -> Result<String> {
    let text = serde_json::to_string(answer)
        .map_err(|error| Error::Refused(format!("cannot write JSON: {error}")))?;
    if text.len() > ANSWER_BYTES_MAX {
        return Err(Error::Refused("the answer is too long; ask for less of it, for example with -n".into()));
    }
    Ok(text)
}

fn send(text: &str, to: &mut &UnixStream) -> io::Result<()> {
    let mut rest = text;
    while !rest.is_empty() {
        let mut len = rest.len().min(PART_BYTES_MAX);
        while !rest.is_char_boundary(len) {
            len -= 1;
        }
        let (part, after) = rest.split_at(len);
        protocol::write_line(to, &Reply::Part { text: part.to_owned() })?;
        rest = after;
    }
    protocol::write_line(to, &Reply::Done {})
}

/// A monitor that writes progress lines; once the client is gone it hears nothing more.
struct Lines<'a> {
    to: &'a UnixStream,
    phase: std::sync::Mutex<Phase>,
    gone: AtomicBool,
}

struct Phase {
    what: String,
    done: u64,
    total: u64,
    said: Option<Instant>,
}

impl<'a> Lines<'a> {
    fn new(to: &'a UnixStream) -> Self {
        let phase = Phase { what: "working".to_owned(), done: 0, total: 0, said: None };
        Lines { to, phase: phase.into(), gone: AtomicBool::new(false) }
    }

    /// Says the last line again.
    fn repeat(&self) {
        let mut phase = self.phase.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let done = phase.done;
        self.say(&mut phase, done);
    }

    fn say(&self, phase: &mut Phase, done: u64) {
        (phase.said, phase.done) = (Some(Instant::now()), done);
        let line = Reply::Progress { what: phase.what.clone(), done, total: phase.total };
        if !self.gone.load(Ordering::SeqCst) && protocol::write_line(&mut { self.to }, &line).is_err() {
            self.gone.store(true, Ordering::SeqCst);
        }
    }
}

impl Monitor for Lines<'_> {
    fn begin(&self, what: &str, total: u64) {
        let mut phase = self.phase.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        (phase.what, phase.total) = (what.to_owned(), total);
        self.say(&mut phase, 0);
    }

    fn advance(&self, done: u64) {
        let mut phase = self.phase.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if phase.said.is_none_or(|said| said.elapsed() >= PROGRESS_EVERY) {
            self.say(&mut phase, done);
        }
    }
}
