//! The type `stackless.channel`: methods and attributes.

use crate::engine::{buffer, transfer};
use crate::model::allocation::allocate_channel;
use crate::model::channel::{Channel, ChannelRef};
use crate::model::world::{object, world};
use crate::model::{bomb, classes};
use crate::observe::snapshot;
use crate::python::args::arguments;
use crate::python::objects::*;
use crate::python::{args, types};
use crate::scheduler::hooks;
use crate::types::{case, reduce};
use pyo3_ffi::*;
use stackless_cpython::{self as cpython, Pending};
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

const DOC: &str = "channel(*, capacity=0)\n--\n\n\
A place where tasklets exchange values.\n\n\
send() and receive() wait until another tasklet does the opposite. With a capacity, send()\n\
waits only while that many values are in the channel that were not received yet. Channels may\n\
be used between threads: a partner in another thread is made runnable there. Iterating\n\
receives until StopIteration is sent or the channel is closed.\n\n\
Raises TypeError for other arguments and for a capacity that is no integer, ValueError for a\n\
negative one, OverflowError for one above 2**30. A subclass may have arguments of its own: what\n\
only its __init__ or __new__ knows is not looked at here. (Reference, section 5.)";

/// The maximum capacity: the balance, a 32-bit number, counts the values and the senders.
const LARGEST: i64 = 1 << 30;

unsafe extern "C" fn tp_new(t: *mut PyTypeObject, _: Obj, kwargs: Obj) -> Obj {
    // SAFETY: the type of channels, or a subclass.
    unsafe {
        let o = allocate_channel(t);
        if o.is_null() {
            return o;
        }
        let ch = Channel::from(o);
        // Called by the __new__ of a subclass; else the arguments are those of __init__.
        if overrides(t).0 && keywords(ch, kwargs, true).is_err() {
            drop_ref(o);
            return null_mut();
        }
        o
    }
}

/// Arguments that are not known are refused as `object` does it: not where a subclass has a `__new__` of its own, which
/// they are for. A subclass with an `__init__` or a `__new__` of its own may pass positional arguments on, as the
/// contract says.
unsafe extern "C" fn tp_init(o: Obj, args: Obj, kwargs: Obj) -> c_int {
    // SAFETY: a slot of a channel, a tuple, a dict or null.
    unsafe {
        let (own_new, own_init) = overrides(type_of(o));
        let given = PyTuple_GET_SIZE(args);
        let done = if given > 0 && !own_new && !own_init {
            Err(type_error(&format!(
                "channel() takes no positional arguments ({given} given); the size of a buffer is given as capacity=n"
            )))
        } else {
            keywords(Channel::from(o), kwargs, own_init || !own_new)
        };
        if done.is_ok() { 0 } else { -1 }
    }
}

/// True if a type has a `__new__`, and an `__init__`, that are not this type's.
///
/// # Safety
/// `t` is this type or a subclass.
unsafe fn overrides(t: *mut PyTypeObject) -> (bool, bool) {
    // SAFETY: the caller's.
    let (new, init) = unsafe { ((*t).tp_new, (*t).tp_init) };
    let new = new.is_none_or(|f| !std::ptr::fn_addr_eq(f, tp_new as newfunc));
    (new, init.is_none_or(|f| !std::ptr::fn_addr_eq(f, tp_init as initproc)))
}

/// Does what the keyword arguments say. Others than `capacity` are ignored or, if `strict`, refused.
///
/// # Safety
/// `kwargs` is a dict or null.
unsafe fn keywords(ch: ChannelRef, kwargs: Obj, strict: bool) -> Res<()> {
    let Some(kwargs) = some(kwargs) else { return Ok(()) };
    let (mut at, mut name, mut value, mut capacity) = (0, null_mut(), null_mut(), null_mut());
    // SAFETY: the caller's; the dict's keys are str, and borrowed. No Python code runs in the loop.
    unsafe {
        while PyDict_Next(kwargs, &mut at, &mut name, &mut value) != 0 {
            if PyUnicode_CompareWithASCIIString(name, c"capacity".as_ptr()) == 0 {
                capacity = value;
            } else if strict {
                let name = text_of(name).unwrap_or_default();
                return Err(type_error(&format!("channel() got an unexpected keyword argument '{name}'")));
            }
        }
    }
    if capacity.is_null() { Ok(()) } else { set_capacity(ch, capacity) }
}

