//! What the Python code of `stackless.pickling` needs of the engine: data from tasklets and generators, and
//! tasklets and generators from data.

use crate::engine::buffer;
use crate::model::alt;
use crate::model::channel::ChannelRef;
use crate::model::classes;
use crate::model::primitive::Primitive;
use crate::model::seat::Seat;
use crate::model::tasklet::TaskletRef;
use crate::model::world::{object, world};
use crate::parking::obstacle::CallReturns;
use crate::parking::{obstacle, park};
use crate::python::args::function;
use crate::python::objects::*;
use crate::python::{args, types};
use crate::scheduler::entry;
use crate::sync::object::is_primitive;
use crate::types::{channel, tasklet_attributes};
use pyo3_ffi::*;
use stackless_core::WaitsTo;
use stackless_cpython::{self as cpython, TaskletFrames};
use std::ffi::c_int;
use std::ptr::null_mut;

fn tasklet(o: Obj) -> Res<TaskletRef> {
    classes::as_tasklet(o).ok_or_else(|| type_error(&format!("a tasklet is needed, not {}", type_name(o))))
}

fn small_int(o: Obj) -> Res<c_int> {
    // SAFETY: a living object.
    let number = unsafe { PyLong_AsLong(o) };
    if raised() { Err(Raised) } else { Ok(number.clamp(-1, 1 << 30) as c_int) }
}

// ---------------------------------------------------------------------- generators

function!(generator_picture, |args| args::exactly("_generator_picture", args).and_then(|&[o, waiting]| {
    // SAFETY: living objects.
    check(unsafe { cpython::generator_tuple(o, some(waiting).unwrap_or(null_mut())) })
}));

function!(new_generator, |args| args::exactly("_new_generator", args).and_then(|&[kind, slots]| {
    let slots = small_int(slots)?;
    // SAFETY: a living object.
    check(unsafe { cpython::new_generator(kind, slots) })
}));

function!(restore_generator, |args| args::exactly("_restore_generator", args).and_then(|&[o, picture]| {
    // SAFETY: living objects.
    if unsafe { cpython::restore_generator(o, picture) } { Ok(none()) } else { Err(Raised) }
}));

function!(step_picture, |args| args::exactly("_step_picture", args).and_then(|&[o]| {
    // SAFETY: a living object.
    check(unsafe { cpython::awaitable_tuple(o) })
}));

function!(new_step, |args| args::exactly("_new_step", args).and_then(|&[kind, generator, state, values]| {
    let state = small_int(state)?;
    // SAFETY: living objects.
    check(unsafe { cpython::new_awaitable(kind, generator, state, values) })
}));

// ---------------------------------------------------------------------- frames of tracebacks

function!(set_caller, |args| args::exactly("_set_caller", args).and_then(|&[o, back]| {
    // SAFETY: living objects.
    if unsafe { cpython::set_caller(o, back) } { Ok(none()) } else { Err(Raised) }
}));

// ---------------------------------------------------------------------- tasklets

/// The channel that an argument is.
fn channel(o: Obj) -> Res<ChannelRef> {
    classes::as_channel(o).ok_or_else(|| type_error(&format!("a channel is needed, not {}", type_name(o))))
}

/// A tuple of these references, which are taken over; null stands for None.
fn tuple<const N: usize>(items: [Obj; N]) -> Res<Obj> {
    // SAFETY: a new tuple takes over the references.
    unsafe {
        let made = check(PyTuple_New(N as Py_ssize_t));
        for (i, item) in items.into_iter().enumerate() {
            let item = if item.is_null() { none() } else { item };
            match made {
                Ok(made) => PyTuple_SET_ITEM(made, i as Py_ssize_t, item),
                Err(_) => drop_ref(item),
            }
        }
        made
    }
}

fn new_or_null(o: Obj) -> Obj {
    if o.is_null() { o } else { new_ref(o) }
}

// `_tasklet_call(t)`: what a tasklet that has not begun will call.
function!(call_of, |args| args::exactly("_tasklet_call", args).and_then(|&[o]| {
    let t = tasklet(o)?;
    if t.args.get().is_null() {
        return Ok(none());
    }
    tuple([&t.func, &t.args, &t.kwargs].map(|cell| new_or_null(cell.get())))
}));

// `_tasklet_picture(t)`: parks the tasklet and returns its frames.
function!(tasklet_picture, |args| args::exactly("_tasklet_picture", args).and_then(|&[o]| {
    let t = tasklet(o)?;
    park::park(t).map_err(obstacle::Obstacle::raise)?;
    if !park::is_parked(t) {
        return Err(runtime_error("the tasklet has no frames"));
    }
    let seat = t.seat();
    // SAFETY: it is parked.
    let (frames, exception) =
        unsafe { (check(cpython::tasklet_frames(seat.state()))?, cpython::handled(seat.state())) };
    let made = tuple([frames, int_obj(seat.returns.get().into()), new_or_null(exception)]);
    entry::current()?.drop_deferred();
    made
}));

