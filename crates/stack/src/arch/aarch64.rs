//! AArch64, the procedure call standard of Arm (Linux). Tested with the whole extension under an emulator, not on a
//! real processor.

use super::Entry;
use std::arch::{asm, naked_asm};

/// Leaves the running stack, stores its resume point in `*save`, and continues at `resume`.
/// Returns when another stack switches to the stored resume point.
///
/// # Safety
/// `save` is writable. `resume` is the resume point of a stack that was left by this function, or
/// made ready by [`prepare`], and has not been continued since. The code on the other stack may run
/// on this thread.
#[inline(always)]
pub unsafe fn switch(save: *mut *mut u8, resume: *mut u8) {
    // SAFETY: the block saves what it may not clobber (x19, x29) and declares all else clobbered;
    // it moves the stack pointer in balance on the stack that it was entered on. The stack pointer
    // stays aligned to 16 bytes, hence the fourth word.
    unsafe {
        asm!(
            "adr x9, 2f",
            "stp x9, x19, [sp, #-32]!",
            "str x29, [sp, #16]",
            "mov x10, sp",
            "str x10, [x0]",
            "mov sp, x1",
            "ldr x29, [sp, #16]",
            "ldp x9, x19, [sp], #32",
            "br x9",
            "2:",
            inlateout("x0") save => _,
            inlateout("x1") resume => _,
            lateout("x20") _, lateout("x21") _, lateout("x22") _, lateout("x23") _,
            lateout("x24") _, lateout("x25") _, lateout("x26") _, lateout("x27") _,
            lateout("x28") _, lateout("x30") _,
            // The convention preserves only the lower halves of these; here both halves are lost.
            lateout("v8") _, lateout("v9") _, lateout("v10") _, lateout("v11") _,
            lateout("v12") _, lateout("v13") _, lateout("v14") _, lateout("v15") _,
            clobber_abi("C"),
        );
    }
}

/// Makes the stack that ends at `top` ready to be switched to: `entry(argument)` will run on it.
/// Returns the resume point.
///
/// # Safety
/// `top` is aligned to 16 bytes, and 64 writable bytes and the room that `entry` needs lie below it.
pub unsafe fn prepare(top: *mut u8, entry: Entry, argument: *mut u8) -> *mut u8 {
    let resume = top.wrapping_sub(16).cast::<usize>().wrapping_sub(4);
    // SAFETY: the caller guarantees the words below `top`.
    unsafe {
        resume.write(begin as *const () as usize);
        resume.add(1).write(argument as usize); // loaded into x19
        resume.add(2).write(entry as usize); // loaded into x29
        resume.add(3).write(0);
    }
    resume.cast()
}

#[unsafe(naked)]
unsafe extern "C" fn begin() {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_undefined x30",
        "mov x0, x19",
        "mov x9, x29",
        "mov x29, xzr",
        "mov x30, xzr",
        "blr x9",
        "brk #1",
        ".cfi_endproc",
    )
}

/// Asks for `LINES` cache lines from `at` on. Any address will do.
#[inline(always)]
pub fn prefetch<const LINES: usize>(at: *const u8) {
    for line in 0..LINES {
        // SAFETY: a hint; it cannot fault.
        unsafe {
            asm!("prfm pldl1keep, [{0}]", in(reg) at.wrapping_add(64 * line), options(nostack, readonly))
        };
    }
}
