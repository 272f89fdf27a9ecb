//! Cancel scopes and task groups: which tasklets are cancelled, and when.
//!
//! Scopes are a tree. A tasklet refers to its innermost scope, each scope to the one around it. A scope has an *owner*,
//! the tasklet that is in its block, and, if it is a task group, *members*: tasklets that began in it and have not
//! ended. The innermost scope of a member that is in no block of its own is the group.
//!
//! A tasklet *is cancelled* while one of the scopes around it is, from the inside out to the first shield. Then each
//! call that is about to wait raises `Cancelled` ([`refuse`]), and a wait that is under way ends with it. What is
//! raised names the outermost of these scopes, the one whose block ends. The flag `cancelled` of a tasklet is kept up
//! to date by [`refresh`], so that a call tests one byte.
//!
//! Everything here happens at once: a deadline may pass in the middle of a switch, and a signal handler must not find
//! a tree half of which is cancelled. So no Python code runs and nothing is allocated. One bomb serves for all
//! tasklets that are woken: it makes the exception when the tasklet finds it.

use crate::model::bomb;
use crate::model::scope::{NEVER, Scope, ScopeRef};
use crate::model::tasklet::{Tasklet, TaskletRef};
use crate::model::thread::{Due, begun, of_running_tasklet};
use crate::model::world::world;
use crate::python::objects::*;
use crate::python::types::TypeCell;
use crate::scheduler::ring::{adopt_link, make_runnable};
use crate::scheduler::{entry, limits, waits};
use pyo3_ffi::*;
use stackless_reactor::now;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

/// The class `stackless.Cancelled`, and the bomb for tasklets that wait: set when the module is made.
pub static CANCELLED: AtomicPtr<PyObject> = AtomicPtr::new(null_mut());
static BOMB: AtomicPtr<PyObject> = AtomicPtr::new(null_mut());

/// The class of scopes.
pub static SCOPE: TypeCell = TypeCell::new();

/// The scope that an object is, None for other objects.
pub fn as_scope(o: Obj) -> Option<ScopeRef> {
    // SAFETY: a living object and a type; a scope if that is its type.
    unsafe { (PyObject_TypeCheck(o, SCOPE.get()) != 0).then(|| Scope::from(o)) }
}

/// Sets the class, which is taken over.
pub fn ready(class: Obj) -> Res<()> {
    CANCELLED.store(class, Relaxed);
    BOMB.store(bomb::of_function(new_ref(class), raise_cancelled)?, Relaxed);
    Ok(())
}

/// The scopes around a tasklet, innermost first.
fn around(t: TaskletRef) -> impl Iterator<Item = ScopeRef> {
    std::iter::successors(Scope::in_cell(&t.scope), |scope| Scope::in_cell(&scope.outer))
}

/// The scopes whose blocks a tasklet is in, innermost first.
fn own(t: TaskletRef) -> impl Iterator<Item = ScopeRef> {
    around(t).take_while(move |scope| scope.is_owned_by(t))
}

/// The group in which a tasklet began; None if it was started outside of groups.
pub fn group_of(t: TaskletRef) -> Option<ScopeRef> {
    around(t).find(|scope| !scope.is_owned_by(t))
}

/// The scope that cancels a tasklet, if it is cancelled: the outermost one, up to the first shield.
pub fn cancelling(t: TaskletRef) -> Option<ScopeRef> {
    let mut found = None;
    for scope in around(t) {
        let flags = scope.flags.get();
        if flags.joining && scope.is_owned_by(t) {
            return None;
        }
        if flags.cancelled {
            found = Some(scope);
        }
        if flags.shield {
            break;
        }
    }
    found
}

/// Raises the `Cancelled` of the running tasklet, which is cancelled. No other Python code runs.
#[cold]
pub fn raise_cancelled() -> Raised {
    let scope = cancelling(of_running_tasklet().current());
    let class = CANCELLED.load(Relaxed);
    without_collection(|| {
        let reason = scope.map_or(null_mut(), |scope| scope.reason.get());
        let count = usize::from(!reason.is_null());
        // SAFETY: an exception class made in this crate, one or no argument, and its attribute.
        unsafe {
            let exception = PyObject_Vectorcall(class, &raw const reason, count, null_mut());
            let name = scope.map_or_else(none_borrowed, |scope| scope.obj());
            if !exception.is_null() && PyObject_SetAttrString(exception, c"scope".as_ptr(), name) == 0 {
                PyErr_SetObject(class, exception);
            }
            drop_ref(exception);
        }
    });
    Raised
}

