//! Which tasklet waits for which: the note in deadlock errors.
//!
//! The texts of the errors are the contract's; the note is this project's own, in the exception's `__notes__`. It is
//! made of names and places alone. A tasklet that could wake another one must have a reference to the channel; so
//! the variables of tasklets are searched, as the garbage collector would, a few references deep. Everything has
//! a maximum, as a program may run into deadlocks all the time.
//!
//! Meanwhile no Python code runs and no Python object is made.

use crate::engine::deadlock::Request;
use crate::model::channel::{self, ChannelRef};
use crate::model::primitive::Primitive;
use crate::model::tasklet::TaskletRef;
use crate::model::thread::Sched;
use crate::model::world::{object, world};
use crate::model::{classes, world};
use crate::observe::{inspect, primitives, reasons};
use crate::python::objects::*;
use crate::scheduler::entry;
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
pub fn explain(s: &'static Sched, request: Request) -> String {
    Explanation::of(s, request).note()
}

/// A tasklet in the note.
struct Participant {
    t: TaskletRef,
    name: String,
    state: State,
    /// What it waits for, or wanted to wait for: several in `alt()`.
    waits: Vec<(ChannelRef, WaitsTo)>,
    /// The addresses of the channels in the note that it refers to.
    knows: HashSet<usize>,
}

struct Explanation {
    participants: Vec<Participant>,
    /// Names of channels, by address.
    channels: HashMap<usize, String>,
    /// The tasklet whose operation failed.
    last: TaskletRef,
    /// True if there are more tasklets than were looked at.
    more: bool,
}

impl Explanation {
    fn of(s: &'static Sched, request: Request) -> Self {
        let last = s.current();
        let mut explanation = Self { participants: Vec::new(), channels: HashMap::new(), last, more: false };
        for t in [last, s.main()] {
            explanation.add(t, request);
        }
        let mut at = 0;
        while let Some(t) = world(|w| w.tasklet_from(at)) {
            at = t.index() + 1;
            if explanation.participants.len() >= TASKLETS {
                explanation.more = true;
                break;
            }
            explanation.add(object(t), request);
        }
        explanation.look_for_channels();
        explanation.look_for_holders();
        explanation
    }

    fn add(&mut self, t: TaskletRef, request: Request) {
        let state = inspect::state_of(t);
        let known = self.participants.iter().any(|a| std::ptr::eq(a.t, t));
        if known || !t.is_owned() || state.is_over() {
            return;
        }
        let mut waits = inspect::all_waits(t);
        if waits.is_empty() && std::ptr::eq(t, self.last) {
            waits.extend(request);
        }
        for &(ch, _) in &waits {
            let name = inspect::variable_name(t, ch.obj());
            let known = self.channels.entry(ch.obj().addr()).or_default();
            if known.is_empty() {
                *known = name;
            }
        }
        self.participants.push(Participant {
            t,
            name: inspect::display_name(t),
            state,
            waits,
            knows: HashSet::new(),
        });
    }

    fn look_for_channels(&mut self) {
        let mut left = OBJECTS * 20;
        for participant in &mut self.participants {
            let mut search = Search {
                wanted: &self.channels,
                found: &mut participant.knows,
                seen: HashSet::new(),
                reached: Vec::new(),
                left: left.min(OBJECTS),
            };
            let before = search.left;
            search.variables_of(participant.t);
            left -= before - search.left;
            // Its end is what those wait for that join it.
            participant.knows.extend(channel::of_end(participant.t).map(|ch| ch.obj().addr()));
        }
    }

    /// Of a lock that is held it is known which tasklet could release it.
    fn look_for_holders(&mut self) {
        let waits = self.participants.iter().flat_map(|a| &a.waits);
        let locks: Vec<_> = waits.filter_map(|(ch, _)| Primitive::behind(ch)).collect();
        for lock in locks.into_iter().filter(|p| p.owner.get() != 0) {
            let owner = lock.owner.get();
            for participant in &mut self.participants {
                if participant.t.scheduler().is_some_and(|s| entry::owner(s, participant.t) == owner) {
                    participant.knows.insert(lock.obj().addr());
                } else {
                    participant.knows.remove(&lock.obj().addr());
                }
            }
        }
    }

