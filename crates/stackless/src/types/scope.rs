//! The types `stackless.CancelScope` and its subclass for task groups, the exception `stackless.Cancelled`, and
//! `current_deadline()`.

use crate::model::allocation::allocate;
use crate::model::classes;
use crate::model::scope::{NEVER, Scope, ScopeRef};
use crate::model::thread::begun;
use crate::observe::{inspect, warnings};
use crate::python::args::function;
use crate::python::objects::*;
use crate::python::{args, types};
use crate::scheduler::entry;
use crate::scheduler::scopes::{self, SCOPE};
use crate::waiting::group;
use pyo3_ffi::*;
use stackless_cpython::{self as cpython, CallDoes};
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

const DOC: &str = "CancelScope(timeout=None, *, shield=False, fail=False)\n--\n\n\
A block that can be cancelled: `with CancelScope() as scope: ...`.\n\n\
Once it is cancelled (by cancel(), or after `timeout` seconds), every call in the block that would\n\
wait raises Cancelled, until the block is left; the block ends without an error then. This holds\n\
for the tasklet that has entered the block, and for all that were started in task groups inside it.\n\
shield: cancellation of scopes around this one does not reach its block. fail: the end of a block that\n\
the time-out has ended raises TimeoutError. move_on_after(), fail_after() and shield() make scopes.\n\
A scope can be entered once. Raises TypeError if timeout is not a number, ValueError if it is\n\
negative or NaN; RuntimeError if the scope is entered again, or left by another tasklet.";

static GROUP: types::TypeCell = types::TypeCell::new();

unsafe extern "C" fn tp_new(kind: *mut PyTypeObject, _: Obj, _: Obj) -> Obj {
    // SAFETY: an allocation by the type itself, zeroed: null and false are what the cells begin with.
    unsafe {
        let o = (*kind).tp_alloc.expect("inherited")(kind, 0);
        if !o.is_null() {
            let scope = Scope::from(o);
            scope.time.set(NEVER);
            scope.deadline.set(NEVER);
            scope.set_flags(|f| f.group = PyType_IsSubtype(kind, GROUP.get()) != 0);
        }
        o
    }
}

unsafe extern "C" fn tp_init(o: Obj, args: Obj, kwargs: Obj) -> c_int {
    // SAFETY: the argument tuple and dict of a type call; places for three borrowed references.
    let done = unsafe {
        let scope = Scope::from(o);
        let (mut timeout, mut shield, mut fail) = (null_mut(), 0, 0);
        let mut names = [c"timeout".as_ptr(), c"shield".as_ptr(), c"fail".as_ptr(), std::ptr::null()];
        let parsed = PyArg_ParseTupleAndKeywords(
            args,
            kwargs,
            c"|O$pp:CancelScope".as_ptr(),
            names.as_mut_ptr().cast(),
            &raw mut timeout,
            &raw mut shield,
            &raw mut fail,
        );
        if parsed == 0 { Err(Raised) } else { init(scope, timeout, shield != 0, fail != 0) }
    };
    if done.is_ok() { 0 } else { -1 }
}

fn init(scope: ScopeRef, timeout: Obj, shield: bool, fail: bool) -> Res<()> {
    let time = args::time(timeout, "timeout")?;
    if scope.flags.get().entered {
        return Err(runtime_error("the scope is in use"));
    }
    scope.time.set(time.unwrap_or(NEVER));
    scope.set_flags(|f| (f.shield, f.fails) = (shield, fail));
    Ok(())
}

unsafe extern "C" fn tp_traverse(o: Obj, visit: visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: a scope, during a collection.
    let scope = unsafe { Scope::from(o) };
    let result = types::visit_all([type_of(o).cast(), scope.outer.get()], visit, arg);
    if result != 0 {
        return result;
    }
    let mut at = scope.first_member();
    while let Some(t) = at {
        let result = types::visit_all([t.obj()], visit, arg);
        if result != 0 {
            return result;
        }
        // SAFETY: the next member, or null.
        at = unsafe { t.peers[1].get().as_ref() };
    }
    types::visit_all(cells(scope).map(std::cell::Cell::get), visit, arg)
}

