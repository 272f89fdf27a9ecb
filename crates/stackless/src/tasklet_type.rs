//! The type `stackless.tasklet`: making, binding, starting; its table of methods.

use crate::args;
use crate::attributes;
use crate::kernel::{link, world};
use crate::lifetime;
use crate::module;
use crate::moves;
use crate::py::*;
use crate::tasklet::{T, Tasklet};
use crate::thread::{self, Sched};
use crate::types;
use pyo3_ffi::*;
use stackless_cpython as cpython;
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

const DOC: &str = "tasklet(func=None, args=None, kwargs=None)\n--\n\n\
A call with a stack of its own, which can wait without holding up others.\n\n\
t = tasklet(func); t(*args) makes the call runnable; the scheduler starts it. With\n\
args or kwargs it is ready to run, but not in the run queue: see insert(). A tasklet\n\
belongs to the thread that made it. (Stackless contract, section 4.)";

struct Serial(Cell<u64>);

// SAFETY: only reached with the GIL held.
unsafe impl Sync for Serial {}

static SERIAL: Serial = Serial(Cell::new(0));

/// Destroyed tasklets of the very type, whose memory the next ones take over: as CPython does for
/// its own short-lived objects.
struct Spare(Cell<Vec<Obj>>);

// SAFETY: only reached with the GIL held.
unsafe impl Sync for Spare {}

static SPARE: Spare = Spare(Cell::new(Vec::new()));
const SPARES: usize = 256;

fn spare<R>(f: impl FnOnce(&mut Vec<Obj>) -> R) -> R {
    // SAFETY: the GIL; no `f` here comes back or runs Python code.
    f(unsafe { &mut *SPARE.0.as_ptr() })
}

/// The end of a tasklet's destruction: all its cells are empty.
///
/// # Safety
/// Nobody refers to the object, and the collector does not track it.
#[inline(always)]
pub unsafe fn release(o: Obj) {
    let kept = std::ptr::eq(type_of(o), module::tasklet_type())
        && spare(|all| {
            let room = all.len() < SPARES;
            if room {
                all.push(o);
            }
            room
        });
    // SAFETY: the caller's.
    unsafe { if kept { Py_DECREF(type_of(o).cast()) } else { types::free(o) } }
}

/// An empty object of the type, its cells zero.
#[inline(always)]
unsafe fn memory(kind: *mut PyTypeObject) -> Obj {
    let again = if std::ptr::eq(kind, module::tasklet_type()) { spare(Vec::pop) } else { None };
    // SAFETY: a spare object is untracked and complete but for its reference count and the one to
    // its type; else the type's own allocator gives zeroed memory.
    unsafe {
        match again {
            Some(o) => {
                Py_INCREF(kind.cast());
                _Py_NewReference(o);
                PyObject_GC_Track(o.cast());
                o
            }
            None => (*kind).tp_alloc.expect("inherited")(kind, 0),
        }
    }
}

unsafe extern "C" {
    // Exported by CPython, declared in its cpython/object.h.
    fn _Py_NewReference(o: Obj);
}

#[inline(always)]
fn allocate(kind: *mut PyTypeObject, sched: *const Sched) -> Res<T> {
    // SAFETY: an object of the type with empty cells.
    unsafe {
        let o = check(memory(kind))?;
        let serial = SERIAL.0.get() + 1;
        SERIAL.0.set(serial);
        // SAFETY: a scheduler that is being made has no id yet: its main tasklet gets it later.
        let hid = (*sched).try_hid();
        Ok(Tasklet::init(o, sched, |t| world(|w| w.add_tasklet(hid, t)), serial))
    }
}

/// A plain, empty tasklet of a thread.
pub fn allocate_plain(sched: *const Sched) -> Res<T> {
    allocate(module::tasklet_type(), sched)
}

unsafe extern "C" fn tp_new(kind: *mut PyTypeObject, _: Obj, _: Obj) -> Obj {
    give(thread::current().and_then(|s| allocate(kind, s)).map(Tasklet::obj))
}

/// `tasklet(...)`, of that very class: without the detour over `__new__`, `__init__` and `bind`.
unsafe extern "C" fn make(kind: Obj, args: *const Obj, count: usize, names: Obj) -> Obj {
    // SAFETY: a vectorcall of the type.
    unsafe {
        let count = PyVectorcall_NARGS(count);
        if count == 1 && names.is_null() && is_callable(*args) {
            let Ok(s) = thread::current() else { return null_mut() };
            let Ok(context) = check(cpython::current_context(s.ts)) else { return null_mut() };
            let Ok(t) = allocate(kind.cast(), s) else {
                drop_ref(context);
                return null_mut();
            };
            t.context.set(context);
            t.tempval.set(new_ref(*args));
            t.func.set(new_ref(*args));
            return t.obj();
        }
        let Ok([func, call_args, kwargs]) = args::named("tasklet", PARAMETERS, args, count, names) else {
            return null_mut();
        };
        let made = thread::current().and_then(|s| allocate(kind.cast(), s));
        let Ok(t) = made else { return null_mut() };
        if bind_to(t, func, call_args, kwargs).is_err() {
            drop_ref(t.obj());
            return null_mut();
        }
        t.obj()
    }
}

