//! What the API's server needs around it: an engine and a configuration, without host, device and kernel's part.

use std::sync::{Arc, Mutex, PoisonError};

use xlat_bench::Error;
use xlat_config::Config;
use xlat_control::api::Counter;
use xlat_control::live::Live;
use xlat_control::peers::{Messages, Peers};
use xlat_control::{About, Answer, ByKernel, Daemon, Edit, capture, events, listen, server};
use xlat_engine::Engine;

/// A daemon that has nothing but its tables.
struct Tables {
    config: Mutex<Arc<Config>>,
    engine: Arc<Engine>,
}

/// Answers on the socket of `device` in a thread of its own, as in the daemon, until the process ends.
pub(crate) fn serve(device: &str, config: Config, engine: Arc<Engine>) -> Result<(), Error> {
    let listener = listen(device)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tables = Tables { config: Mutex::new(Arc::new(config)), engine };
    let uid = rustix::process::geteuid().as_raw();
    std::thread::Builder::new().name("api".to_owned()).spawn(move || {
        if let Err(error) = runtime.block_on(server::serve(listener, tables, uid)) {
            eprintln!("the API has ended: {error}");
        }
    })?;
    Ok(())
}

fn none<T>() -> Result<T, xlat_control::Error> {
    Err(xlat_control::Error::absent("not part of the measurement"))
}

impl Peers for Tables {
    fn messages(&self, _instance: &str) -> Result<Messages, xlat_control::Error> {
        none()
    }

    fn receive(&self, _instance: &str, _message: &[u8]) -> Result<(), xlat_control::Error> {
        none()
    }

    fn advertise(&self, _instance: &str) -> Result<(), xlat_control::Error> {
        none()
    }

    fn counters(&self, _instance: &str) -> Vec<Counter> {
        Vec::new()
    }
}

impl Daemon for Tables {
    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn engine(&self) -> &Engine {
        &self.engine
    }

    fn ephemeral_ports(&self) -> (u16, u16) {
        (32768, 60999)
    }

    fn capture(&self, _wanted: capture::Wanted) -> Result<capture::Source, xlat_control::Error> {
        none()
    }

    fn events(&self, _wanted: events::Wanted) -> Result<events::Source, xlat_control::Error> {
        none()
    }

    fn by_kernel(&self, _place: usize) -> Answer<'_, ByKernel> {
        Box::pin(async { ByKernel::default() })
    }

    fn peers(&self) -> &dyn Peers {
        self
    }

    fn log_counters(&self) -> Vec<Counter> {
        Vec::new()
    }

    fn interface_name(&self, _index: u32) -> Option<String> {
        None
    }

    fn live(&self, _after: Option<u64>) -> Answer<'_, Arc<Live>> {
        Box::pin(async { Arc::default() })
    }

    fn change(&self, edit: Edit, only_try: bool) -> Answer<'_, Result<(), xlat_control::Error>> {
        Box::pin(async move {
            let mut config = Config::clone(&self.config());
            edit(&mut config)?;
            if !only_try {
                let refused =
                    |error: xlat_engine::ConfigError| xlat_control::Error::invalid(error.to_string());
                self.engine.reconfigure(&config).map_err(refused)?;
                *self.config.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
            }
            Ok(())
        })
    }

    fn reload(&self) -> Answer<'_, Result<(), xlat_control::Error>> {
        Box::pin(async { none() })
    }

    fn about(&self) -> About {
        About::default()
    }
}
