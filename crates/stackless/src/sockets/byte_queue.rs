//! Bytes that a connection has received and that were not read yet: the buffered readers of
//! `stackless.socket` are built on them. They fetch missing bytes in Python code, so that a tasklet that waits
//! for them has no C code below.
//!
//! An empty queue keeps no memory: there is one for each idle connection.

use crate::python::objects::*;
use crate::python::{args, memory, types};
use pyo3_ffi::*;
use std::cell::{RefCell, UnsafeCell};
use std::ffi::c_void;
use std::ptr::null_mut;

/// Where the bytes are.
enum Store {
    Own(Vec<u8>),
    /// In the bytes object that was received, which is owned: a read of exactly these bytes returns it.
    Object(Obj),
}

struct Bytes {
    store: Store,
    /// The number of bytes at the beginning that were read already.
    start: usize,
    /// The number of the following bytes that are known to have no end of a line among them.
    scanned: usize,
}

impl Default for Bytes {
    fn default() -> Self {
        Self { store: Store::Own(Vec::new()), start: 0, scanned: 0 }
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        if let Store::Object(o) = self.store {
            drop_ref(o);
        }
    }
}

impl Bytes {
    fn all(&self) -> &[u8] {
        match &self.store {
            Store::Own(bytes) => bytes,
            // SAFETY: a bytes object is never changed, and this one is owned.
            Store::Object(o) => unsafe {
                let start = PyBytes_AsString(*o).cast::<u8>();
                std::slice::from_raw_parts(start, PyBytes_Size(*o) as usize)
            },
        }
    }

    fn left(&self) -> &[u8] {
        &self.all()[self.start..]
    }

    /// Adds bytes. Returns false without memory: then the content is unchanged.
    fn add(&mut self, more: &[u8]) -> bool {
        let (left, scanned) = (self.left().len(), self.scanned);
        if let Store::Own(bytes) = &mut self.store {
            bytes.drain(..self.start);
            self.start = 0;
        } else {
            let mut bytes = Vec::new();
            if memory::strictly(|| bytes.try_reserve(left + more.len())).is_err() {
                return false;
            }
            bytes.extend_from_slice(self.left());
            *self = Self { store: Store::Own(bytes), start: 0, scanned };
        }
        let Store::Own(bytes) = &mut self.store else { return false };
        if memory::strictly(|| bytes.try_reserve(more.len())).is_err() {
            return false;
        }
        bytes.extend_from_slice(more);
        true
    }

    /// Adds a bytes object. Returns false without memory.
    fn add_object(&mut self, o: Obj) -> bool {
        let new = Self { store: Store::Object(new_ref(o)), ..Self::default() };
        if !self.left().is_empty() {
            return self.add(new.left());
        }
        *self = new;
        true
    }

    /// The object, if the queue consists of one object of this length, of which nothing was read.
    fn whole(&self, count: usize) -> Option<Obj> {
        match self.store {
            Store::Object(o) if self.start == 0 && self.all().len() == count => Some(new_ref(o)),
            _ => None,
        }
    }

    fn drop_first(&mut self, count: usize) {
        self.start += count;
        self.scanned = 0;
        if self.left().is_empty() {
            *self = Self::default();
        }
    }

    /// The length of the first line, or of the part of it that may be read; None if its end is missing.
    fn line(&mut self, limit: usize) -> Option<usize> {
        let left = self.left();
        let seen = left.len().min(limit);
        if self.scanned < seen {
            if let Some(at) = memchr::memchr(b'\n', &left[self.scanned..seen]) {
                return Some(self.scanned + at + 1);
            }
            self.scanned = seen;
        }
        (seen == limit).then_some(limit)
    }
}

#[repr(C)]
struct Queue {
    head: UnsafeCell<PyObject>,
    queue: RefCell<Bytes>,
}

static TYPE: types::TypeCell = types::TypeCell::new();

fn queue<'a>(o: Obj) -> &'a RefCell<Bytes> {
    // SAFETY: called with objects of this type, made by `tp_new`.
    unsafe { &(*o.cast::<Queue>()).queue }
}

/// A number of bytes; a negative number, or None, means all.
fn number(o: Obj) -> Res<usize> {
    let Some(o) = some(o) else { return Ok(usize::MAX) };
    // SAFETY: a living object.
    let number = unsafe { PyNumber_AsSsize_t(o, PyExc_OverflowError) };
    if number == -1 && raised() { Err(Raised) } else { Ok(usize::try_from(number).unwrap_or(usize::MAX)) }
}

fn take_first(bytes: &mut Bytes, count: usize) -> Res<Obj> {
    let taken = match bytes.whole(count) {
        Some(object) => object,
        None => bytes_obj(&bytes.left()[..count])?,
    };
    bytes.drop_first(count);
    Ok(taken)
}

/// The one argument of a METH_FASTCALL call.
///
/// # Safety
/// The arguments are those of such a call.
unsafe fn argument(name: &str, args: *mut Obj, count: Py_ssize_t) -> Res<Obj> {
    // SAFETY: the caller's.
    args::one_argument(name, unsafe { args::positional(args, count) })
}

