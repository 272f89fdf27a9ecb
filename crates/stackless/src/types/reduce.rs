//! `__reduce__` and `__setstate__` of tasklets and channels, which call the Python code of `stackless.pickling`.

use crate::python::objects::*;
use crate::python::types;
use pyo3_ffi::*;
use std::ptr::null_mut;

/// Calls a function of `stackless.pickling.tasklets`.
fn in_python(name: &std::ffi::CStr, arguments: &[Obj]) -> Res<Obj> {
    // SAFETY: living objects, NUL-terminated names.
    unsafe {
        let module = check(PyImport_ImportModule(c"stackless.pickling.tasklets".as_ptr()))?;
        let function = PyObject_GetAttrString(module, name.as_ptr());
        drop_ref(module);
        let function = check(function)?;
        let result = PyObject_Vectorcall(function, arguments.as_ptr(), arguments.len(), null_mut());
        drop_ref(function);
        check(result)
    }
}

unsafe extern "C" fn reduce_tasklet(o: Obj, _: Obj) -> Obj {
    give(in_python(c"reduce", &[o]))
}

unsafe extern "C" fn set_state_of_tasklet(o: Obj, state: Obj) -> Obj {
    give(in_python(c"set_state", &[o, state]))
}

unsafe extern "C" fn reduce_channel(o: Obj, _: Obj) -> Obj {
    give(in_python(c"reduce_channel", &[o]))
}

unsafe extern "C" fn set_state_of_channel(o: Obj, state: Obj) -> Obj {
    give(in_python(c"set_channel_state", &[o, state]))
}

const REDUCE: &str = "__reduce__($self, /)\n--\n\nHelper for pickle.";

const SET_STATE: &str =
    "__setstate__($self, state, /)\n--\n\nFill an empty one with what __reduce__ gave, and return it.";

pub fn tasklet_methods() -> [PyMethodDef; 2] {
    [
        types::method_noargs("__reduce__", REDUCE, reduce_tasklet),
        types::method_one("__setstate__", SET_STATE, set_state_of_tasklet),
    ]
}

pub fn channel_methods() -> [PyMethodDef; 2] {
    [
        types::method_noargs("__reduce__", REDUCE, reduce_channel),
        types::method_one("__setstate__", SET_STATE, set_state_of_channel),
    ]
}