const PARAMETERS: [&str; 3] = ["func", "args", "kwargs"];

/// Subclasses come here: `__init__` calls `self.bind`, which may be overridden.
unsafe extern "C" fn tp_init(o: Obj, args: Obj, kwargs: Obj) -> c_int {
    // SAFETY: the argument tuple and dict of a type call.
    unsafe {
        let given = PyTuple_GET_SIZE(args) + if kwargs.is_null() { 0 } else { PyDict_Size(kwargs) };
        if args::at_most("tasklet", 3, given as usize).is_err() {
            return -1;
        }
        let bind = PyObject_GetAttrString(o, c"bind".as_ptr());
        if bind.is_null() {
            return -1;
        }
        let result = PyObject_Call(bind, args, kwargs);
        drop_ref(bind);
        drop_ref(result);
        if result.is_null() { -1 } else { 0 }
    }
}

/// # Safety
/// `o` is a tasklet.
#[inline(always)]
pub unsafe fn this(o: Obj) -> T {
    // SAFETY: the caller's: the interpreter checks the type of self.
    unsafe { Tasklet::from(o) }
}

unsafe extern "C" fn bind(o: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS call of a tasklet's method.
    unsafe {
        let given = args::named("bind", PARAMETERS, args, count, names);
        give(given.and_then(|[f, a, k]| bind_to(this(o), f, a, k)).map(|()| new_ref(o)))
    }
}

/// `bind`: null counts as None.
#[inline(always)]
fn bind_to(t: T, func: Obj, args: Obj, kwargs: Obj) -> Res<()> {
    let (func, args, kwargs) = (some(func), some(args), some(kwargs));
    if func.is_some_and(|f| !is_callable(f)) {
        return Err(type_error("tasklet function must be a callable or None"));
    }
    if t.is_current() {
        return Err(runtime_error("can't (re)bind the current tasklet"));
    }
    if t.linked() {
        return Err(runtime_error("tasklet is scheduled"));
    }
    let unbinds = func.is_none() && args.is_none() && kwargs.is_none();
    if t.started() {
        let text = if t.is_main() && unbinds {
            "can't unbind the main tasklet"
        } else {
            "tasklet has C state on its stack"
        };
        return Err(runtime_error(text));
    }
    if unbinds {
        t.unbind();
        clear(&t.tempval);
        return Ok(());
    }
    if args.is_some() || kwargs.is_some() {
        return bind_call(t, func, args, kwargs);
    }
    if let Some(func) = func {
        share_context(t)?;
        drop_ref(t.tempval.replace(new_ref(func)));
        drop_ref(t.func.replace(new_ref(func)));
        clear(&t.args);
        clear(&t.kwargs);
    }
    Ok(())
}

/// `bind` with arguments: ready to run.
fn bind_call(t: T, func: Option<Obj>, args: Option<Obj>, kwargs: Option<Obj>) -> Res<()> {
    if func.is_none() && t.func.get().is_null() {
        return Err(runtime_error("the tasklet was not bound to a function"));
    }
    if t.scheduler().is_none() {
        return Err(runtime_error("tasklet has no thread"));
    }
    // SAFETY: living objects; owned references.
    unsafe {
        if args.is_some_and(|a| PyTuple_Check(a) == 0 && PyList_Check(a) == 0) {
            return Err(type_error("args must be a tuple or None"));
        }
        let args = match args {
            Some(args) => check(PySequence_Tuple(args))?,
            None => PyTuple_New(0),
        };
        if kwargs.is_some_and(|k| PyDict_Check(k) == 0) {
            drop_ref(args);
            return Err(type_error("kwargs must be a dict or None"));
        }
        let kwargs = match kwargs {
            Some(kwargs) => PyDict_Copy(kwargs),
            None => null_mut(),
        };
        if let Some(func) = func {
            share_context(t)?;
            drop_ref(t.func.replace(new_ref(func)));
        }
        drop_ref(t.args.replace(args));
        drop_ref(t.kwargs.replace(kwargs));
        clear(&t.tempval);
    }
    Ok(())
}

