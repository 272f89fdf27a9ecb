//! A thread's free stacks, the warmest last.

use crate::slab::{self, Slot, StackError};
use std::collections::{HashMap, HashSet, VecDeque};

/// Free slots of one thread. Getting and returning one is a pop or a push.
///
/// A slot that comes back keeps its memory, so that the next user finds it warm. Three things bound
/// what idle stacks cost: beyond [`WARM`] the coldest go back to the process-wide store, which
/// gives their memory to the system; so they do when the owner asks for it with [`Pool::shrink`]; and
/// every [`TRIM`]-th return gives back what lies deeper than [`SHALLOW`], in case somebody recursed
/// deeply there.
pub struct Pool {
    free: VecDeque<Slot>,
    /// All slots taken from the store and not given back, each with its serial number.
    issued: HashMap<usize, (Slot, u64)>,
    /// How many slots were ever taken from the store.
    made: u64,
    /// Returned after the stack size was changed.
    stale: Vec<Slot>,
    size: usize,
    returns: u32,
}

const WARM: usize = 4096;
const TRIM: u32 = 64;
const SHALLOW: usize = 64 << 10;
/// How many slots travel between a pool and the store at a time.
const BATCH: usize = 64;

impl Pool {
    /// An empty pool.
    pub fn new() -> Self {
        Self {
            free: VecDeque::new(),
            issued: HashMap::new(),
            made: 0,
            stale: Vec::new(),
            size: 0,
            returns: 0,
        }
    }

    /// A slot to use, of the size now in force.
    #[inline]
    pub fn get(&mut self) -> Result<Slot, StackError> {
        if self.size == slab::size()
            && self.stale.is_empty()
            && let Some(slot) = self.free.pop_back()
        {
            return Ok(slot);
        }
        self.refill()
    }

    #[cold]
    fn refill(&mut self) -> Result<Slot, StackError> {
        let stale = std::mem::take(&mut self.stale);
        self.give_back(stale);
        if self.size != slab::size() {
            let free = self.free.drain(..).collect();
            self.give_back(free);
            self.size = slab::size();
        }
        if self.free.is_empty() {
            let taken = slab::take(BATCH)?;
            self.issued
                .extend(taken.iter().zip(self.made + 1..).map(|(slot, n)| (slot.top().addr(), (*slot, n))));
            self.made += taken.len() as u64;
            self.free.extend(taken);
        }
        Ok(self.free.pop_back().expect("take returns at least one"))
    }

    fn give_back(&mut self, slots: Vec<Slot>) {
        for slot in &slots {
            self.issued.remove(&slot.top().addr());
        }
        slab::give_back(slots.into_iter());
    }

    /// The coldest free slots beyond so many go back to the store, but not more than `most` of them.
    /// How many did?
    pub fn shrink(&mut self, keep: usize, most: usize) -> usize {
        let excess = self.free.len().saturating_sub(keep).min(most);
        let coldest = self.free.drain(..excess).collect();
        self.give_back(coldest);
        excess
    }

    /// How many slots there are, in use or not.
    pub fn kept(&self) -> usize {
        self.issued.len()
    }

    /// The serial number of the last slot taken from the store; 0 before the first.
    pub fn last_serial(&self) -> u64 {
        self.made
    }

    /// The serial number of one of this pool's slots, 0 for any other. They count from 1.
    pub fn serial(&self, slot: Slot) -> u64 {
        self.issued.get(&slot.top().addr()).map_or(0, |(_, serial)| *serial)
    }

    /// How many slots are in use.
    pub fn used(&self) -> usize {
        self.issued.len() - self.free.len() - self.stale.len()
    }

    /// Those slots, in no order.
    pub fn slots_in_use(&self) -> Vec<Slot> {
        let idle: HashSet<_> = self.free.iter().chain(&self.stale).map(|slot| slot.top().addr()).collect();
        self.issued.iter().filter(|(top, _)| !idle.contains(top)).map(|(_, (slot, _))| *slot).collect()
    }

    /// A slot comes back.
    ///
    /// # Safety
    /// Nobody uses it any more, except that the caller may be running on it: then it must switch
    /// away for good before anybody calls this pool again.
    #[inline]
    pub unsafe fn put(&mut self, slot: Slot) {
        self.returns = self.returns.wrapping_add(1);
        if self.returns.is_multiple_of(TRIM) {
            // SAFETY: the caller, if it runs there, needs no more than the top of the stack.
            unsafe { slot.discard(SHALLOW) };
        }
        if slot.size() != self.size {
            self.stale.push(slot);
            return;
        }
        if self.free.len() >= WARM + BATCH {
            self.shrink(WARM, BATCH);
        }
        self.free.push_back(slot);
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let idle = self.stale.drain(..).chain(self.free.drain(..)).collect();
        self.give_back(idle);
    }
}
