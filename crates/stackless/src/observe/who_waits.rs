//! Which tasklet waits for which: the note in deadlock errors.
//!
//! The texts of the errors are the contract's; the note is this project's own, in the exception's `__notes__`. It is
//! made of names and places alone. A tasklet that could wake another one must have a reference to the channel; so
//! the variables of tasklets are searched, as the garbage collector would, a few references deep. Everything has
//! a maximum, as a program may run into deadlocks all the time.
//!
//! Meanwhile no Python code runs and no Python object is made.

use crate::engine::deadlock::Wish;
use crate::model::channel::ChannelRef;
use crate::model::tasklet::TaskletRef;
use crate::model::thread::Sched;
use crate::model::world::{object, world};
use crate::model::{classes, world};
use crate::observe::inspect::{self, word};
use crate::python::objects::*;
use pyo3_ffi::*;
use stackless_core::WaitsTo;
use stackless_cpython::{self as cpython, CodePosition};
use stackless_record::State;
use std::collections::{HashMap, HashSet};
use std::ffi::{c_int, c_void};
use std::fmt::Write;

/// The maximum number of tasklets looked at, and of lines of each kind.
const TASKLETS: usize = 300;
const LINES: usize = 10;

/// The maximum number of calls of a tasklet that are searched for channels, of objects in all, and the depth.
const CALLS: c_int = 10;
const OBJECTS: usize = 1000;
const STEPS: usize = 3;

/// The note about a deadlock: see [`crate::engine::deadlock::Explain`].
pub fn explain(s: &'static Sched, wish: Wish) -> String {
    Scene::of(s, wish).note()
}

/// A tasklet in the note.
struct Actor {
    t: TaskletRef,
    name: String,
    state: State,
    /// What it waits for, or wanted to wait for.
    waits: Wish,
    /// The addresses of the channels in the note that it refers to.
    knows: HashSet<usize>,
}

struct Scene {
    actors: Vec<Actor>,
    /// Names of channels, by address.
    channels: HashMap<usize, String>,
    /// The tasklet whose operation failed.
    last: TaskletRef,
    /// True if there are more tasklets than were looked at.
    more: bool,
}

impl Scene {
    fn of(s: &'static Sched, wish: Wish) -> Self {
        let last = s.current();
        let mut scene = Self { actors: Vec::new(), channels: HashMap::new(), last, more: false };
        for t in [last, s.main()] {
            scene.add(t, wish);
        }
        let mut at = 0;
        while let Some(t) = world(|w| w.tasklet_from(at)) {
            at = t.index() + 1;
            if scene.actors.len() >= TASKLETS {
                scene.more = true;
                break;
            }
            scene.add(object(t), wish);
        }
        scene.look_for_channels();
        scene
    }

    fn add(&mut self, t: TaskletRef, wish: Wish) {
        let state = inspect::state_of(t);
        let known = self.actors.iter().any(|a| std::ptr::eq(a.t, t));
        if known || !t.is_owned() || state.is_over() {
            return;
        }
        let own = world::waits(t).map(|(c, waits)| (world(|w| w.channel_payload(c)), waits));
        let waits = own.or(wish.filter(|_| std::ptr::eq(t, self.last)));
        if let Some((ch, _)) = waits {
            let name = inspect::variable_name(t, ch.obj());
            let known = self.channels.entry(ch.obj().addr()).or_default();
            if known.is_empty() {
                *known = name;
            }
        }
        self.actors.push(Actor { t, name: inspect::called(t), state, waits, knows: HashSet::new() });
    }

    fn look_for_channels(&mut self) {
        let mut left = OBJECTS * 20;
        for actor in &mut self.actors {
            let mut search = Search {
                wanted: &self.channels,
                found: &mut actor.knows,
                seen: HashSet::new(),
                reached: Vec::new(),
                left: left.min(OBJECTS),
            };
            let before = search.left;
            search.variables_of(actor.t);
            left -= before - search.left;
        }
    }

    fn channel(&self, ch: ChannelRef) -> String {
        let name = self.channels.get(&ch.obj().addr()).map_or("", String::as_str);
        let name = if name.is_empty() { String::new() } else { format!("'{name}' ") };
        format!("channel {name}at {:#x}", ch.obj().addr())
    }

    fn short(&self, ch: ChannelRef) -> String {
        let address = ch.obj().addr();
        match self.channels.get(&address) {
            Some(name) if !name.is_empty() => {
                let shared = self.channels.iter().any(|(other, also)| *other != address && also == name);
                if shared { format!("'{name}' at {address:#x}") } else { format!("'{name}'") }
            }
            _ => format!("the channel at {address:#x}"),
        }
    }

