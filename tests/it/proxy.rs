//! A wire between the worker and PostgreSQL that can be cut where it hurts: at the COMMIT.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// When the wire is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The server never hears of the COMMIT.
    BeforeTheServer,
    /// The server has committed, and its answer is lost.
    BeforeTheAnswer,
}

/// Simple query, eleven bytes, COMMIT.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";
/// Command complete, eleven bytes, COMMIT.
const COMMITTED: &[u8] = b"C\0\0\0\x0bCOMMIT\0";

pub struct Proxy {
    port: u16,
    cuts: Arc<Mutex<VecDeque<Cut>>>,
}

impl Proxy {
    /// In front of the server of a URL.
    pub async fn before(url: &str) -> Proxy {
        let server = url.rsplit_once('@').unwrap().1.split('/').next().unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let cuts = Arc::new(Mutex::new(VecDeque::new()));
        let planned = Arc::clone(&cuts);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (server, planned) = (server.clone(), Arc::clone(&planned));
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(server).await {
                        wire(client, server, planned).await;
                    }
                });
            }
        });
        Proxy { port, cuts }
    }

    /// The same URL, through here.
    pub fn url(&self, url: &str) -> String {
        let (before, after) = url.rsplit_once('@').unwrap();
        let (_, database) = after.split_once('/').unwrap();
        format!("{before}@127.0.0.1:{}/{database}", self.port)
    }

    /// Cuts the next COMMITs, each in its way.
    pub fn cut(&self, cuts: impl IntoIterator<Item = Cut>) {
        self.cuts.lock().unwrap().extend(cuts);
    }

    /// How many cuts are still to come.
    pub fn to_come(&self) -> usize {
        self.cuts.lock().unwrap().len()
    }
}

/// Carries bytes both ways until one side ends, or until it is cut.
async fn wire(client: TcpStream, server: TcpStream, cuts: Arc<Mutex<VecDeque<Cut>>>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (mut asked, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            read = from_client.read(&mut asked) => {
                let Some(bytes) = some(read, &asked) else { return };
                let commits = bytes.windows(COMMIT.len()).any(|window| window == COMMIT);
                let cut = if commits { cuts.lock().unwrap().pop_front() } else { None };
                match cut {
                    None => if to_server.write_all(bytes).await.is_err() { return },
                    Some(Cut::BeforeTheServer) => return,
                    Some(Cut::BeforeTheAnswer) => {
                        committed(bytes, &mut to_server, &mut from_server).await;
                        return;
                    }
                }
            }
            read = from_server.read(&mut answered) => {
                let Some(bytes) = some(read, &answered) else { return };
                if to_client.write_all(bytes).await.is_err() { return }
            }
        }
    }
}

fn some(read: std::io::Result<usize>, bytes: &[u8]) -> Option<&[u8]> {
    read.ok().filter(|count| *count > 0).map(|count| &bytes[..count])
}

/// Sends the COMMIT on and waits until the server says that it is done.
async fn committed(commit: &[u8], to_server: &mut OwnedWriteHalf, from_server: &mut OwnedReadHalf) {
    to_server.write_all(commit).await.unwrap();
    let mut answer = Vec::new();
    while !answer.windows(COMMITTED.len()).any(|window| window == COMMITTED) {
        assert!(from_server.read_buf(&mut answer).await.unwrap() > 0, "the server is gone");
    }
}
