//! Wire messages -> the bank's own words. What can be refused without a balance is refused here.

mod holds;
mod linked;

use crate::environment::Entropy;
use crate::journal::{Channel, PersonalName};
use crate::ledger::{AskedAmount, Command, Past, Payee, Product, Target};
use crate::teller::{Caller, Declined, Key, Order, Read, Request};
use bank_proto::wire::{self, operation::Kind};
use bank_proto::{AccountNumber, Assignment, BranchId, Currency, CustomerId, DecimalAmount, ErrorCode, Money};
use bank_proto::{TransactionId, TransactionKey, limits};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The principal of everybody while the bank is an open demo.
pub(super) const OPEN_PRINCIPAL: &str = "open";

/// A refusal of the request itself; not stored, so that a corrected one may use the same id.
pub(super) fn invalid(code: ErrorCode, field: &str, reason: impl ToString) -> Declined {
    Declined::new(code).with("field", field).with("reason", reason)
}

/// Finds the branch that owns what an operation is about, and gives an order without an id one.
///
/// # Errors
/// Why no branch can be named.
pub(super) fn route(
    operation: &mut wire::Operation,
    bank: &Assignment,
    entropy: &Entropy,
) -> Result<(BranchId, IdOrigin), Declined> {
    let Some(kind) = &mut operation.kind else {
        return Err(invalid(ErrorCode::InvalidRequest, "operation", "says not what to do"));
    };
    if let Kind::Linked(linked) = kind {
        return linked::route(linked, bank, entropy).map(|owner| (owner, IdOrigin::Linked));
    }
    let owner = owner_of(kind, bank)?;
    let id = match kind {
        Kind::Linked(_)
        | Kind::Query(_)
        | Kind::GetAccount(_)
        | Kind::GetCustomer(_)
        | Kind::GetTransfer(_)
        | Kind::GetHold(_) => {
            return Ok((owner, IdOrigin::None));
        }
        Kind::Transfer(order) => &mut order.transaction_id,
        Kind::Deposit(order) => &mut order.transaction_id,
        Kind::Withdraw(order) => &mut order.transaction_id,
        Kind::OpenAccount(order) => &mut order.transaction_id,
        Kind::CreateCustomer(order) => &mut order.transaction_id,
        Kind::FreezeAccount(order) | Kind::UnfreezeAccount(order) | Kind::CloseAccount(order) => {
            &mut order.transaction_id
        }
        Kind::InitializeBranch(order) => &mut order.transaction_id,
        Kind::Reverse(order) => &mut order.transaction_id,
        Kind::Hold(order) => &mut order.transaction_id,
        Kind::Capture(order) => &mut order.transaction_id,
        Kind::Release(order) => &mut order.transaction_id,
    };
    match id {
        Some(text) => match TransactionKey::for_owner(text, owner) {
            Ok(key) => Ok((owner, IdOrigin::Given(key))),
            Err(error) => Err(invalid(ErrorCode::InvalidTransactionId, "transaction_id", error)),
        },
        None => {
            let key = entropy.transaction_key();
            Ok((owner, IdOrigin::Made(key)))
        }
    }
}

/// Where an operation's id comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum IdOrigin {
    /// A question has none.
    None,
    /// Linked orders have one each, written into them.
    Linked,
    /// The caller chose it.
    Given(TransactionKey),
    /// This server made it.
    Made(TransactionKey),
}

/// Writes an id, if this server made it, into an operation that another server will carry out.
pub(super) fn fill_in_id(operation: &mut wire::Operation, owner: BranchId, id: IdOrigin) {
    let IdOrigin::Made(key) = id else { return };
    let text = Some(TransactionId { branch: owner, key }.to_string());
    match &mut operation.kind {
        Some(Kind::Deposit(order)) => order.transaction_id = text,
        Some(Kind::Withdraw(order)) => order.transaction_id = text,
        Some(Kind::OpenAccount(order)) => order.transaction_id = text,
        Some(Kind::CreateCustomer(order)) => order.transaction_id = text,
        Some(Kind::FreezeAccount(order) | Kind::UnfreezeAccount(order) | Kind::CloseAccount(order)) => {
            order.transaction_id = text;
        }
        Some(Kind::InitializeBranch(order)) => order.transaction_id = text,
        Some(Kind::Transfer(order)) => order.transaction_id = text,
        Some(Kind::Reverse(order)) => order.transaction_id = text,
        Some(Kind::Hold(order)) => order.transaction_id = text,
        Some(Kind::Capture(order)) => order.transaction_id = text,
        Some(Kind::Release(order)) => order.transaction_id = text,
        Some(
            Kind::Query(_)
            | Kind::GetAccount(_)
            | Kind::GetCustomer(_)
            | Kind::GetTransfer(_)
            | Kind::GetHold(_)
            | Kind::Linked(_),
        )
        | None => {}
    }
}

