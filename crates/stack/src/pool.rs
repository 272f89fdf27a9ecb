//! A thread's free stacks, the warmest last.

use crate::slab::{self, Slot, StackError};
use std::collections::VecDeque;

/// Free slots of one thread. Getting and returning one is a pop or a push.
///
/// A slot that comes back keeps its memory, so that the next user finds it warm. Two things bound
/// what idle stacks cost: beyond [`WARM`] the coldest go back to the process-wide store, which
/// gives their memory to the system; and every [`TRIM`]-th return gives back what lies deeper than
/// [`SHALLOW`], in case somebody recursed deeply there.
pub struct Pool {
    free: VecDeque<Slot>,
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
    pub const fn new() -> Self {
        Self { free: VecDeque::new(), stale: Vec::new(), size: 0, returns: 0 }
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
        slab::give_back(self.stale.drain(..));
        if self.size != slab::size() {
            slab::give_back(self.free.drain(..));
            self.size = slab::size();
        }
        if self.free.is_empty() {
            self.free.extend(slab::take(BATCH)?);
        }
        Ok(self.free.pop_back().expect("take returns at least one"))
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
            slab::give_back(self.free.drain(..BATCH));
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
        slab::give_back(self.stale.drain(..).chain(self.free.drain(..)));
    }
}
