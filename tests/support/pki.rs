//! Certificates as an operator makes them, by `openssl`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// An authority.
pub struct Authority {
    dir: PathBuf,
    pub ca: PathBuf,
}

/// A certificate and its key.
#[derive(Clone)]
pub struct Papers {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new(dir: &Path, name: &str) -> Authority {
        let dir = dir.join(name);
        std::fs::create_dir_all(&dir).unwrap();
        let (ca, key) = (dir.join("ca.pem"), dir.join("ca.key"));
        let args =
            ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"];
        let subject = format!("/CN={name}");
        run(Command::new("openssl")
            .args(args)
            .args(["-subj", &subject])
            .arg("-keyout")
            .arg(key)
            .arg("-out")
            .arg(&ca));
        Authority { dir, ca }
    }

    /// `names` as openssl has them: `IP:127.0.0.1,DNS:node-1.quorate`. `days` of -1: it expired yesterday.
    pub fn issue(&self, file: &str, subject: &str, names: &str, days: i32) -> Papers {
        let at = |end: &str| self.dir.join(format!("{file}.{end}"));
        let papers = Papers { cert: at("pem"), key: at("key") };
        let args = [
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            subject,
        ];
        run(Command::new("openssl").args(args).arg("-keyout").arg(&papers.key).arg("-out").arg(at("csr")));
        let more = format!("subjectAltName={names}\nextendedKeyUsage=serverAuth,clientAuth\n");
        std::fs::write(at("ext"), more).unwrap();
        let mut sign = Command::new("openssl");
        sign.args(["x509", "-req", "-CAcreateserial", "-days", &days.to_string()]);
        sign.arg("-in").arg(at("csr")).arg("-CA").arg(&self.ca).arg("-CAkey").arg(self.dir.join("ca.key"));
        run(sign.arg("-extfile").arg(at("ext")).arg("-out").arg(&papers.cert));
        papers
    }
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("openssl is installed");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
