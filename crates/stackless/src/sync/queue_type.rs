//! The type of queues: how its objects are made, their attributes and the table of methods.

use crate::python::objects::*;
use crate::python::{args, types};
use crate::sync::bounded_queue::*;
use crate::sync::items::Items;
use crate::sync::{event, lock, object as objects};
use pyo3_ffi::*;
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

static QUEUE: types::TypeCell = types::TypeCell::new();

unsafe extern "C" fn tp_new(t: *mut PyTypeObject, given: Obj, names: Obj) -> Obj {
    // SAFETY: a type call.
    unsafe {
        let o = objects::tp_new(t, given, names);
        if !o.is_null() {
            Items::init(&raw mut (*o.cast::<Queue>()).items);
            for cell in [&from(o).room, &from(o).done] {
                match event::new_waiters() {
                    Ok(made) => cell.set(made),
                    Err(Raised) => {
                        drop_ref(o);
                        return null_mut();
                    }
                }
            }
        }
        o
    }
}

/// `_begin(maxsize, last_first, hooked)`: what `__init__` of the package does.
unsafe extern "C" fn begin(o: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call of a queue's method.
    let (q, given) = unsafe { (from(o), args::positional(args, count)) };
    give(args::exactly::<3>("_begin", given).and_then(|&[maxsize, last_first, hooked]| {
        // SAFETY: a living object.
        let most = unsafe { PyLong_AsLongLong(maxsize) };
        if most == -1 && raised() {
            return Err(Raised);
        }
        q.maxsize.set(most);
        q.last_first.set(is_true(last_first)?);
        q.hooked.set(is_true(hooked)?);
        Ok(none())
    }))
}

/// `_parts()`: where put() and join() wait, then the lock and the conditions, None for those that were not made.
unsafe extern "C" fn parts(o: Obj, _: Obj) -> Obj {
    // SAFETY: a method of a queue.
    let q = unsafe { from(o) };
    let all = [&q.room, &q.done]
        .into_iter()
        .chain(&q.seen)
        .map(|cell| some(cell.get()).unwrap_or_else(none_borrowed));
    give(list_of(all.map(new_ref).collect()))
}

/// `_set_parts(parts)`: what `_parts()` of another one gave, for a new queue.
unsafe extern "C" fn set_parts(o: Obj, given: Obj) -> Obj {
    // SAFETY: a method of a queue; the items of a list are borrowed.
    unsafe {
        let q = from(o);
        if PyList_Check(given) == 0 || PyList_GET_SIZE(given) != 6 {
            let Raised = type_error("the parts of a queue are a list of 6 objects");
            return null_mut();
        }
        let part = |i| some(PyList_GET_ITEM(given, i));
        for (i, cell) in [&q.room, &q.done].into_iter().enumerate() {
            match part(i as Py_ssize_t) {
                Some(waiters) if event::is_waiters(waiters) => drop_ref(cell.replace(new_ref(waiters))),
                _ => {
                    let Raised = type_error("the first two parts of a queue are where it waits");
                    return null_mut();
                }
            }
        }
        if part(2).is_some_and(|mutex| !lock::is_lock(mutex)) {
            let Raised = type_error("the third part of a queue is a Lock");
            return null_mut();
        }
        for (i, cell) in q.seen.iter().enumerate() {
            drop_ref(cell.replace(part(2 + i as Py_ssize_t).map_or(null_mut(), new_ref)));
        }
        for (condition, told) in q.seen[1..].iter().zip(&q.told).filter(|(seen, _)| !seen.get().is_null()) {
            let waiters = PyObject_GetAttrString(condition.get(), c"_waiters".as_ptr());
            if waiters.is_null() || !event::is_waiters(waiters) {
                drop_ref(waiters);
                let Raised = type_error("the last three parts of a queue are conditions");
                return null_mut();
            }
            drop_ref(told.replace(waiters));
        }
        none()
    }
}

fn cells(q: QueueRef) -> [&'static Cell<Obj>; 10] {
    let ([a, b, c, d], [e, f, g]) = (&q.seen, &q.told);
    [&q.seen_items, &q.room, &q.done, a, b, c, d, e, f, g]
}

