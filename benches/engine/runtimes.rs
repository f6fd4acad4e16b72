//! On monoio and on tokio-uring: a task a direction that reads and writes.
use super::{BUFFER_BYTES, Pair};
use std::rc::Rc;

pub fn monoio(pairs: Vec<Pair>) {
    use monoio::io::{AsyncReadRent, AsyncWriteRentExt, Splitable};
    async fn pass(mut from: impl AsyncReadRent, mut to: impl AsyncWriteRentExt) {
        let mut buffer = Vec::with_capacity(BUFFER_BYTES);
        loop {
            let (Ok(1..), full) = from.read(buffer).await else { return };
            let (Ok(_), mut sent) = to.write_all(full).await else { return };
            sent.clear();
            buffer = sent;
        }
    }
    let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new().build().unwrap();
    runtime.block_on(async {
        let mut tasks = Vec::new();
        for pair in pairs {
            let [client, backend] = pair.map(|socket| monoio::net::TcpStream::from_std(socket).unwrap().into_split());
            tasks.push(monoio::spawn(pass(client.0, backend.1)));
            tasks.push(monoio::spawn(pass(backend.0, client.1)));
        }
        for task in tasks {
            task.await;
        }
    });
}

pub fn tokio_uring(pairs: Vec<Pair>) {
    use tokio_uring::net::TcpStream;
    async fn pass(from: Rc<TcpStream>, to: Rc<TcpStream>) {
        let mut buffer = Vec::with_capacity(BUFFER_BYTES);
        loop {
            let (Ok(1..), full) = from.read(buffer).await else { return };
            let (Ok(()), mut sent) = to.write_all(full).await else { return };
            sent.clear();
            buffer = sent;
        }
    }
    tokio_uring::start(async {
        let mut tasks = Vec::new();
        for pair in pairs {
            let [client, backend] = pair.map(|socket| Rc::new(TcpStream::from_std(socket)));
            tasks.push(tokio_uring::spawn(pass(client.clone(), backend.clone())));
            tasks.push(tokio_uring::spawn(pass(backend, client)));
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
}
