//! Which bytes can be the name of a directory entry: everything that is read from a store is held against this before
//! anybody joins it to a path.

/// Longest name of a directory entry, in bytes.
pub const NAME_MAX_BYTES: usize = 255;

/// Whether `name` is one that a directory entry can have: not empty, not too long, not `.` or `..`, no slash, no zero byte.
pub fn is_name(name: &[u8]) -> bool {
    (1..=NAME_MAX_BYTES).contains(&name.len())
        && name != b"."
        && name != b".."
        && !name.iter().any(|byte| matches!(byte, 0 | b'/'))
}

/// Whether `path` is names with a slash between each two, or empty: it leads nowhere but down.
pub fn is_path_down(path: &[u8]) -> bool {
    path.is_empty() || path.split(|byte| *byte == b'/').all(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_elsewhere_is_no_name() {
        for wrong in [&b""[..], b".", b"..", b"a/b", b"/", b"a\0b", &[b'x'; 256]] {
            assert!(!is_name(wrong), "{wrong:?}");
        }
        for right in [&b"..."[..], b".snapshots", b"\xff\x1b[2J", &[b'x'; 255]] {
            assert!(is_name(right), "{right:?}");
        }
        for wrong in [&b"/etc"[..], b"a//b", b"a/..", b"../a", b"a/", b"."] {
            assert!(!is_path_down(wrong), "{wrong:?}");
        }
        assert!(is_path_down(b"") && is_path_down(b"a/b/c"));
    }
}
