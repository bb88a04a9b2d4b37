//! What servers answer, and how their answers are parsed.

use std::fmt;

use serde::Deserialize;

use crate::agent::service::Reach;
use crate::system::address::Address;
use crate::system::text::printable;
use crate::version::Version;

/// The target version of a release channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Upgrades are paused.
    None,
    /// This version.
    Version(Version),
}

/// The percentage of the hosts that the target version is for.
#[derive(Debug, Clone, PartialEq)]
pub enum Percentage {
    /// From 0 to 100.
    Known(f64),
    /// It could not be determined, and why. Then it is for none: a rollout that was halted must not continue.
    Unknown(String),
}

/// The agent's cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cluster {
    /// Its version could not be determined: why, and whether the cluster can be reached.
    Unknown(String, Reach),
    /// It runs this version, reported by this Proxy.
    Runs(Version, Address),
}

impl Cluster {
    /// Whether it can be reached.
    pub fn reach(&self) -> Reach {
        match self {
            Cluster::Runs(..) => Reach::Reachable,
            Cluster::Unknown(_, reach) => reach.clone(),
        }
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cluster::Unknown(why, _) => write!(f, "cannot determine the cluster version: {why}"),
            Cluster::Runs(version, address) => {
                write!(f, "the cluster runs {version} (reported by {address})")
            }
        }
    }
}

/// Parses the channel's file `version`; an error says what is wrong, and what to do.
pub fn target(text: &str) -> Result<Target, (String, &'static str)> {
    const PUBLISH: &str = "The file must contain one version, or \"none\"";
    const LOGIN: &str =
        "Check endpoint; a captive portal or login page may be intercepting the request";
    let word = text.trim();
    if word.is_empty() {
        return Err(("empty response".into(), PUBLISH));
    }
    if word.starts_with('<') {
        return Err(("the response is a web page".into(), LOGIN));
    }
    if word.eq_ignore_ascii_case("none") {
        return Ok(Target::None);
    }
    word.parse()
        .map(Target::Version)
        .map_err(|error| (format!("{error}"), PUBLISH))
}

/// Parses the channel's file `critical`.
pub fn is_critical(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "yes" | "true" => Some(true),
        "no" | "false" => Some(false),
        _ => None,
    }
}

/// Parses the needed fields of a Proxy's `/webapi/ping`.
fn ping<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|_| "the server is not a Teleport Proxy".to_string())
}

/// Parses the name of the cluster in a Proxy's `/webapi/ping`.
pub fn cluster_name(text: &str) -> Result<String, String> {
    #[derive(Deserialize)]
    struct Ping {
        cluster_name: String,
    }
    match ping::<Ping>(text)?.cluster_name {
        name if name.is_empty() => Err("cluster_name is empty".into()),
        name => Ok(printable(&name, 80)),
    }
}

/// Parses the version in a Proxy's `/webapi/ping`.
pub fn cluster_version(text: &str) -> Result<Version, String> {
    #[derive(Deserialize)]
    struct Ping {
        server_version: String,
    }
    let ping: Ping = ping(text)?;
    // Build metadata does not affect compatibility.
    let version = ping.server_version.split('+').next().unwrap_or_default();
    version
        .parse()
        .map_err(|error| format!("invalid server_version: {error}"))
}

/// Parses the channel's file `rollout`: a number from 0 to 100, with or without `%`.
pub fn percentage(text: &str) -> Option<f64> {
    let text = text.trim();
    let number = text.strip_suffix('%').map_or(text, str::trim_end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    // `parse` accepts signs, exponents and infinity too.
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let percent = number.parse().ok()?;
    (0.0..=100.0).contains(&percent).then_some(percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn critical_in_all_spellings() {
        for text in ["yes", "true", "YES", "True", " yes\n", "tRuE\r\n"] {
            assert_eq!(is_critical(text), Some(true), "{text:?}");
        }
        for text in ["no", "false", "NO", "False\n"] {
            assert_eq!(is_critical(text), Some(false), "{text:?}");
        }
        for text in ["", "y", "1", "yes please", "<html>", "none"] {
            assert_eq!(is_critical(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_version_in_a_proxys_answer() {
        let answer = r#"{"auth":{"type":"local"},"proxy":{"ssh":{}},"server_version":"14.2.0","min_client_version":"13.0.0-aa"}"#;
        for (text, version) in [
            (answer, "14.2.0"),
            (r#"{"server_version":"v15.0.0-rc.1"}"#, "15.0.0-rc.1"),
            (r#"{"server_version":"14.2.0+fips"}"#, "14.2.0"),
        ] {
            assert_eq!(cluster_version(text), Ok(version.parse().unwrap()));
        }
    }

    #[test]
    fn other_answers_have_no_version() {
        const OTHER: &str = "the server is not a Teleport Proxy";
        let nested = "[".repeat(60_000);
        for (text, part) in [
            ("", OTHER),
            ("<html>", OTHER),
            ("{}", OTHER),
            ("14.2.0", OTHER),
            (r#"{"server_version":14}"#, OTHER),
            (nested.as_str(), OTHER),
            (
                r#"{"server_version":"14"}"#,
                "invalid server_version: \"14\" is not a version",
            ),
            (
                r#"{"server_version":"\u001b[31m"}"#,
                "server_version: \"\\u{1b}[31m\" is not a version",
            ),
        ] {
            let problem = cluster_version(text).unwrap_err();
            assert!(problem.contains(part), "{text}: {problem}");
        }
    }

    #[test]
    fn the_clusters_name_is_one_line() {
        let name = |name: &str| cluster_name(&format!(r#"{{"cluster_name":{name},"auth":{{}}}}"#));
        assert_eq!(name(r#""a.example.com""#), Ok("a.example.com".into()));
        assert_eq!(name(r#""a\u001b\n""#), Ok("a\\u{1b}\\n".into()));
        for wrong in ["\"\"", "null", "14", "<"] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
        let other = r#"{"server_version":"14.2.0","cluster_name":14}"#;
        assert!(cluster_version(other).is_ok());
    }

    #[test]
    fn percentages_are_numbers_from_0_to_100() {
        for (text, percent) in [
            ("0", 0.0),
            ("5\n", 5.0),
            ("0.1", 0.1),
            ("12.50%\n", 12.5),
            (" 25 % \r\n", 25.0),
            ("007", 7.0),
            ("100", 100.0),
            ("100.000%", 100.0),
        ] {
            assert_eq!(percentage(text), Some(percent), "{text:?}");
        }
        for text in [
            "", "%", "-0", "-1", "+5", "100.1", "101", "1e1", "5,5", ".5", "5.", "1.2.3", "5 5",
            "5\n6", "5 %%", "inf", "NaN", "0x5", "all", "<html>", "17.5.2", "٥",
        ] {
            assert_eq!(percentage(text), None, "{text:?}");
        }
    }
}