pub(super) use linked::weight;

/// What an operation is called, and the front end's id of the request that it came in by: for the log.
pub(super) fn describe(operation: &wire::Operation) -> (&'static str, Option<&str>) {
    let (name, caller) = match &operation.kind {
        None => ("none", None),
        Some(Kind::Linked(linked)) => {
            let first = linked.operations.first().and_then(|first| describe(first).1);
            return ("linked", first);
        }
        Some(Kind::Deposit(order)) => ("deposit", order.caller.as_ref()),
        Some(Kind::Withdraw(order)) => ("withdraw", order.caller.as_ref()),
        Some(Kind::OpenAccount(order)) => ("open_account", order.caller.as_ref()),
        Some(Kind::CreateCustomer(order)) => ("create_customer", order.caller.as_ref()),
        Some(Kind::FreezeAccount(order)) => ("freeze_account", order.caller.as_ref()),
        Some(Kind::UnfreezeAccount(order)) => ("unfreeze_account", order.caller.as_ref()),
        Some(Kind::CloseAccount(order)) => ("close_account", order.caller.as_ref()),
        Some(Kind::InitializeBranch(order)) => ("initialize_branch", order.caller.as_ref()),
        Some(Kind::Transfer(order)) => ("transfer", order.caller.as_ref()),
        Some(Kind::Reverse(order)) => ("reverse", order.caller.as_ref()),
        Some(Kind::Hold(order)) => ("hold", order.caller.as_ref()),
        Some(Kind::Capture(order)) => ("capture", order.caller.as_ref()),
        Some(Kind::Release(order)) => ("release", order.caller.as_ref()),
        Some(Kind::GetHold(_)) => ("get_hold", None),
        Some(Kind::GetTransfer(_)) => ("get_transfer", None),
        Some(Kind::Query(_)) => ("query", None),
        Some(Kind::GetAccount(_)) => ("get_account", None),
        Some(Kind::GetCustomer(_)) => ("get_customer", None),
    };
    (name, caller.map(|caller| caller.request_id.as_str()).filter(|id| !id.is_empty()))
}

fn owner_of(kind: &Kind, bank: &Assignment) -> Result<BranchId, Declined> {
    let by_customer = |number: i64| customer_id(number, "customer_id").map(|id| id.home_branch(bank.branches()));
    let by_account = |text: &str| account_number(text, bank).map(AccountNumber::branch);
    let either = |customer: i64, account: &str| match (customer, account) {
        (customer, "") => by_customer(customer),
        (0, account) => by_account(account),
        _ => Err(invalid(ErrorCode::InvalidRequest, "account_number", "must not be given together with customer_id")),
    };
    match kind {
        Kind::Deposit(order) => either(order.customer_id, &order.account_number),
        Kind::Withdraw(order) => either(order.customer_id, &order.account_number),
        Kind::Query(question) => either(question.customer_id, &question.account_number),
        Kind::Transfer(order) => either(order.customer_id, &order.account_number),
        Kind::GetTransfer(question) => past_id(&question.transaction_id, "transaction_id").map(|id| id.branch),
        Kind::Reverse(order) => past_id(&order.original_transaction_id, "original_transaction_id").map(|id| id.branch),
        Kind::Hold(order) => either(order.customer_id, &order.account_number),
        Kind::Capture(order) => hold_id(&order.hold_transaction_id).map(|id| id.branch),
        Kind::Release(order) => hold_id(&order.hold_transaction_id).map(|id| id.branch),
        Kind::GetHold(question) => hold_id(&question.hold_transaction_id).map(|id| id.branch),
        Kind::OpenAccount(order) => by_customer(order.customer_id),
        Kind::CreateCustomer(order) => by_customer(order.customer_id),
        Kind::GetCustomer(question) => by_customer(question.customer_id),
        Kind::FreezeAccount(order) | Kind::UnfreezeAccount(order) | Kind::CloseAccount(order) => {
            by_account(&order.account_number)
        }
        Kind::GetAccount(question) => by_account(&question.account_number),
        Kind::InitializeBranch(order) => branch_id(order.branch_id, bank),
        Kind::Linked(_) => Err(invalid(ErrorCode::InvalidRequest, "operation", "must not be linked once more")),
    }
}