/// What a scope owns, besides the scope around it.
fn cells(scope: ScopeRef) -> [&'static std::cell::Cell<Obj>; 6] {
    [&scope.reason, &scope.errors, &scope.fatal, &scope.interruption, &scope.end, &scope.supervisor]
}

unsafe extern "C" fn tp_clear(o: Obj) -> c_int {
    // SAFETY: a scope.
    let scope = unsafe { Scope::from(o) };
    // While a tasklet is in the block, the scope needs what it has. The end of the tasklet ends that.
    if scope.owner().is_none() {
        cells(scope).into_iter().for_each(clear);
    }
    0
}

unsafe extern "C" fn tp_dealloc(o: Obj) {
    // SAFETY: the last reference is gone; the usual steps of a garbage-collected heap type. The tasklet in the block
    // and the members own references, so there are none.
    unsafe {
        PyObject_GC_UnTrack(o.cast());
        PyObject_ClearWeakRefs(o);
        let scope = Scope::from(o);
        cells(scope).into_iter().for_each(clear);
        clear(&scope.outer);
        types::free(o);
    }
}

unsafe extern "C" fn tp_repr(o: Obj) -> Obj {
    // SAFETY: a scope.
    let scope = unsafe { Scope::from(o) };
    let flags = scope.flags.get();
    let mut text = format!("<stackless.{}", type_name(o));
    if !flags.entered {
        text += ", not entered";
    } else if scope.owner().is_none() {
        text += ", left";
    }
    if flags.cancelled {
        text += if flags.expired { ", expired" } else { ", cancelled" };
    }
    if flags.shield {
        text += ", shielded";
    }
    if flags.group {
        let count = scope.count.get();
        text += &format!(", {count} tasklet{}", if count == 1 { "" } else { "s" });
    }
    text = text.replacen(',', "", 1);
    give(str_obj(&format!("{text} at {:#x}>", o.addr())))
}

unsafe extern "C" fn enter(o: Obj, _: Obj) -> Obj {
    // SAFETY: a method of a scope.
    give(group::enter(unsafe { Scope::from(o) }).map(|()| new_ref(o)))
}

unsafe extern "C" fn exit(o: Obj, args: *mut Obj, count: Py_ssize_t) -> Obj {
    // SAFETY: a METH_FASTCALL call of a scope's method.
    let (scope, args) = unsafe { (Scope::from(o), args::positional(args, count)) };
    give(args::exactly("__exit__", args).and_then(|[_, error, _]: &[Obj; 3]| {
        let error = some(*error).filter(|&error| is_exception(error)).unwrap_or(null_mut());
        let left = group::leave(scope, error);
        saving_exception(drop_deferred);
        left.map(bool_obj)
    }))
}

/// Drops what this thread's tasklets have left to be dropped.
fn drop_deferred() {
    if let Some(s) = begun() {
        s.drop_deferred();
    }
}

unsafe extern "C" fn cancel(o: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS call of a scope's method.
    let (scope, given) = unsafe { (Scope::from(o), args::named("cancel", ["reason"], args, count, names)) };
    give(given.map(|[reason]| {
        let flags = scope.flags.get();
        let left = flags.entered && scope.owner().is_none();
        if !flags.cancelled && !left {
            if let Some(reason) = some(reason) {
                drop_ref(scope.reason.replace(new_ref(reason)));
            }
            scopes::cancel(scope);
            drop_deferred();
        }
        none()
    }))
}

