//! Three nodes, each in a network namespace of its own, on a bridge that this test's own namespace reaches too.
//!
//! What is cut here is cut for good until it is mended: packets vanish, and nobody is told.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::cluster::{Node, QUORATE};
use super::within;

const PATIENCE: Duration = Duration::from_secs(120);
const NODES: u8 = 3;

pub struct Lan {
    pub dir: PathBuf,
    /// Told apart from those of other tests and other runs.
    tag: String,
    subnet: String,
    children: Vec<Option<Child>>,
    doing: String,
}

impl Lan {
    /// `None`: this user or machine has no namespaces to give.
    pub fn start(name: &str) -> Option<Lan> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/blackbox");
        let dir = root.join(format!("{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        let (high, low) = (std::process::id() / 250 % 64, std::process::id() % 250);
        let (tag, subnet) =
            (format!("q{}{}", std::process::id(), &name[..1]), format!("10.{}.{low}", 150 + high));
        let children = (0..NODES).map(|_| None).collect();
        let lan = Lan { dir, tag, subnet, children, doing: "starting".into() };
        lan.wire().then_some(lan).map(|mut lan| {
            (1..=NODES).for_each(|id| lan.format(id));
            (1..=NODES).for_each(|id| lan.launch(id));
            lan.await_ready(&[1, 2, 3]);
            lan
        })
    }

    /// A bridge, and for each node a namespace with a cable to it.
    fn wire(&self) -> bool {
        let Lan { tag, subnet, .. } = self;
        let bridge = format!("{tag}b");
        let mut made = ip(&["link", "add", &bridge, "type", "bridge"])
            && ip(&["addr", "add", &format!("{subnet}.254/24"), "dev", &bridge])
            && ip(&["link", "set", &bridge, "up"]);
        for id in 1..=NODES {
            let (space, near, far) = (self.space(id), self.cable(id), format!("{tag}x{id}"));
            made = made
                && ip(&["netns", "add", &space])
                && ip(&["link", "add", &near, "type", "veth", "peer", "name", &far])
                && ip(&["link", "set", &near, "master", &bridge, "up"])
                && ip(&["link", "set", &far, "netns", &space])
                && ip(&["-n", &space, "addr", "add", &format!("{subnet}.{id}/24"), "dev", &far])
                && ip(&["-n", &space, "link", "set", &far, "up"])
                && ip(&["-n", &space, "link", "set", "lo", "up"]);
        }
        made
    }

    fn space(&self, id: u8) -> String {
        format!("{}n{id}", self.tag)
    }

    /// The bridge's end of a node's cable.
    fn cable(&self, id: u8) -> String {
        format!("{}v{id}", self.tag)
    }

    fn address(&self, id: u8) -> String {
        format!("{}.{id}", self.subnet)
    }

    fn config(&self, id: u8) -> PathBuf {
        self.dir.join(format!("node-{id}.toml"))
    }

    fn format(&self, id: u8) {
        let own = self.address(id);
        let members = (1..=NODES).map(|id| format!("\"{id}={}:7400\"", self.address(id)));
        let members = members.collect::<Vec<_>>().join(", ");
        let text = format!(
            "node = {id}\ndata = {:?}\ncluster = \"{:032x}\"\nmembers = [{members}]\ncores = 1\npin = \"no\"\n\
             native = \"{own}:7411\"\nadmin = \"{own}:7470\"\nzk = \"off\"\nplaintext = true\n",
            self.dir.join(format!("node-{id}")),
            0x1a4
        );
        std::fs::write(self.config(id), text).unwrap();
        let mut command = Command::new(QUORATE);
        command.arg("format").arg("--config").arg(self.config(id)).stdout(Stdio::null());
        assert!(command.status().unwrap().success());
    }

    fn launch(&mut self, id: u8) {
        let log = self.dir.join(format!("node-{id}.log"));
        let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.space(id), QUORATE, "serve", "--config"]).arg(self.config(id));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.children[usize::from(id) - 1] = Some(command.spawn().unwrap());
    }

    pub fn doing(&mut self, what: impl Into<String>) {
        self.doing = what.into();
    }

    pub fn nodes(&self) -> Vec<Node> {
        let at = |id: u8, port: u16| format!("{}:{port}", self.address(id));
        let node = |id: u8| Node {
            id: u64::from(id),
            pid: self.children[usize::from(id) - 1].as_ref().map_or(0, |child| child.id() as i32),
            native: at(id, 7411),
            admin: at(id, 7470).parse::<SocketAddr>().unwrap(),
        };
        (1..=NODES).map(node).collect()
    }

    /// Who leads by its own word, of these: the latest epoch's.
    pub fn leader_of(&self, ids: &[u8]) -> Option<u8> {
        let nodes = self.nodes().into_iter().filter(|node| ids.contains(&(node.id as u8)));
        let leading = nodes.filter_map(|node| {
            let status = node.status()?;
            (status["leader"].as_u64() == Some(node.id)).then(|| (status["epoch"].as_u64(), node.id as u8))
        });
        leading.max().map(|(_, id)| id)
    }

    pub fn leader(&self) -> u8 {
        within(PATIENCE, || self.leader_of(&[1, 2, 3])).expect("a leader")
    }

    pub fn await_ready(&self, ids: &[u8]) {
        for id in ids {
            let node = &self.nodes()[usize::from(*id) - 1];
            let ready = within(PATIENCE, || node.is_ready().then_some(()));
            ready.unwrap_or_else(|| panic!("node {id} is not ready after {PATIENCE:?}"));
        }
    }

    /// Nothing goes from `from` to `to` any more; what `to` sends still arrives.
    pub fn mute(&self, from: u8, to: u8) {
        let route = format!("{}/32", self.address(to));
        assert!(ip(&["-n", &self.space(from), "route", "replace", "blackhole", &route]));
    }

    /// Nothing goes between these two, either way. Clients reach both.
    pub fn part(&self, a: u8, b: u8) {
        self.mute(a, b);
        self.mute(b, a);
    }

    /// The cable of this node is out: nobody reaches it, clients neither.
    pub fn unplug(&self, id: u8) {
        assert!(ip(&["link", "set", &self.cable(id), "down"]));
    }

    /// Everything is as it was.
    pub fn mend(&self) {
        for id in 1..=NODES {
            assert!(ip(&["link", "set", &self.cable(id), "up"]));
            for other in (1..=NODES).filter(|other| *other != id) {
                let route = format!("{}/32", self.address(other));
                let mut command = Command::new("ip");
                command.args(["-n", &self.space(id), "route", "del", "blackhole", &route]);
                let _ = command.stderr(Stdio::null()).status(); // Most were never there.
            }
        }
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for child in self.children.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
        for id in 1..=NODES {
            let _ = Command::new("ip").args(["netns", "del", &self.space(id)]).status();
            let _ = Command::new("ip").args(["link", "del", &self.cable(id)]).stderr(Stdio::null()).status();
        }
        let _ = Command::new("ip").args(["link", "del", &format!("{}b", self.tag)]).status();
        if std::thread::panicking() {
            eprintln!("failed while {}; the data is kept in {}", self.doing, self.dir.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

/// True if it could be run and ended well.
fn ip(args: &[&str]) -> bool {
    Command::new("ip").args(args).status().is_ok_and(|status| status.success())
}
