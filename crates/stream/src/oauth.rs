//! The OAUTHBEARER token from a file.
//!
//! The file holds a JWT that somebody else renews. Its `exp` tells librdkafka when to ask again (it
//! asks at 80 % of the lifetime), so no clock is read here.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rdkafka::client::OAuthToken;
use serde::Deserialize;

#[derive(Deserialize)]
struct Claims {
    exp: f64,
    #[serde(default)]
    sub: String,
}

/// Reads the token and what its payload says about itself. The signature is the broker's to check.
pub(crate) fn read(path: &Path) -> Result<OAuthToken, String> {
    let token = std::fs::read_to_string(path)
        .map_err(|error| format!("kafka.oauth_token_file: cannot read {}: {error}", path.display()))?;
    parse(token.trim()).map_err(|problem| format!("kafka.oauth_token_file: {}: {problem}", path.display()))
}

fn parse(token: &str) -> Result<OAuthToken, String> {
    let payload = token.split('.').nth(1).ok_or("is not a JWT")?;
    let payload = URL_SAFE_NO_PAD
        .decode(payload.trim_end_matches('='))
        .map_err(|error| format!("the JWT's payload is not base64url: {error}"))?;
    let claims: Claims = serde_json::from_slice(&payload)
        .map_err(|error| format!("the JWT's payload has no usable exp: {error}"))?;
    Ok(OAuthToken {
        token: token.to_owned(),
        principal_name: claims.sub,
        // Seconds fit a f64 exactly for millions of years.
        lifetime_ms: (claims.exp * 1000.0) as i64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jwt_tells_its_principal_and_end() {
        let payload = URL_SAFE_NO_PAD.encode(r#"{"sub":"mimamori","exp":1900000000}"#);
        let token = parse(&format!("e30.{payload}.sig")).unwrap();
        assert_eq!(
            (token.principal_name.as_str(), token.lifetime_ms),
            ("mimamori", 1_900_000_000_000)
        );
    }

    #[test]
    fn what_is_no_jwt_is_refused_with_its_place() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "opaque").unwrap();
        let error = read(file.path()).err().unwrap();
        assert!(
            error.contains("is not a JWT") && error.contains(&file.path().display().to_string()),
            "{error}"
        );
        let payload = URL_SAFE_NO_PAD.encode(r#"{"sub":"mimamori"}"#);
        assert!(
            parse(&format!("e30.{payload}.sig"))
                .err()
                .unwrap()
                .contains("exp")
        );
    }
}
