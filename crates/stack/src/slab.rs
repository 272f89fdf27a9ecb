//! Slabs: large pieces of address space, cut into slots of one C stack each.
//!
//! ```text
//!   slab (one mmap, nothing of it is memory before it is touched)
//!   ┌──────────┬──────────┬──────────┬─ ...                    ─┐
//!   │ slot 0   │ slot 1   │ slot 2   │      up to 1,024 slots   │
//!   └──────────┴──────────┴──────────┴─ ...                    ─┘
//!
//!   one slot                                             the page that is touched first
//!   ┌───────────┬──────────────────────────────────────────┬──────────┬──────────────────┐
//!   │ guard     │                            <── C stack   │ C ╎ room │  room ──>        │
//!   │ 64 KiB    │   `size` bytes                           │   ╎      │  size / 16       │
//!   └───────────┴──────────────────────────────────────────┴───╎──────┴──────────────────┘
//!   low                                                       top                     high
//! ```
//!
//! The C stack grows down from `top`, the client's room grows up from it. Both begin in the same
//! page, so a tasklet that needs little of either costs one page of 4 KiB. The offset of `top` differs
//! from slot to slot: slots are an odd number of pages apart, and `top` moves within its page, so
//! that the most used cache lines of a thousand stacks do not evict one another.
//!
//! A C function that runs past the end of its stack touches the guard: the process ends with
//! SIGSEGV, as it does at the end of an ordinary thread's stack. Guards are made with
//! MADV_GUARD_INSTALL (Linux 6.13), which does not split the mapping; older kernels need mprotect,
//! and end with [`StackError::Mappings`] near 32,000 stacks, half of vm.max_map_count.

use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

const PAGE: usize = 4096;
const GUARD: usize = 64 << 10;
/// The minimum size of a C stack: about what CPython needs on platforms with small stacks.
const MINIMUM_SIZE: usize = 64 << 10;
const SLOTS: usize = 1024;
/// The usual size of a main thread's stack: recursion through C goes as deep as there.
const DEFAULT_SIZE: usize = 8 << 20;
/// The part of the first page that belongs to the C stack. A tasklet that is blocked in Python code uses some
/// 700 bytes of C stack, and what a scheduler call needs besides (without a collection) fits in the rest.
const STACK_SHARE: usize = 2048;
const COLOURS: usize = 8;

const MADV_GUARD_INSTALL: libc::c_int = 102;

/// The size of C stacks and their maximum number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of address space for one C stack.
    pub size: usize,
    /// The maximum number of stacks of this process, those in pools included.
    pub count: usize,
}

/// Why there is no stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StackError {
    /// [`Limits::count`] stacks exist.
    Limit(usize),
    /// The system has no more address space.
    AddressSpace,
    /// The system allows no more mappings (vm.max_map_count), which guards need on this kernel.
    Mappings,
    /// No memory for the records of the pool or the store.
    Memory,
}

impl std::fmt::Display for StackError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Limit(count) => {
                write!(f, "all {count} stacks exist, in use or kept warm (set_stack_limits raises the limit)")
            }
            Self::Memory => write!(f, "no memory is left"),
            Self::AddressSpace => write!(f, "no address space is left for another stack"),
            Self::Mappings => write!(
                f,
                "this kernel has no MADV_GUARD_INSTALL (Linux 6.13), and vm.max_map_count is exhausted by stack guards"
            ),
        }
    }
}

/// One C stack with its guard and its room. Copying it copies the address, not the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    top: NonNull<u8>,
    size: usize,
}

// SAFETY: a slot is an address; the pool decides which code may use the memory behind it.
unsafe impl Send for Slot {}

impl Slot {
    /// Where the C stack ends and the room begins; aligned to 64 bytes.
    #[inline]
    pub fn top(self) -> *mut u8 {
        self.top.as_ptr()
    }

    /// Bytes of room above `top`, at least.
    #[inline]
    pub fn room(self) -> usize {
        room(self.size)
    }

    /// Bytes of C stack below `top`, at least.
    #[inline]
    pub fn size(self) -> usize {
        self.size
    }

    /// The lowest address of the C stack, just above the guard.
    fn floor(self) -> *mut u8 {
        let first_page = self.top().addr() & !(PAGE - 1);
        (first_page - self.size) as *mut u8
    }