/// `start(func, /, *args, name=None, **kwargs)`.
unsafe extern "C" fn start(o: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    if args::at_least("start", 1, count as usize).is_err() {
        return null_mut();
    }
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS call of a group's method, with a positional argument.
    unsafe {
        let scope = Scope::from(o);
        let func = *args;
        match cpython::call_does(func) {
            CallDoes::Run => {}
            CallDoes::Nothing => return give(Err(type_error("start() needs a callable"))),
            does if warnings::of_function(func, does).is_err() => return null_mut(),
            _ => {}
        }
        let Ok((mut tuple, mut kwargs)) = args::tuple_and_dict(args.add(1), count - 1, names) else {
            return null_mut();
        };
        let mut name = null_mut();
        let mut done = Ok(());
        if !kwargs.is_null() {
            done = take_name(kwargs, &mut name);
        }
        let mut func = new_ref(func);
        if name.is_null() && done.is_ok() && !scope.supervisor.get().is_null() {
            name = give(str_obj(&inspect::callable_name(func)));
            done = if name.is_null() { Err(Raised) } else { Ok(()) };
        }
        if done.is_ok() && !scope.supervisor.get().is_null() {
            done = supervised(scope, &mut func, &mut tuple, &mut kwargs);
        }
        let started = done.and_then(|()| start_member(scope, [func, tuple, kwargs, name]));
        if started.is_err() {
            saving_exception(|| [func, tuple, kwargs, name].into_iter().for_each(drop_ref));
        }
        give(started)
    }
}

/// Takes the keyword argument `name` out of a dict.
fn take_name(kwargs: Obj, name: &mut Obj) -> Res<()> {
    // SAFETY: a dict of this call alone.
    unsafe {
        let Some(given) = some(PyDict_GetItemString(kwargs, c"name".as_ptr())) else { return Ok(()) };
        if PyUnicode_Check(given) == 0 {
            return Err(type_error(&format!(
                "the name of a tasklet must be a str, not {}",
                type_name(given)
            )));
        }
        *name = new_ref(given);
        if PyDict_DelItemString(kwargs, c"name".as_ptr()) < 0 { Err(Raised) } else { Ok(()) }
    }
}

/// The call of a function becomes a call of the supervisor with the function, its arguments and keyword arguments.
fn supervised(scope: ScopeRef, func: &mut Obj, tuple: &mut Obj, kwargs: &mut Obj) -> Res<()> {
    // SAFETY: living objects; what is replaced is dropped.
    unsafe {
        let keywords = if kwargs.is_null() { PyDict_New() } else { new_ref(*kwargs) };
        let all = if keywords.is_null() { null_mut() } else { PyTuple_Pack(3, *func, *tuple, keywords) };
        drop_ref(keywords);
        check(all)?;
        [*func, *tuple, *kwargs].into_iter().for_each(drop_ref);
        (*func, *tuple, *kwargs) = (new_ref(scope.supervisor.get()), all, null_mut());
        Ok(())
    }
}

/// Makes a tasklet and starts it. The function, its arguments and the name are taken over if that succeeds.
fn start_member(scope: ScopeRef, [func, args, kwargs, name]: [Obj; 4]) -> Res<Obj> {
    let s = entry::current()?;
    // SAFETY: no precondition.
    let context = check(unsafe { PyContext_CopyCurrent() })?;
    let made = allocate(classes::tasklet_type(), s.id());
    // Making it may have run Python code.
    let t = match made {
        Ok(t) if scope.owner().is_some() => t,
        Ok(t) => {
            drop_ref(t.obj());
            drop_ref(context);
            let text = if scope.flags.get().entered {
                "the task group has ended: it starts no tasklets any more"
            } else {
                "tasklets are started inside `with` the task group"
            };
            return Err(runtime_error(text));
        }
        Err(raised) => {
            drop_ref(context);
            return Err(raised);
        }
    };
    for (cell, value) in [(&t.func, func), (&t.args, args), (&t.kwargs, kwargs), (&t.label, name)] {
        cell.set(value);
    }
    t.context.set(context);
    t.set_flags(|f| f.keeps_result = true);
    group::start(scope, t);
    Ok(t.obj())
}

