//! Requests that the `object_store` client cannot make, or whose answers it hides: RestoreObject,
//! and the headers with the state of an object.

use std::time::Duration;

use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer};
use reqwest::Method;

use crate::common::client;

/// A client of one bucket.
pub struct Raw {
    s3: AmazonS3,
    http: reqwest::Client,
}

/// The parts of an answer that the tests check.
pub struct Answered {
    pub status: u16,
    /// `x-amz-restore`
    pub restore: Option<String>,
    /// `x-amz-archive-status`
    pub archive_status: Option<String>,
    pub body: String,
}

impl Raw {
    pub fn new(env: Vec<(String, String)>, bucket: &str) -> Raw {
        Raw { s3: client(env, bucket, 0), http: reqwest::Client::new() }
    }

    /// Requests a thaw; returns the status and body of the answer.
    pub async fn thaw(&self, key: &str, days: Option<u32>, tier: &str) -> (u16, String) {
        let days = days.map_or(String::new(), |days| format!("<Days>{days}</Days>"));
        let body = format!(
            "<RestoreRequest>{days}<GlacierJobParameters><Tier>{tier}</Tier>\
             </GlacierJobParameters></RestoreRequest>"
        );
        let answer = self.send(Method::POST, key, &[("restore", "")], body).await;
        (answer.status, answer.body)
    }

    pub async fn head(&self, key: &str) -> Answered {
        self.send(Method::HEAD, key, &[], String::new()).await
    }

    pub async fn get(&self, key: &str) -> Answered {
        self.send(Method::GET, key, &[], String::new()).await
    }

    async fn send(
        &self,
        method: Method,
        key: &str,
        query: &[(&'static str, &'static str)],
        body: String,
    ) -> Answered {
        // The signature covers the query, so `restore` must be signed as well.
        let options = SignedUrlOptions::new().with_query(query.iter().copied());
        let (path, ttl) = (Path::from(key), Duration::from_secs(60));
        let url = self.s3.signed_url_opts(method.clone(), &path, ttl, &options);
        let url = url.await.expect("a signed address");
        let answer = self.http.request(method, url).body(body).send().await;
        let answer = answer.expect("an answer");
        let header = |name: &str| {
            let value = answer.headers().get(name)?;
            Some(value.to_str().expect("text").to_owned())
        };
        Answered {
            status: answer.status().as_u16(),
            restore: header("x-amz-restore"),
            archive_status: header("x-amz-archive-status"),
            body: answer.text().await.expect("text"),
        }
    }
}
