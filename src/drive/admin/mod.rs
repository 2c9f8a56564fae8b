//! The admin door: HTTP/1.1 for probes, Prometheus and operators, on a small glommio executor of its own, so
//! that a slow reader there never meets a client's request.

mod answer;
mod desk;
mod members;
mod stream;
mod zookeeper;

use std::cell::Cell;
use std::io;
use std::net::TcpListener;
use std::os::fd::{FromRawFd, IntoRawFd};
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::FutureExt;
use glommio::{LocalExecutorBuilder, Placement, net, timer};

use crate::base::{BlockMut, Index};
use crate::drive::dir::Dir;
use crate::observe::Text;
use crate::pipeline::ports::File;

use answer::{Reply, Request, Route};
pub use desk::Desk;
use stream::Stream;
pub use zookeeper::ZooKeeper;

/// What contributes to `/metrics`.
pub type Source = Box<dyn Fn(&mut Text) + Send>;

/// Connections at a time; the next wait in the listener's queue.
const CONNECTIONS_MAX: usize = 64;

/// The longest head and body that are read.
const REQUEST_MAX: usize = 8 << 10;

/// How long a connection may take for a request, and sit idle.
const PATIENCE: Duration = Duration::from_secs(10);

/// Registered memory of the executor: its file buffers, which the admin door never uses, at glommio's least.
pub const FOOTPRINT: usize = 64 << 10;

/// Bytes of a snapshot in one send. Read by this thread itself, which nobody but operators waits for.
const PIECE: usize = 256 << 10;

/// What the door speaks of.
pub struct House {
    pub desk: Desk,
    pub sources: Vec<Source>,
    /// Where snapshots are handed out from.
    pub dir: Arc<Dir>,
    /// `None`: in the clear.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

/// Serves on a thread of its own, for as long as the process lives.
pub fn start(listener: TcpListener, house: House) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let builder =
        LocalExecutorBuilder::new(Placement::Unbound).name("admin").io_memory(FOOTPRINT).ring_depth(32);
    let spawned = builder.spawn(move || serve(listener, Rc::new(house)));
    spawned.map(drop).map_err(|e| io::Error::other(format!("the admin door's executor does not start: {e}")))
}

async fn serve(listener: TcpListener, house: Rc<House>) {
    // SAFETY: the descriptor is a listening socket that nobody else owns any more.
    let listener = unsafe { net::TcpListener::from_raw_fd(listener.into_raw_fd()) };
    let open = Rc::new(Cell::new(0));
    loop {
        while open.get() >= CONNECTIONS_MAX {
            timer::sleep(Duration::from_millis(10)).await;
        }
        let Ok(stream) = listener.accept().await else {
            timer::sleep(Duration::from_millis(100)).await; // Too many open files, say.
            continue;
        };
        open.set(open.get() + 1);
        let (open, house) = (open.clone(), house.clone());
        glommio::spawn_local(async move {
            // An error here is the other side's hanging up: nobody is left to be told.
            if let Ok(stream) = in_time(Stream::accept(stream, house.tls.as_ref())).await {
                let _ = converse(stream, &house).await;
            }
            open.set(open.get() - 1);
        })
        .detach();
    }
}

async fn converse(mut stream: Stream, house: &House) -> io::Result<()> {
    let mut input = Vec::new();
    loop {
        let request = loop {
            match answer::parse(&input, REQUEST_MAX) {
                Ok(Some((request, len))) => {
                    input.drain(..len);
                    break Ok(request);
                }
                Ok(None) => {}
                Err(reply) => break Err(reply),
            }
            let mut part = [0; 2048];
            match in_time(stream.read(&mut part)).await? {
                0 => return Ok(()),
                n => input.extend_from_slice(&part[..n]),
            }
        };
        let (reply, keep) = match request {
            Ok(request) => match reply_to(&request, &mut stream, house).await? {
                Some(reply) => (reply, request.keep),
                None => return Ok(()),
            },
            Err(reply) => (reply, false),
        };
        in_time(stream.write_all(&reply.encode(keep))).await?;
        if !keep {
            return in_time(stream.finish()).await;
        }
    }
}

async fn in_time<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = async {
        timer::sleep(PATIENCE).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    work.or(late).await
}

/// The newest snapshot's file, open: should it be removed meanwhile, what is open stays readable.
async fn newest_snapshot(house: &House) -> Result<(std::fs::File, u64), Reply> {
    let index = match house.desk.status().await {
        Ok(status) if status.snapshot > Index(0) => status.snapshot,
        Ok(_) => {
            return Err(Reply::error(409, "this node has no snapshot yet; ask for one by POST /snapshot"));
        }
        Err(why) => return Err(Reply::error(503, why)),
    };
    let file = File::Snapshot(index);
    let open = house.dir.open_file(file).and_then(|open| Ok((open.metadata()?.len(), open)));
    let (length, open) = open.map_err(|e| Reply::error(503, format!("{file}: {e}; try again")))?;
    Ok((open, length))
}

