//! The base of `stackless.sync.Queue` and `LifoQueue`.
//!
//! The program may ask for the items, a deque or a list, as in `queue.Queue`. An item goes directly to the first
//! that waits in `get()`; those that wait in `put()` are let in by `get()`, in the order in which they came. As no other
//! code runs meanwhile, no lock is held. The program may hold the attribute `mutex`: then calls wait until it is free.
//!
//! A subclass that replaces one of `_init`, `_qsize`, `_put` and `_get` is *hooked*: these run Python code, which needs a
//! lock. Its calls are made by functions of the package (`python/stackless/sync/queues.py`), as for `PriorityQueue`.

use crate::engine::schedule::give_way;
use crate::model::bomb;
use crate::model::primitive::{Primitive, PrimitiveRef};
use crate::python::args::function;
use crate::python::objects::*;
use crate::python::{args, types};
use crate::sync::items::Items;
use crate::sync::{event, lock, queue, times};
use pyo3_ffi::*;
use stackless_cpython::Pending;
use std::cell::Cell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

/// The object; the cells own what they refer to, or are null.
#[repr(C)]
pub struct Queue {
    /// Those that wait in `get()`.
    getters: Primitive,
    /// The items, while `seen_items` is null ...
    pub items: Items,
    /// ... else they are in this deque or list: the program has asked for it, or a hooked queue has made it.
    pub seen_items: Cell<Obj>,
    /// Where `put()` waits for room, and `join()` for the end of all tasks.
    pub room: Cell<Obj>,
    pub done: Cell<Obj>,
    /// Made when the program asks for them: the lock, and the conditions `not_empty`, `not_full`, `all_tasks_done` ...
    pub seen: [Cell<Obj>; 4],
    /// ... with the queues in which the program itself waits for these conditions.
    pub told: [Cell<Obj>; 3],
    pub maxsize: Cell<i64>,
    pub unfinished: Cell<i64>,
    pub shut: Cell<bool>,
    pub last_first: Cell<bool>,
    pub hooked: Cell<bool>,
}

pub type QueueRef = &'static Queue;

/// # Safety
/// `o` is an object of the type.
pub unsafe fn from(o: Obj) -> QueueRef {
    // SAFETY: the caller's.
    unsafe { &*o.cast::<Queue>() }
}

pub fn of(cell: &Cell<Obj>) -> PrimitiveRef {
    // SAFETY: `tp_new` has made it: a primitive, which the queue owns.
    unsafe { Primitive::from(cell.get()) }
}

impl Queue {
    fn getters(&'static self) -> PrimitiveRef {
        &self.getters
    }

    pub fn obj(&self) -> Obj {
        self.getters.obj()
    }

    pub fn len(&self) -> Res<i64> {
        let items = self.seen_items.get();
        if items.is_null() {
            return Ok(self.items.len() as i64);
        }
        // SAFETY: a living object.
        match unsafe { PyObject_Size(items) } {
            -1 => Err(Raised),
            size => Ok(size as i64),
        }
    }

    fn is_full(&self) -> Res<bool> {
        let most = self.maxsize.get();
        Ok(most > 0 && self.len()? >= most)
    }

    /// Calls a method of the deque or the list. The result is owned.
    fn call(&self, name: &Constant, item: Obj) -> Res<Obj> {
        let arguments = [self.seen_items.get(), item];
        let count = if item.is_null() { 1 } else { 2 };
        // SAFETY: living objects.
        check(unsafe { PyObject_VectorcallMethod(name.get(), arguments.as_ptr(), count, null_mut()) })
    }

    /// Appends an item, which is borrowed.
    fn append(&self, item: Obj) -> Res<()> {
        if self.seen_items.get().is_null() {
            return self.items.append(item);
        }
        self.call(&APPEND, item).map(drop_ref)
    }

