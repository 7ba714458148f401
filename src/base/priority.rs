//! Background work that training does not feel.

/// Puts the calling thread at the lowest CPU (`SCHED_IDLE`) and I/O (idle class) priority.
///
/// Both are requests: a container may forbid them, and then the thread works at normal priority.
pub fn make_thread_idle() {
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    const IOPRIO_CLASS_IDLE: libc::c_int = 3 << 13;
    let param = libc::sched_param { sched_priority: 0 };
    // SAFETY: both calls take the calling thread (0) and plain values; `param` outlives the call.
    let (cpu, io) = unsafe {
        (
            libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const param),
            libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_CLASS_IDLE),
        )
    };
    if cpu != 0 || io != 0 {
        tracing::debug!("background thread stays at normal priority (SCHED_IDLE {cpu}, ioprio {io})");
    }
}
