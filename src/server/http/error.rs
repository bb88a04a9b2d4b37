//! Why a request failed.

use std::fmt;

use ureq::http::StatusCode;

/// A request that got no usable response.
#[derive(Debug)]
pub struct RequestError {
    pub(super) url: String,
    /// The web proxy in between.
    pub(super) proxy: Option<String>,
    pub(super) problem: Problem,
}

/// What went wrong.
#[derive(Debug)]
pub enum Problem {
    /// The server could not be reached, or broke off: it may work later.
    Unreachable(String),
    /// The server returned an error.
    Status(StatusCode),
    /// It will fail again until it is fixed; the second text says how.
    Permanent(String, &'static str),
}

/// What to do about a response that makes no sense.
pub const CHECK_ENDPOINT: &str = "Check endpoint";

impl Problem {
    /// Whether the same request may succeed later.
    pub fn is_temporary(&self) -> bool {
        match self {
            Problem::Unreachable(_) => true,
            Problem::Status(status) => {
                status.is_server_error()
                    || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(status)
            }
            Problem::Permanent(..) => false,
        }
    }
}

impl RequestError {
    /// A response that cannot be used, and what to do about it.
    pub fn invalid(url: &str, problem: String, remedy: &'static str) -> RequestError {
        RequestError {
            url: url.to_string(),
            proxy: None,
            problem: Problem::Permanent(problem, remedy),
        }
    }

    /// Whether the same request may succeed later.
    pub fn is_temporary(&self) -> bool {
        self.problem.is_temporary()
    }

    /// The status of the response, if it was an error.
    pub fn status(&self) -> Option<StatusCode> {
        match self.problem {
            Problem::Status(status) => Some(status),
            _ => None,
        }
    }

    /// Whether the server answered, if only with an error. A gateway reports by its status that the server behind it is gone.
    pub fn is_an_answer(&self) -> bool {
        const GONE: [StatusCode; 3] = [
            StatusCode::BAD_GATEWAY,
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::GATEWAY_TIMEOUT,
        ];
        match &self.problem {
            Problem::Unreachable(_) => false,
            Problem::Status(status) => !GONE.contains(status),
            Problem::Permanent(..) => true,
        }
    }

    /// The message without its advice.
    pub fn reason(&self) -> String {
        let url = &self.url;
        match &self.problem {
            Problem::Unreachable(why) => {
                let through = self
                    .proxy
                    .as_ref()
                    .map(|proxy| format!(" through the proxy {proxy}"));
                format!("cannot reach {url}{}: {why}", through.unwrap_or_default())
            }
            Problem::Status(status) => format!("{url} returned {status}"),
            Problem::Permanent(what, _) => format!("{url}: {what}"),
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let advice = match &self.problem {
            problem if problem.is_temporary() => "Will retry at the next check",
            Problem::Permanent(_, remedy) => remedy,
            _ => CHECK_ENDPOINT,
        };
        write!(f, "{}. {advice}", self.reason())
    }
}

impl std::error::Error for RequestError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_statuses_are_temporary() {
        for (status, temporary) in [
            (500, true),
            (502, true),
            (503, true),
            (429, true),
            (408, true),
            (404, false),
            (403, false),
            (204, false),
        ] {
            let problem = Problem::Status(StatusCode::from_u16(status).unwrap());
            assert_eq!(problem.is_temporary(), temporary, "{status}");
        }
    }
}