    /// Puts back an item that was removed last, and is taken over unless this fails.
    fn put_back(&self, item: Obj) -> Res<()> {
        if self.seen_items.get().is_null() {
            let last_first = self.last_first.get();
            self.items.with(|items| if last_first { items.push_back(item) } else { items.push_front(item) });
            return Ok(());
        }
        let name = if self.last_first.get() { &APPEND } else { &APPEND_LEFT };
        self.call(name, item).map(|done| {
            drop_ref(done);
            drop_ref(item);
        })
    }

    /// Removes the next item; there is one.
    fn pop(&self) -> Res<Obj> {
        let last_first = self.last_first.get();
        if self.seen_items.get().is_null() {
            let item = self.items.with(|items| if last_first { items.pop_back() } else { items.pop_front() });
            return Ok(item.expect("the caller has asked for the length"));
        }
        self.call(if last_first { &POP } else { &POP_LEFT }, null_mut())
    }

    /// From now on the items are in a deque or a list that the program has: borrowed.
    pub fn show_items(&self) -> Res<Obj> {
        if self.seen_items.get().is_null() {
            let class = if self.last_first.get() { (&raw mut PyList_Type).cast() } else { DEQUE.get() };
            // SAFETY: a class.
            let made = check(unsafe { PyObject_CallNoArgs(class) })?;
            drop_ref(self.seen_items.replace(made)); // making it may have run Python code
            let mut failed = Ok(());
            for item in self.items.with(std::mem::take) {
                failed = failed.and(self.append(item));
                drop_ref(item);
            }
            failed?;
        }
        Ok(self.seen_items.get())
    }
}

/// Something made when the module is, or set by the package: owned.
pub struct Constant(AtomicPtr<PyObject>);

impl Constant {
    const fn new() -> Self {
        Self(AtomicPtr::new(null_mut()))
    }

    fn get(&self) -> Obj {
        self.0.load(Relaxed)
    }

    pub fn set(&self, o: Obj) {
        drop_ref(self.0.swap(o, Relaxed));
    }

    /// Raises the exception of a bomb.
    fn raise(&self) -> Raised {
        bomb::raise_bomb(new_ref(self.get()))
    }
}

pub static DEQUE: Constant = Constant::new();
pub static APPEND: Constant = Constant::new();
pub static APPEND_LEFT: Constant = Constant::new();
pub static POP: Constant = Constant::new();
pub static POP_LEFT: Constant = Constant::new();

/// Bombs of the exceptions of the module `queue`.
static EMPTY: Constant = Constant::new();
static FULL: Constant = Constant::new();
static SHUT_DOWN: Constant = Constant::new();

/// The bomb of `queue.Empty`, borrowed.
pub fn empty_bomb() -> Obj {
    EMPTY.get()
}

/// Functions of the package: what a hooked queue does, and the maker of what `Queue::seen` holds.
#[derive(Clone, Copy)]
pub enum InPython {
    Put,
    Get,
    Join,
    TaskDone,
    ShutDown,
    Part,
}

static IN_PYTHON: [Constant; 6] = [const { Constant::new() }; 6];

function!(set_queue_parts, |args| {
    let &[empty, full, shut_down, deque, ref functions @ ..] = args::exactly::<10>("_set_queue_parts", args)?;
    for (constant, class) in [(&EMPTY, empty), (&FULL, full), (&SHUT_DOWN, shut_down)] {
        constant.set(bomb::new([new_ref(class), null_mut(), null_mut()])?);
    }
    DEQUE.set(new_ref(deque));
    for (constant, function) in IN_PYTHON.iter().zip(functions) {
        constant.set(new_ref(*function));
    }
    Ok(none())
});

/// Calls a function of the package for a queue.
pub fn in_python(which: InPython, o: Obj, arguments: [Obj; 3]) -> Res<Obj> {
    let all = [o, arguments[0], arguments[1], arguments[2]];
    let count = all.iter().take_while(|o| !o.is_null()).count();
    // SAFETY: living objects.
    check(unsafe { PyObject_Vectorcall(IN_PYTHON[which as usize].get(), all.as_ptr(), count, null_mut()) })
}

