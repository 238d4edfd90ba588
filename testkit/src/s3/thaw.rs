//! How an archived object becomes readable and cold again: S3's RestoreObject, called a thaw here,
//! by the clock of the server.
//!
//! The state of an object is computed from that clock on every request. So in a test that never
//! advances the clock, no thaw ever ends.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::StatusCode;
use s3s::dto::{ArchiveStatus, RestoreObjectInput, Timestamp, TimestampFormat};
use s3s::{S3Result, s3_error};

use super::rules::{cold, no_key, objects_mut};
use super::store::{Object, RestoreAsked, Store, Thaw, Warmth};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The end of a copy that the test itself has made, 31 December 2100, as time since 1970.
const BY_HAND_UNTIL: Duration = Duration::from_secs(4_133_894_400);

/// The parameters of a RestoreObject request, for the log of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThawRequest {
    /// `Standard`, `Bulk` or `Expedited`.
    pub tier: String,
    /// The requested days of the readable copy; 0 if the request does not contain them.
    pub days: u32,
    /// Bytes of the whole object.
    pub size: u64,
    /// The days of a readable copy that this request adds: `days` for a new copy, the change of the
    /// expiry for an existing one (negative if it now ends earlier), and 0 if the request was
    /// refused or only made a thaw faster.
    pub copy_days: i64,
}

/// Where the operation stores its [`ThawRequest`] for the front layer. It is attached to the
/// request, because an error answer cannot contain it.
#[derive(Clone, Default)]
pub(crate) struct ThawNote(Arc<Mutex<Option<ThawRequest>>>);

impl ThawNote {
    fn set(&self, thaw: ThawRequest) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(thaw);
    }

    pub(crate) fn take(&self) -> Option<ThawRequest> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Object {
    pub(crate) fn warmth(&self, now: SystemTime) -> Warmth {
        match &self.thaw {
            _ if !self.is_archived() => Warmth::Warm,
            None => Warmth::Cold,
            Some(thaw) if now < thaw.ready => Warmth::Thawing,
            Some(thaw) if thaw.expiry.is_some_and(|expiry| expiry <= now) => Warmth::Cold,
            Some(_) => Warmth::Warm,
        }
    }

    /// Puts it into the archive tier of its class; returns false if the class has none.
    pub(crate) fn archive(&mut self) -> bool {
        self.in_archive_tier = self.is_tiered();
        self.thaw = None;
        self.in_archive_tier
    }

    pub(crate) fn thaw_by_hand(&mut self) {
        if self.is_tiered() {
            self.in_archive_tier = false;
            self.thaw = None;
        } else {
            let expiry = Some(UNIX_EPOCH + BY_HAND_UNTIL);
            self.thaw = Some(Thaw { takes: Duration::ZERO, days: 0, ready: UNIX_EPOCH, expiry });
        }
    }

    pub(crate) fn freeze(&mut self) {
        self.thaw = None;
    }

    fn is_tiered(&self) -> bool {
        self.class == "INTELLIGENT_TIERING"
    }

    /// Ends a thaw that made no copy but moved the object out of the archive tier for good.
    fn settle(&mut self, now: SystemTime) {
        if self.in_archive_tier && self.warmth(now) == Warmth::Warm {
            self.in_archive_tier = false;
            self.thaw = None;
        }
    }
}

