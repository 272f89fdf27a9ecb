//! `bomb`: an exception on its way to a tasklet. A tasklet that resumes with a bomb as its tempval raises it.

use crate::model::tasklet::Tasklet;
use crate::model::thread::of_running_tasklet;
use crate::model::wait::SocketCall;
use crate::python::gil::Gil;
use crate::python::objects::*;
use crate::python::{args, types};
use pyo3_ffi::*;
use std::cell::{Cell, UnsafeCell};
use std::ffi::c_void;
use std::ptr::null_mut;

/// Tries a call again. The references (the socket and the buffer) are taken over.
pub type Retry = fn(Obj, Obj, SocketCall) -> Res<Obj>;

/// Takes back what was granted to a tasklet that did not continue with it: the primitive, borrowed, and the item,
/// which is taken over, or null.
pub type TakeBack = fn(Obj, Obj);

/// What a bomb does, if it is no exception, when its tasklet finds it.
#[derive(Clone, Copy)]
enum Deferred {
    /// It is an exception.
    Raise,
    /// It makes this call again: `value` is the socket, `traceback` the buffer.
    Call(Retry, SocketCall),
    /// Its tasklet waited for a primitive of `stackless.sync`, which is `value`, and was given its turn, with the item
    /// in `traceback` or null for none. If the tasklet ends or is woken by an exception before it continues, the
    /// bomb is destroyed, and the turn goes to the next one.
    Grant(TakeBack),
    /// Its exception is made by this function, in the tasklet that finds it: it may be left for many.
    Make(fn() -> Raised),
}

#[repr(C)]
pub struct Bomb {
    head: UnsafeCell<PyObject>,
    kind: Cell<Obj>,
    value: Cell<Obj>,
    traceback: Cell<Obj>,
    /// What the pending call returns before the bomb is raised, at the next switching call; null is
    /// None. Only while the bomb is delayed.
    first: Cell<Obj>,
    delayed: Cell<bool>,
    deferred: Cell<Deferred>,
}

const DOC: &str = "bomb(type=None, value=None, traceback=None)\n--\n\n\
An exception on its way to a tasklet.\n\n\
A tasklet that resumes with a bomb as its tempval raises the exception. A single\n\
tuple, such as sys.exc_info(), is unpacked. The attributes are read-only.";

static BOMB: types::TypeCell = types::TypeCell::new();

fn from(o: Obj) -> &'static Bomb {
    // SAFETY: called with bombs only.
    unsafe { &*o.cast::<Bomb>() }
}

/// True for a bomb.
#[inline(always)]
pub fn is_bomb(o: Obj) -> bool {
    std::ptr::eq(type_of(o), BOMB.get())
}

/// The exception in a bomb, or its class: a new reference.
pub fn exception(o: Obj) -> Option<Obj> {
    let bomb = from(o);
    some(bomb.value.get()).or(some(bomb.kind.get())).map(new_ref)
}

/// Destroyed bombs, whose memory new ones reuse: each tasklet that is given its turn needs one for a short time.
static SPARE: Gil<Cell<Vec<Obj>>> = Gil::new(Cell::new(Vec::new()));
const SPARES: usize = 64;

fn spare<R>(f: impl FnOnce(&mut Vec<Obj>) -> R) -> R {
    // SAFETY: the GIL; no `f` here calls this function again or runs Python code.
    f(unsafe { &mut *SPARE.as_ptr() })
}

unsafe extern "C" {
    // Exported by CPython, declared in its cpython/object.h.
    fn _Py_NewReference(o: Obj);
}

