//! Arguments of calls, with the wording of CPython's own C functions in the errors.

use crate::python::objects::*;
use pyo3_ffi::*;
use std::ffi::CStr;
use std::ptr::null_mut;

fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}

/// The positional arguments of a METH_FASTCALL call.
///
/// # Safety
/// `args` points to `count` living objects, by the calling convention.
pub unsafe fn positional<'a>(args: *const Obj, count: Py_ssize_t) -> &'a [Obj] {
    if count == 0 {
        return &[];
    }
    // SAFETY: the caller's.
    unsafe { std::slice::from_raw_parts(args, count as usize) }
}

/// Refuses any argument.
#[inline(always)]
pub fn no_arguments(name: &str, args: &[Obj]) -> Res<()> {
    if args.is_empty() {
        return Ok(());
    }
    Err(type_error(&format!("{name}() takes no arguments ({} given)", args.len())))
}

/// The one argument.
#[inline(always)]
pub fn one_argument(name: &str, args: &[Obj]) -> Res<Obj> {
    match args {
        [one] => Ok(*one),
        _ => Err(type_error(&format!("{name}() takes exactly one argument ({} given)", args.len()))),
    }
}

/// Checks that there are exactly N arguments, and returns them as an array.
pub fn exactly<'a, const N: usize>(name: &str, args: &'a [Obj]) -> Res<&'a [Obj; N]> {
    args.try_into().map_err(|_| type_error(&format!("{name}() takes {N} arguments ({} given)", args.len())))
}

pub fn at_least(name: &str, least: usize, given: usize) -> Res<()> {
    if given >= least {
        return Ok(());
    }
    Err(type_error(&format!("{name}() takes at least {least} argument{} ({given} given)", plural(least))))
}

pub fn at_most(name: &str, most: usize, given: usize) -> Res<()> {
    if given <= most {
        return Ok(());
    }
    Err(type_error(&format!("{name}() takes at most {most} argument{} ({given} given)", plural(most))))
}

/// Sorts positional and keyword arguments into named places; null for those that were not given.
///
/// # Safety
/// The arguments are those of a METH_FASTCALL | METH_KEYWORDS call: `args` holds `count` positional
/// values followed by those that `names`, a tuple of str or null, names.
pub unsafe fn named<const N: usize>(
    function: &str,
    parameters: [&str; N],
    args: *const Obj,
    count: Py_ssize_t,
    names: Obj,
) -> Res<[Obj; N]> {
    let mut places = [std::ptr::null_mut(); N];
    let count = count as usize;
    // SAFETY: a tuple or null.
    let keywords = if names.is_null() { 0 } else { unsafe { PyTuple_GET_SIZE(names) as usize } };
    at_most(function, N, count + keywords)?;
    // SAFETY: the caller's.
    let values = unsafe { positional(args, (count + keywords) as Py_ssize_t) };
    places[..count].copy_from_slice(&values[..count]);
    for (i, value) in values[count..].iter().enumerate() {
        // SAFETY: the tuple holds str objects; their UTF-8 lives as long as they do.
        let name = unsafe { text_of(PyTuple_GET_ITEM(names, i as Py_ssize_t)) }?;
        let Some(at) = parameters.iter().position(|p| *p == name) else {
            return Err(type_error(&format!("{function}() got an unexpected keyword argument '{name}'")));
        };
        if !places[at].is_null() {
            return Err(type_error(&format!(
                "argument for {function}() given by name ('{name}') and position ({})",
                at + 1
            )));
        }
        places[at] = *value;
    }
    Ok(places)
}

/// The arguments of a vectorcall, as a tuple and a dict, null if there are no keywords: owned.
///
/// # Safety
/// `args` points to `count` living objects, followed by as many as `names`, a tuple or null, has items.
#[inline(always)]
pub unsafe fn tuple_and_dict(args: *const Obj, count: Py_ssize_t, names: Obj) -> Res<(Obj, Obj)> {
    // SAFETY: the caller's; owned references.
    unsafe {
        let tuple = check(PyTuple_New(count))?;
        for i in 0..count {
            PyTuple_SET_ITEM(tuple, i, new_ref(*args.offset(i)));
        }
        let named = !names.is_null() && PyTuple_GET_SIZE(names) > 0;
        let dict = if named { keywords(args.offset(count), names) } else { Ok(null_mut()) };
        if dict.is_err() {
            drop_ref(tuple);
        }
        Ok((tuple, dict?))
    }
}

/// The keyword arguments of a vectorcall as a dict.
///
/// # Safety
/// `values` points to as many living objects as the tuple `names` has items.
unsafe fn keywords(values: *const Obj, names: Obj) -> Res<Obj> {
    // SAFETY: the caller's.
    unsafe {
        let dict = check(PyDict_New())?;
        for i in 0..PyTuple_GET_SIZE(names) {
            if PyDict_SetItem(dict, PyTuple_GET_ITEM(names, i), *values.offset(i)) < 0 {
                drop_ref(dict);
                return Err(Raised);
            }
        }
        Ok(dict)
    }
}

/// The UTF-8 text of a str.
///
/// # Safety
/// `o` is a str that lives while the text is used.
unsafe fn text_of<'a>(o: Obj) -> Res<&'a str> {
    // SAFETY: the caller's; CPython's UTF-8 ends with NUL.
    unsafe {
        let text = PyUnicode_AsUTF8(o);
        if text.is_null() {
            return Err(Raised);
        }
        Ok(CStr::from_ptr(text).to_str().unwrap_or("?"))
    }
}

/// The number of arguments of a METH_FASTCALL | METH_KEYWORDS call.
#[inline(always)]
pub fn arguments(count: Py_ssize_t, names: Obj) -> Py_ssize_t {
    // SAFETY: a tuple or null.
    if names.is_null() { count } else { count + unsafe { PyTuple_GET_SIZE(names) } }
}

/// Nanoseconds from a number of seconds; None for None. A time of more than about 500 years, infinity included,
/// gives the largest number.
pub fn time(seconds: Obj, name: &str) -> Res<Option<u64>> {
    let Some(seconds) = some(seconds) else { return Ok(None) };
    // SAFETY: a living object.
    if unsafe { PyNumber_Check(seconds) } == 0 {
        return Err(type_error(&format!("{name} must be a number (of seconds), not {}", type_name(seconds))));
    }
    // SAFETY: a living object.
    let value = unsafe { PyFloat_AsDouble(seconds) };
    if value == -1.0 && raised() {
        return Err(Raised);
    }
    if value.is_nan() || value < 0.0 {
        return Err(raise(Exc::Value, &format!("{name} must not be negative or NaN")));
    }
    Ok(Some((value * 1e9) as u64)) // saturates
}

/// `function!(name, |args| body)` defines a C function for METH_FASTCALL without `self`: `body` gets the arguments
/// as a slice, and its `Res<Obj>` is the result.
macro_rules! function {
    ($name:ident, $body:expr) => {
        unsafe extern "C" fn $name(
            _: $crate::python::objects::Obj,
            args: *mut $crate::python::objects::Obj,
            count: pyo3_ffi::Py_ssize_t,
        ) -> $crate::python::objects::Obj {
            let body: fn(&[Obj]) -> Res<Obj> = $body;
            // SAFETY: the interpreter gives the arguments and their number.
            give(body(unsafe { $crate::python::args::positional(args, count) }))
        }
    };
}

pub(crate) use function;
