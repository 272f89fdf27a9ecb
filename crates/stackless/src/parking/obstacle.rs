//! Why a tasklet cannot be parked, in words, and what can be done about it.

use crate::python::objects::*;
use pyo3_ffi::*;
use stackless_cpython::{self as cpython, Does, RefusalKind};
use std::sync::OnceLock;

/// What a pending call of a primitive returns when its tasklet continues.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum CallReturns {
    /// The tempval.
    Value,
    /// None, whatever the tempval is.
    Nothing,
}

/// Why a tasklet cannot be parked.
pub enum Obstacle {
    Because(&'static str),
    /// This code refuses.
    At(cpython::Refusal),
    /// There is no memory.
    Memory,
}

impl Obstacle {
    /// The reason, as a text. May run Python code.
    pub fn text(&self) -> String {
        match self {
            Self::Because(text) => (*text).into(),
            Self::At(obstacle) => words(obstacle),
            Self::Memory => "no memory to park a tasklet".into(),
        }
    }

    /// What can be done about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Because(text) if *text == NO_PYTHON => "give it a Python function that calls this one",
            Self::Because(_) => "let it wait where only Python functions are being called, and not by C code",
            Self::At(obstacle) => remedy(obstacle),
            Self::Memory => "free memory",
        }
    }

    /// The exception for a caller that needs the tasklet parked.
    pub fn raise(self) -> Raised {
        match self {
            Self::Memory => raise(Exc::Memory, &self.text()),
            _ => runtime_error(&format!("tasklet has C state on its stack: {}", self.text())),
        }
    }
}

pub const NO_PYTHON: &str = "its function is not a Python function but C code";

pub fn because<R>(text: &'static str) -> Result<R, Obstacle> {
    Err(Obstacle::Because(text))
}

/// The qualified name of a code object.
fn code_name(code: Obj) -> String {
    // SAFETY: a code object.
    let (name, _) = unsafe { cpython::code_names(code) };
    text_of(name).unwrap_or_default()
}

fn words(o: &cpython::Refusal) -> String {
    let place = || {
        if o.code.is_null() {
            return String::new();
        }
        // SAFETY: a code object.
        let (_, file) = unsafe { cpython::code_names(o.code) };
        let file = text_of(file).unwrap_or_default();
        // SAFETY: a code object.
        let line = unsafe { cpython::line_of(o.code, o.at) };
        format!("{}() ({file}:{line})", code_name(o.code))
    };
    let place = place();
    let called = if o.called.is_null() { String::new() } else { code_name(o.called) };
    // The last: it may run Python code, after which nothing that is borrowed here is used.
    // SAFETY: no Python code has run since the tasklet was looked at.
    let callee = unsafe { cpython::living(o.callee) }.map(|callee| {
        let name = callable_name(new_ref(callee));
        drop_ref(callee);
        name
    });
    match o.kind {
        RefusalKind::None | RefusalKind::InC => {
            "C code runs in it that is not a call of a Python function".into()
        }
        RefusalKind::Tracing => format!("{place} was left by a trace or profile function that waits"),
        RefusalKind::Interrupted => {
            format!("{place} was interrupted by a limit of run(), between two instructions")
        }
        RefusalKind::Clearing => {
            format!("{place} runs while the variables of a call that has ended are dropped")
        }
        RefusalKind::NotACall => match callee {
            Some(callee) if o.what == Does::CallStarred => {
                format!("{place} waits in {callee}, which it called with * or **")
            }
            Some(callee) => format!("{place} waits inside {callee}, which is C code that cannot be left"),
            None => format!("{place} does not wait in a plain call of a function of stackless"),
        },
        RefusalKind::CBetween => between(&place, o.what, callee, &called),
    }
}

