//! The stat cache: records what the last run found in each folder, so that unchanged files are not read.
//!
//! The key of a folder is a keyed hash of its path. File names are kept as keyed hashes too.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use rusqlite::{OptionalExtension, params};

use super::{Catalog, PackRowId, schema};
use crate::error::Error;
use crate::files::Journals;
use crate::format::tree::MARK_COPY;
use crate::format::{Hole, Time};

/// Maximum number of folders with the same inode that are examined. There are several if a folder was moved repeatedly,
/// or if disks use the same inode numbers.
const OF_ONE_INODE_MAX: i64 = 16;

/// A file in the state in which it was last read.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct CachedFile {
    /// Keyed hash of its name.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub name_key: [u8; 16],
    /// Size in bytes.
    #[n(1)]
    pub size: u64,
    /// When its content was last changed.
    #[n(2)]
    pub mtime: Time,
    /// When its content or its metadata was last changed.
    #[n(3)]
    pub ctime: Time,
    /// Number of the file in its file system.
    #[n(4)]
    pub inode: u64,
    /// Concatenated chunk ids.
    #[n(5)]
    pub chunks: ByteVec,
    /// Its holes, if it has any.
    #[n(6)]
    pub holes: Option<Vec<Hole>>,
    /// False if the file may have changed after it was read, within the resolution of its timestamps. Then this record
    /// only serves to keep the old version if the file cannot be read.
    #[n(7)]
    pub settled: bool,
    /// The mark as in the tree entry (spec section 4.6).
    #[n(8)]
    pub mark: Option<u64>,
    /// Additional facts about an SQLite database.
    #[n(9)]
    pub database: Option<CachedDatabase>,
    /// Whether a snapshot has an earlier version of it, so that this one, if no snapshot has it yet, counts as changed.
    #[n(10)]
    #[cbor(default)]
    pub replaces: bool,
}

/// An SQLite database in the state in which it was last read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct CachedDatabase {
    /// The state of its journals at that time, because the newest changes may be only in them.
    #[n(0)]
    pub journals: Journals,
    /// Size of the stored copy, without its journals.
    #[n(1)]
    pub bytes: u64,
}

/// A folder to store, with its files.
#[derive(Debug)]
pub struct FolderRow {
    /// Keyed hash of its path.
    pub key: i64,
    /// The folder itself.
    pub folder: CachedFolder,
    /// The files, sorted by name key.
    pub files: Vec<CachedFile>,
}

impl CachedFile {
    /// Returns the size of the stored content.
    pub fn bytes(&self) -> u64 {
        self.database.map_or(self.size, |database| database.bytes)
    }

    /// Returns whether the stored copy may be kept if the file cannot be read consistently. The copy must not be torn
    /// and must not need a journal, because the stored journal may be from another time.
    pub fn is_good_alone(&self) -> bool {
        match self.mark {
            Some(MARK_COPY) => true,
            Some(_) => false,
            None => self.database.is_none_or(|database| database.journals.are_empty()),
        }
    }
}

/// A folder in the state in which its tree was last written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedFolder {
    /// Its inode; 0 for an ancestor of the given paths.
    pub inode: u64,
    /// Hash over the names and metadata of everything in it; `None` if something in it may still have been changing.
    pub signature: Option<[u8; 32]>,
    /// Hash over the trees of its subfolders.
    pub children: [u8; 32],
    /// The folder's tree chunks, concatenated ids.
    pub tree: ByteVec,
    /// The packs that its files and its own tree need; `None` until they are known.
    pub packs: Option<Vec<PackRowId>>,
}

impl CachedFolder {
    /// Returns the folder for a row that only keeps files which have disappeared. No folder has its inode, and no tree
    /// needs its packs.
    pub fn of_gone() -> CachedFolder {
        CachedFolder {
            inode: 0,
            signature: None,
            children: [0; 32],
            tree: ByteVec::from(Vec::new()),
            packs: Some(Vec::new()),
        }
    }
}

impl Catalog {
    /// Finds a folder, without the details of its files.
    pub fn folder(&self, key: i64) -> Result<Option<CachedFolder>, Error> {
        let connection = self.lock();
        self.wrap((|| {
            connection
                .prepare_cached(
                    "SELECT signature, children, tree, packs, inode FROM folders WHERE key = ?",
                )?
                .query_row([key], |row| {
                    Ok(CachedFolder {
                        inode: row.get::<_, i64>(4)? as u64,
                        signature: row.get(0)?,
                        children: row.get(1)?,
                        tree: row.get::<_, Vec<u8>>(2)?.into(),
                        packs: row.get::<_, Option<Vec<u8>>>(3)?.map(|blob| decode_packs(&blob)),
                    })
                })
                .optional()
        })())
    }

