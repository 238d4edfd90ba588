//! Where the given paths stand in the snapshot.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::error::Error;
use crate::files::{Stat, scan};
use crate::format::EntryKind;

/// A folder above the given paths, or a given path.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// The path on disk, for its metadata.
    pub path: PathBuf,
    /// Set if this is a given path: what it is.
    pub given: Option<Stat>,
    pub children: BTreeMap<Vec<u8>, Node>,
}

/// Builds the tree of given paths. A path stands in the snapshot as it was given, made relative;
/// a given symlink stands for what it points to.
pub(super) fn build(paths: &[PathBuf]) -> Result<Node, Error> {
    let mut root = Node::default();
    for path in paths {
        let stat = scan::stat(path, true).map_err(Error::file("read", path))?;
        let mut node = &mut root;
        let mut on_disk = PathBuf::new();
        for component in path.components() {
            on_disk.push(component);
            if let Component::Normal(name) = component {
                node = node.children.entry(name.as_bytes().to_vec()).or_default();
                if node.path.as_os_str().is_empty() {
                    node.path = on_disk.clone();
                } else if node.path != on_disk && !same_file(&node.path, &on_disk) {
                    let reason = format!(
                        "{} and {} would both stand at the same place in the snapshot",
                        node.path.display(),
                        on_disk.display()
                    );
                    return Err(Error::Input { what: "the list of paths".to_owned(), reason });
                }
            }
        }
        // `.`, `..` or `/` has no name: its content stands at the top. A symlink is resolved, so
        // that nothing below needs to follow one.
        if node.path.as_os_str().is_empty() || path.is_symlink() {
            node.path = path.canonicalize().map_err(Error::file("read", path))?;
        }
        node.given = Some(stat);
    }
    drop_nested(&mut root);
    if root.given.is_some_and(|stat| stat.kind != EntryKind::Folder) {
        let reason = "a file needs a name".to_owned();
        return Err(Error::Input { what: "the list of paths".to_owned(), reason });
    }
    Ok(root)
}

/// A path below another given path is taken with it.
fn drop_nested(node: &mut Node) {
    if node.given.is_some() {
        node.children.clear();
    }
    node.children.values_mut().for_each(drop_nested);
}

fn same_file(a: &Path, b: &Path) -> bool {
    let id = |path| scan::stat(path, true).ok().map(|stat| (stat.device, stat.inode));
    id(a).is_some_and(|a| Some(a) == id(b))
}