/// Sets the capacity of a channel in which nothing waits.
pub fn set_capacity(ch: ChannelRef, capacity: Obj) -> Res<()> {
    // SAFETY: a living object; an owned reference.
    let number = unsafe {
        if PyIndex_Check(capacity) == 0 {
            return Err(type_error(&format!("capacity must be an integer, not {}", type_name(capacity))));
        }
        let whole = check(PyNumber_Index(capacity))?; // may run Python code
        let mut overflow = 0;
        let number = PyLong_AsLongLongAndOverflow(whole, &mut overflow);
        drop_ref(whole);
        if overflow == 0 { number } else { i64::from(overflow) * i64::MAX }
    };
    if number < 0 {
        return Err(raise(Exc::Value, "capacity must not be negative"));
    }
    if number > LARGEST {
        return Err(raise(Exc::Overflow, &format!("capacity must be at most {LARGEST}")));
    }
    if world(|w| !w.is_idle(ch.id())) {
        return Err(runtime_error("the capacity of a channel that is in use cannot be changed"));
    }
    buffer::set_capacity(ch, number as u32)
}

unsafe extern "C" fn tp_traverse(o: Obj, visit: visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: a channel; the queue owns the tasklets in it.
    let ch = unsafe { Channel::from(o) };
    let mut at = world(|w| w.first_waiting(ch.id()));
    while let Some(t) = at {
        let result = types::visit_all([object(t).obj()], visit, arg);
        if result != 0 {
            return result;
        }
        at = world(|w| w.next(t));
    }
    let mut result = 0;
    ch.each_value(|value| {
        if result == 0 {
            result = types::visit_all([value], visit, arg);
        }
    });
    if result != 0 {
        return result;
    }
    types::visit_all([type_of(o).cast()], visit, arg)
}

unsafe extern "C" fn tp_clear(o: Obj) -> c_int {
    // The queue needs no clearing: the finalisers of its tasklets take them out. The buffer keeps its length.
    // SAFETY: a slot of a channel.
    unsafe { Channel::from(o) }.clear_values();
    0
}

unsafe extern "C" fn tp_dealloc(o: Obj) {
    // SAFETY: the last reference is gone.
    unsafe {
        PyObject_GC_UnTrack(o.cast());
        if Channel::from(o).buffer().is_none() {
            destroy(o);
        } else {
            cpython::trashcan(o, tp_dealloc, destroy); // values may be channels with values
        }
    }
}

unsafe extern "C" fn destroy(o: Obj) {
    // SAFETY: there is no reference to the object; the usual steps of a garbage-collected heap type.
    unsafe {
        PyObject_ClearWeakRefs(o);
        transfer::release_waiters(Channel::from(o));
        types::free(o);
    }
}

unsafe extern "C" fn send(o: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS call of a channel's method.
    let (ch, given) = unsafe { (Channel::from(o), args::positional(args, count)) };
    let call = Pending::call(send as _, args, arguments(count, names));
    // SAFETY: as above.
    let Ok(time) = (unsafe { timeout("send", args, count, names) }) else { return null_mut() };
    let Ok(value) = args::one_argument("send", given) else { return null_mut() };
    let value = if is_none(value) { null_mut() } else { new_ref(value) };
    // Two calls, so that the usual one has no code for times.
    give(if time.is_none() { transfer::send(ch, value, None, call) } else { send_for(ch, value, time, call) })
}