/// The whole of an operation for a branch hosted here.
///
/// # Errors
/// What is wrong with it, naming the field.
pub(super) fn request(
    operation: wire::Operation,
    owner: BranchId,
    id: IdOrigin,
    bank: &Assignment,
    entropy: &Entropy,
    principal: &Arc<str>,
) -> Result<Request, Declined> {
    let key = match id {
        IdOrigin::Given(key) => Key::Given(key),
        IdOrigin::Made(key) => Key::Made(key),
        IdOrigin::None => return question(operation, bank).map(Request::Read),
        IdOrigin::Linked => return linked::request(operation, owner, bank, entropy, principal),
    };
    order(operation, owner, key, bank, entropy, principal).map(Request::Write)
}

fn order(
    operation: wire::Operation,
    owner: BranchId,
    key: Key,
    bank: &Assignment,
    entropy: &Entropy,
    principal: &Arc<str>,
) -> Result<Order, Declined> {
    let draft = draft(operation, owner, key.get(), bank, entropy)?;
    let channel = match draft.caller.as_deref() {
        None | Some("" | "grpc") => Channel::Grpc,
        Some("http") => Channel::Http,
        Some(_) => return Err(invalid(ErrorCode::InvalidRequest, "caller.channel", "must be http or grpc")),
    };
    Ok(Order {
        key,
        fingerprint: draft.content.finish(principal),
        command: draft.command,
        caller: Caller { principal: principal.clone(), channel },
        detail: draft.detail,
        name: draft.name,
    })
}

fn question(operation: wire::Operation, bank: &Assignment) -> Result<Read, Declined> {
    match operation.kind {
        Some(Kind::Query(question)) => Ok(Read::Balance {
            target: match question.account_number.as_str() {
                "" => Target::Customer(customer_id(question.customer_id, "customer_id")?),
                account => Target::Account(account_number(account, bank)?.serial()),
            },
            currency: currency(&question.currency)?,
        }),
        Some(Kind::GetAccount(question)) => Ok(Read::Account(account_number(&question.account_number, bank)?.serial())),
        Some(Kind::GetTransfer(question)) => {
            Ok(Read::Transfer(past_id(&question.transaction_id, "transaction_id")?.key))
        }
        Some(Kind::GetHold(question)) => Ok(Read::Hold(hold_id(&question.hold_transaction_id)?.key)),
        Some(Kind::GetCustomer(question)) => Ok(Read::Customer(customer_id(question.customer_id, "customer_id")?)),
        _ => Err(invalid(ErrorCode::InvalidRequest, "operation", "is not a question")),
    }
}

/// An order but for its id and caller.
struct Draft {
    command: Command,
    content: Content,
    caller: Option<String>,
    detail: Option<Box<str>>,
    name: Option<PersonalName>,
}

