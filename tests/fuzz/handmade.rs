//! Handmade inputs of the bodies over stores and over what is said: one of each kind that there is, and what lies.

use ckptfs::base::clock::Time;
use ckptfs::base::id::ChunkId;
use ckptfs::catalog::keys;
use ckptfs::catalog::records::{Body, Content, Dentry, Home, Inode, Sealed};
use ckptfs::journal;
use ckptfs::version::record::{Expired, Pending, Run, Version};

type Named = Vec<(String, Vec<u8>)>;

fn named<const N: usize>(inputs: [(&str, Vec<u8>); N]) -> Named {
    inputs.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect()
}

/// Pieces as the bodies take them apart.
fn pieces(pieces: &[(u8, &[u8])]) -> Vec<u8> {
    let one =
        |(kind, bytes): &(u8, &[u8])| [&[*kind], &(bytes.len() as u16).to_le_bytes()[..], bytes].concat();
    pieces.iter().flat_map(one).collect()
}

/// The payload of a record.
fn payload(body: &journal::Body) -> Vec<u8> {
    body.encode().unwrap()[journal::record::RECORD_HEADER_LEN..].to_vec()
}

pub(super) fn journals() -> Named {
    let opened = payload(&journal::Body::Opened { boot: [9; 16], time: Time { secs: 5, nanos: 6 } });
    let ops = vec![(b"ikey".to_vec(), Some(b"value".to_vec())), (b"dkey".to_vec(), None)];
    let batch = payload(&journal::Body::Batch { ops: ops.clone() });
    let tentative = payload(&journal::Body::Tentative { ops, note: b"note".to_vec() });
    let barrier = payload(&journal::Body::Barrier { upto: 3 });
    let records: [(u8, &[u8]); 5] = [(1, &opened), (3, &batch), (4, &tentative), (5, &barrier), (2, &[])];
    let (torn, gap): (Vec<_>, Vec<_>) = (
        [&records[..3], &[(10, &batch[..9])], &records[3..]].concat(),
        [&records[..2], &[(14 | 2 << 6, &[]), (3, &batch), (3 | 1 << 6, &batch)]].concat(),
    );
    let entries = [&4_u32.to_le_bytes()[..], b"akey", &1_u32.to_le_bytes(), b"v"].concat();
    let later = [&4_u32.to_le_bytes()[..], b"bkey", &0_u32.to_le_bytes()].concat();
    named([
        ("whole", [&[0][..], &pieces(&records)].concat()),
        ("torn", [&[0][..], &pieces(&torn)].concat()),
        ("torn-after-a-reboot", [&[4][..], &pieces(&torn)].concat()),
        ("a-gap", [&[0][..], &pieces(&gap)].concat()),
        ("a-gap-that-is-covered", [&[4 | 9 << 3][..], &pieces(&gap)].concat()),
        ("export", [&[1][..], &pieces(&[(1, &entries), (1, &later)])].concat()),
        ("export-out-of-order", [&[1][..], &pieces(&[(1, &later), (1, &entries)])].concat()),
        ("raw", [&[2][..], b"ckptjrnl", &[1, 0, 0, 0, 3, 0, 0, 0]].concat()),
        ("one-record", [&[3, 3][..], &batch].concat()),
    ])
}

pub(super) fn packs() -> Named {
    let text = b"step 1 loss 0.5\n".repeat(6);
    let blobs: [(u8, &[u8]); 4] = [(0, &text), (1, &text), (0, b"another"), (3, b"of another name")];
    let footer: (u8, &[u8]) = (6, &[]);
    let index = |bits: u8, lie: u8| {
        let mut bytes = vec![1, bits, 2, lie];
        for n in 0..9_u8 {
            bytes.extend([n.wrapping_mul(57); 32]);
            bytes.extend([n, 0, 0, 0, 20, 0, 0, 0, 99, 0, 0, 0, 40, 0, 0, n & 0x80]);
        }
        bytes
    };
    named([
        ("with-footer", [&[0][..], &pieces(&[&blobs[..], &[footer]].concat())].concat()),
        ("without-footer", [&[0][..], &pieces(&blobs)].concat()),
        (
            "noise-between",
            [&[0][..], &pieces(&[blobs[0], (4, b"CKB1CKB1 noise"), blobs[2], footer])].concat(),
        ),
        (
            "compressed-lie",
            [&[0][..], &pieces(&[(2 | 1 << 3, &text), (2 | 2 << 3, &text), (0x80, &text)])].concat(),
        ),
        ("two-footers", [&[0][..], &pieces(&[blobs[0], footer, blobs[2], footer])].concat()),
        ("index", index(2, 0)),
        ("index-that-lies", index(3, 5)),
        ("raw-pack", [&[2][..], b"CKPTPACK\x02\0\0\0\x01\0\0\0"].concat()),
        ("raw-index", [&[3][..], b"CKPTINDX", &[0xff; 40]].concat()),
    ])
}

fn inode(body: Body, name: &[u8]) -> Vec<u8> {
    let time = Time { secs: 1_700_000_000, nanos: 5 };
    let home = Some(Home { parent: 7, name: name.to_vec() });
    let (atime, mtime, ctime, btime) = (time, time, time, time);
    let made = Inode {
        ino: 9,
        mode: 0o100_644,
        uid: 1,
        gid: 2,
        nlink: 1,
        rdev: 0,
        atime,
        mtime,
        ctime,
        btime,
        xattrs: 1,
        daemon_only: false,
        home,
        body,
    };
    [&[0], &made.encode()[..]].concat()
}

fn json(what: u8, value: &impl serde::Serialize) -> Vec<u8> {
    [&[what], &serde_json::to_vec(value).unwrap()[..]].concat()
}