unsafe extern "C" fn receive(o: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS call of a channel's method.
    let (ch, given) = unsafe { (Channel::from(o), args::positional(args, count)) };
    let call = Pending::call(receive as _, args, arguments(count, names));
    // SAFETY: as above.
    let Ok(time) = (unsafe { timeout("receive", args, count, names) }) else { return null_mut() };
    if args::no_arguments("receive", given).is_err() {
        return null_mut();
    }
    give(if time.is_none() { transfer::receive(ch, None, call) } else { receive_for(ch, time, call) })
}

#[cold]
fn send_for(ch: ChannelRef, value: Obj, time: Option<u64>, call: Pending) -> Res<Obj> {
    transfer::send(ch, value, time, call)
}

#[cold]
fn receive_for(ch: ChannelRef, time: Option<u64>, call: Pending) -> Res<Obj> {
    transfer::receive(ch, time, call)
}

/// The keyword argument `timeout`: nanoseconds, None for no limit.
///
/// # Safety
/// The arguments are those of a METH_FASTCALL | METH_KEYWORDS call.
#[inline(always)]
unsafe fn timeout(method: &str, args: *const Obj, count: Py_ssize_t, names: Obj) -> Res<Option<u64>> {
    // SAFETY: the caller's.
    if names.is_null() { Ok(None) } else { unsafe { named_timeout(method, args, count, names) } }
}

/// # Safety
/// As [`timeout`]; `names` is a tuple.
#[cold]
unsafe fn named_timeout(method: &str, args: *const Obj, count: Py_ssize_t, names: Obj) -> Res<Option<u64>> {
    // SAFETY: the caller's; names are str.
    unsafe {
        if PyTuple_GET_SIZE(names) == 0 {
            return Ok(None);
        }
        let known = PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, 0), c"timeout".as_ptr()) == 0;
        if PyTuple_GET_SIZE(names) > 1 || !known {
            return Err(type_error(&format!("{method}() takes no keyword arguments but timeout")));
        }
        args::time(*args.offset(count), "timeout")
    }
}

pub unsafe extern "C" fn tp_iternext(o: Obj) -> Obj {
    // SAFETY: a slot of a channel.
    give(transfer::iterate(unsafe { Channel::from(o) }, Pending::iteration(tp_iternext as _)))
}

unsafe extern "C" fn send_exception(o: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS call of a channel's method.
    let (ch, time) = unsafe { (Channel::from(o), timeout("send_exception", args, count, names)) };
    let call = Pending::call(send_exception as _, args, arguments(count, names));
    // SAFETY: as above.
    let args = unsafe { args::positional(args, count) };
    give(time.and_then(|time| send_for(ch, transfer::exception_bomb(args)?, time, call)))
}

unsafe extern "C" fn send_throw(o: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS call of a channel's method.
    let (ch, time) = unsafe { (Channel::from(o), timeout("send_throw", args, count, names)) };
    let call = Pending::call(send_throw as _, args, arguments(count, names));
    let Ok(time) = time else { return null_mut() };
    // SAFETY: as above.
    let args = unsafe { args::positional(args, count) };
    let bomb = args::at_least("send_throw", 1, args.len())
        .and_then(|()| args::at_most("send_throw", 3, args.len()))
        .and_then(|()| {
            let part = |i: usize| args.get(i).copied().unwrap_or(null_mut());
            bomb::of_parts(args[0], part(1), part(2))
        });
    give(bomb.and_then(|bomb| send_for(ch, bomb, time, call)))
}

unsafe extern "C" fn send_sequence(o: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call of a channel's method.
    let (ch, args) = unsafe { (Channel::from(o), args::positional(args, count)) };
    give(args::one_argument("send_sequence", args).and_then(|it| transfer::send_sequence(ch, it)))
}

