//! `stackless.sync.SimpleQueue`.

use crate::engine::schedule::give_way;
use crate::model::bomb;
use crate::model::primitive::{Primitive, PrimitiveRef};
use crate::python::objects::*;
use crate::python::{args, types};
use crate::sync::bounded_queue::empty_bomb;
use crate::sync::items::Items;
use crate::sync::{object as objects, queue, times};
use pyo3_ffi::*;
use stackless_cpython::Pending;
use std::collections::VecDeque;
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

const DOC: &str = "SimpleQueue()\n--\n\n\
An unbounded queue, first in, first out, as queue.SimpleQueue.";

static SIMPLE_QUEUE: types::TypeCell = types::TypeCell::new();

/// The object: its items are owned.
#[repr(C)]
struct SimpleQueue {
    primitive: Primitive,
    items: Items,
}

/// The items of a queue.
#[inline(always)]
fn items(p: PrimitiveRef) -> &'static Items {
    // SAFETY: called for objects of this type, which begin with the primitive.
    unsafe { &(*std::ptr::from_ref(p).cast::<SimpleQueue>()).items }
}

unsafe extern "C" fn tp_new(t: *mut PyTypeObject, given: Obj, names: Obj) -> Obj {
    // SAFETY: a type call.
    unsafe {
        let o = objects::tp_new(t, given, names);
        if !o.is_null() {
            Items::init(&raw mut (*o.cast::<SimpleQueue>()).items);
        }
        o
    }
}

unsafe extern "C" fn tp_traverse(o: Obj, visit: visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: a queue.
    unsafe {
        let result = items(Primitive::from(o)).traverse(visit, arg);
        if result != 0 { result } else { objects::tp_traverse(o, visit, arg) }
    }
}

unsafe extern "C" fn tp_clear(o: Obj) -> c_int {
    // SAFETY: a queue.
    items(unsafe { Primitive::from(o) }).clear();
    0
}

unsafe extern "C" fn tp_dealloc(o: Obj) {
    // SAFETY: the last reference is gone; the items are not used any more.
    unsafe {
        PyObject_GC_UnTrack(o.cast());
        tp_clear(o);
        std::ptr::drop_in_place(&raw mut (*o.cast::<SimpleQueue>()).items);
        objects::destroy(o);
    }
}

/// An item that the one that waited for it did not take: it is the first again.
fn take_back(p: Obj, item: Obj) {
    // SAFETY: a queue.
    let p = unsafe { Primitive::from(p) };
    if let Some(next) = queue::next(p) {
        match queue::serve(p, next, item, Some(take_back)) {
            Ok(note) => return drop_ref(note),
            Err(Raised) => write_unraisable(p.obj()),
        }
    }
    items(p).with(|items| items.push_front(item));
}

fn put_item(p: PrimitiveRef, item: Obj) -> Res<Obj> {
    if let Some(next) = queue::next(p) {
        new_ref(item);
        match queue::serve(p, next, item, Some(take_back)) {
            Ok(note) => drop_ref(note),
            Err(Raised) => {
                drop_ref(item);
                return Err(Raised);
            }
        }
        return Ok(none());
    }
    items(p).append(item)?;
    Ok(none())
}

unsafe extern "C" fn put(o: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS call of a queue's method.
    let p = unsafe { Primitive::from(o) };
    if count == 1 && names.is_null() {
        // SAFETY: as above.
        return give(put_item(p, unsafe { *args }));
    }
    // SAFETY: as above.
    let given = unsafe { args::named("put", ["item", "block", "timeout"], args, count, names) };
    give(given.and_then(|[item, ..]| {
        if item.is_null() {
            return Err(type_error("put() missing required argument 'item' (pos 1)"));
        }
        put_item(p, item)
    }))
}

unsafe extern "C" fn put_nowait(o: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS call of a queue's method.
    let (p, given) = unsafe { (Primitive::from(o), args::named("put_nowait", ["item"], args, count, names)) };
    give(given.and_then(|[item]| {
        if item.is_null() {
            return Err(type_error("put_nowait() missing required argument 'item' (pos 1)"));
        }
        put_item(p, item)
    }))
}