/// A call of the running tasklet is about to wait: the error if the tasklet is cancelled.
#[inline(always)]
pub fn refuse(me: TaskletRef) -> Res<()> {
    if me.cancelled.get() { Err(raise_cancelled()) } else { Ok(()) }
}

/// Drops a reference at the calling thread's next switch: no Python code runs now. (At once in a thread without
/// tasklets.)
fn drop_later(o: Obj) {
    match begun() {
        Some(s) if !o.is_null() => s.drop_later(o),
        _ => drop_ref(o),
    }
}

/// Brings the flag `cancelled` up to date, and wakes the tasklet if it waits and is cancelled now.
fn refresh(t: TaskletRef) {
    let cancelled = cancelling(t).is_some();
    if t.cancelled.get() == cancelled {
        return;
    }
    t.cancelled.set(cancelled);
    if cancelled && t.alive() && !world(|w| w.in_ring(t.id())) && !entry::is_stranded(t) {
        let old = t.tempval.replace(new_ref(BOMB.load(Relaxed)));
        make_runnable(t);
        drop_later(old);
    }
}

/// Cancels a scope: all tasklets in it, in the order in which they began. Does nothing if it is cancelled, or was left.
pub fn cancel(scope: ScopeRef) {
    if scope.flags.get().cancelled {
        return;
    }
    stop_timer(scope);
    scope.set_flags(|f| f.cancelled = true);
    let mut to_visit = Visits(null());
    to_visit.add(scope);
    if let Some(owner) = scope.owner() {
        refresh(owner);
        own(owner).take_while(|inner| !std::ptr::eq(*inner, scope)).for_each(|inner| to_visit.add(inner));
    }
    while let Some(scope) = to_visit.take() {
        let mut at = scope.first_member();
        while let Some(t) = at {
            refresh(t);
            own(t).for_each(|inner| to_visit.add(inner));
            // SAFETY: the next member, or null; nothing has ended meanwhile.
            at = unsafe { t.peers[1].get().as_ref() };
        }
    }
}

/// Scopes whose members are to be visited, linked by a field of theirs.
struct Visits(*const Scope);

impl Visits {
    fn add(&mut self, scope: ScopeRef) {
        if scope.first_member().is_some() && !scope.flags.get().to_visit {
            scope.set_flags(|f| f.to_visit = true);
            scope.next_visit.set(self.0);
            self.0 = scope;
        }
    }

    fn take(&mut self) -> Option<ScopeRef> {
        // SAFETY: scopes with members are owned by these, and nothing ends during the visits.
        let scope = unsafe { self.0.as_ref() }?;
        self.0 = scope.next_visit.replace(null());
        scope.set_flags(|f| f.to_visit = false);
        Some(scope)
    }
}

// ---------------------------------------------------------------------- blocks

/// A tasklet enters the block of a scope that was not entered before.
pub fn enter(t: TaskletRef, scope: ScopeRef) {
    scope.owner.set(t);
    scope.set_flags(|f| f.entered = true);
    scope.outer.set(t.scope.replace(new_ref(scope.obj())));
    t.extra.set(true);
    let time = scope.time.get();
    set_deadline(scope, if time == NEVER { scope.deadline.get() } else { now().saturating_add(time) });
    refresh(t);
}

/// Its block is left, or will not be continued: it is removed from around its owner.
pub fn leave(scope: ScopeRef) {
    let Some(t) = scope.owner() else { return };
    stop_timer(scope);
    let outer = scope.outer.replace(null_mut());
    let inner = own(t).find(|inner| std::ptr::eq(inner.outer.get(), scope.obj()));
    match inner {
        Some(inner) => inner.outer.set(outer),
        None => t.scope.set(outer),
    }
    scope.owner.set(null());
    scope.set_flags(|f| f.joining = false);
    refresh(t);
    drop_later(scope.obj()); // that of the tasklet, or of the inner scope
}

