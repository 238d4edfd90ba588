//! Determines how often the store is asked whether packs are thawed.

use std::time::Duration;

/// Time until the first look after a request.
pub const LOOK_FIRST: Duration = Duration::from_secs(60);
/// Maximum time between two looks.
const LOOK_LONGEST: Duration = Duration::from_secs(3600);

/// Returns the time until the next look. It doubles with each look, up to an hour. `looks` is the number of looks since
/// the request. `first` is [`LOOK_FIRST`], except in tests.
pub fn next_look(looks: u32, first: Duration) -> Duration {
    first.saturating_mul(1 << looks.min(16)).min(LOOK_LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_become_rarer_up_to_one_an_hour() {
        let minutes = |looks| next_look(looks, LOOK_FIRST).as_secs() / 60;
        assert_eq!([0, 1, 2, 5, 6, 40].map(minutes), [1, 2, 4, 32, 60, 60]);
    }
}
