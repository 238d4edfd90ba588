//! An S3 server inside the test process, on a free port of the loopback interface.
//!
//! The library `s3s` implements the protocol, so code that is not ours checks signatures, request parsing and answers.
//! The objects are in memory. A layer in front logs the requests and can refuse, delay, lose or cut them. Only the
//! protocol is real: Amazon's durability and latency are not modelled, and the hours until an archived object becomes
//! readable pass only on a clock that the test advances.

mod front;
mod listing;
pub(crate) mod log;
mod multipart;
mod ops;
mod payload;
mod rules;
mod store;
mod thaw;
mod users;

pub use front::{Fault, FaultFn};
pub use log::{Request, RequestHead};
pub use store::{Classes, CreateOnly, ObjectInfo, RestoreAsked};
pub use thaw::ThawRequest;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use front::Front;
use store::{Object, Store};
use tokio::sync::oneshot;
use users::Users;

use crate::iam::Policy;
use crate::port::Port;

const ACCESS_KEY: &str = "AKIATESTKIT000000001";
const SECRET_KEY: &str = "testkit/secret+0123456789abcdefghijklmno";

/// A running server. It stops when dropped.
///
/// The methods block, and may be called from any thread, even from inside an async test: they hold locks only briefly,
/// except [`S3Server::stop`], which waits for the server's threads.
pub struct S3Server {
    port: Port,
    store: Arc<Store>,
    front: Arc<Front>,
    users: Arc<Users>,
    running: Mutex<Option<JoinHandle<()>>>,
}

impl S3Server {
    /// Starts a server without any bucket on a free port of 127.0.0.1.
    pub fn start() -> S3Server {
        let store = Arc::new(Store::default());
        let users = Arc::new(Users::default());
        let service = ops::service(Arc::clone(&store), ACCESS_KEY, SECRET_KEY, Arc::clone(&users));
        let server = S3Server {
            port: Port::take(),
            front: Arc::new(Front::new(service, Arc::clone(&store), Arc::clone(&users))),
            users,
            store,
            running: Mutex::new(None),
        };
        server.serve();
        server
    }

