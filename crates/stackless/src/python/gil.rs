//! [`Gil`]: a static that is reached with the GIL held only.

use std::ops::Deref;

/// A value in a static, protected by the GIL. Code of this crate runs with the GIL held; where it gives the GIL up
/// (a sleep, a worker thread that waits), it reaches no `Gil` until it has the GIL back.
pub struct Gil<T>(T);

// SAFETY: the GIL lets one thread at a time reach the value, by the rule above.
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
