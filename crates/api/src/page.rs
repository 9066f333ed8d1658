//! The page: plain files that are part of the binary. Only the language of the document is decided
//! here, by what the browser asks for; everything else the page does itself, through the API.

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use axum::routing::get;

use crate::answer;
use crate::router::Shared;

const INDEX: &str = include_str!("../page/index.html");

/// Path, content type and content of the files that the page loads.
const ASSETS: [(&str, &str, &str); 13] = [
    (
        "/assets/page.css",
        "text/css; charset=utf-8",
        include_str!("../page/page.css"),
    ),
    (
        "/assets/panel.css",
        "text/css; charset=utf-8",
        include_str!("../page/panel.css"),
    ),
    (
        "/assets/outcome.css",
        "text/css; charset=utf-8",
        include_str!("../page/outcome.css"),
    ),
    (
        "/assets/alerts.css",
        "text/css; charset=utf-8",
        include_str!("../page/alerts.css"),
    ),
    ("/assets/main.js", SCRIPT, include_str!("../page/main.js")),
    ("/assets/list.js", SCRIPT, include_str!("../page/list.js")),
    ("/assets/outcome.js", SCRIPT, include_str!("../page/outcome.js")),
    ("/assets/panel.js", SCRIPT, include_str!("../page/panel.js")),
    ("/assets/alerts.js", SCRIPT, include_str!("../page/alerts.js")),
    ("/assets/receipt.js", SCRIPT, include_str!("../page/receipt.js")),
    ("/assets/chart.js", SCRIPT, include_str!("../page/chart.js")),
    ("/assets/words.js", SCRIPT, include_str!("../page/words.js")),
    (
        "/assets/icon.svg",
        "image/svg+xml",
        include_str!("../page/icon.svg"),
    ),
];

const SCRIPT: &str = "text/javascript; charset=utf-8";

pub(crate) fn routes() -> Router<Shared> {
    let mut routes = Router::new().route("/", get(index));
    for (path, content_type, content) in ASSETS {
        let serve =
            move |asked: HeaderMap| async move { answer::tagged(&asked, content, content_type, "no-cache") };
        routes = routes.route(path, get(serve));
    }
    routes
}

async fn index(asked: HeaderMap) -> Response {
    let language = preferred_language(&asked);
    let html = INDEX.replacen("<html lang=\"en\"", &format!("<html lang=\"{language}\""), 1);
    let mut response = answer::tagged(&asked, html, "text/html; charset=utf-8", "no-cache");
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("accept-language"));
    headers.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(language));
    response
}

/// `ja` or `en`, whichever `Accept-Language` weighs more; the one named first when they weigh the same,
/// and `en` when it names neither.
fn preferred_language(asked: &HeaderMap) -> &'static str {
    let Some(header) = asked
        .get(header::ACCEPT_LANGUAGE)
        .and_then(|value| value.to_str().ok())
    else {
        return "en";
    };
    let mut best = ("en", 0.0);
    for entry in header.split(',') {
        let (range, weight) = entry.split_once(';').unwrap_or((entry, "q=1"));
        let weight: f64 = weight
            .trim()
            .strip_prefix("q=")
            .and_then(|weight| weight.parse().ok())
            .unwrap_or(0.0);
        let primary = range.trim().split('-').next().unwrap_or("").to_ascii_lowercase();
        let language = match primary.as_str() {
            "ja" => "ja",
            "en" => "en",
            _ => continue,
        };
        if weight > best.1 {
            best = (language, weight);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_the_one_that_weighs_most() {
        let cases = [
            ("ja", "ja"),
            ("ja-JP,ja;q=0.9,en;q=0.8", "ja"),
            ("en-US,en;q=0.9,ja;q=0.8", "en"),
            ("fr, ja;q=0.5, en;q=0.7", "en"),
            ("de-DE, JA-jp;q=0.2", "ja"),
            ("ja;q=0", "en"),
            ("", "en"),
            (";;;q=,", "en"),
        ];
        for (header_value, expected) in cases {
            let mut asked = HeaderMap::new();
            asked.insert(header::ACCEPT_LANGUAGE, HeaderValue::from_static(header_value));
            assert_eq!(preferred_language(&asked), expected, "{header_value}");
        }
        assert_eq!(preferred_language(&HeaderMap::new()), "en");
    }

    #[test]
    fn the_page_loads_nothing_that_is_not_served_here() {
        let served: Vec<&str> = ASSETS.iter().map(|(path, ..)| *path).collect();
        for (attribute, text) in [("src=\"", INDEX), ("href=\"", INDEX)] {
            for rest in text.split(attribute).skip(1) {
                let target = rest.split('"').next().unwrap();
                assert!(served.contains(&target) || target.starts_with('#'), "{target}");
            }
        }
        for (path, _, content) in ASSETS {
            for rest in content.split("from \"./").skip(1) {
                let target = format!("/assets/{}", rest.split('"').next().unwrap());
                assert!(served.contains(&target.as_str()), "{path} imports {target}");
            }
        }
    }

    #[test]
    fn no_data_ever_becomes_markup_and_nothing_is_inline() {
        for (path, _, content) in ASSETS {
            for banned in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
            ] {
                assert!(!content.contains(banned), "{path} uses {banned}");
            }
        }
        for banned in ["<style", " style=", " onclick", "javascript:", "<script>"] {
            assert!(!INDEX.contains(banned), "{banned}");
        }
    }
}
