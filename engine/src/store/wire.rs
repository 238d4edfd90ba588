//! Parts of requests that `object_store` does not support.

use std::sync::Arc;

use object_store::aws::AwsCredentialProvider;
use object_store::client::HttpClient;
use object_store::signer::Signer;

/// Everything needed to sign and send requests that `object_store` does not support.
#[derive(Debug, Clone)]
pub(super) struct Wire {
    pub signer: Arc<dyn Signer>,
    /// Signs requests to the bucket itself.
    pub bucket_signer: Arc<dyn Signer>,
    pub http: HttpClient,
    pub credentials: AwsCredentialProvider,
    pub region: String,
    pub requester_pays: bool,
}
