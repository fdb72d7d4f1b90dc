//! The real binary as a child process, in a folder and on a database of its own.

use std::ops::RangeInclusive;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use sqlx::postgres::{PgPool, PgPoolOptions};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use crate::support::new_database;

/// Longest wait for any state.
pub const PATIENCE: Duration = Duration::from_secs(60);
const SIGKILL: i32 = 9;

pub struct Pikou {
    pub folder: tempfile::TempDir,
    pub pool: PgPool,
    settings: Vec<(String, String)>,
}

pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("ended by a signal: {}", self.stderr))
    }

    pub fn was_killed(&self) -> bool {
        self.status.signal() == Some(SIGKILL)
    }
}

impl Pikou {
    /// Settings as in the environment; everything else is shipped.
    pub async fn new(settings: &[(&str, &str)]) -> Pikou {
        Pikou::on(new_database().await, settings).await
    }

    /// With the book in a given database.
    pub async fn on(url: String, settings: &[(&str, &str)]) -> Pikou {
        let pool = PgPoolOptions::new().max_connections(2).connect(&url).await.unwrap();
        let mut all = vec![("PIKOU__DATABASE__URL".to_owned(), url)];
        all.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        Pikou { folder: tempfile::tempdir().unwrap(), pool, settings: all }
    }

    pub fn settings(&self) -> Vec<(String, String)> {
        self.settings.clone()
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Nothing of our own environment comes along, and no `pikou.toml` lies where it works.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pikou"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("PIKOU__DATA__FOLDER", self.data())
            .envs(self.settings.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    pub async fn run(&self, arguments: &[&str]) -> Ended {
        ended(self.command(arguments)).await
    }

    pub async fn run_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
        let mut command = self.command(arguments);
        command.envs(environment.iter().copied());
        ended(command).await
    }

    pub async fn run_fed(&self, arguments: &[&str], input: &[u8]) -> Ended {
        let mut command = self.command(arguments);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input).await.unwrap();
        drop(stdin);
        let output = child.wait_with_output().await.unwrap();
        told(output)
    }

    /// `--json`: exactly one document on stdout, whatever is on stderr.
    pub async fn document(&self, arguments: &[&str], code: i32) -> Value {
        let mut all = vec!["--json"];
        all.extend(arguments);
        let ended = self.run(&all).await;
        assert_eq!(ended.code(), code, "{arguments:?}: {}{}", ended.stdout, ended.stderr);
        serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}", ended.stdout))
    }

    /// A worker whose log goes to `serve.log`.
    pub fn serve(&self, environment: &[(&str, &str)]) -> Child {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log()).unwrap();
        let mut command = self.command(&["serve"]);
        command.envs(environment.iter().copied()).stdout(Stdio::null()).stderr(log).spawn().expect("it starts")
    }

    pub fn log(&self) -> PathBuf {
        self.folder.path().join("serve.log")
    }

    pub async fn count(&self, sql: &'static str) -> i64 {
        // The tables come with the first start.
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap_or(-1)
    }

    /// Waits until a count is what it should be.
    pub async fn until(&self, sql: &'static str, expected: i64) {
        self.until_in(sql, expected..=expected).await;
    }

    /// Waits until a count is within a range, and returns it.
    pub async fn until_in(&self, sql: &'static str, expected: RangeInclusive<i64>) -> i64 {
        let start = Instant::now();
        loop {
            let count = self.count(sql).await;
            if expected.contains(&count) {
                return count;
            }
            let log = || std::fs::read_to_string(self.log()).unwrap_or_default();
            assert!(start.elapsed() < PATIENCE, "{count}, not {expected:?}: {sql}\n{}", log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn texts(&self, sql: &'static str) -> Vec<String> {
        let rows: Vec<(Option<String>,)> = sqlx::query_as(sql).fetch_all(&self.pool).await.unwrap();
        rows.into_iter().map(|(text,)| text.unwrap_or_else(|| "null".into())).collect()
    }

    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// The file of events, a document a line.
    pub fn events(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.data().join("events.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Waits for the end of a worker, but not for ever.
pub async fn end_of(child: &mut Child, log: &Path) -> ExitStatus {
    let end = tokio::time::timeout(PATIENCE, child.wait()).await;
    end.unwrap_or_else(|_| panic!("it goes on and on: {}", std::fs::read_to_string(log).unwrap_or_default())).unwrap()
}

/// Asks a worker to stop, and sees that it does so in order.
pub async fn stop(pikou: &Pikou, mut child: Child) {
    let pid = rustix::process::Pid::from_raw(child.id().expect("it runs") as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let status = end_of(&mut child, &pikou.log()).await;
    assert_eq!(status.code(), Some(0), "{}", std::fs::read_to_string(pikou.log()).unwrap());
}

async fn ended(mut command: Command) -> Ended {
    let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("it ends").unwrap();
    told(output)
}

fn told(output: std::process::Output) -> Ended {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) }
}
