//! A web server inside a host's network namespace, run by threads of the test process.
//!
//! It speaks HTTP/1.1 with connections kept alive, plain or over TLS, and remembers what it was asked. A route can also
//! hand the bare connection to a closure, for servers that misbehave.

use super::network::Network;
use super::tls::{Cert, server_config};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

/// The names that hosts know, and where they are: each an address of its own, for one to be down while the others work.
///
/// A host has one repository, of packages for apt or for dnf and zypper, and one server for it.
pub const NAMES: [(&str, &str); 4] = [
    ("releases.example.com", "127.0.0.1"),
    ("apt.example.com", "127.0.0.2"),
    ("yum.example.com", "127.0.0.2"),
    ("proxy.example.com", "127.0.0.3"),
];

/// A request that a server received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Which connection it came over, counted from 0 since the server was made.
    pub connection: usize,
    /// `GET`, mostly.
    pub method: String,
    /// The path with its query (for CONNECT the address), as it stood in the request.
    pub path: String,
    /// The headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// `TLSv1_2` or `TLSv1_3`; nothing over plain HTTP.
    pub tls: Option<String>,
}

/// An answer to a request.
#[derive(Clone, Debug)]
pub struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Response {
    /// `200` with a body.
    pub fn ok(body: impl Into<Vec<u8>>) -> Response {
        Response {
            status: 200,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    /// Another status, with an empty body.
    pub fn status(status: u16) -> Response {
        Response {
            status,
            ..Response::ok("")
        }
    }

    /// A redirect.
    pub fn redirect(to: &str) -> Response {
        Response::status(302).header("Location", to)
    }

    /// The same with a body.
    pub fn body(self, body: impl Into<Vec<u8>>) -> Response {
        Response {
            body: body.into(),
            ..self
        }
    }

    /// The same with one more header.
    pub fn header(mut self, name: &str, value: &str) -> Response {
        self.headers.push((name.into(), value.into()));
        self
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut head = format!(
            "HTTP/1.1 {} Test\r\nContent-Length: {}\r\n",
            self.status,
            self.body.len()
        );
        for (name, value) in &self.headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        head.push_str("\r\n");
        [head.as_bytes(), &self.body].concat()
    }
}

/// A connection as a raw route gets it: below it TLS or nothing.
pub trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// Takes over a connection after a request; the connection ends when it returns.
type RawRoute = Arc<dyn Fn(&Request, &mut dyn Stream) + Send + Sync>;
/// Takes over a connection before anything was said on it, TLS included.
type RawServer = Arc<dyn Fn(TcpStream) + Send + Sync>;

#[derive(Clone)]
enum Route {
    Response(Response),
    Raw(RawRoute),
}

#[derive(Clone)]
enum Protocol {
    Plain,
    Tls(Arc<ServerConfig>),
    Raw(RawServer),
}

/// What the threads of a server share.
struct Shared {
    protocol: Mutex<Protocol>,
    routes: Mutex<BTreeMap<String, Route>>,
    directories: Mutex<BTreeMap<String, PathBuf>>,
    requests: Mutex<Vec<Request>>,
    connections: Mutex<Vec<TcpStream>>,
}

/// A web server. Stopped or dropped, it refuses connections.
pub struct Server {
    network: Network,
    address: String,
    shared: Arc<Shared>,
    listening: Mutex<Option<(TcpListener, JoinHandle<()>)>>,
}

impl Server {
    /// Starts an https server on an address like `127.0.0.1:443`.
    pub fn https(network: &Network, address: &str, cert: Cert) -> Server {
        Server::new(network, address, Protocol::Tls(server_config(cert)))
    }

    /// Starts a plain http server.
    pub fn http(network: &Network, address: &str) -> Server {
        Server::new(network, address, Protocol::Plain)
    }

    /// Starts a server that does with every new connection what `serve` does, in a thread for each.
    pub fn raw(
        network: &Network,
        address: &str,
        serve: impl Fn(TcpStream) + Send + Sync + 'static,
    ) -> Server {
        Server::new(network, address, Protocol::Raw(Arc::new(serve)))
    }

    fn new(network: &Network, address: &str, protocol: Protocol) -> Server {
        let shared = Shared {
            protocol: Mutex::new(protocol),
            routes: Mutex::default(),
            directories: Mutex::default(),
            requests: Mutex::default(),
            connections: Mutex::default(),
        };
        let server = Server {
            network: network.clone(),
            address: address.into(),
            shared: Arc::new(shared),
            listening: Mutex::new(None),
        };
        server.start();
        server
    }

    /// Answers exactly this path with this response from now on.
    pub fn route(&self, path: &str, response: Response) {
        self.set_route(path, Route::Response(response));
    }

    /// Hands the connection to `serve` after a request for exactly this path; it ends when `serve` returns.
    pub fn raw_route(
        &self,
        path: &str,
        serve: impl Fn(&Request, &mut dyn Stream) + Send + Sync + 'static,
    ) {
        self.set_route(path, Route::Raw(Arc::new(serve)));
    }

    /// Answers this path with 404 again.
    pub fn remove_route(&self, path: &str) {
        lock(&self.shared.routes).remove(path);
    }

    /// Answers what is below this path, which ends in `/`, with the files of a directory.
    pub fn directory(&self, prefix: &str, directory: &Path) {
        lock(&self.shared.directories).insert(prefix.into(), directory.into());
    }

    /// Shows another certificate on new connections, and ends those that are open.
    pub fn set_cert(&self, cert: Cert) {
        *lock(&self.shared.protocol) = Protocol::Tls(server_config(cert));
        self.end_connections();
    }

    /// What was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.requests).clone()
    }

    /// The paths that were asked so far.
    pub fn paths(&self) -> Vec<String> {
        self.requests()
            .into_iter()
            .map(|request| request.path)
            .collect()
    }

    /// Forgets what was asked.
    pub fn forget_requests(&self) {
        lock(&self.shared.requests).clear();
    }

    /// Refuses connections from now on, and ends those that are open.
    pub fn stop(&self) {
        if let Some((listener, thread)) = lock(&self.listening).take() {
            // Wakes the thread that waits in accept.
            let _ = TcpStream::from(OwnedFd::from(listener)).shutdown(Shutdown::Both);
            thread.join().unwrap();
        }
        self.end_connections();
    }

    /// Listens again after `stop`.
    pub fn start(&self) {
        let mut listening = lock(&self.listening);
        if listening.is_none() {
            let listener = self.network.listen(&self.address);
            let (accepting, shared) = (listener.try_clone().unwrap(), Arc::clone(&self.shared));
            *listening = Some((listener, thread::spawn(move || accept(&accepting, &shared))));
        }
    }

    fn set_route(&self, path: &str, route: Route) {
        lock(&self.shared.routes).insert(path.into(), route);
    }

    fn end_connections(&self) {
        for connection in lock(&self.shared.connections).iter() {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept() {
        let number = {
            let mut connections = lock(&shared.connections);
            connections.push(stream.try_clone().unwrap());
            connections.len() - 1
        };
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            let ending = stream.try_clone().unwrap();
            // A client that breaks a connection off is no failure of the server's.
            let _ = shared.serve_connection(number, stream);
            // The clone kept for `stop` would hold the connection open.
            let _ = ending.shutdown(Shutdown::Both);
        });
    }
}

impl Shared {
    fn serve_connection(&self, number: usize, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let protocol = lock(&self.protocol).clone();
        match protocol {
            Protocol::Raw(serve) => {
                serve(stream);
                Ok(())
            }
            Protocol::Plain => self.serve_requests(number, None, &mut BufReader::new(stream)),
            Protocol::Tls(config) => {
                let mut connection = ServerConnection::new(config).map_err(io::Error::other)?;
                let mut stream = stream;
                connection.complete_io(&mut stream)?;
                let tls = connection
                    .protocol_version()
                    .map(|version| format!("{version:?}"));
                let mut stream = BufReader::new(StreamOwned::new(connection, stream));
                self.serve_requests(number, tls, &mut stream)?;
                stream.get_mut().conn.send_close_notify();
                stream.get_mut().flush()
            }
        }
    }

    fn serve_requests<S: Stream>(
        &self,
        number: usize,
        tls: Option<String>,
        stream: &mut BufReader<S>,
    ) -> io::Result<()> {
        while let Some(request) = read_request(number, tls.clone(), stream)? {
            lock(&self.requests).push(request.clone());
            let route = lock(&self.routes).get(&request.path).cloned();
            let response = match route {
                Some(Route::Raw(serve)) => {
                    serve(&request, stream.get_mut());
                    return Ok(());
                }
                Some(Route::Response(response)) => response,
                None => self
                    .file(&request.path)
                    .unwrap_or_else(|| Response::status(404)),
            };
            stream.get_mut().write_all(&response.to_bytes())?;
            stream.get_mut().flush()?;
        }
        Ok(())
    }

    fn file(&self, path: &str) -> Option<Response> {
        if path.split('/').any(|part| part == "..") {
            return None;
        }
        let path = path
            .replace("%2b", "+")
            .replace("%2B", "+")
            .replace("%7e", "~")
            .replace("%7E", "~");
        let directories = lock(&self.directories);
        let (prefix, directory) = directories
            .iter()
            .rev()
            .find(|(prefix, _)| path.starts_with(prefix.as_str()))?;
        fs::read(directory.join(&path[prefix.len()..]))
            .ok()
            .map(Response::ok)
    }
}

/// The next request of a connection, or nothing at its end.
fn read_request(
    connection: usize,
    tls: Option<String>,
    stream: &mut impl BufRead,
) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.insert(name.to_lowercase(), value.trim().to_owned()),
            None => {
                return Ok(Some(Request {
                    connection,
                    method,
                    path,
                    headers,
                    tls,
                }));
            }
        };
    }
}

/// The lock, also after a thread that held it has panicked: its test fails anyway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
