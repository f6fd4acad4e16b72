//! What another process has used: CPU by thread to the nanosecond, and memory.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

/// A process's use of the machine at one moment.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Thread id, name and nanoseconds of CPU.
    threads: Vec<(u32, String, u64)>,
    /// Resident set in bytes.
    rss: u64,
}

/// What happened between two samples.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Usage {
    /// CPU of all threads, in seconds.
    pub cpu_seconds: f64,
    /// The same for each thread that used any.
    pub threads: Vec<ThreadUsage>,
    /// Resident set at the beginning, in bytes.
    pub rss_before: u64,
    /// Resident set at the end, in bytes.
    pub rss_after: u64,
}

/// One thread's share.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ThreadUsage {
    /// Its name.
    pub name: String,
    /// Its CPU in seconds.
    pub cpu_seconds: f64,
}

impl Sample {
    /// Looks at the process now.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn of(pid: u32) -> io::Result<Self> {
        let mut threads = Vec::new();
        for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
            let path = entry?.path();
            // A thread may end between the listing and the reading.
            let Ok(stat) = fs::read_to_string(path.join("schedstat")) else {
                continue;
            };
            let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
            let nanoseconds = stat.split(' ').next().and_then(|ns| ns.parse().ok());
            let id = path.file_name().and_then(|id| id.to_str()?.parse().ok());
            if let (Some(id), Some(nanoseconds)) = (id, nanoseconds) {
                threads.push((id, name.trim().to_owned(), nanoseconds));
            }
        }
        Ok(Self { threads, rss: rss(&fs::read_to_string(format!("/proc/{pid}/status"))?) })
    }

    /// What has been used since `earlier`.
    pub fn since(&self, earlier: &Self) -> Usage {
        let mut threads = Vec::new();
        let mut total = 0;
        for (id, name, nanoseconds) in &self.threads {
            let before = earlier.threads.iter().find(|thread| thread.0 == *id);
            let used = nanoseconds - before.map_or(0, |thread| thread.2);
            total += used;
            if used > 0 {
                threads.push(ThreadUsage { name: name.clone(), cpu_seconds: used as f64 / 1e9 });
            }
        }
        Usage { cpu_seconds: total as f64 / 1e9, threads, rss_before: earlier.rss, rss_after: self.rss }
    }
}

/// `VmRSS` of a status file, in bytes.
fn rss(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_cpu_and_memory() {
        let before = Sample::of(std::process::id()).unwrap();
        let mut x = 1_u64;
        for i in 0..5_000_000 {
            x = std::hint::black_box(x.wrapping_mul(31).wrapping_add(i));
        }
        let usage = Sample::of(std::process::id()).unwrap().since(&before);
        assert!(usage.cpu_seconds > 0.0 && usage.cpu_seconds < 60.0, "{x}");
        assert!(usage.rss_after > 0);
    }

    #[test]
    fn the_resident_set_is_read_in_bytes() {
        assert_eq!(rss("Name:\tx\nVmRSS:\t    1644 kB\n"), 1644 * 1024);
    }
}
