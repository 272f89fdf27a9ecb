//! The recorder's functions of the extension module. The public functions are in the package, in Python.

use crate::observe::{describe, recording};
use crate::python::args::function;
use crate::python::gil::Gil;
use crate::python::objects::*;
use crate::python::{args, types};
use pyo3_ffi::*;
use stackless_record::{Flags, Kind, Recording};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ptr::null_mut;

/// A recording that has ended and was not saved yet.
static FINISHED: Gil<RefCell<Option<Recording>>> = Gil::new(RefCell::new(None));

/// What the callbacks for lines need to know.
struct Lines {
    /// The beginnings of the names of files that are not followed.
    quiet: Vec<String>,
    /// Whether each code object is followed; the code objects are owned.
    followed: HashMap<Obj, bool, rustc_hash::FxBuildHasher>,
    /// `sys.monitoring.DISABLE`: owned.
    disable: Obj,
}

static LINES: Gil<RefCell<Option<Lines>>> = Gil::new(RefCell::new(None));

fn string(o: Obj) -> Res<String> {
    // SAFETY: a living object.
    if unsafe { PyUnicode_Check(o) } == 0 {
        return Err(type_error(&format!("a str is required, not {}", type_name(o))));
    }
    text_of(o).ok_or_else(|| raise(Exc::Memory, "no memory for a text"))
}

fn strings(o: Obj) -> Res<Vec<String>> {
    // SAFETY: a living object; the items of a tuple are borrowed.
    unsafe {
        if PyTuple_Check(o) == 0 {
            return Err(type_error("a tuple is required"));
        }
        (0..PyTuple_GET_SIZE(o)).map(|i| string(PyTuple_GET_ITEM(o, i))).collect()
    }
}

function!(start, |args| {
    let &[limit, values] = args::exactly("_start", args)?;
    // SAFETY: living objects.
    let (limit, values) = unsafe { (PyLong_AsSsize_t(limit), PyObject_IsTrue(values)) };
    if raised() {
        return Err(Raised);
    }
    recording::start(limit.max(0) as usize, values != 0).map(|()| none())
});

function!(stop, |args| {
    let [hidden] = args::exactly("_stop", args)?;
    let hidden = strings(*hidden)?;
    let recording = recording::stop(|file| hidden.iter().any(|start| file.starts_with(start)))?;
    // SAFETY: a new tuple takes over the references put into it.
    let names = unsafe {
        let names = check(PyTuple_New(recording.files.len() as Py_ssize_t))?;
        for (i, file) in recording.files.iter().enumerate() {
            let name = give(str_obj(&file.name));
            if name.is_null() {
                drop_ref(names);
                return Err(Raised);
            }
            PyTuple_SET_ITEM(names, i as Py_ssize_t, name);
        }
        names
    };
    *FINISHED.borrow_mut() = Some(recording);
    Ok(names)
});

function!(save, |args| {
    let &[title, python, names, sources] = args::exactly("_save", args)?;
    let (title, python, names, sources) =
        (string(title)?, string(python)?, strings(names)?, strings(sources)?);
    let Some(mut recording) = FINISHED.borrow_mut().take() else {
        return Err(runtime_error("there is no recording to save"));
    };
    if names.len() != recording.files.len() || sources.len() != names.len() {
        return Err(raise(Exc::Value, "one name and one source for each file are required"));
    }
    (recording.title, recording.python) = (title, python);
    for (file, (name, source)) in recording.files.iter_mut().zip(names.into_iter().zip(sources)) {
        (file.name, file.source) = (name, source);
    }
    bytes_obj(&recording.to_json())
});

fn read(data: Obj) -> Res<Recording> {
    let (mut start, mut len) = (null_mut(), 0);
    // SAFETY: two places for the answer; the bytes live as long as the object, which the caller has.
    unsafe {
        if PyBytes_AsStringAndSize(data, &mut start, &mut len) < 0 {
            return Err(Raised);
        }
        let data = std::slice::from_raw_parts(start.cast(), len as usize);
        Recording::from_json(data).map_err(|error| raise(Exc::Value, &error))
    }
}

function!(perfetto, |args| {
    let [data] = args::exactly("_perfetto", args)?;
    bytes_obj(&read(*data)?.to_perfetto())
});

function!(verify, |args| {
    let [data] = args::exactly("_verify", args)?;
    read(*data).map(|_| none())
});

function!(counts, |args| {
    args::no_arguments("_record_counts", args)?;
    let Some((events, dropped)) = recording::counts() else {
        return Err(runtime_error("no recording is under way"));
    };
    // SAFETY: two integers.
    unsafe { check(Py_BuildValue(c"(nn)".as_ptr(), events as Py_ssize_t, dropped as Py_ssize_t)) }
});