unsafe extern "C" fn line(o: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call.
    give(unsafe { argument("line", args, count) }.and_then(number).and_then(|limit| {
        let mut bytes = queue(o).borrow_mut();
        match bytes.line(limit) {
            Some(count) => take_first(&mut bytes, count),
            None => Ok(none()),
        }
    }))
}

unsafe extern "C" fn take(o: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call.
    give(unsafe { argument("take", args, count) }.and_then(number).and_then(|most| {
        let mut bytes = queue(o).borrow_mut();
        let count = bytes.left().len().min(most);
        take_first(&mut bytes, count)
    }))
}

unsafe extern "C" fn take_exactly(o: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call.
    give(unsafe { argument("take_exactly", args, count) }.and_then(number).and_then(|count| {
        let mut bytes = queue(o).borrow_mut();
        if count > bytes.left().len() { Ok(none()) } else { take_first(&mut bytes, count) }
    }))
}

unsafe extern "C" fn take_into(o: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call.
    give(unsafe { argument("take_into", args, count) }.and_then(|buffer| {
        with_buffer(buffer, true, |start, size| {
            let mut bytes = queue(o).borrow_mut();
            let count = bytes.left().len().min(size);
            // SAFETY: the buffer has room for them, and is not the queue's.
            unsafe { start.copy_from_nonoverlapping(bytes.left().as_ptr(), count) };
            bytes.drop_first(count);
            Ok(int_obj(count as i64))
        })
    }))
}

unsafe extern "C" fn peek(o: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call.
    let args = unsafe { args::positional(args, count) };
    give(args::no_arguments("peek", args).and_then(|()| bytes_obj(queue(o).borrow().left())))
}

unsafe extern "C" fn add(o: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call.
    give(unsafe { argument("add", args, count) }.and_then(|buffer| {
        // SAFETY: a living object.
        if unsafe { PyBytes_CheckExact(buffer) } != 0 {
            let added = queue(o).borrow_mut().add_object(buffer);
            return if added { Ok(none()) } else { Err(memory::no_memory()) };
        }
        with_buffer(buffer, false, |start, size| {
            // The address of an empty buffer may be null.
            // SAFETY: the bytes of the buffer.
            let more = if size == 0 { &[] } else { unsafe { std::slice::from_raw_parts(start, size) } };
            let added = queue(o).borrow_mut().add(more);
            if added { Ok(none()) } else { Err(memory::no_memory()) }
        })
    }))
}

unsafe extern "C" fn length(o: Obj) -> Py_ssize_t {
    queue(o).borrow().left().len() as Py_ssize_t
}

unsafe extern "C" fn tp_new(t: *mut PyTypeObject, args: Obj, kwargs: Obj) -> Obj {
    // SAFETY: a type, a tuple, a dict or null; a new object gets its field before other code sees it.
    unsafe {
        if PyTuple_GET_SIZE(args) > 0 || !kwargs.is_null() {
            let Raised = type_error("_ByteQueue() takes no arguments");
            return null_mut();
        }
        let o = (*t).tp_alloc.expect("inherited")(t, 0);
        if !o.is_null() {
            (&raw mut (*o.cast::<Queue>()).queue).write(RefCell::default());
        }
        o
    }
}

unsafe extern "C" fn tp_dealloc(o: Obj) {
    // SAFETY: there is no reference to it any more.
    unsafe {
        (&raw mut (*o.cast::<Queue>()).queue).drop_in_place();
        types::free(o);
    }
}

/// Makes the type and puts it into the module.
pub fn ready(module: Obj) -> Res<()> {
    let methods = [
        types::method(
            "line",
            "line($self, limit, /)\n--\n\nTake a line of at most limit bytes (negative, None: no limit). None: its end has not come yet.",
            line,
        ),
        types::method(
            "take",
            "take($self, most, /)\n--\n\nTake at most this number of bytes (negative, None: all).",
            take,
        ),
        types::method(
            "take_exactly",
            "take_exactly($self, count, /)\n--\n\nTake exactly this number of bytes, or return None.",
            take_exactly,
        ),
        types::method(
            "take_into",
            "take_into($self, buffer, /)\n--\n\nTake what fits into a buffer; return the number of bytes.",
            take_into,
        ),
        types::method("peek", "peek($self, /)\n--\n\nReturn all that is there, and leave it there.", peek),
        types::method("add", "add($self, data, /)\n--\n\nPut bytes at the end.", add),
    ];
    let slots = types::Slots::new()
        .doc("Bytes that were received and not read yet.")
        .slot(Py_tp_new, tp_new as newfunc as *mut c_void)
        .slot(Py_tp_dealloc, tp_dealloc as destructor as *mut c_void)
        .slot(Py_sq_length, length as lenfunc as *mut c_void)
        .methods(&methods);
    types::add(module, &TYPE, c"stackless._stackless._ByteQueue", size_of::<Queue>(), 0, slots)
}
