//! What a tasklet waits for, in words: for `ps`, dumps, reprs, deadlock notes and recordings.
//!
//! Everything is looked up when it is asked for: the time that is left, the peer of a socket, names. Nothing here runs
//! Python code or changes anything.

use crate::model::alt::{self, Entry, Kind};
use crate::model::channel::ChannelRef;
use crate::model::primitive::Primitive;
use crate::model::scope::{Scope, ScopeRef};
use crate::model::tasklet::{Tasklet, TaskletRef};
use crate::model::wait::{IoDirection, Wait, WaitKind};
use crate::model::world::{self, world};
use crate::observe::inspect::{self, state_text};
use crate::observe::primitives;
use stackless_core::WaitsTo;
use stackless_reactor::now;
use std::ffi::c_int;
use std::mem::ManuallyDrop;
use std::net::TcpStream;
use std::os::fd::FromRawFd;
use std::os::unix::net::UnixStream;

/// The state of a tasklet: a word or two, and the details of what it waits for besides partners in a channel, or "".
pub struct Reason {
    pub state: &'static str,
    pub detail: String,
}

/// The maximum number of cases of `alt()` that are told.
const CASES: usize = 5;

impl Reason {
    pub fn of(t: TaskletRef) -> Self {
        let state = inspect::state_of(t);
        let plain = |state, detail| Self { state, detail };
        if let Some(alt) = alt::of(t) {
            let mut all: Vec<String> = alt.entries.iter().take(CASES).map(|entry| case(t, entry)).collect();
            if alt.entries.len() > CASES {
                all.push(format!("and {} more", alt.entries.len() - CASES));
            }
            all.extend(time_left(t));
            return plain("in alt()", all.join(", "));
        }
        if let Some(what) = primitives::reason(t) {
            let left = time_left(t).map_or_else(String::new, |left| format!(", {left}"));
            return plain("waiting", format!("{what}{left}"));
        }
        if let Some(group) = joined_group(t) {
            let count = group.count.get();
            let some = if count == 1 { "1 tasklet".to_owned() } else { format!("{count} tasklets") };
            return plain("joining", format!("{some} of its task group"));
        }
        if let Some(joined) = joined(t) {
            let left = time_left(t).map_or_else(String::new, |left| format!(", {left}"));
            return plain("joining", format!("{}{left}", named(joined)));
        }
        match wait_of(t) {
            Some(wait) if !state.is_blocked() => waiting(t, wait, state_text(state)),
            _ => plain(state_text(state), time_left(t).unwrap_or_default()),
        }
    }

    /// In one text, without what is known of a channel.
    pub fn text(&self) -> String {
        match (self.state, self.detail.as_str()) {
            (state, "") => state.to_owned(),
            ("in alt()", detail) => format!("in alt(): {detail}"),
            ("waiting", detail) => format!("waiting for {detail}"),
            ("in to_thread()", detail) => format!("in to_thread({detail})"),
            ("sending" | "receiving" | "iterating", detail) => format!("{}, {detail}", self.state),
            (state, detail) => format!("{state} {detail}"),
        }
    }
}

/// What a tasklet waits for or does, for its repr and for recordings: with the channel's name.
pub fn short(t: TaskletRef) -> String {
    let reason = Reason::of(t);
    match world::waits(t) {
        Some((c, waits)) if has_partners(t) => {
            let ch = world(|w| w.channel_payload(c));
            let left = if reason.detail.is_empty() { String::new() } else { format!(", {}", reason.detail) };
            match inspect::variable_name(t, ch.obj()) {
                name if name.is_empty() => format!("{}{left}", reason.state),
                name => format!("{} channel '{name}'{left}", verb(waits)),
            }
        }
        _ => reason.text(),
    }
}

/// True if it waits in one channel of the program, and for nothing else.
pub fn has_partners(t: TaskletRef) -> bool {
    joined(t).is_none()
        && joined_group(t).is_none()
        && alt::of(t).is_none()
        && Primitive::waited_for(t).is_none()
}

fn wait_of(t: TaskletRef) -> Option<Wait> {
    // SAFETY: a wait lives as long as the tasklet's pointer to it.
    unsafe { t.wait.get().as_ref() }.copied()
}

/// The tasklet for whose end this one waits in `join()`.
pub fn joined(t: TaskletRef) -> Option<&'static Tasklet> {
    let (c, _) = world::waits(t).filter(|_| alt::of(t).is_none())?;
    world(|w| w.channel_payload(c)).awaited()
}

