//! Where tasklets were made, for messages: kept while `enable_origin_tracking()` is on. It costs a look at the stack for
//! each tasklet, and some memory.

use crate::model::tasklet::TaskletRef;
use crate::observe::inspect;
use crate::python::args::{self, function};
use crate::python::gil::Gil;
use crate::python::objects::*;
use crate::python::types;
use crate::scheduler::hooks;
use pyo3_ffi::*;
use stackless_cpython::{self as cpython, CodePosition, Of};
use std::cell::Cell;
use std::ptr::null_mut;

/// The maximum number of calls that are looked through.
const DEEPEST: usize = 32;

/// Functions of these files are not where a tasklet was made: a tuple of beginnings of file names, or null.
static LEFT_OUT: Gil<Cell<Obj>> = Gil::new(Cell::new(null_mut()));

/// A tasklet was bound, or got its arguments. An error is not reported: then the place is not known.
#[cold]
pub fn bound(t: TaskletRef) {
    if hooks::origins_kept() {
        let made = saving_exception(|| without_collection(|| origin().inspect_err(|_| forget_error())));
        if let Ok(made) = made {
            let old = saving_exception(|| t.set_label(t.given_name(), made).inspect_err(|_| forget_error()));
            drop_ref(made);
            drop_ref(old.unwrap_or(null_mut()));
        }
    }
    if let Some(recorder) = hooks::recorder() {
        recorder.describe_bound(t);
    }
}

fn forget_error() {
    // SAFETY: no precondition.
    unsafe { PyErr_Clear() }
}

/// File, line and function of the innermost call outside the files that are left out; null if there is none.
fn origin() -> Res<Obj> {
    let mut room = [CodePosition::NONE; DEEPEST];
    // SAFETY: the state of the calling thread.
    let places = unsafe { cpython::positions(cpython::thread_state(), Of::Running, &mut room) };
    for place in places {
        // SAFETY: the frame keeps its code alive.
        let (name, file) = unsafe { cpython::code_names(place.code) };
        if is_left_out(file)? {
            continue;
        }
        // SAFETY: as above; the tuple has references of its own.
        return unsafe {
            let line = check(int_obj(cpython::line_of(place.code, place.at).into()))?;
            let made = check(PyTuple_Pack(3, file, line, name));
            drop_ref(line);
            made
        };
    }
    Ok(null_mut())
}

fn is_left_out(file: Obj) -> Res<bool> {
    let all = LEFT_OUT.get();
    if all.is_null() {
        return Ok(false);
    }
    // SAFETY: a tuple of str, and a str.
    unsafe {
        for i in 0..PyTuple_GET_SIZE(all) {
            match PyUnicode_Tailmatch(file, PyTuple_GET_ITEM(all, i), 0, Py_ssize_t::MAX, -1) {
                0 => {}
                1 => return Ok(true),
                _ => return Err(Raised),
            }
        }
    }
    Ok(false)
}

/// Where a tasklet was made, in words; None if that is not known.
pub fn words(t: TaskletRef) -> Option<String> {
    let origin = some(t.origin())?;
    // SAFETY: a tuple of file, line and function.
    let (file, line, name) = unsafe {
        let item = |i| PyTuple_GET_ITEM(origin, i);
        (text_of(item(0)), PyLong_AsLong(item(1)), text_of(item(2)))
    };
    let name = name.unwrap_or_default();
    Some(format!("{}:{line} in {}", file.unwrap_or_default(), inspect::short_qualified(&name)))
}

function!(enable_origin_tracking, |args| args::one_argument("enable_origin_tracking", args).and_then(
    |flag| {
        let old = hooks::origins_kept();
        if !is_none(flag) {
            let text = "enable_origin_tracking needs None, a bool or an integer";
            hooks::set_flags(hooks::ORIGINS, bool_arg(flag, text)?);
        }
        Ok(bool_obj(old))
    }
));

// `_leave_out_origins(files)`: a tuple of beginnings of file names.
function!(leave_out, |args| args::one_argument("_leave_out_origins", args).and_then(|files| {
    // SAFETY: a living object, whose type is checked.
    unsafe {
        let all_str =
            |tuple| (0..PyTuple_GET_SIZE(tuple)).all(|i| PyUnicode_Check(PyTuple_GET_ITEM(tuple, i)) != 0);
        if PyTuple_Check(files) == 0 || !all_str(files) {
            return Err(type_error("_leave_out_origins() needs a tuple of str"));
        }
    }
    drop_ref(LEFT_OUT.replace(new_ref(files)));
    Ok(none())
}));

pub fn functions() -> Vec<PyMethodDef> {
    vec![
        types::method(
            "_leave_out_origins",
            "Files whose functions are not where a tasklet was made.",
            leave_out,
        ),
        types::method(
            "enable_origin_tracking",
            "enable_origin_tracking($module, flag, /)\n--\n\nWhether tasklets keep where they were made; returns the old value. None only asks.\n\n\
             While it is on, bind(), setup(), t(...) and what is made of them keep the file, the line and the\n\
             function of their caller outside of this package: `tasklet.origin`, the note in exceptions that a\n\
             tasklet did not catch, and the warning at exit show them. It costs about a fifth of a microsecond and\n\
             200 bytes for each tasklet. On in development mode (-X dev), with STACKLESS_WARN=1 and under\n\
             `python -m stackless run`; off with STACKLESS_WARN=0. A setting of the process. Raises TypeError\n\
             unless flag is None, a bool or an int.",
            enable_origin_tracking,
        ),
    ]
}
