//! A relay of TCP connections: for addresses that lead to another server than before, and networks that swallow packets.
//!
//! It moves bytes and knows no protocol. Old connections stay where they are when it is switched.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// The relay. It ends with the test's process.
pub struct Relay {
    pub port: u16,
    target: Arc<AtomicU16>,
    /// The mark of all connections that are open now; those that are made later have another one.
    swallowing: Arc<Mutex<Arc<AtomicBool>>>,
}

impl Relay {
    /// Connections go to this port of the same machine.
    pub fn to(target: u16) -> Relay {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let relay = Relay {
            port: listener.local_addr().unwrap().port(),
            target: Arc::new(AtomicU16::new(target)),
            swallowing: Arc::default(),
        };
        let (target, swallowing) = (relay.target.clone(), relay.swallowing.clone());
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let swallowing = swallowing.lock().unwrap().clone();
                let server = SocketAddr::from((Ipv4Addr::LOCALHOST, target.load(Ordering::Relaxed)));
                let Ok(server) = TcpStream::connect(server) else { continue };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let swallowing = swallowing.clone();
                    thread::spawn(move || carry(from, to, &swallowing));
                }
            }
        });
        relay
    }

    /// New connections go to another port. Old ones stay where they are.
    pub fn switch(&self, target: u16) {
        self.target.store(target, Ordering::Relaxed);
    }

    /// From now on all bytes are taken and none is passed on, also of new connections.
    pub fn swallow(&self) {
        self.swallowing.lock().unwrap().store(true, Ordering::Relaxed);
    }

    /// New connections work again. Old ones stay silent.
    pub fn pass(&self) {
        *self.swallowing.lock().unwrap() = Arc::default();
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, swallowing: &AtomicBool) {
    let mut buffer = [0; 16 * 1024];
    loop {
        match from.read(&mut buffer) {
            // The end of one side is a packet too.
            _ if swallowing.load(Ordering::Relaxed) => thread::sleep(Duration::from_secs(1)),
            Ok(0) | Err(_) => break,
            Ok(length) => {
                if to.write_all(&buffer[..length]).is_err() {
                    break;
                }
            }
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