/// Begins or ends the time in which the owner of a group waits for the members.
pub fn set_joining(scope: ScopeRef, on: bool) {
    scope.set_flags(|f| f.joining = on);
    if let Some(owner) = scope.owner() {
        refresh(owner);
    }
}

// ---------------------------------------------------------------------- deadlines

/// Sets the deadline of a scope whose block is being executed.
pub fn set_deadline(scope: ScopeRef, at: u64) {
    stop_timer(scope);
    scope.deadline.set(at);
    let Some(owner) = scope.owner() else { return };
    let Some(theirs) = owner.scheduler() else { return };
    if at == NEVER || scope.flags.get().cancelled {
        return;
    }
    if at <= now() {
        return expire(scope);
    }
    scope.timer.set(Some(theirs.waits.timers.borrow_mut().start(at, Due::Scope(scope))));
    waits::count_armed(theirs, owner, 1);
    theirs.wake(); // it sleeps until the deadline that was
}

fn stop_timer(scope: ScopeRef) {
    let Some(timer) = scope.timer.take() else { return };
    let Some(owner) = scope.owner() else { return };
    if let Some(s) = owner.scheduler() {
        s.waits.timers.borrow_mut().stop(timer);
        waits::count_armed(s, owner, -1);
    }
}

/// The deadline has passed.
pub fn expire(scope: ScopeRef) {
    scope.set_flags(|f| f.expired = true);
    cancel(scope);
}

/// The number of deadlines over a tasklet that were not reached yet, those of `with timeout()` included.
pub fn armed_of(t: TaskletRef) -> u32 {
    limits::armed_of(t) + own(t).filter(|scope| scope.timer.get().is_some()).count() as u32
}

/// The first deadline around a tasklet, up to the first shield, and that of `with timeout()`; `NEVER` for none.
pub fn first_deadline(t: TaskletRef) -> u64 {
    let mut first = limits::first_of(t).unwrap_or(NEVER);
    for scope in around(t) {
        first = first.min(scope.deadline.get());
        if scope.flags.get().shield {
            break;
        }
    }
    first
}

/// Makes a tasklet a daemon, or not.
pub fn set_daemon(t: TaskletRef, on: bool) {
    let armed = i32::from(waits::is_armed(t)) + armed_of(t) as i32;
    let s = t.scheduler().filter(|_| armed > 0);
    for change in [-armed, armed] {
        if let Some(s) = s {
            waits::count_armed(s, t, change);
        }
        t.set_flags(|f| f.daemon = on);
    }
}

// ---------------------------------------------------------------------- errors

/// True if this exception, which a member of the group did not catch, is its end by cancellation.
pub fn is_own_end(group: ScopeRef, t: TaskletRef, kind: Obj, value: Obj) -> bool {
    let Some(scope) = scope_of_cancelled(kind, value) else { return false };
    let ours = around(t).any(|each| std::ptr::eq(each, scope));
    if ours && !std::ptr::eq(group, scope) {
        group.set_flags(|f| f.starved = true);
    }
    ours
}

/// The scope of a `Cancelled`; None for other exceptions.
pub fn scope_of_cancelled(kind: Obj, value: Obj) -> Option<ScopeRef> {
    if !is_subclass(kind, CANCELLED.load(Relaxed)) {
        return None;
    }
    // SAFETY: a living exception; its attribute is kept by it, and cannot go away before the next Python code.
    let scope = unsafe { PyObject_GetAttrString(value, c"scope".as_ptr()) };
    if scope.is_null() {
        // SAFETY: the GIL is held.
        unsafe { PyErr_Clear() };
        return None;
    }
    let found = as_scope(scope);
    drop_ref(scope);
    found
}

/// True if the block of a group is being executed, or waits for its members: then it raises their errors.
pub fn takes_errors(group: ScopeRef) -> bool {
    group.owner().is_some() && !group.errors.get().is_null()
}

/// True if this very exception was noted already.
pub fn has_failed_with(group: ScopeRef, error: Obj) -> bool {
    let errors = group.errors.get();
    if errors.is_null() {
        return false;
    }
    // SAFETY: a list of the group's own, and its items.
    unsafe { (0..PyList_GET_SIZE(errors)).any(|i| std::ptr::eq(PyList_GET_ITEM(errors, i), error)) }
}

