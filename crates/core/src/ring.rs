//! Tasklets and the rings of runnable ones.

use crate::channel::{Cid, Waits};
use crate::watchdog::{Timer, Watchdog};
use crate::{NONE, World};

/// A tasklet's id, valid from [`World::add_tasklet`] to [`World::forget_tasklet`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Tid(pub(crate) u32);

impl Tid {
    /// Its number: small, and used again after its end.
    #[inline(always)]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A thread's id, valid from [`World::add_thread`] to [`World::forget_thread`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Hid(pub(crate) u32);

impl Hid {
    /// No thread's id.
    pub const NOBODY: Self = Self(NONE);
}

/// Which list a tasklet is linked in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// In none: never started, paused, inside `run()`, or ended.
    Nowhere,
    /// In its thread's ring.
    Ring,
    /// In a channel's queue.
    Queue(Cid, Waits),
    /// There is no such tasklet: the record is free.
    Gone,
}

pub(crate) struct Node<P> {
    pub(crate) next: u32,
    pub(crate) prev: u32,
    pub(crate) place: Place,
    /// The owner, NONE once that thread has ended.
    pub(crate) thread: u32,
    pub(crate) payload: P,
}

pub(crate) struct Thread {
    /// The ring's running tasklet, NONE while nobody of this thread can run.
    pub(crate) head: u32,
    pub(crate) count: u32,
    pub(crate) main: u32,
    /// The tasklets inside `run()`, outermost first.
    pub(crate) watchdogs: Vec<Watchdog>,
    /// The limit of the outermost `run()` that has one.
    pub(crate) timer: Option<Timer>,
}

pub(crate) fn tid(index: u32) -> Option<Tid> {
    (index != NONE).then_some(Tid(index))
}

impl<P: Copy, C: Copy> World<P, C> {
    /// A new tasklet of `thread`, in no list.
    pub fn add_tasklet(&mut self, thread: Option<Hid>, payload: P) -> Tid {
        let thread = thread.map_or(NONE, |h| h.0);
        Tid(self.nodes.insert(Node { next: NONE, prev: NONE, place: Place::Nowhere, thread, payload }))
    }

    /// Drops the record of a tasklet that is in no list.
    pub fn forget_tasklet(&mut self, t: Tid) {
        debug_assert_eq!(self.nodes[t.0].place, Place::Nowhere);
        self.nodes[t.0].place = Place::Gone;
        self.nodes.remove(t.0);
    }

    /// A new thread whose ring holds `main` alone, and runs it.
    pub fn add_thread(&mut self, main: Tid) -> Hid {
        let h = self.threads.insert(Thread {
            head: NONE,
            count: 0,
            main: main.0,
            watchdogs: Vec::new(),
            timer: None,
        });
        self.nodes[main.0].thread = h;
        self.link(main);
        Hid(h)
    }

    /// `new`, which is in no list, takes the place of the thread's main tasklet, which is running:
    /// it runs from now on, and the old one is in no list.
    pub fn replace_main(&mut self, h: Hid, new: Tid) {
        let old = self.main(h);
        self.link(new);
        self.run_now(new);
        self.unlink(old);
        self.threads[h.0].main = new.0;
    }

    /// Drops the record of a thread. Its tasklets stay, without an owner and in no ring; the ones
    /// that wait in a channel's queue stay there. Returns the tasklets that stood in its ring.
    pub fn forget_thread(&mut self, h: Hid) -> Vec<Tid> {
        let mut rang = Vec::new();
        while let Some(t) = self.head(h) {
            self.unlink(t);
            rang.push(t);
        }
        for node in self.nodes.items.iter_mut().filter(|node| node.thread == h.0) {
            node.thread = NONE;
        }
        self.threads[h.0].watchdogs = Vec::new();
        self.threads[h.0].timer = None;
        self.threads.remove(h.0);
        rang
    }

    /// Every tasklet that belongs to a thread, wherever it stands.
    pub fn tasklets_of(&self, h: Hid) -> Vec<Tid> {
        self.all().filter(|(_, node)| node.thread == h.0).map(|(t, _)| t).collect()
    }

    /// Every tasklet there is.
    pub fn tasklets(&self) -> Vec<Tid> {
        self.all().map(|(t, _)| t).collect()
    }

    fn all(&self) -> impl Iterator<Item = (Tid, &Node<P>)> {
        let all = self.nodes.items.iter().enumerate().map(|(i, node)| (Tid(i as u32), node));
        all.filter(|(_, node)| node.place != Place::Gone)
    }

    /// The first tasklet whose number is not below this one.
    pub fn tasklet_from(&self, index: usize) -> Option<Tid> {
        let rest = self.nodes.items.get(index..)?;
        rest.iter().position(|node| node.place != Place::Gone).map(|at| Tid((index + at) as u32))
    }

    /// Above the numbers of all tasklets there are.
    pub fn tasklet_end(&self) -> usize {
        self.nodes.items.len()
    }

    /// Does a tasklet of this thread wait in a channel's queue?
    pub fn any_blocked(&self, h: Hid) -> bool {
        self.nodes.items.iter().any(|node| node.thread == h.0 && matches!(node.place, Place::Queue(..)))
    }

    /// How many tasklets there are.
    pub fn tasklet_count(&self) -> usize {
        self.nodes.len()
    }

    /// How many threads there are.
    pub fn thread_count(&self) -> usize {
        self.threads.len()
    }

