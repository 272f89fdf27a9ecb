//! The deadlock errors. Their texts are the contract's; a registered function explains them in a note.

use crate::model::channel::ChannelRef;
use crate::model::primitive::Primitive;
use crate::model::tasklet::TaskletRef;
use crate::model::thread::Sched;
use crate::model::world;
use crate::python::gil::Gil;
use crate::python::objects::*;
use pyo3_ffi::*;
use stackless_core::WaitsTo;
use std::cell::Cell;

/// The channel operation that the running tasklet asked for when no tasklet was left to run, if it was one.
pub type Request = Option<(ChannelRef, WaitsTo)>;

/// Explains a deadlock: which tasklet waits for which. Runs no Python code.
pub type Explain = fn(&'static Sched, Request) -> String;

static EXPLAIN: Gil<Cell<Option<Explain>>> = Gil::new(Cell::new(None));

/// Sets the function that makes the note in the errors.
pub fn register_explanation(explain: Explain) {
    EXPLAIN.set(Some(explain));
}

/// The error where the last runnable tasklet cannot block.
#[cold]
pub fn deadlock(s: &'static Sched, request: Request) -> Raised {
    raise_explained(s, request, "Deadlock: the last runnable tasklet cannot be blocked.")
}

/// The error where all other tasklets have ended, and the watcher waits in a channel.
pub fn stuck(s: &'static Sched, watcher: TaskletRef) -> Raised {
    if let Some(p) = Primitive::waited_for(watcher) {
        let kind = type_name(p.obj());
        let text =
            format!("the main tasklet is waiting for a {kind}, and no tasklet is left that could wake it.");
        return raise_explained(s, None, &text);
    }
    let receiving = world::waits(watcher).is_some_and(|(_, waits)| waits != WaitsTo::Send);
    let text = if receiving {
        "the main tasklet is receiving without a sender available."
    } else {
        "the main tasklet is sending without a receiver available."
    };
    raise_explained(s, None, text)
}

fn raise_explained(s: &'static Sched, request: Request, text: &str) -> Raised {
    let note = EXPLAIN.get().map_or_else(String::new, |explain| explain(s, request));
    let raised = runtime_error(text);
    let [kind, value, traceback] = take_exception();
    // SAFETY: a new RuntimeError, whose method runs no Python code; owned references are dropped.
    unsafe {
        let note = give(str_obj(&note));
        let method = PyUnicode_InternFromString(c"add_note".as_ptr());
        if !note.is_null() && !method.is_null() {
            let mut arguments = [value, note];
            drop_ref(PyObject_VectorcallMethod(
                method,
                arguments.as_mut_ptr(),
                2 | PY_VECTORCALL_ARGUMENTS_OFFSET,
                std::ptr::null_mut(),
            ));
        }
        drop_ref(method);
        drop_ref(note);
        PyErr_Clear(); // no memory: no note
    }
    let Raised = set_exception([kind, value, traceback]);
    raised
}
