//! The private PostgreSQL, on real servers: first start, sharing, dying, coming back.
//!
//! A worker killed with SIGKILL is a value that is dropped without `leave`: its locks go, its server stays.
//! As root the server runs under another account, so the folders here are open for passing through.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use pikou::embedded::Embedded;
use rustix::process::{Pid, Signal, geteuid, getpgid, kill_process};
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor};
use tempfile::TempDir;

const GONE_MAX_POLLS: usize = 1_000;
const POLL: Duration = Duration::from_millis(20);

/// A data folder that every account may pass through.
fn data_folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("mode of the folder");
    folder
}

async fn connect(server: &Embedded) -> PgConnection {
    PgConnection::connect_with(&server.options()).await.expect("a connection as pikou")
}

async fn ask(server: &Embedded, question: &'static str) -> String {
    let mut connection = connect(server).await;
    sqlx::query_scalar(question).fetch_one(&mut connection).await.expect("an answer")
}

fn pid_file(server: &Embedded) -> PathBuf {
    server.folder().join("cluster/postmaster.pid")
}

fn postmaster(pid_file: &Path) -> Pid {
    let text = fs::read_to_string(pid_file).expect("a pid file");
    let number = text.lines().next().and_then(|line| line.parse().ok()).expect("a pid in the first line");
    Pid::from_raw(number).expect("a pid")
}

fn runs(pid: Pid) -> bool {
    fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).is_ok_and(|line| !line.is_empty())
}

async fn wait_until_gone(pid: Pid) {
    for _ in 0..GONE_MAX_POLLS {
        if !runs(pid) {
            return;
        }
        tokio::time::sleep(POLL).await;
    }
    panic!("process {pid:?} is still there");
}

async fn write_note(server: &Embedded, note: &'static str) {
    let mut connection = connect(server).await;
    connection.execute("CREATE TABLE IF NOT EXISTS notes (note text NOT NULL)").await.expect("a table");
    sqlx::query("INSERT INTO notes VALUES ($1)").bind(note).execute(&mut connection).await.expect("a row");
}

const NOTES: &str = "SELECT string_agg(note, ' ' ORDER BY note) FROM notes";

#[tokio::test]
async fn first_start_makes_a_cluster_and_leaving_stops_it_with_the_data_kept() {
    let data = data_folder();
    let server = Embedded::start(data.path()).await.expect("first start");
    assert_eq!(ask(&server, "SELECT current_user || ' ' || current_database()").await, "pikou pikou");
    assert_eq!(
        ask(
            &server,
            "SELECT pg_encoding_to_char(encoding) || ' ' || datcollate FROM pg_database WHERE datname = 'pikou'"
        )
        .await,
        "UTF8 C"
    );
    assert_eq!(ask(&server, "SELECT rolsuper::text FROM pg_roles WHERE rolname = 'pikou'").await, "false");
    write_note(&server, "kept").await;
    let pid = postmaster(&pid_file(&server));
    server.leave().await.expect("leaving");
    assert!(!runs(pid), "the last to leave stops the server");

    let again = Embedded::start(data.path()).await.expect("second start");
    assert_eq!(ask(&again, NOTES).await, "kept");
    again.leave().await.expect("leaving");
}

