//! The `object_store` client that the tests of both servers use, set up as the engine does it.

use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::{BackoffConfig, ClientOptions, RetryConfig};

/// Returns a client with the settings of `env`, with at most `retries` retries and no long pauses.
pub fn client(env: Vec<(String, String)>, bucket: &str, retries: usize) -> AmazonS3 {
    builder(env, bucket, retries).build().expect("a client")
}

pub fn builder(env: Vec<(String, String)>, bucket: &str, retries: usize) -> AmazonS3Builder {
    // Fails if another test of this process was first, which works as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let retry = RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(5),
            max_backoff: Duration::from_millis(20),
            base: 2.0,
        },
        max_retries: retries,
        retry_timeout: Duration::from_secs(30),
    };
    let mut builder = AmazonS3Builder::new();
    // Call this before the settings, because it overwrites AWS_ALLOW_HTTP.
    builder = builder.with_client_options(ClientOptions::new().with_allow_http(true));
    for (name, value) in env {
        let key = name.to_lowercase().parse().expect("a known setting");
        builder = builder.with_config(key, value);
    }
    builder.with_bucket_name(bucket).with_retry(retry)
}

/// Runs a test's async body on its own runtime.
pub fn run<T>(body: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(body)
}

/// Returns the text of an error and of all its sources.
pub fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}
