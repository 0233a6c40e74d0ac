//! A running bank that is backed up through one of its branch servers, wherever its disks are.

use super::manifest;
use crate::api::innermost;
use crate::exit::Exit;
use bank_proto::BranchId;
use bank_proto::tls::{Identity, IdentityFiles, TlsError};
use bank_proto::wire::bank_service_client::BankServiceClient;
use bank_proto::wire::stored_value::Value;
use bank_proto::{limits, wire};
use branch_server::data_directory::{self, BankFile};
use branch_server::journal::sqlite::{CopyError, End, Original, StoredRow, StoredValue};
use branch_server::journal::{ChainHash, Sequence};
use std::path::PathBuf;
use std::time::Duration;
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// How long one answer may take, and each further part of a long one. A cut through the bank takes the longest.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What a bank that speaks TLS wants to see of its backup, and whose certificates that accepts.
#[derive(Debug, clap::Args)]
pub(crate) struct TlsArguments {
    /// The certificate that is shown a --server at an https:// address, in PEM.
    #[arg(long, env = "TLS_CERTIFICATE", value_name = "FILE")]
    tls_certificate: Option<PathBuf>,
    /// Its key.
    #[arg(long, env = "TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// The authorities whose certificates are accepted of the server.
    #[arg(long, env = "TLS_AUTHORITY", value_name = "FILE")]
    tls_authority: Option<PathBuf>,
}

impl TlsArguments {
    fn identity(&self) -> Result<Option<Identity>, TlsError> {
        let [certificate, key, authority] =
            [&self.tls_certificate, &self.tls_key, &self.tls_authority].map(Option::as_deref);
        IdentityFiles::of(certificate, key, authority)?.map(Identity::read).transpose()
    }
}

/// The way to a bank through one of its servers.
pub(super) struct Remote {
    url: String,
    client: BankServiceClient<Channel>,
    runtime: Runtime,
}

/// Why the bank cannot be backed up through the server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemoteError {
    #[error("no runtime: {0}")]
    Runtime(std::io::Error),
    #[error("--server: `{0}` is not an address such as http://127.0.0.1:50051")]
    Url(String),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("--server: at {0} is a bank with TLS; say --tls-certificate, --tls-key and --tls-authority")]
    NoCertificate(String),
    #[error("--server: {0} would be asked without TLS, and there is a certificate; say https://, or leave it out")]
    Plain(String),
    #[error("no branch server answers at {url}: {why}")]
    NoAnswer { url: String, why: String },
    #[error("the bank at {url} names no moment of all its branches: {why}; try again when all of them are open")]
    NoCut { url: String, why: String },
    #[error("the server at {url} says nonsense: {what}")]
    Nonsense { url: String, what: String },
}

impl RemoteError {
    pub(super) fn exit(&self) -> Exit {
        match self {
            RemoteError::Url(_) | RemoteError::Tls(_) | RemoteError::NoCertificate(_) | RemoteError::Plain(_) => {
                Exit::Usage
            }
            RemoteError::Runtime(_) => Exit::Internal,
            RemoteError::NoAnswer { .. } | RemoteError::NoCut { .. } | RemoteError::Nonsense { .. } => {
                Exit::Unavailable
            }
        }
    }
}