fn draft(
    operation: wire::Operation,
    owner: BranchId,
    key: TransactionKey,
    bank: &Assignment,
    entropy: &Entropy,
) -> Result<Draft, Declined> {
    let channel = |caller: Option<wire::Caller>| caller.map(|caller| caller.channel);
    let plain =
        |command, content, caller| Draft { command, content, caller: channel(caller), detail: None, name: None };
    match operation.kind {
        Some(Kind::Deposit(order)) => {
            let (target, amount) =
                movement(order.customer_id, &order.account_number, &order.amount, &order.currency, bank)?;
            let content = Content::movement("deposit", target, amount, &order.memo, &order.metadata);
            let detail = memo_and_metadata(order.memo, order.metadata)?;
            let command = Command::Deposit { target, amount };
            Ok(Draft { command, content, caller: channel(order.caller), detail, name: None })
        }
        Some(Kind::Withdraw(order)) => {
            let (target, amount) =
                movement(order.customer_id, &order.account_number, &order.amount, &order.currency, bank)?;
            let content = Content::movement("withdraw", target, amount, &order.memo, &order.metadata);
            let detail = memo_and_metadata(order.memo, order.metadata)?;
            let command = Command::Withdraw { target, amount };
            Ok(Draft { command, content, caller: channel(order.caller), detail, name: None })
        }
        Some(Kind::Transfer(order)) => transfer(order, owner, key, bank),
        Some(Kind::Hold(order)) => holds::place(order, key, bank),
        Some(Kind::Capture(order)) => holds::capture(order, owner, key, bank),
        Some(Kind::Release(order)) => holds::release(order),
        Some(Kind::Reverse(order)) => {
            let original = past_id(&order.original_transaction_id, "original_transaction_id")?.key;
            let mut content = Content::new("reverse");
            content.number(original.0.cast_signed()).text(&order.memo);
            let detail = memo_and_metadata(order.memo, BTreeMap::new())?;
            // The teller looks up what there is to reverse.
            let command = Command::Reverse { original, reversal: key, past: Past::Unknown };
            Ok(Draft { command, content, caller: channel(order.caller), detail, name: None })
        }
        Some(Kind::OpenAccount(order)) => open_account(order),
        Some(Kind::CreateCustomer(order)) => create_customer(order, entropy),
        Some(Kind::InitializeBranch(order)) => {
            let text = order.initial_balance.as_deref().unwrap_or("1000");
            let initial_balance = Money::parse_not_negative(text, Currency::USD)
                .map_err(|error| invalid(ErrorCode::InvalidAmount, "initial_balance", error))?;
            let mut content = Content::new("initialize_branch");
            content.number(i128::from(initial_balance.minor()));
            let command = Command::InitializeBranch { customer: owner.namesake(), initial_balance };
            Ok(plain(command, content, order.caller))
        }
        Some(Kind::FreezeAccount(order)) => {
            let serial = account_number(&order.account_number, bank)?.serial();
            Ok(plain(Command::Freeze(serial), Content::account("freeze", serial), order.caller))
        }
        Some(Kind::UnfreezeAccount(order)) => {
            let serial = account_number(&order.account_number, bank)?.serial();
            Ok(plain(Command::Unfreeze(serial), Content::account("unfreeze", serial), order.caller))
        }
        Some(Kind::CloseAccount(order)) => {
            let serial = account_number(&order.account_number, bank)?.serial();
            Ok(plain(Command::Close(serial), Content::account("close", serial), order.caller))
        }
        Some(
            Kind::Query(_)
            | Kind::GetAccount(_)
            | Kind::GetCustomer(_)
            | Kind::GetTransfer(_)
            | Kind::GetHold(_)
            | Kind::Linked(_),
        )
        | None => Err(invalid(ErrorCode::InvalidRequest, "operation", "is not an order")),
    }
}

fn transfer(
    order: wire::TransferRequest,
    owner: BranchId,
    key: TransactionKey,
    bank: &Assignment,
) -> Result<Draft, Declined> {
    let (payer, amount) = movement(order.customer_id, &order.account_number, &order.amount, &order.currency, bank)?;
    let (branch, target) = payee(order.to_customer_id, &order.to_account_number, bank)?;
    check_patience(order.wait_ms)?;
    let mut content = Content::movement("transfer", payer, amount, &order.memo, &order.metadata);
    content.number(i128::from(branch.get())).target(target);
    let payee = if branch == owner { Payee::Here(target) } else { Payee::At { branch, target, transfer: key } };
    let detail = memo_and_metadata(order.memo, order.metadata)?;
    let command = Command::Transfer { payer, payee, amount };
    Ok(Draft { command, content, caller: order.caller.map(|caller| caller.channel), detail, name: None })
}

/// Who is paid: the branch, and the account or customer there.
fn payee(customer: i64, account: &str, bank: &Assignment) -> Result<(BranchId, Target), Declined> {
    match (customer, account) {
        (number, "") => {
            let customer = customer_id(number, "to_customer_id")?;
            Ok((customer.home_branch(bank.branches()), Target::Customer(customer)))
        }
        (0, text) => {
            let number =
                account_number_in(text, "to_account_number", bank).map_err(|declined| match declined.code {
                    ErrorCode::AccountNotFound => declined.with(Declined::PARTY, Declined::PAYEE),
                    _ => declined,
                })?;
            Ok((number.branch(), Target::Account(number.serial())))
        }
        _ => {
            let reason = "must not be given together with to_customer_id";
            Err(invalid(ErrorCode::InvalidRequest, "to_account_number", reason))
        }
    }
}

