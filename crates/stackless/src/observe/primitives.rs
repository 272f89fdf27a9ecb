//! The texts for waits at the primitives of `stackless.sync`.

use crate::model::primitive::{Primitive, PrimitiveRef};
use crate::model::tasklet::TaskletRef;
use crate::model::world::{object, world};
use crate::observe::inspect;
use crate::python::objects::*;
use crate::scheduler::entry;
use stackless_cpython::CodePosition;

/// What kind of primitive it is.
pub fn kind(o: Obj) -> String {
    match class_name(type_of(o).cast()).as_str() {
        "_Waiters" => "a condition or queue".into(),
        name => name.to_owned(),
    }
}

/// The tasklet or thread that holds a lock, with its place: None if it is not held, or no lock.
pub fn holder(p: PrimitiveRef) -> Option<String> {
    let owner = Some(p.owner.get()).filter(|&owner| owner != 0)?;
    let all = world(|w| w.tasklets()).into_iter().map(object);
    let is_owner = |t: &TaskletRef| t.scheduler().is_some_and(|s| entry::owner(s, t) == owner);
    let Some(t) = all.into_iter().find(is_owner) else {
        // Identities of threads are addresses, numbers of tasklets are small.
        return Some(if owner < 1 << 32 {
            format!("tasklet {owner}, which has ended")
        } else {
            format!("thread {owner}")
        });
    };
    let name = inspect::display_name(t);
    let mut text = match name.as_str() {
        "main" if t.is_main() => name,
        "" => format!("tasklet {owner}"),
        _ => format!("tasklet {owner} '{name}'"),
    };
    let mut room = [CodePosition::NONE];
    if let Some(place) = inspect::places(t, &mut room).first() {
        // SAFETY: the frame keeps its code alive.
        let (_, file, line) = unsafe { inspect::resolve(place.code, place.at as u32) };
        text += &format!(" at {}:{line}", file.rsplit('/').next().unwrap_or_default());
    }
    Some(text)
}

/// What a tasklet waits for, in words, if it waits at a primitive.
pub fn reason(t: TaskletRef) -> Option<String> {
    let p = Primitive::waited_for(t)?;
    let name = inspect::variable_name(t, p.obj());
    let mut text = kind(p.obj());
    if !name.is_empty() {
        text += &format!(" '{name}'");
    }
    if let Some(holder) = holder(p) {
        text += &format!(" held by {holder}");
    }
    Some(text)
}