/// The reason where C code that ran for this instruction has called a Python function.
fn between(place: &str, what: Does, callee: Option<String>, called: &str) -> String {
    match (what, callee) {
        (Does::Call, Some(callee)) => format!("{place} called {callee}, C code that called back into Python"),
        (Does::CallStarred, Some(callee)) => {
            format!("{place} called {callee} with * or **, which C code does, and that called {called}()")
        }
        (Does::Call | Does::CallStarred, None) => format!("{place} called {called}() through C code"),
        (what, _) => {
            let for_what = match what {
                Does::Attribute => "for an attribute",
                Does::Item => "for [...]",
                Does::Operator => "for an operator",
                Does::Loop => "for a loop",
                Does::Enter => "on entering a with block",
                Does::Exit => "on leaving a with block with an exception",
                _ => return format!("{place} ran {called}() through C code that called back into Python"),
            };
            format!("{place} ran {called}() {for_what}, through C code that called back into Python")
        }
    }
}

/// What can be done about it.
fn remedy(o: &cpython::Refusal) -> &'static str {
    match (o.kind, o.what) {
        (RefusalKind::Interrupted, _) => {
            "let it go on until it waits in a call: insert it, and run() without a limit"
        }
        (RefusalKind::Tracing, _) => "do not wait in a trace or profile function",
        (RefusalKind::Clearing, _) => "do not wait in a destructor or a callback of a weak reference",
        (RefusalKind::NotACall | RefusalKind::CBetween, Does::CallStarred) => {
            "call it with its arguments one by one, without * and **; of a bound method \
             call the function (Class.method(object, ...)), which since Python 3.12 may have them"
        }
        (RefusalKind::CBetween, Does::Attribute) => "make a method of it, and call that",
        (RefusalKind::CBetween, Does::Item | Does::Operator) => "call a method instead",
        (RefusalKind::CBetween, Does::Loop) => {
            "iterate over a channel, or since Python 3.12 over a generator; or call a function in the loop"
        }
        (RefusalKind::CBetween, Does::Enter) => "wait before the with block, or inside it",
        (RefusalKind::CBetween, Does::Exit) => {
            "catch the exception inside the with block, or wait behind it, in a finally block"
        }
        (RefusalKind::CBetween, Does::Call)
            if o.callee.is_null() && code_name(o.called).ends_with("__exit__") =>
        {
            "wait inside the with block, or in a finally block in its place; Python 3.14 can leave __exit__"
        }
        (RefusalKind::CBetween, Does::Call) if code_name(o.called).ends_with("__init__") => {
            "wait in a method that is called when the object was made"
        }
        (RefusalKind::CBetween, Does::Call) if o.callee.is_null() => "call a method or function instead",
        _ => "let it wait where only Python functions are being called, and not by C code",
    }
}

/// `module.qualname` of a callable, or the name of its type.
fn callable_name(o: Obj) -> String {
    saving_exception(|| {
        let attribute = |name: &std::ffi::CStr| {
            // SAFETY: a living object and a NUL-terminated name.
            let value = unsafe { PyObject_GetAttrString(o, name.as_ptr()) };
            if value.is_null() {
                // SAFETY: the GIL is held.
                unsafe { PyErr_Clear() };
                return None;
            }
            let text = text_of(value);
            drop_ref(value);
            text
        };
        match (attribute(c"__module__"), attribute(c"__qualname__")) {
            (Some(module), Some(name)) if module != "builtins" => format!("{module}.{name}"),
            (_, Some(name)) => name,
            _ => format!("a {}", type_name(o)),
        }
    })
}

/// What the self-test has found out: why no tasklet can be parked in this interpreter, None if all can.
static TESTED: OnceLock<Option<String>> = OnceLock::new();

/// True if the self-test was made.
pub fn is_tested() -> bool {
    TESTED.get().is_some()
}

/// Sets what the self-test has found out. The first answer stays.
pub fn set_tested(why_not: Option<String>) {
    TESTED.get_or_init(|| why_not);
}

/// Why no tasklet can be parked in this interpreter, by its self-test.
pub fn why_not_here() -> Option<&'static str> {
    TESTED.get()?.as_deref()
}