/// As it lies on the disk, checksums and all. Whoever receives it checks it.
async fn send_file(stream: &mut Stream, file: &std::fs::File, length: u64) -> io::Result<()> {
    in_time(stream.write_all(answer::file_head(length).as_bytes())).await?;
    let mut piece = BlockMut::zeroed(PIECE);
    let mut at = 0;
    while at < length {
        let count = PIECE.min((length - at) as usize);
        let part = &mut piece.bytes_mut()[..count];
        file.read_exact_at(part, at)?;
        in_time(stream.write_all(part)).await?;
        at += count as u64;
    }
    in_time(stream.finish()).await
}

/// `None`: it was a file, sent piece by piece, behind which the connection ends.
async fn reply_to(request: &Request, stream: &mut Stream, house: &House) -> io::Result<Option<Reply>> {
    let House { desk, sources, .. } = house;
    if let Some(pages) = &desk.zookeeper
        && let Some(reply) = pages.reply(request).await
    {
        return Ok(Some(reply));
    }
    Ok(Some(match answer::route(request) {
        Route::Healthz => Reply::text(200, "ok\n"),
        Route::Metrics => {
            let mut text = Text::default();
            if let Ok(status) = desk.status().await {
                answer::gauges(&mut text, &status);
            }
            sources.iter().for_each(|source| source(&mut text));
            Reply::text(200, text.finish())
        }
        Route::Readyz => answer::readyz(desk.status().await),
        Route::Status => answer::status(desk.status().await),
        Route::Order(ask) => answer::done(desk.ask(ask).await),
        Route::Wrong(reply) => reply,
        Route::Download => match newest_snapshot(house).await {
            Ok((file, length)) => {
                send_file(stream, &file, length).await?;
                return Ok(None);
            }
            Err(reply) => reply,
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Index, NodeId};
    use crate::drive::Doorbell;
    use crate::pipeline::lane::lane;
    use crate::pipeline::parcel::{Answer, Ask, Status};
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};

    fn get(at: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(at).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut all = String::new();
        stream.read_to_string(&mut all).unwrap();
        all
    }

    #[test]
    fn questions_reach_the_node_and_come_back_over_http() {
        let (asks, mut asked) = lane(4);
        let (mut answer, answers) = lane(4);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let source: Source = Box::new(|text: &mut Text| text.gauge("test", "A test.", &[], 17));
        let scratch = tempfile::tempdir_in(concat!(env!("CARGO_MANIFEST_DIR"), "/target")).unwrap();
        let dir = Arc::new(Dir::open(scratch.path()).unwrap());
        let desk = Desk::new(asks, answers, Doorbell::new().unwrap());
        start(listener, House { desk, sources: vec![source], dir, tls: None }).unwrap();
        let close = "HTTP/1.1\r\nConnection: close\r\n\r\n";

        assert!(get(at, &format!("GET /healthz {close}")).ends_with("\r\n\r\nok\n"));
        // Nobody answers yet: a probe must not hang.
        assert!(get(at, &format!("GET /readyz {close}")).starts_with("HTTP/1.1 503 "));

        let node = std::thread::spawn(move || {
            let mut seen = 0;
            while seen < 5 {
                let Some((number, ask)) = asked.take() else {
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                };
                let led = Status { leader: Some(NodeId(2)), commit: Index(5), ..Status::default() };
                let reply = match ask {
                    Ask::Status => Answer::Status(Box::new(led)),
                    _ => Answer::Refused("not the leader".into()),
                };
                answer.send((number, reply));
                seen += 1; // The first was given up; its answer is thrown away.
            }
        });
        let two = format!("GET /status HTTP/1.1\r\n\r\nGET /metrics {close}");
        let both = get(at, &two);
        assert!(both.contains("\"leader\":2") && both.contains("\"commit\":5"), "{both}");
        assert!(both.contains("quorate_commit_index 5") && both.contains("quorate_test 17"), "{both}");
        let refused = get(at, &format!("POST /transfer?to=3 {close}"));
        assert!(refused.starts_with("HTTP/1.1 409 ") && refused.contains("not the leader"), "{refused}");
        let none = get(at, &format!("GET /snapshot {close}"));
        assert!(none.starts_with("HTTP/1.1 409 ") && none.contains("no snapshot yet"), "{none}");
        node.join().unwrap();
        assert!(get(at, "nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));
    }
}
