//! The nodes of a local cluster: their configurations and their processes.

use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::config;
use crate::drive;
use crate::tools::dev::at;
use crate::tools::serve;

/// Doors that listen, and the port of the first node's.
const DOORS: [(&str, u16); 4] = [("native", 7411), ("zk", 2181), ("admin", 7470), ("peer", 7400)];

/// More would run into the next door's ports.
const NODES_MAX: u8 = 9;

pub struct Plan {
    pub nodes: Vec<NodePlan>,
}

#[derive(Clone)]
pub struct NodePlan {
    pub id: u8,
    pub ports: Vec<(&'static str, u16)>,
    pub config: PathBuf,
    pub log: PathBuf,
    /// Cores that it has to itself; empty: all of them, like the others.
    cores: Vec<usize>,
    connections: Option<usize>,
}

impl NodePlan {
    pub fn admin(&self) -> SocketAddr {
        let port = self.ports.iter().find(|(door, _)| *door == "admin").expect("every node has one").1;
        SocketAddr::from(([127, 0, 0, 1], port))
    }
}

impl Plan {
    /// What `dir` holds, or a new cluster.
    pub fn prepare(
        dir: &Path,
        wanted: Option<u8>,
        offset: Option<u16>,
        connections: Option<usize>,
    ) -> Result<Plan, String> {
        let config = |id: u8| dir.join(format!("node-{id}.toml"));
        let held = (1..=NODES_MAX).take_while(|id| config(*id).exists()).count() as u8;
        // Without configurations a new cluster is founded, over what an interrupted beginning may have left. A log
        // file says that nodes have run: their data is nobody's to remove.
        if held == 0
            && let Some(log) =
                (1..=NODES_MAX).map(|id| dir.join(format!("node-{id}.log"))).find(|log| log.exists())
        {
            return Err(format!(
                "{} is missing, but {} shows that nodes have run here; put it back, or pass another --data",
                config(1).display(),
                log.display()
            ));
        }
        let count = match (held, wanted) {
            (0, wanted) => wanted.unwrap_or(1),
            (held, Some(wanted)) if wanted != held => {
                return Err(format!(
                    "{} holds a cluster of {held}; pass --nodes {held}, or another --data for one of {wanted}",
                    dir.display()
                ));
            }
            (held, _) => held,
        };
        if !(1..=NODES_MAX).contains(&count) {
            return Err(format!("--nodes {count}: from 1 to {NODES_MAX}"));
        }
        let shift = offset.unwrap_or(0);
        let online = std::thread::available_parallelism().map_or(1, usize::from);
        let share = if count > 1 { online / usize::from(count) } else { 0 };
        let plan = |id: u8| {
            let port = |(door, base): &(&'static str, u16)| {
                let port = base.checked_add(shift).and_then(|port| port.checked_add(u16::from(id) - 1));
                port.map(|port| (*door, port))
                    .ok_or_else(|| format!("--port-offset {shift}: ports end at 65535"))
            };
            let doors = DOORS.iter().filter(|(door, _)| count > 1 || *door != "peer");
            let first = usize::from(id - 1) * share;
            Ok::<_, String>(NodePlan {
                id,
                ports: doors.map(port).collect::<Result<_, _>>()?,
                config: config(id),
                log: dir.join(format!("node-{id}.log")),
                cores: (first..first + share).collect(),
                connections,
            })
        };
        let mut plan = Plan { nodes: (1..=count).map(plan).collect::<Result<_, _>>()? };
        if held == 0 {
            plan.found(dir)?
        } else {
            plan.take_ports(dir, offset)?
        }
        Ok(plan)
    }

    /// A new cluster: configurations and empty logs. The first node's configuration is written last: without it
    /// the directory holds no cluster, and an interrupted beginning is begun again.
    fn found(&self, dir: &Path) -> Result<(), String> {
        let cluster = format!("{:016x}{:016x}", drive::random(), drive::random());
        let members: Vec<String> = self
            .nodes
            .iter()
            .filter_map(|node| {
                let (_, port) = node.ports.iter().find(|(door, _)| *door == "peer")?;
                Some(format!("\"{}=127.0.0.1:{port}\"", node.id))
            })
            .collect();
        for node in self.nodes.iter().rev() {
            let data = dir.join(format!("node-{}", node.id));
            let mut text = format!("node = {}\ndata = {:?}\ncluster = \"{cluster}\"\n", node.id, data);
            if !members.is_empty() {
                // One loop each: several nodes on one host only take each other's cores.
                text += &format!(
                    "members = [{}]\ncores = {}\npin = \"no\"\n",
                    members.join(", "),
                    node.cores.len().max(1)
                );
            }
            for (door, port) in node.ports.iter().filter(|(door, _)| *door != "peer") {
                text += &format!("{door} = \"127.0.0.1:{port}\"\n");
            }
            // A cluster for trying things: its tools may ask anything, and all its clients have one address.
            text += "zk-words = [\"*\"]\nzk-per-address = 0\n";
            let _ = std::fs::remove_dir_all(&data);
            let keys = config::Args::from_toml(&text).map_err(|e| e.to_string())?;
            let plan = keys.plan(1).map_err(|e| e.to_string())?;
            drive::format(&plan, false).map_err(|e| e.to_string())?;
            std::fs::write(&node.config, text).map_err(|e| at(&node.config, e))?;
        }
        Ok(())
    }