/// Whether a caller may wait for so long.
fn check_patience(wait_ms: Option<u32>) -> Result<(), Declined> {
    if wait_ms.is_some_and(|wait_ms| wait_ms > limits::TRANSFER_WAIT_MS) {
        let reason = format!("must be at most {}", limits::TRANSFER_WAIT_MS);
        return Err(invalid(ErrorCode::InvalidRequest, "wait_ms", reason));
    }
    Ok(())
}

/// How long the caller of an operation waits for what it has begun to end.
pub(super) fn patience(operation: &wire::Operation) -> Option<Duration> {
    let asked = match &operation.kind {
        Some(Kind::Transfer(order)) => order.wait_ms,
        Some(Kind::Capture(order)) => order.wait_ms,
        _ => return None,
    };
    let wait_ms = asked.unwrap_or(limits::DEFAULT_TRANSFER_WAIT_MS);
    (wait_ms > 0).then(|| Duration::from_millis(u64::from(wait_ms)))
}

fn open_account(order: wire::OpenAccountRequest) -> Result<Draft, Declined> {
    let customer = customer_id(order.customer_id, "customer_id")?;
    let product = match wire::Product::try_from(order.product) {
        Ok(wire::Product::Unspecified | wire::Product::Checking) => Product::Checking,
        Ok(wire::Product::Savings) => Product::Savings,
        Ok(wire::Product::FixedDeposit) => Product::FixedDeposit,
        Ok(wire::Product::Investment) => Product::Investment,
        Err(_) => return Err(invalid(ErrorCode::InvalidRequest, "product", "is not a known product")),
    };
    let currency = currency(&order.currency)?.unwrap_or(Currency::USD);
    if order.joint_holders.len() >= limits::ACCOUNT_HOLDERS {
        let reason = format!("must name at most {} further holders", limits::ACCOUNT_HOLDERS - 1);
        return Err(invalid(ErrorCode::InvalidRequest, "joint_holders", reason));
    }
    let mut joint_holders: Vec<CustomerId> = Vec::with_capacity(order.joint_holders.len());
    for holder in order.joint_holders {
        let holder = customer_id(holder, "joint_holders")?;
        if holder == customer || joint_holders.contains(&holder) {
            return Err(invalid(ErrorCode::InvalidRequest, "joint_holders", "must name every holder once"));
        }
        joint_holders.push(holder);
    }
    let limit = if order.overdraft_limit.is_empty() { "0" } else { &order.overdraft_limit };
    let overdraft_limit = Money::parse_not_negative(limit, currency)
        .map_err(|error| invalid(ErrorCode::InvalidAmount, "overdraft_limit", error))?
        .minor();
    let mut content = Content::new("open_account");
    content.number(i128::from(customer.get())).text(product.as_str()).text(currency.code());
    content.number(i128::from(overdraft_limit)).number(joint_holders.len() as i128);
    for holder in &joint_holders {
        content.number(i128::from(holder.get()));
    }
    let command = Command::OpenAccount { customer, product, currency, joint_holders, overdraft_limit };
    Ok(Draft { command, content, caller: order.caller.map(|caller| caller.channel), detail: None, name: None })
}