/// Waits until the program does not hold the attribute `mutex`. What follows is done before any other code runs.
fn mutex_is_free(q: QueueRef) -> Res<()> {
    let mutex = q.seen[0].get();
    if mutex.is_null() || of(&q.seen[0]).count.get() == 0 {
        return Ok(());
    }
    lock::pass_through(of(&q.seen[0]))
}

/// A getter that was given an item does not continue with it: it is the next item again.
pub fn take_back(o: Obj, item: Obj) {
    // SAFETY: a queue.
    let q = unsafe { from(o) };
    let done = match queue::next(q.getters()) {
        Some(next) => queue::serve(q.getters(), next, item, Some(take_back)).map(drop_ref),
        None => q.put_back(item),
    };
    if done.is_err() {
        write_unraisable(o);
    }
}

/// Those that wait continue as far as the items allow: in `join()`, then in `get()`, then in `put()`.
fn settle(q: QueueRef) -> Res<()> {
    if q.unfinished.get() == 0 {
        all_done(q)?;
    }
    loop {
        if q.len()? > 0
            && let Some(next) = queue::next(q.getters())
        {
            let item = q.pop()?;
            if queue::serve(q.getters(), next, item, Some(take_back)).map(drop_ref).is_err() {
                saving_exception(|| take_back(q.obj(), item));
                return Err(Raised);
            }
            continue;
        }
        if q.is_full()? {
            return Ok(());
        }
        let Some(next) = queue::next(of(&q.room)) else { return Ok(()) };
        let item = queue::serve(of(&q.room), next, none(), None)?;
        q.unfinished.set(q.unfinished.get() + 1);
        let done = q.append(item);
        drop_ref(item);
        done?;
    }
}

/// No item is unfinished.
fn all_done(q: QueueRef) -> Res<()> {
    wake_all(of(&q.done), none_borrowed())?;
    tell(&q.told[2], i64::MAX)
}

/// Wakes the first that wait in a condition of the program.
fn tell(cell: &Cell<Obj>, most: i64) -> Res<()> {
    if cell.get().is_null() { Ok(()) } else { event::notify_some(of(cell), most).map(drop) }
}

/// All that wait continue with this value, which is borrowed.
fn wake_all(p: PrimitiveRef, value: Obj) -> Res<()> {
    while let Some(next) = queue::next(p) {
        match queue::serve(p, next, new_ref(value), None) {
            Ok(note) => drop_ref(note),
            Err(Raised) => {
                drop_ref(value);
                return Err(Raised);
            }
        }
    }
    Ok(())
}

// ---------------------------------------------------------------------- put

/// Puts an item that there is room for. False if there is none.
fn put_now(q: QueueRef, item: Obj) -> Res<bool> {
    mutex_is_free(q)?;
    if q.shut.get() {
        return Err(SHUT_DOWN.raise());
    }
    if q.is_full()? {
        return Ok(false);
    }
    match queue::next(q.getters()) {
        Some(next) if q.len()? == 0 => {
            new_ref(item);
            let served = queue::serve(q.getters(), next, item, Some(take_back));
            served.map(drop_ref).inspect_err(|_| drop_ref(item))?;
            q.unfinished.set(q.unfinished.get() + 1);
        }
        waiting => {
            q.append(item)?;
            q.unfinished.set(q.unfinished.get() + 1);
            if waiting.is_some() {
                settle(q)?; // the program has put items into the deque itself
            }
            tell(&q.told[0], 1)?;
        }
    }
    Ok(true)
}

fn put_for(q: QueueRef, item: Obj, time: Option<u64>, call: Pending) -> Res<Obj> {
    if put_now(q, item)? {
        return Ok(none());
    }
    if time == Some(0) {
        give_way()?;
        return Err(FULL.raise());
    }
    queue::begin()?;
    if put_now(q, item)? {
        return Ok(none());
    }
    queue::wait(of(&q.room), time, FULL.get(), new_ref(item), None, call)
}