    fn channel(&self, ch: ChannelRef) -> String {
        if let Some(p) = Primitive::behind(ch) {
            let held = primitives::holder(p).map_or_else(String::new, |holder| format!(", held by {holder}"));
            return format!("{}{held}", self.short(ch));
        }
        let name = self.channels.get(&ch.obj().addr()).map_or("", String::as_str);
        let name = if name.is_empty() { String::new() } else { format!("'{name}' ") };
        format!("channel {name}at {:#x}", ch.obj().addr())
    }

    fn short(&self, ch: ChannelRef) -> String {
        let address = ch.obj().addr();
        if Primitive::behind(ch).is_some() {
            let name = self.channels.get(&address).map_or("", String::as_str);
            let name = if name.is_empty() { String::new() } else { format!("'{name}' ") };
            return format!("{} {name}at {address:#x}", primitives::kind(ch.obj()));
        }
        match self.channels.get(&address) {
            Some(name) if !name.is_empty() => {
                let shared = self.channels.iter().any(|(other, also)| *other != address && also == name);
                if shared { format!("'{name}' at {address:#x}") } else { format!("'{name}'") }
            }
            _ => format!("the channel at {address:#x}"),
        }
    }

    fn note(&self) -> String {
        let mut out = String::from("Waiting tasklets:");
        self.waiters(&mut out);
        self.others(&mut out);
        if let Some(circle) = self.circle() {
            out.push_str("\nA cycle: ");
            for (i, participant) in circle.iter().enumerate() {
                let next = circle[(i + 1) % circle.len()];
                let known = |(ch, _): &&(ChannelRef, WaitsTo)| next.knows.contains(&ch.obj().addr());
                let Some(&(ch, waits)) = participant.waits.iter().find(known) else { continue };
                let who = if i == 0 { participant.named() } else { format!("; {}", participant.named()) };
                let holder = next.named();
                let owned = Primitive::behind(ch).is_some_and(|p| p.owner.get() != 0);
                let relation = if owned { "held" } else { "referred to" };
                let known =
                    if ch.awaited().is_some() { String::new() } else { format!(", {relation} by {holder}") };
                write(&mut out, format_args!("{who} {}{known}", self.does(ch, waits)));
            }
        }
        if self.more {
            write(&mut out, format_args!("\n(Only {TASKLETS} tasklets were looked at.)"));
        }
        out
    }

    fn waiters(&self, out: &mut String) {
        let mut lines: Vec<(String, Vec<&Participant>)> = Vec::new();
        for participant in &self.participants {
            let wish = |&(ch, waits): &(ChannelRef, WaitsTo)| {
                if let Some(joined) = ch.awaited() {
                    return format!("to join {}", reasons::named(joined));
                }
                let (balance, capacity) = world(|w| (w.balance(ch.id()), w.capacity(ch.id())));
                let more = if capacity > 0 { format!(", capacity {capacity}") } else { String::new() };
                match Primitive::behind(ch) {
                    Some(_) if participant.state.is_blocked() => format!("for {}", self.channel(ch)),
                    Some(_) => format!("to wait for {}", self.channel(ch)),
                    None => {
                        format!("to {} {} (balance {balance}{more})", infinitive(waits), self.channel(ch))
                    }
                }
            };
            let wants = match participant.waits.as_slice() {
                [] if std::ptr::eq(participant.t, self.last) => "to leave the run queue".into(),
                [] => continue,
                all => all.iter().map(wish).collect::<Vec<_>>().join(", or "),
            };
            let line = wants + &place(participant.t);
            match lines.iter_mut().find(|(known, who)| *known == line && who[0].name == participant.name) {
                Some((_, who)) => who.push(participant),
                None => lines.push((line, vec![participant])),
            }
        }
        for (line, who) in lines.iter().take(LINES) {
            match who.as_slice() {
                [one] if one.is_waiting() => write(out, format_args!("\n  {} waits {line}", one.named())),
                [one] => write(out, format_args!("\n  {} wants {line}", one.named())),
                all => {
                    let name = quoted(&all[0].name);
                    write(out, format_args!("\n  {} tasklets {name} wait {line}", all.len()));
                }
            }
        }
        rest(out, lines.len());
    }

