use crate::support::{header, local, nowhere, serve};

#[tokio::test]
async fn the_page_comes_in_the_language_that_the_browser_asks_for() {
    let server = serve(local(), nowhere()).await;
    for (asked, language) in [("ja,en;q=0.5", "ja"), ("en-GB", "en"), ("fr", "en")] {
        let response = server
            .get("/")
            .header("accept-language", asked)
            .send()
            .await
            .unwrap();
        assert_eq!(header(&response, "content-type"), "text/html; charset=utf-8");
        assert_eq!(header(&response, "content-language"), language);
        assert_eq!(header(&response, "vary"), "accept-language");
        let html = response.text().await.unwrap();
        assert!(html.contains(&format!("<html lang=\"{language}\">")), "{asked}");
    }
}

#[tokio::test]
async fn what_the_page_loads_is_typed_and_not_sent_twice() {
    let server = serve(local(), nowhere()).await;
    for (path, content_type) in [
        ("/assets/main.js", "text/javascript; charset=utf-8"),
        ("/assets/page.css", "text/css; charset=utf-8"),
        ("/assets/icon.svg", "image/svg+xml"),
    ] {
        let response = server.get(path).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(header(&response, "content-type"), content_type);
        let tag = header(&response, "etag").to_string();
        let again = server
            .get(path)
            .header("if-none-match", &tag)
            .send()
            .await
            .unwrap();
        assert_eq!(again.status(), 304, "{path}");
        assert_eq!(again.bytes().await.unwrap().len(), 0);
        let other = server
            .get(path)
            .header("if-none-match", "\"other\"")
            .send()
            .await
            .unwrap();
        assert_eq!(other.status(), 200, "{path}");
    }
}
