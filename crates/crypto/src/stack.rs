//! Clearing the stack on which secrets were worked with.
//!
//! A value that is moved, and every call that is given one, leaves its bytes on the stack. So secrets
//! live in boxes, which move as pointers, and what is left by the calls that fill a box is
//! overwritten here.

use std::hint::black_box;
use std::mem::MaybeUninit;

/// The stack that hashes, ciphers and the derivation of keys use, in bytes.
const SHALLOW: usize = 16 * 1024;
/// The stack that X-Wing uses, in bytes.
const DEEP: usize = 128 * 1024;
/// The length of what is overwritten at once, in bytes.
const BLOCK: usize = 1024;

/// Runs `work` and overwrites the stack that its calls used. What `work` returns has to be free of
/// secrets, or to hold them in a box.
#[inline(never)]
pub(crate) fn cleared<T>(work: impl FnOnce() -> T) -> T {
    let value = apart(work);
    overwrite::<SHALLOW>();
    value
}

/// Does the same for work with X-Wing.
#[inline(never)]
pub(crate) fn cleared_deeply<T>(work: impl FnOnce() -> T) -> T {
    let value = apart(work);
    overwrite::<DEEP>();
    value
}

/// Overwrites the stack below the caller. A session does this when its keys have changed, because
/// the cipher leaves its key there.
#[inline(never)]
pub fn clear_stack() {
    overwrite::<SHALLOW>();
}

/// Runs `work` in a frame of its own, which begins where that of [`overwrite`] will.
#[inline(never)]
fn apart<T>(work: impl FnOnce() -> T) -> T {
    work()
}

#[inline(never)]
fn overwrite<const LEN: usize>() {
    let mut area = [const { MaybeUninit::<u8>::uninit() }; LEN];
    for block in area.chunks_mut(BLOCK) {
        block.fill(MaybeUninit::new(0));
        // The compiler may not remove a store that might be read.
        black_box(block);
    }
}
