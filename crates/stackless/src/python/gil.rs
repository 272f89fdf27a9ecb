//! [`Gil`]: a static that is accessed with the GIL held only.

use std::ops::Deref;

/// A value in a static, protected by the GIL. Code of this crate runs with the GIL held; where it releases the GIL
/// (a sleep, a worker thread that waits), it accesses no `Gil` until it has the GIL again.
pub struct Gil<T>(T);

// SAFETY: by the rule above, one thread at a time accesses the value.
unsafe impl<T> Sync for Gil<T> {}

impl<T> Gil<T> {
    pub const fn new(value: T) -> Self {
        Self(value)
    }
}

impl<T> Deref for Gil<T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}
