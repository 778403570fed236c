//! What others may see by HTTP (`[web]`), in a thread of its own without privileges. Sockets are made by the control loop, so
//! that a configuration whose addresses cannot be had is refused as a whole.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};

use tokio::runtime::{Builder, Handle};
use xlat_config::Config;
use xlat_control::live::Live;
use xlat_linux::privileges::drop_thread_capabilities;
use xlat_web::{Watched, Web};

use super::observe::Observer;
use crate::failure::{Failure, Outcome, with_causes};

/// Sockets that nobody answers on yet.
pub(super) type Sockets = Vec<(SocketAddr, TcpListener)>;

/// The control loop's end of the web server. The thread begins with the first address.
pub(super) struct Outside {
    observer: Observer,
    web: Option<Web<Observer>>,
}

impl Outside {
    /// Answers as `config` says. It is an offer: where it cannot be made the packets go on.
    pub(super) fn start(observer: Observer, config: &Config) -> Self {
        let mut outside = Self { observer, web: None };
        match outside.prepare(config) {
            Ok(sockets) => outside.serve(config, sockets),
            Err(failure) => tracing::error!("there are no metrics and no live page: {failure}"),
        }
        outside
    }

    /// Takes the addresses that are new in `config`, or says why one cannot be had.
    pub(super) fn prepare(&mut self, config: &Config) -> Outcome<Sockets> {
        let listen = &config.web.listen;
        if self.web.is_none() && !listen.is_empty() {
            self.web = Some(Web::new(begin()?, self.observer.clone()));
        }
        let Some(web) = &self.web else { return Ok(Sockets::new()) };
        web.prepare(listen).map_err(|(address, error)| {
            Failure::doing(format!("cannot answer on {address} (listen in [web])"), &error)
        })
    }

    /// Answers on the addresses of `config` from now on, and on no others.
    pub(super) fn serve(&mut self, config: &Config, sockets: Sockets) {
        let Some(web) = &mut self.web else { return };
        for (address, _) in &sockets {
            tracing::info!(%address, "metrics and the live page are here");
            if !address.ip().is_loopback() {
                tracing::warn!(%address, "whoever can reach this address can see the addresses of clients");
            }
        }
        web.serve(&config.web.listen, &config.web.hosts, sockets);
    }
}

/// Starts the thread.
fn begin() -> Outcome<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let (begun, wait) = mpsc::sync_channel(1);
    // It ends with the process.
    let _thread = std::thread::Builder::new().name("xlat-web".to_owned()).spawn(move || {
        // Looking on takes none; nothing is answered with them.
        let dropped = drop_thread_capabilities();
        if let Err(error) = &dropped {
            tracing::error!("nothing is answered by HTTP with privileges: {}", with_causes(error));
        }
        let works = dropped.is_ok();
        if begun.send(works).is_ok() && works {
            runtime.block_on(std::future::pending::<()>());
        }
    })?;
    match wait.recv() {
        Ok(true) => Ok(handle),
        _no_thread => Err(Failure::new("the thread for HTTP keeps its privileges")),
    }
}

impl Watched for Observer {
    async fn live(&self) -> Arc<Live> {
        Observer::live(self, None).await
    }

    async fn counts(&self) -> Arc<Live> {
        Observer::counts(self).await
    }

    fn is_alive(&self) -> bool {
        Observer::is_alive(self)
    }
}
