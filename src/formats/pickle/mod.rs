//! Pickles, read as data: a stack machine that builds a bounded tree and never imports or calls anything.
//!
//! What a pickle would make by a call stays a note of that call, [`Node::Object`]. The limits hold for any input. What was
//! built before a limit is still there to be looked at; long strings are passed over unread.

mod machine;
mod op;
#[cfg(test)]
mod tests;
mod tree;

pub(super) use machine::read;
pub(super) use op::{Arg, Ops};
pub(super) use tree::{Ended, Id, Node, Tree};

/// How much of a pickle is read.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Nodes built, and places on the stack and in the memo.
    nodes: usize,
    /// Opcodes and kept strings, in bytes.
    bytes: u64,
}

impl Limits {
    /// For a few facts, and to see that all is there: 32 MiB of nodes.
    pub(super) const FACTS: Limits = Limits { nodes: 1 << 20, bytes: 16 << 20 };
    /// For the names of every tensor, a few hundred thousand of them: 128 MiB of nodes.
    pub(super) const TABLE: Limits = Limits { nodes: 1 << 22, bytes: 64 << 20 };

    /// The opcodes that are read, in bytes.
    pub(super) fn bytes(self) -> u64 {
        self.bytes
    }
}

/// How a pickle of protocol 2 or later begins: its protocol, then an opcode.
pub(super) fn begins(head: &[u8]) -> bool {
    matches!(head, [0x80, 2..=5, next, ..] if op::is_opcode(*next))
}

/// How `torch.save` began before 1.6: a pickle of the number 0x1950a86a20f9469cfc6c.
pub(super) const LEGACY_TORCH: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