fn get_for(p: PrimitiveRef, time: Option<u64>, call: Pending) -> Res<Obj> {
    give_way()?;
    if let Some(item) = items(p).with(VecDeque::pop_front) {
        return Ok(item);
    }
    let empty = empty_bomb();
    if time == Some(0) {
        return bomb::unpack(new_ref(empty));
    }
    queue::begin()?;
    if let Some(item) = items(p).with(VecDeque::pop_front) {
        return Ok(item);
    }
    queue::wait(p, time, empty, null_mut(), Some(take_back), call)
}

unsafe extern "C" fn get(o: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS call of a queue's method.
    let p = unsafe { Primitive::from(o) };
    let call = Pending::call(get as _, args, args::arguments(count, names));
    if count == 0 && names.is_null() {
        return give(get_for(p, None, call));
    }
    // SAFETY: as above.
    let given = unsafe { args::named("get", ["block", "timeout"], args, count, names) };
    give(
        given
            .and_then(|[block, timeout]| times::of_queue(block, timeout))
            .and_then(|time| get_for(p, time, call)),
    )
}

unsafe extern "C" fn get_nowait(o: Obj, _: Obj) -> Obj {
    // SAFETY: a method of a queue.
    give(get_for(unsafe { Primitive::from(o) }, Some(0), Pending::NONE))
}

fn size(o: Obj) -> usize {
    // SAFETY: a queue.
    items(unsafe { Primitive::from(o) }).len()
}

unsafe extern "C" fn empty(o: Obj, _: Obj) -> Obj {
    give(give_way().map(|()| bool_obj(size(o) == 0)))
}

unsafe extern "C" fn qsize(o: Obj, _: Obj) -> Obj {
    give(give_way().map(|()| int_obj(size(o) as i64)))
}

/// `_items()`: the items, as a list.
unsafe extern "C" fn as_list(o: Obj, _: Obj) -> Obj {
    // SAFETY: a method of a queue.
    let all =
        items(unsafe { Primitive::from(o) }).with(|items| items.iter().map(|&item| new_ref(item)).collect());
    give(list_of(all))
}

pub fn add(module: Obj) -> Res<()> {
    let methods = [
        types::method_keywords(
            "put",
            "put($self, /, item, block=True, timeout=None)\n--\n\nPut an item into the queue, or give it to the first that waits. Never waits, never switches.\n\n\
             block and timeout are ignored, as in queue.SimpleQueue.",
            put,
        ),
        types::method_keywords("put_nowait", "put_nowait($self, /, item)\n--\n\nAs put().", put_nowait),
        types::method_keywords(
            "get",
            "get($self, /, block=True, timeout=None)\n--\n\nRemove the first item and return it; wait until there is one.\n\n\
             timeout: the maximum wait in seconds, None for no limit; then queue.Empty is raised, with\n\
             block=False at once. Raises ValueError for a negative timeout, RuntimeError if no tasklet\n\
             is left that could put an item (deadlock).",
            get,
        ),
        types::method_noargs("get_nowait", "get_nowait($self, /)\n--\n\nAs get(block=False).", get_nowait),
        types::method_noargs("empty", "empty($self, /)\n--\n\nReturn True if there is no item.", empty),
        types::method_noargs("qsize", "qsize($self, /)\n--\n\nReturn the number of items.", qsize),
        types::method_noargs("_items", "For pickling: the items.", as_list),
        types::class_getitem(),
    ];
    let slots = types::Slots::new()
        .doc(DOC)
        .slot(Py_tp_new, tp_new as newfunc as *mut c_void)
        .slot(Py_tp_traverse, tp_traverse as traverseproc as *mut c_void)
        .slot(Py_tp_clear, tp_clear as inquiry as *mut c_void)
        .slot(Py_tp_dealloc, tp_dealloc as destructor as *mut c_void)
        .methods(&methods);
    let size = size_of::<SimpleQueue>();
    objects::add(
        module,
        &SIMPLE_QUEUE,
        c"stackless.sync.SimpleQueue",
        size,
        Py_TPFLAGS_BASETYPE,
        slots,
        Some(take_back),
    )
}
