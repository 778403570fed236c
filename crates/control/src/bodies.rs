//! What the methods of the single tables take, beside the types that their rows have already.

use ipnet::{IpNet, Ipv6Net};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::{Change, Framework, MaxIterations, Pool4Block, Translator};
use crate::schema::Prefix6;

/// `POST /v1/instances`: an instance to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct NewInstance {
    /// Its kind.
    pub(crate) translator: Translator,
    /// Its name.
    pub(crate) name: String,
    /// Kept for display.
    #[serde(default)]
    pub(crate) framework: Framework,
    /// The RFC 6052 prefix; NAT64 needs one.
    #[schema(value_type = Option<Prefix6>)]
    pub(crate) pool6: Option<Ipv6Net>,
    /// Prefixes to be routed to the translator besides those of its tables.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub(crate) routes: Vec<IpNet>,
}

/// A block of transport addresses to be added to pool4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct NewPool4 {
    /// What.
    #[serde(flatten)]
    pub(crate) block: Pool4Block,
    /// How far Jool would search; kept for display. Absent: as the set has it.
    pub(crate) max_iterations: Option<MaxIterations>,
}

impl NewPool4 {
    pub(crate) fn change(self, force: bool) -> Change {
        let Self { block, max_iterations } = self;
        Change::Pool4Add { block, max_iterations, force }
    }
}