fn version(path: &str) -> Version {
    Version {
        number: 4,
        time: (1_700_000_000, 7),
        trigger: "quiet".into(),
        path: path.into(),
        complete: true,
        valid: false,
        why: vec!["model.pt: cut".into()],
        step: Some(100),
        epoch: Some(2),
        metrics: [("loss".to_owned(), 0.1 + 0.2), ("acc".to_owned(), 1e-300)].into(),
        files: 1,
        logical_bytes: 2048,
        new_bytes: 10,
        tree: ChunkId([3; 32]),
        about: Some(ChunkId([4; 32])),
        tags: vec!["good".into()],
        pinned: true,
        kept_for_ever: false,
        provenance: None,
        origin: None,
        expired: Some(Expired { at: 5, by_hand: true, why: "by hand".into() }),
    }
}

pub(super) fn records() -> Named {
    let sealed = Sealed { id: ChunkId([7; 32]), size: 1 << 40, blocks: 8 };
    let run = Run { dir: Some(9), path: "exp/a\\\\b\\xff".into(), next: 4, ..Run::default() };
    let up = Run { path: "a/../../etc".into(), ..Run::default() };
    let holder = br#"{"host":"node\u001b[2J","pid":7,"mountpoint":"/mnt/runs","since":"now"}"#;
    named([
        ("inode-file", inode(Body::File(Content::Both(4, sealed)), b"model.pt")),
        ("inode-dir", inode(Body::Dir { parent: 1, entries: 5 }, b"exp")),
        ("inode-link", inode(Body::Symlink(b"../a".to_vec()), b"link")),
        ("inode-named-up", inode(Body::Special, b"..")),
        ("entry", [&[1], &Dentry { ino: 9, kind: 0o100_000 }.encode()[..]].concat()),
        ("run", json(2, &run)),
        ("run-that-leads-up", json(2, &up)),
        ("version", json(3, &version("exp/a"))),
        ("version-that-leads-up", json(3, &version("../a"))),
        (
            "moment",
            json(4, &Pending { trigger: "quiet".into(), tag: Some("t".into()), ..Pending::default() }),
        ),
        ("holder", [&[5], &holder[..]].concat()),
        ("key-entry", [&[6], &keys::dentry(7, b"name")[..]].concat()),
        ("key-entry-up", [&[6], &keys::dentry(7, b"..")[..]].concat()),
        ("key-saved", [&[6], &keys::saved(3, &keys::dentry(7, b"a/b"))[..]].concat()),
        ("path", [&[7], &b"a\\x\xff/\\\\b\x1b"[..]].concat()),
    ])
}

pub(super) fn lines() -> Named {
    let deep = [&[0][..], &[b'['; 3000]].concat();
    let requests = [
        ("status", r#"{"request":"status"}"#),
        ("unmount", r#"{"request":"unmount","wait":true}"#),
        (
            "log",
            r#"{"request":"command","command":{"do":"log","at":{"path":"../../etc"},"limit":3,"removed":true}}"#,
        ),
        (
            "set",
            r#"{"request":"command","command":{"do":"policy_set","at":null,"settings":[["monitor","a\nb"]]}}"#,
        ),
        (
            "tag",
            r#"{"request":"command","command":{"do":"tag","at":"only","version":"1","name":"a/../b\u001b"}}"#,
        ),
    ];
    let replies = [
        ("reply-error", r#"{"error":{"message":"\u001b[2J","errno":-7}}"#),
        ("reply-status", r#"{"status":{"pid":7,"health":"ok","ratio":0.30000000000000004}}"#),
        ("reply-part", r#"{"part":{"text":"\ud83e\udd80"}}"#),
    ];
    let with = |what: u8| {
        move |(name, text): &(&str, &str)| ((*name).to_owned(), [&[what], text.as_bytes()].concat())
    };
    let mut found: Named = requests.iter().map(with(0)).collect();
    found.extend(replies.iter().map(with(1)));
    found.push(("deep".into(), deep));
    found.push(("answer".into(), [&[2][..], br#"{"runs":[]}"#].concat()));
    found.push(("half".into(), [&[3][..], b"{\"request\":\"status\"}\n{\"request\":"].concat()));
    found
}

pub(super) fn settings() -> Named {
    let texts: [(&str, u8, &str); 10] = [
        (
            "toml",
            0,
            "settle = \"9s\"\nthreads = 3\nro = true\nmonitor = \"loss\"\nkeep_best = 2\nhot = \"../x\"\n",
        ),
        ("toml-deep", 0, "a = [[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]\n[b.c.d]\n"),
        ("list", 1, r"rw,_netdev,settle=5s,run=exp/*:a\:b,fsname=a\,b,snapdir_name=.h"),
        ("list-control", 1, "fsname=a\u{1b}[2J,settle=\n"),
        ("changed", 2 | 3 << 3, "# a comment\nsettle = \"1s\"\n[table]\n\0\"7\""),
        ("changed-quote", 2 | 5 << 3, "monitor = \"a\"\n\0l\"o\\ss"),
        ("policy", 3, "keep_steps\u{0}100:200:300"),
        ("glob", 4, "exp/**/[a-c]*?/{x,y}\0exp/1/2/b7z/y"),
        ("name", 5, "epoch=12-step=000345-val_loss=0.25.ckpt\0model-00002-of-00003"),
        (
            "marker",
            6,
            "checkpoint\0model_checkpoint_path: \"ckpt-5\"\nall_model_checkpoint_paths: \"ckpt-5\"\n",
        ),
    ];
    texts
        .iter()
        .map(|(name, what, text)| ((*name).to_owned(), [&[*what], text.as_bytes()].concat()))
        .collect()
}