    fn others(&self, out: &mut String) {
        let mut channels: Vec<ChannelRef> = Vec::new();
        for &(ch, _) in self.participants.iter().flat_map(|a| &a.waits) {
            if ch.awaited().is_none() && !channels.iter().any(|known| std::ptr::eq(*known, ch)) {
                channels.push(ch);
            }
        }
        if channels.is_empty() {
            return;
        }
        out.push_str("\nWhat else refers to these channels:");
        for ch in channels.iter().take(LINES) {
            let mut who: Vec<(String, &Participant, usize)> = Vec::new();
            let waits_here = |a: &Participant| a.waits.iter().any(|(other, _)| std::ptr::eq(*other, *ch));
            let knowing = self.participants.iter().filter(|a| a.knows.contains(&ch.obj().addr()));
            for participant in knowing.filter(|a| !waits_here(a)) {
                let text = self.reason(participant);
                match who
                    .iter_mut()
                    .find(|(known, first, _)| *known == text && first.name == participant.name)
                {
                    Some((_, _, count)) => *count += 1,
                    None => who.push((text, participant, 1)),
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
            let texts = if texts.is_empty() {
                "nothing else, as far as can be seen".into()
            } else {
                texts.join("; ")
            };
            write(out, format_args!("\n  {}: {texts}", self.short(ch)));
        }
        rest(out, channels.len());
    }

    /// What a tasklet does that waits there.
    fn does(&self, ch: ChannelRef, waits: WaitsTo) -> String {
        match ch.awaited() {
            Some(joined) => format!("joins {}", reasons::named(joined)),
            None => format!("{} {}", verb(ch, waits), self.short(ch)),
        }
    }

    /// Why this tasklet does not wake another one.
    fn reason(&self, participant: &Participant) -> String {
        let does = |&(ch, waits): &(ChannelRef, WaitsTo)| self.does(ch, waits);
        match (participant.waits.as_slice(), participant.state) {
            ([], State::Watching) => "which waits in run()".into(),
            ([], State::Fresh) => "which was not started".into(),
            ([], _) => format!("which is {}", reasons::short(participant.t)),
            (all, _) => format!("which {}", all.iter().map(does).collect::<Vec<_>>().join(" or ")),
        }
    }

    /// Some tasklets each of which waits for a channel that the next one refers to, in a circle.
    fn circle(&self) -> Option<Vec<&Participant>> {
        let mut done = HashSet::new();
        // A tasklet in alt() waits in vain only if no channel of its gets a partner: it is in no circle by itself.
        let waiting = |a: &&Participant| a.waits.len() == 1;
        self.participants.iter().filter(waiting).find_map(|first| self.round(&mut vec![first], &mut done))
    }

    fn round<'a>(
        &'a self,
        path: &mut Vec<&'a Participant>,
        done: &mut HashSet<usize>,
    ) -> Option<Vec<&'a Participant>> {
        let [(ch, _)] = path.last()?.waits[..] else { return None };
        for next in self.participants.iter().filter(|a| a.knows.contains(&ch.obj().addr())) {
            // A tasklet that waits in the same channel does not help, nor does the same tasklet.
            let [(other, _)] = next.waits[..] else { continue };
            if std::ptr::eq(other, ch) {
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

impl Participant {
    fn is_waiting(&self) -> bool {
        self.state.is_blocked() || (self.state == State::Choosing && world(|w| !w.in_ring(self.t.id())))
    }

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

fn verb(ch: ChannelRef, waits: WaitsTo) -> &'static str {
    if Primitive::behind(ch).is_some() {
        return "waits for";
    }
    match waits {
        WaitsTo::Send => "sends to",
        WaitsTo::Receive | WaitsTo::Iterate | WaitsTo::Either => "receives from",
    }
}

fn infinitive(waits: WaitsTo) -> &'static str {
    match waits {
        WaitsTo::Send => "send to",
        WaitsTo::Receive | WaitsTo::Either => "receive from",
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