    /// Gives the memory of an unused slot back to the system, but for the last `keep` bytes of C stack.
    /// What is given back reads as zero when it is touched again.
    ///
    /// # Safety
    /// Nothing below `top - keep` (and, if `keep` is 0, in the whole slot) is needed any more.
    pub(crate) unsafe fn discard(self, keep: usize) {
        let floor = self.floor() as usize;
        let first_page = self.top().addr() & !(PAGE - 1);
        let end =
            if keep == 0 { first_page + PAGE + room(self.size) } else { first_page - keep.min(self.size) };
        // SAFETY: the range lies within the slot, and its content is not needed. A failure only
        // means that the memory stays.
        unsafe { libc::madvise(floor as *mut _, end - floor, libc::MADV_DONTNEED) };
    }
}

fn room(size: usize) -> usize {
    (size / 16).clamp(4 * PAGE, 512 << 10) & !(PAGE - 1)
}

/// The distance between two slots: an odd number of pages.
fn stride(size: usize) -> usize {
    let bytes = GUARD + size + PAGE + room(size);
    bytes + if (bytes / PAGE).is_multiple_of(2) { PAGE } else { 0 }
}

/// The process's slots that no pool holds, and the slab that is being cut.
struct Store {
    limits: Limits,
    /// The number of slots in pools and in use.
    issued: usize,
    free: Vec<Slot>,
    slab: *mut u8,
    cut: usize,
    slots: usize,
    slab_size: usize,
}

// SAFETY: the raw pointer is an address of a mapping that is never unmapped.
unsafe impl Send for Store {}

static STORE: Mutex<Store> = Mutex::new(Store {
    limits: Limits { size: DEFAULT_SIZE, count: 16 << 20 },
    issued: 0,
    free: Vec::new(),
    slab: std::ptr::null_mut(),
    cut: 0,
    slots: 0,
    slab_size: 0,
});

/// A copy of the size in [`STORE`]'s limits, to be read without the lock.
static SIZE: AtomicUsize = AtomicUsize::new(DEFAULT_SIZE);

static GUARD_BY_MPROTECT: AtomicBool = AtomicBool::new(false);

fn store() -> std::sync::MutexGuard<'static, Store> {
    STORE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The limits in force.
pub fn limits() -> Limits {
    store().limits
}

/// True if this kernel uses pages of the size that the layout of slots is made for.
pub fn page_size_fits() -> bool {
    // SAFETY: callable from anywhere.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) == PAGE as libc::c_long }
}

/// The stack size in force.
#[inline]
pub(crate) fn size() -> usize {
    SIZE.load(Relaxed)
}

/// Changes the limits. The size is that of stacks handed out from now on; it is rounded up to whole
/// pages. Refused below 64 KiB, above 1 GiB, and for a count of 0.
pub fn set_limits(new: Limits) -> Result<(), &'static str> {
    if new.size < MINIMUM_SIZE {
        return Err("a stack size must be at least 65536 bytes");
    }
    if new.size > 1 << 30 {
        return Err("a stack size must be at most 1073741824 bytes");
    }
    if new.count == 0 {
        return Err("a stack count must be at least 1");
    }
    let mut store = store();
    store.limits = Limits { size: new.size.next_multiple_of(PAGE), count: new.count };
    SIZE.store(store.limits.size, Relaxed);
    Ok(())
}

/// Gives `add` up to `want` slots of the current size, at least one.
pub(crate) fn take(want: usize, mut add: impl FnMut(Slot)) -> Result<(), StackError> {
    let mut store = store();
    let Limits { size, count } = store.limits;
    let want = want.min(count.saturating_sub(store.issued));
    if want == 0 {
        return Err(StackError::Limit(count));
    }
    // All of them may be returned.
    let maximum = store.issued + want;
    store.free.try_reserve(maximum).map_err(|_| StackError::Memory)?;
    let mut taken = 0;
    while taken < want {
        let slot = match store.free.iter().rposition(|s| s.size == size) {
            Some(at) => store.free.swap_remove(at),
            None => match store.cut_slot(size) {
                Ok(slot) => slot,
                Err(_) if taken > 0 => break,
                Err(error) => return Err(error),
            },
        };
        add(slot);
        taken += 1;
    }
    store.issued += taken;
    Ok(())
}