/// A new bomb; the references are taken over. Without memory for it, the error is a MemoryError, and the
/// caller's exception is lost.
pub fn new([kind, value, traceback]: [Obj; 3]) -> Res<Obj> {
    let t = BOMB.get();
    // No collection: the running tasklet may be in no list, on its way to another one.
    // New memory is zeroed, and that of a destroyed bomb has empty cells.
    let o = match spare(Vec::pop) {
        // SAFETY: it is complete but for its reference count and the one to its type, and untracked.
        Some(o) => unsafe {
            Py_INCREF(t.cast());
            _Py_NewReference(o);
            PyObject_GC_Track(o.cast());
            o
        },
        // SAFETY: the type is ready.
        None => without_collection(|| unsafe { (*t).tp_alloc.expect("inherited")(t, 0) }),
    };
    if o.is_null() {
        [kind, value, traceback].into_iter().for_each(drop_ref);
        return Err(Raised);
    }
    let bomb = from(o);
    bomb.kind.set(kind);
    bomb.value.set(value);
    bomb.traceback.set(traceback);
    bomb.deferred.set(Deferred::Raise); // which need not be all zeros
    bomb.delayed.set(false);
    Ok(o)
}

/// A bomb that makes a call when a tasklet finds it; the references are taken over.
pub fn of_call(socket: Obj, buffer: Obj, call: SocketCall, retry: Retry) -> Res<Obj> {
    let o = new([null_mut(), socket, buffer])?;
    from(o).deferred.set(Deferred::Call(retry, call));
    Ok(o)
}

/// A bomb that gives a tasklet its turn: what it waited for returns the item, or True for null. The item is taken
/// over, unless there is no memory.
pub fn of_grant(primitive: Obj, item: Obj, back: TakeBack) -> Res<Obj> {
    let o = new([null_mut(); 3])?;
    let bomb = from(o);
    bomb.value.set(new_ref(primitive));
    bomb.traceback.set(item);
    bomb.deferred.set(Deferred::Grant(back));
    Ok(o)
}

/// The primitive and the item (or null) of a bomb that gives a tasklet its turn: borrowed. None for others.
pub fn granted(o: Obj) -> Option<[Obj; 2]> {
    let bomb = from(o);
    let is_grant = matches!(bomb.deferred.get(), Deferred::Grant(_));
    is_grant.then(|| [bomb.value.get(), bomb.traceback.get()])
}

/// What was granted goes back, if the tasklet did not find it.
fn take_back(bomb: &Bomb) {
    if let Deferred::Grant(back) = bomb.deferred.replace(Deferred::Raise) {
        let [primitive, item] = [&bomb.value, &bomb.traceback].map(|cell| cell.replace(null_mut()));
        saving_exception(|| back(primitive, item));
        drop_ref(primitive);
    }
}

/// A bomb whose exception, of this class (taken over), is made by a function when a tasklet finds it.
pub fn of_function(kind: Obj, maker: fn() -> Raised) -> Res<Obj> {
    let o = new([kind, null_mut(), null_mut()])?;
    from(o).deferred.set(Deferred::Make(maker));
    Ok(o)
}

/// A bomb of the exception that is set, which is cleared.
pub fn of_raised() -> Obj {
    let exception = without_collection(take_exception);
    debug_assert!(!exception[0].is_null());
    match new(exception) {
        Ok(bomb) => bomb,
        Err(Raised) => {
            write_unraisable(null_mut());
            null_mut()
        }
    }
}

/// A bomb of `kind(*arguments)`. The exception is made now, so that a failure to make it is raised in the
/// sender.
pub fn of_class(kind: Obj, arguments: &[Obj]) -> Res<Obj> {
    // SAFETY: a class and living arguments.
    let value = check(unsafe { PyObject_Vectorcall(kind, arguments.as_ptr(), arguments.len(), null_mut()) })?;
    of_instance(value)
}

/// A bomb of an exception instance; the reference is taken over.
fn of_instance(value: Obj) -> Res<Obj> {
    if !is_exception(value) {
        let text = format!(
            "calling the exception class should have returned an exception, not {}",
            type_name(value)
        );
        drop_ref(value);
        return Err(type_error(&text));
    }
    // SAFETY: an exception; the traceback is a new reference or null.
    let traceback = unsafe { PyException_GetTraceback(value) };
    new([new_ref(type_of(value).cast()), value, traceback])
}

