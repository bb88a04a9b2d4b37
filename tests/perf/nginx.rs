//! The version server as an operator would run it: nginx with two files, in the network of a throwaway host.

use host::network::Network;
use host::pem;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A running nginx; it ends when it is dropped.
pub struct Nginx {
    master: Child,
    directory: PathBuf,
}

impl Nginx {
    /// Serves a channel with this version on the host's address of the release channel.
    pub fn serve(network: &Network, directory: &Path, version: &str) -> Nginx {
        let directory = directory.join("nginx");
        let write = |name: &str, text: &str| {
            let file = directory.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        write("www/current/version", &format!("{version}\n"));
        write("www/current/critical", "no\n");
        let (certificate, key) = pem();
        write("certificate.pem", &certificate);
        write("key.pem", &key);
        write("nginx.conf", &configuration(&directory));
        let mut command = network.command("nginx");
        command
            .arg("-p")
            .arg(&directory)
            .arg("-c")
            .arg(directory.join("nginx.conf"))
            .stdin(Stdio::null());
        let master = command.spawn().expect("nginx");
        let nginx = Nginx { master, directory };
        let deadline = Instant::now() + Duration::from_secs(30);
        while network.connect("127.0.0.1:443").is_err() {
            assert!(Instant::now() < deadline, "nginx does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        nginx
    }

    /// CPU time that it has used, all processes together, in seconds.
    pub fn cpu(&self) -> f64 {
        let children =
            fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.master.id())).unwrap();
        children
            .split_whitespace()
            .map(|pid| cpu(pid.parse().unwrap()))
            .sum()
    }

    /// A line for every request so far: connection, status, the request itself.
    pub fn log(&self) -> Vec<String> {
        let log = fs::read_to_string(self.directory.join("access.log")).unwrap_or_default();
        log.lines().map(str::to_string).collect()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.master.id().try_into().unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.master.wait();
    }
}

/// CPU time of a process, from the scheduler's own count in nanoseconds, in seconds.
pub fn cpu(pid: u32) -> f64 {
    let schedstat = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    schedstat
        .split(' ')
        .next()
        .and_then(|nanoseconds| nanoseconds.parse::<f64>().ok())
        .unwrap_or(0.0)
        / 1e9
}

fn configuration(directory: &Path) -> String {
    let here = directory.display();
    format!(
        "daemon off;\nuser root;\nworker_processes 1;\npid {here}/pid;\nerror_log {here}/error.log;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n\
           log_format short '$connection $status $ssl_protocol $request';\n\
           access_log {here}/access.log short;\n\
           client_body_temp_path {here}/tmp; proxy_temp_path {here}/tmp; fastcgi_temp_path {here}/tmp;\n\
           uwsgi_temp_path {here}/tmp; scgi_temp_path {here}/tmp;\n\
           server {{\n\
             listen 127.0.0.1:443 ssl http2 backlog=4096;\n\
             ssl_certificate {here}/certificate.pem;\n\
             ssl_certificate_key {here}/key.pem;\n\
             ssl_protocols TLSv1.2 TLSv1.3;\n\
             root {here}/www;\n\
             default_type text/plain;\n\
           }}\n\
         }}\n"
    )
}
