//! The list of endpoints: each is a function with `#[utoipa::path]`, added once, which gives both the way to it and its part of
//! the OpenAPI document.

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodFilter, on};
use utoipa::__dev::{SchemaReferences, Tags};
use utoipa::openapi::path::HttpMethod;
use utoipa::openapi::{Components, ContentBuilder, OpenApi, Ref, RefOr, ResponseBuilder, Schema};
use utoipa::{Path, ToSchema};

use crate::error::Body;
use crate::server::App;

/// Endpoints, and what the document says of them.
pub(crate) struct Routes {
    pub(crate) router: Router<App>,
    pub(crate) document: OpenApi,
}

impl Routes {
    /// None, in a document with this head.
    pub(crate) fn new(head: OpenApi) -> Self {
        Self { router: Router::new(), document: head }.schema::<Body>()
    }

    /// Describes a type that only parameters have: those of bodies come with their endpoints.
    pub(crate) fn schema<T: ToSchema>(mut self) -> Self {
        let mut schemas = vec![(T::name().into_owned(), T::schema())];
        T::schemas(&mut schemas);
        self.document.components.get_or_insert_with(Components::new).schemas.extend(schemas);
        self
    }

    /// Adds one: `P` is what `#[utoipa::path]` makes beside the function `handler`, which has its name behind `__path_`.
    pub(crate) fn add<P, H, T>(mut self, _described: P, handler: H) -> Self
    where
        P: Path + SchemaReferences + for<'t> Tags<'t>,
        H: Handler<T, App>,
        T: 'static,
    {
        let methods = P::methods();
        let mut operation = P::operation();
        operation.responses.responses.insert("default".to_owned(), refusal());
        operation.tags = Some(P::tags().into_iter().map(str::to_owned).collect());
        let mut schemas: Vec<(String, RefOr<Schema>)> = Vec::new();
        P::schemas(&mut schemas);
        for method in &methods {
            self.router = self.router.route(&P::path(), on(filter(method), handler.clone()));
        }
        self.document.paths.add_path_operation(P::path(), methods, operation);
        self.document.components.get_or_insert_with(Components::new).schemas.extend(schemas);
        self
    }
}

/// The answer of every endpoint that cannot or may not do what is asked.
fn refusal() -> RefOr<utoipa::openapi::Response> {
    let body = RefOr::Ref(Ref::from_schema_name(Body::name()));
    ResponseBuilder::new()
        .description("Refused; nothing has changed.")
        .content("application/json", ContentBuilder::new().schema(Some(body)).build())
        .build()
        .into()
}

fn filter(method: &HttpMethod) -> MethodFilter {
    match method {
        HttpMethod::Get => MethodFilter::GET,
        HttpMethod::Post => MethodFilter::POST,
        HttpMethod::Put => MethodFilter::PUT,
        HttpMethod::Delete => MethodFilter::DELETE,
        HttpMethod::Options => MethodFilter::OPTIONS,
        HttpMethod::Head => MethodFilter::HEAD,
        HttpMethod::Patch => MethodFilter::PATCH,
        HttpMethod::Trace => MethodFilter::TRACE,
    }
}