/// Notes an exception that belongs to a group, which is taken over: it is raised when the block of the group ends.
pub fn fail(group: ScopeRef, error: Obj) {
    let kind = type_of(error).cast();
    // SAFETY: exception classes; a list of the group's own.
    unsafe {
        let fatal = is_subclass(kind, PyExc_KeyboardInterrupt) || is_subclass(kind, PyExc_SystemExit);
        if fatal && group.fatal.get().is_null() {
            return group.fatal.set(error);
        }
        let errors = group.errors.get();
        if errors.is_null() || PyList_Append(errors, error) < 0 {
            // Without memory for the list, or without a list any more, it is printed.
            PyErr_Clear();
            let Raised = set_exception([new_ref(kind), new_ref(error), null_mut()]);
            write_unraisable(group.obj());
        }
    }
    drop_ref(error);
}

// ---------------------------------------------------------------------- members

/// A tasklet that was just made begins in this group.
pub fn add_member(scope: ScopeRef, t: TaskletRef) {
    t.scope.set(new_ref(scope.obj()));
    t.extra.set(true);
    new_ref(t.obj());
    append(scope, t);
    scope.count.set(scope.count.get() + 1);
    t.cancelled.set(cancelling(t).is_some()); // it begins all the same
}

/// Makes a member the last one, if it still is a member.
pub fn move_to_end(scope: ScopeRef, t: TaskletRef) {
    if group_of(t).is_some_and(|group| std::ptr::eq(group, scope)) {
        take_out(scope, t);
        append(scope, t);
    }
}

fn append(scope: ScopeRef, t: TaskletRef) {
    let last = scope.members[1].replace(t);
    // SAFETY: the last member, or null.
    match unsafe { last.as_ref() } {
        Some(last) => last.peers[1].set(t),
        None => scope.members[0].set(t),
    }
    t.peers[0].set(last);
    t.peers[1].set(null());
}

fn take_out(scope: ScopeRef, t: TaskletRef) {
    let [before, after] = [&t.peers[0], &t.peers[1]].map(|cell| cell.replace(null()));
    // SAFETY: neighbours in the list, or null.
    unsafe {
        before.as_ref().map_or(&scope.members[0], |before| &before.peers[1]).set(after);
        after.as_ref().map_or(&scope.members[1], |after| &after.peers[0]).set(before);
    }
}

fn remove_member(scope: ScopeRef, t: TaskletRef) {
    take_out(scope, t);
    scope.count.set(scope.count.get() - 1);
    if scope.count.get() == 0 && scope.flags.get().joining {
        wake_owner(scope);
    }
    // SAFETY: a living object.
    if unsafe { Py_REFCNT(t.obj()) } > 1 { drop_ref(t.obj()) } else { drop_later(t.obj()) }
}

/// The last member has ended: the owner, which waits for that, continues.
fn wake_owner(scope: ScopeRef) {
    let Some(owner) = scope.owner() else { return };
    let Some(channel) = owner.channel() else { return };
    if !std::ptr::eq(world(|w| w.channel_payload(channel)).obj(), scope.end.get()) {
        return;
    }
    world(|w| w.dequeue(owner.id()));
    if owner.scheduler().is_some() {
        adopt_link(owner);
    } else {
        drop_later(owner.obj());
    }
}

/// A tasklet has ended, or cannot continue: the blocks that it was in are over, and the members of groups among them
/// are cancelled; it is no member of its group any more.
pub fn end_all(t: TaskletRef) {
    while let Some(scope) = Scope::in_cell(&t.scope) {
        if scope.is_owned_by(t) {
            if scope.first_member().is_some() {
                cancel(scope);
            }
            leave(scope);
        } else {
            t.scope.set(null_mut());
            remove_member(scope, t);
            drop_later(scope.obj());
        }
    }
    t.cancelled.set(false);
}

impl Tasklet {
    /// True if it is in the block of a scope.
    pub fn is_in_block(&'static self) -> bool {
        own(self).next().is_some()
    }
}