#[tokio::test]
async fn durability_and_privacy_settings_are_in_force() {
    let data = data_folder();
    let server = Embedded::start(data.path()).await.expect("start");
    for (question, expected) in [
        ("SELECT current_setting('data_checksums')", "on"),
        ("SELECT current_setting('fsync')", "on"),
        ("SELECT current_setting('synchronous_commit')", "on"),
        ("SELECT current_setting('listen_addresses')", ""),
        ("SELECT current_setting('TimeZone')", "UTC"),
        ("SELECT current_setting('max_parallel_workers_per_gather')", "0"),
        ("SELECT current_setting('max_locks_per_transaction')", "256"),
        ("SELECT current_setting('max_connections')", "100"),
        ("SELECT current_setting('shared_buffers')", "256MB"),
        ("SELECT current_setting('max_wal_size')", "4GB"),
        ("SELECT current_setting('jit')", "off"),
    ] {
        assert_eq!(ask(&server, question).await, expected, "{question}");
    }
    for name in ["pikou.password", "superuser.password", "server.log"] {
        let mode = fs::metadata(server.folder().join(name)).expect(name).mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    server.leave().await.expect("leaving");
}

#[tokio::test]
async fn values_in_failing_statements_do_not_reach_the_log() {
    let data = data_folder();
    let server = Embedded::start(data.path()).await.expect("start");
    let mut connection = connect(&server).await;
    connection.execute("CREATE TABLE people (name text UNIQUE)").await.expect("a table");
    for failing in [
        "SELECT 'ZhangSan'::int",
        "INSERT INTO people VALUES ('ZhangSan'), ('ZhangSan')",
        "SELECT ZhangSan FROM people",
        "DO $$ BEGIN RAISE WARNING 'ZhangSan'; RAISE EXCEPTION 'ZhangSan'; END $$",
    ] {
        connection.execute(failing).await.expect_err(failing);
    }
    let bound = sqlx::query("SELECT $1::text::int").bind("ZhangSan").execute(&mut connection).await;
    bound.expect_err("not a number");
    let log = server.folder().join("server.log");
    server.leave().await.expect("leaving");
    let text = fs::read_to_string(log).expect("the log");
    assert!(!text.contains("ZhangSan"), "{text}");
}

#[tokio::test]
async fn several_users_share_one_server_and_only_the_last_stops_it() {
    let data = data_folder();
    // At once, on a folder that has no cluster yet.
    let (first, second) = tokio::join!(Embedded::start(data.path()), Embedded::start(data.path()));
    let (first, second) = (first.expect("first"), second.expect("second"));
    let pid = postmaster(&pid_file(&first));
    write_note(&first, "shared").await;
    first.leave().await.expect("first leaves");
    assert!(runs(pid), "the second still uses it");
    assert_eq!(ask(&second, NOTES).await, "shared");
    let third = Embedded::start(data.path()).await.expect("third");
    assert_eq!(postmaster(&pid_file(&third)), pid, "attached, not started");
    let (left, right) = tokio::join!(second.leave(), third.leave());
    left.expect("second leaves");
    right.expect("third leaves");
    assert!(!runs(pid), "nobody is left");
}

#[tokio::test]
async fn after_a_killed_worker_the_next_attaches_and_its_leave_stops_the_server() {
    let data = data_folder();
    let killed = Embedded::start(data.path()).await.expect("start");
    let pid = postmaster(&pid_file(&killed));
    drop(killed);
    assert!(runs(pid), "the server outlives its worker");
    let next = Embedded::start(data.path()).await.expect("attach");
    assert_eq!(postmaster(&pid_file(&next)), pid);
    next.leave().await.expect("leaving");
    assert!(!runs(pid));
}

#[tokio::test]
async fn after_everything_was_killed_the_next_start_recovers_what_was_committed() {
    let data = data_folder();
    let killed = Embedded::start(data.path()).await.expect("start");
    write_note(&killed, "committed").await;
    let pid = postmaster(&pid_file(&killed));
    kill_process(pid, Signal::KILL).expect("kill the postmaster");
    wait_until_gone(pid).await;
    drop(killed);
    let next = Embedded::start(data.path()).await.expect("start after the crash");
    assert_ne!(postmaster(&pid_file(&next)), pid);
    assert_eq!(ask(&next, NOTES).await, "committed");
    next.leave().await.expect("leaving");
}

#[tokio::test]
async fn sessions_that_outlive_a_killed_server_only_delay_the_next_start() {
    let data = data_folder();
    let killed = Embedded::start(data.path()).await.expect("start");
    let pid = postmaster(&pid_file(&killed));
    let mut busy = connect(&killed).await;
    let counting = tokio::spawn(async move {
        // Works without a pause, so it does not notice that its server is gone.
        busy.execute("SELECT count(*) FROM generate_series(1, 8000000)").await.map(drop)
    });
    let active = "SELECT count(*)::text FROM pg_stat_activity WHERE query LIKE 'SELECT count(*) FROM generate%'";
    for _ in 0..GONE_MAX_POLLS {
        if ask(&killed, active).await == "1" {
            break;
        }
        tokio::time::sleep(POLL).await;
    }
    kill_process(pid, Signal::KILL).expect("kill the postmaster");
    let next = Embedded::start(data.path()).await.expect("start once the session has ended");
    assert_ne!(postmaster(&pid_file(&next)), pid);
    drop(counting.await.expect("the busy session's task"));
    drop(killed);
    next.leave().await.expect("leaving");
}

#[tokio::test]
async fn ctrl_c_in_the_terminal_does_not_reach_the_server() {
    let data = data_folder();
    let server = Embedded::start(data.path()).await.expect("start");
    let group = getpgid(Some(postmaster(&pid_file(&server)))).expect("its process group");
    assert_ne!(group, getpgid(None).expect("our process group"));
    server.leave().await.expect("leaving");
}

#[tokio::test]
async fn a_user_that_stays_while_the_server_is_killed_and_started_again_is_still_counted() {
    let data = data_folder();
    let stays = Embedded::start(data.path()).await.expect("start");
    let killed = postmaster(&pid_file(&stays));
    kill_process(killed, Signal::KILL).expect("kill the postmaster");
    wait_until_gone(killed).await;
    let restarter = Embedded::start(data.path()).await.expect("start again");
    let pid = postmaster(&pid_file(&restarter));
    restarter.leave().await.expect("restarter leaves");
    assert!(runs(pid), "the one that stayed still uses it");
    assert_eq!(ask(&stays, "SELECT 'back'").await, "back");
    stays.leave().await.expect("leaving");
    assert!(!runs(pid));
}

#[tokio::test]
async fn a_pid_that_now_belongs_to_another_process_does_not_block() {
    let data = data_folder();
    let killed = Embedded::start(data.path()).await.expect("start");
    let (file, pid) = (pid_file(&killed), postmaster(&pid_file(&killed)));
    let account = fs::metadata(&file).expect("the pid file");
    kill_process(pid, Signal::KILL).expect("kill the postmaster");
    wait_until_gone(pid).await;
    // PostgreSQL itself would only believe a process of its own account.
    let mut foreign = Command::new("sleep");
    foreign.arg("600");
    if geteuid().is_root() {
        std::os::unix::process::CommandExt::uid(&mut foreign, account.uid());
    }
    let mut foreign = foreign.spawn().expect("a foreign process");
    for file in [file, killed.folder().join("run/.s.PGSQL.5432.lock")] {
        let text = fs::read_to_string(&file).expect("a lock file");
        let (_, rest) = text.split_once('\n').expect("a first line");
        fs::write(&file, format!("{}\n{rest}", foreign.id())).expect("a reused pid");
    }
    drop(killed);

    let next = Embedded::start(data.path()).await;
    assert!(foreign.try_wait().expect("state of the foreign process").is_none(), "it must not be harmed");
    foreign.kill().expect("end it");
    foreign.wait().expect("its end");
    let next = next.expect("start in spite of the reused pid");
    next.leave().await.expect("leaving");
}

#[tokio::test]
async fn what_an_interrupted_initdb_left_is_cleared_away() {
    let data = data_folder();
    let home = data.path().join("postgres");
    fs::create_dir_all(home.join("cluster.part-0123/cluster/base")).expect("a half-made cluster");
    fs::write(home.join("cluster.part-0123/cluster/PG_VERSION"), "15\n").expect("a file of it");
    let server = Embedded::start(data.path()).await.expect("start");
    assert!(!home.join("cluster.part-0123").exists());
    server.leave().await.expect("leaving");
}

#[tokio::test]
async fn a_missing_role_or_database_is_made_again() {
    let data = data_folder();
    let server = Embedded::start(data.path()).await.expect("start");
    let password = fs::read_to_string(server.folder().join("superuser.password")).expect("its password");
    let superuser = server.options().username("postgres").password(&password).database("postgres");
    let mut connection = PgConnection::connect_with(&superuser).await.expect("the superuser");
    connection.execute("DROP DATABASE pikou").await.expect("no database");
    connection.execute("DROP ROLE pikou").await.expect("no role");
    let second = Embedded::start(data.path()).await.expect("attach and mend");
    assert_eq!(ask(&second, "SELECT current_user::text").await, "pikou");
    connection.close().await.expect("goodbye");
    server.leave().await.expect("leaving");
    second.leave().await.expect("leaving");
}

#[tokio::test]
async fn a_long_path_gets_its_socket_elsewhere() {
    let data = data_folder();
    let deep = data.path().join("深".repeat(20)).join("x".repeat(100));
    let server = Embedded::start(&deep).await.expect("start");
    assert!(server.folder().starts_with(&deep));
    let options = server.options();
    let socket_folder = options.get_socket().expect("a socket").clone();
    assert!(socket_folder.starts_with("/tmp"), "{socket_folder:?}");
    assert_eq!(fs::metadata(&socket_folder).expect("the socket's folder").mode() & 0o777, 0o700);
    assert_eq!(ask(&server, "SELECT current_user::text").await, "pikou");
    server.leave().await.expect("leaving");
    assert!(!socket_folder.exists(), "nothing stays in /tmp");
}

#[tokio::test]
async fn a_path_with_signs_of_the_shell_is_only_a_path() {
    let data = data_folder();
    let odd = data.path().join("it's a \"$HOME\", `x` %s");
    let server = Embedded::start(&odd).await.expect("start");
    assert_eq!(ask(&server, "SELECT current_user::text").await, "pikou");
    server.leave().await.expect("leaving");
}

#[tokio::test]
async fn a_start_that_fails_shows_the_end_of_the_log() {
    let data = data_folder();
    let server = Embedded::start(data.path()).await.expect("start");
    let settings = server.folder().join("cluster/postgresql.conf");
    server.leave().await.expect("leaving");
    let text = fs::read_to_string(&settings).expect("the settings");
    fs::write(&settings, format!("{text}\nno_such_setting = 1\n")).expect("a wrong setting");
    let error = Embedded::start(data.path()).await.expect_err("no start");
    assert!(error.to_string().contains("no_such_setting"), "{error}");
}

#[tokio::test]
async fn a_cluster_whose_password_is_lost_is_reported_and_not_replaced() {
    let data = data_folder();
    let server = Embedded::start(data.path()).await.expect("start");
    let (password, cluster) = (server.folder().join("superuser.password"), server.folder().join("cluster"));
    server.leave().await.expect("leaving");
    fs::remove_file(&password).expect("lose it");
    let error = Embedded::start(data.path()).await.expect_err("no way in");
    assert!(error.to_string().contains("superuser.password"), "{error}");
    assert!(cluster.join("PG_VERSION").exists() && !password.exists());
}

#[tokio::test]
async fn a_data_folder_out_of_the_servers_reach_puts_the_cluster_elsewhere() {
    if !geteuid().is_root() {
        return; // an ordinary user's server runs as that user
    }
    let closed = tempfile::tempdir_in("/root").expect("a folder in root's home");
    fs::set_permissions(closed.path(), Permissions::from_mode(0o700)).expect("a closed folder");
    let data = closed.path().join("data");
    let server = Embedded::start(&data).await.expect("start");
    let home = server.folder().to_owned();
    assert!(home.starts_with("/var/lib/pikou"), "{home:?}");
    assert_ne!(fs::metadata(home.join("cluster")).expect("the cluster").uid(), 0);
    write_note(&server, "far away").await;
    server.leave().await.expect("leaving");

    // Opened later, the folder still means the cluster that exists.
    fs::set_permissions(closed.path(), Permissions::from_mode(0o755)).expect("an open folder");
    let again = Embedded::start(&data).await.expect("start again");
    assert_eq!(again.folder(), home);
    assert_eq!(ask(&again, NOTES).await, "far away");
    again.leave().await.expect("leaving");
    fs::remove_dir_all(&home).expect("nothing stays");
    fs::remove_dir(home.parent().expect("its parent")).ok(); // unless another cluster is there
}
