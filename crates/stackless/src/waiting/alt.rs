//! `alt()`: the calling tasklet waits for the first of several cases.
//!
//! ```text
//!   parse the cases ──> is one ready? ── yes ──> do it, as send() or receive() would
//!                            │ no
//!                            v
//!   else_, or timeout=0: return or raise. Else one place in the queue of each channel; the thread's poller watches the
//!   descriptors; then the tasklet departs. What comes first ends all of it: see `scheduler/alts.rs`
//! ```
//!
//! A channel that makes a case happen leaves the finished result as the tasklet's tempval. A descriptor that becomes ready
//! only wakes the tasklet: its tempval is a bomb that calls `alt()` again, which finds what is ready by then.

use crate::engine::departure::{Departure, depart, plan_departure};
use crate::engine::{outcome, throw, transfer};
use crate::model::alt::{self, Alt, CASE, Case, Entries, Entry, Kind, Wish, turned};
use crate::model::channel::{self, Channel, ChannelRef};
use crate::model::primitive::Primitive;
use crate::model::thread::{Sched, of_running_tasklet};
use crate::model::wait::{Deadline, IoDirection, SocketCall};
use crate::model::world::world;
use crate::model::{alt_result, bomb, classes};
use crate::python::gil::Gil;
use crate::python::objects::*;
use crate::python::{args, memory, types};
use crate::scheduler::entry::Entered;
use crate::scheduler::readiness::is_ready;
use crate::scheduler::ring::{leave_value, unlink_running};
use crate::scheduler::{alts, callbacks, entry, hooks, waits};
use crate::waiting::descriptors;
use pyo3_ffi::*;
use stackless_core::{Direction, WaitsTo};
use stackless_cpython::Pending;
use stackless_reactor::now;
use std::cell::Cell;
use std::ffi::c_int;
use std::ptr::null_mut;

/// What the caller of `alt()` asks for besides the cases.
#[derive(Clone, Copy)]
struct Options {
    deadline: Deadline,
    /// Borrowed; null if it was not given.
    otherwise: Obj,
    fair: bool,
}

unsafe extern "C" fn alt_function(_: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    let call = Pending::call(alt_function as _, args, args::arguments(count, names));
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS call.
    let (given, options) = unsafe { (args::positional(args, count), options(args, count, names)) };
    give(options.and_then(|options| begin(given, options, call)))
}

/// # Safety
/// The arguments are those of a METH_FASTCALL | METH_KEYWORDS call.
unsafe fn options(args: *const Obj, count: Py_ssize_t, names: Obj) -> Res<Options> {
    let mut options = Options { deadline: Deadline::Unlimited, otherwise: null_mut(), fair: false };
    // SAFETY: a tuple of str or null, with as many values after the positional ones.
    unsafe {
        let number = if names.is_null() { 0 } else { PyTuple_GET_SIZE(names) };
        for i in 0..number {
            let (name, value) = (PyTuple_GET_ITEM(names, i), *args.offset(count + i));
            let is = |text: &std::ffi::CStr| PyUnicode_CompareWithASCIIString(name, text.as_ptr()) == 0;
            if is(c"timeout") {
                options.deadline = match args::time(value, "timeout")? {
                    None => Deadline::Unlimited,
                    Some(0) => Deadline::None,
                    Some(time) => Deadline::Until(now().saturating_add(time)),
                };
            } else if is(c"else_") {
                options.otherwise = value;
            } else if is(c"fair") {
                options.fair = is_true(value)?;
            } else {
                let name = text_of(name).unwrap_or_default();
                return Err(type_error(&format!("alt() got an unexpected keyword argument '{name}'")));
            }
        }
    }
    Ok(options)
}

fn begin(given: &[Obj], options: Options, call: Pending) -> Res<Obj> {
    let entered = entry::enter_anywhere()?;
    throw::raise_pending(entered.s.current())?;
    if given.is_empty() && options.otherwise.is_null() {
        return Err(raise(Exc::Value, "alt() needs at least one case"));
    }
    let plan = plan(entered, given, options, call);
    carry_out(entered, plan, call)
}

