//! In which of the two texts of metrics a client is answered: OpenMetrics for those that ask for it by name, and the older
//! text of Prometheus (0.0.4) for all others, which every scraper, a browser and `promtool check metrics` can read.

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

/// A text of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// Text format 0.0.4 of Prometheus.
    Classic,
}

impl Exposition {
    /// What the client asks for; whoever does not name OpenMetrics cannot be thought to read it.
    pub(crate) fn asked(headers: &HeaderMap) -> Self {
        let (mut open, mut classic) = (0.0_f32, 0.0_f32);
        for value in headers.get_all(ACCEPT) {
            for range in value.to_str().unwrap_or("").split(',') {
                let mut parts = range.split(';').map(str::trim);
                let kind = parts.next().unwrap_or("").to_ascii_lowercase();
                let (mut quality, mut version) = (1.0_f32, None);
                for (name, value) in parts.filter_map(|part| part.split_once('=')) {
                    match name.trim().to_ascii_lowercase().as_str() {
                        "q" => quality = value.trim().parse().unwrap_or(0.0),
                        "version" => version = Some(value.trim().trim_matches('"')),
                        _no_part_of_the_choice => {}
                    }
                }
                match (kind.as_str(), version) {
                    ("application/openmetrics-text", None | Some("1.0.0")) => open = quality.max(open),
                    ("text/plain", None | Some("0.0.4")) => classic = quality.max(classic),
                    _other => {}
                }
            }
        }
        if open > 0.0 && open >= classic { Self::OpenMetrics } else { Self::Classic }
    }

    /// The media type of the answer.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// This text for what has been written as OpenMetrics.
    pub(crate) fn of(self, open: String) -> String {
        match self {
            Self::OpenMetrics => open,
            Self::Classic => classic(&open),
        }
    }
}

/// The classic text has no units and no end mark, and calls a family by the whole name of its samples.
fn classic(open: &str) -> String {
    let (mut text, mut help) = (String::with_capacity(open.len()), None);
    for line in open.lines() {
        if let Some(family) = line.strip_prefix("# HELP ") {
            help = family.split_once(' ');
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|family| family.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                other => ("", other),
            };
            if let Some((_, help)) = help.take() {
                text += &format!("# HELP {name}{suffix} {help}\n");
            }
            text += &format!("# TYPE {name}{suffix} {kind}\n");
        } else if !line.starts_with('#') {
            text += line;
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_is_for_those_that_name_it() {
        let asked = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            Exposition::asked(&headers)
        };
        assert_eq!(Exposition::asked(&HeaderMap::new()), Exposition::Classic);
        for accept in [
            "application/openmetrics-text",
            "Application/OpenMetrics-Text; version=\"1.0.0\"",
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "text/plain;q=0.3, application/openmetrics-text;q=0.3",
        ] {
            assert_eq!(asked(accept), Exposition::OpenMetrics, "{accept}");
        }
        for accept in [
            "*/*",
            "",
            "text/html,application/xhtml+xml,*/*;q=0.8",
            "text/plain;version=0.0.4;q=0.5,application/openmetrics-text;q=0.2",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=x",
            "application/openmetrics-text;version=7.0.0",
            "application/openmetrics-textual",
        ] {
            assert_eq!(asked(accept), Exposition::Classic, "{accept}");
        }
    }
}
