//! The HTTP door of a client: the client API's routes and its routing client, on the client's own host.

use crate::clients::is_passing;
use crate::machine::{PORT, Wires, connect};
use crate::servers::{BRANCHES, SERVERS, name};
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use bank_proto::traces::Traces;
use bank_proto::wire::operation::Kind;
use client_api::environment::{Entropy, Environment};
use client_api::{Auth, LogFormat, Settings, TlsSettings, routes_in};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// What a caller hears.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    status: StatusCode,
    body: Value,
    is_replayed: bool,
}

/// The routes of a client API.
pub(crate) struct Door(Router);

impl Door {
    pub(crate) fn open(wires: &Wires, own: &str, seed: u64) -> Door {
        let environment = Environment {
            entropy: Entropy::from_seed(seed),
            connect: Box::new(connect(wires.clone(), own.to_owned())),
            traces: Traces::off(),
        };
        let address = |server| format!("http://{}:{PORT}", name(server)).parse().expect("an address");
        let settings = Settings {
            http: ([127, 0, 0, 1], 5002).into(),
            operations_listen: None,
            tls: TlsSettings::default(),
            branch_servers: (0..SERVERS).map(address).collect(),
            branches: BRANCHES,
            assignment: None,
            auth: Auth::Open,
            auth_open_anywhere: false,
            request_timeout_ms: 1_500,
            max_in_flight: 64,
            max_connections: 64,
            queue_operations: 64,
            drain_timeout_ms: 1_000,
            otlp_endpoint: None,
            trace_ratio: 0.0,
            log_format: LogFormat::Text,
            log: "off".to_owned(),
            exit_with_parent: false,
        };
        Door(routes_in(environment, &settings).expect("routes"))
    }

    /// Orders something under a key.
    pub(crate) async fn order(&self, order: &Kind, key: &str) -> Heard {
        let (path, body) = request(order);
        let request = Request::post(path)
            .header(header::HOST, "bank")
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", key)
            .body(Body::from(body.to_string()))
            .expect("a request");
        let Ok(answer) = self.0.clone().oneshot(request).await;
        let (status, replayed) = (answer.status(), answer.headers().get("idempotent-replayed").cloned());
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        let body = serde_json::from_slice(&body).expect("JSON");
        let heard = Heard { status, body, is_replayed: replayed.is_some_and(|replayed| replayed == "true") };
        assert!(!heard.code().starts_with("INVALID"), "{order:?} is not understood: {heard:?}");
        heard
    }
}

/// The same order as a person would send it; without what it leaves out.
fn request(order: &Kind) -> (String, Value) {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    match order {
        Kind::Deposit(order) => {
            let body = json!({"customer_id": order.customer_id, "type": "deposit", "amount": order.amount});
            ("/transaction".to_owned(), body)
        }
        Kind::Withdraw(order) => {
            let body = json!({"customer_id": order.customer_id, "type": "withdraw", "amount": order.amount});
            ("/transaction".to_owned(), body)
        }
        Kind::Transfer(order) => {
            let body = json!({"from_customer_id": order.customer_id, "to_customer_id": order.to_customer_id,
                "amount": order.amount, "wait_ms": order.wait_ms});
            ("/v1/transfers".to_owned(), body)
        }
        Kind::Hold(order) => {
            let body = json!({"customer_id": order.customer_id, "amount": order.amount,
                "expires_in_seconds": order.expires_in_seconds});
            ("/v1/holds".to_owned(), body)
        }
        Kind::Capture(order) => {
            let mut body = json!({"to_customer_id": order.to_customer_id, "keep_rest": order.keep_rest,
                "wait_ms": order.wait_ms});
            if let Some(amount) = some(&order.amount) {
                body["amount"] = amount.into();
            }
            (format!("/v1/holds/{}/capture", order.hold_transaction_id), body)
        }
        Kind::Release(order) => (format!("/v1/holds/{}/release", order.hold_transaction_id), json!({})),
        Kind::Reverse(order) => (format!("/v1/transactions/{}/reversal", order.original_transaction_id), json!({})),
        other => unreachable!("nobody orders {other:?} at a door"),
    }
}

impl Heard {
    /// Worth a retry under the same key, and nothing else is known. That the payee's branch was not open yet
    /// is an answer for ever.
    pub(crate) fn is_passing(&self) -> bool {
        self.text("party").is_empty() && is_passing(self.code())
    }

    pub(crate) fn code(&self) -> &str {
        self.text("code")
    }

    /// The id of what was done, for whoever wants it back.
    pub(crate) fn id(&self, name: &str) -> Option<String> {
        self.status.is_success().then(|| self.text(name).to_owned()).filter(|id| !id.is_empty())
    }

    fn text(&self, name: &str) -> &str {
        self.body[name].as_str().unwrap_or_default()
    }

    /// What kind of answer was given twice; None when the two do not agree.
    pub(crate) fn agrees(&self, again: &Heard) -> Option<&'static str> {
        let was_under_way = self.text("state") == "PROCESSING";
        let stays = again.is_replayed && self.body["amount"] == again.body["amount"];
        match (self.status.is_success(), again.status.is_success()) {
            (true, true) if was_under_way => (stays && again.text("state") == "COMPLETED").then_some("door: ended"),
            // A hold is told as it stands.
            (true, true) if self.body.get("remaining").is_some() => {
                let is_same = self.body["hold_transaction_id"] == again.body["hold_transaction_id"];
                (stays && is_same).then_some("door: hold")
            }
            (true, true) => (stays && self.body == again.body).then_some("door: done"),
            (true, false) => {
                let came_back = again.text("state") == "FAILED" || again.code() == "REVERSAL_REFUSED";
                (was_under_way && again.is_replayed && came_back).then_some("door: came back")
            }
            (false, false) => (again.is_replayed && self.code() == again.code()).then_some("door: refused"),
            (false, true) => None,
        }
    }
}
