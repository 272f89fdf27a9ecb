//! Short texts for values, for people to read: in recordings, and wherever else values are shown.
//!
//! A text has at most [`LONGEST`] characters. Plain numbers, strings and the like are written
//! without running Python code. For everything else the value's own `repr` is called, which may do
//! anything but switch tasklets; what it raises is part of the text. The program may have set a
//! *redactor*, which is called first.

use crate::model::bomb;
use crate::python::objects::*;
use crate::scheduler::hooks;
use pyo3_ffi::*;
use stackless_cpython as cpython;
use std::cell::Cell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

const LONGEST: usize = 80;

/// The maximum number of items shown of a container, and of containers inside one another.
const ITEMS: usize = 6;
const DEPTH: usize = 3;

/// The text for a value. The most frequent texts need no memory.
pub enum Text {
    /// The value is not shown.
    Hidden,
    None,
    True,
    False,
    Integer(i64),
    Other(String),
}

impl Text {
    pub fn into_string(self) -> String {
        match self {
            Text::Hidden => String::new(),
            Text::None => "None".into(),
            Text::True => "True".into(),
            Text::False => "False".into(),
            Text::Integer(value) => value.to_string(),
            Text::Other(text) => text,
        }
    }
}

/// The callable that redacts values, or null: owned.
static REDACTOR: AtomicPtr<PyObject> = AtomicPtr::new(null_mut());

thread_local! {
    /// True while a redactor or a repr is called: a value that is described meanwhile is shown by its type.
    static BUSY: Cell<bool> = const { Cell::new(false) };
}

/// `set_redactor(function)`: returns the previous one, or None.
pub fn set_redactor(function: Obj) -> Res<Obj> {
    if !is_none(function) && !is_callable(function) {
        return Err(type_error("the redactor must be callable, or None"));
    }
    let old = REDACTOR.swap(some(function).map_or(null_mut(), new_ref), Relaxed);
    Ok(if old.is_null() { none() } else { old })
}

/// `get_redactor()`: the function that `set_redactor` has set, or None.
pub fn get_redactor() -> Obj {
    some(REDACTOR.load(Relaxed)).map_or_else(none, new_ref)
}

/// The text for a value; null counts as None, and a bomb as its exception. May run Python code,
/// which cannot switch. No exception may be set.
pub fn describe(value: Obj) -> Text {
    if value.is_null() {
        return Text::None;
    }
    if bomb::is_bomb(value) {
        let Some(exception) = bomb::exception(value) else { return Text::Other("bomb()".into()) };
        let text = describe(exception);
        drop_ref(exception);
        return text;
    }
    if let Some(text) = redacted(value) {
        return Text::Other(text);
    }
    // SAFETY: living objects; the exact type is checked.
    unsafe {
        if is_none(value) {
            return Text::None;
        }
        if PyBool_Check(value) != 0 {
            return if std::ptr::eq(value, Py_True()) { Text::True } else { Text::False };
        }
        if PyLong_CheckExact(value) != 0 {
            let mut overflow = 0;
            let number = PyLong_AsLongLongAndOverflow(value, &mut overflow);
            if overflow == 0 {
                return Text::Integer(number);
            }
        }
    }
    let mut text = String::new();
    write(&mut text, value, DEPTH);
    Text::Other(if text.len() > LONGEST { shortened(&text) } else { text })
}

/// Appends the text for a value.
fn write(out: &mut String, value: Obj, depth: usize) {
    // SAFETY: living objects; the exact types are checked, and their functions run no Python code.
    unsafe {
        if PyUnicode_CheckExact(value) != 0 {
            string(out, value)
        } else if PyLong_CheckExact(value) != 0 {
            integer(out, value)
        } else if PyTuple_CheckExact(value) != 0 {
            let closing = if PyTuple_GET_SIZE(value) == 1 { ",)" } else { ")" };
            sequence(out, value, "(", closing, depth)
        } else if PyList_CheckExact(value) != 0 {
            sequence(out, value, "[", "]", depth)
        } else if PyDict_CheckExact(value) != 0 {
            dict(out, value, depth)
        } else if let Some(name) = hooks::recorder().and_then(|recorder| recorder.name_of(value)) {
            out.push_str(&name)
        } else {
            asked(out, value)
        }
    }
}

/// The redactor's text for the value, None if there is no redactor or it has none.
fn redacted(value: Obj) -> Option<String> {
    let redactor = some(REDACTOR.load(Relaxed))?;
    let kind = || format!("<{}>", type_name(value));
    if BUSY.replace(true) {
        return Some(kind());
    }
    new_ref(redactor);
    cpython::forbid(1);
    // SAFETY: a living callable and argument.
    let said = unsafe { PyObject_CallOneArg(redactor, value) };
    cpython::forbid(-1);
    BUSY.set(false);
    let text = if said.is_null() {
        // It is better to show too little than what the redactor would have hidden.
        write_unraisable(redactor);
        Some(kind())
    } else if is_none(said) {
        None
    // SAFETY: a living object.
    } else if unsafe { PyUnicode_Check(said) } != 0 {
        Some(shortened(&text_of(said).unwrap_or_default()))
    } else {
        Some(kind())
    };
    drop_ref(said);
    drop_ref(redactor);
    text
}

