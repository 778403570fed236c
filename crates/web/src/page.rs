//! The live page: four files, embedded, with nothing from elsewhere.

use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::response::IntoResponse;

const HTML: &str = include_str!("page/index.html");
const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/page.js");
const ICON: &str = include_str!("page/icon.svg");

type File = ([(HeaderName, &'static str); 1], &'static str);

const fn file(kind: &'static str, content: &'static str) -> File {
    ([(CONTENT_TYPE, kind)], content)
}

pub(crate) async fn html() -> impl IntoResponse {
    file("text/html; charset=utf-8", HTML)
}

pub(crate) async fn style() -> impl IntoResponse {
    file("text/css; charset=utf-8", STYLE)
}

pub(crate) async fn script() -> impl IntoResponse {
    file("text/javascript; charset=utf-8", SCRIPT)
}

pub(crate) async fn icon() -> impl IntoResponse {
    file("image/svg+xml", ICON)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_comes_from_elsewhere_and_nothing_is_inline() {
        for (name, content) in [("html", HTML), ("style", STYLE), ("script", SCRIPT), ("icon", ICON)] {
            for foreign in ["http:", "https:", "//", "@import", "url("] {
                let used = content.lines().find(|line| {
                    let line = line.trim_start();
                    let is_comment =
                        line.starts_with("//") || line.starts_with('*') || line.starts_with("/*");
                    // The name of a vocabulary is not an address.
                    line.replace("http://www.w3.org/2000/svg", "").contains(foreign) && !is_comment
                });
                assert_eq!(used, None, "{name}: {foreign}");
            }
        }
        // The policy forbids what is inline; it would silently not work.
        for inline in ["<style", " style=", " onclick", " onload", "javascript:"] {
            assert!(!HTML.contains(inline), "{inline}");
        }
        // Text from outside is never taken for markup.
        for markup in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!SCRIPT.contains(markup), "{markup}");
        }
    }
}