/// The task group for the end of whose tasklets this one waits.
pub fn joined_group(t: TaskletRef) -> Option<ScopeRef> {
    let group = Scope::in_cell(&t.scope).filter(|group| group.flags.get().joining && group.is_owned_by(t))?;
    let (c, _) = world::waits(t)?;
    std::ptr::eq(world(|w| w.channel_payload(c)).obj(), group.end.get()).then_some(group)
}

/// "tasklet 2 (fetch)".
pub fn named(t: TaskletRef) -> String {
    match inspect::display_name(t) {
        name if name.is_empty() => format!("tasklet {}", t.serial.get()),
        name => format!("tasklet {} ({name})", t.serial.get()),
    }
}

/// A wait for something other than a partner.
fn waiting(t: TaskletRef, wait: Wait, state: &'static str) -> Reason {
    let plain = |state, detail| Reason { state, detail };
    let left = || time_left(t).map_or_else(String::new, |left| format!(", {left}"));
    match wait.kind {
        WaitKind::Time => plain("sleeping", wait.timer.map_or_else(String::new, |timer| span(timer.at()))),
        WaitKind::Job { func, .. } => plain("in to_thread()", inspect::callable_name(func)),
        WaitKind::Descriptor(descriptor, direction) | WaitKind::DescriptorOrTime(descriptor, direction) => {
            let state = if direction == IoDirection::In { "reading" } else { "writing" };
            plain(state, format!("{}{}", described(descriptor), left()))
        }
        _ => plain(state, String::new()),
    }
}

fn case(t: TaskletRef, entry: &Entry) -> String {
    let channel = |verb: &str, ch: ChannelRef| match inspect::variable_name(t, ch.obj()) {
        name if name.is_empty() => format!("{verb} channel at {:#x}", ch.obj().addr()),
        name => format!("{verb} channel '{name}'"),
    };
    match entry.kind {
        Kind::Receive(ch) => channel("receiving from", ch),
        Kind::Send(ch, _) => channel("sending to", ch),
        Kind::Event(_) => "waiting for an Event".to_owned(),
        Kind::Join(t) => format!("joining {}", named(t)),
        Kind::Ready(descriptor, IoDirection::In) => format!("reading {}", described(descriptor)),
        Kind::Ready(descriptor, IoDirection::Out) => format!("writing {}", described(descriptor)),
    }
}

fn verb(waits: WaitsTo) -> &'static str {
    match waits {
        WaitsTo::Send => "sending to",
        WaitsTo::Iterate => "iterating over",
        WaitsTo::Receive | WaitsTo::Either => "receiving from",
    }
}

/// "1.2 s left" for a wait that a timer ends.
fn time_left(t: TaskletRef) -> Option<String> {
    let timer = wait_of(t)?.timer?;
    Some(format!("{} left", span(timer.at())))
}

/// The time until a moment.
fn span(at: u64) -> String {
    match at.saturating_sub(now()) as f64 / 1e9 {
        seconds if seconds < 0.0995 => format!("{:.0} ms", seconds * 1e3),
        seconds if seconds < 99.95 => format!("{seconds:.1} s"),
        seconds if seconds < 1e9 => format!("{seconds:.0} s"),
        _ => "for ever".to_owned(),
    }
}

/// A descriptor with its number and what it leads to: the peer of a socket, the address that it listens on, a file.
fn described(descriptor: c_int) -> String {
    let what = address(descriptor).or_else(|| {
        let path = std::fs::read_link(format!("/proc/self/fd/{descriptor}")).ok()?;
        Some(path.to_string_lossy().into_owned())
    });
    what.map_or_else(|| format!("fd {descriptor}"), |what| format!("fd {descriptor} ({what})"))
}

fn address(descriptor: c_int) -> Option<String> {
    // SAFETY: these only ask for addresses, which fails for a descriptor that is closed or no socket; they are never
    // dropped, and so never close it.
    let (tcp, unix) = unsafe {
        (
            ManuallyDrop::new(TcpStream::from_raw_fd(descriptor)),
            ManuallyDrop::new(UnixStream::from_raw_fd(descriptor)),
        )
    };
    if let Ok(peer) = tcp.peer_addr() {
        return Some(peer.to_string());
    }
    if let Ok(own) = tcp.local_addr() {
        return Some(format!("at {own}"));
    }
    let path = |address: std::os::unix::net::SocketAddr| Some(address.as_pathname()?.display().to_string());
    if let Ok(peer) = unix.peer_addr() {
        return path(peer).or_else(|| unix.local_addr().ok().and_then(path));
    }
    unix.local_addr().ok().and_then(path).map(|own| format!("at {own}"))
}
