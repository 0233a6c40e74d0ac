//! The bank over HTTP, as a script needs it: retries under the same id, refusals told from failures.

use crate::exit::Exit;
use crate::http::{HttpError, Trust};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use std::time::Duration;

/// A write is sent at most so often while the bank says that it is busy or cannot be reached.
const ATTEMPTS: u32 = 20;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The pause between two attempts, unless the bank asks for a longer one.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest pause that the bank can ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// One bank, and the prefix of every id that this run makes.
pub(super) struct Client {
    http: reqwest::Client,
    url: String,
    ids: String,
}

/// Why the script cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("the bank at {url} cannot be reached: {error}")]
    Unreachable { url: String, error: reqwest::Error },
    #[error("the bank is not able to answer {path} now: {status} {code}")]
    Busy { path: String, status: StatusCode, code: String },
    #[error("the bank answers {path} with {status} {code}: {detail}")]
    Unexpected { path: String, status: StatusCode, code: String, detail: String },
}

impl ClientError {
    pub(super) fn exit(&self) -> Exit {
        match self {
            ClientError::Http(error) => error.exit(),
            ClientError::Unexpected { .. } => Exit::Internal,
            ClientError::Unreachable { .. } | ClientError::Busy { .. } => Exit::Unavailable,
        }
    }
}

/// What the bank said to a request that it understood.
pub(super) enum Answer {
    /// Done; the body.
    Done(Value),
    /// Refused by the bank's books: too little money, an unknown customer.
    Refused(Value),
}

impl Client {
    pub(super) fn new((url, trust): (&str, &Trust), ids: &str) -> Result<Client, ClientError> {
        let http = trust.client(url, PATIENCE)?;
        Ok(Client { http, url: url.trim_end_matches('/').to_owned(), ids: ids.to_owned() })
    }

    /// Sends a write under an id of its own; the same id finds the same answer in every run.
    pub(super) async fn post(&self, path: &str, id: &str, body: &Value) -> Result<Answer, ClientError> {
        self.send(Method::POST, path, Some((id, body))).await
    }

    /// Reads.
    pub(super) async fn get(&self, path: &str) -> Result<Answer, ClientError> {
        self.send(Method::GET, path, None).await
    }

    async fn send(&self, method: Method, path: &str, write: Option<(&str, &Value)>) -> Result<Answer, ClientError> {
        let mut attempt = 1;
        loop {
            let mut request = self.http.request(method.clone(), format!("{}{path}", self.url));
            if let Some((id, body)) = write {
                request = request.header("idempotency-key", format!("{}-{id}", self.ids)).json(body);
            }
            let (outcome, pause) = match request.send().await {
                Ok(answer) => {
                    let pause = retry_after(&answer);
                    (understand(path, answer).await, pause)
                }
                Err(error) => (Err(ClientError::Unreachable { url: self.url.clone(), error }), PAUSE),
            };
            match outcome {
                Err(ClientError::Busy { .. } | ClientError::Unreachable { .. }) if attempt < ATTEMPTS => {
                    attempt += 1;
                    tokio::time::sleep(pause).await;
                }
                outcome => return outcome,
            }
        }
    }
}

fn retry_after(answer: &reqwest::Response) -> Duration {
    let header = answer.headers().get("retry-after").and_then(|value| value.to_str().ok());
    let seconds = header.and_then(|text| text.parse().ok()).map(Duration::from_secs);
    seconds.unwrap_or(PAUSE).clamp(PAUSE, LONGEST_PAUSE)
}

async fn understand(path: &str, answer: reqwest::Response) -> Result<Answer, ClientError> {
    let status = answer.status();
    // A body that is no JSON is told by its status alone.
    let body = answer.json::<Value>().await.unwrap_or_default();
    let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
    let path = path.to_owned();
    match status {
        _ if status.is_success() => Ok(Answer::Done(body)),
        StatusCode::UNPROCESSABLE_ENTITY => Ok(Answer::Refused(body)),
        StatusCode::NOT_FOUND if matches!(text("code").as_str(), "CUSTOMER_NOT_FOUND" | "ACCOUNT_NOT_FOUND") => {
            Ok(Answer::Refused(body))
        }
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS | StatusCode::GATEWAY_TIMEOUT => {
            Err(ClientError::Busy { path, status, code: text("code") })
        }
        _ => Err(ClientError::Unexpected { path, status, code: text("code"), detail: text("detail") }),
    }
}
