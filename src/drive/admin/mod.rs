//! The admin door: HTTP/1.1 for probes, Prometheus and operators, on a small glommio executor of its own, so
//! that a slow reader there never meets a client's request.

mod answer;
mod desk;
mod zookeeper;

use std::cell::Cell;
use std::io;
use std::net::TcpListener;
use std::os::fd::{FromRawFd, IntoRawFd};
use std::rc::Rc;
use std::time::Duration;

use futures_lite::{AsyncReadExt, AsyncWriteExt, FutureExt};
use glommio::{LocalExecutorBuilder, Placement, net, timer};

use crate::observe::Text;

use answer::{Reply, Request};
pub use desk::Desk;
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

/// Serves on a thread of its own, for as long as the process lives.
pub fn start(listener: TcpListener, desk: Desk, sources: Vec<Source>) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let builder =
        LocalExecutorBuilder::new(Placement::Unbound).name("admin").io_memory(FOOTPRINT).ring_depth(32);
    let spawned = builder.spawn(move || serve(listener, Rc::new(desk), Rc::new(sources)));
    spawned.map(drop).map_err(|e| io::Error::other(format!("the admin door's executor does not start: {e}")))
}

async fn serve(listener: TcpListener, desk: Rc<Desk>, sources: Rc<Vec<Source>>) {
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
        let (open, desk, sources) = (open.clone(), desk.clone(), sources.clone());
        glommio::spawn_local(async move {
            // An error here is the other side's hanging up: nobody is left to be told.
            let _ = converse(stream, &desk, &sources).await;
            open.set(open.get() - 1);
        })
        .detach();
    }
}

async fn converse(mut stream: net::TcpStream, desk: &Desk, sources: &[Source]) -> io::Result<()> {
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
            let late = async {
                timer::sleep(PATIENCE).await;
                Err(io::ErrorKind::TimedOut.into())
            };
            match stream.read(&mut part).or(late).await? {
                0 => return Ok(()),
                n => input.extend_from_slice(&part[..n]),
            }
        };
        let (reply, keep) = match request {
            Ok(request) => (reply_to(&request, desk, sources).await, request.keep),
            Err(reply) => (reply, false),
        };
        let late = async {
            timer::sleep(PATIENCE).await;
            Err(io::ErrorKind::TimedOut.into())
        };
        stream.write_all(&reply.encode(keep)).or(late).await?;
        if !keep {
            return Ok(());
        }
    }
}

async fn reply_to(request: &Request, desk: &Desk, sources: &[Source]) -> Reply {
    if let Some(reply) = desk.zookeeper.as_ref().and_then(|zookeeper| zookeeper.reply(request)) {
        return reply;
    }
    match answer::route(request) {
        answer::Route::Healthz => Reply::text(200, "ok\n"),
        answer::Route::Metrics => {
            let mut text = Text::default();
            if let Ok(status) = desk.status().await {
                answer::gauges(&mut text, &status);
            }
            sources.iter().for_each(|source| source(&mut text));
            Reply::text(200, text.finish())
        }
        answer::Route::Readyz => answer::readyz(desk.status().await),
        answer::Route::Status => answer::status(desk.status().await),
        answer::Route::Order(ask) => answer::done(desk.ask(ask).await),
        answer::Route::Wrong(reply) => reply,
    }
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
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
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
        start(listener, Desk::new(asks, answers, Doorbell::new().unwrap()), vec![source]).unwrap();
        let close = "HTTP/1.1\r\nConnection: close\r\n\r\n";

        assert!(get(at, &format!("GET /healthz {close}")).ends_with("\r\n\r\nok\n"));
        // Nobody answers yet: a probe must not hang.
        assert!(get(at, &format!("GET /readyz {close}")).starts_with("HTTP/1.1 503 "));

        let node = std::thread::spawn(move || {
            let mut seen = 0;
            while seen < 4 {
                let Some((number, ask)) = asked.take() else {
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                };
                let led = Status { leader: Some(NodeId(2)), commit: Index(5), ..Status::default() };
                let reply = match ask {
                    Ask::Status => Answer::Status(led),
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
        node.join().unwrap();
        assert!(get(at, "nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));
    }
}
