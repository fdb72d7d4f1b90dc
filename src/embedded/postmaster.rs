//! The server's processes: make a cluster, launch, recognise, stop.
//!
//! In come a place and binaries, out go a running or a stopped server and the end of its log. Called by `start`
//! and `leave`, always under the gate.
//!
//! The postmaster is started directly, without `pg_ctl`, which hands paths to a shell. It gets a process group
//! of its own, so that Ctrl-C in the terminal reaches the worker, which drains first, and not the server.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, lchown};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::EmbeddedError;
use super::account::Account;
use super::binaries::Binaries;
use super::place::{PORT, Place, SUPERUSER, at, write_private};

const INITDB_MAX_WAIT: Duration = Duration::from_secs(120);
/// A fast stop writes a checkpoint of at most `shared_buffers`.
const STOP_MAX_WAIT: Duration = Duration::from_secs(120);
const STOP_POLL: Duration = Duration::from_millis(20);
const TAIL_MAX_LINES: usize = 20;
const TAIL_MAX_BYTES: u64 = 16 * 1024;
/// No process has it (Linux ends at 2^22), and PostgreSQL still reads it as a number.
const PID_OF_NOBODY: &str = "2147483647";

/// macOS has no C.UTF-8; the encoding is UTF-8 either way.
const LOCALE: &str = if cfg!(target_os = "macos") { "C" } else { "C.UTF-8" };

const SETTINGS: [(&str, &str); 27] = [
    // Reached through the socket only.
    ("listen_addresses", ""),
    ("unix_socket_permissions", "0700"),
    ("max_connections", "100"),
    ("password_encryption", "scram-sha-256"),
    // Commits are on disk when they say so.
    ("fsync", "on"),
    ("synchronous_commit", "on"),
    ("full_page_writes", "on"),
    // Large set statements: fewer checkpoints, spread out, smaller log.
    ("shared_buffers", "256MB"),
    ("max_wal_size", "4GB"),
    ("checkpoint_completion_target", "0.9"),
    ("wal_compression", "on"),
    ("max_locks_per_transaction", "256"),
    // Containers often have 64 MB of /dev/shm, which parallel queries would use.
    ("max_parallel_workers_per_gather", "0"),
    ("max_parallel_maintenance_workers", "0"),
    ("jit", "off"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    // To our file, and without anybody's data: no statements, no values, no details with keys.
    ("logging_collector", "off"),
    ("log_destination", "stderr"),
    ("log_min_messages", "warning"),
    ("log_min_error_statement", "panic"),
    ("log_statement", "none"),
    ("log_min_duration_statement", "-1"),
    ("log_parameter_max_length", "0"),
    ("log_parameter_max_length_on_error", "0"),
    ("log_error_verbosity", "terse"),
    ("log_checkpoints", "off"),
];

/// A program of PostgreSQL under the account, in its own process group, with nothing of our environment but
/// what finds programs and libraries: the worker's own settings may hold secrets.
pub(super) fn command(program: &Path, account: Account, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("LC_ALL", "C").env("HOME", folder).current_dir(folder).process_group(0);
    for name in ["PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    if account.is_other {
        // The standard library drops root's supplementary groups when it changes the uid.
        command.gid(account.gid).uid(account.uid);
    }
    command.stdin(Stdio::null());
    command
}

/// A new cluster in `part/cluster`.
pub(super) async fn initdb(
    place: &Place,
    binaries: &Binaries,
    part: &Path,
    password: &str,
) -> Result<(), EmbeddedError> {
    let account = place.account();
    let password_file = part.join("password");
    write_private(&password_file, password.as_bytes())?;
    if account.is_other {
        lchown(&password_file, Some(account.uid), Some(account.gid)).map_err(at(&password_file))?;
    }
    let mut initdb = command(&binaries.initdb, account, part);
    initdb.args(["-A", "scram-sha-256", "-E", "UTF8", "--data-checksums", "-U", SUPERUSER]);
    initdb.arg(format!("--locale={LOCALE}")).arg("--pwfile").arg(&password_file);
    initdb.arg("-D").arg(part.join("cluster")).kill_on_drop(true);
    let run = |source| EmbeddedError::Run { program: binaries.initdb.clone(), source };
    let Ok(output) = tokio::time::timeout(INITDB_MAX_WAIT, initdb.output()).await else {
        let status = format!("not done after {} s", INITDB_MAX_WAIT.as_secs());
        return Err(EmbeddedError::Initdb { status, output: String::new() });
    };
    let output = output.map_err(run)?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        return Err(EmbeddedError::Initdb { status: output.status.to_string(), output: last_lines(&said) });
    }
    Ok(())
}

/// A postmaster that we started, not yet ready.
pub(super) struct Launched {
    child: Child,
    /// Where in the log its own lines begin.
    pub(super) log_start_bytes: u64,
}

impl Launched {
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>, EmbeddedError> {
        self.child.try_wait().map_err(|source| EmbeddedError::Run { program: "postgres".into(), source })
    }
}