    /// A cluster keeps its ports: its log names the members' addresses.
    fn take_ports(&mut self, dir: &Path, offset: Option<u16>) -> Result<(), String> {
        for node in &mut self.nodes {
            let plan = serve::plan(Some(&node.config), config::Args::default(), config::Args::default())?;
            let peer = plan.members.iter().find(|(id, _)| *id == plan.node).map(|(_, at)| *at);
            for (door, port) in &mut node.ports {
                let held = match *door {
                    "admin" => Some(plan.admin),
                    "peer" => peer,
                    _ => plan.listen.iter().find(|(d, _)| drive::door_name(*d) == *door).map(|(_, at)| *at),
                };
                let held = held.ok_or_else(|| format!("{}: no {door} port", node.config.display()))?.port();
                if offset.is_some() && held != *port {
                    return Err(format!(
                        "{} holds a cluster whose {door} port is {held}; leave out --port-offset, or pass another --data",
                        dir.display()
                    ));
                }
                *port = held;
            }
        }
        Ok(())
    }
}

/// A node's process, and how it ended.
pub struct Node {
    pub plan: NodePlan,
    child: Child,
    dead: bool,
}

impl Node {
    pub fn start(plan: &NodePlan) -> Result<Node, String> {
        let log = OpenOptions::new().create(true).append(true).open(&plan.log);
        let log = log.map_err(|e| at(&plan.log, e))?;
        let copy = |log: &File| log.try_clone().map_err(|e| at(&plan.log, e));
        // The running image, also if its file was replaced by a build meanwhile.
        let mut command = Command::new("/proc/self/exe");
        command.arg0("quorate").arg("serve").arg("--config").arg(&plan.config);
        if let Some(connections) = plan.connections {
            command.arg("--connections").arg(connections.to_string());
        }
        command.envs([drive::tuning()]);
        command.stdin(Stdio::null()).stdout(copy(&log)?).stderr(log);
        // A terminal's Ctrl-C is for this process, which then stops the nodes.
        command.process_group(0);
        let (parent, cores) = (std::process::id(), plan.cores.clone());
        // SAFETY: between fork and exec only system calls are made, on memory that was there before.
        unsafe {
            command.pre_exec(move || {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                if libc::getppid() as u32 != parent {
                    libc::_exit(1); // It died before the call: nobody would end us.
                }
                let mut none: libc::sigset_t = std::mem::zeroed();
                libc::sigemptyset(&mut none);
                libc::pthread_sigmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
                if !cores.is_empty() {
                    let mut set: libc::cpu_set_t = std::mem::zeroed();
                    cores.iter().for_each(|core| libc::CPU_SET(*core, &mut set));
                    libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set);
                }
                Ok(())
            });
        }
        let child = command.spawn().map_err(|e| format!("node {} does not start: {e}", plan.id))?;
        Ok(Node { plan: plan.clone(), child, dead: false })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn is_alive(&self) -> bool {
        !self.dead
    }

    /// How it died, told once.
    pub fn poll_death(&mut self) -> Option<String> {
        if self.dead {
            return None;
        }
        let status = self.child.try_wait().ok()??;
        self.dead = true;
        Some(status.to_string())
    }

    pub fn signal(&self, signal: libc::c_int) {
        // SAFETY: no pointers. The child has not been waited for, so its number is still its own.
        unsafe { libc::kill(self.child.id() as libc::pid_t, signal) };
    }

    /// The last line of its log.
    pub fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.plan.log).unwrap_or_default();
        text.lines().last().unwrap_or("it said nothing").to_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        let mut value = serde_json::json!({ "id": self.plan.id, "pid": self.child.id() });
        for (door, port) in &self.plan.ports {
            value[*door] = format!("127.0.0.1:{port}").into();
        }
        value
    }
}
