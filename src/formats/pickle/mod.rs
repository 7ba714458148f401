//! Pickles, read as data: a stack machine that builds a bounded tree and never imports or calls anything.
//!
//! What a pickle would make by a call stays a note of that call, [`Node::Object`]. The limits hold for any input: 16 MiB
//! of opcodes read, a million nodes, a million places on the stack and in the memo. What was built before a limit is
//! still there to be looked at; long strings are passed over unread.

mod machine;
mod op;
#[cfg(test)]
mod tests;
mod tree;

pub(super) use machine::read;
pub(super) use op::{Arg, Ops};
pub(super) use tree::{Ended, Id, Node, Tree};

/// How a pickle of protocol 2 or later begins: its protocol, then an opcode.
pub(super) fn begins(head: &[u8]) -> bool {
    matches!(head, [0x80, 2..=5, next, ..] if op::is_opcode(*next))
}

/// How `torch.save` began before 1.6: a pickle of the number 0x1950a86a20f9469cfc6c.
pub(super) const LEGACY_TORCH: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