/// A tasklet whose descriptor has become ready looks again. `given` is a tuple of the cases, taken over.
fn again(given: Obj, _: Obj, call: SocketCall) -> Res<Obj> {
    let options = Options { deadline: call.deadline, otherwise: null_mut(), fair: call.fair };
    let planned = entry::enter_anywhere().map(|entered| {
        // SAFETY: a tuple that is owned here, which keeps its items.
        let cases = unsafe {
            let items: *const Obj = (*given.cast::<PyTupleObject>()).ob_item.as_ptr();
            args::positional(items, PyTuple_GET_SIZE(given))
        };
        let ready = throw::raise_pending(entered.s.current());
        (entered, ready.and_then(|()| plan(entered, cases, options, Pending::NONE)))
    });
    of_running_tasklet().drop_later(given);
    let (entered, plan) = planned?;
    carry_out(entered, plan, Pending::NONE)
}

/// What is left to do when everything that can fail was done. Everything is owned.
#[derive(Clone, Copy)]
enum Plan {
    Return(Obj),
    /// The operation of a case that is ready.
    Act {
        ch: ChannelRef,
        direction: Direction,
        value: Obj,
        result: Obj,
        shown: Obj,
        index: usize,
    },
    /// The tasklet waits in the queues already.
    Depart(Departure),
}

fn carry_out(entered: Entered, plan: Res<Plan>, call: Pending) -> Res<Obj> {
    let s = entered.s;
    match plan {
        // SAFETY: nothing is owned in this frame and its callers' any more.
        Ok(Plan::Depart(next)) => unsafe { depart(s, next) },
        Ok(Plan::Return(result)) => {
            s.drop_deferred();
            Ok(result)
        }
        Ok(Plan::Act { ch, direction, value, result, shown, index }) => {
            let wrap = |mine: Obj| {
                if !mine.is_null() && bomb::is_bomb(mine) {
                    s.drop_later(result);
                    s.drop_later(shown);
                    return mine;
                }
                alt_result::fill(result, shown, index as isize, mine);
                result
            };
            match transfer::act_case(entered, ch, direction, value, call, wrap) {
                Ok(done) => done,
                Err(Raised) => {
                    saving_exception(|| [value, result, shown].into_iter().for_each(drop_ref));
                    saving_exception(|| s.drop_deferred());
                    Err(Raised)
                }
            }
        }
        Err(Raised) => {
            saving_exception(|| s.drop_deferred());
            Err(Raised)
        }
    }
}

/// Plans what to do, and lets the tasklet wait in the queues if it has to wait.
fn plan(entered: Entered, given: &[Obj], options: Options, call: Pending) -> Res<Plan> {
    memory::enough()?;
    let mut alt = Alt::take(options.deadline, options.fair, again);
    match parse(entered, given, &mut alt).and_then(|()| choose(entered, &mut alt, options)) {
        Ok(Choice::Wait) => wait(entered, alt, options, call),
        Ok(Choice::Plan(plan)) => {
            alt.give_back(entered.s);
            Ok(plan)
        }
        Err(Raised) => {
            alt.give_back(entered.s);
            Err(Raised)
        }
    }
}