/// Returns the value of `x-amz-restore`.
pub(crate) fn restore_header(object: &Object, now: SystemTime) -> Option<String> {
    match object.warmth(now) {
        Warmth::Cold => None,
        Warmth::Thawing => Some(r#"ongoing-request="true""#.to_owned()),
        Warmth::Warm if !object.is_archived() => None,
        Warmth::Warm => {
            let expiry = http_date(object.thaw.as_ref()?.expiry?);
            Some(format!(r#"ongoing-request="false", expiry-date="{expiry}""#))
        }
    }
}

/// Returns the value of `x-amz-archive-status`, which only HEAD returns.
pub(crate) fn archive_status(object: &Object, now: SystemTime) -> Option<ArchiveStatus> {
    let away = object.in_archive_tier && object.warmth(now) != Warmth::Warm;
    away.then(|| ArchiveStatus::from_static(ArchiveStatus::DEEP_ARCHIVE_ACCESS))
}

/// Executes a RestoreObject request; returns the status of the answer.
pub(crate) fn ask(
    store: &Store,
    input: RestoreObjectInput,
    note: &ThawNote,
) -> S3Result<StatusCode> {
    let asked = input.restore_request.unwrap_or_default();
    let tier = asked.glacier_job_parameters.map(|job| job.tier);
    let tier = tier.map_or("Standard".to_owned(), |tier| tier.as_str().to_owned());
    let mut state = store.lock();
    let now = state.clock;
    let objects = objects_mut(&mut state, &input.bucket)?;
    let object = objects.get_mut(&input.key).ok_or_else(no_key)?;
    object.settle(now);
    let size = object.data.len() as u64;
    let days = u32::try_from(asked.days.unwrap_or(0)).unwrap_or(0);
    let mut thaw = ThawRequest { tier: tier.clone(), days, size, copy_days: 0 };
    note.set(thaw.clone());
    let takes = check(object, asked.days, &tier)?;
    let (status, copy_days) = begin(object, now, takes, days)?;
    thaw.copy_days = copy_days;
    note.set(thaw);
    let accepted = RestoreAsked {
        bucket: input.bucket,
        key: input.key,
        days: days as i32,
        tier,
        at: now,
        size,
    };
    state.restores.push(accepted);
    Ok(status)
}

/// Returns how long the thaw takes; fails if the object does not allow this request.
fn check(object: &Object, days: Option<i32>, tier: &str) -> S3Result<Duration> {
    if !object.is_archived() {
        return Err(cold("Restore is not allowed for the object's current storage class"));
    }
    match days {
        Some(_) if object.is_tiered() => {
            return Err(s3_error!(
                InvalidArgument,
                "INTELLIGENT_TIERING objects are not subject to restore expiry. Do not specify \
                 Days when restoring this object"
            ));
        }
        None if !object.is_tiered() => return Err(s3_error!(MalformedXML)),
        Some(..1) => {
            return Err(s3_error!(InvalidArgument, "restoration days should be at least 1"));
        }
        _ => {}
    }
    // The maximum in Amazon's documentation; a thaw usually takes about this long.
    match (object.class.as_str(), tier) {
        ("GLACIER", "Expedited") => Ok(5 * MINUTE),
        ("GLACIER", "Standard") => Ok(5 * HOUR),
        ("GLACIER", "Bulk") => Ok(12 * HOUR),
        // In this server, the archive tier of INTELLIGENT_TIERING is always the deep one.
        ("DEEP_ARCHIVE" | "INTELLIGENT_TIERING", "Standard") => Ok(12 * HOUR),
        ("DEEP_ARCHIVE" | "INTELLIGENT_TIERING", "Bulk") => Ok(48 * HOUR),
        _ => Err(s3_error!(
            InvalidArgument,
            "Retrieval option is not supported by this storage class"
        )),
    }
}

/// Begins a thaw, makes a running one faster, or extends a copy. Returns the status of the answer,
/// and the days of a copy that the request adds.
fn begin(
    object: &mut Object,
    now: SystemTime,
    takes: Duration,
    days: u32,
) -> S3Result<(StatusCode, i64)> {
    let tiered = object.is_tiered();
    let until = |ready, days| (!tiered).then(|| midnight(ready + DAY * days));
    let warmth = object.warmth(now);
    match &mut object.thaw {
        Some(thaw) if warmth == Warmth::Thawing => {
            if takes >= thaw.takes {
                return Err(s3_error!(
                    RestoreAlreadyInProgress,
                    "Object restore is already in progress"
                ));
            }
            thaw.takes = takes;
            thaw.ready = thaw.ready.min(now + takes);
            // The days of the first request stay, because only the tier can be changed.
            thaw.expiry = until(thaw.ready, thaw.days);
            Ok((StatusCode::ACCEPTED, 0))
        }
        Some(thaw) if warmth == Warmth::Warm => {
            let before = thaw.expiry;
            thaw.days = days;
            thaw.expiry = until(now, days);
            // A copy that the test itself has made was never charged.
            let before = before.filter(|before| *before != UNIX_EPOCH + BY_HAND_UNTIL);
            let moved = before.zip(thaw.expiry);
            let moved = moved.map(|(before, after)| day_of(after) - day_of(before));
            Ok((StatusCode::OK, moved.unwrap_or(i64::from(days))))
        }
        _ => {
            let ready = now + takes;
            object.thaw = Some(Thaw { takes, days, ready, expiry: until(ready, days) });
            Ok((StatusCode::ACCEPTED, i64::from(days)))
        }
    }
}

/// Returns the first midnight UTC at or after `time`.
fn midnight(time: SystemTime) -> SystemTime {
    let since = since_1970(time);
    let days = since.as_nanos().div_ceil(DAY.as_nanos());
    UNIX_EPOCH + DAY * u32::try_from(days).expect("a date in this age")
}

fn day_of(midnight: SystemTime) -> i64 {
    (since_1970(midnight).as_secs() / DAY.as_secs()) as i64
}

fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).expect("a clock that is not before 1970")
}

pub(crate) fn http_date(time: SystemTime) -> String {
    let mut text = Vec::new();
    Timestamp::from(time)
        .format(TimestampFormat::HttpDate, &mut text)
        .expect("a date written into memory");
    String::from_utf8(text).expect("a date is plain text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_ends_at_a_midnight() {
        let at = |seconds: u64, nanos: u32| UNIX_EPOCH + Duration::new(seconds, nanos);
        assert_eq!(midnight(at(0, 0)), at(0, 0));
        assert_eq!(midnight(at(0, 1)), at(86_400, 0));
        assert_eq!(midnight(at(86_399, 0)), at(86_400, 0));
        assert_eq!(midnight(at(86_400, 0)), at(86_400, 0));
        assert_eq!(day_of(at(86_400, 0)), 1);
        assert_eq!(http_date(UNIX_EPOCH + BY_HAND_UNTIL), "Fri, 31 Dec 2100 00:00:00 GMT");
    }
}
