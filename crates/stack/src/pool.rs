//! A thread's free stacks, the warmest last.

use crate::slab::{self, Slot, StackError};
use std::collections::{HashMap, VecDeque};

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
    pub fn get(&mut self) -> Result<Slot, StackError> {
        self.at_hand().map_or_else(|| self.refill(), Ok)
    }

    /// The same if there is one that needs no memory; else call [`Pool::refill`].
    #[inline]
    pub fn at_hand(&mut self) -> Option<Slot> {
        if self.size == slab::size() && self.stale.is_empty() { self.free.pop_back() } else { None }
    }

    /// A slot to use, from the store. It fails where memory for the books cannot be had, and then nothing has
    /// changed.
    #[cold]
    pub fn refill(&mut self) -> Result<Slot, StackError> {
        let issued = &mut self.issued;
        slab::give_back(self.stale.drain(..).inspect(|slot| forget(issued, slot)));
        if self.size != slab::size() {
            slab::give_back(self.free.drain(..).inspect(|slot| forget(issued, slot)));
            self.size = slab::size();
        }
        if self.free.is_empty() {
            // Slots that come back must find their place.
            let most = self.issued.len() + BATCH;
            self.issued.try_reserve(BATCH).map_err(|_| StackError::Memory)?;
            self.free.try_reserve(most).map_err(|_| StackError::Memory)?;
            self.stale.try_reserve(most).map_err(|_| StackError::Memory)?;
            let (issued, free, made) = (&mut self.issued, &mut self.free, &mut self.made);
            slab::take(BATCH, |slot| {
                *made += 1;
                issued.insert(slot.top().addr(), (slot, *made));
                free.push_back(slot);
            })?;
        }
        Ok(self.free.pop_back().expect("take gives at least one"))
    }

    /// The coldest free slots beyond so many go back to the store, but not more than `most` of them.
    /// How many did?
    pub fn shrink(&mut self, keep: usize, most: usize) -> usize {
        let excess = self.free.len().saturating_sub(keep).min(most);
        let issued = &mut self.issued;
        slab::give_back(self.free.drain(..excess).inspect(|slot| forget(issued, slot)));
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

    /// All of them, in no order.
    pub fn slots(&self) -> impl Iterator<Item = Slot> {
        self.issued.values().map(|(slot, _)| *slot)
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

fn forget(issued: &mut HashMap<usize, (Slot, u64)>, slot: &Slot) {
    issued.remove(&slot.top().addr());
}

impl Default for Pool {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        slab::give_back(self.stale.drain(..).chain(self.free.drain(..)));
    }
}