fn parse(entered: Entered, given: &[Obj], alt: &mut Alt) -> Res<()> {
    let more = given.len() > alt.entries.capacity();
    if more && memory::strictly(|| alt.entries.try_reserve(given.len())).is_err() {
        return Err(memory::no_memory());
    }
    for &shown in given {
        if std::ptr::eq(type_of(shown), classes::CHANNEL.get()) {
            // SAFETY: just checked.
            let kind = Kind::Receive(unsafe { Channel::from(shown) });
            alt.entries.push(Entry { kind, shown, made: null_mut() });
            continue;
        }
        if std::ptr::eq(type_of(shown), CASE.get()) {
            // SAFETY: just checked; the target of these two is a channel, which the case keeps.
            let (case, target) = unsafe { (Case::from(shown), Case::from(shown).target.get()) };
            // SAFETY: as above.
            let channel = || unsafe { Channel::from(target) };
            let kind = match case.wish.get() {
                Wish::Receive => Kind::Receive(channel()),
                Wish::Send => Kind::Send(channel(), case.value.get()),
                Wish::Read => Kind::Ready(descriptor_of(target)?, IoDirection::In),
                Wish::Write => Kind::Ready(descriptor_of(target)?, IoDirection::Out),
                // SAFETY: only an event makes such a case.
                Wish::Set => Kind::Event(unsafe { Primitive::from(target) }),
            };
            alt.polls |= matches!(kind, Kind::Ready(..));
            alt.entries.push(Entry { kind, shown, made: null_mut() });
            continue;
        }
        let mut made = null_mut();
        let kind = kind_of(entered, shown, &mut made);
        let kind = match kind {
            Ok(kind) => kind,
            Err(Raised) => {
                saving_exception(|| drop_ref(made));
                return Err(Raised);
            }
        };
        alt.polls |= matches!(kind, Kind::Ready(..));
        alt.joins |= matches!(kind, Kind::Join(_));
        alt.entries.push(Entry { kind, shown, made });
    }
    Ok(())
}

/// `made` gets the case that an object with an `__alt_case__` method stands for: owned.
fn kind_of(entered: Entered, o: Obj, made: &mut Obj) -> Res<Kind> {
    // SAFETY: a living object; the method is asked of it and called.
    unsafe {
        if PyObject_HasAttrString(o, c"__alt_case__".as_ptr()) != 0 {
            *made = check(PyObject_CallMethod(o, c"__alt_case__".as_ptr(), std::ptr::null()))?;
            return known_kind(entered, *made)?.ok_or_else(|| {
                let (owner, returned) = (type_name(o), type_name(*made));
                type_error(&format!("__alt_case__() of {owner} returned {returned}, which is no case"))
            });
        }
        if let Some(kind) = known_kind(entered, o)? {
            return Ok(kind);
        }
        if PyLong_Check(o) == 0 && PyObject_HasAttrString(o, c"fileno".as_ptr()) != 0 {
            return descriptor_of(o).map(|descriptor| Kind::Ready(descriptor, IoDirection::In));
        }
    }
    Err(type_error(&format!(
        "alt() cannot wait for {}: a case is channel.receiving(), channel.sending(value), a channel, a tasklet, \
         readable(file), writable(file), or an object with a method fileno() or __alt_case__()",
        type_name(o)
    )))
}

/// What a case object, a channel or a tasklet waits for; None for other objects.
fn known_kind(entered: Entered, o: Obj) -> Res<Option<Kind>> {
    if std::ptr::eq(type_of(o), CASE.get()) {
        // SAFETY: just checked; a case keeps its parts.
        let case = unsafe { Case::from(o) };
        let target = case.target.get();
        let ready = |direction| descriptor_of(target).map(|descriptor| Kind::Ready(descriptor, direction));
        return Ok(Some(match (case.wish.get(), classes::as_channel(target)) {
            (Wish::Send, Some(ch)) => Kind::Send(ch, case.value.get()),
            (_, Some(ch)) => Kind::Receive(ch),
            (Wish::Write, None) => ready(IoDirection::Out)?,
            // SAFETY: only an event makes such a case.
            (Wish::Set, None) => Kind::Event(unsafe { Primitive::from(target) }),
            (_, None) => ready(IoDirection::In)?,
        }));
    }
    if let Some(ch) = classes::as_channel(o) {
        return Ok(Some(Kind::Receive(ch)));
    }
    let Some(t) = classes::as_tasklet(o) else { return Ok(None) };
    if t.is_main() || std::ptr::eq(t, entered.s.current()) {
        return Err(runtime_error("alt() cannot wait for the end of a main tasklet or of the current one"));
    }
    Ok(Some(Kind::Join(t)))
}

