//! `steer()`: for tests, a program chooses which of the runnable tasklets runs next.
//!
//! Each time a tasklet stops, and more than one tasklet is in the ring, is a *choice*: the number of tasklets of the
//! ring that are passed over. The choices of a program that does nothing random otherwise decide what happens in it.
//! They are given, random, or 0, which is the usual order; those that were made can be given again. What the contract
//! says about transfers holds: if a partner continues directly, there is no choice.

use crate::model::tasklet::TaskletRef;
use crate::model::thread::Sched;
use crate::model::world::{object, world};
use crate::parking::park::unseat;
use crate::python::args::{self, function};
use crate::python::gil::Gil;
use crate::python::objects::*;
use crate::python::{memory, types};
use crate::scheduler::{entry, hooks};
use pyo3_ffi::*;
use stackless_core::ThreadId;
use std::cell::UnsafeCell;

struct Steering {
    thread: ThreadId,
    given: Vec<u8>,
    /// The state of the generator of random choices; None: 0 after the given ones.
    random: Option<u64>,
    /// The choices that were made.
    made: Vec<u8>,
}

static STEERING: Gil<UnsafeCell<Option<Steering>>> = Gil::new(UnsafeCell::new(None));

/// The only access. `f` must not run Python code and not call this function again.
fn steering<R>(f: impl FnOnce(&mut Option<Steering>) -> R) -> R {
    // SAFETY: the GIL, and the rule above.
    f(unsafe { &mut *STEERING.get() })
}

/// The maximum number of choices; after them the usual order holds.
const CHOICES: usize = 1 << 20;

/// A random number: the generator SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators).
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A tasklet has stopped, and `next` heads the ring. Returns the tasklet that runs instead, which heads it then.
pub fn choose(s: &'static Sched, next: TaskletRef) -> TaskletRef {
    let count = world(|w| w.run_count(s.id())).min(256) as usize;
    let choice = steering(|all| {
        let steering = all.as_mut().filter(|steering| steering.thread == s.id())?;
        if count < 2 || steering.made.len() == steering.made.capacity() {
            return None;
        }
        let choice = match (steering.given.get(steering.made.len()), &mut steering.random) {
            (Some(&given), _) => usize::from(given) % count,
            (None, Some(state)) => (random(state) % count as u64) as usize,
            (None, None) => 0,
        };
        steering.made.push(choice as u8);
        Some(choice)
    });
    let Some(choice @ 1..) = choice else { return next };
    let mut chosen = next;
    for _ in 0..choice {
        chosen = object(world(|w| w.right_neighbour(chosen.id())));
    }
    world(|w| w.run_now(chosen.id()));
    unseat(s, next);
    chosen
}

/// `steer(choices=b"", seed=None)`
unsafe extern "C" fn steer(_: Obj, args: *const Obj, count: Py_ssize_t, names: Obj) -> Obj {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS call.
    let given = unsafe { args::named("steer", ["choices", "seed"], args, count, names) };
    give(given.and_then(|[choices, seed]| begin(choices, seed).map(|()| none())))
}

fn begin(choices: Obj, seed: Obj) -> Res<()> {
    let s = entry::current()?;
    let mut given = Vec::new();
    let mut made = Vec::new();
    let room = memory::strictly(|| made.try_reserve_exact(CHOICES));
    if room.is_err() {
        return Err(memory::no_memory());
    }
    if !choices.is_null() {
        with_buffer(choices, false, |start, size| {
            if memory::strictly(|| given.try_reserve_exact(size)).is_err() {
                return Err(memory::no_memory());
            }
            // SAFETY: the bytes of the buffer.
            given.extend_from_slice(unsafe { std::slice::from_raw_parts(start, size) });
            Ok(())
        })?;
    }
    let random = match some(seed) {
        None => None,
        Some(seed) => {
            // SAFETY: a living object.
            let number = unsafe { PyLong_AsUnsignedLongLongMask(seed) };
            if number == u64::MAX && raised() {
                return Err(Raised);
            }
            Some(number)
        }
    };
    if steering(|all| all.is_some()) {
        return Err(runtime_error("another steer() is in force"));
    }
    steering(|all| *all = Some(Steering { thread: s.id(), given, random, made }));
    hooks::set_flags(hooks::STEERED, true);
    Ok(())
}

function!(steered, |args| {
    args::no_arguments("steered", args)?;
    hooks::set_flags(hooks::STEERED, false);
    match steering(Option::take) {
        Some(steering) => bytes_obj(&steering.made),
        None => Err(runtime_error("no steer() is in force")),
    }
});

pub fn functions() -> Vec<PyMethodDef> {
    vec![
        types::method_keywords(
            "steer",
            "steer($module, /, choices=b'', seed=None)\n--\n\nFor tests: choose which runnable tasklets of the calling thread run, from now on.\n\n\
             Each time a tasklet stops while others are runnable, the next item of `choices` says how many of\n\
             them are passed over (modulo their number); after the last one, random numbers of the seed, or 0, the\n\
             usual order. At most 1,048,576 choices are made. Ends with steered(), which returns them.\n\
             Raises TypeError unless choices are bytes and seed is an int or None, RuntimeError if another\n\
             steer() is in force in the process.",
            steer,
        ),
        types::method(
            "steered",
            "steered($module, /)\n--\n\nEnd steer(), and return the choices that were made, as bytes.\n\n\
             Raises RuntimeError if it is not in force.",
            steered,
        ),
    ]
}