    /// Returns the files of a folder, sorted by name key.
    pub fn folder_files(&self, key: i64) -> Result<Vec<CachedFile>, Error> {
        let connection = self.lock();
        self.wrap((|| {
            let blob: Option<Vec<u8>> = connection
                .prepare_cached("SELECT detail FROM folders WHERE key = ?")?
                .query_row([key], |row| row.get(0))
                .optional()?;
            blob.map_or(Ok(Vec::new()), |blob| decode_files(&blob))
        })())
    }

    /// Returns the files of each folder that had this inode when it was last seen, sorted by name
    /// key.
    pub fn files_by_inode(&self, inode: u64) -> Result<Vec<Vec<CachedFile>>, Error> {
        let connection = self.lock();
        self.wrap((|| {
            connection
                .prepare_cached("SELECT detail FROM folders WHERE inode = ? LIMIT ?")?
                .query_map(params![inode as i64, OF_ONE_INODE_MAX], |row| {
                    decode_files(row.get_ref(0)?.as_blob().map_err(|error| schema::bad(&error))?)
                })?
                .collect()
        })())
    }

    /// Stores folders with their files.
    pub fn put_folders(&self, folders: &[FolderRow]) -> Result<(), Error> {
        let mut connection = self.lock();
        self.wrap((|| {
            let transaction = connection.transaction()?;
            for FolderRow { key, folder, files } in folders {
                transaction
                    .prepare_cached(
                        "INSERT OR REPLACE INTO
                         folders(key, inode, signature, children, tree, packs, detail)
                         VALUES(?, ?, ?, ?, ?, ?, ?)",
                    )?
                    .execute(params![
                        key,
                        folder.inode as i64,
                        folder.signature.as_ref().map(|signature| &signature[..]),
                        &folder.children[..],
                        &folder.tree[..],
                        folder.packs.as_ref().map(|packs| encode_packs(packs)),
                        minicbor::to_vec(files).expect("encoding into memory does not fail"),
                    ])?;
            }
            transaction.commit()
        })())
    }

    /// Returns the folders whose packs are not known yet.
    pub fn open_folders(&self) -> Result<Vec<i64>, Error> {
        let connection = self.lock();
        self.wrap((|| {
            connection
                .prepare_cached("SELECT key FROM folders WHERE packs IS NULL")?
                .query_map([], |row| row.get(0))?
                .collect()
        })())
    }

    /// Records which packs the files of each folder need, by the keys of the folders.
    pub fn set_folder_packs(&self, rows: &[(i64, Vec<PackRowId>)]) -> Result<(), Error> {
        let mut connection = self.lock();
        self.wrap((|| {
            let transaction = connection.transaction()?;
            for (key, packs) in rows {
                transaction
                    .prepare_cached("UPDATE folders SET packs = ? WHERE key = ?")?
                    .execute(params![encode_packs(packs), key])?;
            }
            transaction.commit()
        })())
    }
}

/// The place where the last run of a history stopped reading unmodified files again.
impl Catalog {
    /// Returns the place on the ring of files; 0 if no run has read any files again.
    pub fn reread_from(&self, history: &[u8; 16]) -> Result<u64, Error> {
        self.wrap(schema::get_count(&self.lock(), &reread_key(history)))
    }

    /// Records the place on the ring of files.
    pub fn set_reread_from(&self, history: &[u8; 16], place: u64) -> Result<(), Error> {
        self.wrap(schema::set_meta(&self.lock(), &reread_key(history), &place.to_le_bytes()))
    }
}

fn reread_key(history: &[u8; 16]) -> String {
    format!("reread {:032x}", u128::from_be_bytes(*history))
}

fn decode_files(blob: &[u8]) -> rusqlite::Result<Vec<CachedFile>> {
    minicbor::decode(blob).map_err(|error| schema::bad(&error))
}

fn encode_packs(packs: &[PackRowId]) -> Vec<u8> {
    packs.iter().flat_map(|pack| pack.0.to_le_bytes()).collect()
}

fn decode_packs(blob: &[u8]) -> Vec<PackRowId> {
    blob.as_chunks::<8>().0.iter().map(|bytes| PackRowId(i64::from_le_bytes(*bytes))).collect()
}
