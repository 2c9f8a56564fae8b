//! Systems by name, started on fresh data for one run and ended after it: quorate by its own binary, the others by
//! `scripts/peers`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;

use crate::driver::Protocol;

const READY_PATIENCE: Duration = Duration::from_secs(60);
/// Beside the ports that people use by hand.
const PORT_OFFSET: &str = "18200";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum System {
    QuorateNative,
    QuorateZk,
    Zookeeper,
    Etcd,
    Consul,
}

/// Where programs and data lie.
#[derive(clap::Args, Clone, Debug)]
pub struct Where {
    /// Started clusters keep their data below this folder, and it is removed with them
    #[arg(long, value_name = "DIR", default_value = "loadgen-data")]
    pub data: PathBuf,
    /// The quorate binary [default: beside loadgen]
    #[arg(long, value_name = "FILE")]
    pub quorate_bin: Option<PathBuf>,
    /// The script that starts ZooKeeper, etcd and Consul
    #[arg(long, value_name = "FILE", default_value = "scripts/peers")]
    pub peers: PathBuf,
}

impl System {
    pub fn target(self) -> Protocol {
        match self {
            System::QuorateNative => Protocol::Native,
            System::QuorateZk | System::Zookeeper => Protocol::Zk,
            System::Etcd => Protocol::Etcd,
            System::Consul => Protocol::Consul,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            System::QuorateNative => "quorate-native",
            System::QuorateZk => "quorate-zk",
            System::Zookeeper => "zookeeper",
            System::Etcd => "etcd",
            System::Consul => "consul",
        }
    }
}

impl System {
    /// What its makers call it, and what they say which one it is; `None`: nobody says.
    pub fn version(self, at: &Where) -> Option<(&'static str, Value)> {
        let said = |mut command: Command| {
            let output =
                command.stderr(Stdio::null()).output().ok().filter(|output| output.status.success())?;
            String::from_utf8(output.stdout).ok()
        };
        match self {
            System::QuorateNative | System::QuorateZk => {
                let mut command = Command::new(at.quorate().ok()?);
                command.arg("--version");
                let words = said(command)?;
                Some(("quorate", words.trim().trim_start_matches("quorate ").into()))
            }
            other => {
                let mut command = Command::new(&at.peers);
                command.args(["versions", other.name()]);
                Some((other.name(), serde_json::from_str(&said(command)?).ok()?))
            }
        }
    }
}

impl Where {
    fn quorate(&self) -> Result<PathBuf, String> {
        match &self.quorate_bin {
            Some(program) => Ok(program.clone()),
            None => std::env::current_exe()
                .map(|own| own.with_file_name("quorate"))
                .map_err(|error| error.to_string()),
        }
    }
}

/// Three nodes that end with this.
pub struct Running {
    system: System,
    child: Option<Child>,
    peers: PathBuf,
    data: PathBuf,
}

impl Running {
    pub fn start(system: System, at: &Where) -> Result<Running, String> {
        let data = at.data.join(format!("{}-{}", system.name(), std::process::id()));
        if data.exists() {
            return Err(format!("{} is there already; remove it, or pass another --data", data.display()));
        }
        fs::create_dir_all(&data).map_err(|error| format!("{}: {error}", data.display()))?;
        let mut running = Running { system, child: None, peers: at.peers.clone(), data };
        match system {
            System::QuorateNative | System::QuorateZk => running.start_quorate(at)?,
            _ => running.ask_peers(&["start"], &["--nodes", "3"])?,
        }
        Ok(running)
    }

    pub fn cluster(&self) -> PathBuf {
        self.data.join("cluster.json")
    }

    fn start_quorate(&mut self, at: &Where) -> Result<(), String> {
        let program = at.quorate()?;
        let log = self.data.join("dev.log");
        let out = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let child = Command::new(&program)
            .args(["dev", "--nodes", "3", "--port-offset", PORT_OFFSET, "--data"])
            .arg(&self.data)
            .stdin(Stdio::null())
            .stdout(out.try_clone().map_err(|error| error.to_string())?)
            .stderr(out)
            .spawn()
            .map_err(|error| format!("{}: {error}; build it, or pass --quorate-bin", program.display()))?;
        let child = self.child.insert(child);
        let since = Instant::now();
        while !self.data.join("cluster.json").exists() {
            let ended = child.try_wait().map_err(|error| error.to_string())?.is_some();
            if ended || since.elapsed() > READY_PATIENCE {
                let said = fs::read_to_string(&log).unwrap_or_default();
                return Err(format!(
                    "quorate does not start: {}",
                    said.lines().last().unwrap_or("it says nothing")
                ));
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn ask_peers(&self, verb: &[&str], flags: &[&str]) -> Result<(), String> {
        let status = Command::new(&self.peers)
            .args(verb)
            .arg(self.system.name())
            .arg("--data")
            .arg(&self.data)
            .args(flags)
            .stdout(Stdio::null())
            .status()
            .map_err(|error| format!("{}: {error}; pass --peers", self.peers.display()))?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("{} {} failed", self.peers.display(), verb.join(" ")))
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        match &mut self.child {
            Some(child) => {
                let pid = rustix::process::Pid::from_child(child);
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
                let _ = child.wait();
            }
            None => {
                let _ = self.ask_peers(&["stop"], &[]);
            }
        }
        let _ = fs::remove_dir_all(&self.data);
        // Only if nobody else has anything in it.
        let _ = self.data.parent().map_or(Ok(()), |above: &Path| fs::remove_dir(above));
    }
}