fn descriptor_of(o: Obj) -> Res<c_int> {
    // SAFETY: a living object.
    let descriptor = unsafe { PyObject_AsFileDescriptor(o) };
    if descriptor < 0 { Err(Raised) } else { Ok(descriptor) }
}

/// True if a case can happen now, or is an error now.
#[inline(always)]
fn is_ready_now(entry: &Entry) -> bool {
    let possible = |ch: ChannelRef, direction| world(|w| w.answers_now(ch.id(), direction));
    match entry.kind {
        Kind::Receive(ch) => possible(ch, Direction::Receive),
        Kind::Send(ch, _) => possible(ch, Direction::Send),
        Kind::Join(t) => !t.alive(),
        Kind::Event(event) => event.count.get() != 0,
        Kind::Ready(descriptor, direction) => is_ready(descriptor, direction),
    }
}

/// The number of fair choices so far.
static TURN: Gil<Cell<u32>> = Gil::new(Cell::new(0));

/// The case that a fair choice begins with. Multiples of the golden ratio are spread evenly, also if several loops
/// make their choices in turn.
fn next_first(count: usize) -> usize {
    let turn = TURN.get().wrapping_add(0x9E37_79B9);
    TURN.set(turn);
    ((u64::from(turn) * count as u64) >> 32) as usize
}

/// What is chosen.
enum Choice {
    Plan(Plan),
    Wait,
}

fn choose(entered: Entered, alt: &mut Alt, options: Options) -> Res<Choice> {
    alt.first = if options.fair { next_first(alt.entries.len()) } else { 0 };
    let mut told = false;
    loop {
        let ready = turned(alt.entries.len(), alt.first).find(|&i| is_ready_now(&alt.entries[i]));
        if let Some(index) = ready {
            match act_on(entered, &alt.entries[index], index)? {
                Some(plan) => return Ok(Choice::Plan(plan)),
                None => continue,
            }
        }
        if !options.otherwise.is_null() {
            let result = alt_result::new()?;
            alt_result::fill(result, none(), -1, new_ref(options.otherwise));
            return Ok(Choice::Plan(Plan::Return(result)));
        }
        match options.deadline {
            Deadline::None => return Err(waits::raise_timed_out()),
            Deadline::Until(at) if at <= now() => return Err(waits::raise_timed_out()),
            _ => {}
        }
        let first_time = !std::mem::replace(&mut told, true);
        if (alt.joins && prepare_joins(&alt.entries)?) || (first_time && announce(entered, alt)?) {
            continue; // Python code has run
        }
        return Ok(Choice::Wait);
    }
}

/// A case can happen now: what to do. None if it cannot any more, after the channel callback was called.
fn act_on(entered: Entered, entry: &Entry, index: usize) -> Res<Option<Plan>> {
    let (ch, direction, value) = match entry.kind {
        Kind::Receive(ch) => (ch, Direction::Receive, null_mut()),
        Kind::Send(ch, value) => (ch, Direction::Send, value),
        Kind::Join(t) => return finished(entry, index, outcome::outcome(t)?),
        Kind::Event(_) => return finished(entry, index, bool_obj(true)),
        Kind::Ready(..) => return finished(entry, index, null_mut()),
    };
    if hooks::channels_watched() {
        announce_case(entered, ch, direction, value, false)?;
        if !is_ready_now(entry) {
            return Ok(None);
        }
    }
    let result = alt_result::new()?;
    let owned = |o: Obj| if o.is_null() { o } else { new_ref(o) };
    let (value, shown) = (owned(value), new_ref(entry.shown));
    Ok(Some(Plan::Act { ch, direction, value, result, shown, index }))
}

/// The result of a case that needs no partner; the value, or null, is taken over.
fn finished(entry: &Entry, index: usize, value: Obj) -> Res<Option<Plan>> {
    let result = match alt_result::new() {
        Ok(result) => result,
        Err(Raised) => {
            saving_exception(|| drop_ref(value));
            return Err(Raised);
        }
    };
    alt_result::fill(result, new_ref(entry.shown), index as isize, value);
    Ok(Some(Plan::Return(result)))
}

