//! The description of all of this.

use std::sync::LazyLock;

use axum::Json;
use serde_json::Value;

use crate::routes::Routes;

pub(super) fn add(routes: Routes) -> Routes {
    routes.add(__path_openapi, openapi)
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "daemon", responses(
    (status = OK, description = "OpenAPI 3.1", content_type = "application/json", body = serde_json::Value)
))]
async fn openapi() -> Json<&'static Value> {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(super::document);
    Json(&DOCUMENT)
}
