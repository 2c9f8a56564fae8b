//! The lane to the order stage: one question at a time, answered within a second or not at all.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use glommio::timer;

use crate::drive::admin::ZooKeeper;
use crate::drive::bell::Doorbell;
use crate::pipeline::lane::{Bell, Rx, Tx};
use crate::pipeline::parcel::{Answer, Ask, Status};

const PATIENCE: Duration = Duration::from_secs(1);

/// The first look for an answer comes soon, the next ones at twice the distance, up to this.
const LOOK_MAX: Duration = Duration::from_millis(20);

pub struct Desk {
    asks: RefCell<Tx<(u64, Ask)>>,
    answers: RefCell<Rx<(u64, Answer)>>,
    /// Of the loop that has the order stage.
    bell: Arc<Doorbell>,
    asked: Cell<u64>,
    busy: Cell<bool>,
    /// Pages that need no answer of the node.
    pub zookeeper: Option<ZooKeeper>,
}

impl Desk {
    pub fn new(asks: Tx<(u64, Ask)>, answers: Rx<(u64, Answer)>, bell: Arc<Doorbell>) -> Desk {
        Desk {
            asks: RefCell::new(asks),
            answers: RefCell::new(answers),
            bell,
            asked: Cell::new(0),
            busy: Cell::new(false),
            zookeeper: None,
        }
    }

    pub async fn status(&self) -> Result<Status, String> {
        match self.ask(Ask::Status).await? {
            Answer::Status(status) => Ok(status),
            other => Err(format!("asked for a status, was told {other:?}")),
        }
    }

    pub async fn ask(&self, ask: Ask) -> Result<Answer, String> {
        let mut waited = Duration::ZERO;
        while self.busy.replace(true) {
            timer::sleep(Duration::from_millis(1)).await;
        }
        let number = self.asked.get() + 1;
        self.asked.set(number);
        let sent = self.asks.borrow().room() > 0;
        if sent {
            self.asks.borrow_mut().send((number, ask));
            self.bell.ring();
        }
        let mut look = Duration::from_micros(100);
        let answer = loop {
            let taken = self.answers.borrow_mut().take();
            match taken {
                Some((n, answer)) if n == number => break Ok(answer),
                Some(_) => {} // To a question that was given up.
                None if !sent || waited >= PATIENCE => break Err("the node does not answer".to_owned()),
                None => {
                    timer::sleep(look).await;
                    waited += look;
                    look = (look * 2).min(LOOK_MAX);
                }
            }
        };
        self.busy.set(false);
        answer
    }
}
