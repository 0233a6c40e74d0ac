//! Questions to the client API of a running bank.

use crate::exit::Exit;
use crate::http::{HttpError, Trust};
use reqwest::Client;
use serde_json::Value;
use std::time::Duration;
use tokio::runtime::Runtime;

/// How long an answer may take. Books of the whole bank take the longest.
const PATIENCE: Duration = Duration::from_secs(30);

/// The way to a client API.
pub(crate) struct Api {
    url: String,
    client: Client,
    runtime: Runtime,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("no runtime: {0}")]
    Runtime(std::io::Error),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("no bank answers at {url}: {why}")]
    NoAnswer { url: String, why: String },
}

impl ApiError {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            ApiError::Runtime(_) => Exit::Internal,
            ApiError::Http(error) => error.exit(),
            ApiError::NoAnswer { .. } => Exit::Unavailable,
        }
    }
}

impl Api {
    pub(crate) fn new(url: &str, trust: &Trust) -> Result<Api, ApiError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ApiError::Runtime)?;
        let client = trust.client(url, PATIENCE)?;
        Ok(Api { url: url.trim_end_matches('/').to_owned(), client, runtime })
    }

    /// The status and the JSON of an answer, whatever the status.
    pub(crate) fn json(&self, path: &str) -> Result<(u16, Value), ApiError> {
        let ask = async {
            let answer = self.client.get(format!("{}{path}", self.url)).send().await?;
            let status = answer.status().as_u16();
            // Whoever does not answer with JSON is no bank.
            Ok((status, answer.json().await?))
        };
        self.runtime.block_on(ask).map_err(|error: reqwest::Error| no_answer(&self.url, &error))
    }

    /// Why whoever answered is not taken for a bank.
    pub(crate) fn no_bank(&self, why: String) -> ApiError {
        ApiError::NoAnswer { url: self.url.clone(), why }
    }

    /// Lets time pass.
    pub(crate) fn wait(&self, time: Duration) {
        self.runtime.block_on(async { tokio::time::sleep(time).await });
    }
}

fn no_answer(url: &str, error: &reqwest::Error) -> ApiError {
    ApiError::NoAnswer { url: url.to_owned(), why: innermost(error) }
}

/// The innermost cause of an error, which says it shortest.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut why = error;
    while let Some(cause) = why.source() {
        why = cause;
    }
    why.to_string()
}
