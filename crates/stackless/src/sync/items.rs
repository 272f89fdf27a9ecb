//! The items of a queue: owned references, first in, first out.

use crate::python::memory;
use crate::python::objects::*;
use pyo3_ffi::*;
use std::cell::UnsafeCell;
use std::collections::VecDeque;
use std::ffi::{c_int, c_void};

/// All zeros are not valid: call [`Items::init`].
pub struct Items(UnsafeCell<VecDeque<Obj>>);

impl Items {
    /// Makes the items of a new object, which are not valid before.
    ///
    /// # Safety
    /// `place` is in an object that no other code knows.
    pub unsafe fn init(place: *mut Self) {
        // SAFETY: the caller's.
        unsafe { place.write(Self(UnsafeCell::new(VecDeque::new()))) }
    }

    /// `f` must not run Python code and not call this function again.
    #[inline(always)]
    pub fn with<R>(&self, f: impl FnOnce(&mut VecDeque<Obj>) -> R) -> R {
        // SAFETY: the GIL, and the rule above.
        f(unsafe { &mut *self.0.get() })
    }

    pub fn len(&self) -> usize {
        self.with(|items| items.len())
    }

    /// Appends an item, which is borrowed.
    #[inline(always)]
    pub fn append(&self, item: Obj) -> Res<()> {
        if self.with(|items| items.len() == items.capacity()) {
            self.grow()?;
        }
        self.with(|items| items.push_back(new_ref(item)));
        Ok(())
    }

    #[cold]
    fn grow(&self) -> Res<()> {
        memory::strictly(|| self.with(|items| items.try_reserve(1))).map_err(|_| memory::no_memory())
    }

    /// Drops all items.
    pub fn clear(&self) {
        let items = self.with(std::mem::take);
        items.into_iter().for_each(drop_ref);
    }

    /// For the collector, which changes nothing while it visits.
    pub fn traverse(&self, visit: visitproc, arg: *mut c_void) -> c_int {
        self.with(|items| {
            // SAFETY: living objects, and the collector's own function.
            items.iter().map(|&item| unsafe { visit(item, arg) }).find(|&result| result != 0).unwrap_or(0)
        })
    }
}
