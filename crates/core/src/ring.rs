//! The rules of a thread's ring of runnable tasklets.

use crate::records::{Membership, NONE, TaskletId, ThreadId, ThreadRecord, World, tasklet_at};

impl<P: Copy, C: Copy, H: Copy> World<P, C, H> {
    /// A new thread whose ring holds `main` alone, and runs it.
    pub fn add_thread(&mut self, main: TaskletId, payload: H) -> ThreadId {
        let h = self.threads.insert(ThreadRecord {
            head: NONE,
            count: 0,
            main: main.0,
            watchdogs: Vec::new(),
            timer: None,
            payload,
        });
        self.tasklets[main.0].thread = h;
        self.link(main);
        ThreadId(h)
    }

    /// `new`, which is in no list, replaces the thread's main tasklet, which is running: `new` runs
    /// from now on, and the old one is in no list.
    pub fn replace_main(&mut self, h: ThreadId, new: TaskletId) {
        let old = self.main(h);
        self.link(new);
        self.run_now(new);
        self.unlink(old);
        self.threads[h.0].main = new.0;
    }

    /// Drops the record of a thread. Its tasklets stay, without an owner and in no ring; the ones
    /// that wait in a channel's queue stay there. Returns the tasklets that were in its ring.
    pub fn forget_thread(&mut self, h: ThreadId) -> Vec<TaskletId> {
        let mut unlinked = Vec::new();
        while let Some(t) = self.head(h) {
            self.unlink(t);
            unlinked.push(t);
        }
        for record in self.tasklets.items.iter_mut().filter(|record| record.thread == h.0) {
            record.thread = NONE;
        }
        self.threads[h.0].watchdogs = Vec::new();
        self.threads[h.0].timer = None;
        self.threads[h.0].main = NONE;
        self.threads.remove(h.0);
        unlinked
    }

    /// The tasklet that this thread's ring runs; None while no tasklet can run.
    #[inline(always)]
    pub fn head(&self, h: ThreadId) -> Option<TaskletId> {
        tasklet_at(self.threads[h.0].head)
    }

    /// The thread's main tasklet.
    #[inline(always)]
    pub fn main(&self, h: ThreadId) -> TaskletId {
        TaskletId(self.threads[h.0].main)
    }

    /// The number of tasklets in the ring, the running one included.
    #[inline(always)]
    pub fn run_count(&self, h: ThreadId) -> u32 {
        self.threads[h.0].count
    }

    /// The tasklet that would run if the running one yielded: its right neighbour, itself when alone.
    #[inline(always)]
    pub fn right_neighbour(&self, running: TaskletId) -> TaskletId {
        debug_assert_eq!(self.tasklets[running.0].list, Membership::Ring);
        TaskletId(self.tasklets[running.0].next)
    }

    /// The payload of [`World::right_neighbour`], with one look-up less.
    #[inline(always)]
    pub fn right_neighbour_payload(&self, running: TaskletId) -> P {
        self.tasklets[self.tasklets[running.0].next].payload
    }

    /// Makes a member of this thread's ring the running tasklet. The order of the ring stays.
    #[inline(always)]
    pub fn run_now_in(&mut self, h: ThreadId, t: TaskletId) {
        debug_assert_eq!((self.tasklets[t.0].list, self.tasklets[t.0].thread), (Membership::Ring, h.0));
        self.threads[h.0].head = t.0;
    }

    /// Makes a member of a ring the running tasklet of its thread. The order of the ring stays.
    #[inline(always)]
    pub fn run_now(&mut self, t: TaskletId) {
        let record = &self.tasklets[t.0];
        debug_assert_eq!(record.list, Membership::Ring);
        self.threads[record.thread].head = t.0;
    }

    /// Appends an unlinked tasklet to its thread's ring: directly before the running one. If the ring
    /// was empty, the tasklet becomes the running one; then the result is true, and the caller wakes
    /// the thread if it sleeps.
    #[inline(always)]
    pub fn link(&mut self, t: TaskletId) -> bool {
        let thread = self.tasklets[t.0].thread;
        let head = self.threads[thread].head;
        if head == NONE {
            let record = &mut self.tasklets[t.0];
            (record.next, record.prev, record.list) = (t.0, t.0, Membership::Ring);
            self.threads[thread].head = t.0;
            self.threads[thread].count = 1;
            return true;
        }
        self.link_before(t, head);
        false
    }

    /// Puts an unlinked tasklet directly to the right of the running one of its thread, or makes it
    /// the running one if the ring was empty. The result is as for [`World::link`].
    pub fn link_next(&mut self, t: TaskletId) -> bool {
        let head = self.threads[self.tasklets[t.0].thread].head;
        if head == NONE {
            return self.link(t);
        }
        let after = self.tasklets[head].next;
        self.link_before(t, after);
        false
    }

    /// Makes a member of a ring the right neighbour of another member of it.
    pub fn move_behind(&mut self, t: TaskletId, other: TaskletId) {
        debug_assert!(t.0 != other.0 && self.tasklets[t.0].thread == self.tasklets[other.0].thread);
        let after = self.tasklets[other.0].next;
        if after == t.0 {
            return;
        }
        let head = self.threads[self.tasklets[t.0].thread].head;
        self.unlink(t);
        debug_assert_ne!(head, t.0);
        self.link_before(t, after);
    }

    #[inline(always)]
    fn link_before(&mut self, t: TaskletId, after: u32) {
        let before = self.tasklets[after].prev;
        self.tasklets[before].next = t.0;
        self.tasklets[after].prev = t.0;
        let record = &mut self.tasklets[t.0];
        debug_assert_eq!(record.list, Membership::None);
        (record.next, record.prev, record.list) = (after, before, Membership::Ring);
        let thread = record.thread;
        self.threads[thread].count += 1;
    }

    /// Takes a tasklet out of its ring. If it was the running one, its right neighbour is now.
    #[inline(always)]
    pub fn unlink(&mut self, t: TaskletId) {
        let record = &mut self.tasklets[t.0];
        debug_assert_eq!(record.list, Membership::Ring);
        let (next, prev, thread) = (record.next, record.prev, record.thread);
        (record.next, record.prev, record.list) = (NONE, NONE, Membership::None);
        let head = if next == t.0 {
            NONE
        } else {
            self.tasklets[prev].next = next;
            self.tasklets[next].prev = prev;
            next
        };
        let thread = &mut self.threads[thread];
        thread.count -= 1;
        if thread.head == t.0 {
            thread.head = head;
        }
    }
}