unsafe extern "C" fn tp_traverse(o: Obj, visit: visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: a queue.
    unsafe {
        let mut result = types::visit_all(cells(from(o)).map(Cell::get), visit, arg);
        if result == 0 {
            result = from(o).items.traverse(visit, arg);
        }
        if result != 0 { result } else { objects::tp_traverse(o, visit, arg) }
    }
}

/// Without those that wait, which other parts of the garbage may still use.
unsafe extern "C" fn tp_clear(o: Obj) -> c_int {
    // SAFETY: a queue.
    let q = unsafe { from(o) };
    q.items.clear();
    clear(&q.seen_items);
    q.seen.iter().for_each(clear);
    0
}

unsafe extern "C" fn tp_dealloc(o: Obj) {
    // SAFETY: the last reference is gone.
    unsafe {
        PyObject_GC_UnTrack(o.cast());
        cells(from(o)).into_iter().for_each(clear);
        from(o).items.clear();
        std::ptr::drop_in_place(&raw mut (*o.cast::<Queue>()).items);
        objects::destroy(o);
    }
}

const ITEMS: usize = 0;
const MAXSIZE: usize = 1;
const UNFINISHED: usize = 2;
const SHUT: usize = 3;
/// The first of four: what the program has asked for.
const SEEN: usize = 4;

unsafe extern "C" fn attribute(o: Obj, which: *mut c_void) -> Obj {
    // SAFETY: a getter of a queue.
    let q = unsafe { from(o) };
    match which as usize {
        ITEMS => give(q.show_items().map(new_ref)),
        MAXSIZE => int_obj(q.maxsize.get()),
        UNFINISHED => int_obj(q.unfinished.get()),
        SHUT => bool_obj(q.shut.get()),
        seen => give(seen_part(q, seen - SEEN)),
    }
}

/// The lock, or a condition: made at the first use.
fn seen_part(q: QueueRef, which: usize) -> Res<Obj> {
    let cell = &q.seen[which];
    if cell.get().is_null() {
        let (waiters, made) = new_part(q, which)?;
        if cell.get().is_null() {
            cell.set(made);
            if let Some(told) = which.checked_sub(1) {
                q.told[told].set(new_ref(waiters));
            }
        } else {
            drop_ref(made); // making it ran Python code
        }
        drop_ref(waiters);
    }
    Ok(new_ref(cell.get()))
}

fn new_part(q: QueueRef, which: usize) -> Res<(Obj, Obj)> {
    let waiters = event::new_waiters()?;
    let number = int_obj(which as i64);
    let made = check(number).and_then(|_| in_python(InPython::Part, q.obj(), [number, waiters, null_mut()]));
    drop_ref(number);
    match made {
        Ok(made) => Ok((waiters, made)),
        Err(Raised) => {
            drop_ref(waiters);
            Err(Raised)
        }
    }
}

unsafe extern "C" fn set_attribute(o: Obj, value: Obj, which: *mut c_void) -> c_int {
    // SAFETY: a setter of a queue.
    let q = unsafe { from(o) };
    if value.is_null() {
        let Raised = raise(Exc::Attribute, "the attribute cannot be deleted");
        return -1;
    }
    match which as usize {
        ITEMS => {
            drop_ref(q.seen_items.replace(new_ref(value)));
            q.items.clear();
        }
        SHUT => match is_true(value) {
            Ok(shut) => q.shut.set(shut),
            Err(Raised) => return -1,
        },
        number => {
            // SAFETY: a living object.
            let amount = unsafe { PyLong_AsLongLong(value) };
            if amount == -1 && raised() {
                return -1;
            }
            if number == MAXSIZE { &q.maxsize } else { &q.unfinished }.set(amount);
        }
    }
    0
}

