//! The type `stackless.tasklet`: making, binding and starting tasklets; its table of methods.

use crate::engine::outcome;
use crate::model::allocation::allocate;
use crate::model::classes;
use crate::model::tasklet::{Tasklet, TaskletRef};
use crate::observe::{origins, snapshot, warnings};
use crate::parking::park;
use crate::python::objects::*;
use crate::python::{args, types};
use crate::scheduler::ring::link;
use crate::scheduler::{entry, hooks};
use crate::types::{reduce, tasklet_attributes, tasklet_control, tasklet_gc, tasklet_join};
use pyo3_ffi::*;
use stackless_cpython::{self as cpython, CallDoes};
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

const DOC: &str = "tasklet(func=None, args=None, kwargs=None)\n--\n\n\
A call with a stack of its own, which can wait without holding up others.\n\n\
t = tasklet(func); t(*args) makes the call runnable; the scheduler starts it. With\n\
args or kwargs it is ready to run, but not in the run queue: see insert(). A tasklet\n\
belongs to the thread that made it. (Reference, section 4.)";

unsafe extern "C" fn tp_new(kind: *mut PyTypeObject, _: Obj, _: Obj) -> Obj {
    give(entry::current().and_then(|s| allocate(kind, s.id())).map(Tasklet::obj))
}

