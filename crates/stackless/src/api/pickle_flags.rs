//! What pickles contain besides the usual: `pickle_flags()`, one set of flags for each thread.
//! (Reference, section 13.)

use crate::model::settings::{DEFAULT, default};
use crate::python::objects::*;
use crate::python::{args, types};
use crate::scheduler::entry;
use pyo3_ffi::*;
use std::ffi::c_long;
use std::sync::atomic::Ordering::Relaxed;

/// A tasklet's trace and profile function.
pub const TRACING: i64 = 1;

/// The finalizer hook of async generators by value.
pub const AGEN_BY_VALUE: i64 = 2;

/// Async generators as never initialised.
pub const AGEN_RESET: i64 = 4;

/// The tasklet's context.
pub const CONTEXT: i64 = 8;
const ALL: i64 = TRACING | AGEN_BY_VALUE | AGEN_RESET | CONTEXT;

/// The flags after `new` was applied where `mask` has bits; -1 changes nothing.
fn changed(old: i64, new: i64, mask: i64) -> Res<i64> {
    if new == -1 {
        return Ok(old);
    }
    if new < -1 || new & mask & !ALL != 0 {
        return Err(raise(Exc::Value, "you must not set an undefined pickle-flag"));
    }
    Ok(old & !mask | new & mask)
}

/// The arguments (new, mask), which are integers.
///
/// # Safety
/// Those of a METH_FASTCALL | METH_KEYWORDS call.
unsafe fn arguments(name: &str, args: *const Obj, count: Py_ssize_t, names: Obj) -> Res<[i64; 2]> {
    // SAFETY: the caller's.
    let given = unsafe { args::named(name, ["new", "mask"], args, count, names) }?;
    let mut numbers = [-1; 2];
    for (number, o) in numbers.iter_mut().zip(given).filter(|(_, o)| !o.is_null()) {
        // SAFETY: a living object.
        let value: c_long = unsafe { PyLong_AsLong(o) };
        if value == -1 && raised() {
            return Err(Raised);
        }
        *number = value;
    }
    Ok(numbers)
}

unsafe extern "C" fn pickle_flags(_: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS call.
    let given = unsafe { arguments("pickle_flags", args, count, names) };
    give(given.and_then(|[new, mask]| {
        let flags = &entry::current()?.pickle_flags;
        let old = flags.get();
        flags.set(changed(old, new, mask)?);
        Ok(int_obj(old))
    }))
}

unsafe extern "C" fn pickle_flags_default(_: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS call.
    let given = unsafe { arguments("pickle_flags_default", args, count, names) };
    give(given.and_then(|[new, mask]| {
        let old = default();
        DEFAULT.store(changed(old, new, mask)?, Relaxed);
        Ok(int_obj(old))
    }))
}

pub fn functions() -> Vec<PyMethodDef> {
    vec![
        types::method_keywords(
            "pickle_flags",
            "pickle_flags($module, /, new=-1, mask=-1)\n--\n\nWhat the calling thread puts into pickles; return the old flags.\n\n\
             1: a tasklet's trace and profile function. 2: the finalizer hook of async generators by\n\
             value. 4: async generators as never initialised. 8: a tasklet's context. Only the bits in\n\
             mask change; -1 only asks. Raises ValueError for a flag that does not exist, TypeError for\n\
             what is not an int. (Reference, section 13.)",
            pickle_flags,
        ),
        types::method_keywords(
            "pickle_flags_default",
            "pickle_flags_default($module, /, new=-1, mask=-1)\n--\n\nThe pickle flags that new threads begin with; return the old value.\n\n\
             Arguments and errors are those of pickle_flags(). Applies to the whole process.",
            pickle_flags_default,
        ),
    ]
}