unsafe extern "C" fn close(o: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call of a channel's method.
    let (ch, args) = unsafe { (Channel::from(o), args::positional(args, count)) };
    give(args::no_arguments("close", args).and_then(|()| transfer::close(ch)).map(|()| none()))
}

unsafe extern "C" fn open(o: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call of a channel's method.
    let (ch, args) = unsafe { (Channel::from(o), args::positional(args, count)) };
    let result = args::no_arguments("open", args);
    if result.is_ok() {
        world(|w| w.open(ch.id()));
        if let Some(recorder) = hooks::recorder() {
            recorder.channel_changed(ch);
        }
    }
    give(result.map(|()| none()))
}

const BALANCE: usize = 0;
const QUEUE: usize = 1;
const CLOSING: usize = 2;
const CLOSED: usize = 3;
const PREFERENCE: usize = 4;
const SCHEDULE_ALL: usize = 5;
const CAPACITY: usize = 6;

unsafe extern "C" fn get(o: Obj, which: *mut c_void) -> Obj {
    // SAFETY: a getter of a channel.
    let c = unsafe { Channel::from(o) }.id();
    match which as usize {
        BALANCE => int_obj(world(|w| w.balance(c)).into()),
        QUEUE => world(|w| w.first_waiting(c)).map_or_else(none, |t| new_ref(object(t).obj())),
        CLOSING => bool_obj(world(|w| w.closing(c))),
        CLOSED => bool_obj(world(|w| w.closing(c) && w.is_idle(c))),
        PREFERENCE => int_obj(world(|w| w.preference(c)).into()),
        CAPACITY => int_obj(world(|w| w.capacity(c)).into()),
        _ => int_obj(world(|w| w.schedule_all(c)).into()),
    }
}

unsafe extern "C" fn set(o: Obj, value: Obj, which: *mut c_void) -> c_int {
    // SAFETY: a setter of a channel.
    let ch = unsafe { Channel::from(o) };
    let c = ch.id();
    let done = if which as usize == PREFERENCE {
        sign(value, "preference must be set to an integer").map(|v| world(|w| w.set_preference(c, v)))
    } else {
        sign(value, "preference must be set to a bool or integer")
            .map(|v| world(|w| w.set_schedule_all(c, v != 0)))
    };
    if let Some(recorder) = hooks::recorder() {
        recorder.channel_changed(ch);
    }
    if done.is_ok() { 0 } else { -1 }
}

/// The sign of an int of any size. Null means that the program tries to delete the attribute.
fn sign(value: Obj, text: &str) -> Res<i8> {
    if value.is_null() {
        return Err(raise(Exc::Attribute, "the attribute cannot be deleted"));
    }
    // SAFETY: a living object.
    unsafe {
        if PyLong_Check(value) == 0 {
            return Err(type_error(text));
        }
        let mut overflow = 0;
        let number = PyLong_AsLongLongAndOverflow(value, &mut overflow);
        Ok(if overflow != 0 { overflow as i8 } else { number.signum() as i8 })
    }
}

