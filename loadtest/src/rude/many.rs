//! Peers that are rude by their number.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use socket2::SockRef;

use super::few::gateways;
use super::peer::{Rude, read_head};

/// Bytes of a dripping head that come at once, so that what follows has something to be read again with.
const DRIPPING_HEAD: usize = 8 << 10;
/// Time in which each dripping connection sends one byte.
const DRIP: Duration = Duration::from_millis(50);
/// Receive buffer of those who hardly read, in bytes; the kernel has a least of its own.
const SLOW_BUFFER: usize = 4 << 10;
/// Time in which each of them reads once.
const SLOW: Duration = Duration::from_millis(100);
/// Bytes that it reads then.
const SLOW_READ: usize = 512;

/// Connections that send a head which begins long and goes on byte by byte; each begins anew when it is closed.
pub fn drips(rude: &Rude, count: usize) {
    let mut head = b"GET /rude/ HTTP/1.1\r\nHost: r\r\n".to_vec();
    while head.len() < DRIPPING_HEAD {
        head.extend_from_slice(b"X-Drip: drop, drop, drop, drop, drop, drop, drop\r\n");
    }
    head.extend_from_slice(b"X-Last: ");
    rude.go(move |rude| {
        let mut streams: Vec<Option<TcpStream>> = Vec::new();
        streams.resize_with(count, || None);
        let open = || -> io::Result<TcpStream> {
            let mut stream = rude.connect()?;
            stream.write_all(&head)?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        };
        loop {
            for slot in &mut streams {
                let Some(stream) = slot else {
                    *slot = open().ok();
                    continue;
                };
                match stream.write(b"x") {
                    Ok(_) => rude.did(1),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => (),
                    Err(_) => *slot = None,
                }
            }
            thread::sleep(DRIP);
        }
    });
}

/// Opens connections and closes them all at once, again and again; every second one with the beginning of a request.
/// They are reset, so that no local port has to wait out its end.
pub fn storm(rude: &Rude, count: usize) {
    rude.go(move |rude| {
        let mut streams = Vec::with_capacity(count);
        for number in 0..count {
            let mut stream = rude.connect()?;
            SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
            if number % 2 == 1 {
                stream.write_all(b"GET /rude/ HTTP/1.1\r\n")?;
            }
            streams.push(stream);
        }
        rude.did(count as u64);
        Ok(())
    });
}

/// Clients that ask for an endless answer and read a little of it now and then, with their gateways.
pub fn slow_readers(rude: &Rude, count: usize) -> io::Result<()> {
    let domains: Vec<String> = (0..count).map(|number| format!("rude-{}", number % 32)).collect();
    gateways(rude, &domains, |_, mut stream| {
        read_head(&mut stream)?;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1125899906842624\r\n\r\n")?;
        let block = vec![b'x'; 16 << 10];
        loop {
            stream.write_all(&block)?;
        }
    })?;
    rude.go(move |rude| {
        let mut streams: Vec<Option<TcpStream>> = Vec::new();
        streams.resize_with(count, || None);
        let open = |number: usize| -> io::Result<TcpStream> {
            let mut stream = rude.connect()?;
            SockRef::from(&stream).set_recv_buffer_size(SLOW_BUFFER)?;
            stream.write_all(format!("GET /rude-{}/ HTTP/1.1\r\nHost: r\r\n\r\n", number % 32).as_bytes())?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        };
        let mut buf = [0; SLOW_READ];
        loop {
            for (number, slot) in streams.iter_mut().enumerate() {
                let Some(stream) = slot else {
                    *slot = open(number).ok();
                    continue;
                };
                match stream.read(&mut buf) {
                    Ok(0) => *slot = None,
                    Ok(bytes) => {
                        rude.did(1);
                        rude.moved(bytes as u64);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => (),
                    Err(_) => *slot = None,
                }
            }
            thread::sleep(SLOW);
        }
    });
    Ok(())
}