function!(forget, |args| {
    args::no_arguments("_record_forget", args)?;
    recording::forget();
    Ok(none())
});

function!(output, |args| {
    let &[text, error] = args::exactly("_output", args)?;
    let text = string(text)?;
    // SAFETY: a living object.
    let error = unsafe { PyObject_IsTrue(error) } > 0;
    if !text.is_empty() {
        recording::printed(&text, if error { Flags::ERROR } else { Flags::default() });
    }
    Ok(none())
});

function!(note, |args| {
    let text = string(args::one_argument("note", args)?)?;
    recording::reached(Kind::Note, &text);
    Ok(none())
});

function!(set_redactor, |args| describe::set_redactor(args::one_argument("set_redactor", args)?));

function!(get_redactor, |args| {
    args::no_arguments("get_redactor", args)?;
    Ok(describe::get_redactor())
});

function!(describe_value, |args| {
    let text = describe::describe(args::one_argument("_describe", args)?).into_string();
    str_obj(&text)
});

// ---------------------------------------------------------------------- line by line

function!(follow, |args| {
    let &[quiet, disable] = args::exactly("_follow", args)?;
    let quiet = strings(quiet)?;
    let old =
        LINES.borrow_mut().replace(Lines { quiet, followed: HashMap::default(), disable: new_ref(disable) });
    if let Some(old) = old {
        drop_ref(old.disable);
        old.followed.into_keys().for_each(drop_ref);
    }
    Ok(none())
});

/// `Ok` if this code is followed line by line, else the result of the callback.
fn followed(code: Obj) -> Result<(), Obj> {
    let mut lines = LINES.borrow_mut();
    let Some(lines) = lines.as_mut() else { return Err(none()) };
    let quiet = &lines.quiet;
    let follow = *lines.followed.entry(code).or_insert_with(|| {
        new_ref(code);
        // SAFETY: a code object, which is running.
        let file = unsafe { text_of(stackless_cpython::code_names(code).1) }.unwrap_or_default();
        !quiet.iter().any(|start| file.starts_with(start))
    });
    if follow { Ok(()) } else { Err(new_ref(lines.disable)) }
}

/// Records that the running tasklet has reached something; the result is the callback's.
fn reached(args: &[Obj], kind: Kind) -> Res<Obj> {
    let Some(&code) = args.first() else { return Err(type_error("a code object is required")) };
    if let Err(answer) = followed(code) {
        return Ok(answer);
    }
    recording::reached(kind, "");
    Ok(none())
}

function!(line, |args| reached(args, Kind::Line));

function!(call, |args| reached(args, Kind::Call));

function!(returned, |args| {
    let &[code, _, value] = args::exactly("_returned", args)?;
    if let Err(answer) = followed(code) {
        return Ok(answer);
    }
    recording::describe_returned(value);
    Ok(none())
});

pub fn functions() -> Vec<PyMethodDef> {
    vec![
        types::method(
            "set_redactor",
            "set_redactor($module, function, /)\n--\n\nLet function(value) say how a value is shown where values are shown; None: all as they are.\n\n\
             It is called for every value that a recording or pickling.inspect() shows. It returns the text to show, or None for\n\
             the value's usual text. It must not switch. If it raises, only the value's type is shown, and\n\
             the exception goes to sys.unraisablehook. Returns the previous function, or None. Raises TypeError\n\
             for what is not callable. One for all threads.",
            set_redactor,
        ),
        types::method(
            "get_redactor",
            "get_redactor($module, /)\n--\n\nReturn the function that set_redactor() has set, or None.",
            get_redactor,
        ),
        types::method("_record_start", "Begins a recording: (limit, values).", start),
        types::method("_record_stop", "Ends it: (hidden) -> file names.", stop),
        types::method("_record_save", "What was recorded, as JSON: (title, python, names, sources).", save),
        types::method("_record_perfetto", "A Perfetto trace of a saved recording.", perfetto),
        types::method("_record_verify", "Raises ValueError if this is no recording.", verify),
        types::method("_record_counts", "(events, dropped) of the recording under way.", counts),
        types::method("_record_forget", "Forgets the recording under way.", forget),
        types::method("_record_output", "The running tasklet prints: (text, to_stderr).", output),
        types::method("_record_note", "Records a note of the running tasklet.", note),
        types::method("_record_follow", "What lines are recorded: (quiet, disable).", follow),
        types::method("_record_line", "Callback for a line.", line),
        types::method("_record_call", "Callback for the start of a function.", call),
        types::method("_record_return", "Callback for the end of a function.", returned),
        types::method("_describe", "The short text for a value.", describe_value),
    ]
}
