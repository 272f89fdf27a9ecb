//! The state of primitives for `stackless.pickling.primitives`: what is in the object, and the tasklets that wait.

use crate::model::bomb;
use crate::model::classes;
use crate::model::primitive::{Primitive, PrimitiveRef};
use crate::model::tasklet::TaskletRef;
use crate::model::world::{object, world};
use crate::python::args::function;
use crate::python::objects::*;
use crate::python::{args, types};
use crate::scheduler::entry;
use crate::sync::object as objects;
use pyo3_ffi::*;
use std::ptr::null_mut;

fn primitive(o: Obj) -> Res<PrimitiveRef> {
    if !objects::is_primitive(o) {
        return Err(type_error(&format!("an object of stackless.sync is needed, not {}", type_name(o))));
    }
    // SAFETY: as was checked.
    Ok(unsafe { Primitive::from(o) })
}

/// The tasklet that holds a lock: None if it has ended, or none does. The error is that a thread holds it.
fn owner(p: PrimitiveRef) -> Res<Option<TaskletRef>> {
    let owner = p.owner.get();
    if owner == 0 {
        return Ok(None);
    }
    let found = world(|w| w.tasklets()).into_iter().map(object).find(|t| t.serial.get() == owner);
    // Identities of threads are addresses, numbers of tasklets are small.
    if found.is_none_or(|t| t.is_main()) && owner >= 1 << 32 {
        let kind = class_name(type_of(p.obj()).cast());
        return Err(type_error(&format!("cannot pickle a {kind} that a thread or a main tasklet holds")));
    }
    Ok(found.filter(|t| t.scheduler().is_some_and(|s| entry::owner(s, t) == owner)))
}

// `_primitive_state(primitive)`: (count, bound, owner or None, [waiting tasklets]).
function!(state, |args| args::one_argument("_primitive_state", args).and_then(|o| {
    let p = primitive(o)?;
    if p.threads() > 0 {
        return Err(type_error("cannot pickle an object of stackless.sync for which a thread waits"));
    }
    let owner = owner(p)?.map_or_else(none_borrowed, |t| t.obj());
    let mut waiting = Vec::new();
    let mut at = world(|w| w.first_waiting(p.channel().id()));
    while let Some(t) = at {
        waiting.push(new_ref(object(t).obj()));
        at = world(|w| w.next(t));
    }
    let waiting = list_of(waiting)?;
    // SAFETY: living objects; the format describes them, and N hands the list over.
    check(unsafe { Py_BuildValue(c"(LLON)".as_ptr(), p.count.get(), p.bound.get(), owner, waiting) })
}));

// `_set_primitive_state(primitive, count, bound, owner)`: of a new one.
function!(set_state, |args| args::exactly("_set_primitive_state", args).and_then(
    |&[o, count, bound, owner]| {
        let p = primitive(o)?;
        // SAFETY: living objects.
        let (count, bound) = unsafe { (PyLong_AsLongLong(count), PyLong_AsLongLong(bound)) };
        if raised() {
            return Err(Raised);
        }
        p.count.set(count);
        p.bound.set(bound);
        p.owner.set(classes::as_tasklet(owner).map_or(0, |t| t.serial.get()));
        Ok(none())
    }
));

// `_grant(primitive[, item])`: the tempval of a tasklet that was given its turn.
function!(grant, |args| {
    args::at_least("_grant", 1, args.len())?;
    let p = primitive(args[0])?;
    let Some(back) = objects::take_back_of(p.obj()) else {
        return Err(type_error(&format!("a turn at {} is not granted", type_name(p.obj()))));
    };
    let item = args.get(1).map_or(null_mut(), |&item| new_ref(item));
    bomb::of_grant(p.obj(), item, back).inspect_err(|_| drop_ref(item))
});

pub fn functions() -> Vec<PyMethodDef> {
    vec![
        types::method("_primitive_state", "What a primitive holds, as data.", state),
        types::method(
            "_set_primitive_state",
            "Fills a new primitive: (primitive, count, bound, owner).",
            set_state,
        ),
        types::method("_grant", "What a tasklet finds that was given its turn: (primitive[, item]).", grant),
    ]
}
