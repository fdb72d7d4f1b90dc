//! The account the server's processes run as, and what it can reach.
//!
//! In come /etc/passwd and mode bits, out go a uid with its gid, and folders that are its own. Called while a
//! place and binaries are chosen. An ordinary user is the account itself; root has to become another.

use std::fs::{self, DirBuilder, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, lchown};
use std::path::Path;

use super::EmbeddedError;
use super::place::at;

/// The account of the server's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// We are root, and have to become this account.
    pub(super) is_other: bool,
}

/// The account in /etc/passwd that a server started by root runs as.
pub(super) fn account_in(passwd: &str) -> Option<Account> {
    ["postgres", "nobody"].iter().find_map(|name| {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let (found, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
            let account = Account { uid: uid.parse().ok()?, gid: gid.parse().ok()?, is_other: true };
            (found == *name && account.uid != 0).then_some(account)
        })
    })
}

/// May the account enter the folder, that is pass every folder on the way? By mode bits; the account has no
/// groups but its own.
pub(super) fn may_enter(account: Account, folder: &Path) -> bool {
    folder.ancestors().all(|step| {
        fs::metadata(step).is_ok_and(|found| {
            let execute = if found.uid() == account.uid {
                0o100
            } else if found.gid() == account.gid {
                0o010
            } else {
                0o001
            };
            found.mode() & execute != 0
        })
    })
}

/// A folder of mode 0700 that belongs to the account. One that somebody else put there is refused.
pub(super) fn own_folder(folder: &Path, account: Account) -> Result<(), EmbeddedError> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(at(folder)(error)),
        Ok(()) | Err(_) => {}
    }
    let found = fs::symlink_metadata(folder).map_err(at(folder))?;
    // Root's own: made by us just now, or by one of us that died before the next line.
    let is_ours = found.uid() == account.uid || (account.is_other && found.uid() == 0);
    if !found.is_dir() || !is_ours {
        return Err(EmbeddedError::FolderTaken { path: folder.to_owned(), uid: account.uid });
    }
    if found.uid() != account.uid {
        lchown(folder, Some(account.uid), Some(account.gid)).map_err(at(folder))?;
    }
    if found.mode() & 0o777 != 0o700 {
        fs::set_permissions(folder, Permissions::from_mode(0o700)).map_err(at(folder))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postgres_is_preferred_to_nobody_and_root_is_never_taken() {
        let nobody = "nobody:x:65534:65533:nobody:/:/bin/false\n";
        let account = |uid, gid| Some(Account { uid, gid, is_other: true });
        assert_eq!(account_in(&format!("{nobody}postgres:x:101:104::/:/bin/sh\n")), account(101, 104));
        assert_eq!(account_in(&format!("postgres:x:0:0::/:/bin/sh\n{nobody}")), account(65534, 65533));
        assert_eq!(account_in("root:x:0:0::/root:/bin/sh\n"), None);
    }
}
