//! The network between a branch server and its database: it cuts a connection just before, or just after, a statement
//! got through.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};

/// What is done with the next statement that has these bytes in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Cut {
    /// It gets through, and so does its answer.
    Nothing = 0,
    /// It never arrives.
    Before = 1,
    /// It arrives, and nobody hears of it.
    After = 2,
}

/// A way to a PostgreSQL server.
pub(crate) struct Proxy {
    port: u16,
    server: Arc<AtomicU16>,
    cut: Arc<AtomicU8>,
}

impl Proxy {
    /// The way to the server on a port of this machine. Statements with `marker` in them can be cut off.
    pub(crate) fn to(server: u16, marker: &'static [u8]) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let cut = Arc::new(AtomicU8::new(Cut::Nothing as u8));
        let shared = cut.clone();
        let server = Arc::new(AtomicU16::new(server));
        let target = server.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let port = target.load(Ordering::SeqCst);
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { continue };
                let cut = shared.clone();
                std::thread::spawn(move || carry(&client, &server, marker, &cut));
            }
        });
        Proxy { port, server, cut }
    }

    /// Leads to the server on another port from now on; connections that are there stay where they are.
    pub(crate) fn turn_to(&self, server: u16) {
        self.server.store(server, Ordering::SeqCst);
    }

    /// The URL of a database by this way.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://florin:secret@127.0.0.1:{}/{database}", self.port)
    }

    /// Cuts the next such statement off; what comes after it gets through.
    pub(crate) fn cut(&self, cut: Cut) {
        self.cut.store(cut as u8, Ordering::SeqCst);
    }

    /// Whether the cut was made.
    pub(crate) fn has_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst) == Cut::Nothing as u8
    }
}

fn carry(mut client: &TcpStream, mut server: &TcpStream, marker: &[u8], cut: &AtomicU8) {
    let (mut back_from, mut back_to) = (server.try_clone().expect("a handle"), client.try_clone().expect("a handle"));
    let is_silent = Arc::new(AtomicU8::new(0));
    let silent = is_silent.clone();
    std::thread::spawn(move || {
        let mut bytes = [0; 65_536];
        while let Ok(count @ 1..) = back_from.read(&mut bytes) {
            if silent.load(Ordering::SeqCst) != 0 {
                // The answer to the statement was under way: by now it has been carried out.
                break;
            }
            if back_to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _ = back_to.shutdown(Shutdown::Both);
        let _ = back_from.shutdown(Shutdown::Both);
    });
    let mut bytes = [0; 65_536];
    while let Ok(count @ 1..) = client.read(&mut bytes) {
        let is_meant = bytes[..count].windows(marker.len()).any(|window| window == marker);
        if is_meant && cut.load(Ordering::SeqCst) == Cut::Before as u8 {
            cut.store(Cut::Nothing as u8, Ordering::SeqCst);
            break;
        }
        if is_meant && cut.load(Ordering::SeqCst) == Cut::After as u8 {
            is_silent.store(1, Ordering::SeqCst);
            cut.store(Cut::Nothing as u8, Ordering::SeqCst);
            if server.write_all(&bytes[..count]).is_err() {
                break;
            }
            // The other thread ends the connection when the answer comes.
            continue;
        }
        if server.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    if is_silent.load(Ordering::SeqCst) == 0 {
        let _ = server.shutdown(Shutdown::Both);
    }
}
