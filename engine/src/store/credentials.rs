//! S3 credentials that may change during a run: they are read again when they expire or when the
//! store refuses them. The caller provides their source.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use tokio::sync::Mutex;

use super::StoreErrorKind;
use super::trouble::{Retry, Trouble};

/// Credentials are replaced this long before they expire.
const LEFT_MIN: Duration = Duration::from_secs(120);
/// Minimum time between two reads of the source, which may be a slow program.
const ASKED_EVERY: Duration = Duration::from_millis(500);

/// Access keys of an S3 store.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The public id of the key.
    pub key_id: String,
    /// The secret.
    pub secret_key: String,
    /// The token of a session, for temporary credentials.
    pub token: Option<String>,
    /// When they expire; `None` if they do not.
    pub expires: Option<SystemTime>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// Why credentials cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialFailure {
    /// Why, in one line without secrets.
    pub reason: String,
    /// What the user can do, if the source knows.
    pub remedy: Option<String>,
}

impl From<String> for CredentialFailure {
    fn from(reason: String) -> CredentialFailure {
        CredentialFailure { reason, remedy: None }
    }
}

/// The result of reading a source.
type Read = Result<Credentials, CredentialFailure>;

/// Returns the current credentials, or why they cannot be read. May block.
#[derive(Clone)]
pub struct CredentialSource(Arc<dyn Fn() -> Read + Send + Sync>);

impl CredentialSource {
    /// Returns a source that calls `read` whenever credentials are missing, expire or are refused.
    pub fn new(
        read: impl Fn() -> Result<Credentials, CredentialFailure> + Send + Sync + 'static,
    ) -> Self {
        CredentialSource(Arc::new(read))
    }
}

impl fmt::Debug for CredentialSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialSource")
    }
}

/// Credentials that are read again when necessary.
#[derive(Debug)]
pub(super) struct Renewed {
    source: CredentialSource,
    current: Mutex<Current>,
    /// The number of `current`, readable without waiting for the source.
    number: std::sync::atomic::AtomicU64,
}

#[derive(Debug, Default)]
struct Current {
    credentials: Option<Credentials>,
    asked: Option<Instant>,
    number: u64,
}

impl Renewed {
    pub fn new(source: CredentialSource) -> Renewed {
        Renewed { source, current: Mutex::default(), number: 0.into() }
    }

    /// Returns how often the credentials have changed.
    pub fn number(&self) -> u64 {
        self.number.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// Reads the credentials again, unless they have changed since `refused`. Returns whether they
    /// have changed. If the source was read just now, waits a little before reading it again, or
    /// skips reading it if `matters` is false. A source that has never returned credentials is not
    /// read again, because it may take a minute each time.
    pub async fn renew(&self, refused: u64, matters: bool) -> bool {
        let mut current = self.current.lock().await;
        if current.credentials.is_none() {
            return false;
        }
        let ago = current.asked.map_or(ASKED_EVERY, |asked| asked.elapsed());
        if current.number == refused && (matters || ago >= ASKED_EVERY) {
            tokio::time::sleep(ASKED_EVERY.saturating_sub(ago)).await;
            // If the source fails now, the next attempt reads it again.
            let _ = self.read(&mut current).await;
        }
        current.number != refused
    }

    async fn read(&self, current: &mut Current) -> Result<Credentials, Trouble> {
        let source = self.source.clone();
        let read = tokio::task::spawn_blocking(move || (source.0)()).await;
        current.asked = Some(Instant::now());
        let fail = |CredentialFailure { reason, remedy }| Trouble {
            remedy,
            kind: StoreErrorKind::NoCredentials,
            again: Retry::Credentials { awaited: true },
            reason,
        };
        let fresh = read.map_err(|error| fail(error.to_string().into()))?.map_err(fail)?;
        if current.credentials.as_ref() != Some(&fresh) {
            // The first credentials do not count as a change.
            current.number += u64::from(current.credentials.is_some());
            self.number.store(current.number, std::sync::atomic::Ordering::SeqCst);
            current.credentials = Some(fresh.clone());
        }
        Ok(fresh)
    }
}

#[async_trait]
impl CredentialProvider for Renewed {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let mut current = self.current.lock().await;
        let now = SystemTime::now();
        let ends = |credentials: &Credentials, left: Duration| {
            credentials.expires.is_some_and(|expires| expires <= now + left)
        };
        let known = current.credentials.clone();
        let may_ask = current.asked.is_none_or(|asked| asked.elapsed() >= ASKED_EVERY);
        let credentials = match known {
            Some(known) if !ends(&known, LEFT_MIN) || !may_ask => known,
            Some(known) => match self.read(&mut current).await {
                Ok(fresh) => fresh,
                // If the source fails, use the known credentials until the store refuses them.
                Err(_) => known,
            },
            None => self.read(&mut current).await.map_err(|trouble| {
                object_store::Error::Generic { store: "S3", source: Box::new(trouble) }
            })?,
        };
        let Credentials { key_id, secret_key, token, .. } = credentials;
        Ok(Arc::new(AwsCredential { key_id, secret_key, token }))
    }
}