/// A bomb from the three parts of an old `raise`: a class with a value, arguments or None; or an
/// instance alone. Null parts count as None.
pub fn of_parts(exc: Obj, val: Obj, tb: Obj) -> Res<Obj> {
    // SAFETY: living objects.
    let traceback_fits = some(tb).is_none_or(|tb| unsafe { PyTraceBack_Check(tb) != 0 });
    if !traceback_fits {
        return Err(type_error("third argument must be a traceback object"));
    }
    let bomb = if is_exception_class(exc) {
        match some(val) {
            None => of_class(exc, &[]),
            // SAFETY: living objects.
            Some(val) if is_exception(val) && unsafe { PyObject_IsInstance(val, exc) } == 1 => {
                of_instance(new_ref(val))
            }
            // SAFETY: a tuple holds living objects.
            Some(val) if unsafe { PyTuple_Check(val) != 0 } => unsafe {
                let value = check(PyObject_Call(exc, val, null_mut()))?;
                of_instance(value)
            },
            Some(val) => of_class(exc, &[val]),
        }?
    } else if is_exception(exc) {
        if some(val).is_some() {
            return Err(type_error("instance exception may not have a separate value"));
        }
        of_instance(new_ref(exc))?
    } else {
        let text = format!("exceptions must be classes, or instances, not {}", type_name(exc));
        return Err(type_error(&text));
    };
    if let Some(tb) = some(tb) {
        drop_ref(from(bomb).traceback.replace(new_ref(tb)));
    }
    Ok(bomb)
}

/// The result of a pending call: raises a bomb, turns null into None. The reference is taken over.
#[inline(always)]
pub fn unpack(value: Obj) -> Res<Obj> {
    if value.is_null() {
        return Ok(none());
    }
    if is_bomb(value) { open_bomb(value) } else { Ok(value) }
}

/// A tasklet finds the bomb that was left for it.
#[cold]
fn open_bomb(o: Obj) -> Res<Obj> {
    let deferred = from(o).deferred.get();
    if let Deferred::Make(maker) = deferred {
        drop_ref(o);
        return Err(maker());
    }
    if !matches!(deferred, Deferred::Raise) {
        from(o).deferred.set(Deferred::Raise);
        let [first, second] = [&from(o).value, &from(o).traceback].map(|cell| cell.replace(null_mut()));
        drop_ref(o);
        if let Deferred::Call(retry, call) = deferred {
            return retry(first, second, call);
        }
        drop_ref(first);
        return Ok(if second.is_null() { bool_obj(true) } else { second });
    }
    if !from(o).delayed.get() {
        return Err(raise_bomb(o));
    }
    let first = take_first(o);
    drop_ref(of_running_tasklet().current().tempval.replace(o));
    Ok(if first.is_null() { none() } else { first })
}

/// Delays a bomb: the tasklet that finds it gets this value (taken over, null is None), and the exception at its
/// next switching call.
pub fn put_first(o: Obj, value: Obj) {
    let bomb = from(o);
    bomb.delayed.set(true);
    drop_ref(bomb.first.replace(value));
}

/// Takes out the value that a delayed bomb gives first, or null. The bomb is not delayed any more.
pub fn take_first(o: Obj) -> Obj {
    let bomb = from(o);
    bomb.delayed.set(false);
    bomb.first.replace(null_mut())
}

/// Raises the exception in the bomb; the reference is taken over.
#[cold]
pub fn raise_bomb(o: Obj) -> Raised {
    let bomb = from(o);
    let parts = [&bomb.kind, &bomb.value, &bomb.traceback].map(|cell| {
        let part = cell.get();
        if some(part).is_some() { new_ref(part) } else { null_mut() }
    });
    drop_ref(o);
    let [kind, value, traceback] = parts;
    if kind.is_null() || !(is_exception_class(kind) || is_exception(kind)) {
        parts.into_iter().for_each(drop_ref);
        return type_error("the bomb holds no exception");
    }
    if is_exception(kind) {
        let class = new_ref(type_of(kind).cast());
        drop_ref(value);
        let Raised = set_exception([class, kind, traceback]);
    } else {
        let Raised = set_exception([kind, value, traceback]);
    }
    // SAFETY: the GIL is held.
    if let Some(handled) = some(unsafe { PyErr_GetHandledException() }) {
        add_context(handled);
        drop_ref(handled);
    }
    Raised
}

