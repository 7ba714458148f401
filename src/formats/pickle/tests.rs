//! What the machine makes of each construct, and that its limits hold.

use std::time::{Duration, Instant};

use super::*;
use crate::formats::read::Reader;
use crate::formats::samples::{Bytes, Huge};

fn tree(bytes: &[u8]) -> Tree {
    read(&mut Reader::new(&Bytes::new(bytes), 0, u64::MAX), Limits::FACTS).unwrap()
}

/// A value as text, down to a few levels.
fn shown(tree: &Tree, id: Id, depth: usize) -> String {
    let row = |items: &[Id]| items.iter().map(|id| shown(tree, *id, depth + 1)).collect::<Vec<_>>().join(",");
    let pairs = |id: Id| {
        let pair = |(key, value): &(Id, Id)| {
            format!("{}:{}", shown(tree, *key, depth + 1), shown(tree, *value, depth + 1))
        };
        tree.pairs(id).iter().map(pair).collect::<Vec<_>>().join(",")
    };
    match tree.node(id) {
        _ if depth > 5 => "...".into(),
        Node::None => "None".into(),
        Node::Bool => "bool".into(),
        Node::Int(number) => number.to_string(),
        Node::Float(number) => format!("{number:?}"),
        Node::Text(text) => format!("'{text}'"),
        Node::Bytes(bytes) => format!("b{}", bytes.len()),
        Node::Global(..) => tree.global(id).map_or("?".into(), |(module, name)| format!("{module}.{name}")),
        Node::Row(items) => format!("[{}]", row(items)),
        Node::Dict(_) => format!("{{{}}}", pairs(id)),
        Node::Object(_) => {
            let (module, name, args) = tree.call(id).unwrap_or(("?", "?", &[]));
            let state = tree.state(id).map(|state| shown(tree, state, depth + 1)).unwrap_or_default();
            format!("{module}.{name}({}){{{}}}{state}", row(args), pairs(id))
        }
        Node::Persistent(name) => format!("@{}", shown(tree, *name, depth + 1)),
        Node::Opaque => "?".into(),
    }
}

fn said(bytes: &[u8]) -> String {
    let tree = tree(bytes);
    assert_eq!(tree.ended, Ended::Stop, "{bytes:?}");
    shown(&tree, tree.root, 0)
}

#[test]
fn each_construct_is_read_as_data() {
    for (pickle, wanted) in [
        (&b"\x80\x02}(X\x01\0\0\0aK\x01X\x01\0\0\0bJ\xff\xff\xff\xffu."[..], "{'a':1,'b':-1}"),
        (b"(lp0\nI1\naI01\naL-5L\naF1.5\naS'x'\na.", "[1,bool,-5,1.5,'x']"),
        (b"(dp0\nV\xc3\xa9\np1\nI7\nsg1\nNs.", "{'\u{e9}':7,'\u{e9}':None}"),
        (
            b"\x8a\x01\x80\x8a\x02\xff\0\x8b\x09\0\0\0\x01\x01\x01\x01\x01\x01\x01\x01\x01\x87.",
            "[-128,255,?]",
        ),
        (b"G\x3f\xf8\0\0\0\0\0\0C\x03abc\x88\x87.", "[1.5,b3,bool]"),
        (b"(K\x01K\x022t.", "[1,2,2]"),
        (b"K\x01K\x020.", "1"),
        (b"K\x01(K\x02K\x031.", "1"),
        (b"ccollections\nOrderedDict\n)R(X\x01\0\0\0aK\x01u.", "collections.OrderedDict(){'a':1}"),
        (b"cos\nsystem\n(S'ls'\ntR.", "os.system('ls'){}"),
        (b"\x8c\x01m\x8c\x01C\x93)\x81}\x8c\x01xK\x05sb.", "m.C(){}{'x':5}"),
        (b"(cm\nC\nK\x01o(im\nD\n\x86.", "[m.C(1){},m.D(){}]"),
        (b"cm\nC\n)}\x92.", "m.C(){}"),
        (b"\x8c\x01k\x94Q0h\0Q.", "@'k'"),
        (b"\x8f(K\x01\x90(K\x02\x91\x86.", "[[1],[2]]"),
        (b"\x82\x01\x97\x98\x86.", "[?,?]"),
        // What all small numbers and empty tuples share must not be changed through one of them.
        (b")K\x01a).", "[]"),
        (b"]\x94h\0a.", "[[[[[[..."),
    ] {
        let said = said(pickle);
        assert!(said == wanted || said.starts_with(wanted), "{said}, not {wanted}");
    }
    assert_eq!(tree(b"\x8c\x01kQ\x8c\x01mQ\x86.").persistent.len(), 2);
}

#[test]
fn what_does_not_fit_the_stack_is_malformed_and_what_ends_early_is_cut() {
    for bad in [
        &b"."[..],
        b"0",
        b"u",
        b"}u",
        b"a",
        b"R",
        b"K\x01R",
        b"h\x05",
        b"t",
        b"\xff",
        b"gx\n",
        b"I x\n\xee",
        b"(o",
    ] {
        assert_eq!(tree(bad).ended, Ended::Malformed, "{bad:?}");
    }
    for cut in [&b""[..], b"K", b"X\xff\0\0\0ab", b"cos\n", b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff", b"N"] {
        assert_eq!(tree(cut).ended, Ended::Cut, "{cut:?}");
    }
}

#[test]
fn a_long_string_is_passed_over_and_not_read() {
    let head = b"\x80\x04\x8e\0\0\0\0\x10\0\0\0".to_vec();
    let source = Huge { head, len: (64 << 30) + 12, fill: b'.' };
    let tree = read(&mut Reader::new(&source, 0, u64::MAX), Limits::FACTS).unwrap();
    assert_eq!(tree.ended, Ended::Stop);
    assert!(matches!(tree.node(tree.root), Node::Opaque));
}

#[test]
fn every_limit_holds_and_comes_soon() {
    for fill in [
        &b"N"[..],
        b"(",
        b"2",
        b"]",
        b"\x94",
        b"Q",
        b"K\x01",
        b"J\xff\xff\xff\xff",
        b"\x8c\x02ab",
        b"h\0",
        b"2s",
    ] {
        let begin = Instant::now();
        let bytes = [b"\x80\x04\x8c\x01a\x94", &fill.repeat((20 << 20) / fill.len())[..]].concat();
        let tree = tree(&bytes);
        assert!(matches!(tree.ended, Ended::Limit | Ended::Malformed), "{fill:?}: {:?}", tree.ended);
        assert!(tree.ids().count() <= (1 << 20) + 2);
        assert!(begin.elapsed() < Duration::from_secs(10), "{fill:?} took {:?}", begin.elapsed());
    }
}

#[test]
fn what_was_at_the_top_before_a_limit_is_kept() {
    let top = b"\x80\x04}(\x8c\x04stepK\x07\x8c\x05model}(";
    let bytes = [&top[..], &b"J\xff\xff\xff\x7fN".repeat(1 << 20)].concat();
    let tree = tree(&bytes);
    assert_eq!(tree.ended, Ended::Limit);
    assert_eq!(tree.get(tree.root, "step").and_then(|id| tree.int(id)), Some(7));
}

#[test]
fn only_a_protocol_before_an_opcode_begins_a_pickle() {
    assert!(begins(b"\x80\x04\x95\0\0") && begins(LEGACY_TORCH) && begins(b"\x80\x02}q\0."));
    assert!(!begins(b"\x80\x06\x95") && !begins(b"\x80\x02") && !begins(b"\x80\x02\xff") && !begins(b""));
}