/// Tells the channel callback and a recording of an operation, as for `send` and `receive`. May run Python code.
fn announce_case(entered: Entered, ch: ChannelRef, direction: Direction, value: Obj, waits: bool) -> Res<()> {
    let s = entered.s;
    if callbacks::ON_CHANNEL.is_set() {
        if s.in_channel_callback.get() {
            return Err(runtime_error("Recursive channel call due to callbacks!"));
        }
        let seat = s.current().seat();
        seat.call_back(|| s.current().put(if value.is_null() { null_mut() } else { new_ref(value) }));
        let told = callbacks::announce_operation(s, ch, direction, waits);
        seat.call_back(|| s.current().put(null_mut())); // the current tasklet may be another object by now
        told?;
    }
    if direction == Direction::Send
        && !waits
        && let Some(recorder) = hooks::recorder()
    {
        recorder.describe_sent(s, value);
    }
    throw::raise_pending(s.current())
}

/// Tells the channel callback, if there is one, of all cases that are about to wait, and a recording of what is sent if
/// that is known. True if Python code may have run.
fn announce(entered: Entered, alt: &Alt) -> Res<bool> {
    if let (Some(recorder), Some(value)) = (hooks::recorder(), alt.only_sent()) {
        recorder.describe_sent(entered.s, value);
        throw::raise_pending(entered.s.current())?;
    }
    if !callbacks::ON_CHANNEL.is_set() {
        return Ok(hooks::channels_watched());
    }
    for entry in &alt.entries {
        match entry.kind {
            Kind::Receive(ch) => announce_case(entered, ch, Direction::Receive, null_mut(), true)?,
            Kind::Send(ch, value) => announce_case(entered, ch, Direction::Send, value, true)?,
            Kind::Join(_) | Kind::Ready(..) | Kind::Event(_) => {}
        }
    }
    Ok(true)
}

/// Each tasklet whose end is waited for gets a channel for that, and keeps its result. True if one was made, which may
/// have run Python code.
fn prepare_joins(entries: &Entries) -> Res<bool> {
    let mut any = false;
    for entry in entries {
        let Kind::Join(t) = entry.kind else { continue };
        t.set_flags(|f| f.keeps_result = true);
        if channel::of_end(t).is_none() {
            // SAFETY: a type; the reference goes into the cell, unless making it has run code that made another.
            let made = check(unsafe { PyObject_CallNoArgs(classes::CHANNEL.get().cast()) })?;
            if t.alive() && channel::of_end(t).is_none() {
                channel::set_end(t, made);
            } else {
                drop_ref(made);
            }
            any = true;
        }
    }
    Ok(any)
}

/// Collects the queues in which the tasklet will wait, each channel once.
fn collect_queues(alt: &mut Alt) -> Res<()> {
    let more = alt.entries.len() > alt.queues.capacity();
    if more && memory::strictly(|| alt.queues.try_reserve(alt.entries.len())).is_err() {
        return Err(memory::no_memory());
    }
    for (ch, waits) in alt.entries.iter().filter_map(Entry::queue) {
        match alt.queues.iter_mut().find(|(c, _)| *c == ch.id()) {
            None => alt.queues.push((ch.id(), waits)),
            Some((_, also)) if *also != waits => *also = WaitsTo::Either,
            Some(_) => {}
        }
    }
    Ok(())
}

