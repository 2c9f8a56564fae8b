//! The pages and the metrics that ZooKeeper's tools look for.

use std::sync::Arc;
use std::time::Duration;

use super::Source;
use super::answer::{Reply, Request};
use crate::doors::zk::{Board, Config, pages};
use crate::drive::{Doorbell, clock};
use crate::observe::Text;
use crate::pipeline::lane::Bell;

/// What the admin door shows of the ZooKeeper door.
#[derive(Clone)]
pub struct ZooKeeper {
    pub board: Arc<Board>,
    pub config: Arc<Config>,
    /// Of the loops that have lists to make.
    pub bells: Vec<Arc<Doorbell>>,
}

/// How long to wait for lists, in steps.
const STEPS: u32 = 200;
const STEP: Duration = Duration::from_millis(10);

impl ZooKeeper {
    /// Has the lists made that a page shows.
    async fn gather(&self) {
        let asked = self.board.lists.ask();
        self.bells.iter().for_each(|bell| bell.ring());
        for _ in 0..STEPS {
            if self.board.lists.are_there(asked) {
                return;
            }
            glommio::timer::sleep(STEP).await;
        }
    }

    /// `None`: not one of these pages.
    pub async fn reply(&self, request: &Request) -> Option<Reply> {
        let path = request.path.trim_end_matches('/');
        let name = path.strip_prefix("/commands")?;
        if request.method != "GET" {
            return Some(Reply::error(405, "these pages are only read"));
        }
        match name.strip_prefix('/') {
            None if name.is_empty() => Some(Reply { kind: "text/html", ..Reply::text(200, pages::list()) }),
            None => None,
            Some(name) => {
                if pages::needs_lists(name) {
                    self.gather().await;
                }
                Some(Reply::json(200, pages::page(name, &self.board, &self.config, now_ms())))
            }
        }
    }

    /// By the names that the reference's metrics provider has.
    pub fn source(&self) -> Source {
        let board = self.board.clone();
        Box::new(move |text: &mut Text| {
            for (name, value) in pages::numbers(&board, now_ms()) {
                if value.is_number() {
                    text.foreign(&name, "Named as ZooKeeper names it.", value);
                }
            }
        })
    }
}

fn now_ms() -> u64 {
    clock::now().0 / 1_000_000
}
