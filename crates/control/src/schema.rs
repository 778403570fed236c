//! How addresses and prefixes look in the OpenAPI document: the types that carry them know no schema.

use utoipa::openapi::schema::Type;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// Strings of one form: name, what it is, pattern and example.
macro_rules! texts {
    ($($name:ident, $what:literal, $pattern:literal, $example:literal;)+) => {$(
        #[doc = $what]
        pub(crate) struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .description(Some($what))
                    .pattern(Some($pattern))
                    .examples([$example])
                    .into()
            }
        }

        impl ToSchema for $name {}
    )+};
}

texts! {
    Prefix4, "IPv4 prefix; one address has length 32.", r"^[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}$", "203.0.113.0/24";
    Prefix6, "IPv6 prefix.", "^[0-9a-fA-F:.]{2,45}/[0-9]{1,3}$", "64:ff9b::/96";
    Prefix, "Prefix of either family.", "^[0-9a-fA-F:.]{2,45}/[0-9]{1,3}$", "2001:db8::/64";
    Address4, "IPv4 address.", r"^[0-9]{1,3}(\.[0-9]{1,3}){3}$", "203.0.113.2";
    Address6, "IPv6 address.", "^[0-9a-fA-F:.]{2,45}$", "2001:db8::8";
    Address, "Address of either family.", "^[0-9a-fA-F:.]{2,45}$", "203.0.113.2";
}
