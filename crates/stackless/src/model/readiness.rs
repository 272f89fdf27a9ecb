//! What a thread knows of the descriptors that its tasklets wait for: data.

use crate::model::tasklet::TaskletRef;
use crate::model::wait::IoDirection;
use crate::python::memory;
use crate::python::objects::*;
use smallvec::SmallVec;
use stackless_reactor::{Bell, Poller};
use std::cell::{Cell, RefCell};
use std::ffi::c_int;
use std::time::Duration;

#[derive(Default)]
pub struct Source {
    pub exhausted: [bool; 2],
    /// True if a short read does not mean that there is no more now: the other side sends no more, or has sent urgent data.
    pub ended: bool,
    /// The number of the socket that the poller watches; 0 if it is not known, or if the descriptor is no socket.
    pub inode: u64,
    /// True for a connection of TCP, where short reads mean that there is no more now.
    pub tcp: bool,
    /// The tasklets that wait for each direction. Borrowed: their waits own them. Nearly always at most one.
    pub waiting: [SmallVec<[TaskletRef; 1]>; 2],
}

/// Indexed by the descriptor's number: the system uses the lowest free number.
#[derive(Default)]
pub struct Sources(Vec<Option<Source>>);

impl Sources {
    pub fn get(&self, descriptor: c_int) -> Option<&Source> {
        self.0.get(descriptor as usize)?.as_ref()
    }

    pub fn get_mut(&mut self, descriptor: c_int) -> Option<&mut Source> {
        self.0.get_mut(descriptor as usize)?.as_mut()
    }

    /// True if there is memory for this descriptor.
    pub fn has_room(&mut self, descriptor: c_int) -> bool {
        let more = (descriptor as usize + 1).saturating_sub(self.0.len());
        memory::strictly(|| self.0.try_reserve(more)).is_ok()
    }

    pub fn get_or_add(&mut self, descriptor: c_int) -> &mut Source {
        let at = descriptor as usize;
        if at >= self.0.len() {
            self.0.resize_with(at + 1, || None);
        }
        self.0[at].get_or_insert_default()
    }

    fn remove(&mut self, descriptor: c_int) -> Option<Source> {
        self.0.get_mut(descriptor as usize)?.take()
    }

    pub fn each(&mut self) -> impl Iterator<Item = (c_int, &mut Source)> {
        self.0.iter_mut().enumerate().filter_map(|(at, source)| Some((at as c_int, source.as_mut()?)))
    }
}

pub struct Readiness {
    pub poller: RefCell<Poller>,
    pub bell: Bell,
    pub sources: RefCell<Sources>,
    /// The number of tasklets that wait.
    pub waiting: Cell<u32>,
}

impl Readiness {
    pub fn new() -> Res<Self> {
        let (poller, bell) = Poller::new().map_err(|error| raise_os_error(&error))?;
        Ok(Self { poller: RefCell::new(poller), bell, sources: RefCell::default(), waiting: Cell::new(0) })
    }

    /// Ends the thread's sleep. If the program has closed the bell's descriptor, the thread wakes later by
    /// itself: its sleeps are short.
    pub fn ring_bell(&self) {
        let _closed = self.bell.ring();
    }

    /// Sleeps until something is ready, the bell rings, a signal arrives, or the time is over. Call it
    /// without the GIL; then `continue_ready` with it.
    pub fn sleep(&self, microseconds: i64) -> std::io::Result<()> {
        let time = Duration::from_micros(microseconds.max(0) as u64);
        self.poller.borrow_mut().wait(Some(time)).map(|_| ())
    }

    pub fn forget(&self, t: TaskletRef, descriptor: c_int, direction: IoDirection) {
        self.waiting.set(self.waiting.get() - 1);
        if let Some(source) = self.sources.borrow_mut().get_mut(descriptor) {
            source.waiting[direction as usize].retain(|other| !std::ptr::eq(*other, t));
        }
    }

    /// Removes a descriptor that is about to be closed. Returns the tasklets that waited for it.
    pub fn remove(&self, descriptor: c_int) -> Vec<TaskletRef> {
        let Some(source) = self.sources.borrow_mut().remove(descriptor) else { return Vec::new() };
        self.bell.remove(descriptor);
        source.waiting.into_iter().flatten().collect()
    }
}
