//! The configuration as a whole: shown, replaced, read again.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use xlat_config::{Diagnostics, Hint, diff, load, to_toml};

use crate::api::{Difference, Done};
use crate::error::Error;
use crate::extract::{Asked, Text};
use crate::read;
use crate::routes::Routes;
use crate::server::{App, Edit, in_turn, walk};

pub(super) fn add(routes: Routes) -> Routes {
    routes.add(__path_configuration, configuration).add(__path_replace, replace).add(__path_reload, reload)
}

/// The configuration in force, as a file that would make it.
#[utoipa::path(get, path = "/v1/configuration", tag = "configuration", responses(
    (status = OK, description = "TOML", content_type = "application/toml", body = String)
))]
async fn configuration(State(shared): State<App>) -> Result<Response, Error> {
    let config = shared.daemon.config();
    let text = walk(move || to_toml(&config)).await?;
    Ok(([(CONTENT_TYPE, "application/toml")], text).into_response())
}

/// How to replace.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Manner {
    /// Check everything and tell what would change, and change nothing.
    #[serde(default)]
    dry_run: bool,
}

/// Puts a configuration file in the place of what is in force, all instances at once, and tells what that changes, one JSON object
/// a line. Flows that it still allows go on.
#[utoipa::path(put, path = "/v1/configuration", tag = "configuration", params(Manner),
    request_body(
        content((String = "application/toml"), (String = "text/plain")), description = "TOML, or Jool's JSON"
    ),
    responses((status = OK, description = "Lines", content_type = "application/x-ndjson", body = Difference)))]
async fn replace(
    State(shared): State<App>,
    Asked(manner): Asked<Manner>,
    Text(content): Text,
) -> Result<Response, Error> {
    // Taken for a configuration it would end everything; nobody means that by sending nothing.
    if content.trim().is_empty() {
        return Err(Error::unreadable(&"the request has no configuration"));
    }
    in_turn(&shared, put(Arc::clone(&shared), manner, content)).await
}

async fn put(shared: App, manner: Manner, content: String) -> Result<Response, Error> {
    let old = shared.daemon.config();
    let compared = walk(move || {
        let refused = |found: Diagnostics| {
            Error::among(&found.list).unwrap_or_else(|| Error::invalid(found.to_string()))
        };
        let new = load("the request", &content, &Hint::default()).map_err(refused)?.config;
        // The daemon opens the file as root; whoever may change it by the API need not be.
        if new.log != old.log && !manner.dry_run {
            let error = Error::invalid("[log] can be changed in the daemon's own file only");
            return Err(error
                .with_help("change the file, and let the daemon read it again (xlat reload)")
                .at("log"));
        }
        let differences: Vec<_> = diff(&old, &new).into_iter().map(Difference::from).collect();
        Ok::<_, Error>((new, differences))
    });
    let (new, differences) = compared.await??;
    let edit: Edit = Box::new(move |config| {
        *config = new;
        Ok(())
    });
    shared.daemon.change(edit, manner.dry_run).await?;
    shared.forget_frameworks();
    Ok(read::list(differences))
}

/// Reads the daemon's own file again, as SIGHUP does; answered when it is in force.
#[utoipa::path(post, path = "/v1/reload", tag = "configuration", responses(
    (status = OK, description = "It is in force", body = Done)
))]
async fn reload(State(shared): State<App>) -> Result<Json<Done>, Error> {
    let app = Arc::clone(&shared);
    let reloaded = in_turn(&shared, async move {
        app.daemon.reload().await?;
        app.forget_frameworks();
        Ok(Done {})
    });
    reloaded.await.map(Json)
}

impl From<xlat_config::Difference> for Difference {
    fn from(found: xlat_config::Difference) -> Self {
        let xlat_config::Difference { instance, what, old, new, takes_restart } = found;
        Self { instance, what, old, new, takes_restart }
    }
}
