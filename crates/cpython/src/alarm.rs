//! A lock of CPython's on which a thread sleeps until another one wakes it.

use std::ffi::{c_int, c_void};

unsafe extern "C" {
    // Exported by CPython, declared in its pythread.h.
    fn PyThread_allocate_lock() -> *mut c_void;
    fn PyThread_acquire_lock_timed(lock: *mut c_void, microseconds: i64, interruptible: c_int) -> c_int;
    fn PyThread_release_lock(lock: *mut c_void);
    fn PyThread_free_lock(lock: *mut c_void);
}

/// How a wait on an [`Alarm`] ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Woken {
    ByAlarm,
    ByTimeout,
    /// A signal arrived; its Python handler has not run yet.
    BySignal,
}

/// A binary semaphore on which a thread sleeps until another thread rings. It is a lock of CPython's, since
/// the wait for such a lock ends when a signal arrives.
pub struct Alarm(*mut c_void);

impl Alarm {
    /// A new alarm; None if there is no memory.
    pub fn new() -> Option<Self> {
        // SAFETY: no precondition; a new lock is free, and taking it cannot block.
        unsafe {
            let lock = PyThread_allocate_lock();
            if lock.is_null() {
                return None;
            }
            PyThread_acquire_lock_timed(lock, -1, 0);
            Some(Self(lock))
        }
    }

    /// Wakes the thread that sleeps, or the next one that would. The caller makes sure that no thread rings a
    /// second time before a thread was woken.
    pub fn ring(&self) {
        // SAFETY: the lock exists, and is held; a lock of this kind may be released by any thread.
        unsafe { PyThread_release_lock(self.0) }
    }

    /// Sleeps until a thread rings, a signal arrives, or the time is over. Call it without the GIL.
    pub fn wait(&self, microseconds: i64) -> Woken {
        // SAFETY: the lock exists.
        match unsafe { PyThread_acquire_lock_timed(self.0, microseconds, 1) } {
            1 => Woken::ByAlarm,
            2 => Woken::BySignal,
            _ => Woken::ByTimeout,
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        // SAFETY: no thread waits any more; the lock is released before it is freed, as it must be.
        unsafe {
            PyThread_release_lock(self.0);
            PyThread_free_lock(self.0);
        }
    }
}