    /// What the caller stored for this tasklet.
    #[inline(always)]
    pub fn payload(&self, t: Tid) -> P {
        self.nodes[t.0].payload
    }

    /// The thread a tasklet belongs to, None once that has ended.
    #[inline(always)]
    pub fn thread_of(&self, t: Tid) -> Option<Hid> {
        let h = self.nodes[t.0].thread;
        (h != NONE).then_some(Hid(h))
    }

    /// Gives a tasklet that is in no ring to another thread.
    pub fn set_thread(&mut self, t: Tid, h: Hid) {
        debug_assert_ne!(self.nodes[t.0].place, Place::Ring);
        self.nodes[t.0].thread = h.0;
    }

    /// Is it in some list (a ring or a queue)?
    #[inline(always)]
    pub fn is_linked(&self, t: Tid) -> bool {
        !matches!(self.nodes[t.0].place, Place::Nowhere | Place::Gone)
    }

    /// Is it in its thread's ring?
    #[inline(always)]
    pub fn in_ring(&self, t: Tid) -> bool {
        self.nodes[t.0].place == Place::Ring
    }

    /// The neighbour to the right in its list: a ring goes round, a queue ends with None.
    pub fn next(&self, t: Tid) -> Option<Tid> {
        tid(self.nodes[t.0].next)
    }

    /// The neighbour to the left in its list.
    pub fn prev(&self, t: Tid) -> Option<Tid> {
        tid(self.nodes[t.0].prev)
    }

    /// The tasklet that this thread's ring runs; None while nobody can run.
    #[inline(always)]
    pub fn head(&self, h: Hid) -> Option<Tid> {
        tid(self.threads[h.0].head)
    }

    /// The thread's main tasklet.
    #[inline(always)]
    pub fn main(&self, h: Hid) -> Tid {
        Tid(self.threads[h.0].main)
    }

    /// How many tasklets the ring holds, the running one included.
    #[inline(always)]
    pub fn run_count(&self, h: Hid) -> u32 {
        self.threads[h.0].count
    }

    /// Who would run if the running tasklet yielded: its right neighbour, itself when alone.
    #[inline(always)]
    pub fn right_neighbour(&self, running: Tid) -> Tid {
        debug_assert_eq!(self.nodes[running.0].place, Place::Ring);
        Tid(self.nodes[running.0].next)
    }

    /// The same as a payload, which is one look-up less.
    #[inline(always)]
    pub fn right_neighbour_payload(&self, running: Tid) -> P {
        self.nodes[self.nodes[running.0].next].payload
    }

    /// Makes a ring member of this very thread the running one. Nobody moves.
    #[inline(always)]
    pub fn run_now_in(&mut self, h: Hid, t: Tid) {
        debug_assert_eq!((self.nodes[t.0].place, self.nodes[t.0].thread), (Place::Ring, h.0));
        self.threads[h.0].head = t.0;
    }

    /// Makes a ring member the running one. Nobody moves.
    #[inline(always)]
    pub fn run_now(&mut self, t: Tid) {
        let node = &self.nodes[t.0];
        debug_assert_eq!(node.place, Place::Ring);
        self.threads[node.thread].head = t.0;
    }

    /// Appends an unlinked tasklet to its thread's ring: directly before the running one. Where
    /// nobody could run, it becomes the one that runs; then the answer is true, and a sleeping
    /// thread wants to be woken.
    #[inline(always)]
    pub fn link(&mut self, t: Tid) -> bool {
        let thread = self.nodes[t.0].thread;
        let head = self.threads[thread].head;
        if head == NONE {
            let node = &mut self.nodes[t.0];
            (node.next, node.prev, node.place) = (t.0, t.0, Place::Ring);
            self.threads[thread].head = t.0;
            self.threads[thread].count = 1;
            return true;
        }
        self.link_before(t, head);
        false
    }

    /// Puts an unlinked tasklet directly to the right of the running one of its thread, or makes it
    /// the running one where nobody could run. Answers as [`World::link`].
    pub fn link_next(&mut self, t: Tid) -> bool {
        let head = self.threads[self.nodes[t.0].thread].head;
        if head == NONE {
            return self.link(t);
        }
        let after = self.nodes[head].next;
        self.link_before(t, after);
        false
    }

    #[inline(always)]
    fn link_before(&mut self, t: Tid, after: u32) {
        let before = self.nodes[after].prev;
        self.nodes[before].next = t.0;
        self.nodes[after].prev = t.0;
        let node = &mut self.nodes[t.0];
        debug_assert_eq!(node.place, Place::Nowhere);
        (node.next, node.prev, node.place) = (after, before, Place::Ring);
        let thread = node.thread;
        self.threads[thread].count += 1;
    }

    /// Takes a tasklet out of its ring. If it was the running one, its right neighbour is now.
    #[inline(always)]
    pub fn unlink(&mut self, t: Tid) {
        let node = &mut self.nodes[t.0];
        debug_assert_eq!(node.place, Place::Ring);
        let (next, prev, thread) = (node.next, node.prev, node.thread);
        (node.next, node.prev, node.place) = (NONE, NONE, Place::Nowhere);
        let head = if next == t.0 {
            NONE
        } else {
            self.nodes[prev].next = next;
            self.nodes[next].prev = prev;
            next
        };
        let thread = &mut self.threads[thread];
        thread.count -= 1;
        if thread.head == t.0 {
            thread.head = head;
        }
    }
}
