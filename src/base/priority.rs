//! Background work that training does not feel.

use std::os::unix::thread::JoinHandleExt;
use std::thread::JoinHandle;

/// Puts the calling thread at the lowest CPU (`SCHED_IDLE`) and I/O (idle class) priority.
///
/// Both are requests: a container may forbid them, and then the thread works at normal priority.
pub fn make_thread_idle() {
    const IOPRIO_CLASS_IDLE: libc::c_int = 3 << 13;
    schedule(libc::SCHED_IDLE, IOPRIO_CLASS_IDLE);
}

/// Puts the calling thread back at normal priority: somebody waits for what it does. A request, as above.
pub fn make_thread_normal() {
    schedule(libc::SCHED_OTHER, 0);
}

/// Puts another thread back at normal CPU priority. A request, as above; one that has ended is left alone.
pub fn hurry_thread(thread: &JoinHandle<()>) {
    let param = libc::sched_param { sched_priority: 0 };
    // SAFETY: the handle is not joined yet, so the thread's id is valid; `param` outlives the call.
    let done =
        unsafe { libc::pthread_setschedparam(thread.as_pthread_t(), libc::SCHED_OTHER, &raw const param) };
    if done != 0 {
        tracing::debug!("a thread keeps its priority (pthread_setschedparam {done})");
    }
}

fn schedule(policy: libc::c_int, io_priority: libc::c_int) {
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    let param = libc::sched_param { sched_priority: 0 };
    // SAFETY: both calls take the calling thread (0) and plain values; `param` outlives the call.
    let (cpu, io) = unsafe {
        (
            libc::sched_setscheduler(0, policy, &raw const param),
            libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, io_priority),
        )
    };
    if cpu != 0 || io != 0 {
        tracing::debug!("a thread keeps its priority (sched_setscheduler {cpu}, ioprio_set {io})");
    }
}