/// `tasklet(...)`, of exactly this class: does not call `__new__`, `__init__` and `bind` one by one.
unsafe extern "C" fn make(kind: Obj, args: *const Obj, count: usize, names: Obj) -> Obj {
    // SAFETY: a vectorcall of the type.
    unsafe {
        let count = PyVectorcall_NARGS(count);
        let does = if count == 1 && names.is_null() { cpython::call_does(*args) } else { CallDoes::Nothing };
        if does != CallDoes::Nothing {
            if does != CallDoes::Run && warnings::of_function(*args, does).is_err() {
                return null_mut();
            }
            let Ok(s) = entry::current() else { return null_mut() };
            let Ok(context) = check(cpython::current_context(s.ts)) else { return null_mut() };
            let Ok(t) = allocate(kind.cast(), s.id()) else {
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
        let made = entry::current().and_then(|s| allocate(kind.cast(), s.id()));
        let Ok(t) = made else { return null_mut() };
        if bind_to(t, func, call_args, kwargs).is_err() {
            drop_ref(t.obj());
            return null_mut();
        }
        t.obj()
    }
}

const PARAMETERS: [&str; 3] = ["func", "args", "kwargs"];

/// For subclasses: `__init__` calls `self.bind`, which may be overridden.
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

unsafe extern "C" fn bind(o: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS call of a tasklet's method.
    unsafe {
        let given = args::named("bind", PARAMETERS, args, count, names);
        give(given.and_then(|[f, a, k]| bind_to(Tasklet::from(o), f, a, k)).map(|()| new_ref(o)))
    }
}

/// `bind`: null counts as None. What will be stored is made first, as making it may run Python
/// code; then the tasklet's state is checked and changed without a call in between; last, the old values are dropped.
#[inline(always)]
fn bind_to(t: TaskletRef, func: Obj, args: Obj, kwargs: Obj) -> Res<()> {
    let (func, args, kwargs) = (some(func), some(args), some(kwargs));
    // SAFETY: a living object.
    match func.map_or(CallDoes::Run, |f| unsafe { cpython::call_does(f) }) {
        CallDoes::Run => {}
        CallDoes::Nothing => return Err(type_error("tasklet function must be a callable or None")),
        does => warnings::of_function(func.expect("it was looked at"), does)?,
    }
    // SAFETY: living objects, and the calling thread's state.
    let new = unsafe {
        if args.is_some_and(|a| PyTuple_Check(a) == 0 && PyList_Check(a) == 0) {
            return Err(type_error("args must be a tuple or None"));
        }
        if kwargs.is_some_and(|k| PyDict_Check(k) == 0) {
            return Err(type_error("kwargs must be a dict or None"));
        }
        let call = args.is_some() || kwargs.is_some();
        let args = match args {
            Some(args) => check(PySequence_Tuple(args))?,
            None if call => PyTuple_New(0),
            None => null_mut(),
        };
        let kwargs = kwargs.map_or(null_mut(), |k| PyDict_Copy(k));
        // The tasklet will run in the context of the caller of `bind`.
        let context = match func {
            Some(_) => cpython::current_context(cpython::thread_state()),
            None => null_mut(),
        };
        New { func: func.map_or(null_mut(), new_ref), args, kwargs, context }
    };
    if raised() {
        new.drop();
        return Err(Raised);
    }
    match may_bind(t, &new) {
        Ok(()) => {
            let frames = tasklet_gc::take_frames(t);
            store(t, new);
            tasklet_gc::drop_frames(frames);
            if hooks::bindings_watched() {
                origins::bound(t);
            }
            Ok(())
        }
        Err(raised) => {
            saving_exception(|| new.drop());
            Err(raised)
        }
    }
}

/// What `bind` will store: owned references or null.
struct New {
    func: Obj,
    args: Obj,
    kwargs: Obj,
    context: Obj,
}

impl New {
    fn drop(&self) {
        [self.func, self.args, self.kwargs, self.context].into_iter().for_each(drop_ref);
    }

    fn is_nothing(&self) -> bool {
        self.func.is_null() && self.args.is_null()
    }
}

fn may_bind(t: TaskletRef, new: &New) -> Res<()> {
    if t.is_current() {
        return Err(runtime_error("can't (re)bind the current tasklet"));
    }
    if t.linked() {
        return Err(runtime_error("tasklet is scheduled"));
    }
    if t.is_main() && new.is_nothing() {
        return Err(runtime_error("can't unbind the main tasklet"));
    }
    if t.started() && !park::is_soft(t) {
        return Err(runtime_error("tasklet has C state on its stack"));
    }
    if new.args.is_null() {
        return Ok(());
    }
    if new.func.is_null() && t.func.get().is_null() {
        return Err(runtime_error("the tasklet was not bound to a function"));
    }
    if t.scheduler().is_none() {
        return Err(runtime_error("tasklet has no thread"));
    }
    Ok(())
}

fn store(t: TaskletRef, new: New) {
    t.switches.set(0);
    t.since.set(0);
    let outcome = outcome::take_outcome(t);
    let old = if new.func.is_null() && !new.is_nothing() {
        // The function that was bound before stays, and its context.
        [
            null_mut(),
            t.args.replace(new.args),
            t.kwargs.replace(new.kwargs),
            null_mut(),
            t.tempval.replace(null_mut()),
        ]
    } else {
        let old = t.take_all();
        if new.args.is_null() && !new.func.is_null() {
            t.tempval.set(new_ref(new.func));
        }
        t.func.set(new.func);
        t.args.set(new.args);
        t.kwargs.set(new.kwargs);
        t.context.set(new.context);
        old
    };
    old.into_iter().for_each(drop_ref);
    drop_ref(outcome);
}

/// `t(*args, **kwargs)`.
pub unsafe extern "C" fn call(o: Obj, args: *const Obj, count: usize, names: Obj) -> Obj {
    // SAFETY: a vectorcall of a tasklet.
    unsafe {
        let count = PyVectorcall_NARGS(count);
        give(start(Tasklet::from(o), args, count, names).map(|()| new_ref(o)))
    }
}

unsafe extern "C" fn setup(o: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS call of a tasklet's method.
    unsafe { give(start(Tasklet::from(o), args, count, names).map(|()| new_ref(o))) }
}

/// Stores the arguments and makes the tasklet runnable.
///
/// # Safety
/// `args` and `names` are those of a vectorcall.
#[inline(always)]
unsafe fn start(t: TaskletRef, args: *const Obj, count: Py_ssize_t, names: Obj) -> Res<()> {
    // SAFETY: the caller's.
    let (tuple, dict) = unsafe { args::tuple_and_dict(args, count, names) }?;
    // Making these may have run Python code; from here to the end of the change no Python code runs.
    let refused = if t.started() || !t.args.get().is_null() || t.linked() {
        Some("tasklet is alive")
    } else if t.func.get().is_null() {
        Some("the tasklet was not bound to a function")
    } else if t.scheduler().is_none() {
        Some("tasklet has no thread")
    } else {
        None
    };
    if let Some(text) = refused {
        drop_ref(tuple);
        drop_ref(dict);
        return Err(runtime_error(text));
    }
    t.args.set(tuple);
    t.kwargs.set(dict);
    let old = t.tempval.replace(null_mut());
    link(t);
    if hooks::bindings_watched() {
        origins::bound(t);
    }
    drop_ref(old);
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
    methods.extend(tasklet_control::methods());
    methods.extend(tasklet_attributes::methods());
    methods.extend(tasklet_join::methods());
    methods.extend(tasklet_gc::methods());
    methods.push(types::class_getitem());
    methods.extend(reduce::tasklet_methods());
    let slots = types::Slots::new()
        .doc(DOC)
        .slot(Py_tp_repr, snapshot::tasklet_repr as reprfunc as *mut c_void)
        .slot(Py_tp_new, tp_new as newfunc as *mut c_void)
        .slot(Py_tp_init, tp_init as initproc as *mut c_void)
        .slot(Py_tp_call, PyVectorcall_Call as ternaryfunc as *mut c_void)
        .slot(Py_tp_traverse, tasklet_gc::tp_traverse as traverseproc as *mut c_void)
        .slot(Py_tp_clear, tasklet_gc::tp_clear as inquiry as *mut c_void)
        .slot(Py_tp_finalize, tasklet_gc::tp_finalize as destructor as *mut c_void)
        .slot(Py_tp_dealloc, tasklet_gc::tp_dealloc as destructor as *mut c_void)
        .offsets(&[
            ("__weaklistoffset__", Tasklet::WEAKREF_OFFSET),
            ("__vectorcalloffset__", Tasklet::VECTORCALL_OFFSET),
        ])
        .methods(&methods)
        .getters(&tasklet_attributes::getters());
    types::add(
        module,
        &classes::TASKLET,
        c"stackless.tasklet",
        size_of::<Tasklet>(),
        Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_VECTORCALL,
        slots,
    )?;
    // SAFETY: the type was just made and has no instance. Subclasses do not inherit this.
    unsafe { (*classes::tasklet_type()).tp_vectorcall = Some(make) };
    Ok(())
}
