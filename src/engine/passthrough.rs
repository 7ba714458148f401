//! Whether hot files can be handed to the kernel here.

use std::io;

use super::Engine;
use crate::base::Result;
use crate::hot::lease;

impl Engine {
    /// How many file systems are stacked below a mount of this store: 2 where hot files lie on overlayfs.
    pub fn stack_depth(&self) -> u32 {
        if self.hot.on_overlay() { 2 } else { 1 }
    }

    /// Tries passthrough with a hot file of its own. `None` when it works, else why it does not.
    pub fn probe_passthrough(
        &self,
        register: impl FnOnce(&std::fs::File) -> io::Result<()>,
    ) -> Result<Option<String>> {
        let (id, _) = self.new_hot_file()?;
        let file = self.hot.open_read(id)?;
        let leases = lease::supported(&file);
        let registered = register(&file);
        self.hot.delete(id)?;
        Ok(match registered {
            _ if !leases => Some("the disk of the hot files grants no leases, so a quiet file cannot be proved".to_owned()),
            Ok(()) => None,
            Err(error) => Some(match error.raw_os_error() {
                Some(libc::EPERM) => "it needs CAP_SYS_ADMIN: mount as root, or give the container --cap-add SYS_ADMIN".to_owned(),
                Some(libc::ENOTTY | libc::EINVAL | libc::EOPNOTSUPP) => "this kernel has none: it needs Linux 6.9 or newer with CONFIG_FUSE_PASSTHROUGH".to_owned(),
                Some(libc::ELOOP) => "the hot files lie on too many stacked file systems: put them on a plain disk with the option hot".to_owned(),
                _ => format!("the kernel refuses it: {error}"),
            }),
        })
    }
}
