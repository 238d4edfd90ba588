//! Memory for packs, used again: the system hands out fresh pages about as slowly as they are
//! encrypted. And bounded: who wants more waits for an upload to end.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use bytes::BytesMut;

/// Buffers of packs: so many at most.
#[derive(Debug)]
pub struct Buffers {
    most: usize,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    free: Vec<BytesMut>,
    /// Buffers that packs are in.
    taken: usize,
}

/// Memory for one pack. It goes back to where it is from when the pack is not needed any more.
#[derive(Debug)]
pub(super) struct Buffer {
    pub bytes: BytesMut,
    home: Weak<Buffers>,
}

impl Buffers {
    pub fn new(most: usize) -> Arc<Buffers> {
        Arc::new(Buffers { most, state: Mutex::default(), freed: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a buffer of `bytes` bytes, with anything in it; waits while all are taken.
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
        // What is zeroed by the system costs nothing until it is used.
        let bytes = free.unwrap_or_else(|| BytesMut::zeroed(bytes));
        Buffer { bytes, home: Arc::downgrade(self) }
    }
}

impl Buffer {
    /// Memory of no such store.
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
