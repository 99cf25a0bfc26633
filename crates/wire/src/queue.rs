//! Memory of queues whose length peers decide: how it grows, and when it is given back.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};

/// The length from which a queue grows by a quarter instead of doubling, and gives memory back.
const LONG: usize = 1_024;

/// A queue that takes at most a quarter more memory than its longest recent contents. Short ones keep
/// their memory, so that pushing and popping in turn allocates nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Queue<T>(VecDeque<T>);

impl<T> Queue<T> {
    /// Appends an element.
    #[inline]
    pub fn push_back(&mut self, element: T) {
        self.make_room();
        self.0.push_back(element);
    }

    /// Puts an element in front of all others.
    pub fn push_front(&mut self, element: T) {
        self.make_room();
        self.0.push_front(element);
    }

    /// Takes the first element out.
    #[inline]
    pub fn pop_front(&mut self) -> Option<T> {
        let element = self.0.pop_front();
        if self.0.capacity() > LONG {
            self.give_back();
        }
        element
    }

    fn give_back(&mut self) {
        if self.0.len() < self.0.capacity() / 4 {
            self.0.shrink_to((self.0.capacity() / 2).max(LONG));
        }
    }

    #[inline]
    fn make_room(&mut self) {
        if self.0.len() == self.0.capacity() {
            self.grow();
        }
    }

    #[cold]
    fn grow(&mut self) {
        let len = self.0.len();
        if len >= LONG {
            self.0.reserve_exact(len / 4);
        }
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Deref for Queue<T> {
    type Target = VecDeque<T>;

    fn deref(&self) -> &VecDeque<T> {
        &self.0
    }
}

impl<T> DerefMut for Queue<T> {
    fn deref_mut(&mut self) -> &mut VecDeque<T> {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_queue_takes_little_more_memory_than_its_contents() {
        let mut queue = Queue::default();
        for number in 0..100_000 {
            queue.push_back(number);
            assert!(queue.capacity() <= queue.len() + queue.len() / 4 + LONG);
        }
        for number in 0..100_000 {
            assert_eq!(queue.pop_front(), Some(number));
            assert!(queue.capacity() <= 4 * queue.len() + LONG);
        }
    }

    #[test]
    fn a_short_queue_keeps_its_memory() {
        let mut queue = Queue::default();
        (0..LONG).for_each(|number| queue.push_back(number));
        let capacity = queue.capacity();
        while queue.pop_front().is_some() {}
        assert_eq!(queue.capacity(), capacity);
    }
}
