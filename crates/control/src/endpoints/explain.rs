//! What would become of a packet, and why.

use axum::Json;
use axum::extract::State;
use xlat_engine::{Reason, Verdict};

use crate::api::{Explanation, Fate, Question, Step};
use crate::error::Error;
use crate::extract::Sent;
use crate::routes::Routes;
use crate::server::App;

/// Longest packet in bytes.
const PACKET_BYTES_MAX: usize = 65_575;

pub(super) fn add(routes: Routes) -> Routes {
    routes.add(__path_explain, explain)
}

/// Each decision that the running translator would take about a packet, by its configuration and state. Nothing is sent and
/// nothing changes.
#[utoipa::path(post, path = "/v1/explain", tag = "daemon", request_body = Question, responses(
    (status = OK, description = "The decisions", body = Explanation)
))]
async fn explain(
    State(shared): State<App>,
    Sent(question): Sent<Question>,
) -> Result<Json<Explanation>, Error> {
    let packet = bytes_of(&question.packet)?;
    let explained = shared.daemon.engine().explain(&packet, question.mark);
    Ok(Json(Explanation::from(&explained)))
}

impl From<&xlat_engine::Explanation> for Explanation {
    fn from(explained: &xlat_engine::Explanation) -> Self {
        let step = |step: &xlat_engine::Step| Step {
            title: step.title.to_owned(),
            detail: step.detail.clone(),
            source: step.source.to_owned(),
        };
        let fate = match explained.verdict {
            Verdict::Translated => Fate::Translated,
            Verdict::Held(_) => Fate::Held,
            Verdict::Dropped(_) => Fate::Dropped,
            Verdict::Returned(_) => Fate::Returned,
        };
        let text = |of: fn(Reason) -> &'static str| explained.verdict.reason().map(|why| of(why).to_owned());
        Self {
            steps: explained.steps.iter().map(step).collect(),
            verdict: crate::api::Verdict {
                word: fate,
                reason: text(Reason::name),
                explanation: text(Reason::explanation),
                source: text(Reason::source),
            },
        }
    }
}

fn bytes_of(digits: &str) -> Result<Vec<u8>, Error> {
    let wrong = || {
        Error::unreadable(&format!(
            "a packet is 2 to {} hexadecimal digits, an even number",
            2 * PACKET_BYTES_MAX
        ))
        .at("packet")
    };
    let byte = |pair: &[u8]| {
        let digit = |digit: &u8| char::from(*digit).to_digit(16);
        let (high, low) = (digit(pair.first()?)?, digit(pair.get(1)?)?);
        u8::try_from(high << 4 | low).ok()
    };
    if digits.is_empty() || digits.len() > 2 * PACKET_BYTES_MAX {
        return Err(wrong());
    }
    digits.as_bytes().chunks(2).map(byte).collect::<Option<_>>().ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits() {
        assert_eq!(bytes_of("600aFf").unwrap(), [0x60, 0x0a, 0xff]);
        for wrong in ["", "6", "6g", "60 0a", "é0", "600"] {
            assert!(bytes_of(wrong).is_err(), "{wrong}");
        }
    }
}