pub fn add(module: Obj) -> Res<()> {
    for (constant, name) in
        [(&APPEND, c"append"), (&APPEND_LEFT, c"appendleft"), (&POP, c"pop"), (&POP_LEFT, c"popleft")]
    {
        // SAFETY: a name.
        constant.set(check(unsafe { PyUnicode_InternFromString(name.as_ptr()) })?);
    }
    let methods = [
        types::method_keywords(
            "put",
            "put($self, /, item, block=True, timeout=None)\n--\n\nPut an item into the queue; wait while it is full. Returns None.\n\n\
             timeout: the maximum wait in seconds, None for no limit; then queue.Full is raised, with\n\
             block=False at once. Raises ShutDown after shutdown(), ValueError for a negative timeout,\n\
             RuntimeError if no tasklet is left that could take an item (deadlock).",
            put,
        ),
        types::method_keywords(
            "put_nowait",
            "put_nowait($self, /, item)\n--\n\nAs put(item, block=False).",
            put_nowait,
        ),
        types::method_keywords(
            "get",
            "get($self, /, block=True, timeout=None)\n--\n\nRemove an item and return it; wait while there is none.\n\n\
             timeout: the maximum wait in seconds, None for no limit; then queue.Empty is raised, with\n\
             block=False at once. Raises ShutDown for an empty queue after shutdown(), ValueError for a\n\
             negative timeout, RuntimeError if no tasklet is left that could put an item (deadlock).",
            get,
        ),
        types::method_noargs("get_nowait", "get_nowait($self, /)\n--\n\nAs get(block=False).", get_nowait),
        types::method(
            "join",
            "join($self, /)\n--\n\nWait until task_done() was called for each item that was put.",
            join,
        ),
        types::method_noargs(
            "task_done",
            "task_done($self, /)\n--\n\nSay that the work for an item that was taken is done. Never switches.\n\n\
             Raises ValueError if it was called for all items already.",
            task_done,
        ),
        types::method_keywords(
            "shutdown",
            "shutdown($self, /, immediate=False)\n--\n\nFrom now on put() raises ShutDown, and so does get() once the queue is empty.\n\n\
             Those that wait in them continue with ShutDown. immediate: the items are dropped, and count\n\
             as done. Never switches. (On Python 3.11 and 3.12 as well, whose queues do not have it.)",
            shut_down,
        ),
        types::method_noargs("qsize", "qsize($self, /)\n--\n\nReturn the number of items.", qsize),
        types::method_noargs("empty", "empty($self, /)\n--\n\nReturn True if there is no item.", empty),
        types::method_noargs("full", "full($self, /)\n--\n\nReturn True if put() would wait.", full),
        types::method_noargs("_settle", "Those that wait continue as far as the items allow.", settle_now),
        types::method("_begin", "For __init__: (maxsize, last_first, hooked).", begin),
        types::method_noargs("_parts", "For pickling: where it waits, its lock and conditions.", parts),
        types::method_one("_set_parts", "Sets what _parts() gave.", set_parts),
        types::class_getitem(),
    ];
    let property = |name, doc, which| types::property(name, doc, attribute, set_attribute, which);
    let getters = [
        property("queue", "The items: a deque, or a list.", ITEMS),
        property("maxsize", "int: the maximum number of items, 0 or less for no limit.", MAXSIZE),
        property("unfinished_tasks", "int: items that were put and not yet done.", UNFINISHED),
        property("is_shutdown", "bool: shutdown() was called.", SHUT),
        types::getter("mutex", "Lock: while it is held, calls of other tasklets wait.", attribute, SEEN),
        types::getter("not_empty", "Condition: there is an item.", attribute, SEEN + 1),
        types::getter("not_full", "Condition: there is room.", attribute, SEEN + 2),
        types::getter("all_tasks_done", "Condition: no item is unfinished.", attribute, SEEN + 3),
    ];
    let slots = types::Slots::new()
        .doc("The base of Queue and LifoQueue.")
        .slot(Py_tp_new, tp_new as newfunc as *mut c_void)
        .slot(Py_tp_traverse, tp_traverse as traverseproc as *mut c_void)
        .slot(Py_tp_clear, tp_clear as inquiry as *mut c_void)
        .slot(Py_tp_dealloc, tp_dealloc as destructor as *mut c_void)
        .getters(&getters)
        .methods(&methods);
    objects::add(
        module,
        &QUEUE,
        c"stackless._stackless._Queue",
        size_of::<Queue>(),
        Py_TPFLAGS_BASETYPE,
        slots,
        Some(take_back),
    )
}