/// The tasklet will run in the context of whoever binds it.
#[inline(always)]
fn share_context(t: T) -> Res<()> {
    // SAFETY: the calling thread's state.
    let context = check(unsafe { cpython::current_context(cpython::thread_state()) })?;
    drop_ref(t.context.replace(context));
    Ok(())
}

/// `t(*args, **kwargs)`.
pub unsafe extern "C" fn call(o: Obj, args: *const Obj, count: usize, names: Obj) -> Obj {
    // SAFETY: a vectorcall of a tasklet.
    unsafe {
        let count = PyVectorcall_NARGS(count);
        give(start(this(o), args, count, names).map(|()| new_ref(o)))
    }
}

unsafe extern "C" fn setup(o: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS call of a tasklet's method.
    unsafe { give(start(this(o), args, count, names).map(|()| new_ref(o))) }
}

/// Stores the arguments and makes the tasklet runnable.
///
/// # Safety
/// `args` and `names` are those of a vectorcall.
#[inline(always)]
unsafe fn start(t: T, args: *const Obj, count: Py_ssize_t, names: Obj) -> Res<()> {
    if t.started() || !t.args.get().is_null() || t.linked() {
        return Err(runtime_error("tasklet is alive"));
    }
    if t.func.get().is_null() {
        return Err(runtime_error("the tasklet was not bound to a function"));
    }
    if t.scheduler().is_none() {
        return Err(runtime_error("tasklet has no thread"));
    }
    // SAFETY: living arguments; owned references.
    unsafe {
        let tuple = check(PyTuple_New(count))?;
        for i in 0..count {
            PyTuple_SET_ITEM(tuple, i, new_ref(*args.offset(i)));
        }
        if !names.is_null() && PyTuple_GET_SIZE(names) > 0 {
            let Ok(dict) = check(PyDict_New()) else {
                drop_ref(tuple);
                return Err(Raised);
            };
            for i in 0..PyTuple_GET_SIZE(names) {
                if PyDict_SetItem(dict, PyTuple_GET_ITEM(names, i), *args.offset(count + i)) < 0 {
                    drop_ref(tuple);
                    drop_ref(dict);
                    return Err(Raised);
                }
            }
            t.kwargs.set(dict);
        }
        t.args.set(tuple);
    }
    link(t);
    clear(&t.tempval);
    Ok(())
}

/// Makes the type and puts it into the module.
pub fn add(module: Obj) -> Res<()> {
    let mut methods = vec![
        types::method_keywords(
            "bind",
            "bind($self, /, func=None, args=None, kwargs=None)\n--\n\nBind a callable, or a callable and its arguments; return self.\n\n\
             With func alone the tasklet waits for its arguments; with args or kwargs it is ready\n\
             to run but in no queue. With nothing it is unbound.\n\
             Raises TypeError for what is not callable, RuntimeError if the tasklet is current,\n\
             scheduled, or started and not ended.",
            bind,
        ),
        types::method_keywords(
            "setup",
            "setup($self, /, *args, **kwargs)\n--\n\nBind arguments and append to the run queue; return self. The same as t(*args, **kwargs).\n\n\
             Raises RuntimeError if the tasklet is alive or no function is bound.",
            setup,
        ),
    ];
    methods.extend(moves::methods());
    methods.extend(attributes::methods());
    methods.extend(lifetime::methods());
    let slots = types::Slots::new()
        .doc(DOC)
        .slot(Py_tp_new, tp_new as newfunc as *mut c_void)
        .slot(Py_tp_init, tp_init as initproc as *mut c_void)
        .slot(Py_tp_call, PyVectorcall_Call as ternaryfunc as *mut c_void)
        .slot(Py_tp_traverse, lifetime::tp_traverse as traverseproc as *mut c_void)
        .slot(Py_tp_clear, lifetime::tp_clear as inquiry as *mut c_void)
        .slot(Py_tp_finalize, lifetime::tp_finalize as destructor as *mut c_void)
        .slot(Py_tp_dealloc, lifetime::tp_dealloc as destructor as *mut c_void)
        .offsets(&[
            ("__weaklistoffset__", Tasklet::WEAKREF_OFFSET),
            ("__vectorcalloffset__", Tasklet::VECTORCALL_OFFSET),
        ])
        .methods(&methods)
        .getters(&attributes::getters());
    types::add(
        module,
        &module::TASKLET,
        c"stackless.tasklet",
        size_of::<Tasklet>(),
        Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_VECTORCALL,
        slots,
    )?;
    // SAFETY: the type was just made and has no instance. Subclasses do not inherit this.
    unsafe { (*module::tasklet_type()).tp_vectorcall = Some(make) };
    Ok(())
}