unsafe extern "C" fn supervise(o: Obj, function: Obj) -> Obj {
    // SAFETY: a method of a group.
    let scope = unsafe { Scope::from(o) };
    drop_ref(scope.supervisor.replace(some(function).map_or(null_mut(), new_ref)));
    none()
}

unsafe extern "C" fn reduce(o: Obj, _: Obj) -> Obj {
    let name = type_name(o);
    give(Err(type_error(&format!(
        "cannot pickle a {name}: it cancels tasklets of this process (pickle the tasklets inside it instead)"
    ))))
}

// ---------------------------------------------------------------------- attributes

fn seconds(at: u64) -> Obj {
    // SAFETY: no precondition.
    unsafe { PyFloat_FromDouble(if at == NEVER { f64::INFINITY } else { at as f64 / 1e9 }) }
}

/// The members of a group, in the order of their start.
fn members(scope: ScopeRef) -> Obj {
    let mut all = Vec::new();
    let mut at = scope.first_member();
    while let Some(t) = at {
        all.push(new_ref(t.obj()));
        // SAFETY: the next member, or null.
        at = unsafe { t.peers[1].get().as_ref() };
    }
    give(list_of(all))
}

type Getter = (&'static str, &'static str, fn(ScopeRef) -> Obj);

const READ_ONLY: [Getter; 4] = [
    ("cancelled", "bool: by cancel(), the deadline or, in a group, an exception.", |scope| {
        bool_obj(scope.flags.get().cancelled)
    }),
    (
        "expired",
        "bool: inside the block: the deadline has passed; after it: the deadline has ended the block.",
        |scope| bool_obj(scope.flags.get().expired),
    ),
    ("reason", "What cancel() was given, or None.", |scope| {
        some(scope.reason.get()).map_or_else(none, new_ref)
    }),
    ("_members", "The tasklets of the group that have not ended.", members),
];

unsafe extern "C" fn get(o: Obj, which: *mut c_void) -> Obj {
    // SAFETY: a getter of a scope.
    READ_ONLY[which as usize].2(unsafe { Scope::from(o) })
}

unsafe extern "C" fn get_deadline(o: Obj, _: *mut c_void) -> Obj {
    // SAFETY: a getter of a scope.
    seconds(unsafe { Scope::from(o) }.deadline.get())
}

unsafe extern "C" fn put_deadline(o: Obj, value: Obj, _: *mut c_void) -> c_int {
    // SAFETY: a setter of a scope.
    let scope = unsafe { Scope::from(o) };
    if value.is_null() {
        let Raised = raise(Exc::Attribute, "the attribute cannot be deleted");
        return -1;
    }
    // SAFETY: a living object.
    let at = unsafe { PyFloat_AsDouble(value) };
    if at.is_nan() || (at == -1.0 && raised()) {
        if !raised() {
            let Raised = raise(Exc::Value, "a deadline must not be NaN");
        }
        return -1;
    }
    // The cast saturates: a time before the clock began is 0, and infinity the largest number.
    scopes::set_deadline(scope, (at * 1e9) as u64);
    0
}

function!(current_deadline, |args| {
    args::no_arguments("current_deadline", args)?;
    let t = entry::current()?.current();
    Ok(match scopes::cancelling(t) {
        // SAFETY: no precondition.
        Some(_) => unsafe { PyFloat_FromDouble(f64::NEG_INFINITY) },
        None => seconds(scopes::first_deadline(t)),
    })
});

pub fn functions() -> Vec<PyMethodDef> {
    vec![types::method(
        "current_deadline",
        "current_deadline($module, /)\n--\n\nReturn when the first deadline around the calling tasklet passes, as a time.monotonic() value.\n\n\
         Infinity without a deadline, minus infinity if the tasklet is cancelled already. Counts cancel\n\
         scopes up to the first shield, and `with timeout()`.",
        current_deadline,
    )]
}