fn integer(out: &mut String, value: Obj) {
    let mut overflow = 0;
    // SAFETY: an int.
    let number = unsafe { PyLong_AsLongLongAndOverflow(value, &mut overflow) };
    if overflow == 0 {
        return out.push_str(&number.to_string());
    }
    // Converting a very large int takes a very long time, or is refused.
    // SAFETY: an int, whose method runs no Python code.
    let bits = unsafe {
        let bits = PyObject_CallMethod(value, c"bit_length".as_ptr(), std::ptr::null());
        let number = if bits.is_null() { -1 } else { PyLong_AsLong(bits) };
        drop_ref(bits);
        PyErr_Clear();
        number
    };
    if (0..=200).contains(&bits) {
        asked(out, value);
    } else {
        out.push_str(&format!("<int of {bits} bits>"));
    }
}

fn string(out: &mut String, value: Obj) {
    // SAFETY: a str; its UTF-8 belongs to it, and the part of it is a new one.
    unsafe {
        if PyUnicode_GET_LENGTH(value) > LONGEST as Py_ssize_t {
            let part = PyUnicode_Substring(value, 0, LONGEST as Py_ssize_t);
            if part.is_null() {
                PyErr_Clear();
                return out.push_str("<str>");
            }
            asked(out, part);
            out.push('…');
            return drop_ref(part);
        }
        let mut len = 0;
        let utf8 = PyUnicode_AsUTF8AndSize(value, &mut len);
        if utf8.is_null() {
            PyErr_Clear();
            return asked(out, value);
        }
        let bytes = std::slice::from_raw_parts(utf8.cast::<u8>(), len as usize);
        match std::str::from_utf8(bytes) {
            // What repr() would not change.
            Ok(text) if bytes.iter().all(|b| (0x20..0x7F).contains(b) && !b"'\\".contains(b)) => {
                out.push('\'');
                out.push_str(text);
                out.push('\'');
            }
            _ => asked(out, value),
        }
    }
}

/// The items of a tuple or a list, read one after the other: Python code may change the list
/// meanwhile.
fn sequence(out: &mut String, value: Obj, opening: &str, closing: &str, depth: usize) {
    // SAFETY: a living sequence.
    let len = || unsafe { PySequence_Size(value) }.max(0) as usize;
    out.push_str(opening);
    let mut shown = 0;
    while depth > 0 && shown < ITEMS && shown < len() {
        // SAFETY: the index is in range; the item is a new reference.
        let item = unsafe { PySequence_GetItem(value, shown as Py_ssize_t) };
        if item.is_null() {
            // SAFETY: the GIL is held.
            unsafe { PyErr_Clear() };
            break;
        }
        separate(out, shown);
        inner(out, item, depth);
        drop_ref(item);
        shown += 1;
    }
    finish(out, shown, len(), closing);
}

fn dict(out: &mut String, value: Obj, depth: usize) {
    let mut pairs = Vec::new();
    // SAFETY: a living dict; the pairs are kept before any Python code runs.
    let len = unsafe {
        let (mut at, mut key, mut item) = (0, null_mut(), null_mut());
        while depth > 0 && pairs.len() < ITEMS && PyDict_Next(value, &mut at, &mut key, &mut item) != 0 {
            pairs.push((new_ref(key), new_ref(item)));
        }
        PyDict_Size(value).max(0) as usize
    };
    out.push('{');
    let shown = pairs.len();
    for (i, (key, item)) in pairs.into_iter().enumerate() {
        separate(out, i);
        inner(out, key, depth);
        out.push_str(": ");
        inner(out, item, depth);
        drop_ref(key);
        drop_ref(item);
    }
    finish(out, shown, len, "}");
}

fn separate(out: &mut String, shown: usize) {
    if shown > 0 {
        out.push_str(", ");
    }
}

fn inner(out: &mut String, item: Obj, depth: usize) {
    match redacted(item) {
        Some(text) => out.push_str(&text),
        None => write(out, item, depth - 1),
    }
}

fn finish(out: &mut String, shown: usize, len: usize, closing: &str) {
    if len > shown {
        separate(out, shown);
        out.push_str(&format!("… {} more", len - shown));
        out.push_str(closing.trim_start_matches(','));
    } else {
        out.push_str(closing);
    }
}

/// Appends the value's own repr, shortened. What it raises is part of the text.
fn asked(out: &mut String, value: Obj) {
    let nested = BUSY.replace(true);
    if nested {
        return out.push_str(&format!("<{}>", type_name(value)));
    }
    cpython::forbid(1);
    // SAFETY: a living object.
    let text = unsafe { PyObject_Repr(value) };
    cpython::forbid(-1);
    BUSY.set(false);
    if text.is_null() {
        let exception = take_exception();
        out.push_str(&format!("<{}, whose repr raises {}>", type_name(value), class_name(exception[0])));
        return exception.into_iter().for_each(drop_ref);
    }
    match text_of(text) {
        Some(text) => out.push_str(&shortened(&text)),
        None => out.push_str(&format!("<{}>", type_name(value))),
    }
    drop_ref(text);
}

/// The text, cut to [`LONGEST`] characters.
pub fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        None => text.to_owned(),
        Some(_) => text.chars().take(LONGEST - 1).chain(['…']).collect(),
    }
}