impl Remote {
    /// Any server of the bank will do: it asks the others.
    pub(super) fn connect(url: &str, tls: &TlsArguments) -> Result<Remote, RemoteError> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RemoteError::Runtime)?;
        let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|_| RemoteError::Url(url.to_owned()))?;
        let endpoint = endpoint.connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true);
        let identity = match endpoint.uri().scheme_str() {
            Some("http") if tls.identity()?.is_some() => return Err(RemoteError::Plain(url.to_owned())),
            Some("http") => None,
            Some("https") => Some(tls.identity()?.ok_or_else(|| RemoteError::NoCertificate(url.to_owned()))?),
            _ => return Err(RemoteError::Url(url.to_owned())),
        };
        // Either connects when it is first asked; what is wrong then, the first question says.
        let channel = runtime.block_on(async {
            match &identity {
                Some(identity) => identity.channel(&endpoint),
                None => endpoint.connect_lazy(),
            }
        });
        let client = BankServiceClient::new(channel).max_decoding_message_size(limits::GRPC_MESSAGE_BYTES);
        Ok(Remote { url: url.to_owned(), client, runtime })
    }

    /// The bank, as the file of a data directory says it.
    pub(super) fn bank(&mut self) -> Result<BankFile, RemoteError> {
        let described = self.describe(1, vec![]);
        let described =
            described.map_err(|status| RemoteError::NoAnswer { url: self.url.clone(), why: said(&status) })?;
        let wire::JournalDescription { branches, founding_servers, .. } = described;
        if !(1..=limits::BRANCHES).contains(&branches) {
            let what = format!("it has {branches} branches");
            return Err(RemoteError::Nonsense { url: self.url.clone(), what });
        }
        Ok(BankFile { format: data_directory::FORMAT, branches, servers: founding_servers })
    }

    /// The last row of every branch at one moment: a cut through the bank.
    pub(super) fn moment(&mut self, branches: u32) -> Result<Vec<Sequence>, RemoteError> {
        let mut request = Request::new(wire::GetBankTrialBalanceRequest::default());
        request.set_timeout(PATIENCE);
        let books = self.runtime.block_on(self.client.get_bank_trial_balance(request));
        let books = books.map_err(|status| RemoteError::NoCut { url: self.url.clone(), why: said(&status) })?;
        let token = books.into_inner().token;
        manifest::rows(&token, branches).ok_or_else(|| {
            let what = format!("its bank has {branches} branches, and it names {token}");
            RemoteError::Nonsense { url: self.url.clone(), what }
        })
    }

    /// One branch's journal.
    pub(super) fn journal(&mut self, branch: BranchId) -> RemoteJournal<'_> {
        RemoteJournal { remote: self, branch }
    }

    fn describe(&mut self, branch_id: i64, sequences: Vec<i64>) -> Result<wire::JournalDescription, Status> {
        let question = wire::DescribeJournalRequest { branch_id, sequences };
        let mut request = Request::new(question);
        request.set_timeout(PATIENCE);
        self.runtime.block_on(self.client.describe_journal(request)).map(tonic::Response::into_inner)
    }

    /// Rows of a table, message by message.
    fn rows(
        &mut self,
        question: wire::CopyJournalRequest,
        take: &mut dyn FnMut(Vec<StoredRow>) -> Result<(), CopyError>,
    ) -> Result<(), CopyError> {
        let Remote { url, client, runtime } = self;
        let failed = |status: Status| CopyError::NotTold(format!("the server at {url}: {}", said(&status)));
        let silent = |_| CopyError::NotTold(format!("the server at {url} has fallen silent"));
        // Timers belong into the runtime.
        let begin = async { tokio::time::timeout(PATIENCE, client.copy_journal(question)).await };
        let mut rows = runtime.block_on(begin).map_err(silent)?.map_err(failed)?.into_inner();
        loop {
            let next = async { tokio::time::timeout(PATIENCE, rows.message()).await };
            match runtime.block_on(next).map_err(silent)?.map_err(failed)? {
                Some(message) => take(message.rows.into_iter().map(from_wire).collect())?,
                None => return Ok(()),
            }
        }
    }
}

/// A branch's journal, wherever it is.
pub(super) struct RemoteJournal<'a> {
    remote: &'a mut Remote,
    branch: BranchId,
}

impl RemoteJournal<'_> {
    fn describe(&mut self, sequences: Vec<i64>) -> Result<wire::JournalDescription, CopyError> {
        let described = self.remote.describe(i64::from(self.branch.get()), sequences);
        described.map_err(|status| CopyError::NotTold(format!("the server at {}: {}", self.remote.url, said(&status))))
    }
}

impl Original for RemoteJournal<'_> {
    fn name(&self) -> PathBuf {
        PathBuf::from(format!("branch {} at {}", self.branch, self.remote.url))
    }

    fn end(&mut self, _branch: BranchId, branches: u32) -> Result<End, CopyError> {
        let described = self.describe(vec![])?;
        if described.branches != branches {
            let what = format!("the server at {} is of a bank of {} branches", self.remote.url, described.branches);
            return Err(CopyError::NotTold(what));
        }
        Ok(End { sequence: described.last_sequence.cast_unsigned(), epoch: described.epoch.cast_unsigned() })
    }

    fn group_hash(&mut self, sequence: Sequence) -> Result<ChainHash, CopyError> {
        let described = self.describe(vec![sequence.cast_signed()])?;
        let hash = described.hashes.into_iter().next().and_then(|hash| hash.try_into().ok());
        let nonsense = || CopyError::NotTold(format!("the server at {} tells no hash", self.remote.url));
        hash.map(ChainHash).ok_or_else(nonsense)
    }

    fn rows(
        &mut self,
        first: Sequence,
        last: Sequence,
        take: &mut dyn FnMut(Vec<StoredRow>) -> Result<(), CopyError>,
    ) -> Result<(), CopyError> {
        let question = wire::CopyJournalRequest {
            branch_id: i64::from(self.branch.get()),
            table: wire::StoredTable::Journal.into(),
            first: first.cast_signed(),
            last: last.cast_signed(),
        };
        self.remote.rows(question, take)
    }

    fn names(&mut self) -> Result<Vec<StoredRow>, CopyError> {
        let question = wire::CopyJournalRequest {
            branch_id: i64::from(self.branch.get()),
            table: wire::StoredTable::PersonalName.into(),
            first: 0,
            last: i64::MAX,
        };
        let mut names = Vec::new();
        self.remote.rows(question, &mut |mut some| {
            names.append(&mut some);
            Ok(())
        })?;
        Ok(names)
    }
}

fn from_wire(row: wire::StoredRow) -> StoredRow {
    let value = |value: wire::StoredValue| match value.value {
        None => StoredValue::Null,
        Some(Value::Integer(integer)) => StoredValue::Integer(integer),
        Some(Value::Text(text)) => StoredValue::Text(text),
        Some(Value::Blob(blob)) => StoredValue::Blob(blob),
    };
    row.values.into_iter().map(value).collect()
}

/// What a refusal says, for people; of a connection that failed, why.
fn said(status: &Status) -> String {
    match std::error::Error::source(status) {
        Some(cause) => innermost(cause),
        None if status.message().is_empty() => status.code().to_string(),
        None => status.message().to_owned(),
    }
}
