//! A thread's free stacks. The one that was used last is handed out first.

use crate::slab::{self, Slot, StackError};
use std::collections::{HashMap, VecDeque};

/// Free slots of one thread. Getting and returning one is a pop or a push.
///
/// A slot that is returned keeps its memory, so that it is in the cache for its next user. Three things limit
/// what idle stacks cost: beyond [`WARM`] slots the ones unused for longest go back to the process-wide store,
/// which gives their memory to the system; so they do when the owner asks for it with [`Pool::shrink`]; and
/// every [`TRIM`]-th return gives back what lies deeper than [`SHALLOW`], in case code recursed deeply there.
pub struct Pool {
    free: VecDeque<Slot>,
    /// All slots taken from the store and not given back, each with its serial number.
    issued: HashMap<usize, (Slot, u64)>,
    /// The number of slots ever taken from the store.
    made: u64,
    /// Returned after the stack size was changed.
    stale: Vec<Slot>,
    size: usize,
    returns: u32,
}

const WARM: usize = 4096;
const TRIM: u32 = 64;
const SHALLOW: usize = 64 << 10;
/// The number of slots that a pool takes from the store or returns to it at a time.
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

    /// A slot of the size now in force, from the pool or from the store.
    pub fn get(&mut self) -> Result<Slot, StackError> {
        self.at_hand().map_or_else(|| self.refill(), Ok)
    }

    /// A slot from the pool, which needs no memory; if there is none, call [`Pool::refill`].
    #[inline]
    pub fn at_hand(&mut self) -> Option<Slot> {
        if self.size == slab::size() && self.stale.is_empty() { self.free.pop_back() } else { None }
    }

    /// A slot from the store.
    ///
    /// # Errors
    /// [`StackError::Memory`] also if there is no memory for the pool's own records; then nothing has changed.
    #[cold]
    pub fn refill(&mut self) -> Result<Slot, StackError> {
        let issued = &mut self.issued;
        slab::give_back(self.stale.drain(..).inspect(|slot| forget(issued, slot)));
        if self.size != slab::size() {
            slab::give_back(self.free.drain(..).inspect(|slot| forget(issued, slot)));
            self.size = slab::size();
        }
        if self.free.is_empty() {
            // Returning a slot must not need memory.
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

    /// Returns free slots beyond `keep` to the store, those unused for longest first, but at most `maximum`.
    /// Returns their number.
    pub fn shrink(&mut self, keep: usize, maximum: usize) -> usize {
        let excess = self.free.len().saturating_sub(keep).min(maximum);
        let issued = &mut self.issued;
        slab::give_back(self.free.drain(..excess).inspect(|slot| forget(issued, slot)));
        excess
    }

    /// The number of slots, in use or not.
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

    /// The number of slots in use.
    pub fn used(&self) -> usize {
        self.issued.len() - self.free.len() - self.stale.len()
    }

    /// All slots, in use or not, in no order.
    pub fn slots(&self) -> impl Iterator<Item = Slot> {
        self.issued.values().map(|(slot, _)| *slot)
    }

    /// Returns a slot to the pool.
    ///
    /// # Safety
    /// Nothing uses it any more, except that the caller may be running on it: then it must switch
    /// to another stack, and never back, before the pool is called again.
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