    /// `http://127.0.0.1:PORT`
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.port.address())
    }

    /// Returns the access key of the owner, who has all permissions.
    pub fn access_key(&self) -> &str {
        ACCESS_KEY
    }

    /// Returns the secret that belongs to [`S3Server::access_key`].
    pub fn secret_key(&self) -> &str {
        SECRET_KEY
    }

    /// Returns the variables that point an S3 client at this server, for the environment of a child process or for
    /// `AmazonS3Builder::with_config`.
    pub fn env(&self) -> Vec<(String, String)> {
        client_env(&self.endpoint(), ACCESS_KEY, SECRET_KEY)
    }

    /// Adds a user who may do only what a policy allows, including its conditions. Returns the variables with which a
    /// client acts as this user.
    pub fn create_user(&self, policy: Policy) -> Vec<(String, String)> {
        client_env(&self.endpoint(), &self.users.add(policy), SECRET_KEY)
    }

    /// Sets the policy of all buckets. Requests that it denies are refused for every user.
    pub fn set_bucket_policy(&self, policy: Policy) {
        self.users.set_bucket_policy(policy);
    }

    /// Creates a bucket; an existing one stays as it is.
    pub fn create_bucket(&self, bucket: &str) {
        self.store.create_bucket(bucket);
    }

    /// Returns all objects of a bucket in the order of their keys; none if there is no such bucket.
    pub fn objects(&self, bucket: &str) -> Vec<ObjectInfo> {
        self.store.objects(bucket)
    }

    /// Returns the bytes of an object, even if a client would have to thaw it first.
    pub fn get(&self, bucket: &str, key: &str) -> Option<Vec<u8>> {
        self.store.bytes_of(bucket, key).map(Vec::from)
    }

    /// Writes an object without a request, for instance a damaged one.
    pub fn put(&self, bucket: &str, key: &str, bytes: impl Into<Vec<u8>>, class: &str) {
        self.store.put_raw(bucket, key, bytes.into().into(), class);
    }

    /// Removes an object without a request; returns false if it did not exist.
    pub fn delete(&self, bucket: &str, key: &str) -> bool {
        self.store.remove(bucket, key)
    }

    /// Returns the server's clock for thaws, their expiry and the dates of objects. It begins with the real time, and
    /// after that only [`S3Server::advance`] moves it.
    pub fn now(&self) -> SystemTime {
        self.store.now()
    }

    /// Advances the clock of [`S3Server::now`].
    pub fn advance(&self, time: Duration) {
        let mut state = self.store.lock();
        state.clock += time;
        state.advanced += time;
    }

    /// Makes an archived object readable at once, until 2100 on the server's clock. Returns false if there is no such
    /// object.
    pub fn thaw(&self, bucket: &str, key: &str) -> bool {
        self.store.change(bucket, key, Object::thaw_by_hand).is_some()
    }

    /// Makes an archived object unreadable again at once, as if its readable copy had expired. Returns false if there
    /// is no such object.
    pub fn freeze(&self, bucket: &str, key: &str) -> bool {
        self.store.change(bucket, key, Object::freeze).is_some()
    }

    /// Puts an `INTELLIGENT_TIERING` object into the Deep Archive Access tier, as Amazon does after 180 days without
    /// access. Returns false if there is no such object in that class.
    pub fn archive(&self, bucket: &str, key: &str) -> bool {
        self.store.change(bucket, key, Object::archive).unwrap_or(false)
    }

    /// Moves all objects whose keys begin with `prefix` to a class, as a lifecycle rule of the bucket does: keys, bytes
    /// and dates stay the same. Returns the number of objects.
    pub fn move_to_class(&self, bucket: &str, prefix: &str, class: &str) -> usize {
        self.store.move_to_class(bucket, prefix, class)
    }

    /// Returns the RestoreObject requests that were accepted, oldest first. The object stays cold (its HEAD says
    /// `ongoing-request="true"`) until the test advances the clock by the hours that the tier takes, or calls
    /// [`S3Server::thaw`].
    pub fn restores(&self) -> Vec<RestoreAsked> {
        self.store.restores()
    }

    /// Returns the upload ids of multipart uploads that were neither completed nor aborted.
    pub fn open_uploads(&self) -> Vec<String> {
        self.store.open_uploads()
    }

    /// Changes how the server treats create-only puts.
    pub fn set_create_only(&self, create_only: CreateOnly) {
        self.store.lock().create_only = create_only;
    }

    /// Changes which storage classes the server has.
    pub fn set_classes(&self, classes: Classes) {
        self.store.lock().classes = classes;
    }

    /// Limits the number of entries in one page of a listing, so that tests see many pages.
    pub fn set_page_size(&self, entries: usize) {
        self.store.set_page_size(entries);
    }

    /// Returns the requests so far, in the order in which they ended.
    pub fn requests(&self) -> Vec<Request> {
        self.front.requests()
    }

    /// Empties the log of requests.
    pub fn clear_requests(&self) {
        self.front.clear_requests();
    }

    /// Injects this fault into the next `n` requests of any kind. Further calls are queued.
    pub fn fail_next(&self, n: usize, fault: Fault) {
        self.front.fail_next(n, fault);
    }

    /// Calls `fault` for every request that [`S3Server::fail_next`] does not cover. It runs on the server's threads, so
    /// it must return [`Fault::Vanish`] instead of calling [`S3Server::stop`].
    pub fn set_fault(&self, fault: Option<Box<FaultFn>>) {
        self.front.set_fault(fault);
    }

    /// Stops the server: open connections are cut, and new ones are refused. Objects are kept.
    pub fn stop(&self) {
        self.front.vanish();
        if let Some(thread) = self.running().take() {
            // A panic of the server's thread has been printed, and must not hide that of the test.
            let _ = thread.join();
        }
    }

    /// Starts a stopped server again, on the same port and with its objects.
    pub fn start_again(&self) {
        self.stop();
        self.serve();
    }

    fn running(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        let listener = self.port.listen().expect("a listener at the port of this server");
        listener.set_nonblocking(true).expect("a listener that does not block");
        let (stop, stopped) = oneshot::channel();
        self.front.appear(stop);
        let front = Arc::clone(&self.front);
        // Use a separate thread and runtime, because a test may block its own runtime or have none.
        let thread = std::thread::Builder::new()
            .name("testkit-s3".into())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(2)
                    .thread_name("testkit-s3-worker")
                    .enable_all()
                    .build()
                    .expect("a tokio runtime");
                runtime.spawn(front::accept(front, listener));
                // An error means that the sender is gone, so end as well.
                let _ = runtime.block_on(stopped);
                // This ends every task, and with them every connection.
                runtime.shutdown_timeout(Duration::from_secs(5));
            })
            .expect("a thread for the server");
        *self.running() = Some(thread);
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Returns the `AWS_*` variables for a plain-HTTP server with path-style addresses.
pub(crate) fn client_env(endpoint: &str, access: &str, secret: &str) -> Vec<(String, String)> {
    [
        ("AWS_ACCESS_KEY_ID", access),
        ("AWS_SECRET_ACCESS_KEY", secret),
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "us-east-1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}
