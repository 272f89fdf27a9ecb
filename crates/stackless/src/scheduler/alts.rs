//! The end of a wait in `alt()`: a partner comes for one of its cases, or it ends for another reason.
//!
//! What finds a waiting tasklet in a queue calls [`claim`]. A tasklet that waits in that queue alone is taken out. For one
//! that waits in several, this decides which of its cases happens, and takes it out of all of them: so exactly one case
//! happens, and the others leave no trace. The result was made before the tasklet began to wait: nothing here can fail,
//! and no Python code runs.

use crate::model::alt::{self, Alt, Kind, turned};
use crate::model::tasklet::TaskletRef;
use crate::model::thread::Sched;
use crate::model::wait::WaitKind;
use crate::model::world::{object, world};
use crate::model::{alt_result, bomb};
use crate::python::objects::*;
use crate::scheduler::{readiness, waits};
use stackless_core::{Direction, TaskletId};
use std::ptr::null_mut;

/// Takes the tasklet that was found in a queue out of it (and out of all other queues in which it waits), for a partner
/// that acts in this direction, and leaves it `value`, which is taken over. Returns the tasklet, with one reference that
/// was the queue's, and what it sends or null: owned.
#[inline(always)]
pub fn claim(s: &'static Sched, found: TaskletId, acting: Direction, value: Obj) -> (TaskletRef, Obj) {
    let t = object(found);
    if t.id() != found {
        return (t, claim_place(s, t, found, acting, value));
    }
    world(|w| w.dequeue(found));
    waits::ends(t);
    (t, t.tempval.replace(value))
}

#[inline(never)]
fn claim_place(s: &'static Sched, t: TaskletRef, found: TaskletId, acting: Direction, value: Obj) -> Obj {
    let alt = alt::of(t).expect("a tasklet with places waits in alt()");
    let (c, _) = world(|w| w.waits(found)).expect("it was found in a queue");
    let chosen = turned(alt.entries.len(), alt.first).find(|&i| alt.entries[i].meets(c, acting));
    let chosen = chosen.expect("it waits there for one of its cases");
    let sent = match alt.entries[chosen].kind {
        Kind::Send(_, value) if !value.is_null() => new_ref(value),
        _ => null_mut(),
    };
    let got = if !value.is_null() && bomb::is_bomb(value) { value } else { result(alt, chosen, value) };
    let before = t.tempval.replace(got);
    if !before.is_null() {
        s.drop_later(before);
    }
    world(|w| w.leave_places(t.id()));
    waits::ends(t);
    sent
}

/// The result: this case has happened, with this value, which is taken over, or null for None.
fn result(alt: &Alt, chosen: usize, value: Obj) -> Obj {
    let result = alt.result.replace(null_mut());
    alt_result::fill(result, new_ref(alt.entries[chosen].shown), chosen as isize, value);
    result
}

/// The thread of a tasklet ends, and its wait with it. If another thread continues the tasklet, it calls `alt()` again.
pub fn leave_call(t: TaskletRef) {
    let Some(alt) = alt::of(t) else { return };
    match alt.again() {
        Ok(again) => drop_ref(t.tempval.replace(again)),
        Err(Raised) => write_unraisable(t.obj()),
    }
}

/// The wait in `alt()` of a tasklet has ended: what it undoes. The places are gone already, and one reference is the
/// caller's, if the tasklet was taken out of the queues.
pub fn end(t: TaskletId, kind: WaitKind) {
    // SAFETY: the wait has ended, and calls this once.
    let Some(alt) = (unsafe { Alt::of_ended(kind) }) else { return };
    let t = object(t);
    let still = world(|w| w.has_places(t.id()));
    world(|w| w.leave_places(t.id()));
    let lost = alt.places.get().saturating_sub(usize::from(!still));
    for entry in alt.entries.iter().filter(|_| alt.polls) {
        if let Kind::Ready(descriptor, direction) = entry.kind {
            readiness::forget(t.id(), WaitKind::Descriptor(descriptor, direction));
        }
    }
    alt.give_back(t.scheduler().expect("a thread's end ends the waits of its tasklets"));
    (0..lost).for_each(|_| drop_ref(t.obj()));
}