/// Makes the types and the exception, and puts them into the module.
pub fn ready(module: Obj) -> Res<()> {
    let doc = forever(
        "Raised in a cancelled tasklet by each call that would wait, until the cancelled block is left.\n\n\
         A BaseException, which the block that was cancelled catches at its end. `scope` is the\n\
         CancelScope of that block; the argument is what cancel() was given, if it was given anything.",
    );
    // SAFETY: a living class, and a dict with a default for the attribute; the reference to the class is kept.
    unsafe {
        let dict = check(PyDict_New())?;
        if PyDict_SetItemString(dict, c"scope".as_ptr(), none_borrowed()) < 0 {
            return Err(Raised);
        }
        let made = PyErr_NewExceptionWithDoc(c"stackless.Cancelled".as_ptr(), doc, PyExc_BaseException, dict);
        drop_ref(dict);
        types::add_object(module, c"Cancelled", check(made)?)?;
        scopes::ready(made)?;
    }
    let mut getters: Vec<_> =
        READ_ONLY.iter().enumerate().map(|(i, (name, doc, _))| types::getter(name, doc, get, i)).collect();
    getters.push(types::property(
        "deadline",
        "float: when the block is cancelled, as a time.monotonic() value; infinity for never. Can be set.",
        get_deadline,
        put_deadline,
        0,
    ));
    let methods = [
        types::method_noargs("__enter__", "Begins the block.", enter),
        types::method("__exit__", "Ends the block. A task group waits until its tasklets have ended.", exit),
        types::method_keywords(
            "cancel",
            "cancel($self, /, reason=None)\n--\n\nCancel the block: calls in it that would wait raise Cancelled from now on.\n\n\
             Tasklets that wait continue with Cancelled when their turn comes. `reason` is its argument. Nothing\n\
             happens if the block is cancelled already, or was left. A block that is entered later is\n\
             cancelled from its beginning. Never switches; may be called from any thread.",
            cancel,
        ),
        types::method_noargs("__reduce__", "Scopes are not pickled.", reduce),
    ];
    let slots = types::Slots::new()
        .doc(DOC)
        .slot(Py_tp_repr, tp_repr as reprfunc as *mut c_void)
        .slot(Py_tp_new, tp_new as newfunc as *mut c_void)
        .slot(Py_tp_init, tp_init as initproc as *mut c_void)
        .slot(Py_tp_traverse, tp_traverse as traverseproc as *mut c_void)
        .slot(Py_tp_clear, tp_clear as inquiry as *mut c_void)
        .slot(Py_tp_dealloc, tp_dealloc as destructor as *mut c_void)
        .offsets(&[("__weaklistoffset__", Scope::WEAKREF_OFFSET)])
        .methods(&methods)
        .getters(&getters);
    let flags = Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE;
    types::add(module, &SCOPE, c"stackless.CancelScope", size_of::<Scope>(), flags, slots)?;
    let methods = [
        types::method_keywords(
            "start",
            "start($self, func, /, *args, name=None, **kwargs)\n--\n\nStart func(*args, **kwargs) as a tasklet of this group; return the tasklet.\n\n\
             It runs in a copy of the caller's context, in the calling thread. Its result is kept for join(). May\n\
             be called by the tasklets of the group too, from any thread, until the block has ended. In a\n\
             cancelled group the tasklet begins, and its first call that would wait raises Cancelled.\n\
             Raises TypeError if func is not callable or name is not a str, RuntimeError before the\n\
             block was entered and after its end.",
            start,
        ),
        types::method_one(
            "_supervise",
            "Sets the function that calls the functions of the tasklets.",
            supervise,
        ),
    ];
    types::derive(&GROUP, c"stackless._Group", SCOPE.get().cast(), size_of::<Scope>(), &methods)?;
    types::add_object(module, c"_Group", GROUP.get().cast())
}
