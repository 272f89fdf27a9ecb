//! Stacks and switches, tested from outside through the crate's public face.
//!
//! The store of free stacks, its limits and the memory in use belong to the whole process. Tests
//! that change or measure them run [`alone`], the others run [`together`]; so it does not matter
//! whether the runner starts one process per test or one thread per test.

mod fiber;
mod limits;
mod memory;
mod pool;
mod slot;
mod switch;

use stackless_stack::{Limits, Pool, Slot, limits as current_limits, set_limits};
use std::cell::RefCell;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::rc::Rc;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static PROCESS: RwLock<()> = RwLock::new(());

/// A lock that tests which may run together share.
fn together() -> RwLockReadGuard<'static, ()> {
    PROCESS.read().unwrap_or_else(PoisonError::into_inner)
}

/// While it exists, no other test uses stacks; the limits are restored at its end.
struct Alone {
    before: Limits,
    _lock: RwLockWriteGuard<'static, ()>,
}

fn alone() -> Alone {
    let lock = PROCESS.write().unwrap_or_else(PoisonError::into_inner);
    Alone { before: current_limits(), _lock: lock }
}

impl Drop for Alone {
    fn drop(&mut self) {
        set_limits(self.before).expect("they were in force before");
    }
}

/// A pool that several fibers of a thread share.
type Stacks = Rc<RefCell<Pool>>;

fn stacks() -> Stacks {
    Rc::new(RefCell::new(Pool::new()))
}

/// Returns an unused slot.
fn put(pool: &mut Pool, slot: Slot) {
    // SAFETY: in these tests a slot that is not a fiber's is only ever read and written.
    unsafe { pool.put(slot) };
}

fn get_many(pool: &mut Pool, count: usize) -> Vec<Slot> {
    (0..count).map(|_| pool.get().expect("a stack")).collect()
}

/// Writes one byte. `offset` is seen from the slot's top: the stack is below it, the room above.
fn poke(slot: Slot, offset: isize, value: u8) {
    // SAFETY: the callers stay within the slot.
    unsafe { slot.top().offset(offset).write_volatile(value) };
}

fn peek(slot: Slot, offset: isize) -> u8 {
    // SAFETY: the callers stay within the slot.
    unsafe { slot.top().offset(offset).read_volatile() }
}

const CHILD: &str = "STACK_TEST_CHILD";

/// True in the child process that [`run_child`] starts.
fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs one test of this binary again, in a process of its own. Returns how it ended and what it said.
fn run_child(test: &str) -> (ExitStatus, String) {
    let mut again = Command::new(std::env::current_exe().expect("the test binary"));
    again.args(["--exact", test, "--nocapture"]).env(CHILD, "1");
    let no_core_dump = || {
        // SAFETY: the limit is the child's own.
        unsafe { libc::setrlimit(libc::RLIMIT_CORE, &libc::rlimit { rlim_cur: 0, rlim_max: 0 }) };
        Ok(())
    };
    // SAFETY: between fork and exec there is one system call.
    unsafe { again.pre_exec(no_core_dump) };
    let child = again.output().expect("a child");
    let said = [child.stdout, child.stderr].concat();
    (child.status, String::from_utf8_lossy(&said).into_owned())
}

/// The child did what it should and then died of a write to where no stack is.
fn assert_died_of_sigsegv(test: &str, last_words: &str) {
    let (status, said) = run_child(test);
    assert_eq!(status.signal(), Some(libc::SIGSEGV), "{status}: {said}");
    assert!(said.contains(last_words), "{said}");
}