    fn note(&self) -> String {
        let mut out = String::from("Who waits:");
        self.waiters(&mut out);
        self.wakers(&mut out);
        if let Some(circle) = self.circle() {
            out.push_str("\nA circle: ");
            for (i, actor) in circle.iter().enumerate() {
                let Some((ch, waits)) = actor.waits else { continue };
                let who = if i == 0 { actor.named() } else { format!("; {}", actor.named()) };
                let holder = circle[(i + 1) % circle.len()].named();
                write(&mut out, format_args!("{who} {} {}, known to {holder}", verb(waits), self.short(ch)));
            }
        }
        if self.more {
            write(&mut out, format_args!("\n(Only {TASKLETS} tasklets were looked at.)"));
        }
        out
    }

    fn waiters(&self, out: &mut String) {
        let mut lines: Vec<(String, Vec<&Actor>)> = Vec::new();
        for actor in &self.actors {
            let wants = match actor.waits {
                Some((ch, waits)) => {
                    let balance = world(|w| w.balance(ch.id()));
                    format!("to {} {} (balance {balance})", infinitive(waits), self.channel(ch))
                }
                None if std::ptr::eq(actor.t, self.last) => "to leave the run queue".into(),
                None => continue,
            };
            let line = wants + &place(actor.t);
            match lines.iter_mut().find(|(known, who)| *known == line && who[0].name == actor.name) {
                Some((_, who)) => who.push(actor),
                None => lines.push((line, vec![actor])),
            }
        }
        for (line, who) in lines.iter().take(LINES) {
            match who.as_slice() {
                [one] if one.state.is_blocked() => {
                    write(out, format_args!("\n  {} waits {line}", one.named()))
                }
                [one] => write(out, format_args!("\n  {} wants {line}", one.named())),
                all => {
                    let name = quoted(&all[0].name);
                    write(out, format_args!("\n  {} tasklets {name} wait {line}", all.len()));
                }
            }
        }
        rest(out, lines.len());
    }

    fn wakers(&self, out: &mut String) {
        let mut channels: Vec<ChannelRef> = Vec::new();
        for (ch, _) in self.actors.iter().filter_map(|a| a.waits) {
            if !channels.iter().any(|known| std::ptr::eq(*known, ch)) {
                channels.push(ch);
            }
        }
        if channels.is_empty() {
            return;
        }
        out.push_str("\nWho else knows these channels:");
        for ch in channels.iter().take(LINES) {
            let mut who: Vec<(String, &Actor, usize)> = Vec::new();
            let waits_here = |a: &Actor| a.waits.is_some_and(|(other, _)| std::ptr::eq(other, *ch));
            let knowing = self.actors.iter().filter(|a| a.knows.contains(&ch.obj().addr()));
            for actor in knowing.filter(|a| !waits_here(a)) {
                let text = self.excuse(actor);
                match who.iter_mut().find(|(known, first, _)| *known == text && first.name == actor.name) {
                    Some((_, _, count)) => *count += 1,
                    None => who.push((text, actor, 1)),
                }
            }
            let mut texts: Vec<_> = who
                .iter()
                .take(3)
                .map(|(text, first, count)| match count {
                    1 => format!("{}, {text}", first.named()),
                    _ => format!("{count} tasklets {}, {text}", quoted(&first.name)),
                })
                .collect();
            if who.len() > 3 {
                texts.push(format!("{} more", who.len() - 3));
            }
            let texts =
                if texts.is_empty() { "nobody, as far as can be seen".into() } else { texts.join("; ") };
            write(out, format_args!("\n  {}: {texts}", self.short(ch)));
        }
        rest(out, channels.len());
    }

    /// Why this tasklet does not wake another one.
    fn excuse(&self, actor: &Actor) -> String {
        match (actor.waits, actor.state) {
            (Some((ch, waits)), _) => format!("which {} {}", verb(waits), self.short(ch)),
            (None, State::Watching) => "which waits in run()".into(),
            (None, State::Paused) => "which is paused".into(),
            (None, State::Fresh) => "which was not started".into(),
            (None, state) => format!("which is {}", word(state)),
        }
    }

    /// Some tasklets each of which waits for a channel that the next one refers to, in a circle.
    fn circle(&self) -> Option<Vec<&Actor>> {
        let mut done = HashSet::new();
        let waiting = |a: &&Actor| a.waits.is_some();
        self.actors.iter().filter(waiting).find_map(|first| self.round(&mut vec![first], &mut done))
    }

