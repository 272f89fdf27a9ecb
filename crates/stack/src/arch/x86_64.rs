//! x86-64, System V calling convention.

use super::Entry;
use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
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
    // SAFETY: the block saves what it may not clobber (rbp, rbx) and declares all else clobbered;
    // it pushes and pops in balance on the stack that it was entered on.
    unsafe {
        asm!(
            "lea rax, [rip + 2f]",
            "push rbp",
            "push rbx",
            "push rax",
            "mov [rdi], rsp",
            "mov rsp, rsi",
            "pop rax",
            "pop rbx",
            "pop rbp",
            "jmp rax",
            "2:",
            inlateout("rdi") save => _,
            inlateout("rsi") resume => _,
            lateout("r12") _, lateout("r13") _, lateout("r14") _, lateout("r15") _,
            clobber_abi("sysv64"),
        );
    }
}

/// Makes the stack that ends at `top` ready to be switched to: `entry(argument)` will run on it.
/// Returns the resume point.
///
/// # Safety
/// `top` is aligned to 16 bytes, and 64 writable bytes and the room that `entry` needs lie below it.
pub unsafe fn prepare(top: *mut u8, entry: Entry, argument: *mut u8) -> *mut u8 {
    let resume = top.wrapping_sub(16).cast::<usize>().wrapping_sub(3);
    // SAFETY: the caller guarantees the words below `top`.
    unsafe {
        resume.write(begin as *const () as usize);
        resume.add(1).write(argument as usize); // popped into rbx
        resume.add(2).write(entry as usize); // popped into rbp
    }
    resume.cast()
}

#[unsafe(naked)]
unsafe extern "C" fn begin() {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_undefined rip",
        "mov rdi, rbx",
        "mov rax, rbp",
        "xor ebp, ebp",
        "call rax",
        "ud2",
        ".cfi_endproc",
    )
}

/// Asks for `LINES` cache lines from `at` on. Any address will do.
#[inline(always)]
pub fn prefetch<const LINES: usize>(at: *const u8) {
    for line in 0..LINES {
        // SAFETY: a hint; it cannot fault.
        unsafe { _mm_prefetch(at.wrapping_add(64 * line).cast(), _MM_HINT_T0) };
    }
}
