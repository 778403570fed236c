//! Doubly linked lists through slab records. Equal lifetimes make a FIFO list sorted by expiry, so expiring is
//! O(expired) and refreshing is O(1) (design rule 5).

use core::ops::IndexMut;

use crate::slab::NIL;

/// A record's neighbours in one list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Links {
    prev: u32,
    next: u32,
}

impl Links {
    /// In no list.
    pub(crate) const NONE: Self = Self { prev: NIL, next: NIL };
}

/// A record that can be in the list called `LIST`.
pub(crate) trait Linked<const LIST: u8> {
    fn links_mut(&mut self) -> &mut Links;
}

/// First and last record of a list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fifo<const LIST: u8> {
    head: u32,
    tail: u32,
}

impl<const LIST: u8> Fifo<LIST> {
    pub(crate) const EMPTY: Self = Self { head: NIL, tail: NIL };

    /// The oldest record.
    pub(crate) fn first(&self) -> Option<u32> {
        (self.head != NIL).then_some(self.head)
    }

    /// Appends a record that is in no such list.
    pub(crate) fn push<S>(&mut self, slab: &mut S, number: u32)
    where
        S: IndexMut<u32, Output: Linked<LIST>>,
    {
        *slab[number].links_mut() = Links { prev: self.tail, next: NIL };
        match self.tail {
            NIL => self.head = number,
            tail => slab[tail].links_mut().next = number,
        }
        self.tail = number;
    }

    /// Takes a record out of this list.
    pub(crate) fn unlink<S>(&mut self, slab: &mut S, number: u32)
    where
        S: IndexMut<u32, Output: Linked<LIST>>,
    {
        let Links { prev, next } = core::mem::replace(slab[number].links_mut(), Links::NONE);
        match prev {
            NIL => self.head = next,
            prev => slab[prev].links_mut().next = next,
        }
        match next {
            NIL => self.tail = prev,
            next => slab[next].links_mut().prev = prev,
        }
    }
}