// `_pack_frames(t)`: parks the tasklet and returns its frames as blobs hold them, what its pending call returns, and the
// exception that it is handling; None if it has no frames.
function!(pack_frames, |args| args::exactly("_pack_frames", args).and_then(|&[o]| {
    let t = tasklet(o)?;
    if !t.args.get().is_null() {
        return Ok(none()); // it has not begun
    }
    park::park(t).map_err(obstacle::Obstacle::raise)?;
    if !park::is_parked(t) {
        return Ok(none());
    }
    let seat = t.seat();
    // SAFETY: it is parked.
    let (frames, exception) =
        unsafe { (check(cpython::packed_frames(seat.state()))?, cpython::handled(seat.state())) };
    let made = tuple([frames, int_obj(seat.returns.get().into()), new_or_null(exception)]);
    entry::current()?.drop_deferred();
    made
}));

// `_unpack_frames(frames, link)`: a list for `_restore_tasklet`, from the frames of a blob; `link` is called with those
// that are no packed frames.
function!(unpack_frames, |args| args::exactly("_unpack_frames", args).and_then(|&[frames, link]| {
    // SAFETY: living objects.
    check(unsafe { cpython::unpacked_frames(frames, link) })
}));

// `_restore_tasklet(t, frames, after, exception)`.
function!(restore_tasklet, |args| args::exactly("_restore_tasklet", args).and_then(
    |&[o, frames, after, exception]| {
        let t = tasklet(o)?;
        let after = match small_int(after)? {
            0 => CallReturns::Value,
            1 => CallReturns::Nothing,
            _ => return Err(raise(Exc::Value, "not the frames of a tasklet: unknown kind of call")),
        };
        let exception = some(exception).unwrap_or(null_mut());
        if !exception.is_null() && !is_exception(exception) {
            return Err(type_error("a tasklet can handle an exception only"));
        }
        if t.context.get().is_null() {
            // Before the frames are read: making one may collect garbage.
            // SAFETY: the calling thread's.
            t.context.set(check(unsafe { cpython::current_context(cpython::thread_state()) })?);
        }
        if t.started() || !t.args.get().is_null() || t.scheduler().is_none() {
            return Err(runtime_error("only an empty tasklet can get a state"));
        }
        // SAFETY: the list is the caller's, and no Python code runs until the frames are built.
        let chain = unsafe { TaskletFrames::read(frames) }.ok_or(Raised)?;
        // SAFETY: memory of the size that the frames need; the tasklet takes over the seat.
        unsafe {
            let seat = Seat::allocate(chain.size());
            if seat.is_null() {
                return Err(raise(Exc::Memory, "no memory for the frames of a tasklet"));
            }
            let context = t.context.replace(null_mut());
            chain.build((*seat).state(), context, exception);
            (*seat).returns.set(after as u8);
            t.assign(&*seat);
        }
        clear(&t.func);
        Ok(none())
    }
));

// `_enqueue(channel, tasklet, sends)`: a restored tasklet waits in a channel again, to send or receive; or at a
// primitive of `stackless.sync`, whose queue is one of receivers.
function!(enqueue, |args| args::exactly("_enqueue", args).and_then(|&[ch, o, sends]| {
    // SAFETY: a primitive, as is checked.
    let ch = if is_primitive(ch) { unsafe { Primitive::from(ch) }.channel() } else { channel(ch)? };
    let t = tasklet(o)?;
    let sends = is_true(sends)?;
    if !t.paused() {
        return Err(runtime_error("only a paused tasklet can be put into a restored channel"));
    }
    // SAFETY: a parked tasklet's state.
    let iterates = park::is_parked(t) && unsafe { cpython::iterates(t.seat().state()) };
    let waits = match (sends, iterates) {
        (true, _) => WaitsTo::Send,
        (false, true) => WaitsTo::Iterate,
        (false, false) => WaitsTo::Receive,
    };
    let opposite = world(|w| match waits {
        WaitsTo::Send => w.balance(ch.id()) < 0,
        _ => w.balance(ch.id()) > 0,
    });
    if opposite {
        return Err(raise(Exc::Value, "senders and receivers cannot wait in one channel"));
    }
    if sends && world(|w| w.buffered(ch.id()) < w.capacity(ch.id())) {
        return Err(raise(Exc::Value, "a sender does not wait while there is room in the buffer"));
    }
    new_ref(o);
    world(|w| w.enqueue(ch.id(), t.id(), waits));
    Ok(none())
}));