    fn round<'a>(&'a self, path: &mut Vec<&'a Actor>, done: &mut HashSet<usize>) -> Option<Vec<&'a Actor>> {
        let (ch, _) = path.last()?.waits?;
        for next in self.actors.iter().filter(|a| a.knows.contains(&ch.obj().addr())) {
            // A tasklet that waits in the same channel does not help, nor does the same tasklet.
            if next.waits.is_none_or(|(other, _)| std::ptr::eq(other, ch)) {
                continue;
            }
            if let Some(at) = path.iter().position(|a| std::ptr::eq(a.t, next.t)) {
                return Some(path[at..].to_vec());
            }
            if path.len() < LINES && done.insert(next.t.obj().addr()) {
                path.push(next);
                if let Some(found) = self.round(path, done) {
                    return Some(found);
                }
                path.pop();
            }
        }
        None
    }
}

impl Actor {
    fn named(&self) -> String {
        match self.name.as_str() {
            "main" if self.t.is_main() => "main".into(),
            name => format!("tasklet {} {}", self.t.serial.get(), quoted(name)).trim_end().into(),
        }
    }
}

fn quoted(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!("'{name}'") }
}

fn verb(waits: WaitsTo) -> &'static str {
    match waits {
        WaitsTo::Send => "sends to",
        WaitsTo::Receive | WaitsTo::Iterate => "receives from",
    }
}

fn infinitive(waits: WaitsTo) -> &'static str {
    match waits {
        WaitsTo::Send => "send to",
        WaitsTo::Receive => "receive from",
        WaitsTo::Iterate => "receive, in an iteration, from",
    }
}

/// Where a tasklet is, with a comma before it.
fn place(t: TaskletRef) -> String {
    let mut room = [CodePosition::NONE];
    let Some(place) = inspect::places(t, &mut room).first() else { return String::new() };
    // SAFETY: the frame keeps its code alive.
    let (function, file, line) = unsafe { inspect::resolve(place.code, place.at as u32) };
    format!(", {file}:{line} in {function}")
}

fn write(out: &mut String, text: std::fmt::Arguments) {
    out.write_fmt(text).expect("a String takes any text");
}

fn rest(out: &mut String, count: usize) {
    if count > LINES {
        write(out, format_args!("\n  and {} more like these", count - LINES));
    }
}

/// Searches what variables refer to for channels.
struct Search<'a> {
    wanted: &'a HashMap<usize, String>,
    found: &'a mut HashSet<usize>,
    seen: HashSet<usize>,
    reached: Vec<Obj>,
    left: usize,
}

/// The visitor: `arg` is a [`Search`]. A result other than 0 ends the visit.
unsafe extern "C" fn reach(o: Obj, arg: *mut c_void) -> c_int {
    // SAFETY: a search, which no other code uses meanwhile.
    let search = unsafe { &mut *arg.cast::<Search>() };
    if search.left == 0 {
        return 1;
    }
    search.left -= 1;
    if search.wanted.contains_key(&o.addr()) {
        search.found.insert(o.addr());
    } else if search.seen.insert(o.addr()) {
        search.reached.push(o);
    }
    0
}

impl Search<'_> {
    fn variables_of(&mut self, t: TaskletRef) {
        let arg = std::ptr::from_mut(self).cast::<c_void>();
        match world::fields(t) {
            // SAFETY: the GIL is held.
            Some((ts, of)) => unsafe { cpython::visit_variables(ts, of, CALLS, reach, arg) },
            None => {
                for o in [t.func.get(), t.args.get(), t.kwargs.get()].into_iter().filter(|o| !o.is_null()) {
                    // SAFETY: a living object.
                    unsafe { reach(o, arg) };
                }
            }
        }
        for _ in 0..STEPS {
            for o in std::mem::take(&mut self.reached) {
                self.expand(o);
            }
        }
    }

    /// Visits what an object refers to, as the collector does.
    fn expand(&mut self, o: Obj) {
        // SAFETY: a living object.
        let is = |kind: *mut PyTypeObject| unsafe { PyObject_TypeCheck(o, kind) != 0 };
        // Nearly everything can be reached through these.
        // SAFETY: the types exist; a tracked object may be traversed at any time.
        unsafe {
            if PyObject_GC_IsTracked(o) == 0
                || PyType_Check(o) != 0
                || PyModule_Check(o) != 0
                || PyFunction_Check(o) != 0
                || PyFrame_Check(o) != 0
                || is(classes::tasklet_type())
                || is(classes::CHANNEL.get())
            {
                return;
            }
            if let Some(traverse) = (*type_of(o)).tp_traverse {
                traverse(o, reach, std::ptr::from_mut(self).cast());
            }
        }
    }
}