pub unsafe extern "C" fn put(o: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS call of a queue's method.
    let q = unsafe { from(o) };
    let call = Pending::call(put as _, args, args::arguments(count, names));
    if count == 1 && names.is_null() && !q.hooked.get() {
        // SAFETY: as above.
        return give(put_for(q, unsafe { *args }, None, call));
    }
    // SAFETY: as above.
    let given = unsafe { args::named("put", ["item", "block", "timeout"], args, count, names) };
    give(given.and_then(|[item, block, timeout]| {
        if item.is_null() {
            return Err(type_error("put() missing 1 required positional argument: 'item'"));
        }
        if q.hooked.get() {
            return in_python(InPython::Put, o, [item, or_true(block), some(timeout).unwrap_or(null_mut())]);
        }
        put_for(q, item, times::of_queue(block, timeout)?, call)
    }))
}

/// An argument, or True if it was not given: borrowed.
fn or_true(o: Obj) -> Obj {
    // SAFETY: True exists.
    if o.is_null() { unsafe { Py_True() } } else { o }
}

pub unsafe extern "C" fn put_nowait(o: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS call of a queue's method.
    let given = unsafe { args::named("put_nowait", ["item"], args, count, names) };
    give(given.and_then(|[item]| {
        if item.is_null() {
            return Err(type_error("put_nowait() missing 1 required positional argument: 'item'"));
        }
        // SAFETY: as above; False exists.
        unsafe {
            if from(o).hooked.get() {
                return in_python(InPython::Put, o, [item, Py_False(), null_mut()]);
            }
            put_for(from(o), item, Some(0), Pending::NONE)
        }
    }))
}

// ---------------------------------------------------------------------- get

/// Removes an item; None if there is none.
fn get_now(q: QueueRef) -> Res<Option<Obj>> {
    mutex_is_free(q)?;
    if q.len()? == 0 {
        return if q.shut.get() { Err(SHUT_DOWN.raise()) } else { Ok(None) };
    }
    let item = q.pop()?;
    let settled = if queue::next(of(&q.room)).is_some() { settle(q) } else { Ok(()) };
    if let Err(raised) = settled.and_then(|()| tell(&q.told[1], 1)) {
        saving_exception(|| take_back(q.obj(), item));
        return Err(raised);
    }
    Ok(Some(item))
}

fn get_for(q: QueueRef, time: Option<u64>, call: Pending) -> Res<Obj> {
    give_way()?;
    if let Some(item) = get_now(q)? {
        return Ok(item);
    }
    if time == Some(0) {
        return Err(EMPTY.raise());
    }
    queue::begin()?;
    if let Some(item) = get_now(q)? {
        return Ok(item);
    }
    queue::wait(q.getters(), time, EMPTY.get(), null_mut(), Some(take_back), call)
}

pub unsafe extern "C" fn get(o: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS call of a queue's method.
    let q = unsafe { from(o) };
    let call = Pending::call(get as _, args, args::arguments(count, names));
    if count == 0 && names.is_null() && !q.hooked.get() {
        return give(get_for(q, None, call));
    }
    // SAFETY: as above.
    let given = unsafe { args::named("get", ["block", "timeout"], args, count, names) };
    give(given.and_then(|[block, timeout]| {
        if q.hooked.get() {
            return in_python(
                InPython::Get,
                o,
                [or_true(block), some(timeout).unwrap_or(null_mut()), null_mut()],
            );
        }
        get_for(q, times::of_queue(block, timeout)?, call)
    }))
}

pub unsafe extern "C" fn get_nowait(o: Obj, _: Obj) -> Obj {
    // SAFETY: a method of a queue; False exists.
    unsafe {
        if from(o).hooked.get() {
            return give(in_python(InPython::Get, o, [Py_False(), null_mut(), null_mut()]));
        }
        give(get_for(from(o), Some(0), Pending::NONE))
    }
}

