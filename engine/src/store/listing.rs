//! Listings: read page by page, with a time limit for each page and a memory limit for all,
//! whatever a store sends.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;

use super::client::Store;
use super::options::{Listed, path};
use super::pages::ListedObject;
use super::patience::Try;
use super::trouble::{Retry, Trouble};
use super::{Location, StoreError, StoreErrorKind, layout};

/// Maximum number of objects in the listing of a folder.
const LISTED_MAX: usize = 8 << 20;
/// Maximum memory of a listing of packs, in bytes: enough for three million packs.
const PACKS_BYTES_MAX: usize = 384 << 20;
/// Maximum memory of other listings: those with few objects, and those that every snapshot makes.
const OTHERS_BYTES_MAX: usize = 64 << 20;
/// Maximum number of objects to read when one name is looked up. That listing starts at the name
/// without its last letter, where no repository has more than one object.
const LOOKED_AT_MAX: usize = 1000;
/// Number of objects that one request can list.
const SOME: usize = 1000;
/// Memory that an object of a listing needs in addition to its name.
const OBJECT_BYTES: usize = size_of::<Listed>() + 16;

/// The pages of a listing that have arrived.
struct Pages {
    found: Vec<Listed>,
    bytes: usize,
    bytes_max: usize,
    objects_max: usize,
}

/// After the last byte of a put of this size, the store needs some time to finish.
const LARGE_BYTES_MIN: u64 = 4 << 20;
const ARRIVING: Duration = Duration::from_secs(2);

impl Store {
    /// Lists the objects under a prefix in the order of their names; only those after `after`, if
    /// given.
    pub fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<Listed>, StoreError> {
        if let Location::Folder(folder) = self.location() {
            self.counter.count(|requests| requests.list += 1);
            let mut listed = super::folder::list(folder, prefix)
                .map_err(|error| StoreError::of_file(prefix, &error))
                .map_err(|error| {
                    self.expect_folder(&format!("{prefix}/")).err().unwrap_or(error)
                })?;
            if listed.len() > LISTED_MAX {
                return Err(too_long(prefix, format!("there are more than {LISTED_MAX} objects")));
            }
            listed.retain(|object| after.is_none_or(|after| object.name.as_str() > after));
            listed.sort_by(|a, b| a.name.cmp(&b.name));
            return Ok(listed);
        }
        self.list_bucket(prefix, after, usize::MAX)
    }

    /// Fails if a link or a file is in the place of the folder of an object. Through a link, a prune would delete what is in
    /// the folder of another archive, and a snapshot would write there.
    pub(super) fn expect_folder(&self, name: &str) -> Result<(), StoreError> {
        let Location::Folder(root) = self.location() else { return Ok(()) };
        let prefix = name.split_once('/').map_or("", |(prefix, _)| prefix);
        if !super::folder::is_replaced(root, prefix) {
            return Ok(());
        }
        let reason = "it is a link or a file, where the archive has a folder".to_owned();
        Err(StoreError::new(StoreErrorKind::NoFolder, prefix.to_owned(), reason))
    }

    /// Fails if a link or a file is in the place of any folder of the archive.
    ///
    /// # Errors
    /// [`StoreErrorKind::NoFolder`], with the name of the first such folder.
    pub fn expect_folders(&self) -> Result<(), StoreError> {
        layout::PREFIXES.iter().try_for_each(|prefix| self.expect_folder(&format!("{prefix}/")))
    }

    /// Lists the first thousand objects under a prefix, which are one page.
    pub fn list_some(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        match self.location() {
            Location::Folder(_) => self.list(prefix, None),
            Location::Bucket { .. } => self.list_bucket(prefix, None, SOME),
        }
    }

    fn list_bucket(
        &self,
        prefix: &str,
        after: Option<&str>,
        objects_max: usize,
    ) -> Result<Vec<Listed>, StoreError> {
        let of_packs = ["packs", layout::PARITY].contains(&prefix);
        let bytes_max = if of_packs { PACKS_BYTES_MAX } else { OTHERS_BYTES_MAX };
        let mut pages = Pages { found: Vec::new(), bytes: 0, bytes_max, objects_max };
        self.wait(prefix, async |this| self.next_pages(prefix, after, &mut pages, this).await)?;
        Ok(pages.found)
    }

    /// Continues a listing where the previous attempt ended.
    async fn next_pages(
        &self,
        prefix: &str,
        after: Option<&str>,
        pages: &mut Pages,
        this: &Try,
    ) -> Result<(), StoreError> {
        let known = pages.found.last().map(|object| object.name.clone());
        let offset = known.as_deref().or(after);
        let of_prefix = path(prefix);
        let without_class = |meta| (meta, None);
        let mut stream = match (&self.bucket, offset) {
            (Some(bucket), offset) => bucket.list(prefix, offset),
            (None, Some(offset)) => {
                let listed = self.inner.list_with_offset(Some(&of_prefix), &path(offset));
                listed.map_ok(without_class).boxed()
            }
            (None, None) => self.inner.list(Some(&of_prefix)).map_ok(without_class).boxed(),
        };
        let mut last = offset.unwrap_or_default().to_owned();
        while pages.found.len() < pages.objects_max {
            let next = tokio::time::timeout(self.headway_max(), stream.try_next()).await;
            let next = next.map_err(|_| no_headway(prefix))?;
            let Some(object) = next.map_err(|error| StoreError::classify(prefix, &error))? else {
                return Ok(());
            };
            let name = object.0.location.as_ref();
            // A listing that repeats itself would never end.
            if name <= last.as_str() {
                return Err(too_long(prefix, format!("its names do not ascend at {name}")));
            }
            name.clone_into(&mut last);
            this.moved();
            pages.push(prefix, object)?;
        }
        Ok(())
    }

