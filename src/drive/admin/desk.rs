//! The lane to the order stage. Several questions may be open: a plan of changes is answered when its last step is
//! committed, and nobody else waits for that.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use glommio::timer;

use crate::drive::admin::ZooKeeper;
use crate::drive::bell::Doorbell;
use crate::pipeline::lane::{Bell, Rx, Tx};
use crate::pipeline::parcel::{Answer, Ask, Status};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a plan may take before whoever asked for it is told to look for himself: a newcomer gets everything.
const PLAN_PATIENCE: Duration = Duration::from_secs(600);

/// The first look for an answer comes soon, the next ones at twice the distance, up to this.
const LOOK_MAX: Duration = Duration::from_millis(20);

pub struct Desk {
    asks: RefCell<Tx<(u64, Ask)>>,
    answers: RefCell<Rx<(u64, Answer)>>,
    /// Of the loop that has the order stage.
    bell: Arc<Doorbell>,
    asked: Cell<u64>,
    /// Pages that need no answer of the node.
    pub zookeeper: Option<ZooKeeper>,
    /// Questions that somebody waits for, and their answers as they come.
    open: RefCell<BTreeMap<u64, Option<Answer>>>,
}

impl Desk {
    pub fn new(asks: Tx<(u64, Ask)>, answers: Rx<(u64, Answer)>, bell: Arc<Doorbell>) -> Desk {
        Desk {
            asks: RefCell::new(asks),
            answers: RefCell::new(answers),
            bell,
            asked: Cell::new(0),
            zookeeper: None,
            open: RefCell::default(),
        }
    }

    pub async fn status(&self) -> Result<Status, String> {
        match self.ask(Ask::Status).await? {
            Answer::Status(status) => Ok(*status),
            other => Err(format!("asked for a status, was told {other:?}")),
        }
    }

    pub async fn ask(&self, ask: Ask) -> Result<Answer, String> {
        let (patience, late) = match ask {
            Ask::Members(_) => (PLAN_PATIENCE, "the plan is still under way; /status shows its steps"),
            _ => (PATIENCE, "the node does not answer"),
        };
        let number = self.asked.get() + 1;
        self.asked.set(number);
        if self.asks.borrow().room() == 0 {
            return Err("the node does not answer".into());
        }
        self.open.borrow_mut().insert(number, None);
        self.asks.borrow_mut().send((number, ask));
        self.bell.ring();
        let (mut waited, mut look) = (Duration::ZERO, Duration::from_micros(100));
        loop {
            self.sort();
            let come = self.open.borrow_mut().get_mut(&number).and_then(Option::take);
            if let Some(answer) = come {
                self.open.borrow_mut().remove(&number);
                return Ok(answer);
            }
            if waited >= patience {
                self.open.borrow_mut().remove(&number);
                return Err(late.into());
            }
            timer::sleep(look).await;
            waited += look;
            look = (look * 2).min(LOOK_MAX);
        }
    }

    /// Answers to those who wait; one to a question that was given up is thrown away.
    fn sort(&self) {
        let mut answers = self.answers.borrow_mut();
        while let Some((number, answer)) = answers.take() {
            if let Some(place) = self.open.borrow_mut().get_mut(&number) {
                *place = Some(answer);
            }
        }
    }
}