/// The maximum length of a chain to which a context is added: an exception that is raised again and again
/// (by `join()`, for example) does not collect contexts without end.
const LONGEST_CHAIN: usize = 100;

/// Makes the exception that is being handled the context of the one that is set, as a `raise` statement does. An
/// exception that has a context already keeps it: the handled one goes to the end of the chain.
#[cold]
fn add_context(handled: Obj) {
    let exception = take_exception();
    let raised = exception[1];
    // The last exception of the chain gets the context. References are borrowed here: exceptions own their contexts.
    let end = chain(raised).take(LONGEST_CHAIN).take_while(|&e| !std::ptr::eq(e, handled)).last();
    let free = end.filter(|&end| context(end).is_none());
    let cyclic = || chain(handled).take(LONGEST_CHAIN).any(|e| free.is_some_and(|end| std::ptr::eq(e, end)));
    if let Some(end) = free.filter(|_| !cyclic()) {
        // SAFETY: an exception; the reference is handed over.
        unsafe { PyException_SetContext(end, new_ref(handled)) };
    }
    let Raised = set_exception(exception);
}

/// An exception, its context, the context's context, and so on: borrowed.
fn chain(exception: Obj) -> impl Iterator<Item = Obj> {
    std::iter::successors(some(exception).filter(|&e| is_exception(e)), |&e| context(e))
}

/// The context of an exception: borrowed.
fn context(exception: Obj) -> Option<Obj> {
    // SAFETY: an exception; it keeps what it refers to.
    let context = unsafe { PyException_GetContext(exception) };
    some(context).inspect(|&context| drop_ref(context))
}

unsafe extern "C" fn tp_new(_: *mut PyTypeObject, args: Obj, kwargs: Obj) -> Obj {
    give(make(args, kwargs))
}

fn make(args: Obj, kwargs: Obj) -> Res<Obj> {
    // SAFETY: the argument tuple and dict of a type call; borrowed items.
    unsafe {
        let count = PyTuple_GET_SIZE(args);
        let first = if count == 1 { PyTuple_GET_ITEM(args, 0) } else { null_mut() };
        let unpacked = !first.is_null() && PyTuple_Check(first) != 0 && kwargs.is_null();
        let args = if unpacked { first } else { args };
        let given = PyTuple_GET_SIZE(args) as usize;
        args::at_most("bomb", 3, given + if kwargs.is_null() { 0 } else { PyDict_Size(kwargs) as usize })?;
        let mut parts = [null_mut(); 3];
        for (i, part) in parts.iter_mut().enumerate().take(given) {
            *part = PyTuple_GET_ITEM(args, i as Py_ssize_t);
        }
        if !kwargs.is_null() {
            let names = [c"type", c"value", c"traceback"];
            let mut known = 0;
            for (i, name) in names.iter().enumerate() {
                let value = PyDict_GetItemString(kwargs, name.as_ptr());
                if !value.is_null() {
                    parts[i] = value;
                    known += 1;
                }
            }
            if known != PyDict_Size(kwargs) {
                return Err(type_error("bomb() got an unexpected keyword argument"));
            }
        }
        new(parts.map(|part| if part.is_null() { null_mut() } else { new_ref(part) }))
    }
}

unsafe extern "C" fn tp_traverse(o: Obj, visit: visitproc, arg: *mut c_void) -> i32 {
    let bomb = from(o);
    let own = [type_of(o).cast(), bomb.kind.get(), bomb.value.get(), bomb.traceback.get(), bomb.first.get()];
    types::visit_all(own, visit, arg)
}