    /// Returns the length of an object; `None` if it does not exist. Looks it up in a listing,
    /// because a HEAD needs the right to read, and a writer may only list.
    pub fn length(&self, name: &str) -> Result<Option<u64>, StoreError> {
        if let Location::Folder(folder) = self.location() {
            self.counter.count(|requests| requests.add_head(""));
            return match std::fs::metadata(folder.join(name)) {
                Ok(found) => Ok(Some(found.len())),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(StoreError::of_file(name, &error).of_object()),
            };
        }
        self.wait(name, async |_| self.look(name).await)
    }

    /// Looks an object up in a listing, once.
    pub(super) async fn look(&self, name: &str) -> Result<Option<u64>, StoreError> {
        let (prefix, _) = name.rsplit_once('/').unwrap_or(("", name));
        // List the names after the name without its last letter, so that the object is among the
        // first.
        let before = &name[..name.len() - 1];
        let (prefix, before, wanted) = (path(prefix), path(before), path(name));
        let mut found = self.inner.list_with_offset(Some(&prefix), &before);
        let mut last = before.clone();
        for _ in 0..LOOKED_AT_MAX {
            let next = tokio::time::timeout(self.headway_max(), found.try_next()).await;
            let next = next.map_err(|_| no_headway(name))?;
            match next.map_err(|error| StoreError::classify(name, &error))? {
                Some(meta) if meta.location <= last => {
                    return Err(too_long(
                        name,
                        "the names of its listing do not ascend".to_owned(),
                    ));
                }
                Some(meta) if meta.location < wanted => last = meta.location,
                found => {
                    return Ok(found.filter(|meta| meta.location == wanted).map(|meta| meta.size));
                }
            }
        }
        Err(too_long(name, "too many other objects come before it".to_owned()))
    }

    /// Returns the length of an object if it exists, after its put broke off. Looks twice for a
    /// large object, because the store may have received all bytes and still be processing them.
    pub(super) async fn look_again(
        &self,
        name: &str,
        bytes: u64,
    ) -> Result<Option<u64>, StoreError> {
        let found = self.look(name).await?;
        if found.is_some() || bytes < LARGE_BYTES_MIN {
            return Ok(found);
        }
        tokio::time::sleep(ARRIVING).await;
        self.look(name).await
    }

    /// Fails if the store refused a name as taken although it is free, because then something
    /// between us and the store refused the put. A role without the right to list must believe the
    /// refusal.
    pub(super) async fn expect_taken(&self, name: &str) -> Result<(), StoreError> {
        match self.look(name).await {
            Ok(Some(_)) => Ok(()),
            // A listing may lag behind, so ask for the object itself.
            Ok(None) if self.inner.head(&path(name)).await.is_ok() => Ok(()),
            Ok(None) => {
                let lie =
                    Trouble::lie("the store refuses it because it exists, but it does not exist");
                Err(StoreError::of_trouble(name, &lie))
            }
            Err(error) if error.again != Retry::Never => Err(error),
            Err(_) => Ok(()),
        }
    }

    /// Fails if an object that was read as empty has content. No object of icecore is empty, unless
    /// its store has lost the content.
    pub(super) async fn expect_empty(&self, name: &str) -> Result<(), StoreError> {
        match self.look(name).await {
            Ok(Some(0)) => Ok(()),
            Ok(_) => {
                let lie = Trouble::lie("the store sends nothing, although the object is not empty");
                Err(StoreError::of_trouble(name, &lie))
            }
            Err(error) if error.again != Retry::Never => Err(error),
            Err(_) => Ok(()),
        }
    }

    /// Returns how long a listing may return empty pages without one object.
    fn headway_max(&self) -> Duration {
        self.patience.retry_for.max(self.idle_max).saturating_mul(2)
    }
}

impl Pages {
    fn push(&mut self, prefix: &str, (meta, class): ListedObject) -> Result<(), StoreError> {
        let name = meta.location.to_string();
        self.bytes += name.len() + class.as_ref().map_or(0, String::len) + OBJECT_BYTES;
        if self.bytes > self.bytes_max {
            let reason = format!("there are more than {} objects", self.found.len());
            return Err(too_long(prefix, reason));
        }
        let modified = meta.last_modified.timestamp();
        self.found.push(Listed { name, bytes: meta.size, modified, class });
        Ok(())
    }
}

/// Reports a failure of the store, not damage to an object.
fn too_long(name: &str, reason: String) -> StoreError {
    StoreError::new(StoreErrorKind::Other, name.to_owned(), reason)
}

fn no_headway(name: &str) -> StoreError {
    let reason = "its listing never ends: page after page contains no objects".to_owned();
    too_long(name, reason)
}
