//! Determines the places of the given paths in the snapshot.

use std::collections::BTreeMap;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use crate::error::{Argument, Error};
use crate::files::{Stat, scan};
use crate::format::{EntryKind, SourcePlace};
use crate::store::Location;

/// A folder above the given paths, or a given path.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// The path on disk, for its metadata.
    pub path: PathBuf,
    /// The `stat` of a given path; `None` for a folder above given paths.
    pub given: Option<Stat>,
    /// Number of the source among [`Roots::paths`], if this is a given path.
    pub source: usize,
    pub children: BTreeMap<Vec<u8>, Node>,
}

/// The given paths, and their places in the snapshot.
#[derive(Debug, Default)]
pub(super) struct Roots {
    pub top: Node,
    /// The sources: real, absolute paths, sorted and unique.
    pub paths: Vec<Vec<u8>>,
    /// The place of each source in the tree.
    pub places: Vec<SourcePlace>,
}

/// Finds the given paths on this host and their places in the snapshot. Fails if one of them is the `repository` or
/// inside it.
pub(super) fn find(paths: &[PathBuf], repository: &Location) -> Result<Roots, Error> {
    expect_outside(paths, repository)?;
    let mut top = build(paths)?;
    let mut places = Vec::new();
    each_given(&mut top, &mut Vec::new(), &mut |node, place| {
        let real = scan::real_path(&node.path).map_err(Error::file("read", &node.path))?;
        let path = real.into_os_string().into_vec().into();
        places.push(SourcePlace { path, place: place.join(&b'/').into() });
        Ok(())
    })?;
    let mut in_order = places.iter();
    let mut paths: Vec<Vec<u8>> = places.iter().map(|source| source.path.to_vec()).collect();
    paths.sort_unstable();
    paths.dedup();
    each_given(&mut top, &mut Vec::new(), &mut |node, _| {
        let path = in_order.next().map(|source| &source.path[..]);
        node.source =
            path.and_then(|path| paths.binary_search_by(|p| p[..].cmp(path)).ok()).unwrap_or(0);
        Ok(())
    })?;
    places.sort_unstable();
    Ok(Roots { top, paths, places })
}

fn expect_outside(paths: &[PathBuf], repository: &Location) -> Result<(), Error> {
    let Location::Folder(repository) = repository else { return Ok(()) };
    let Ok(repository) = scan::real_path(repository) else { return Ok(()) };
    for path in paths {
        let real = scan::real_path(path).map_err(Error::file("read", path))?;
        if real.starts_with(&repository) {
            let what = if real == repository { "is" } else { "is a part of" };
            let reason = format!("{} {what} the archive that the snapshot goes to", path.display());
            return Err(Error::Input { what: Argument::OwnRepository, reason });
        }
    }
    Ok(())
}

/// Called with a given path and the components of its place.
type Visitor<'a> = dyn FnMut(&mut Node, &[Vec<u8>]) -> Result<(), Error> + 'a;

/// Visits the given paths with the components of their places, always in the same order.
fn each_given(node: &mut Node, place: &mut Vec<Vec<u8>>, visit: &mut Visitor) -> Result<(), Error> {
    if node.given.is_some() {
        visit(node, place)?;
    }
    for (name, child) in &mut node.children {
        place.push(name.clone());
        each_given(child, place, visit)?;
        place.pop();
    }
    Ok(())
}

/// Builds the tree of given paths. The place of a path in the snapshot is the path as it was given, made relative. A
/// path with `..` is replaced by its real path. A given symlink means its target.
fn build(paths: &[PathBuf]) -> Result<Node, Error> {
    let fail = |reason: String| Error::Input { what: Argument::Paths, reason };
    let mut root = Node::default();
    for given in paths {
        let stat = scan::stat(given, true).map_err(Error::file("read", given))?;
        let goes_up = given.components().any(|component| component == Component::ParentDir);
        let path = if goes_up {
            given.canonicalize().map_err(Error::file("read", given))?
        } else {
            given.clone()
        };
        let mut node = &mut root;
        let mut on_disk = PathBuf::new();
        for component in path.components() {
            on_disk.push(component);
            if let Component::Normal(name) = component {
                node = node.children.entry(name.as_bytes().to_vec()).or_default();
                if node.path.as_os_str().is_empty() {
                    node.path = on_disk.clone();
                } else if node.path != on_disk && !same_file(&node.path, &on_disk) {
                    return Err(fail(format!(
                        "{} and {} would both be at the same place in the snapshot",
                        node.path.display(),
                        on_disk.display()
                    )));
                }
            }
        }
        // `.` and `/` have no name, so their content goes to the top. A symlink is resolved, so that no path below it
        // has to follow one.
        if node.path.as_os_str().is_empty() || on_disk.is_symlink() {
            node.path = path.canonicalize().map_err(Error::file("read", &path))?;
        } else if node.given.is_some() && !same_file(&node.path, &path) {
            return Err(fail(format!(
                "{} and {} would both be at the same place in the snapshot",
                node.path.display(),
                path.display()
            )));
        }
        node.given = Some(stat);
    }
    drop_nested(&mut root)?;
    if root.given.is_some_and(|stat| stat.kind != EntryKind::Folder) {
        return Err(fail("a file needs a name".to_owned()));
    }
    Ok(root)
}

/// Removes paths below another given path, which contains them anyway. Fails if a path is below another one in the
/// snapshot but not on the disk, because it would be lost.
fn drop_nested(node: &mut Node) -> Result<(), Error> {
    if node.given.is_some() && !node.children.is_empty() {
        let above = node.path.canonicalize().map_err(Error::file("read", &node.path))?;
        let children = std::mem::take(&mut node.children);
        children.values().try_for_each(|child| expect_below(&above, child))?;
    }
    node.children.values_mut().try_for_each(drop_nested)
}

fn expect_below(above: &Path, node: &Node) -> Result<(), Error> {
    if node.given.is_some() {
        let path = node.path.canonicalize().map_err(Error::file("read", &node.path))?;
        if !path.starts_with(above) {
            let reason = format!(
                "{} would be inside {} in the snapshot, although it is not there on this computer: use absolute paths for both",
                node.path.display(),
                above.display()
            );
            return Err(Error::Input { what: Argument::Paths, reason });
        }
    }
    node.children.values().try_for_each(|child| expect_below(above, child))
}

fn same_file(a: &Path, b: &Path) -> bool {
    let id = |path| scan::stat(path, true).ok().map(|stat| (stat.device, stat.inode));
    id(a).is_some_and(|a| Some(a) == id(b))
}
