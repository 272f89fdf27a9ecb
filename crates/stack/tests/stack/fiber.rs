//! The smallest thing that one can do with a stack and a switch: a closure that can be suspended.

use crate::Stacks;
use stackless_stack::{Slot, StackError, prepare, switch};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::null_mut;

/// A closure on a stack of its own. If it is dropped in the middle, its stack is not used again.
pub struct Fiber {
    state: *mut State,
    slot: Slot,
    stacks: Stacks,
}

struct State {
    /// Where to continue in the closure, and where outside.
    inside: *mut u8,
    outside: *mut u8,
    body: Option<Box<dyn FnOnce(Here)>>,
    end: Option<Result<(), Box<dyn Any + Send>>>,
}

/// What a closure gets: the way out.
#[derive(Clone, Copy)]
pub struct Here(*mut State);

impl Here {
    /// Comes back at the next [`Fiber::resume`].
    #[inline(always)]
    pub fn suspend(self) {
        // SAFETY: the state lives as long as its fiber, and the outside was left by `resume`.
        unsafe { switch(&raw mut (*self.0).inside, (*self.0).outside) };
    }

    /// Continues `next`, which goes out where this one would have gone.
    pub fn hand_over_to(self, next: &Fiber) {
        // SAFETY: as in `suspend`; the callers see to it that `next` is suspended.
        unsafe {
            (*next.state).outside = (*self.0).outside;
            switch(&raw mut (*self.0).inside, (*next.state).inside);
        }
    }
}

impl Fiber {
    pub fn new(stacks: &Stacks, body: impl FnOnce(Here) + 'static) -> Result<Self, StackError> {
        let slot = stacks.borrow_mut().get()?;
        let body: Option<Box<dyn FnOnce(Here)>> = Some(Box::new(body));
        let state =
            Box::into_raw(Box::new(State { inside: null_mut(), outside: null_mut(), body, end: None }));
        // SAFETY: the slot is ours, and `begin` gets the state that it expects.
        unsafe { (*state).inside = prepare(slot.top(), begin, state.cast()) };
        Ok(Self { state, slot, stacks: stacks.clone() })
    }

    /// Runs the closure until it suspends itself (true) or ends (false). Its panics come out here.
    #[inline(always)]
    pub fn resume(&self) -> bool {
        // SAFETY: the closure is suspended, or has not begun.
        let end = unsafe {
            assert!((*self.state).end.is_none(), "it has ended");
            switch(&raw mut (*self.state).outside, (*self.state).inside);
            (*self.state).end.take()
        };
        match end {
            None => return true,
            Some(Err(panic)) => {
                self.mark_ended();
                resume_unwind(panic)
            }
            Some(Ok(())) => self.mark_ended(),
        }
        false
    }

    fn mark_ended(&self) {
        // SAFETY: the state is ours.
        unsafe { (*self.state).end = Some(Ok(())) };
    }

    pub fn slot(&self) -> Slot {
        self.slot
    }
}

impl Drop for Fiber {
    fn drop(&mut self) {
        // SAFETY: nothing else has the state, and after its end nothing uses the stack.
        unsafe {
            let state = Box::from_raw(self.state);
            if state.end.is_some() || state.body.is_some() {
                self.stacks.borrow_mut().put(self.slot);
            }
        }
    }
}

unsafe extern "C" fn begin(state: *mut u8) -> ! {
    let state = state.cast::<State>();
    // SAFETY: `Fiber::new` passes the state, which outlives the closure's run.
    unsafe {
        let body = (*state).body.take().expect("a fiber begins once");
        (*state).end = Some(catch_unwind(AssertUnwindSafe(|| body(Here(state)))));
        let mut nowhere = null_mut();
        switch(&mut nowhere, (*state).outside);
    }
    unreachable!("nobody continues a fiber that has ended");
}
