//! Reuses the memory of packs, because the system provides fresh pages about as slowly as they are
//! encrypted. The number of buffers is bounded: a thread that needs one more waits until an upload
//! ends.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use bytes::BytesMut;

/// A bounded pool of pack buffers.
#[derive(Debug)]
pub struct Buffers {
    most: usize,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    free: Vec<BytesMut>,
    /// Number of buffers in use.
    taken: usize,
}

/// Memory for one pack. When dropped, it returns to its pool.
#[derive(Debug)]
pub(super) struct Buffer {
    pub bytes: BytesMut,
    home: Weak<Buffers>,
}

impl Buffers {
    /// Returns a pool of at most `most` buffers. They are allocated when they are first needed.
    pub fn new(most: usize) -> Arc<Buffers> {
        Arc::new(Buffers { most, state: Mutex::default(), freed: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a buffer of `bytes` bytes with arbitrary content; waits while all are in use.
    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Buffer {
        let all_taken = |state: &mut State| state.taken >= self.most;
        let waited = self.freed.wait_while(self.lock(), all_taken);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.taken += 1;
        let at = state.free.iter().position(|free| free.len() == bytes);
        let free = at.map(|at| state.free.swap_remove(at));
        if free.is_none() && state.free.len() + state.taken > self.most {
            state.free.pop();
        }
        // Pages that the system zeroes cost nothing until they are used.
        let bytes = free.unwrap_or_else(|| BytesMut::zeroed(bytes));
        Buffer { bytes, home: Arc::downgrade(self) }
    }
}

impl Buffer {
    /// Returns a buffer without a pool.
    pub fn single(bytes: usize) -> Buffer {
        Buffer { bytes: BytesMut::zeroed(bytes), home: Weak::new() }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(home) = self.home.upgrade() else { return };
        let mut state = home.lock();
        state.taken -= 1;
        let bytes = std::mem::take(&mut self.bytes);
        if !bytes.is_empty() {
            state.free.push(bytes);
        }
        drop(state);
        home.freed.notify_one();
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
