//! The description of all of this.

use std::sync::LazyLock;

use axum::Json;
use utoipa::openapi::OpenApi;

use crate::routes::Routes;

pub(super) fn add(routes: Routes) -> Routes {
    routes.add(__path_openapi, openapi)
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "daemon", responses(
    (status = OK, description = "OpenAPI 3.1", content_type = "application/json", body = serde_json::Value)
))]
async fn openapi() -> Json<&'static OpenApi> {
    static DOCUMENT: LazyLock<OpenApi> = LazyLock::new(super::document);
    Json(&DOCUMENT)
}