// ---------------------------------------------------------------------- tasks and the end

pub unsafe extern "C" fn join(o: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call of a queue's method.
    let (q, given) = unsafe { (from(o), args::positional(args, count)) };
    let call = Pending::call(join as _, args, count);
    give(args::no_arguments("join", given).and_then(|()| {
        if q.hooked.get() {
            return in_python(InPython::Join, o, [null_mut(); 3]);
        }
        for begin in [|| Ok(()), queue::begin] {
            begin()?;
            mutex_is_free(q)?;
            if q.unfinished.get() == 0 {
                return Ok(none());
            }
        }
        queue::wait(of(&q.done), None, none_borrowed(), null_mut(), None, call)
    }))
}

pub unsafe extern "C" fn task_done(o: Obj, _: Obj) -> Obj {
    // SAFETY: a method of a queue.
    let q = unsafe { from(o) };
    if q.hooked.get() {
        return give(in_python(InPython::TaskDone, o, [null_mut(); 3]));
    }
    give(mutex_is_free(q).and_then(|()| {
        let unfinished = q.unfinished.get() - 1;
        if unfinished < 0 {
            return Err(raise(Exc::Value, "task_done() called too many times"));
        }
        q.unfinished.set(unfinished);
        if unfinished == 0 {
            all_done(q)?;
        }
        Ok(none())
    }))
}

pub unsafe extern "C" fn shut_down(o: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS call of a queue's method.
    let (q, given) = unsafe { (from(o), args::named("shutdown", ["immediate"], args, count, names)) };
    give(given.and_then(|[immediate]| {
        let immediate = is_true(immediate)?;
        if q.hooked.get() {
            let immediate = bool_obj(immediate);
            let done = in_python(InPython::ShutDown, o, [immediate, null_mut(), null_mut()]);
            drop_ref(immediate);
            return done;
        }
        mutex_is_free(q)?;
        q.shut.set(true);
        while immediate && q.len()? > 0 {
            drop_ref(q.pop()?);
            q.unfinished.set((q.unfinished.get() - 1).max(0));
        }
        wake_all(of(&q.room), SHUT_DOWN.get())?;
        wake_all(q.getters(), SHUT_DOWN.get())?;
        if q.unfinished.get() == 0 {
            all_done(q)?;
        }
        q.told.iter().try_for_each(|cell| tell(cell, i64::MAX))?;
        Ok(none())
    }))
}

pub unsafe extern "C" fn settle_now(o: Obj, _: Obj) -> Obj {
    // SAFETY: a method of a queue.
    give(settle(unsafe { from(o) }).map(|()| none()))
}

pub unsafe extern "C" fn qsize(o: Obj, _: Obj) -> Obj {
    // SAFETY: a method of a queue.
    let q = unsafe { from(o) };
    give(give_way().and_then(|()| mutex_is_free(q)).and_then(|()| q.len()).map(int_obj))
}

pub unsafe extern "C" fn empty(o: Obj, _: Obj) -> Obj {
    // SAFETY: a method of a queue.
    let q = unsafe { from(o) };
    give(give_way().and_then(|()| mutex_is_free(q)).and_then(|()| q.len()).map(|len| bool_obj(len == 0)))
}

pub unsafe extern "C" fn full(o: Obj, _: Obj) -> Obj {
    // SAFETY: a method of a queue.
    let q = unsafe { from(o) };
    give(give_way().and_then(|()| mutex_is_free(q)).and_then(|()| q.is_full()).map(bool_obj))
}

pub fn functions() -> Vec<PyMethodDef> {
    vec![types::method(
        "_set_queue_parts",
        "Sets what queues need of the package: (Empty, Full, ShutDown, deque, and what `InPython` lists).",
        set_queue_parts,
    )]
}