/// Makes the type and puts it into the module.
pub fn add(module: Obj) -> Res<()> {
    let mut methods = vec![
        types::method_keywords(
            "send",
            "send($self, value, /, *, timeout=None)\n--\n\nSend a value; wait until it is received. Returns None.\n\n\
             In a channel with a capacity, it waits until there is room, and not at all if there is.\n\
             timeout: the maximum wait in seconds, then TimeoutError is raised; 0 does not wait at all.\n\
             By default the receiver continues at once (see preference).\n\
             Raises ValueError on a closing channel with no receiver waiting, RuntimeError if no tasklet\n\
             is left that could receive (deadlock) or if block_trap is set; for a timeout, ValueError if\n\
             it is negative or NaN.",
            send,
        ),
        types::method_keywords(
            "receive",
            "receive($self, /, *, timeout=None)\n--\n\nReturn the next value sent; wait until there is one.\n\n\
             Raises the exception that was sent, if one was; timeout and errors as for send().",
            receive,
        ),
        types::method_keywords(
            "send_exception",
            "send_exception($self, exc, /, *args, timeout=None)\n--\n\nLet the receiver raise exc(*args), or exc itself if it is an instance.\n\n\
             Raises TypeError if exc is neither; else as send().",
            send_exception,
        ),
        types::method_keywords(
            "send_throw",
            "send_throw($self, exc, val=None, tb=None, /, *, timeout=None)\n--\n\nLet the receiver raise an exception given in the three parts of sys.exc_info().\n\n\
             The receiver's traceback ends in the frames of tb. Errors as for send_exception().",
            send_throw,
        ),
        types::method(
            "send_sequence",
            "send_sequence($self, iterable, /)\n--\n\nSend each item of an iterable; return how many were sent.\n\n\
             The iterable runs in the calling tasklet and may switch. Errors as for send().",
            send_sequence,
        ),
        types::method(
            "close",
            "close($self, /)\n--\n\nFrom now on no tasklet is added to the queue.\n\n\
             Tasklets that wait in send() or receive() are still served, and values in the buffer are still\n\
             received. Those that wait in an\n\
             iteration are made runnable, and their iteration ends.",
            close,
        ),
        types::method("open", "open($self, /)\n--\n\nUndo close().", open),
    ];
    methods.push(types::method_noargs(
        "receiving",
        "receiving($self, /)\n--\n\nReturn a case of alt(): a value is received from this channel.",
        case::receiving,
    ));
    methods.push(types::method_one(
        "sending",
        "sending($self, value, /)\n--\n\nReturn a case of alt(): this value is sent to this channel.",
        case::sending,
    ));
    methods.push(types::class_getitem());
    methods.extend(reduce::channel_methods());
    let getters = [
        types::getter(
            "balance",
            "int: n > 0 senders wait, where values in the buffer count as senders, or -n receivers (read-only).",
            get,
            BALANCE,
        ),
        types::getter(
            "capacity",
            "int: how many values a send() leaves in the channel before it waits; 0: none (read-only).",
            get,
            CAPACITY,
        ),
        types::getter("queue", "The longest waiting tasklet, or None (read-only).", get, QUEUE),
        types::getter("closing", "bool: close() was called (read-only).", get, CLOSING),
        types::getter(
            "closed",
            "bool: closing, no tasklet waits and no value is left (read-only).",
            get,
            CLOSED,
        ),
        types::property(
            "preference",
            "int: which tasklet continues after a transfer: -1 the receiver (default), 0 the caller (default with a \
             capacity), 1 the sender.",
            get,
            set,
            PREFERENCE,
        ),
        types::property(
            "schedule_all",
            "int: 1 if every transfer hands over to the caller's right neighbour; beats preference.",
            get,
            set,
            SCHEDULE_ALL,
        ),
    ];
    let slots = types::Slots::new()
        .doc(DOC)
        .slot(Py_tp_repr, snapshot::channel_repr as reprfunc as *mut c_void)
        .slot(Py_tp_new, tp_new as newfunc as *mut c_void)
        .slot(Py_tp_init, tp_init as initproc as *mut c_void)
        .slot(Py_tp_traverse, tp_traverse as traverseproc as *mut c_void)
        .slot(Py_tp_clear, tp_clear as inquiry as *mut c_void)
        .slot(Py_tp_dealloc, tp_dealloc as destructor as *mut c_void)
        .slot(Py_tp_iter, PyObject_SelfIter as getiterfunc as *mut c_void)
        .slot(Py_tp_iternext, tp_iternext as iternextfunc as *mut c_void)
        .offsets(&[("__weaklistoffset__", Channel::WEAKREF_OFFSET)])
        .methods(&methods)
        .getters(&getters);
    types::add(
        module,
        &classes::CHANNEL,
        c"stackless.channel",
        size_of::<Channel>(),
        Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
        slots,
    )
}