pub(super) fn launch(place: &Place, binaries: &Binaries, socket_folder: &Path) -> Result<Launched, EmbeddedError> {
    let path = place.log();
    let log = OpenOptions::new().append(true).create(true).mode(0o600).open(&path).map_err(at(&path))?;
    let log_start_bytes = log.metadata().map_err(at(&path))?.len();
    let also = log.try_clone().map_err(at(&path))?;

    let cluster = place.cluster();
    let mut postgres = command(&binaries.postgres, place.account(), &cluster);
    postgres.arg("-D").arg(&cluster).stdout(also).stderr(log);
    for (name, value) in SETTINGS {
        postgres.arg("-c").arg(format!("{name}={value}"));
    }
    postgres.arg("-c").arg(format!("port={PORT}"));
    let mut sockets = std::ffi::OsString::from("unix_socket_directories=");
    sockets.push(socket_folder);
    postgres.arg("-c").arg(sockets);
    let child = postgres.spawn().map_err(|source| EmbeddedError::Run { program: binaries.postgres.clone(), source })?;
    Ok(Launched { child, log_start_bytes })
}

/// The postmaster of this cluster, if it runs.
pub(super) fn alive(place: &Place) -> Option<Pid> {
    let text = fs::read_to_string(place.cluster().join("postmaster.pid")).ok()?;
    let pid = Pid::from_raw(text.lines().next()?.trim().parse::<i32>().ok()?.checked_abs()?)?;
    is_postmaster(pid, &place.cluster()).then_some(pid)
}

/// Pids are used again after a reboot or a crash: only `postgres … -D <this cluster>` is ours. A dead process
/// that nobody has waited for yet has no command line.
fn is_postmaster(pid: Pid, cluster: &Path) -> bool {
    let cluster = cluster.as_os_str().as_bytes();
    match fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())) {
        Ok(line) => {
            let mut arguments = line.split(|byte| *byte == 0);
            arguments.next().is_some_and(|program| program.ends_with(b"/postgres"))
                && arguments.any(|argument| argument == cluster)
        }
        Err(_) if Path::new("/proc/self/cmdline").exists() => false,
        // No /proc, as on macOS: one line, in which the folder's end cannot be told from a space.
        Err(_) => command_line_from_ps(pid).windows(cluster.len()).any(|part| part == cluster),
    }
}

fn command_line_from_ps(pid: Pid) -> Vec<u8> {
    let pid = pid.as_raw_nonzero().to_string();
    let output = std::process::Command::new("ps").args(["-ww", "-o", "command=", "-p", &pid]).output();
    output.map(|output| output.stdout).unwrap_or_default()
}

/// After a crash a pid in the lock files may by now belong to another process of the same account, and
/// PostgreSQL would take that for a running server. The pid is replaced and not the file removed: its other
/// lines let PostgreSQL see whether sessions of the old server still live.
pub(super) fn disarm_stale_pid_files(place: &Place, socket_folder: &Path) -> Result<(), EmbeddedError> {
    let stale = place.cluster().join("postmaster.pid");
    if let Ok(text) = fs::read_to_string(&stale)
        && let Some((_, rest)) = text.split_once('\n')
    {
        // Written in a folder that is ours and moved over: the server's account cannot redirect it.
        let part = place.home().join("postmaster.pid.part");
        write_private(&part, format!("{PID_OF_NOBODY}\n{rest}").as_bytes())?;
        let account = place.account();
        if account.is_other {
            lchown(&part, Some(account.uid), Some(account.gid)).map_err(at(&part))?;
        }
        fs::rename(&part, &stale).map_err(at(&stale))?;
    }
    let socket_lock = socket_folder.join(format!(".s.PGSQL.{PORT}.lock"));
    match fs::remove_file(&socket_lock) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(at(&socket_lock)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// What `pg_ctl stop -m fast` does: sessions are ended, transactions rolled back, a checkpoint written.
pub(super) async fn stop(place: &Place, pid: Pid) -> Result<(), EmbeddedError> {
    let number = pid.as_raw_nonzero().get();
    if let Err(error) = kill_process(pid, Signal::INT)
        && error != rustix::io::Errno::SRCH
    {
        return Err(EmbeddedError::Signal { pid: number, source: error.into() });
    }
    let began = Instant::now();
    while is_postmaster(pid, &place.cluster()) {
        if began.elapsed() > STOP_MAX_WAIT {
            let (log, tail) = (place.log(), log_since(place, 0));
            return Err(EmbeddedError::NotStopped { pid: number, waited_seconds: STOP_MAX_WAIT.as_secs(), log, tail });
        }
        tokio::time::sleep(STOP_POLL).await;
    }
    Ok(())
}

/// PostgreSQL refused because sessions of a killed server still use its shared memory.
pub(super) fn tells_of_orphans(tail: &str) -> bool {
    tail.contains("pre-existing shared memory block")
}

/// The last lines of the server's log, none of them from before `start_bytes`.
pub(super) fn log_since(place: &Place, start_bytes: u64) -> String {
    let read = || {
        let mut log = File::open(place.log())?;
        let length_bytes = log.metadata()?.len();
        log.seek(SeekFrom::Start(start_bytes.max(length_bytes.saturating_sub(TAIL_MAX_BYTES))))?;
        let mut bytes = Vec::new();
        log.take(TAIL_MAX_BYTES).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(last_lines(&bytes))
    };
    read().unwrap_or_else(|error| format!("(cannot be read: {error})"))
}

fn last_lines(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_MAX_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_process_is_not_taken_for_the_server() {
        let ourselves = rustix::process::getpid();
        assert!(!is_postmaster(ourselves, Path::new("/srv/pikou/postgres/cluster")));
    }

    #[test]
    fn only_the_last_lines_are_shown() {
        let many: String = (0..50).map(|line| format!("line {line}\n")).collect();
        let shown = last_lines(many.as_bytes());
        assert_eq!(shown.lines().count(), TAIL_MAX_LINES);
        assert!(shown.ends_with("line 49"));
    }
}