fn create_customer(order: wire::CreateCustomerRequest, entropy: &Entropy) -> Result<Draft, Declined> {
    let customer = customer_id(order.customer_id, "customer_id")?;
    if order.name.len() > limits::NAME_BYTES || order.name.chars().any(char::is_control) {
        let reason = format!("must be at most {} bytes without control characters", limits::NAME_BYTES);
        return Err(invalid(ErrorCode::InvalidRequest, "name", reason));
    }
    let mut content = Content::new("create_customer");
    // The name itself stays out: a digest without a key would let it be guessed after it is erased.
    content.number(i128::from(customer.get())).number(i128::from(!order.name.is_empty()));
    let name =
        (!order.name.is_empty()).then(|| PersonalName { customer, name: order.name, digest_key: entropy.bytes() });
    let detail = name.as_ref().map(|name| {
        let digest = blake3::keyed_hash(&name.digest_key, name.name.as_bytes());
        format!(r#"{{"name_digest":"{}"}}"#, digest.to_hex()).into_boxed_str()
    });
    let command = Command::RegisterCustomer { customer };
    Ok(Draft { command, content, caller: order.caller.map(|caller| caller.channel), detail, name })
}

fn movement(
    customer: i64,
    account: &str,
    amount: &str,
    currency_text: &str,
    bank: &Assignment,
) -> Result<(Target, AskedAmount), Declined> {
    let bad_amount = |error| invalid(ErrorCode::InvalidAmount, "amount", error);
    let target = match account {
        "" => Target::Customer(customer_id(customer, "customer_id")?),
        account => Target::Account(account_number(account, bank)?.serial()),
    };
    let amount = match (currency(currency_text)?, target) {
        (Some(currency), _) => AskedAmount::Money(Money::parse_positive(amount, currency).map_err(bad_amount)?),
        (None, Target::Customer(_)) => {
            AskedAmount::Money(Money::parse_positive(amount, Currency::USD).map_err(bad_amount)?)
        }
        (None, Target::Account(_)) => {
            let amount = DecimalAmount::parse(amount).map_err(bad_amount)?;
            if !amount.is_positive() {
                return Err(bad_amount(bank_proto::InvalidAmount::NotPositive));
            }
            AskedAmount::InAccountCurrency(amount)
        }
    };
    Ok((target, amount))
}

pub(super) fn customer_id(number: i64, field: &str) -> Result<CustomerId, Declined> {
    CustomerId::new(number).map_err(|error| invalid(ErrorCode::InvalidCustomerId, field, error))
}

/// A branch of this bank.
pub(super) fn branch_id(number: i64, bank: &Assignment) -> Result<BranchId, Declined> {
    match u32::try_from(number) {
        Ok(number) if number > bank.branches() => Err(Declined::new(ErrorCode::BranchNotFound)),
        _ => BranchId::new(number).map_err(|error| invalid(ErrorCode::InvalidBranchId, "branch_id", error)),
    }
}

/// An account number of a branch of this bank.
pub(super) fn account_number(text: &str, bank: &Assignment) -> Result<AccountNumber, Declined> {
    account_number_in(text, "account_number", bank)
}

pub(super) fn account_number_in(text: &str, field: &str, bank: &Assignment) -> Result<AccountNumber, Declined> {
    let number: AccountNumber = text.parse().map_err(|error| invalid(ErrorCode::InvalidAccountNumber, field, error))?;
    if bank.server_of(number.branch()).is_none() {
        return Err(Declined::new(ErrorCode::AccountNotFound));
    }
    Ok(number)
}

/// The id of something that was ordered before: it says which branch knows of it.
fn past_id(text: &str, field: &str) -> Result<TransactionId, Declined> {
    text.parse().map_err(|error| invalid(ErrorCode::InvalidTransactionId, field, error))
}

fn hold_id(text: &str) -> Result<TransactionId, Declined> {
    past_id(text, "hold_transaction_id")
}

fn currency(text: &str) -> Result<Option<Currency>, Declined> {
    match text {
        "" => Ok(None),
        text => match text.parse() {
            Ok(currency) => Ok(Some(currency)),
            Err(error) => Err(invalid(ErrorCode::InvalidCurrency, "currency", error)),
        },
    }
}

#[derive(serde::Serialize)]
struct MemoAndMetadata {
    #[serde(skip_serializing_if = "String::is_empty")]
    memo: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
}

fn memo_and_metadata(memo: String, metadata: BTreeMap<String, String>) -> Result<Option<Box<str>>, Declined> {
    if memo.is_empty() && metadata.is_empty() {
        return Ok(None);
    }
    if memo.len() > limits::MEMO_BYTES {
        let reason = format!("must be at most {} bytes", limits::MEMO_BYTES);
        return Err(invalid(ErrorCode::InvalidRequest, "memo", reason));
    }
    let bytes: usize = metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > limits::METADATA_BYTES {
        let reason = format!("must be at most {} bytes, keys and values together", limits::METADATA_BYTES);
        return Err(invalid(ErrorCode::InvalidRequest, "metadata", reason));
    }
    let json = serde_json::to_string(&MemoAndMetadata { memo, metadata });
    json.map(|json| Some(json.into_boxed_str())).map_err(|_| Declined::new(ErrorCode::Internal))
}

/// The content of an order in one line, to be digested: what must be the same when an id is used again.
struct Content(Vec<u8>);

/// Nearly every content is shorter; one with a long memo or metadata grows beyond.
const CONTENT_BYTES: usize = 192;

impl Content {
    fn new(what: &str) -> Content {
        let mut content = Content(Vec::with_capacity(CONTENT_BYTES));
        content.text(what);
        content
    }

    fn movement(
        what: &str,
        target: Target,
        amount: AskedAmount,
        memo: &str,
        metadata: &BTreeMap<String, String>,
    ) -> Content {
        let mut content = Content::new(what);
        content.target(target);
        match amount {
            AskedAmount::Money(money) => content.text(money.currency().code()).number(i128::from(money.minor())),
            AskedAmount::InAccountCurrency(amount) => {
                let (digits, decimals) = amount.normalized();
                content.text("").number(i128::from(digits)).number(i128::from(decimals))
            }
        };
        content.text(memo);
        for (key, value) in metadata {
            content.text(key).text(value);
        }
        content
    }

    fn account(what: &str, serial: bank_proto::AccountSerial) -> Content {
        let mut content = Content::new(what);
        content.number(i128::from(serial.0));
        content
    }

    fn target(&mut self, target: Target) -> &mut Content {
        match target {
            Target::Customer(customer) => self.text("customer").number(i128::from(customer.get())),
            Target::Account(serial) => self.text("account").number(i128::from(serial.0)),
        }
    }

    fn text(&mut self, text: &str) -> &mut Content {
        self.0.extend_from_slice(&(text.len() as u64).to_le_bytes());
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    fn number(&mut self, number: i128) -> &mut Content {
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }

    fn finish(mut self, principal: &str) -> [u8; 16] {
        self.text(principal);
        let mut fingerprint = [0; 16];
        // The first half of the digest; BLAKE3's output of any length begins with the same bytes.
        fingerprint.copy_from_slice(&blake3::hash(&self.0).as_bytes()[..16]);
        fingerprint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;

    #[test]
    fn any_bytes_are_an_operation_or_refused_without_panic() {
        let (bank, entropy) = (&Assignment::new(10, 1), Entropy::from_seed(1));
        let principal: Arc<str> = OPEN_PRINCIPAL.into();
        bolero::check!().for_each(|bytes| {
            let Ok(mut operation) = wire::Operation::decode(bytes) else { return };
            if let Ok((owner, id)) = route(&mut operation, bank, &entropy) {
                assert!(owner.get() <= 10);
                match request(operation, owner, id, bank, &entropy, &principal) {
                    Ok(_) => {}
                    Err(declined) => assert!(declined.code.http_status() < 500, "{declined:?}"),
                }
            }
        });
    }

    fn fingerprint(amount: &str, memo: &str) -> [u8; 16] {
        let (bank, entropy) = (&Assignment::new(10, 1), Entropy::from_seed(1));
        let order = wire::DepositRequest {
            account_number: "0001000000000145".to_owned(),
            amount: amount.to_owned(),
            memo: memo.to_owned(),
            ..wire::DepositRequest::default()
        };
        let mut operation = wire::Operation { kind: Some(Kind::Deposit(order)) };
        let (owner, id) = route(&mut operation, bank, &entropy).expect("routed");
        match request(operation, owner, id, bank, &entropy, &OPEN_PRINCIPAL.into()).expect("an order") {
            Request::Write(order) => order.fingerprint,
            Request::Read(_) | Request::Linked(_) | Request::Arrive { .. } => panic!("not an order"),
        }
    }

    #[test]
    fn a_fingerprint_is_for_ever() {
        // Stored with every transaction: with another one, an honest repeat would be refused as a reuse.
        let stored = |amount, memo| u128::from_be_bytes(fingerprint(amount, memo));
        assert_eq!(stored("100", "rent"), 0x21F9_2825_F699_808D_A15C_0D67_E63E_2459);
        assert_eq!(stored("0.01", &"long ".repeat(28)), 0xBD30_FBD2_66D7_2CC0_8BA9_0A76_9536_7947);
    }

    #[test]
    fn amounts_that_mean_the_same_are_the_same_content() {
        assert_eq!(fingerprint("100", ""), fingerprint("100.00", ""));
        assert_ne!(fingerprint("100", ""), fingerprint("1000", ""));
        assert_ne!(fingerprint("100", ""), fingerprint("100", "rent"));
    }
}