// `_tasklet_flags(t)`: without bits 0 and 1 of a pickle's flags.
function!(flags, |args| args::exactly("_tasklet_flags", args).and_then(|&[o]| {
    let f = tasklet(o)?.flags.get();
    let bits = [
        (f.atomic, 2),
        (f.ignore_nesting, 3),
        (f.block_trap, 5),
        (f.zombie, 6),
        (f.interrupt_pending != 0, 7),
    ];
    Ok(int_obj(bits.into_iter().map(|(on, bit)| i64::from(on) << bit).sum()))
}));

// `_tasklet_context(t)`: its context, made if it has none.
function!(context_of, |args| args::exactly("_tasklet_context", args)
    .and_then(|&[o]| tasklet_attributes::context(tasklet(o)?).map(new_ref)));

// `_channel_queue(channel)`: the waiting tasklets, the one that has waited longest first.
function!(queue, |args| args::exactly("_channel_queue", args).and_then(|&[ch]| {
    let ch = channel(ch)?;
    let mut tasklets = Vec::new();
    let mut at = world(|w| w.first_waiting(ch.id()));
    while let Some(t) = at {
        tasklets.push(new_ref(object(t).obj()));
        at = world(|w| w.next(t));
    }
    list_of(tasklets)
}));

// `_channel_values(channel)`: the values in its buffer, the oldest first.
function!(values, |args| args::exactly("_channel_values", args).and_then(|&[ch]| {
    let ch = channel(ch)?;
    let mut values = Vec::new();
    ch.each_value(|value| values.push(some(value).map_or_else(none, new_ref)));
    list_of(values)
}));

// `_set_channel_values(channel, capacity, values)`: a restored channel, in which nothing waits, gets its buffer.
function!(set_values, |args| args::exactly("_set_channel_values", args).and_then(
    |&[ch, capacity, values]| {
        let ch = channel(ch)?;
        channel::set_capacity(ch, capacity)?;
        // SAFETY: a living object, a list if the check says so, whose items are borrowed and kept by it.
        unsafe {
            if PyList_Check(values) == 0
                || PyList_GET_SIZE(values) > world(|w| w.capacity(ch.id())) as Py_ssize_t
            {
                return Err(raise(
                    Exc::Value,
                    "the values of a channel are a list, no longer than its capacity",
                ));
            }
            for i in 0..PyList_GET_SIZE(values) {
                let value = PyList_GET_ITEM(values, i);
                let value = if is_none(value) { null_mut() } else { new_ref(value) };
                if buffer::put(ch, value).is_err() {
                    drop_ref(value);
                    return Err(Raised);
                }
            }
        }
        Ok(none())
    }
));

// `_waits_in_alt(t)`
function!(waits_in_alt, |args| args::exactly("_waits_in_alt", args)
    .and_then(|&[o]| Ok(bool_obj(alt::of(tasklet(o)?).is_some()))));

pub fn functions() -> Vec<PyMethodDef> {
    vec![
        types::method("_generator_picture", "A generator as data.", generator_picture),
        types::method("_new_generator", "A generator without contents.", new_generator),
        types::method("_restore_generator", "Fills a generator.", restore_generator),
        types::method("_step_picture", "An awaitable of an asynchronous generator as data.", step_picture),
        types::method("_new_step", "Makes such an awaitable.", new_step),
        types::method("_set_caller", "Gives a frame of a restored traceback its f_back.", set_caller),
        types::method("_tasklet_call", "What a tasklet will call that has not begun, or None.", call_of),
        types::method("_tasklet_picture", "The frames of a tasklet as data.", tasklet_picture),
        types::method("_pack_frames", "The frames of a tasklet as blobs hold them, or None.", pack_frames),
        types::method("_unpack_frames", "Such frames for _restore_tasklet.", unpack_frames),
        types::method("_restore_tasklet", "Gives an empty tasklet its frames.", restore_tasklet),
        types::method("_tasklet_flags", "The flags of a tasklet, as in its pickles.", flags),
        types::method("_tasklet_context", "The context of a tasklet.", context_of),
        types::method(
            "_channel_queue",
            "The tasklets that wait in a channel, the longest wait first.",
            queue,
        ),
        types::method("_waits_in_alt", "True if a tasklet waits in alt().", waits_in_alt),
        types::method("_channel_values", "The values in the buffer of a channel.", values),
        types::method("_set_channel_values", "Gives a restored channel its buffer.", set_values),
        types::method("_enqueue", "Lets a restored tasklet wait in a restored channel.", enqueue),
    ]
}
