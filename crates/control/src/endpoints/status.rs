//! The daemon itself.

use axum::Json;
use axum::extract::State;

use crate::api::Status;
use crate::routes::Routes;
use crate::server::App;

pub(super) fn add(routes: Routes) -> Routes {
    routes.add(__path_status, status)
}

/// What runs here.
#[utoipa::path(get, path = "/v1/status", tag = "daemon", responses(
    (status = OK, description = "The daemon", body = Status)
))]
async fn status(State(shared): State<App>) -> Json<Status> {
    let (config, about) = (shared.daemon.config(), shared.daemon.about());
    Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        device: config.device.name.clone(),
        instances: config.instances.len(),
        uptime: about.uptime.as_secs(),
        file: about.file.map(|path| path.display().to_string()),
        differs_from_file: about.differs_from_file,
        workers: about.workers,
        no_fast_path: about.no_fast_path,
    })
}
