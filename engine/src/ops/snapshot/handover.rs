//! A value that one thread hands over to another, once ([`Pending`], [`Promised`]), and the locks of a run.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};

/// A value that one thread waits for and another delivers, once.
#[derive(Debug)]
pub(super) struct Pending<T>(Arc<OneShot<T>>);

/// The other end, for the thread that delivers the value. If it is dropped without a value, it delivers the default, so
/// that no thread waits for one that panicked. The run fails in that case.
pub(super) struct Promised<T: Default>(Option<Arc<OneShot<T>>>);

#[derive(Debug)]
struct OneShot<T> {
    value: Mutex<Option<T>>,
    delivered: Condvar,
}

impl<T: Default> Pending<T> {
    /// Returns both ends.
    pub fn new() -> (Pending<T>, Promised<T>) {
        let slot = Arc::new(OneShot { value: Mutex::new(None), delivered: Condvar::new() });
        (Pending(slot.clone()), Promised(Some(slot)))
    }

    /// Waits for the value, and returns the result of `take`.
    pub fn wait<R>(&self, take: impl FnOnce(&mut T) -> R) -> R {
        let guard = lock(&self.0.value);
        let guard = self.0.delivered.wait_while(guard, |value| value.is_none());
        let mut guard = guard.expect(NO_PANIC);
        take(guard.as_mut().expect("it was waited for"))
    }
}

impl<T> Clone for Pending<T> {
    fn clone(&self) -> Self {
        Pending(self.0.clone())
    }
}

impl<T: Default> Promised<T> {
    pub fn deliver(mut self, value: T) {
        self.put(value);
    }

    fn put(&mut self, value: T) {
        if let Some(slot) = self.0.take() {
            *lock(&slot.value) = Some(value);
            slot.delivered.notify_all();
        }
    }
}

impl<T: Default> Drop for Promised<T> {
    fn drop(&mut self) {
        self.put(T::default());
    }
}

/// Why a lock of a run is never poisoned.
pub(super) const NO_PANIC: &str = "no thread of a run panics while it holds a lock";

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect(NO_PANIC)
}