/// No case can happen now: the tasklet waits in the queues. The error means that nothing happened.
fn wait(entered: Entered, mut alt: Box<Alt>, options: Options, call: Pending) -> Res<Plan> {
    let s = entered.s;
    let me = s.current();
    let retry = match prepare(entered, &mut alt) {
        Ok(retry) => retry,
        Err(Raised) => {
            alt.give_back(s);
            return Err(Raised);
        }
    };
    for entry in &alt.entries {
        new_ref(entry.shown);
    }
    alt.owns.set(true);
    let until = match options.deadline {
        Deadline::Until(at) => Some(at),
        Deadline::None | Deadline::Unlimited => None,
    };
    let armed = until.is_some() || alt.polls;
    waits::begin(s, me, alt.into_wait(), Some(alts::end), until, armed);
    let alt = alt::of(me).expect("begun just now");
    if let Some(readiness) = s.readiness.get().filter(|_| alt.polls) {
        for (descriptor, direction) in alt.entries.iter().filter_map(ready_of) {
            descriptors::enlist(readiness, me, descriptor, direction);
        }
    }
    let next = match plan_departure(entered, None) {
        Ok(next) => next,
        Err(Raised) => {
            waits::disarm(me);
            saving_exception(|| drop_ref(retry));
            return Err(Raised);
        }
    };
    leave_value(s, me, retry);
    me.seat().pending.set(call);
    if alt.queues.is_empty() {
        unlink_running(s);
    } else {
        alt.places.set(alt.queues.len());
        // The ring's reference is that of the first queue.
        for _ in 1..alt.queues.len() {
            new_ref(me.obj());
        }
        world(|w| {
            w.unlink(me.id());
            w.enqueue_places(me.id(), alt.queues.iter().copied());
        });
    }
    Ok(Plan::Depart(next))
}

/// Asks for all that a wait needs: the queues, with memory for the places in them; descriptors that are watched; the
/// result; and, for descriptors, the bomb that calls [`again`], or null, owned.
fn prepare(entered: Entered, alt: &mut Alt) -> Res<Obj> {
    transfer::may_wait(entered)?;
    collect_queues(alt)?;
    let count = alt.queues.len();
    if !world(|w| w.has_room_for_places(count))
        && !memory::strictly(|| world(|w| w.make_room_for_places(count)))
    {
        return Err(memory::no_memory());
    }
    if alt.polls {
        register(entered.s, &alt.entries)?;
    }
    alt.result.set(alt_result::new()?);
    if alt.polls { alt.again() } else { Ok(null_mut()) }
}

fn ready_of(entry: &Entry) -> Option<(c_int, IoDirection)> {
    match entry.kind {
        Kind::Ready(descriptor, direction) => Some((descriptor, direction)),
        _ => None,
    }
}

/// Has the thread's poller watch all descriptors.
fn register(s: &'static Sched, entries: &Entries) -> Res<()> {
    let mut first = None;
    for (descriptor, _) in entries.iter().filter_map(ready_of) {
        let readiness = descriptors::register(s, descriptor, false)?;
        if !std::ptr::eq(*first.get_or_insert(readiness), readiness) {
            return register(s, entries); // the poller was lost, and there is a new one
        }
    }
    Ok(())
}

pub fn functions() -> Vec<PyMethodDef> {
    vec![types::method_keywords(
        "alt",
        "alt($module, /, *cases, timeout=None, else_=<no value>, fair=False)\n--\n\nWait until one of the cases can happen, let it happen, and return (case, value).\n\n\
         A case is channel.receiving(), channel.sending(value), a channel (receives), a tasklet (waits for\n\
         its end; the value is its result), readable(file), writable(file), an object with fileno()\n\
         (readable), or an object whose method __alt_case__() returns one of these. Exactly one case\n\
         happens: the first in this order that can, else the first to become possible. With fair=True the\n\
         order begins with another case at each call. The result is a named tuple: case and value, and the\n\
         position of the case as attribute index.\n\n\
         timeout: the maximum wait in seconds, then TimeoutError is raised; 0 does not wait at all.\n\
         else_: if no case can happen at once, return (None, else_) with index -1, and do not wait.\n\
         Raises what the chosen operation raises: an exception that was sent or ended a joined tasklet;\n\
         ValueError if a channel is closed, also while the tasklet waits to receive from it; OSError for a\n\
         descriptor that is closed or cannot be watched. TypeError for other cases, ValueError for none.\n\
         Errors of a wait as for receive(). Works between threads.",
        alt_function,
    )]
}