/// Returns unused slots to the store.
pub(crate) fn give_back(slots: impl Iterator<Item = Slot>) {
    let mut store = store();
    for slot in slots {
        // SAFETY: nothing uses the slot.
        unsafe { slot.discard(0) };
        store.issued -= 1;
        store.free.push(slot);
    }
}

impl Store {
    fn cut_slot(&mut self, size: usize) -> Result<Slot, StackError> {
        if self.cut == self.slots || self.slab_size != size {
            // What is left of a slab of another size stays address space, which costs nothing.
            (self.slab, self.slots) = map_slab(size)?;
            (self.cut, self.slab_size) = (0, size);
        }
        // SAFETY: the slot lies within the slab.
        let low = unsafe { self.slab.add(self.cut * stride(size)) };
        guard(low)?;
        // The coarser half of the colour comes from the odd stride, this is the finer one.
        let shift = STACK_SHARE + 64 * (self.cut % COLOURS);
        self.cut += 1;
        let top = NonNull::new(low.wrapping_add(GUARD + size + shift)).expect("a slot is not at address 0");
        let slot = Slot { top, size };
        known_to_valgrind(slot.floor(), slot.top());
        Ok(slot)
    }
}

/// Maps as many slots as the system gives in one piece, up to 1,024.
fn map_slab(size: usize) -> Result<(*mut u8, usize), StackError> {
    let mut slots = SLOTS;
    loop {
        let length = slots * stride(size);
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches nothing else.
        let slab = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK,
                -1,
                0,
            )
        };
        if slab != libc::MAP_FAILED {
            // SAFETY: the mapping is ours. Neither advice is needed for correctness: with huge pages
            // one touched stack would cost 2 MiB, and core dumps of 8 GiB slabs are of no use.
            unsafe {
                libc::madvise(slab, length, libc::MADV_NOHUGEPAGE);
                libc::madvise(slab, length, libc::MADV_DONTDUMP);
            }
            return Ok((slab.cast(), slots));
        }
        if slots == 1 {
            return Err(StackError::AddressSpace);
        }
        slots /= 4;
    }
}

/// Tells valgrind, if we run in it, that this is a C stack: from its lowest to behind its highest address.
#[cfg(feature = "valgrind")]
pub fn known_to_valgrind(low: *mut u8, top: *mut u8) {
    unsafe extern "C" {
        fn sl_register_stack(low: *mut u8, high: *mut u8);
    }
    // SAFETY: addresses to remember, no more.
    unsafe { sl_register_stack(low, top) }
}

/// Built without the feature `valgrind`: does nothing.
#[cfg(not(feature = "valgrind"))]
pub fn known_to_valgrind(_: *mut u8, _: *mut u8) {}

/// True if guards need no memory mapping each (MADV_GUARD_INSTALL).
pub fn guards_are_free() -> bool {
    // SAFETY: a new mapping, which no other code knows.
    unsafe {
        let (read, private) = (libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let at = libc::mmap(std::ptr::null_mut(), PAGE, read, private, -1, 0);
        if at == libc::MAP_FAILED {
            return !GUARD_BY_MPROTECT.load(Relaxed);
        }
        let done = libc::madvise(at, PAGE, MADV_GUARD_INSTALL) == 0;
        libc::munmap(at, PAGE);
        done
    }
}

fn guard(low: *mut u8) -> Result<(), StackError> {
    if !GUARD_BY_MPROTECT.load(Relaxed) {
        // SAFETY: the guard's range was just cut from our slab and holds nothing.
        if unsafe { libc::madvise(low.cast(), GUARD, MADV_GUARD_INSTALL) } == 0 {
            return Ok(());
        }
        // SAFETY: callable from anywhere.
        if unsafe { *libc::__errno_location() } != libc::EINVAL {
            return Err(StackError::AddressSpace); // the kernel has no memory for it at the moment
        }
        GUARD_BY_MPROTECT.store(true, Relaxed);
    }
    // SAFETY: as above.
    match unsafe { libc::mprotect(low.cast(), GUARD, libc::PROT_NONE) } {
        0 => Ok(()),
        _ => Err(StackError::Mappings),
    }
}