unsafe extern "C" fn tp_clear(o: Obj) -> i32 {
    let bomb = from(o);
    take_back(bomb);
    [&bomb.kind, &bomb.value, &bomb.traceback, &bomb.first].into_iter().for_each(clear);
    0
}

unsafe extern "C" fn tp_dealloc(o: Obj) {
    // SAFETY: the last reference is gone; the usual steps of a garbage-collected heap type.
    unsafe {
        PyObject_GC_UnTrack(o.cast());
        tp_clear(o);
        let kept = spare(|all| {
            let room = all.len() < SPARES;
            if room {
                all.push(o);
            }
            room
        });
        if kept { Py_DECREF(type_of(o).cast()) } else { types::free(o) }
    }
}

unsafe extern "C" fn get(o: Obj, which: *mut c_void) -> Obj {
    let bomb = from(o);
    let cell = [&bomb.kind, &bomb.value, &bomb.traceback][which as usize];
    new_ref(some(cell.get()).unwrap_or_else(|| {
        // SAFETY: None exists, and is immortal or owned by the interpreter.
        unsafe { Py_None() }
    }))
}

unsafe extern "C" fn reduce(o: Obj, _: Obj) -> Obj {
    let bomb = from(o);
    if let Some(granted) = granted(o) {
        return give(reduce_grant(granted));
    }
    let [kind, value, traceback] =
        [&bomb.kind, &bomb.value, &bomb.traceback].map(|c| some(c.get()).unwrap_or_else(none_borrowed));
    // SAFETY: living objects.
    unsafe {
        let args = PyTuple_Pack(3, kind, value, traceback);
        if args.is_null() {
            return null_mut();
        }
        let result = PyTuple_Pack(2, type_of(o), args);
        drop_ref(args);
        result
    }
}

/// `_grant(primitive, item)`, without the item if it is True.
fn reduce_grant([primitive, item]: [Obj; 2]) -> Res<Obj> {
    // SAFETY: living objects; owned references are dropped.
    unsafe {
        let module = check(PyImport_ImportModule(c"stackless._stackless".as_ptr()))?;
        let function = PyObject_GetAttrString(module, c"_grant".as_ptr());
        drop_ref(module);
        let function = check(function)?;
        let arguments =
            if item.is_null() { PyTuple_Pack(1, primitive) } else { PyTuple_Pack(2, primitive, item) };
        let result = if arguments.is_null() { arguments } else { PyTuple_Pack(2, function, arguments) };
        drop_ref(arguments);
        drop_ref(function);
        check(result)
    }
}

/// Makes the type and puts it into the module.
pub fn add(module: Obj) -> Res<()> {
    let members = [
        types::getter("type", "The exception class, None if unset.", get, 0),
        types::getter("value", "The exception or its arguments, None if unset.", get, 1),
        types::getter("traceback", "The traceback, None if unset.", get, 2),
    ];
    let methods = [types::method_noargs("__reduce__", "Pickle support.", reduce)];
    let slots = types::Slots::new()
        .doc(DOC)
        .slot(Py_tp_new, tp_new as newfunc as *mut c_void)
        .slot(Py_tp_traverse, tp_traverse as traverseproc as *mut c_void)
        .slot(Py_tp_clear, tp_clear as inquiry as *mut c_void)
        .slot(Py_tp_dealloc, tp_dealloc as destructor as *mut c_void)
        .getters(&members)
        .methods(&methods);
    types::add(module, &BOMB, c"stackless.bomb", size_of::<Bomb>(), Py_TPFLAGS_HAVE_GC, slots)
}

/// True for a bomb of this exception class, or of a subclass.
pub fn is_of(o: Obj, class: Obj) -> bool {
    let kind = from(o).kind.get();
    some(kind).is_some_and(|kind| is_subclass(kind, class))
}

impl Tasklet {
    /// True if an exception is on its way to the tasklet.
    pub fn has_bomb(&self) -> bool {
        some(self.tempval.get()).is_some_and(|o| is_bomb(o) && granted(o).is_none())
    }
}
