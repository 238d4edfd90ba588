//! Finds out how much memory this machine has.

/// Returns the memory of this machine in bytes, or that of the container in which the program runs; `None` if the
/// system does not report it.
#[cfg(target_os = "linux")]
pub fn of_machine() -> Option<u64> {
    let system = rustix::system::sysinfo();
    // These fields have 32 bits on some machines.
    let all = u128::from(system.totalram) * u128::from(system.mem_unit);
    // The limit of a container is a number, or the word `max`.
    let limit = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let limit: Option<u64> = limit.and_then(|text| text.trim().parse().ok());
    let all = u64::try_from(all).ok()?;
    Some(limit.map_or(all, |limit| limit.min(all)))
}

#[cfg(not(target_os = "linux"))]
pub fn of_machine() -> Option<u64> {
    None
}
